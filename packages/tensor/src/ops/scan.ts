/**
 * `scan`: a whole loop as one node with a body. Its gradient is another scan; saved carries are results of the node,
 * so that they are differentiable too and every order of gradient exists.
 */
import { ShapeError, showShape, ValueError } from '../errors.js'
import { grad } from '../grad.js'
import {
  type Attrs,
  build,
  constOp,
  currentPath,
  leaf,
  leafOp,
  type Node,
  type Op,
  type Spec,
  type Tensor,
} from '../graph.js'
import { nameOf, signatureOf } from '../signature.js'
import { withTaps } from '../taps.js'
import { primitive } from './define.js'
import { add } from './elementwise.js'
import { zeros } from './shape.js'

/** One step: (carries, slices of xs) → new carries and what to collect. */
export type ScanStep = (
  carry: readonly Tensor[],
  x: readonly Tensor[],
) => { carry: readonly Tensor[]; ys: readonly Tensor[] }

/** The body of a scan as a graph of its own. */
export interface ScanBody {
  /** Placeholders: carries, slices of xs; then the captured tensors themselves. */
  readonly inputs: readonly Tensor[]
  readonly outputs: readonly Tensor[]
  readonly nCarry: number
  readonly nX: number
  readonly nY: number
  readonly hashKey: string
}

const bodyOfScan = (attrs: Attrs): ScanBody => attrs.body as ScanBody

const scanOp: Op = primitive('scan', {
  infer: (_, attrs) => {
    const { inputs, outputs, nCarry } = bodyOfScan(attrs)
    const length = attrs.length as number
    const many = (t: Spec): Spec => ({ shape: [length, ...t.shape], dtype: t.dtype })
    return [
      ...outputs.slice(0, nCarry).map((t) => ({ shape: t.shape, dtype: t.dtype })),
      ...outputs.slice(nCarry).map(many),
      ...inputs.slice(0, nCarry).map(many), // the carries before each step
    ]
  },
  vjpMany: (dys, inputs, node) => backward(dys, inputs, node),
})

function makeScan(
  step: ScanStep,
  init: readonly Tensor[],
  xs: readonly Tensor[],
  length: number,
  reverse: boolean,
): Node {
  const placeholders = [
    ...init.map((c) => leaf({ shape: c.shape, dtype: c.dtype })),
    ...xs.map((x) => leaf({ shape: x.shape.slice(1), dtype: x.dtype })),
  ]
  const own = new Set(placeholders)
  const firstId =
    placeholders.length > 0 ? placeholders[0].node.id : leaf({ shape: [], dtype: 'f32' }).node.id
  const r = withTaps(null, () => step(placeholders.slice(0, init.length), placeholders.slice(init.length)))
  if (r.carry.length !== init.length)
    throw new ValueError(
      `scan${where()}: the step returned ${r.carry.length} carries, expected ${init.length}`,
    )
  r.carry.forEach((c, i) => {
    if (showShape(c.shape) !== showShape(init[i].shape) || c.dtype !== init[i].dtype)
      throw new ShapeError(
        `scan${where()}: carry ${i} begins as ${showShape(init[i].shape)} ${init[i].dtype} and comes back as ${showShape(c.shape)} ${c.dtype}`,
      )
  })
  const outputs = [...r.carry, ...r.ys]
  // whatever was there before the step was called is captured: an input of the loop that stays the same
  const outside = (t: Tensor): boolean =>
    !own.has(t) && t.node.op !== constOp && (t.node.id < firstId || t.node.op === leafOp)
  const signature = signatureOf(outputs, outside, placeholders)
  const { leaves } = signature
  const captured = leaves.filter(outside)
  const body: ScanBody = {
    inputs: [...placeholders, ...captured],
    outputs,
    nCarry: init.length,
    nX: xs.length,
    nY: r.ys.length,
    hashKey: `${nameOf(signature, true)}:${leaves.map((t) => (own.has(t) ? 'p' : t.node.op === constOp ? 'n' : 'c')).join('')}`,
  }
  const attrs: Record<string, unknown> = { body, length, reverse }
  Object.defineProperty(attrs, 'step', { value: step, enumerable: false })
  return build(scanOp, [...init, ...xs, ...captured], attrs)
}

