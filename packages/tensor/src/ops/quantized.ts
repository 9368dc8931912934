/**
 * Weights of 8 and 4 bits and of half precision. A quantised weight is an f32 matrix like any other, whose node is the
 * composite `dequantize` over its packed parts: what does not know about quantisation reads it as the matrix that it
 * stands for. `linear`, `matmul` and `take` do know: they build on the parts, and the whole matrix is never made.
 *
 * How exact a product is belongs to the op, not to a backend. `quantizedLinear` rounds its activations first:
 *   int8  to 14 bits a row: far finer than the weights
 *   q4    to 8 bits a block of 32, ten times finer than the weights
 *   f16   not at all
 * The step is a power of two, so that dividing by it rounds nothing and every backend finds the same integers, and an
 * integer unit computes the same sums as floats do. A row with a NaN or an infinity becomes NaN.
 */
import { fromF16, toF16 } from '../dtype.js'
import { DTypeError, ShapeError, showShape, ValueError } from '../errors.js'
import { type Attrs, leaf, notTensor, Tensor } from '../graph.js'
import { type Shape, sameShape } from '../shape.js'
import { composite } from './define.js'
import {
  abs,
  add,
  cast,
  clamp,
  div,
  floor,
  less,
  lessEqual,
  log2,
  maximum,
  mul,
  pow,
  round,
  sub,
  where,
} from './elementwise.js'
import { take } from './indexing.js'
import { matmul } from './matmul.js'
import { max } from './reduce.js'
import { iota, pad, reshape, slice, stack, swapLast, transpose, zeros } from './shape.js'

/**
 * int8: one f32 scale an output, codes −127 … 127. q4: one f16 scale per 32 inputs of an output, codes −8 … 7. f16:
 * half precision.
 */
export type WeightFormat = 'int8' | 'q4' | 'f16'
export const weightFormats: readonly WeightFormat[] = ['int8', 'q4', 'f16']

/** What the parts of a quantised weight are parts of. */
export interface PackedAttrs extends Attrs {
  readonly format: WeightFormat
  /** Of the matrix. */
  readonly shape: readonly [number, number]
  /** The axis of outputs, along which scales differ: 1 for [in, out], 0 for a table whose rows are taken. */
  readonly outAxis: 0 | 1
}
/**
 * A quantised weight taken apart. Parts lie as kernels stream them, N outputs and K inputs rounded up with zeros:
 *   int8  codes u8 [N/16, K/4, 16, 4], plus 128; scales f32 [N]
 *   q4    codes u8 [N/4, K/32, 4, 4, 4]: byte (g, b, j, n, k) holds output 4g + n at inputs 32b + 8j + k (low half) and
 *         4 further (high half), plus 8; scales f16 [N/4, K/32, 4]
 *   f16   values f16 [N/8, K, 8]
 */
export interface Packed {
  readonly parts: readonly Tensor[]
  readonly attrs: PackedAttrs
}

const up = (n: number, by: number): number => Math.ceil(n / by)
const sizes = ({ shape, outAxis }: PackedAttrs): { n: number; k: number } => ({
  n: shape[outAxis],
  k: shape[1 - outAxis],
})

/** Shapes and dtypes that the parts of a weight must have. */
function partSpecs(attrs: PackedAttrs): { shape: Shape; dtype: Tensor['dtype'] }[] {
  const { n, k } = sizes(attrs)
  switch (attrs.format) {
    case 'int8':
      return [
        { shape: [up(n, 16), up(k, 4), 16, 4], dtype: 'u8' },
        { shape: [n], dtype: 'f32' },
      ]
    case 'q4':
      return [
        { shape: [up(n, 4), up(k, 32), 4, 4, 4], dtype: 'u8' },
        { shape: [up(n, 4), up(k, 32), 4], dtype: 'f16' },
      ]
    case 'f16':
      return [{ shape: [up(n, 8), k, 8], dtype: 'f16' }]
  }
}
const partCount = (attrs: PackedAttrs): number => partSpecs(attrs).length

