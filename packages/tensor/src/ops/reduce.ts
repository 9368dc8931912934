/** Reductions and scans along axes: sums, extremes, products, running sums, sorting. */
import { checkOptions, DTypeError, ShapeError } from '../errors.js'
import { type Attrs, apply, build, type Op, type Spec, type Tensor } from '../graph.js'
import { normalizeAxes, normalizeAxis, sizeOf } from '../shape.js'
import { detach as detachInGraph, like, primitive, requireCompute } from './define.js'
import { add, cast, div, equal, exp, less, log, logicalNot, mul, neg, sub, where } from './elementwise.js'
import { scatterAdd } from './indexing.js'
import { broadcastTo, iota, reshape, slice, transpose, zeros } from './shape.js'

export interface AxesOptions {
  /** Axes to reduce; negative counts from the end, missing means all. */
  axes?: number | readonly number[]
  /** Keep reduced axes with size 1. */
  keepDims?: boolean
}

/** Primitives always keep the reduced axes; `reduced` drops them. */
const keptShape = (inputs: readonly Spec[], attrs: Attrs) =>
  inputs[0].shape.map((d, i) => ((attrs.axes as number[]).includes(i) ? 1 : d))

const numeric = (inputs: readonly Spec[]): void => {
  requireCompute(inputs)
  if (inputs[0].dtype === 'bool')
    throw new DTypeError(`takes f32 or i32, got bool; cast it, or use any and all`)
}

function reducer(name: 'sum' | 'max' | 'prod', vjp: NonNullable<Op['vjp']>, acceptBool = false) {
  const op = primitive(name, {
    infer: (inputs, attrs) => {
      numeric(inputs)
      return { shape: keptShape(inputs, attrs), dtype: inputs[0].dtype }
    },
    vjp,
  })
  return (x: Tensor, options: AxesOptions = {}): Tensor => {
    const axes = axesOf(name, x, options)
    const input = acceptBool && x.dtype === 'bool' ? cast(x, 'i32') : x
    const kept = axes.length === 0 && name !== 'prod' ? input : apply(op, [input], { axes })
    return dropAxes(kept, axes, options)
  }
}
function axesOf(name: string, x: Tensor, options: AxesOptions): number[] {
  checkOptions(name, options, ['axes', 'keepDims'])
  return normalizeAxes(options.axes, x.rank)
}
/** A result whose reduced axes have size 1, without them unless they are to stay. */
const dropAxes = (y: Tensor, axes: readonly number[], options: { keepDims?: boolean }): Tensor =>
  options.keepDims
    ? y
    : reshape(
        y,
        y.shape.filter((_, i) => !axes.includes(i)),
      )

/** Sum along axes; empty = 0. The sum of bool is i32. */
export const sum = reducer('sum', (dy, [x]) => [broadcastTo(dy, x.shape)], true)
/** Maximum along axes; NaN wins, empty = −∞; tied elements share the gradient equally. */
export const max = reducer('max', (dy, [x], y, attrs) => {
  const tied = cast(equal(x, y), 'f32')
  return [mul(dy, div(tied, sum(tied, { axes: attrs.axes as number[], keepDims: true })))]
})
/** Product along axes; empty = 1. The gradient is right where x has zeros. */
export const prod: (x: Tensor, options?: AxesOptions) => Tensor = reducer('prod', (dy, [x], _, attrs) => {
  // the product of all the others: [.., n] → [.., n, n] with ones on the diagonal, multiplied along the last axis
  const axes = attrs.axes as number[]
  const rest = x.shape.map((_, i) => i).filter((i) => !axes.includes(i))
  const perm = [...rest, ...axes]
  const n = sizeOf(axes.map((a) => x.shape[a]))
  const restShape = rest.map((a) => x.shape[a])
  const flat = reshape(transpose(x, perm), [...restShape, 1, n])
  const eye = equal(reshape(iota(n, { dtype: 'i32' }), [n, 1]), iota(n, { dtype: 'i32' }))
  const others = prod(where(eye, 1, broadcastTo(flat, [...restShape, n, n])), { axes: -1 }) // [.., n]
  const back = transpose(
    reshape(others, [...restShape, ...axes.map((a) => x.shape[a])]),
    perm.map((_, i) => perm.indexOf(i)),
  )
  return [mul(dy, back)]
})
/** Minimum along axes; NaN wins, empty = +∞; tied elements share the gradient equally. */
export const min = (x: Tensor, options?: AxesOptions): Tensor => neg(max(neg(x), options))
/** Mean along axes; empty = NaN. */
export function mean(x: Tensor, options: AxesOptions = {}): Tensor {
  if (x.dtype !== 'f32') throw new DTypeError(`mean: takes f32, got ${x.dtype}; cast(x, 'f32') first`)
  const n = axesOf('mean', x, options).reduce((p, a) => p * x.shape[a], 1)
  return div(sum(x, options), n)
}
/** Population variance (divisor n) along axes. */
export function variance(x: Tensor, options: AxesOptions = {}): Tensor {
  const d = sub(x, mean(x, { axes: options.axes, keepDims: true }))
  return mean(mul(d, d), options)
}
/** Logical or along axes; empty = false. */
export const any = (x: Tensor, options?: AxesOptions): Tensor => less(0, sum(cast(x, 'i32'), options))
/** Logical and along axes; empty = true. */
export const all = (x: Tensor, options?: AxesOptions): Tensor =>
  equal(sum(cast(logicalNot(cast(x, 'bool')), 'i32'), options), 0)

