// exp, tanh and erf of four floats for every argument, infinities and NaN included. Errors: exp and tanh 2 units in the last
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
