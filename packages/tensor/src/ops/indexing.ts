/**
 * Reading and writing by index. Indices are i32 tensors; out of range is an error where the values are known on the
 * host when a plan runs on the reference kernels, and clamped and reported on devices that cannot throw.
 */
import { checkOptions, DTypeError, ShapeError, showShape } from '../errors.js'
import { apply, type Op, type Spec, type Tensor } from '../graph.js'
import { normalizeAxis, type Shape } from '../shape.js'
import { lift, type Operand, primitive } from './define.js'
import { cast, equal } from './elementwise.js'
import { packedParts, takePackedRows } from './quantized.js'
import { iota, pad, reshape, zeros } from './shape.js'

const ids = (s: Spec, what: string): void => {
  if (s.dtype !== 'i32')
    throw new DTypeError(`${what} is ${s.dtype}, expected i32; pass tensor(ids, { dtype: 'i32' })`)
}

const takeOp: Op = primitive('take', {
  infer: ([x, index], attrs) => {
    ids(index, 'index')
    const axis = attrs.axis as number
    return { shape: [...x.shape.slice(0, axis), ...index.shape, ...x.shape.slice(axis + 1)], dtype: x.dtype }
  },
  vjp: (dy, [x, index], _, { axis }) => [takeAdd(zeros(x.shape), index, dy, axis as number), null],
})
/** Whole slices: x[…, index, …] along an axis; index of any shape (np.take). Repeated ids add up in the gradient. */
export function take(x: Tensor, index: Tensor, options: { axis?: number } = {}): Tensor {
  const packed = packedParts(x)
  if (packed?.attrs.outAxis === 0 && (options.axis ?? 0) === 0) return takePackedRows(packed, index)
  checkOptions('take', options, ['axis'])
  return apply(takeOp, [x, index], { axis: normalizeAxis(options.axis ?? 0, x.rank) })
}
/** Rows of a table [vocabulary, dModel] by ids [...]: [..., dModel]. */
export function embedding(table: Tensor, index: Tensor): Tensor {
  if (table.rank !== 2)
    throw new ShapeError(`embedding: the table is ${showShape(table.shape)}, expected [vocabulary, dModel]`)
  return take(table, index, { axis: 0 })
}

const takeAddOp: Op = primitive('takeAdd', {
  infer: ([x, index, src], attrs) => {
    ids(index, 'index')
    const axis = attrs.axis as number
    const want = [...x.shape.slice(0, axis), ...index.shape, ...x.shape.slice(axis + 1)]
    if (src.shape.length !== want.length || src.shape.some((d, i) => d !== want[i]))
      throw new ShapeError(`the slices to add are ${showShape(src.shape)}, expected ${showShape(want)}`)
    return { shape: x.shape, dtype: x.dtype }
  },
  vjp: (dy, [, index], _, { axis }) => [dy, null, take(dy, index, { axis: axis as number })],
})
/** x with whole slices of `src` added at index: the transpose of `take`. */
export function takeAdd(x: Tensor, index: Tensor, src: Tensor, axis: number): Tensor {
  return apply(takeAddOp, [x, index, src], { axis: normalizeAxis(axis, x.rank) })
}

