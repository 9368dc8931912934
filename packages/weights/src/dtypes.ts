// The element types of safetensors: their sizes, their arrays, and the exact conversions to and from float32.

/** Every dtype of the format, in the order of the Rust library (which the writer sorts by). */
export const dtypes = [
  'BOOL',
  'F4',
  'F6_E2M3',
  'F6_E3M2',
  'U8',
  'I8',
  'F8_E5M2',
  'F8_E4M3',
  'F8_E8M0',
  'F8_E4M3FNUZ',
  'F8_E5M2FNUZ',
  'I16',
  'U16',
  'F16',
  'BF16',
  'I32',
  'U32',
  'F32',
  'C64',
  'F64',
  'I64',
  'U64',
] as const

export type WeightDType = (typeof dtypes)[number]

/**
 * What `read` gives. F16 and BF16 are their bits as Uint16Array, BOOL and the 8-bit floats their bytes, sub-byte floats
 * the packed bytes, C64 pairs (real, imaginary).
 */
export type WeightData =
  | Float64Array<ArrayBuffer>
  | Float32Array<ArrayBuffer>
  | BigInt64Array<ArrayBuffer>
  | BigUint64Array<ArrayBuffer>
  | Int32Array<ArrayBuffer>
  | Uint32Array<ArrayBuffer>
  | Int16Array<ArrayBuffer>
  | Uint16Array<ArrayBuffer>
  | Int8Array<ArrayBuffer>
  | Uint8Array<ArrayBuffer>

interface ArrayOf {
  new (buffer: ArrayBuffer): WeightData
  readonly BYTES_PER_ELEMENT: number
}

const table: Record<WeightDType, { bits: number; array: ArrayOf }> = {
  BOOL: { bits: 8, array: Uint8Array },
  F4: { bits: 4, array: Uint8Array },
  F6_E2M3: { bits: 6, array: Uint8Array },
  F6_E3M2: { bits: 6, array: Uint8Array },
  U8: { bits: 8, array: Uint8Array },
  I8: { bits: 8, array: Int8Array },
  F8_E5M2: { bits: 8, array: Uint8Array },
  F8_E4M3: { bits: 8, array: Uint8Array },
  F8_E8M0: { bits: 8, array: Uint8Array },
  F8_E4M3FNUZ: { bits: 8, array: Uint8Array },
  F8_E5M2FNUZ: { bits: 8, array: Uint8Array },
  I16: { bits: 16, array: Int16Array },
  U16: { bits: 16, array: Uint16Array },
  F16: { bits: 16, array: Uint16Array },
  BF16: { bits: 16, array: Uint16Array },
  I32: { bits: 32, array: Int32Array },
  U32: { bits: 32, array: Uint32Array },
  F32: { bits: 32, array: Float32Array },
  C64: { bits: 64, array: Float32Array },
  F64: { bits: 64, array: Float64Array },
  I64: { bits: 64, array: BigInt64Array },
  U64: { bits: 64, array: BigUint64Array },
}

export const isDType = (name: string): name is WeightDType => Object.hasOwn(table, name)
export const bitsOf = (dtype: WeightDType): number => table[dtype].bits
/** The array class that holds a dtype. */
export const arrayOf = (dtype: WeightDType): ArrayOf => table[dtype].array

/** Views bytes that start at byte 0 of their buffer as the array of a dtype. Nothing is copied. */
export const viewAs = (dtype: WeightDType, bytes: Uint8Array<ArrayBuffer>): WeightData =>
  new (arrayOf(dtype))(bytes.buffer)

/** Builds the float32 of every code of a small float format: sign, `exponentBits`, `mantissaBits`, IEEE-like bias. */
function smallFloats(
  exponentBits: number,
  mantissaBits: number,
  special: (exponent: number, mantissa: number) => number | undefined,
): Float32Array {
  const codes = 2 ** (1 + exponentBits + mantissaBits)
  const bias = 2 ** (exponentBits - 1) - 1
  const values = new Float32Array(codes)
  for (let code = 0; code < codes; code++) {
    const sign = code >= codes / 2 ? -1 : 1
    const exponent = (code >> mantissaBits) & (2 ** exponentBits - 1)
    const mantissa = code & (2 ** mantissaBits - 1)
    const fraction = mantissa / 2 ** mantissaBits
    const magnitude =
      special(exponent, mantissa) ??
      (exponent === 0 ? fraction * 2 ** (1 - bias) : (1 + fraction) * 2 ** (exponent - bias))
    values[code] = sign * magnitude
  }
  return values
}

let halfTable: Float32Array | undefined
/** 65,536 values, built when the first half is read: looking up is faster than taking bits apart. */
const halves = () => {
  halfTable ??= smallFloats(5, 10, (e, m) => (e < 31 ? undefined : m === 0 ? Infinity : Number.NaN))
  return halfTable
}
let e4m3Table: Float32Array | undefined
let e5m2Table: Float32Array | undefined

