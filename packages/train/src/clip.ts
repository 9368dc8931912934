/** Clipping of gradients and averages of parameters: graph in, graph out. */
import {
  abs,
  add,
  clamp,
  div,
  max,
  maximum,
  minimum,
  mul,
  sqrt,
  sub,
  sum,
  type Tensor,
  ValueError,
} from '@heed/tensor'

type Tensors = Readonly<Record<string, Tensor>>

/** The norm of all gradients together: 2 (default), 1 or Infinity. */
export function globalNorm(grads: Tensors, normType: number = 2): Tensor {
  const list = Object.values(grads)
  if (list.length === 0) throw new ValueError('globalNorm: no gradients')
  if (normType === Number.POSITIVE_INFINITY)
    return list.map((g) => max(abs(g))).reduce((a, b) => maximum(a, b))
  if (normType === 1) return list.map((g) => sum(abs(g))).reduce(add)
  if (normType === 2) return sqrt(list.map((g) => sum(mul(g, g))).reduce(add))
  throw new ValueError(`globalNorm: normType ${normType} is not supported; use 1, 2 or Infinity`)
}
/** Every gradient times min(1, maxNorm/(norm + 1e-6)); `norm` is the one before clipping. */
export function clipGradNorm<T extends Tensors>(
  grads: T,
  maxNorm: number,
  options: { normType?: number } = {},
): { grads: { [K in keyof T]: Tensor }; norm: Tensor } {
  const norm = globalNorm(grads, options.normType)
  const factor = minimum(1, div(maxNorm, add(norm, 1e-6)))
  return { grads: mapTensors(grads, (g) => mul(g, factor)), norm }
}
/** Every element limited to [−value, value]. */
export function clipGradValue<T extends Tensors>(grads: T, value: number): { [K in keyof T]: Tensor } {
  return mapTensors(grads, (g) => clamp(g, { lo: -value, hi: value }))
}
/** The factor of an exponential moving average at step t = 1, 2 …; with warm-up min(decay, (1 + t)/(10 + t)). */
export function emaDecay(decay: number, step: number, options: { warmup?: boolean } = {}): number {
  return options.warmup ? Math.min(decay, (1 + step) / (10 + step)) : decay
}
/** d·average + (1 − d)·parameter, for every parameter; `d` may be a tensor, so that a loop keeps one plan. */
export function ema<T extends Tensors>(
  average: T,
  params: Tensors,
  d: number | Tensor,
): { [K in keyof T]: Tensor } {
  const rest = typeof d === 'number' ? 1 - d : sub(1, d)
  return mapTensors(average, (e, name) => add(mul(e, d), mul(params[name], rest)))
}

function mapTensors<T extends Tensors>(
  tensors: T,
  f: (t: Tensor, name: string) => Tensor,
): { [K in keyof T]: Tensor } {
  return Object.fromEntries(Object.entries(tensors).map(([name, t]) => [name, f(t, name)])) as {
    [K in keyof T]: Tensor
  }
}
