/**
 * The reference kernels: plain loops for every primitive, in float32 or float64. They are the readable specification
 * and the float64 oracle, and what runs where a faster backend has nothing. They are not written to be fast.
 */
import { type DType, fromBF16, fromF16, toBF16, toF16 } from '../dtype.js'
import { ValueError } from '../errors.js'
import type { Kernel, KernelCall, KernelEntry, View } from '../kernel-backend.js'
import type { PrimitiveName } from '../ops/primitives.js'
import { threefry2x32 } from '../ops/random.js'
import { stridesOf } from '../shape.js'
import { erfDouble } from './erf.js'
import { choose, forLanes, forRows, map1, map2, mergeAxes } from './loops.js'

const entry = (run: Kernel): KernelEntry => ({ run, strided: true, how: 'reference' })
/** Element by element, so that the result may take the place of an operand. */
const elementwise = (run: Kernel): KernelEntry => ({ ...entry(run), inPlace: [[0, 1, 2]] })
const unary = (f: (a: number) => number): KernelEntry =>
  elementwise(({ inputs: [x], outputs: [y] }) => map1(y, x, f))
const binary = (f: (a: number, b: number) => number): KernelEntry =>
  elementwise(({ inputs: [a, b], outputs: [y] }) => map2(y, a, b, f))
/** Planned as a view, never run. */
const view: KernelEntry = entry(() => {
  throw new Error('a view does not run')
})

/** IEEE 754 pow: JavaScript's differs at NaN exponents and infinite exponents of ±1. */
function pow(a: number, b: number): number {
  if (a === 1 || (a === -1 && !Number.isFinite(b) && !Number.isNaN(b))) return 1
  return a ** b
}

function castTo(from: DType, to: DType): (v: number) => number {
  if (from === 'f16') return castFrom(fromF16, to)
  if (from === 'bf16') return castFrom(fromBF16, to)
  return castFrom((v) => v, to)
}
function castFrom(read: (v: number) => number, to: DType): (v: number) => number {
  switch (to) {
    case 'f16':
      return (v) => toF16(read(v))
    case 'bf16':
      return (v) => toBF16(read(v))
    case 'bool':
      return (v) => (read(v) === 0 ? 0 : 1)
    case 'i32':
    case 'i8':
    case 'u8':
      return (v) => Math.trunc(read(v))
    default:
      return read
  }
}
const cast: Kernel = ({ inputs: [x], outputs: [y] }) => {
  if (x.dtype === 'i64' || y.dtype === 'i64') {
    const walk = mergeAxes(y.shape, [y.strides, x.strides])
    const step = walk.strides[1][walk.strides[1].length - 1]
    const convert = castFrom((v) => v, y.dtype)
    forRows(walk, [y.offset, x.offset], ([po, px], n) => {
      for (let i = 0; i < n; i++) {
        const v = x.data[px + i * step]
        if (y.dtype === 'i64') (y.data as BigInt64Array)[po + i] = BigInt(Math.trunc(Number(v)))
        else (y.data as Float32Array)[po + i] = convert(Number(v))
      }
    })
    return
  }
  map1(y, x, castTo(x.dtype, y.dtype))
}

/** Strides of a keep-dims result as seen while walking the input: 0 along reduced axes. */
const keptStrides = (x: View, y: View): number[] =>
  x.shape.map((d, i) => (y.shape[i] === 1 && d !== 1 ? 0 : y.strides[i]))

/** Accumulates in double, whatever the result's precision. */
function reduce(x: View, y: View, start: number, f: (acc: number, v: number) => number): void {
  const acc = new Float64Array(y.size).fill(start)
  const strides = x.shape.map((_, i) => (y.shape[i] === 1 ? 0 : stridesOf(y.shape)[i]))
  const walk = mergeAxes(x.shape, [strides, x.strides])
  const [sa, sx] = walk.strides.map((s) => s[s.length - 1])
  const data = x.data as Float32Array
  forRows(walk, [0, x.offset], ([pa, px], n) => {
    if (sa === 0) {
      let a = acc[pa]
      for (let i = 0; i < n; i++) {
        a = f(a, data[px])
        px += sx
      }
      acc[pa] = a
    } else
      for (let i = 0; i < n; i++) {
        acc[pa] = f(acc[pa], data[px])
        pa += sa
        px += sx
      }
  })
  const out = y.data as Float32Array
  for (let i = 0; i < acc.length; i++) out[y.offset + i] = acc[i]
}
const larger = (a: number, b: number): number => (a > b || a !== a ? a : b)

