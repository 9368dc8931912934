// exp, log, tanh and erf of four floats for every argument, infinities and NaN included. Errors: exp and tanh 2 units in the last
// place, erf 3e-7. Constants lie in memory because V8 builds a v128 constant again at every use.

import { exp4Table } from './exp'
import { fma } from './tile'

// 0: −ln of the largest float … then tanh's polynomial (Cephes tanhf), then erf's (Eigen's rational approximation on [−4, 4]).
const TABLE: usize = memory.data<f32>([
  88.72283, Infinity, 0.625, 1.0, 2.0,
  -5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1,
  4.0, -4.0,
  -2.72614225801306e-10, 2.77068142495902e-8, -2.10102402082508e-6, -5.69250639462346e-5, -7.34990630326855e-4, -2.954599808540250e-3, -1.60960333262415e-2,
  -1.45660718464996e-5, -2.13374055278905e-4, -1.68282697438203e-3, -7.37332916720468e-3, -1.42647390514189e-2,
])

// @ts-ignore: decorator
@inline function c(i: usize): v128 {
  return v128.load32_splat(TABLE + (i << 2))
}

// @ts-ignore: decorator
@inline export function expAny4(x: v128): v128 {
  return v128.bitselect(c(1), exp4Table(f32x4.pmin(x, c(0))), f32x4.gt(x, c(0)))
}

// @ts-ignore: decorator
@inline export function tanh4(x: v128): v128 {
  const a = f32x4.abs(x)
  const e = expAny4(f32x4.add(a, a))
  const far = f32x4.sub(c(3), f32x4.div(c(4), f32x4.add(e, c(3))))
  const signed = v128.or(far, v128.xor(x, a))
  const z = f32x4.mul(x, x)
  let p = fma(c(5), z, c(6))
  p = fma(p, z, c(7))
  p = fma(p, z, c(8))
  p = fma(p, z, c(9))
  return v128.bitselect(fma(f32x4.mul(p, z), x, x), signed, f32x4.lt(a, c(2)))
}

// @ts-ignore: decorator
@inline export function erf4(v: v128): v128 {
  const x = f32x4.pmax(f32x4.pmin(v, c(10)), c(11))
  const z = f32x4.mul(x, x)
  let p = fma(c(12), z, c(13))
  p = fma(p, z, c(14))
  p = fma(p, z, c(15))
  p = fma(p, z, c(16))
  p = fma(p, z, c(17))
  p = fma(p, z, c(18))
  let q = fma(c(19), z, c(20))
  q = fma(q, z, c(21))
  q = fma(q, z, c(22))
  q = fma(q, z, c(23))
  return f32x4.div(f32x4.mul(x, p), q)
}

// Cephes logf: the polynomial from degree 8 down to 0, ln 2 in two parts; then 2²³ and the least normal number.
const LOGARITHM: usize = memory.data<f32>([
  7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
  -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
  -2.12194440e-4, 0.693359375, -0.5, 8388608.0, 1.17549435e-38,
])

// @ts-ignore: decorator
@inline function l(i: usize): v128 {
  return v128.load32_splat(LOGARITHM + (i << 2))
}

/** Natural logarithm, 1 unit in the last place; −∞ of 0, NaN below, subnormal numbers included. */
export function log4(v: v128): v128 {
  const small = f32x4.lt(v, l(13))
  const bits = v128.bitselect(f32x4.mul(v, l(12)), v, small)
  // from √½ on: x = 2ᵉ·m with m in [√½, √2)
  const exponent = i32x4.shr_s(i32x4.sub(bits, i32x4.splat(0x3f3504f3)), 23)
  const e = f32x4.convert_i32x4_s(i32x4.sub(exponent, v128.and(small, i32x4.splat(23))))
  const x = f32x4.sub(i32x4.sub(bits, i32x4.shl(exponent, 23)), c(3))
  const z = f32x4.mul(x, x)
  let p = fma(l(0), x, l(1))
  p = fma(p, x, l(2))
  p = fma(p, x, l(3))
  p = fma(p, x, l(4))
  p = fma(p, x, l(5))
  p = fma(p, x, l(6))
  p = fma(p, x, l(7))
  p = fma(p, x, l(8))
  p = f32x4.mul(f32x4.mul(p, x), z)
  p = fma(e, l(9), p)
  p = fma(z, l(11), p)
  const y = fma(e, l(10), f32x4.add(x, p))
  // infinities and NaN stay; below 0 is NaN, 0 is −∞
  const finite = f32x4.lt(v, c(1))
  const zero = f32x4.eq(v, f32x4.splat(0))
  const odd = v128.bitselect(f32x4.splat(-Infinity), f32x4.mul(v, f32x4.sqrt(v)), zero)
  return v128.bitselect(y, odd, v128.and(finite, f32x4.gt(v, f32x4.splat(0))))
}