/** log Σ eˣ along axes, stable; empty = −∞. */
export function logSumExp(x: Tensor, options: AxesOptions = {}): Tensor {
  const axes = axesOf('logSumExp', x, options)
  const top = finiteMax(x, axes)
  const y = add(log(sum(exp(sub(x, top)), { axes, keepDims: true })), top)
  return dropAxes(y, axes, options)
}
/** The row maximum to subtract before exp: 0 where the row has no finite entry, and without gradient. */
export function finiteMax(x: Tensor, axes: readonly number[]): Tensor {
  const top = max(detachInGraph(x), { axes, keepDims: true })
  return where(less(Number.NEGATIVE_INFINITY, top), where(less(top, Number.POSITIVE_INFINITY), top, 0), 0)
}

const argMaxOp = primitive('argMax', {
  infer: (inputs, attrs) => {
    numeric(inputs)
    if (inputs[0].shape[(attrs.axes as number[])[0]] === 0)
      throw new ShapeError('the axis is empty: there is no index to return')
    return { shape: keptShape(inputs, attrs), dtype: 'i32' }
  },
})
export interface AxisOptions {
  axis: number
  keepDims?: boolean
}
/** Index (i32) of the first largest element along an axis; NaN counts as largest. */
export function argMax(x: Tensor, options: AxisOptions): Tensor {
  const axis = normalizeAxis(options.axis, x.rank)
  return dropAxes(apply(argMaxOp, [x], { axes: [axis] }), [axis], options)
}
/** Index (i32) of the first smallest element along an axis; NaN counts as smallest. */
export const argMin = (x: Tensor, options: AxisOptions): Tensor => argMax(neg(x), options)

const cumsumOp: Op = primitive('cumsum', {
  infer: (inputs) => {
    numeric(inputs)
    return like(inputs[0])
  },
  vjp: (dy, _, __, a) => [apply(cumsumOp, [dy], { ...a, reverse: !a.reverse })],
})
/** Running sum along an axis; `reverse` from the end, `exclusive` without the element itself. */
export function cumsum(x: Tensor, options: { axis: number; reverse?: boolean; exclusive?: boolean }): Tensor {
  const axis = normalizeAxis(options.axis, x.rank)
  return apply(cumsumOp, [x], {
    axis,
    reverse: options.reverse ?? false,
    exclusive: options.exclusive ?? false,
  })
}

const sortOp: Op = primitive('sort', {
  infer: (inputs) => {
    numeric(inputs)
    return [like(inputs[0]), { shape: inputs[0].shape, dtype: 'i32' }]
  },
  vjpMany: ([dy], [x], node) => [
    dy && scatterAdd(zeros(x.shape), node.outputs[1], dy, { axis: node.attrs.axis as number }),
  ],
})
export interface Sorted {
  values: Tensor
  indices: Tensor
}
/** Stable sort along an axis: values and their old positions (i32). NaN sorts as largest. */
export function sort(x: Tensor, options: { axis: number; descending?: boolean }): Sorted {
  const axis = normalizeAxis(options.axis, x.rank)
  const [values, indices] = build(sortOp, [x], { axis, descending: options.descending ?? false }).outputs
  return { values, indices }
}
/** The k largest along an axis, descending; equal values in order of index. */
export function topK(x: Tensor, options: { k: number; axis: number }): Sorted {
  const axis = normalizeAxis(options.axis, x.rank)
  if (options.k < 0 || options.k > x.shape[axis])
    throw new ShapeError(
      `topK: k = ${options.k} of an axis of ${x.shape[axis]} elements; choose 0 ≤ k ≤ ${x.shape[axis]}`,
    )
  const { values, indices } = sort(x, { axis, descending: true })
  const cut = x.shape.map(
    (_, i) =>
      (i === axis ? [0, options.k, 1] : [null, null, null]) as [number | null, number | null, number | null],
  )
  return { values: slice(values, cut), indices: slice(indices, cut) }
}
