// exp for four floats at a time, and the row loops of softmax that use it. Arguments up to 88; below −87.3 it gives exactly 0.

import { fma } from './tile'
import { sum4 } from './vector'

// Cephes expf: log2(e), 1.5·2²³ (adding it rounds to an integer), −ln 2 in two parts, the polynomial from degree 7 down to 2, 1.
// In memory because V8 builds a v128 constant again at every use.
const LOWEST: usize = memory.data<f32>([
  -87.33654, 1.44269504, 12582912.0, -0.693359375, 2.1219444e-4,
  1.98756915e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1, 1.0,
])

/** Score of a key that is not allowed: finite, so that no inf − inf can make a NaN, and far below every real score. */
// @ts-ignore: decorator
@inline export const NEVER: f32 = -3e38

// @ts-ignore: decorator
@inline function exp4(
  x: v128, k0: v128, k1: v128, k2: v128, k3: v128, k4: v128, k5: v128,
  k6: v128, k7: v128, k8: v128, k9: v128, k10: v128, k11: v128,
): v128 {
  const t = fma(x, k1, k2)
  const n = f32x4.sub(t, k2)
  const r = fma(n, k4, fma(n, k3, x))
  let p = fma(k5, r, k6)
  p = fma(p, r, k7)
  p = fma(p, r, k8)
  p = fma(p, r, k9)
  p = fma(p, r, k10)
  p = fma(p, r, k11)
  p = fma(p, r, k11)
  // whatever came out for numbers too low, −∞ among them, becomes 0; a NaN is not lower than anything
  return v128.andnot(i32x4.add(p, i32x4.shl(t, 23)), f32x4.lt(x, k0))
}

/** row[i] = exp(row[i] − shift) for n values (n a multiple of 4); returns their sum. */
export function expRow(row: usize, n: i32, shift: f32): f32 {
  return expInto(row, row, n, shift)
}

/** to[i] = exp(from[i] − shift) for n values (n a multiple of 4); returns their sum. */
export function expInto(from: usize, to: usize, n: i32, shift: f32): f32 {
  const k0 = v128.load32_splat(LOWEST)
  const k1 = v128.load32_splat(LOWEST, 4)
  const k2 = v128.load32_splat(LOWEST, 8)
  const k3 = v128.load32_splat(LOWEST, 12)
  const k4 = v128.load32_splat(LOWEST, 16)
  const k5 = v128.load32_splat(LOWEST, 20)
  const k6 = v128.load32_splat(LOWEST, 24)
  const k7 = v128.load32_splat(LOWEST, 28)
  const k8 = v128.load32_splat(LOWEST, 32)
  const k9 = v128.load32_splat(LOWEST, 36)
  const k10 = v128.load32_splat(LOWEST, 40)
  const k11 = v128.load32_splat(LOWEST, 44)
  const m = f32x4.splat(shift)
  let s = f32x4.splat(0)
  for (let i = 0; i < n; i += 4) {
    const e = exp4(f32x4.sub(v128.load(from), m), k0, k1, k2, k3, k4, k5, k6, k7, k8, k9, k10, k11)
    s = f32x4.add(s, e)
    v128.store(to, e)
    from += 16
    to += 16
  }
  return sum4(s)
}

/** exp with the constants read where they are used: for loops that the row loop above does not fit. */
// @ts-ignore: decorator
@inline export function exp4Table(x: v128): v128 {
  return exp4(
    x,
    v128.load32_splat(LOWEST), v128.load32_splat(LOWEST, 4), v128.load32_splat(LOWEST, 8), v128.load32_splat(LOWEST, 12),
    v128.load32_splat(LOWEST, 16), v128.load32_splat(LOWEST, 20), v128.load32_splat(LOWEST, 24), v128.load32_splat(LOWEST, 28),
    v128.load32_splat(LOWEST, 32), v128.load32_splat(LOWEST, 36), v128.load32_splat(LOWEST, 40), v128.load32_splat(LOWEST, 44),
  )
}

/** exp of one number, the same bits as the row loop gives. */
export function expOne(x: f32): f32 {
  return f32x4.extract_lane(exp4Table(f32x4.splat(x)), 0)
}

/** Largest of n values (n a positive multiple of 4). */
export function maxRow(row: usize, n: i32): f32 {
  let m = v128.load(row)
  for (let i = 4; i < n; i += 4) {
    row += 16
    m = f32x4.pmax(m, v128.load(row))
  }
  return max(
    max(f32x4.extract_lane(m, 0), f32x4.extract_lane(m, 1)),
    max(f32x4.extract_lane(m, 2), f32x4.extract_lane(m, 3)),
  )
}