const argMax: Kernel = ({ inputs: [x], outputs: [y], attrs }) => {
  const axis = (attrs.axes as number[])[0]
  const n = x.shape[axis]
  const strides = keptStrides(x, y)
  forLanes(x.shape, axis, [x, { ...y, shape: x.shape, strides }], ([px, py], [sx]) => {
    let best = x.data[px] as number
    let at = 0
    for (let i = 1; i < n && best === best; i++) {
      const v = x.data[px + i * sx] as number
      if (v > best || v !== v) {
        best = v
        at = i
      }
    }
    y.data[py] = at
  })
}

const cumsum: Kernel = ({ inputs: [x], outputs: [y], attrs }) => {
  const { axis, reverse, exclusive } = attrs as { axis: number; reverse: boolean; exclusive: boolean }
  const n = x.shape[axis]
  forLanes(x.shape, axis, [x, y], ([px, py], [sx, sy]) => {
    let sum = 0
    for (let k = 0; k < n; k++) {
      const i = reverse ? n - 1 - k : k
      const v = x.data[px + i * sx] as number
      y.data[py + i * sy] = exclusive ? sum : sum + v
      sum += v
    }
  })
}

const sort: Kernel = ({ inputs: [x], outputs: [values, indices], attrs }) => {
  const { axis, descending } = attrs as { axis: number; descending: boolean }
  const n = x.shape[axis]
  const order = Array.from({ length: n }, (_, i) => i)
  forLanes(x.shape, axis, [x, values, indices], ([px, pv, pi], [sx, sv, si]) => {
    const lane = Array.from({ length: n }, (_, i) => x.data[px + i * sx] as number)
    // NaN is largest; equal values keep their order in both directions
    const rank = (a: number, b: number): number =>
      a !== a ? (b !== b ? 0 : 1) : b !== b ? -1 : a < b ? -1 : a > b ? 1 : 0
    const sorted = [...order].sort(
      (a, b) => (descending ? rank(lane[b], lane[a]) : rank(lane[a], lane[b])) || a - b,
    )
    sorted.forEach((from, i) => {
      values.data[pv + i * sv] = lane[from]
      indices.data[pi + i * si] = from
    })
  })
}

const matmul: Kernel = ({ inputs: [a, b], outputs: [y] }) => {
  const rank = y.shape.length
  const [M, N] = [y.shape[rank - 2], y.shape[rank - 1]]
  const K = a.shape[a.shape.length - 1]
  const batch = y.shape.slice(0, -2)
  const batchStrides = (v: View): number[] => {
    const lead = batch.length - (v.shape.length - 2)
    return batch.map((_, i) => (i < lead || v.shape[i - lead] === 1 ? 0 : v.strides[i - lead]))
  }
  const walk = mergeAxes(
    [...batch, 1],
    [
      [...stridesOf(batch).map((s) => s * M * N), 0],
      [...batchStrides(a), 0],
      [...batchStrides(b), 0],
    ],
  )
  const [ra, ca] = a.strides.slice(-2)
  const [rb, cb] = b.strides.slice(-2)
  const x = a.data as Float32Array
  const w = b.data as Float32Array
  const out = y.data as Float32Array
  const row = new Float64Array(N)
  const inner = walk.strides.map((s) => s[s.length - 1])
  forRows(walk, [y.offset, a.offset, b.offset], (at, n) => {
    let [po, pa, pb] = at
    for (let g = 0; g < n; g++, po += inner[0], pa += inner[1], pb += inner[2])
      for (let i = 0; i < M; i++) {
        row.fill(0)
        for (let k = 0; k < K; k++) {
          const v = x[pa + i * ra + k * ca]
          for (let j = 0, p = pb + k * rb; j < N; j++, p += cb) row[j] += v * w[p]
        }
        for (let j = 0; j < N; j++) out[po + i * N + j] = row[j]
      }
  })
}

const pad: Kernel = ({ inputs: [x], outputs: [y], attrs }) => {
  const pads = attrs.pads as number[][]
  const out = y.data as Float32Array
  out.fill(attrs.value as number, y.offset, y.offset + y.size)
  const walk = mergeAxes(x.shape, [y.strides, x.strides])
  const step = walk.strides.map((s) => s[s.length - 1])
  const start = pads.reduce((p, [before], i) => p + before * y.strides[i], y.offset)
  forRows(walk, [start, x.offset], ([po, px], n) => {
    for (let i = 0; i < n; i++) out[po + i * step[0]] = x.data[px + i * step[1]] as number
  })
}

const concat: Kernel = ({ inputs, outputs: [y], attrs }) => {
  const axis = attrs.axis as number
  let at = y.offset
  for (const x of inputs) {
    const walk = mergeAxes(x.shape, [y.strides, x.strides])
    const step = walk.strides.map((s) => s[s.length - 1])
    forRows(walk, [at, x.offset], ([po, px], n) => {
      for (let i = 0; i < n; i++) y.data[po + i * step[0]] = x.data[px + i * step[1]]
    })
    at += x.shape[axis] * y.strides[axis]
  }
}

