// Products of float rows with quantised weights: y = f(x̂·Ŵ + bias) + residual, where the format says how x is rounded to x̂.
// packages/tensor/src/ops/quantized.ts defines the numbers and the layout of the codes; this computes the same integers.
//
// Integer sums are exact, so every engine finds the same ones. int8 takes its unsigned bytes out of words of 16 bits and
// multiplies those: where relaxed SIMD multiplies bytes, two of them would have to stand for an activation of 14 bits, and
// that is slower without a dot instruction of the processor. q4 multiplies bytes where the build may: 8 products of a nibble and
// an activation of 8 bits add up in 16 bits. What makes codes unsigned (128, or 8) leaves the sums again: they begin at
// −128·Σ q, or −8·Σ q.

import { finish } from './matmul'
import { MR, fma, tile } from './tile'
import { loadPart, storePart } from './vector'

// In memory because V8 builds a v128 constant again at every use: a nibble of every byte, a half's sign and its other bits
// shifted by 3 or 13, 2^112, a nibble and the lower byte of every 16 bits.
const NIBBLES: usize = memory.data<u32>([0x0f0f0f0f, 0x8fff8fff, 0x8fffffff, 0x77800000, 0x000f000f, 0x00ff00ff])

/** Columns of a unit of work. */
// @ts-ignore: decorator
@inline const UNIT: i32 = 16
// @ts-ignore: decorator
@inline const INT8: i32 = 0
// @ts-ignore: decorator
@inline const Q4: i32 = 1
/** Up to so many rows halves are decoded for every row again, and multiplied as they are decoded. */
// @ts-ignore: decorator
@inline const FEW: i32 = 4
/** Σ w·q stays below 2^31 for so many steps of 4 inputs (what it passes on the way there may wrap around). */
// @ts-ignore: decorator
@inline const STEPS: i32 = 512
/** Bytes of a block of 32 rounded activations, with its step and −8·Σ q before them. */
// @ts-ignore: decorator
@inline const BLOCK: usize = ASC_FEATURE_RELAXED_SIMD ? 40 : 72

/** The job, word by word as src/quantized.ts writes it. x and y are contiguous. */
@unmanaged
class Quantized {
  /** 0 int8, 1 q4, 2 f16. */
  format: i32
  m: i32
  n: i32
  k: i32
  x: usize
  codes: usize
  scales: usize
  y: usize
  /** m rows of rounded activations: m · activationBytes(format, m, k). */
  rounded: usize
  /** Rows of a chunk of activations, columns of a chunk of the product. */
  rows: i32
  cols: i32
  bias: usize
  form: i32
  residual: usize
}

/** Bytes before a row of int8: its step, and where the sum over each STEPS begins. */
// @ts-ignore: decorator
@inline function headBytes(k: i32): usize {
  return (<usize>((k + 4 * STEPS - 1) / (4 * STEPS)) * 4 + 19) & ~15
}
/** Bytes of one row of rounded activations. */
export function activationBytes(format: i32, m: i32, k: i32): usize {
  if (format == INT8) return headBytes(k) + (<usize>(k + 3) >> 2 << 3)
  if (format == Q4) return <usize>((k + 31) >> 5) * BLOCK
  return m > FEW ? 0 : 16 + ((<usize>k + 3) & ~3) * 4
}
/** Bytes that a thread needs beside them. */
export function quantizedScratch(format: i32, m: i32, k: i32): usize {
  return format > Q4 && m > FEW ? <usize>k * 32 + 6 * 32 : 0
}

// @ts-ignore: decorator
@inline function sumOf(v: v128): i32 {
  return i32x4.extract_lane(v, 0) + i32x4.extract_lane(v, 1) + i32x4.extract_lane(v, 2) + i32x4.extract_lane(v, 3)
}
// @ts-ignore: decorator
@inline function power(exponent: i32): f32 {
  return reinterpret<f32>((exponent + 127) << 23)
}
/** Up to 4 floats of which n are there. */
// @ts-ignore: decorator
@inline function load4(p: usize, n: i32): v128 {
  return n >= 4 ? v128.load(p) : n > 0 ? loadPart(p, n) : f32x4.splat(0)
}
// @ts-ignore: decorator
@inline function store4(p: usize, n: i32, v: v128): void {
  if (n >= 4) v128.store(p, v)
  else if (n > 0) storePart(p, n, v)
}