function lookUp(codes: Uint8Array | Uint16Array, values: Float32Array): Float32Array<ArrayBuffer> {
  const out = new Float32Array(codes.length)
  for (let i = 0; i < codes.length; i++) out[i] = values[codes[i]]
  return out
}

/** IEEE binary16 bits to float32: exact. */
export const fromF16 = (bits: Uint16Array): Float32Array<ArrayBuffer> => lookUp(bits, halves())

/** bfloat16 bits (the upper half of a float32) to float32: exact. */
export function fromBF16(bits: Uint16Array): Float32Array<ArrayBuffer> {
  const words = new Uint32Array(bits.length)
  for (let i = 0; i < bits.length; i++) words[i] = bits[i] << 16
  return new Float32Array(words.buffer)
}

/** F8_E4M3 (the "fn" kind: no infinity, ±NaN at the largest code) to float32: exact. Source: OCP 8-bit floating point. */
export function fromF8E4M3(codes: Uint8Array): Float32Array<ArrayBuffer> {
  e4m3Table ??= smallFloats(4, 3, (e, m) => (e === 15 && m === 7 ? Number.NaN : undefined))
  return lookUp(codes, e4m3Table)
}

/** F8_E5M2 (IEEE-like, with infinities) to float32: exact. Source: OCP 8-bit floating point. */
export function fromF8E5M2(codes: Uint8Array): Float32Array<ArrayBuffer> {
  e5m2Table ??= smallFloats(5, 2, (e, m) => (e < 31 ? undefined : m === 0 ? Infinity : Number.NaN))
  return lookUp(codes, e5m2Table)
}

/** float32 to IEEE binary16 bits, round to nearest, ties to even; beyond 65,519.99 is ±inf, NaN stays NaN. */
export function toF16(values: Float32Array): Uint16Array<ArrayBuffer> {
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length)
  const out = new Uint16Array(values.length)
  for (let i = 0; i < words.length; i++) {
    const word = words[i]
    const sign = (word >>> 16) & 0x8000
    const exponent = (word >>> 23) & 0xff
    const mantissa = word & 0x7fffff
    if (exponent === 0xff) {
      out[i] = sign | 0x7c00 | (mantissa === 0 ? 0 : 0x200 | (mantissa >>> 13))
      continue
    }
    const e = exponent - 112 // bias 127 → 15
    if (e <= 0) {
      // below 2^-14: a count of steps of 2^-24; scaling by a power of two is exact, only the rounding rounds
      const scaled = Math.abs(values[i]) * 2 ** 24
      const down = Math.floor(scaled)
      const rest = scaled - down
      out[i] = sign | (down + (rest > 0.5 || (rest === 0.5 && down % 2 === 1) ? 1 : 0))
      continue
    }
    const kept = (e << 10) | (mantissa >>> 13)
    const rest = mantissa & 0x1fff
    const up = rest > 0x1000 || (rest === 0x1000 && (kept & 1) === 1) ? 1 : 0
    out[i] = sign | Math.min(kept + up, 0x7c00) // a carry runs into the exponent, as it should
  }
  return out
}

/** float32 to bfloat16 bits, round to nearest, ties to even; NaN stays NaN. */
export function toBF16(values: Float32Array): Uint16Array<ArrayBuffer> {
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length)
  const out = new Uint16Array(values.length)
  for (let i = 0; i < words.length; i++) {
    const word = words[i]
    const nan = (word & 0x7fffffff) > 0x7f800000
    out[i] = nan ? (word >>> 16) | 0x40 : (word + 0x7fff + ((word >>> 16) & 1)) >>> 16
  }
  return out
}

/**
 * Any float, BOOL or integer of at most 16 bits as float32. F64 is rounded, all others are exact. Undefined for dtypes
 * that float32 cannot hold (32- and 64-bit integers) or that have no plain value (packed, complex).
 */
export function toFloat32(dtype: WeightDType, data: WeightData): Float32Array<ArrayBuffer> | undefined {
  switch (dtype) {
    case 'F32':
      return data as Float32Array<ArrayBuffer>
    case 'F16':
      return fromF16(data as Uint16Array)
    case 'BF16':
      return fromBF16(data as Uint16Array)
    case 'F8_E4M3':
      return fromF8E4M3(data as Uint8Array)
    case 'F8_E5M2':
      return fromF8E5M2(data as Uint8Array)
    case 'F64':
    case 'BOOL':
    case 'U8':
    case 'I8':
    case 'U16':
    case 'I16':
      return Float32Array.from(data as Float64Array | Int16Array)
    default:
      return undefined
  }
}