function checkParts(parts: readonly { shape: Shape; dtype: string }[], attrs: PackedAttrs): void {
  for (const [i, { shape, dtype }] of partSpecs(attrs).entries()) {
    const given = parts[i]
    if (given?.dtype !== dtype)
      throw new DTypeError(`part ${i} of a weight in ${attrs.format} is ${given?.dtype}, expected ${dtype}`)
    if (!sameShape(given.shape, shape))
      throw new ShapeError(
        `part ${i} of a weight in ${attrs.format} is ${showShape(given.shape)}, expected ${showShape(shape)}`,
      )
  }
}

/** Every value, outputs first: [N, K]. */
function unpack([codes, scales]: readonly Tensor[], attrs: PackedAttrs): Tensor {
  const { n, k } = sizes(attrs)
  const whole = (x: Tensor): Tensor =>
    slice(x, [
      [0, n],
      [0, k],
    ])
  switch (attrs.format) {
    case 'int8': {
      const [groups, steps] = codes.shape
      const rows = reshape(transpose(codes, [0, 2, 1, 3]), [groups * 16, steps * 4])
      return mul(sub(cast(whole(rows), 'f32'), 128), reshape(scales, [n, 1]))
    }
    case 'q4': {
      const [groups, blocks] = codes.shape
      const halves = transpose(nibbles(codes), [0, 4, 1, 2, 3, 5]) // [group, output, block, j, half, k]
      const scale = reshape(transpose(cast(scales, 'f32'), [0, 2, 1]), [groups * 4, blocks, 1])
      return whole(reshape(mul(reshape(halves, [groups * 4, blocks, 32]), scale), [groups * 4, blocks * 32]))
    }
    case 'f16': {
      const [groups, depth] = codes.shape
      return whole(reshape(transpose(cast(codes, 'f32'), [0, 2, 1]), [groups * 8, depth]))
    }
  }
}

/** Bytes [.., output, k] to codes [.., half, output, k], −8 … 7. */
function nibbles(bytes: Tensor): Tensor {
  const value = cast(bytes, 'f32')
  const high = floor(mul(value, 1 / 16))
  return sub(stack([sub(value, mul(high, 16)), high], value.rank - 2), 8)
}

const dequantizeOf = composite('dequantize', {
  infer: (parts, attrs) => {
    const packed = attrs as PackedAttrs
    checkParts(parts, packed)
    return { shape: packed.shape, dtype: 'f32' }
  },
  body: (parts, attrs) => {
    const packed = attrs as PackedAttrs
    const w = unpack(parts, packed)
    return [packed.outAxis === 0 ? w : swapLast(w)]
  },
})
/** The weight again, from its parts: for composites that take a quantised weight's parts as inputs of their own. */
export function dequantize({ parts, attrs }: Packed): Tensor {
  return dequantizeOf(parts, attrs)[0]
}
/** The parts of a quantised weight; null for every other tensor. */
export function packedParts(w: Tensor): Packed | null {
  // products ask here before anything else is known of w
  if (!(w instanceof Tensor)) throw notTensor(w)
  const { op, inputs, attrs } = w.node
  return op.name === 'dequantize' ? { parts: inputs, attrs: attrs as PackedAttrs } : null
}

