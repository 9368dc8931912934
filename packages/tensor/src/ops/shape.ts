/** Shape ops and sources: views move no data, `pad` and `concat` do. */
import { type DType, isCompute } from '../dtype.js'
import { DTypeError, ShapeError, showShape } from '../errors.js'
import { apply, constant, type Op, type Tensor } from '../graph.js'
import {
  broadcastShapes,
  isShape,
  normalizeAxes,
  normalizeAxis,
  type Shape,
  sameShape,
  sizeOf,
} from '../shape.js'
import { lift, type Operand, primitive } from './define.js'
import { add, cast, equal, lessEqual, mul, unbroadcast, where } from './elementwise.js'
import { takeAdd } from './indexing.js'

const reshapeOp: Op = primitive('reshape', {
  infer: ([x], attrs) => ({ shape: attrs.shape as Shape, dtype: x.dtype }),
  vjp: (dy, [x]) => [reshape(dy, x.shape)],
})
/** The same elements in row-major order under another shape; one entry may be −1. */
export function reshape(x: Tensor, shape: Shape): Tensor {
  let target = shape
  const free = shape.indexOf(-1)
  if (free >= 0) {
    const known = sizeOf(shape.filter((_, i) => i !== free))
    target = shape.map((d, i) => (i === free ? (known === 0 ? 0 : x.size / known) : d))
  }
  if (sizeOf(target) !== x.size || !isShape(target))
    throw new ShapeError(
      `reshape: ${showShape(x.shape)} has ${x.size} elements and cannot become ${showShape(shape)}`,
    )
  return sameShape(x.shape, target) ? x : apply(reshapeOp, [x], { shape: [...target] })
}

const transposeOp: Op = primitive('transpose', {
  infer: ([x], attrs) => {
    const perm = attrs.perm as number[]
    if (perm.length !== x.shape.length || [...perm].sort((a, b) => a - b).some((p, i) => p !== i))
      throw new ShapeError(`perm ${showShape(perm)} is no permutation of the ${x.shape.length} axes`)
    return { shape: perm.map((p) => x.shape[p]), dtype: x.dtype }
  },
  vjp: (dy, _, __, { perm }) => [
    transpose(
      dy,
      (perm as number[]).map((_, i) => (perm as number[]).indexOf(i)),
    ),
  ],
})
/** Axis i of the result is axis perm[i] of x; without perm all axes are reversed. */
export function transpose(x: Tensor, perm?: readonly number[]): Tensor {
  const p = perm?.map((a) => normalizeAxis(a, x.rank)) ?? x.shape.map((_, i) => x.rank - 1 - i)
  return p.length === x.rank && p.every((a, i) => a === i) ? x : apply(transposeOp, [x], { perm: p })
}
/** The last two axes exchanged. */
export function swapLast(x: Tensor): Tensor {
  const n = x.rank
  return transpose(x, [...Array.from({ length: n - 2 }, (_, i) => i), n - 1, n - 2])
}

const broadcastOp: Op = primitive('broadcastTo', {
  infer: ([x], attrs) => {
    const shape = attrs.shape as Shape
    if (!isShape(shape) || !sameShape(broadcastShapes(x.shape, shape), shape))
      throw new ShapeError(`does not broadcast to ${showShape(shape)}`)
    return { shape, dtype: x.dtype }
  },
  vjp: (dy, [x]) => [unbroadcast(dy, x.shape)],
})
/** x repeated along axes of size 1 and new leading axes until it has `shape`. */
export function broadcastTo(x: Operand, shape: Shape): Tensor {
  const t = lift(x)
  return sameShape(t.shape, shape) ? t : apply(broadcastOp, [t], { shape: [...shape] })
}

/** A constant array. */
export function full(shape: Shape, value: number, dtype: DType = 'f32'): Tensor {
  if (isCompute(dtype)) return broadcastTo(constant(value, dtype), shape)
  return cast(full(shape, value, dtype === 'f16' || dtype === 'bf16' ? 'f32' : 'i32'), dtype)
}
export const zeros = (shape: Shape, dtype: DType = 'f32'): Tensor => full(shape, 0, dtype)
export const ones = (shape: Shape, dtype: DType = 'f32'): Tensor => full(shape, 1, dtype)

/** start, stop, step per axis as in NumPy; null is the default, step may be negative. */
export type SliceRange = readonly [start?: number | null, stop?: number | null, step?: number | null] | null

