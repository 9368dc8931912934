/** The softmax family and the norms. A softmax row with nothing left is zeros with zero gradient, never NaN. */
import { checkOptions, ShapeError, showShape, ValueError } from '../errors.js'
import type { Tensor } from '../graph.js'
import { broadcastShapes, normalizeAxis, sizeOf } from '../shape.js'
import { composite, like } from './define.js'
import { add, div, exp, less, log, maximum, mul, rsqrt, sqrt, sub, where } from './elementwise.js'
import { finiteMax, mean, sum } from './reduce.js'
import { broadcastTo, reshape } from './shape.js'

const softmaxOf = composite('softmax', {
  infer: ([x]) => like(x),
  body: ([x, keep], { axis }) => {
    const axes = [axis as number]
    const s = keep ? where(keep, x, Number.NEGATIVE_INFINITY) : x
    const e = exp(sub(s, finiteMax(s, axes)))
    const total = sum(e, { axes, keepDims: true })
    return [div(e, where(less(0, total), total, where(less(total, 0), total, add(mul(total, 0), 1))))]
  },
})
/**
 * eˣ / Σ eˣ along an axis (default the last). −∞ entries and entries where `mask` (true = keep) is false weigh 0;
 * a row without any entry left is zeros with zero gradient.
 */
export function softmax(x: Tensor, options: { axis?: number; mask?: Tensor } = {}): Tensor {
  checkOptions('softmax', options, ['axis', 'mask'])
  const { mask } = options
  // a mask of more rows than x: x is repeated for them
  const wide = mask ? broadcastTo(x, broadcastShapes(x.shape, mask.shape)) : x
  const axis = normalizeAxis(options.axis ?? -1, x.rank) + wide.rank - x.rank
  return softmaxOf(mask ? [wide, mask] : [x], { axis })[0]
}
const logSoftmaxOf = composite('logSoftmax', {
  infer: ([x]) => like(x),
  body: ([x], { axis }) => {
    const axes = [axis as number]
    const d = sub(x, finiteMax(x, axes))
    return [sub(d, log(sum(exp(d), { axes, keepDims: true })))]
  },
})
/** x − log Σ eˣ along an axis (default the last). */
export function logSoftmax(x: Tensor, options: { axis?: number } = {}): Tensor {
  checkOptions('logSoftmax', options, ['axis'])
  return logSoftmaxOf([x], { axis: normalizeAxis(options.axis ?? -1, x.rank) })[0]
}

const lastAxes = (rank: number, n: number): number[] => Array.from({ length: n }, (_, i) => rank - n + i)

const layerNormOf = composite('layerNorm', {
  infer: (inputs, attrs) => {
    const { nAxes } = attrs as { nAxes: number }
    const [x] = inputs
    if (nAxes < 1 || nAxes > x.shape.length)
      throw new ShapeError(`nAxes = ${nAxes} of a tensor of rank ${x.shape.length}`)
    for (const w of inputs.slice(1))
      if (w.shape.length !== nAxes || w.shape.some((d, i) => d !== x.shape[x.shape.length - nAxes + i]))
        throw new ShapeError(
          `weight or bias is ${showShape(w.shape)}, expected ${showShape(x.shape.slice(-nAxes))}`,
        )
    return like(x)
  },
  body: (inputs, attrs) => {
    const { eps, nAxes, hasWeight, hasBias } = attrs as {
      eps: number
      nAxes: number
      hasWeight: boolean
      hasBias: boolean
    }
    const [x] = inputs
    const axes = lastAxes(x.rank, nAxes)
    const d = sub(x, mean(x, { axes, keepDims: true }))
    let y = mul(d, rsqrt(add(mean(mul(d, d), { axes, keepDims: true }), eps)))
    if (hasWeight) y = mul(y, inputs[1])
    if (hasBias) y = add(y, inputs[hasWeight ? 2 : 1])
    return [y]
  },
})
/** (x − mean)/√(var + eps) · weight + bias over the last `nAxes` axes, population variance (Ba et al. 2016). */
export function layerNorm(
  x: Tensor,
  weight?: Tensor | null,
  bias?: Tensor | null,
  options: { eps?: number; nAxes?: number } = {},
): Tensor {
  const attrs = { eps: options.eps ?? 1e-5, nAxes: options.nAxes ?? 1, hasWeight: !!weight, hasBias: !!bias }
  return layerNormOf([x, ...(weight ? [weight] : []), ...(bias ? [bias] : [])], attrs)[0]
}