function bounded(id: number, size: number): number {
  if (!(id >= 0 && id < size)) throw new ValueError(`index ${id} is outside 0..${size - 1}`)
  return id
}
/** Flat copy of an index tensor, checked. */
function indices(index: View, size: number): Int32Array {
  const flat = new Int32Array(index.size)
  const walk = mergeAxes(index.shape, [stridesOf(index.shape), index.strides])
  const step = walk.strides.map((s) => s[s.length - 1])
  forRows(walk, [0, index.offset], ([p, q], n) => {
    for (let i = 0; i < n; i++) flat[p + i * step[0]] = bounded(index.data[q + i * step[1]] as number, size)
  })
  return flat
}

/** Walks [before, index, after] of take and takeAdd: x slice `id` along the axis against place i of the slices. */
function slices(
  x: View,
  s: View,
  index: View,
  axis: number,
  move: (px: number, ps: number, n: number, sx: number, ss: number) => void,
): void {
  const ids = indices(index, x.shape[axis])
  const before = x.shape.slice(0, axis)
  const after = x.shape.slice(axis + 1)
  const shape = [...before, ...after]
  const k = index.shape.length
  const walk = mergeAxes(shape, [
    [...x.strides.slice(0, axis), ...x.strides.slice(axis + 1)],
    [...s.strides.slice(0, axis), ...s.strides.slice(axis + k)],
  ])
  const [sx, ss] = walk.strides.map((t) => t[t.length - 1])
  const place = mergeAxes(index.shape, [stridesOf(index.shape), s.strides.slice(axis, axis + k)])
  const [ip, is] = place.strides.map((t) => t[t.length - 1])
  forRows(place, [0, 0], ([p, q], n) => {
    for (let i = 0; i < n; i++) {
      const id = ids[p + i * ip]
      forRows(walk, [x.offset + id * x.strides[axis], s.offset + q + i * is], ([px, ps], m) =>
        move(px, ps, m, sx, ss),
      )
    }
  })
}
const take: Kernel = ({ inputs: [x, index], outputs: [y], attrs }) =>
  slices(x, y, index, attrs.axis as number, (px, py, n, sx, sy) => {
    for (let i = 0; i < n; i++) y.data[py + i * sy] = x.data[px + i * sx]
  })
const takeAdd: Kernel = ({ inputs: [x, index, src], outputs: [y], attrs }) => {
  map1(y, x, (v) => v)
  const out = y.data as Float32Array
  slices(y, src, index, attrs.axis as number, (py, ps, n, sy, ss) => {
    for (let i = 0; i < n; i++) out[py + i * sy] += src.data[ps + i * ss] as number
  })
}

/** Visits every element of `index` with the offsets of its place in the other operands. */
function elements(
  index: View,
  x: View,
  others: readonly View[],
  axis: number,
  visit: (px: number, at: number[]) => void,
): void {
  const step = x.strides[axis]
  const along = x.strides.map((s, i) => (i === axis ? 0 : s))
  const walk = mergeAxes(index.shape, [index.strides, along, ...others.map((o) => o.strides)])
  const inner = walk.strides.map((s) => s[s.length - 1])
  forRows(walk, [index.offset, x.offset, ...others.map((o) => o.offset)], (at, n) => {
    const p = [...at]
    for (let i = 0; i < n; i++) {
      const id = bounded(index.data[p[0]] as number, x.shape[axis])
      visit(p[1] + id * step, p)
      for (let k = 0; k < p.length; k++) p[k] += inner[k]
    }
  })
}
const gather: Kernel = ({ inputs: [x, index], outputs: [y], attrs }) =>
  elements(index, x, [y], attrs.axis as number, (px, at) => {
    y.data[at[2]] = x.data[px]
  })
const scatterAdd: Kernel = ({ inputs: [x, index, src], outputs: [y], attrs }) => {
  map1(y, x, (v) => v)
  const out = y.data as Float32Array
  elements(index, y, [src], attrs.axis as number, (py, at) => {
    out[py] += src.data[at[2]] as number
  })
}

const atOffset = (offset: View, size: number, room: number, what: string): number => {
  const at = offset.data[offset.offset] as number
  if (at < 0 || at + size > room)
    throw new ValueError(`${what}: offset ${at} + ${size} is outside 0..${room}`)
  return at
}
/** Whether a result lies where its input does; both are whole arrays then. */
const isSamePlace = (y: View, x: View): boolean =>
  y.data.buffer === x.data.buffer &&
  y.data.byteOffset + y.offset * y.data.BYTES_PER_ELEMENT ===
    x.data.byteOffset + x.offset * x.data.BYTES_PER_ELEMENT