/** Powers of two: p ≤ x < 2p. The logarithm's rounding is put right, so that the result is exact. */
function powerBelow(x: Tensor): Tensor {
  const guess = pow(2, floor(log2(x)))
  const raised = where(lessEqual(mul(guess, 2), x), mul(guess, 2), guess)
  return where(less(x, raised), mul(raised, 0.5), raised)
}
/** To a grid of 2 · 2^bits − 1 points a row (last axis), symmetric around 0. */
function roundRows(x: Tensor, bits: number): Tensor {
  const largest = maximum(max(abs(x), { axes: -1, keepDims: true }), 2 ** -100)
  const step = mul(powerBelow(largest), 2 ** (1 - bits))
  const limit = 2 ** bits - 1
  return mul(clamp(round(div(x, step)), { lo: -limit, hi: limit }), step)
}
/** What `quantizedLinear` makes of its activations [.., K]. */
function roundActivations(x: Tensor, format: WeightFormat): Tensor {
  if (format === 'f16' || x.size === 0) return x
  if (format === 'int8') return roundRows(x, 13)
  const k = x.shape[x.rank - 1]
  const blocks = up(k, 32)
  const padded = pad(
    x,
    x.shape.map((_, i) => [0, i === x.rank - 1 ? blocks * 32 - k : 0]),
  )
  const lead = x.shape.slice(0, -1)
  const rounded = reshape(roundRows(reshape(padded, [...lead, blocks, 32]), 7), [...lead, blocks * 32])
  return slice(
    rounded,
    x.shape.map((d) => [0, d]),
  )
}

const productOf = (x: Tensor, w: Tensor, bias: Tensor | undefined): Tensor => {
  const y = matmul(x, w)
  return bias ? add(y, bias) : y
}
const quantizedLinearOf = composite('quantizedLinear', {
  infer: ([x, ...rest], attrs) => {
    const packed = attrs as PackedAttrs
    const count = partCount(packed)
    const { n, k } = sizes(packed)
    checkParts(rest, packed)
    if (x.dtype !== 'f32') throw new DTypeError(`x is ${x.dtype}, expected f32`)
    if (x.shape.length === 0 || x.shape[x.shape.length - 1] !== k)
      throw new ShapeError(`the last axis of x is ${x.shape[x.shape.length - 1]}, the weight takes ${k}`)
    const bias = rest[count]
    if (bias && (bias.shape.length !== 1 || bias.shape[0] !== n))
      throw new ShapeError(`the bias is ${showShape(bias.shape)}, expected [${n}]`)
    return { shape: [...x.shape.slice(0, -1), n], dtype: 'f32' }
  },
  body: ([x, ...rest], attrs) => {
    const packed = attrs as PackedAttrs
    const w = swapLast(unpack(rest, packed)) // [K, N]
    return [productOf(roundActivations(x, packed.format), w, rest[partCount(packed)])]
  },
  // rounding has no slope: gradients are those of the product with activations as they came
  gradBody: ([x, ...rest], attrs) => {
    const packed = attrs as PackedAttrs
    return [productOf(x, swapLast(unpack(rest, packed)), rest[partCount(packed)])]
  },
})
/** x · weight + bias with a quantised weight, whichever of its axes is the outputs'. x [.., K] → [.., N]. */
export function quantizedLinear(x: Tensor, { parts, attrs }: Packed, bias?: Tensor): Tensor {
  return quantizedLinearOf(bias ? [x, ...parts, bias] : [x, ...parts], attrs)[0]
}

/** Rows of a quantised table by i32 ids [..]: their codes are taken first, so that nothing else is dequantised. */
export function takePackedRows({ parts: [codes, scales], attrs }: Packed, index: Tensor): Tensor {
  const { n, k } = sizes(attrs)
  // reads nothing but whether the ids are in range: what they become below could lie in the padding
  const ids = add(index, take(zeros([n], 'i32'), index))
  const lead = index.shape
  const width = codes.shape[codes.rank - 1]
  /** Output `ids` of parts that lie [group, .., output, width]: [..ids, middle, width]. */
  const rows = (x: Tensor, lanes: number, last: number, middle: number): Tensor => {
    const group = div(ids, lanes)
    const lane = sub(ids, mul(group, lanes))
    const first = reshape(add(mul(group, middle * lanes), lane), [...lead, 1])
    return take(reshape(x, [-1, last]), add(first, mul(iota(middle, { dtype: 'i32' }), lanes)))
  }
  const whole = (x: Tensor): Tensor => slice(x, [...lead.map(() => null), [0, k]])
  if (attrs.format === 'int8') {
    const row = reshape(rows(codes, 16, width, codes.shape[1]), [...lead, codes.shape[1] * 4])
    return mul(sub(whole(cast(row, 'f32')), 128), take(reshape(scales, [n, 1]), ids))
  }
  if (attrs.format === 'f16') {
    const row = rows(codes, 8, 1, k)
    return reshape(cast(row, 'f32'), [...lead, k])
  }
  const blocks = codes.shape[1]
  const bytes = reshape(rows(codes, 4, width, blocks * 4), [...lead, blocks, 4, 1, 4])
  const values = reshape(nibbles(bytes), [...lead, blocks, 32])
  return whole(reshape(mul(values, cast(rows(scales, 4, 1, blocks), 'f32')), [...lead, blocks * 32]))
}