function backward(dys: readonly (Tensor | null)[], inputs: readonly Tensor[], node: Node): (Tensor | null)[] {
  const { nCarry, nX, nY, inputs: bodyInputs } = bodyOfScan(node.attrs)
  const step = node.attrs.step as ScanStep
  const captured = bodyInputs.slice(nCarry + nX)
  // gradients flow through float captures only
  const floats = captured.filter((t) => t.dtype === 'f32')
  const init = inputs.slice(0, nCarry)
  const xs = inputs.slice(nCarry, nCarry + nX)
  const dFinal = init.map((c, i) => dys[i] ?? zeros(c.shape))
  const dYs = node.outputs.slice(nCarry, nCarry + nY).map((y, i) => dys[nCarry + i] ?? zeros(y.shape))
  const saved = node.outputs.slice(nCarry + nY)
  const dSaved = saved.map((s, i) => dys[nCarry + nY + i] ?? zeros(s.shape))
  const length = node.attrs.length as number
  const back = makeScan(
    (carry, x) => {
      const at = [...x.slice(0, nCarry + nX)]
      const seeds = [...carry.slice(0, nCarry), ...x.slice(nCarry + nX, nCarry + nX + nY)]
      const extra = x.slice(nCarry + nX + nY)
      const r = step(at.slice(0, nCarry), at.slice(nCarry))
      const outs = [...r.carry, ...r.ys]
      const wanted = [...at, ...floats]
      const differentiable = wanted.filter((t) => t.dtype === 'f32')
      const given = outs.map((o, i) => ({ o, s: seeds[i] })).filter(({ o }) => o.dtype === 'f32')
      const g = grad(
        given.map((x) => x.o),
        differentiable,
        { seed: given.map((x) => x.s), unused: 'zero', stop: true },
      )
      const of = (t: Tensor): Tensor => {
        const i = differentiable.indexOf(t)
        return i >= 0 ? g[i] : zeros(t.shape)
      }
      return {
        carry: [
          ...at.slice(0, nCarry).map((c, i) => add(of(c), extra[i])),
          ...floats.map((t, i) => add(carry[nCarry + i], of(t))),
        ],
        ys: at.slice(nCarry).map(of),
      }
    },
    [...dFinal, ...floats.map((t) => zeros(t.shape))],
    [...saved, ...xs, ...dYs, ...dSaved],
    length,
    !(node.attrs.reverse as boolean),
  )
  const dInit = back.outputs.slice(0, nCarry)
  const dFloats = back.outputs.slice(nCarry, nCarry + floats.length)
  const dXs = back.outputs.slice(nCarry + floats.length, nCarry + floats.length + nX)
  return inputs.map((t, i) => {
    if (t.dtype !== 'f32') return null
    if (i < nCarry) return dInit[i]
    if (i < nCarry + nX) return dXs[i - nCarry]
    return dFloats[floats.indexOf(captured[i - nCarry - nX])] ?? null
  })
}

const where = (): string => (currentPath() ? ` in ${currentPath()}` : '')

export interface ScanOptions {
  /** Carries before the first step. */
  init: readonly Tensor[]
  /** Tensors [length, ...] of which each step gets one slice. */
  xs: readonly Tensor[]
  /** Number of steps; needed only without xs. */
  length?: number
  /** From the last slice to the first; collected values stand at the index of their slice. */
  reverse?: boolean
}
/**
 * carry, y = step(carry, x[t]) for every t. Returns the final carries and the collected ys [length, ...].
 * The step is called to build the graph, also again for gradients: it must be pure. It may use outside tensors.
 */
export function scan(step: ScanStep, options: ScanOptions): { carry: Tensor[]; ys: Tensor[] } {
  const { init, xs, reverse = false } = options
  const length = options.length ?? xs[0]?.shape[0]
  if (length === undefined) throw new ValueError(`scan${where()}: give xs or length`)
  for (const x of xs)
    if (x.rank === 0 || x.shape[0] !== length)
      throw new ShapeError(
        `scan${where()}: xs ${showShape(x.shape)} does not have ${length} steps along axis 0`,
      )
  const node = makeScan(step, init, xs, length, reverse)
  const { nCarry, nY } = bodyOfScan(node.attrs)
  return { carry: node.outputs.slice(0, nCarry), ys: node.outputs.slice(nCarry, nCarry + nY) }
}