const sliceOp: Op = primitive('slice', {
  // begin: first index per axis; size: elements per axis; step: may be negative
  infer: ([x], attrs) => ({ shape: attrs.size as number[], dtype: x.dtype }),
  vjp: (dy, [x], _, attrs) => {
    const begin = attrs.begin as number[]
    const step = attrs.step as number[]
    const size = attrs.size as number[]
    if (step.every((s) => s === 1))
      return [
        pad(
          dy,
          x.shape.map((d, i) => [begin[i], d - begin[i] - size[i]] as [number, number]),
        ),
      ]
    return [unslice(dy, x.shape, begin, step)]
  },
})
/** Spreads dy back over the positions that a strided slice read: one axis at a time, by index. */
function unslice(dy: Tensor, shape: Shape, begin: number[], step: number[]): Tensor {
  let g = dy
  shape.forEach((d, axis) => {
    if (step[axis] === 1 && begin[axis] === 0 && g.shape[axis] === d) return
    const at = add(mul(iota(g.shape[axis], { dtype: 'i32' }), step[axis]), begin[axis])
    g = takeAdd(zeros(g.shape.map((s, i) => (i === axis ? d : s))), at, g, axis)
  })
  return g
}
/** NumPy slicing x[start:stop:step] per axis; missing axes are whole. */
export function slice(x: Tensor, ranges: readonly SliceRange[]): Tensor {
  if (ranges.length > x.rank)
    throw new ShapeError(`slice: ${ranges.length} ranges for a tensor ${showShape(x.shape)}`)
  const begin: number[] = []
  const size: number[] = []
  const step: number[] = []
  x.shape.forEach((d, i) => {
    const [start = null, stop = null, by = null] = ranges[i] ?? []
    const s = by ?? 1
    if (s === 0) throw new ShapeError('slice: a step of 0 never ends')
    const bound = (v: number, lo: number, hi: number) => Math.min(Math.max(v < 0 ? v + d : v, lo), hi)
    const from = start === null ? (s > 0 ? 0 : d - 1) : bound(start, s > 0 ? 0 : -1, s > 0 ? d : d - 1)
    const to = stop === null ? (s > 0 ? d : -1) : bound(stop, s > 0 ? 0 : -1, s > 0 ? d : d - 1)
    const n = Math.max(0, Math.ceil((to - from) / s))
    begin.push(n === 0 ? 0 : from)
    size.push(n)
    step.push(n === 0 ? 1 : s)
  })
  if (sameShape(size, x.shape) && step.every((s) => s === 1)) return x
  return apply(sliceOp, [x], { begin, size, step })
}
/** Elements from..to along one axis. */
export function sliceAxis(x: Tensor, axis: number, from: number, to: number): Tensor {
  const a = normalizeAxis(axis, x.rank)
  if (from < 0 || to > x.shape[a] || from > to)
    throw new ShapeError(`slice: range ${from}..${to} does not lie in axis ${a} of ${showShape(x.shape)}`)
  return slice(
    x,
    x.shape.map((_, i) => (i === a ? [from, to] : null)),
  )
}
/** Reversed along axes. */
export function flip(x: Tensor, axes: number | readonly number[]): Tensor {
  const list = normalizeAxes(axes, x.rank)
  return slice(
    x,
    x.shape.map((_, i) => (list.includes(i) ? [null, null, -1] : null)),
  )
}

const padOp: Op = primitive('pad', {
  infer: ([x], attrs) => ({
    shape: x.shape.map((d, i) => d + (attrs.pads as number[][])[i][0] + (attrs.pads as number[][])[i][1]),
    dtype: x.dtype,
  }),
  vjp: (dy, [x], _, { pads }) => [
    slice(
      dy,
      x.shape.map((d, i) => [(pads as number[][])[i][0], (pads as number[][])[i][0] + d]),
    ),
  ],
})
/** Constant padding, [before, after] per axis. */
export function pad(x: Tensor, pads: readonly (readonly [number, number])[], value = 0): Tensor {
  if (pads.length !== x.rank)
    throw new ShapeError(`pad: ${pads.length} pairs for a tensor ${showShape(x.shape)}; give one per axis`)
  if (pads.some(([a, b]) => a < 0 || b < 0)) throw new ShapeError('pad: negative padding; use slice')
  if (pads.every(([a, b]) => a === 0 && b === 0)) return x
  return apply(padOp, [x], { pads: pads.map((p) => [...p]), value })
}

