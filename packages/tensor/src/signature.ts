/**
 * The key of a plan: two 64-bit walks over local hashes and canonical input positions (a Merkle hash would confuse
 * a + a with a + b). Shapes and dtypes of leaves are in it, their values are not.
 */
import { constantOf, constOp, hashValue, leafOp, mix, type Node, postorder, type Tensor } from './graph.js'

export interface Signature {
  readonly key: string
  /** Nodes in order, leaves included. */
  readonly order: readonly Node[]
  /** Where the graph begins: leaves, numbers, realized tensors, captured tensors. */
  readonly leaves: readonly Tensor[]
}

/**
 * @param isFrontier tensors at which the walk stops besides leaves
 * @param withValues numbers are part of the key (bodies of loops, which are compiled with them)
 */
export function signatureOf(
  outputs: readonly Tensor[],
  isFrontier: (t: Tensor) => boolean,
  options: { first?: readonly Tensor[]; withValues?: boolean } = {},
): Signature {
  let a = 0x9e3779b9
  let b = 0x7f4a7c15
  const eat = (x: number, y = x): void => {
    a = mix(a, x)
    b = mix(b ^ 0x27d4eb2f, y)
  }
  const leaves: Tensor[] = []
  const slots = new Map<Tensor, number>()
  const isStart = (t: Tensor): boolean => t.node.op === leafOp || t.node.op === constOp || isFrontier(t)
  const enter = (t: Tensor): number => {
    let slot = slots.get(t)
    if (slot === undefined) {
      slot = leaves.length
      slots.set(t, slot)
      leaves.push(t)
      const [x, y] = hashValue([
        t.shape,
        t.dtype,
        t.node.op === constOp ? (options.withValues ? constantOf(t) : 'number') : 'leaf',
      ])
      eat(x, y)
    }
    return -1 - slot
  }
  // a result is two numbers: packed into one, a node of many results would run into the next node's
  const place = (t: Tensor): void => {
    if (isStart(t)) eat(enter(t))
    else {
      eat(t.node.position)
      eat(t.index)
    }
  }
  options.first?.forEach(enter)
  // a node is passed through unless every reader stops at its tensors
  const order = postorder(
    outputs.filter((t) => !isStart(t)),
    (n) => n.inputs.filter((t) => !isStart(t)),
  )
  order.forEach((n, i) => {
    n.position = i
  })
  for (const n of order) {
    eat(n.hashA, n.hashB)
    n.inputs.forEach(place)
  }
  outputs.forEach(place)
  return {
    key: `${(a >>> 0).toString(36)}.${(b >>> 0).toString(36)}.${order.length}.${leaves.length}`,
    order,
    leaves,
  }
}
