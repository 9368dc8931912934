/**
 * What a graph is, as one list of integers: nodes by their local hashes, inputs by canonical positions (a Merkle hash would
 * confuse a + a with a + b), shapes and dtypes of leaves, not their values. Plans are found by a hash of the list and told apart
 * by the list itself. One walk, no allocation per node: this is done for every step of a generation.
 */
import { constOp, leafOp, mix, type Node, newMark, type Tensor } from './graph.js'

export interface Signature {
  readonly hash: number
  /** The list; it is overwritten by the next signature, so keep a `slice`. */
  readonly structure: Int32Array
  /** Nodes in order, leaves included. */
  readonly order: readonly Node[]
  /** Where the graph begins: leaves, numbers, realized tensors, captured tensors. */
  readonly leaves: readonly Tensor[]
}

let list = new Int32Array(4096)
let length = 0
function put(x: number): void {
  if (length === list.length) {
    const longer = new Int32Array(2 * length)
    longer.set(list)
    list = longer
  }
  list[length++] = x
}

let mark = 0
let leaves: Tensor[] = []
const isStart = (t: Tensor, isFrontier: (t: Tensor) => boolean): boolean =>
  t.node.op === leafOp || t.node.op === constOp || isFrontier(t)

/** Gives a leaf its position, and describes it at its first appearance. */
function enter(t: Tensor): void {
  if (t.mark === mark) return
  t.mark = mark
  t.slot = leaves.push(t) - 1
  // set apart from positions by its length; a number is no leaf: it may be part of a plan
  put(t.node.op === constOp ? -2 : -3)
  put(t.dtype.charCodeAt(0) * 256 + t.dtype.charCodeAt(1))
  put(t.shape.length)
  for (let i = 0; i < t.shape.length; i++) put(t.shape[i])
}
function place(t: Tensor, isFrontier: (t: Tensor) => boolean): void {
  if (isStart(t, isFrontier)) {
    enter(t)
    put(-1)
    put(t.slot)
  } else {
    put(t.node.position)
    put(t.index)
  }
}

const stack: Node[] = []
const at: number[] = []

/**
 * @param isFrontier tensors at which the walk stops besides leaves
 * @param first leaves that come before all others
 */
export function signatureOf(
  outputs: readonly Tensor[],
  isFrontier: (t: Tensor) => boolean,
  first: readonly Tensor[] = [],
): Signature {
  mark = newMark()
  length = 0
  leaves = []
  stack.length = 0
  at.length = 0
  const order: Node[] = []
  for (const t of first) enter(t)
  const visit = (n: Node): void => {
    n.mark = mark
    stack.push(n)
    at.push(0)
  }
  for (const out of outputs) {
    if (out.node.mark === mark || isStart(out, isFrontier)) continue
    visit(out.node)
    while (stack.length > 0) {
      const top = stack.length - 1
      const node = stack[top]
      const { inputs } = node
      if (at[top] < inputs.length) {
        const t = inputs[at[top]++]
        if (t.node.mark !== mark && !isStart(t, isFrontier)) visit(t.node)
        continue
      }
      stack.pop()
      at.pop()
      node.position = order.push(node) - 1
      put(node.op.code)
      put(node.hashA)
      put(node.hashB)
      put(inputs.length)
      for (let i = 0; i < inputs.length; i++) place(inputs[i], isFrontier)
    }
  }
  put(outputs.length)
  for (const t of outputs) place(t, isFrontier)
  const structure = list.subarray(0, length)
  let hash = 0x2545f491
  for (let i = 0; i < length; i++) hash = Math.imul(hash ^ structure[i], 0x9e3779b1) ^ (hash >>> 15)
  return { hash: mix(hash, length), structure, order, leaves }
}

/** 64 bits of a list as a name; `numbers` are part of it (bodies of loops, which are compiled with them). */
export function nameOf({ structure, leaves }: Signature, withNumbers = false): string {
  let a = 0x9e3779b9
  let b = 0x7f4a7c15
  const eat = (x: number): void => {
    a = mix(a, x)
    b = mix(b ^ 0x27d4eb2f, x)
  }
  structure.forEach(eat)
  const name = `${(a >>> 0).toString(36)}.${(b >>> 0).toString(36)}.${leaves.length}`
  if (!withNumbers) return name
  const numbers = leaves.flatMap(({ node }) =>
    node.number === undefined ? [] : [Object.is(node.number, -0) ? '-0' : `${node.number}`],
  )
  return `${name}(${numbers})`
}