/** A quantised weight, and how far it is from the one that was given. */
export interface QuantizedWeight {
  readonly weight: Tensor
  /** √(Σ (ŵ − w)² / Σ w²). */
  readonly rms: number
  /** Largest |ŵ − w| over largest |w|. */
  readonly worst: number
  /** Of all parts. */
  readonly bytes: number
}

/**
 * Quantises a matrix of given values.
 *
 * int8: scale = largest |w| of the output / 127. q4: scale = the value of largest size of the block / −8, in half
 * precision, so that it is met exactly. f16: nearest, ties to even.
 * @throws ValueError for values that the format cannot hold: NaN, infinities, beyond half precision.
 */
export function quantizeWeight(
  values: ArrayLike<number>,
  shape: readonly [number, number],
  options: { format: WeightFormat; outAxis?: 0 | 1 },
): QuantizedWeight {
  const { format, outAxis = 1 } = options
  if (!weightFormats.includes(format))
    throw new ValueError(
      `quantizeWeight: format '${String(format)}' is unknown; use ${weightFormats.join(', ')}`,
    )
  if (values.length !== shape[0] * shape[1])
    throw new ShapeError(`quantizeWeight: ${values.length} values for ${showShape(shape)}`)
  const attrs: PackedAttrs = { format, shape: [shape[0], shape[1]], outAxis }
  const { n, k } = sizes(attrs)
  let norm = 0
  let largest = 0
  for (let i = 0; i < values.length; i++) {
    const v = Math.abs(values[i])
    if (!(v < Infinity))
      throw new ValueError(`quantizeWeight: element ${i} is ${values[i]}; only finite weights have codes`)
    norm += v * v
    if (v > largest) largest = v
  }
  const limit = { int8: Infinity, q4: 8 * 65504, f16: 65504 }[format]
  if (largest > limit)
    throw new ValueError(
      `quantizeWeight: a weight of size ${largest} does not fit ${format}, which ends at ${limit}; use int8`,
    )
  const { arrays, pack } = { int8: packInt8, q4: packQ4, f16: packF16 }[format](n, k)
  const error = { squares: 0, worst: 0 }
  eachOutput(values, n, k, outAxis, (o, row) => pack(o, row, error))
  const parts = partSpecs(attrs).map((spec, i) => leaf(spec, arrays[i]))
  return {
    weight: dequantize({ parts, attrs }),
    rms: norm > 0 ? Math.sqrt(error.squares / norm) : 0,
    worst: largest > 0 ? error.worst / largest : 0,
    bytes: arrays.reduce((sum, a) => sum + a.byteLength, 0),
  }
}

/** Σ (ŵ − w)² and the largest |ŵ − w| so far. */
interface Miss {
  squares: number
  worst: number
}
/** Arrays of the parts, and what writes one output's inputs into them. */
interface Packer {
  readonly arrays: readonly (Uint8Array | Uint16Array | Float32Array)[]
  pack(o: number, row: Float64Array, miss: Miss): void
}

