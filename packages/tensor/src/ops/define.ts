/**
 * How rows are written: `primitive` for what a backend must run, `composite` for what is written in other ops and may
 * be claimed by a fused kernel. A composite's gradient is again a composite, so every order of gradient exists.
 */
import { isCompute } from '../dtype.js'
import { DTypeError } from '../errors.js'
import {
  type Attrs,
  alias,
  apply,
  build,
  constant,
  currentPath,
  defineOp,
  type InnerTap,
  leaf,
  NO_ATTRS,
  type Node,
  notTensor,
  type Op,
  type Room,
  type Spec,
  Tensor,
} from '../graph.js'
import { enterRoom } from '../taps.js'
import type { PrimitiveName } from './primitives.js'

/** What arithmetic accepts: a tensor, or a number that takes the other operand's dtype. */
export type Operand = Tensor | number

export function primitive(name: PrimitiveName, row: Omit<Op, 'name' | 'code' | 'body'>): Op {
  return defineOp(name, row)
}

/** The other operand's dtype decides a number's; two numbers make f32. */
export function lift(x: Operand | boolean, like?: Operand | boolean): Tensor {
  if (x instanceof Tensor) return x
  if (typeof x === 'boolean') return constant(x ? 1 : 0, 'bool')
  if (typeof x !== 'number') throw notTensor(x)
  const dtype = like instanceof Tensor ? like.dtype : 'f32'
  if (dtype === 'i32' && (x | 0) !== x)
    throw new DTypeError(
      `${currentPath() ? `${currentPath()}: ` : ''}${x} beside an i32 tensor: no whole number of 32 bits; cast(x, 'f32') first`,
    )
  return constant(x, dtype)
}

export const like = (s: Spec): Spec => ({ shape: s.shape, dtype: s.dtype })

export function requireCompute(inputs: readonly Spec[]): void {
  for (const s of inputs)
    if (!isCompute(s.dtype)) throw new DTypeError(`${s.dtype} is a storage dtype; cast(x, 'f32') first`)
}

export interface CompositeRow {
  infer: Op['infer']
  body: NonNullable<Op['body']>
  openBody?: Op['openBody']
  gradBody?: Op['gradBody']
  inner?: readonly string[]
}

/** Defines a composite and returns its builder. */
export function composite(
  name: string,
  row: CompositeRow,
): (inputs: readonly Tensor[], attrs?: Attrs) => readonly Tensor[] {
  const op = defineOp(name, { ...row, vjpMany: (dys, inputs, node) => fusedBackward(dys, inputs, node) })
  return (inputs, attrs = NO_ATTRS) => {
    if (op.inner !== undefined) return enterRoom(op, inputs, attrs)
    return build(op, inputs, attrs).outputs
  }
}

type Reverse = (
  losses: readonly Tensor[],
  wrt: readonly Tensor[],
  options: { seed: readonly Tensor[]; unused: 'zero'; stop: true },
) => Tensor[]
let reverse: Reverse | null = null
/** The reverse walk plugs itself in here: rows are defined before it, and it is written in rows. */
export function installReverse(walk: Reverse): void {
  reverse = walk
}

const backwards = new Map<Op, Op>()

/**
 * `name.vjp`: (inputs, results, given cotangents) → cotangent of every float input. Its body is the reverse walk
 * through the forward body (or `gradBody`) on fresh aliases (q, k and v may be one node); results are there for kernels that claim it.
 */
function backwardOf(op: Op): Op {
  const known = backwards.get(op)
  if (known) return known
  const split = (inputs: readonly Tensor[], attrs: Attrs) => {
    const nIn = attrs.nIn as number
    const nOut = attrs.nOut as number
    return {
      ins: inputs.slice(0, nIn),
      dys: inputs.slice(nIn + nOut),
      given: attrs.given as readonly boolean[],
    }
  }
  const created = defineOp(`${op.name}.vjp`, {
    infer: (inputs, attrs) =>
      inputs
        .slice(0, attrs.nIn as number)
        .filter((s) => s.dtype === 'f32')
        .map(like),
    body: (inputs, attrs) => {
      const { ins, dys, given } = split(inputs, attrs)
      const fresh = ins.map(alias)
      const forward = op.gradBody ?? (op.body as NonNullable<Op['body']>)
      const outs = forward(fresh, attrs.forward as Attrs, (_, x) => x)
      const seeded = outs.filter((_, i) => given[i])
      return (reverse as Reverse)(
        seeded,
        fresh.filter((t) => t.dtype === 'f32'),
        { seed: dys, unused: 'zero', stop: true },
      )
    },
    vjpMany: (cotangents, inputs, node) => fusedBackward(cotangents, inputs, node),
  })
  backwards.set(op, created)
  return created
}

function fusedBackward(
  dys: readonly (Tensor | null)[],
  inputs: readonly Tensor[],
  node: Node,
): readonly (Tensor | null)[] {
  const given = dys.map((d) => d !== null)
  const cotangents = dys.filter((d): d is Tensor => d !== null)
  // kernels read the forward attributes beside the others; the body needs them apart, since at second order the
  // forward op is itself a backward with its own nIn, nOut and given
  const attrs = {
    ...node.attrs,
    nIn: inputs.length,
    nOut: node.outputs.length,
    given,
    forward: node.attrs,
  }
  const back = build(backwardOf(node.op), [...inputs, ...node.outputs, ...cotangents], attrs)
  let at = 0
  return inputs.map((t) => (t.dtype === 'f32' ? back.outputs[at++] : null))
}

export const detachedOp = defineOp('detach', { infer: ([x]) => like(x) })
/** The same value, cut from its past: no gradient passes, and nothing behind a realized tensor is held. */
export function detach(x: Tensor): Tensor {
  if (x.value === null) return apply(detachedOp, [x])
  const t = leaf({ shape: x.shape, dtype: x.dtype })
  t.value = x.value
  t.name = x.name
  return t
}

/** Builds (once) the body of a composite node: the kept tap and the opened gradient are the same nodes. */
export function bodyOf(node: Node): Room {
  if (node.opened) return node.opened
  const inner = new Map<string, Tensor>()
  const tap: InnerTap = (name, x) => {
    // a tap is a node of this room: a value that came in from outside gets a node of its own
    const own = node.inputs.includes(x) ? alias(x) : x
    own.node.room = node
    inner.set(name, own)
    return own
  }
  const body = node.op.openBody ?? node.op.body
  if (!body) throw new Error(`op '${node.op.name}' has no body`)
  const outputs = body(node.inputs, node.attrs, tap)
  node.opened = { outputs, inner }
  return node.opened
}