/** Largest |x| of n, at least 2^−100; NaN if one is. */
function largest(x: usize, n: i32): f32 {
  let most = f32x4.splat(7.888609052210118e-31)
  for (; n > 0; n -= 4) {
    most = f32x4.max(most, f32x4.abs(load4(x, n)))
    x += 16
  }
  return max<f32>(
    max<f32>(f32x4.extract_lane(most, 0), f32x4.extract_lane(most, 1)),
    max<f32>(f32x4.extract_lane(most, 2), f32x4.extract_lane(most, 3)),
  )
}
// @ts-ignore: decorator
@inline function exponentOf(x: f32): i32 {
  return (reinterpret<i32>(x) >> 23) - 127
}
/** 4 values on the grid, as integers between ±limit. NaN gives 0. */
// @ts-ignore: decorator
@inline function onGrid(x: v128, inverse: v128, limit: v128): v128 {
  const q = i32x4.trunc_sat_f32x4_s(f32x4.nearest(f32x4.mul(x, inverse)))
  return i32x4.max_s(i32x4.min_s(q, limit), i32x4.neg(limit))
}

function roundInt8(k: i32, x: usize, to: usize): void {
  const most = largest(x, k)
  const finite = most < Infinity
  const e = finite ? exponentOf(most) : 0
  store<f32>(to, finite ? power(e - 12) : NaN)
  let start = to + 4
  to += headBytes(k)
  const inverse = f32x4.splat(power(12 - e))
  const limit = i32x4.splat(8191)
  while (k > 0) {
    let sum = i32x4.splat(0)
    for (let s = min((k + 3) >> 2, STEPS); s > 0; s--) {
      const q = onGrid(load4(x, k), inverse, limit)
      sum = i32x4.add(sum, q)
      // even inputs, then odd ones, as they leave words of 16 bits
      const words = i16x8.narrow_i32x4_s(q, q)
      v128.store64_lane(to, v128.shuffle<i16>(words, words, 0, 2, 1, 3, 0, 2, 1, 3), 0)
      x += 16
      to += 8
      k -= 4
    }
    store<i32>(start, -128 * sumOf(sum))
    start += 4
  }
}

function roundQ4(k: i32, x: usize, to: usize): void {
  const limit = i32x4.splat(127)
  for (; k > 0; k -= 32) {
    const most = largest(x, min(k, 32))
    const finite = most < Infinity
    const e = finite ? exponentOf(most) : 0
    store<f32>(to, finite ? power(e - 6) : NaN)
    const inverse = f32x4.splat(power(6 - e))
    let sum = i32x4.splat(0)
    let p = to + 8
    for (let i = 0; i < 32; i += 4) {
      const q = onGrid(load4(x, k - i), inverse, limit)
      sum = i32x4.add(sum, q)
      const words = i16x8.narrow_i32x4_s(q, q)
      if (ASC_FEATURE_RELAXED_SIMD) {
        v128.store32_lane(p, i8x16.narrow_i16x8_s(words, words), 0)
        p += 4
      } else {
        // in the order in which nibbles leave words of 16 bits: 0 2, 4 6, 1 3, 5 7
        const turned = v128.shuffle<i16>(words, words, 0, 2, 1, 3, 0, 2, 1, 3)
        v128.store32_lane(p, turned, 0)
        v128.store32_lane(p, turned, 1, 8)
        p += i & 4 ? 12 : 4
      }
      x += 16
    }
    store<i32>(to + 4, -8 * sumOf(sum))
    to += BLOCK
  }
}

/** Not rounded: times a power of two that a half's missing bias of 2^112 brings back, and what is left of it. */
function scaleF16(k: i32, x: usize, to: usize): void {
  // what is not finite has the exponent 128, and stays as it is
  const e = max(exponentOf(largest(x, k)), 0)
  store<f32>(to, power(e - 13))
  to += 16
  const factor = f32x4.splat(power(125 - e))
  for (; k > 0; k -= 4) {
    v128.store(to, f32x4.mul(load4(x, k), factor))
    x += 16
    to += 16
  }
}