const sameRank = (x: Spec, index: Spec, axis: number): void => {
  if (index.shape.length !== x.shape.length || index.shape.some((d, i) => i !== axis && d > x.shape[i]))
    throw new ShapeError(
      `index ${showShape(index.shape)} does not fit ${showShape(x.shape)} outside axis ${axis}`,
    )
}
const gatherOp: Op = primitive('gather', {
  infer: ([x, index], attrs) => {
    ids(index, 'index')
    sameRank(x, index, attrs.axis as number)
    return { shape: index.shape, dtype: x.dtype }
  },
  vjp: (dy, [x, index], _, { axis }) => [
    scatterAdd(zeros(x.shape), index, dy, { axis: axis as number }),
    null,
  ],
})
/** Element by element: out[i][j] = x[i][index[i][j]] along an axis (torch.gather). */
export function gather(x: Tensor, index: Tensor, options: { axis: number }): Tensor {
  return apply(gatherOp, [x, index], { axis: normalizeAxis(options.axis, x.rank) })
}
const scatterAddOp: Op = primitive('scatterAdd', {
  infer: ([x, index, src], attrs) => {
    ids(index, 'index')
    sameRank(x, index, attrs.axis as number)
    if (src.shape.length !== index.shape.length || index.shape.some((d, i) => d > src.shape[i]))
      throw new ShapeError(`source ${showShape(src.shape)} is smaller than index ${showShape(index.shape)}`)
    return { shape: x.shape, dtype: x.dtype }
  },
  vjp: (dy, [, index, src], _, { axis }) => {
    const g = gather(dy, index, { axis: axis as number })
    // the source may be larger than the index: what was not read has no gradient
    return [dy, null, g.shape.every((d, i) => d === src.shape[i]) ? g : padEnd(g, src.shape)]
  },
})
/** x with src added element by element at index along an axis (torch.scatter_add); repeated ids add up. */
export function scatterAdd(x: Tensor, index: Tensor, src: Tensor, options: { axis: number }): Tensor {
  return apply(scatterAddOp, [x, index, src], { axis: normalizeAxis(options.axis, x.rank) })
}

const offsetOf = (s: Spec): void => {
  ids(s, 'offset')
  if (s.shape.length !== 0) throw new ShapeError(`offset is ${showShape(s.shape)}, expected a scalar`)
}
const updateOp: Op = primitive('update', {
  infer: ([cache, patch, offset], attrs) => {
    offsetOf(offset)
    const axis = attrs.axis as number
    if (patch.dtype !== cache.dtype)
      throw new DTypeError(`the cache is ${cache.dtype}, the patch ${patch.dtype}`)
    if (
      patch.shape.length !== cache.shape.length ||
      patch.shape.some((d, i) => (i === axis ? d > cache.shape[i] : d !== cache.shape[i]))
    )
      throw new ShapeError(
        `patch ${showShape(patch.shape)} does not fit the cache ${showShape(cache.shape)} along axis ${axis}` +
          (patch.shape[0] !== cache.shape[0] && axis !== 0
            ? ': the batch differs; make the cache for this batch'
            : ''),
      )
    return { shape: cache.shape, dtype: cache.dtype }
  },
  vjp: (dy, [, patch, offset], _, { axis }) => [
    update(dy, zeros(patch.shape), offset, { axis: axis as number }),
    dynamicSlice(dy, offset, { axis: axis as number, size: patch.shape[axis as number] }),
    null,
  ],
})
/** The cache with `patch` written at `offset` (an i32 scalar) along an axis. */
export function update(cache: Tensor, patch: Tensor, offset: Operand, options: { axis: number }): Tensor {
  const at = typeof offset === 'number' ? lift(offset, iota(1, { dtype: 'i32' })) : offset
  return apply(updateOp, [cache, patch, at], { axis: normalizeAxis(options.axis, cache.rank) })
}
const dynamicSliceOp: Op = primitive('dynamicSlice', {
  infer: ([x, offset], attrs) => {
    offsetOf(offset)
    const { axis, size } = attrs as { axis: number; size: number }
    if (size > x.shape[axis]) throw new ShapeError(`${size} elements of an axis of ${x.shape[axis]}`)
    return { shape: x.shape.map((d, i) => (i === axis ? size : d)), dtype: x.dtype }
  },
  vjp: (dy, [x, offset], _, { axis }) => [update(zeros(x.shape), dy, offset, { axis: axis as number }), null],
})
/** `size` elements from `offset` (an i32 scalar) along an axis. */
export function dynamicSlice(x: Tensor, offset: Operand, options: { axis: number; size: number }): Tensor {
  const at = typeof offset === 'number' ? lift(offset, iota(1, { dtype: 'i32' })) : offset
  return apply(dynamicSliceOp, [x, at], { axis: normalizeAxis(options.axis, x.rank), size: options.size })
}

/** Float one-hot along a new last axis. */
export function oneHot(index: Tensor, depth: number): Tensor {
  return cast(equal(reshape(index, [...index.shape, 1]), iota(depth, { dtype: 'i32' })), 'f32')
}

function padEnd(x: Tensor, shape: Shape): Tensor {
  return pad(
    x,
    shape.map((d, i) => [0, d - x.shape[i]] as const),
  )
}