const concatOp: Op = primitive('concat', {
  infer: (inputs, attrs) => {
    const axis = attrs.axis as number
    const first = inputs[0]
    for (const s of inputs) {
      if (s.dtype !== first.dtype)
        throw new DTypeError(`parts are ${first.dtype} and ${s.dtype}; cast one of them`)
      if (s.shape.length !== first.shape.length || s.shape.some((d, i) => i !== axis && d !== first.shape[i]))
        throw new ShapeError(
          `parts ${showShape(first.shape)} and ${showShape(s.shape)} differ outside axis ${axis}`,
        )
    }
    const total = inputs.reduce((n, s) => n + s.shape[axis], 0)
    return { shape: first.shape.map((d, i) => (i === axis ? total : d)), dtype: first.dtype }
  },
  vjp: (dy, inputs, _, { axis }) => {
    let at = 0
    return inputs.map((t) => {
      const from = at
      at += t.shape[axis as number]
      return t.dtype === 'f32' ? sliceAxis(dy, axis as number, from, at) : null
    })
  },
})
/** Parts joined along an existing axis. */
export function concat(parts: readonly Tensor[], axis = 0): Tensor {
  if (parts.length === 0) throw new ShapeError('concat: no parts')
  const a = normalizeAxis(axis, parts[0].rank)
  return parts.length === 1 ? parts[0] : apply(concatOp, parts, { axis: a })
}
/** Parts of one shape joined along a new axis. */
export function stack(parts: readonly Tensor[], axis = 0): Tensor {
  if (parts.length === 0) throw new ShapeError('stack: no parts')
  const a = normalizeAxis(axis, parts[0].rank + 1)
  return concat(
    parts.map((t) => reshape(t, [...t.shape.slice(0, a), 1, ...t.shape.slice(a)])),
    a,
  )
}
/** x cut along an axis into pieces of the given sizes. */
export function split(x: Tensor, sizes: readonly number[], axis = 0): Tensor[] {
  const a = normalizeAxis(axis, x.rank)
  const total = sizes.reduce((n, s) => n + s, 0)
  if (total !== x.shape[a])
    throw new ShapeError(`split: sizes ${showShape(sizes)} add up to ${total}, axis ${a} has ${x.shape[a]}`)
  let at = 0
  return sizes.map((s) => sliceAxis(x, a, at, (at += s)))
}

const iotaOp: Op = primitive('iota', {
  infer: (_, attrs) => ({ shape: [attrs.n as number], dtype: attrs.dtype as DType }),
})
/** start, start + step, …: n values; f32 unless a dtype is given. */
export function iota(
  n: number,
  options: { start?: number; step?: number; dtype?: 'f32' | 'i32' } = {},
): Tensor {
  if (!Number.isInteger(n) || n < 0) throw new ShapeError(`iota: n = ${n} is no count`)
  return apply(iotaOp, [], {
    n,
    start: options.start ?? 0,
    step: options.step ?? 1,
    dtype: options.dtype ?? 'f32',
  })
}
/** Identity: n rows, m columns. */
export function eye(n: number, m = n): Tensor {
  return cast(equal(reshape(iota(n, { dtype: 'i32' }), [n, 1]), iota(m, { dtype: 'i32' })), 'f32')
}
function diagonalMask(x: Tensor, keep: (row: Tensor, column: Tensor) => Tensor): Tensor {
  if (x.rank < 2) throw new ShapeError(`triu, tril need a matrix, got ${showShape(x.shape)}`)
  const n = x.shape[x.rank - 2]
  const m = x.shape[x.rank - 1]
  const zero = x.dtype === 'bool' ? false : 0
  return where(keep(reshape(iota(n, { dtype: 'i32' }), [n, 1]), iota(m, { dtype: 'i32' })), x, zero)
}
/** Elements with column − row ≥ k, zeros elsewhere. */
export const triu = (x: Tensor, k = 0): Tensor =>
  diagonalMask(x, (row, column) => lessEqual(add(row, k), column))
/** Elements with column − row ≤ k, zeros elsewhere. */
export const tril = (x: Tensor, k = 0): Tensor =>
  diagonalMask(x, (row, column) => lessEqual(column, add(row, k)))

/** A new axis of size 1. */
export function expandDims(x: Tensor, axis: number): Tensor {
  const a = normalizeAxis(axis, x.rank + 1)
  return reshape(x, [...x.shape.slice(0, a), 1, ...x.shape.slice(a)])
}
/** Axes of size 1 removed. */
export function squeeze(x: Tensor, axes?: number | readonly number[]): Tensor {
  const list =
    axes === undefined ? x.shape.flatMap((d, i) => (d === 1 ? [i] : [])) : normalizeAxes(axes, x.rank)
  if (list.some((a) => x.shape[a] !== 1))
    throw new ShapeError(`squeeze: an axis of ${showShape(list)} in ${showShape(x.shape)} is not 1`)
  return reshape(
    x,
    x.shape.filter((_, i) => !list.includes(i)),
  )
}