/** Chunk of rounding activations. */
export function roundChunk(job: usize, chunk: i32): void {
  const p = changetype<Quantized>(job)
  const bytes = activationBytes(p.format, p.m, p.k)
  const last = min(p.m, (chunk + 1) * p.rows)
  for (let i = chunk * p.rows; i < last; i++) {
    const x = p.x + (<usize>(i * p.k) << 2)
    const to = p.rounded + <usize>i * bytes
    if (p.format == INT8) roundInt8(p.k, x, to)
    else if (p.format == Q4) roundQ4(p.k, x, to)
    else scaleF16(p.k, x, to)
  }
}

// @ts-ignore: decorator
@inline function addDot(sum: v128, a: v128, b: v128): v128 {
  return i32x4.add(sum, i32x4.dot_i16x8_s(a, b))
}
/** Writes up to 4 of n columns of int8. */
// @ts-ignore: decorator
@inline function endInt8(y: usize, n: i32, sum: v128, scales: usize, step: v128): void {
  store4(y, n, f32x4.mul(sum, f32x4.mul(load4(scales, n), step)))
}

/** 16 columns of one row: a line of 64 bytes holds 4 inputs of each. */
function int8Unit(k: i32, a: usize, w: usize, n: i32, scales: usize, y: usize): void {
  const step = v128.load32_splat(a)
  const low = v128.load32_splat(NIBBLES, 20)
  let start = a + 4
  a += headBytes(k)
  let y0 = f32x4.splat(0)
  let y1 = y0
  let y2 = y0
  let y3 = y0
  for (let steps = (k + 3) >> 2; steps > 0; steps -= STEPS) {
    let s0 = v128.load32_splat(start)
    let s1 = s0
    let s2 = s0
    let s3 = s0
    let t0 = i32x4.splat(0)
    let t1 = t0
    let t2 = t0
    let t3 = t0
    for (let s = min(steps, STEPS); s > 0; s--) {
      const even = v128.load32_splat(a)
      const odd = v128.load32_splat(a, 4)
      let c = v128.load(w)
      s0 = addDot(s0, v128.and(c, low), even)
      t0 = addDot(t0, i16x8.shr_u(c, 8), odd)
      c = v128.load(w, 16)
      s1 = addDot(s1, v128.and(c, low), even)
      t1 = addDot(t1, i16x8.shr_u(c, 8), odd)
      c = v128.load(w, 32)
      s2 = addDot(s2, v128.and(c, low), even)
      t2 = addDot(t2, i16x8.shr_u(c, 8), odd)
      c = v128.load(w, 48)
      s3 = addDot(s3, v128.and(c, low), even)
      t3 = addDot(t3, i16x8.shr_u(c, 8), odd)
      a += 8
      w += 64
    }
    y0 = f32x4.add(y0, f32x4.convert_i32x4_s(i32x4.add(s0, t0)))
    y1 = f32x4.add(y1, f32x4.convert_i32x4_s(i32x4.add(s1, t1)))
    y2 = f32x4.add(y2, f32x4.convert_i32x4_s(i32x4.add(s2, t2)))
    y3 = f32x4.add(y3, f32x4.convert_i32x4_s(i32x4.add(s3, t3)))
    start += 4
  }
  endInt8(y, n, y0, scales, step)
  endInt8(y + 16, n - 4, y1, scales + 16, step)
  endInt8(y + 32, n - 8, y2, scales + 32, step)
  endInt8(y + 48, n - 12, y3, scales + 48, step)
}