/** Calls `use` with the inputs of each output. Columns are read 16 at a time, as they share lines of the cache. */
function eachOutput(
  values: ArrayLike<number>,
  n: number,
  k: number,
  outAxis: 0 | 1,
  use: (o: number, row: Float64Array) => void,
): void {
  const group = 16
  const rows = Array.from({ length: group }, () => new Float64Array(k))
  const [outStride, inStride] = outAxis === 0 ? [k, 1] : [1, n]
  for (let o = 0; o < n; o += group) {
    const count = Math.min(group, n - o)
    for (let i = 0; i < k; i++)
      for (let j = 0; j < count; j++) rows[j][i] = values[(o + j) * outStride + i * inStride]
    for (let j = 0; j < count; j++) use(o + j, rows[j])
  }
}

function packInt8(n: number, k: number): Packer {
  const steps = up(k, 4)
  const codes = new Uint8Array(up(n, 16) * steps * 64).fill(128)
  const scales = new Float32Array(n)
  const pack = (o: number, row: Float64Array, miss: Miss): void => {
    let largest = 0
    for (let i = 0; i < k; i++) largest = Math.max(largest, Math.abs(row[i]))
    scales[o] = largest / 127
    const scale = scales[o]
    // nothing but zeros, or weights so small that they have no scale
    const inverse = scale > 0 ? 1 / scale : 0
    const to = (o >> 4) * steps * 64 + (o & 15) * 4
    let { squares, worst } = miss
    for (let i = 0; i < k; i++) {
      const code = Math.max(-127, Math.min(127, Math.round(row[i] * inverse)))
      codes[to + (i >> 2) * 64 + (i & 3)] = code + 128
      const off = Math.abs(code * scale - row[i])
      squares += off * off
      worst = Math.max(worst, off)
    }
    miss.squares = squares
    miss.worst = worst
  }
  return { arrays: [codes, scales], pack }
}

function packQ4(n: number, k: number): Packer {
  const blocks = up(k, 32)
  // the code of 0, also where nothing stands
  const codes = new Uint8Array(up(n, 4) * blocks * 64).fill(0x88)
  const scales = new Uint16Array(up(n, 4) * blocks * 4)
  const pack = (o: number, row: Float64Array, miss: Miss): void => {
    let { squares, worst } = miss
    for (let b = 0; b < blocks; b++) {
      const block = (o >> 2) * blocks + b
      const end = Math.min(k, b * 32 + 32)
      let widest = 0
      for (let i = b * 32; i < end; i++) if (Math.abs(row[i]) > Math.abs(widest)) widest = row[i]
      const bits = toF16(widest / -8)
      scales[block * 4 + (o & 3)] = bits
      const scale = fromF16(bits)
      const inverse = scale === 0 ? 0 : 1 / scale
      for (let i = b * 32; i < end; i++) {
        const code = Math.max(-8, Math.min(7, Math.round(row[i] * inverse)))
        const byte = block * 64 + ((i & 31) >> 3) * 16 + (o & 3) * 4 + (i & 3)
        codes[byte] = i & 4 ? (codes[byte] & 15) | ((code + 8) << 4) : (codes[byte] & 0xf0) | (code + 8)
        const off = Math.abs(code * scale - row[i])
        squares += off * off
        worst = Math.max(worst, off)
      }
    }
    miss.squares = squares
    miss.worst = worst
  }
  return { arrays: [codes, scales], pack }
}

function packF16(n: number, k: number): Packer {
  const halves = new Uint16Array(up(n, 8) * k * 8)
  const pack = (o: number, row: Float64Array, miss: Miss): void => {
    for (let i = 0; i < k; i++) {
      const bits = toF16(row[i])
      halves[((o >> 3) * k + i) * 8 + (o & 7)] = bits
      const off = Math.abs(fromF16(bits) - row[i])
      miss.squares += off * off
      miss.worst = Math.max(miss.worst, off)
    }
  }
  return { arrays: [halves], pack }
}