const update: Kernel = ({ inputs: [cache, patch, offset], outputs: [y], attrs }) => {
  const axis = attrs.axis as number
  const at = atOffset(offset, patch.shape[axis], cache.shape[axis], 'the cache is full')
  if (!isSamePlace(y, cache)) map1(y, cache, (v) => v)
  const target: View = { ...y, shape: patch.shape, offset: y.offset + at * y.strides[axis] }
  map1(target, patch, (v) => v)
}
const dynamicSlice: Kernel = ({ inputs: [x, offset], outputs: [y], attrs }) => {
  const axis = attrs.axis as number
  const at = atOffset(offset, y.shape[axis], x.shape[axis], 'the slice ends beyond the tensor')
  map1(y, { ...x, shape: y.shape, offset: x.offset + at * x.strides[axis] }, (v) => v)
}

const iota: Kernel = ({ outputs: [y], attrs }) => {
  const { start, step } = attrs as { start: number; step: number }
  for (let i = 0; i < y.size; i++) y.data[y.offset + i] = start + i * step
}
function random(call: KernelCall, write: (bits: number) => number): void {
  const {
    inputs: [key],
    outputs: [y],
    attrs,
  } = call
  const [low, high] = attrs.counter as [number, number]
  const k0 = key.data[key.offset] as number
  const k1 = key.data[key.offset + key.strides[0]] as number
  for (let i = 0; i < y.size; i += 2) {
    const block = i / 2
    const c0 = (low + block) | 0
    // the low word carries into the high one
    const carry = (low >>> 0) + block >= 2 ** 32 ? 1 : 0
    const words = threefry2x32(k0, k1, c0, (high + carry) | 0)
    y.data[y.offset + i] = write(words[0])
    if (i + 1 < y.size) y.data[y.offset + i + 1] = write(words[1])
  }
}

/** One entry per primitive: a missing kernel does not compile. */
export const referenceKernels: Readonly<Record<PrimitiveName, KernelEntry>> = {
  add: binary((a, b) => a + b),
  sub: binary((a, b) => a - b),
  mul: elementwise(({ inputs: [a, b], outputs: [y] }) =>
    // whole numbers wrap at 32 bits, where a product of doubles would lose its low ones
    map2(y, a, b, y.dtype === 'i32' ? Math.imul : (p, q) => p * q),
  ),
  div: elementwise(({ inputs: [a, b], outputs: [y] }) =>
    map2(y, a, b, y.dtype === 'i32' ? (p, q) => Math.trunc(p / q) : (p, q) => p / q),
  ),
  pow: binary(pow),
  maximum: binary((a, b) => (a > b || a !== a ? a : b)),
  less: binary((a, b) => (a < b ? 1 : 0)),
  lessEqual: binary((a, b) => (a <= b ? 1 : 0)),
  equal: binary((a, b) => (a === b ? 1 : 0)),
  neg: unary((a) => -a),
  exp: unary(Math.exp),
  expm1: unary(Math.expm1),
  log: unary(Math.log),
  log1p: unary(Math.log1p),
  sqrt: unary(Math.sqrt),
  sin: unary(Math.sin),
  cos: unary(Math.cos),
  tanh: unary(Math.tanh),
  erf: unary(erfDouble),
  floor: unary(Math.floor),
  cast: elementwise(cast),
  where: elementwise(({ inputs: [c, a, b], outputs: [y] }) => choose(y, c, a, b)),
  sum: entry(({ inputs: [x], outputs: [y] }) => reduce(x, y, 0, (a, v) => a + v)),
  max: entry(({ inputs: [x], outputs: [y] }) =>
    reduce(x, y, x.dtype === 'i32' ? -(2 ** 31) : Number.NEGATIVE_INFINITY, larger),
  ),
  prod: entry(({ inputs: [x], outputs: [y] }) => reduce(x, y, 1, (a, v) => a * v)),
  argMax: entry(argMax),
  cumsum: entry(cumsum),
  sort: entry(sort),
  matmul: entry(matmul),
  reshape: view,
  transpose: view,
  broadcastTo: view,
  slice: view,
  pad: entry(pad),
  concat: entry(concat),
  take: entry(take),
  takeAdd: entry(takeAdd),
  gather: entry(gather),
  scatterAdd: entry(scatterAdd),
  update: { ...entry(update), inPlace: [[0]] },
  dynamicSlice: entry(dynamicSlice),
  iota: entry(iota),
  randomBits: entry((call) => random(call, (bits) => bits)),
  randomUniform: entry((call) => random(call, (bits) => (bits >>> 8) * 2 ** -24)),
  // the executor runs the body itself
  scan: { ...view, strided: false },
}