// @ts-ignore: decorator
@inline function bytes(x: usize, nibbles: v128): v128 {
  return i16x8.relaxed_dot_i8x16_i7x16_s(v128.load32_splat(x), nibbles)
}
/** 4 columns of one row: 64 bytes hold 32 inputs of each. */
function q4Group(blocks: i32, a: usize, w: usize, n: i32, scales: usize, y: usize): void {
  const nibble = v128.load32_splat(ASC_FEATURE_RELAXED_SIMD ? NIBBLES : NIBBLES + 16)
  const sign = v128.load32_splat(NIBBLES, 8)
  const bias = v128.load32_splat(NIBBLES, 12)
  let sum = f32x4.splat(0)
  for (; blocks > 0; blocks--) {
    let d: v128
    if (ASC_FEATURE_RELAXED_SIMD) {
      let c = v128.load(w)
      let low = bytes(a + 8, v128.and(c, nibble))
      let high = bytes(a + 12, v128.and(i16x8.shr_u(c, 4), nibble))
      c = v128.load(w, 16)
      low = i16x8.add(low, bytes(a + 16, v128.and(c, nibble)))
      high = i16x8.add(high, bytes(a + 20, v128.and(i16x8.shr_u(c, 4), nibble)))
      c = v128.load(w, 32)
      low = i16x8.add(low, bytes(a + 24, v128.and(c, nibble)))
      high = i16x8.add(high, bytes(a + 28, v128.and(i16x8.shr_u(c, 4), nibble)))
      c = v128.load(w, 48)
      low = i16x8.add(low, bytes(a + 32, v128.and(c, nibble)))
      high = i16x8.add(high, bytes(a + 36, v128.and(i16x8.shr_u(c, 4), nibble)))
      d = i32x4.extadd_pairwise_i16x8_s(i16x8.add(low, high))
    } else {
      d = i32x4.splat(0)
      for (let j: usize = 0; j < 64; j += 16) {
        const c = v128.load(w + j)
        d = addDot(d, v128.and(c, nibble), v128.load32_splat(a + j, 8))
        d = addDot(d, v128.and(i16x8.shr_u(c, 4), nibble), v128.load32_splat(a + j, 12))
        d = addDot(d, v128.and(i16x8.shr_u(c, 8), nibble), v128.load32_splat(a + j, 16))
        d = addDot(d, i16x8.shr_u(c, 12), v128.load32_splat(a + j, 20))
      }
    }
    d = f32x4.convert_i32x4_s(i32x4.add(d, v128.load32_splat(a, 4)))
    const scale = f32x4.mul(v128.and(i32x4.shl(v128.load_ext<i16>(scales), 13), sign), bias)
    sum = fma(d, f32x4.mul(scale, v128.load32_splat(a)), sum)
    a += BLOCK
    w += 64
    scales += 8
  }
  store4(y, n, sum)
}

// A half as a float without its bias: sign and exponent and mantissa moved to where a float has them.
// @ts-ignore: decorator
@inline function lowBits(h: v128): v128 {
  return i16x8.shl(h, 13)
}
// @ts-ignore: decorator
@inline function highBits(h: v128, mask: v128): v128 {
  return v128.and(i16x8.shr_s(h, 3), mask)
}

/** 8 columns of one row. Two inputs a turn, each with sums of its own. */
function f16Group(k: i32, a: usize, w: usize, n: i32, y: usize): void {
  const mask = v128.load32_splat(NIBBLES, 4)
  const factor = v128.load32_splat(a)
  a += 16
  let s0 = f32x4.splat(0)
  let s1 = s0
  let t0 = s0
  let t1 = s0
  for (; k > 1; k -= 2) {
    let h = v128.load(w)
    let low = lowBits(h)
    let high = highBits(h, mask)
    let x = v128.load32_splat(a)
    s0 = fma(v128.shuffle<i16>(low, high, 0, 8, 1, 9, 2, 10, 3, 11), x, s0)
    s1 = fma(v128.shuffle<i16>(low, high, 4, 12, 5, 13, 6, 14, 7, 15), x, s1)
    h = v128.load(w, 16)
    low = lowBits(h)
    high = highBits(h, mask)
    x = v128.load32_splat(a, 4)
    t0 = fma(v128.shuffle<i16>(low, high, 0, 8, 1, 9, 2, 10, 3, 11), x, t0)
    t1 = fma(v128.shuffle<i16>(low, high, 4, 12, 5, 13, 6, 14, 7, 15), x, t1)
    w += 32
    a += 8
  }
  if (k) {
    const h = v128.load(w)
    const low = lowBits(h)
    const high = highBits(h, mask)
    const x = v128.load32_splat(a)
    s0 = fma(v128.shuffle<i16>(low, high, 0, 8, 1, 9, 2, 10, 3, 11), x, s0)
    s1 = fma(v128.shuffle<i16>(low, high, 4, 12, 5, 13, 6, 14, 7, 15), x, s1)
  }
  store4(y, n, f32x4.mul(f32x4.add(s0, t0), factor))
  store4(y + 16, n - 4, f32x4.mul(f32x4.add(s1, t1), factor))
}