const rmsNormOf = composite('rmsNorm', {
  infer: ([x, w]) => {
    if (w && (w.shape.length !== 1 || w.shape[0] !== x.shape[x.shape.length - 1]))
      throw new ShapeError(`the weight is ${showShape(w.shape)}, expected [${x.shape[x.shape.length - 1]}]`)
    return like(x)
  },
  body: ([x, w], { eps, unitOffset }) => {
    const y = mul(x, rsqrt(add(mean(mul(x, x), { axes: -1, keepDims: true }), eps as number)))
    return [w ? mul(y, unitOffset ? add(w, 1) : w) : y]
  },
})
/** x/√(mean x² + eps) · weight over the last axis (Zhang & Sennrich 2019); `unitOffset`: · (1 + weight), as Gemma. */
export function rmsNorm(
  x: Tensor,
  weight?: Tensor | null,
  options: { eps?: number; unitOffset?: boolean } = {},
): Tensor {
  return rmsNormOf(weight ? [x, weight] : [x], {
    eps: options.eps ?? 1e-6,
    unitOffset: options.unitOffset ?? false,
  })[0]
}

/** [channels] → [1, channels, 1, …] */
const perChannel = (w: Tensor, rank: number): Tensor =>
  reshape(
    w,
    Array.from({ length: rank }, (_, i) => (i === 1 ? w.shape[0] : 1)),
  )

/** x [batch, channels, …], normalised per group of channels (Wu & He 2018). */
export function groupNorm(
  x: Tensor,
  weight: Tensor | null | undefined,
  bias: Tensor | null | undefined,
  options: { groups: number; eps?: number },
): Tensor {
  const [batch, channels] = x.shape
  if (x.rank < 2 || channels % options.groups !== 0)
    throw new ShapeError(`groupNorm: ${channels} channels do not divide into ${options.groups} groups`)
  const g = reshape(x, [batch, options.groups, sizeOf(x.shape.slice(1)) / options.groups]) // [batch, group, rest]
  let y = reshape(layerNorm(g, null, null, { eps: options.eps }), x.shape)
  if (weight) y = mul(y, perChannel(weight, x.rank))
  return bias ? add(y, perChannel(bias, x.rank)) : y
}
/**
 * x [batch, channels, …] (Ioffe & Szegedy 2015). `training`: batch statistics (population variance), else the running
 * ones, which the caller keeps: nothing here changes them.
 */
export function batchNorm(
  x: Tensor,
  weight: Tensor | null | undefined,
  bias: Tensor | null | undefined,
  options: { training: boolean; eps?: number; runningMean?: Tensor; runningVar?: Tensor },
): Tensor {
  const axes = x.shape.map((_, i) => i).filter((i) => i !== 1)
  let center: Tensor
  let spread: Tensor
  if (options.training) {
    center = mean(x, { axes, keepDims: true })
    const d = sub(x, center)
    spread = mean(mul(d, d), { axes, keepDims: true })
  } else {
    if (!options.runningMean || !options.runningVar)
      throw new ValueError('batchNorm: outside training it needs runningMean and runningVar')
    center = perChannel(options.runningMean, x.rank)
    spread = perChannel(options.runningVar, x.rank)
  }
  let y = mul(sub(x, center), rsqrt(add(spread, options.eps ?? 1e-5)))
  if (weight) y = mul(y, perChannel(weight, x.rank))
  return bias ? add(y, perChannel(bias, x.rank)) : y
}
/** x / max(‖x‖, eps) along an axis; the gradient where x is zero is 1/eps, as PyTorch has it, not NaN. */
export function l2Normalize(x: Tensor, options: { axis?: number; eps?: number } = {}): Tensor {
  return div(x, maximum(norm2(x, options.axis ?? -1), options.eps ?? 1e-12))
}
/** ‖x‖ along an axis, kept; its gradient at 0 is 0 instead of 0/0. */
function norm2(x: Tensor, axis: number): Tensor {
  const square = sum(mul(x, x), { axes: axis, keepDims: true })
  const positive = less(0, square)
  return where(positive, sqrt(where(positive, square, 1)), 0)
}
/** x·y / (max(‖x‖, eps)·max(‖y‖, eps)) along an axis. */
export function cosineSimilarity(
  x: Tensor,
  y: Tensor,
  options: { axis?: number; eps?: number } = {},
): Tensor {
  const axis = options.axis ?? -1
  const eps = options.eps ?? 1e-8
  return sum(mul(l2Normalize(x, { axis, eps }), l2Normalize(y, { axis, eps })), { axes: axis })
}
