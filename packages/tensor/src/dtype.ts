export type ComputeDType = 'f32' | 'i32' | 'bool'
export type StorageDType = 'f16' | 'bf16' | 'i8' | 'u8' | 'i64'
export type DType = ComputeDType | StorageDType
export type Precision = 'f64' | 'f32' | 'f16'

export type TypedArray =
  | Float32Array
  | Float64Array
  | Int32Array
  | Uint8Array
  | Int8Array
  | Uint16Array
  | BigInt64Array

export const dtypes: readonly DType[] = ['f32', 'i32', 'bool', 'f16', 'bf16', 'i8', 'u8', 'i64']

const BYTES: Record<DType, number> = { f32: 4, i32: 4, bool: 1, f16: 2, bf16: 2, i8: 1, u8: 1, i64: 8 }

/** Bytes of one element; f32 takes 8 when the backend computes in float64. */
export function bytesOf(dtype: DType, precision: Precision = 'f32'): number {
  return dtype === 'f32' && precision === 'f64' ? 8 : BYTES[dtype]
}

/** A typed array over `buffer` for `dtype`. */
export function arrayOn(
  buffer: ArrayBufferLike,
  byteOffset: number,
  length: number,
  dtype: DType,
  precision: Precision = 'f32',
): TypedArray {
  switch (dtype) {
    case 'f32':
      return precision === 'f64'
        ? new Float64Array(buffer, byteOffset, length)
        : new Float32Array(buffer, byteOffset, length)
    case 'i32':
      return new Int32Array(buffer, byteOffset, length)
    case 'bool':
    case 'u8':
      return new Uint8Array(buffer, byteOffset, length)
    case 'i8':
      return new Int8Array(buffer, byteOffset, length)
    case 'f16':
    case 'bf16':
      return new Uint16Array(buffer, byteOffset, length)
    case 'i64':
      return new BigInt64Array(buffer, byteOffset, length)
  }
}

export function makeArray(dtype: DType, length: number, precision: Precision = 'f32'): TypedArray {
  return arrayOn(new ArrayBuffer(length * bytesOf(dtype, precision)), 0, length, dtype, precision)
}

/** True where arithmetic is allowed without a cast. */
export function isCompute(dtype: DType): dtype is ComputeDType {
  return dtype === 'f32' || dtype === 'i32' || dtype === 'bool'
}

const f32 = new Float32Array(1)
const u32 = new Uint32Array(f32.buffer)

/** IEEE binary16 bits of a number: nearest, ties to even, overflow to infinity. */
export function toF16(value: number): number {
  f32[0] = value
  const x = u32[0]
  const sign = (x >>> 16) & 0x8000
  const exponent = (x >>> 23) & 0xff
  let mantissa = x & 0x7fffff
  if (exponent === 0xff) return sign | 0x7c00 | (mantissa ? 0x200 | (mantissa >>> 13) : 0)
  let e = exponent - 112
  if (e >= 31) return sign | 0x7c00
  if (e <= 0) {
    if (e < -10) return sign
    mantissa |= 0x800000
    const shift = 14 - e
    const half = 1 << (shift - 1)
    let m = mantissa >>> shift
    const rest = mantissa & ((1 << shift) - 1)
    if (rest > half || (rest === half && m & 1)) m++
    return sign | m
  }
  let m = mantissa >>> 13
  const rest = mantissa & 0x1fff
  if (rest > 0x1000 || (rest === 0x1000 && m & 1)) m++
  if (m === 0x400) {
    m = 0
    e++
    if (e >= 31) return sign | 0x7c00
  }
  return sign | (e << 10) | m
}

export function fromF16(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1
  const exponent = (bits >>> 10) & 31
  const mantissa = bits & 0x3ff
  if (exponent === 31) return mantissa ? Number.NaN : sign * Number.POSITIVE_INFINITY
  if (exponent === 0) return sign * mantissa * 2 ** -24
  return sign * (1 + mantissa / 1024) * 2 ** (exponent - 15)
}

/** bfloat16 bits of a number: nearest, ties to even. */
export function toBF16(value: number): number {
  f32[0] = value
  const x = u32[0]
  if (Number.isNaN(value)) return ((x >>> 16) | 0x40) & 0xffff
  return ((x + 0x7fff + ((x >>> 16) & 1)) >>> 16) & 0xffff
}

export function fromBF16(bits: number): number {
  u32[0] = bits << 16
  return f32[0]
}