/** A panel of 8 columns as floats, for the tiles. */
function decodeF16(k: i32, w: usize, to: usize): void {
  const mask = v128.load32_splat(NIBBLES, 4)
  const bias = v128.load32_splat(NIBBLES, 12)
  for (; k > 0; k--) {
    const h = v128.load(w)
    const low = lowBits(h)
    const high = highBits(h, mask)
    v128.store(to, f32x4.mul(v128.shuffle<i16>(low, high, 0, 8, 1, 9, 2, 10, 3, 11), bias))
    v128.store(to, f32x4.mul(v128.shuffle<i16>(low, high, 4, 12, 5, 13, 6, 14, 7, 15), bias), 16)
    w += 16
    to += 32
  }
}

/** 8 columns of all rows by the tiles of float products. */
function f16Tiles(p: Quantized, w: usize, n: i32, y: usize, scratch: usize): void {
  decodeF16(p.k, w, scratch)
  const edge = scratch + <usize>p.k * 32
  const row = <usize>p.n << 2
  const depth = <usize>p.k << 2
  let left = p.m
  for (let x = p.x; left > 0; left -= MR) {
    const rows = min(left, MR)
    if (n >= 8) tile(rows, p.k, x, depth, scratch, 32, y, row, 0)
    else {
      tile(rows, p.k, x, depth, scratch, 32, edge, 32, 0)
      for (let r = 0; r < rows; r++) memory.copy(y + <usize>r * row, edge + (<usize>r << 5), <usize>n << 2)
    }
    x += <usize>MR * depth
    y += <usize>MR * row
  }
}

/** Chunk of a product: see `Quantized`. Weights stream once, whatever the number of rows. */
export function quantizedChunk(job: usize, chunk: i32, scratch: usize): void {
  const p = changetype<Quantized>(job)
  const j0 = chunk * p.cols
  const j1 = min(p.n, j0 + p.cols)
  const k = p.k
  const bytes = activationBytes(p.format, p.m, k)
  for (let j = j0; j < j1; j += UNIT) {
    const n = min(j1 - j, UNIT)
    if (p.format > Q4 && p.m > FEW) {
      for (let g = 0; g < n; g += 8)
        f16Tiles(p, p.codes + <usize>(j + g) * <usize>(k << 1), n - g, p.y + (<usize>(j + g) << 2), scratch)
      continue
    }
    for (let i = 0; i < p.m; i++) {
      const a = p.rounded + <usize>i * bytes
      const y = p.y + (<usize>(i * p.n + j) << 2)
      if (p.format == INT8) {
        const at = <usize>j << 2
        int8Unit(k, a, p.codes + <usize>j * <usize>(((k + 3) >> 2) << 2), n, p.scales + at, y)
      } else if (p.format == Q4) {
        const blocks = (k + 31) >> 5
        for (let g = 0; g < n; g += 4) {
          const at = <usize>(j + g) * <usize>blocks
          q4Group(blocks, a, p.codes + (at << 4), n - g, p.scales + (at << 1), y + (<usize>g << 2))
        }
      } else
        for (let g = 0; g < n; g += 8)
          f16Group(k, a, p.codes + <usize>(j + g) * <usize>(k << 1), n - g, y + (<usize>g << 2))
    }
  }
  const at = <usize>j0 << 2
  finish(p.m, j1 - j0, p.y + at, p.n, p.bias ? p.bias + at : 0, p.form, p.residual ? p.residual + at : 0)
}
