// Activations of four floats at a time and of whole rows: what rows of products end with, and what the elementwise kernels of the
// same names run. Every form has one function, so that fused and unfused results have the same bits.

import { erf4, expAny4, tanh4 } from './functions'
import { loadPart, storePart } from './vector'

// forms: the order is known to src/activations.ts
// @ts-ignore: decorator
@inline export const GELU: i32 = 1
// @ts-ignore: decorator
@inline export const GELU_TANH: i32 = 2
// @ts-ignore: decorator
@inline export const GELU_QUICK: i32 = 3
// @ts-ignore: decorator
@inline export const SILU: i32 = 4
// @ts-ignore: decorator
@inline export const RELU: i32 = 5
// @ts-ignore: decorator
@inline export const TANH: i32 = 6
// @ts-ignore: decorator
@inline export const SIGMOID: i32 = 7

// 1, ½, √½, −1.702, −2·√(2/π), 0.044715
const TABLE: usize = memory.data<f32>([1.0, 0.5, 0.70710678118654752, -1.702, -1.5957691216057308, 0.044715])

// @ts-ignore: decorator
@inline function c(i: usize): v128 {
  return v128.load32_splat(TABLE + (i << 2))
}

/** x·σ(−t): the logistic gate of silu and, by σ(2u) = ½(1 + tanh u), of gelu's tanh form. */
// @ts-ignore: decorator
@inline function gated4(x: v128, t: v128): v128 {
  return f32x4.div(x, f32x4.add(c(0), expAny4(t)))
}

/** f(x) of four floats; `form` is a constant to the compiler. */
// @ts-ignore: decorator
@inline export function activate4(form: i32, x: v128): v128 {
  if (form == GELU) return f32x4.mul(f32x4.mul(c(1), x), f32x4.add(c(0), erf4(f32x4.mul(x, c(2)))))
  if (form == GELU_TANH) {
    const cube = f32x4.mul(f32x4.mul(x, x), x)
    return gated4(x, f32x4.mul(c(4), f32x4.add(x, f32x4.mul(c(5), cube))))
  }
  if (form == GELU_QUICK) return gated4(x, f32x4.mul(c(3), x))
  if (form == SILU) return gated4(x, f32x4.neg(x))
  if (form == RELU) return f32x4.max(x, f32x4.splat(0))
  if (form == TANH) return tanh4(x)
  return gated4(c(0), f32x4.neg(x))
}

// @ts-ignore: decorator
@inline function rowLoop(form: i32, n: i32, x: usize, y: usize): void {
  for (; n >= 4; n -= 4) {
    v128.store(y, activate4(form, v128.load(x)))
    x += 16
    y += 16
  }
  if (n > 0) storePart(y, n, activate4(form, loadPart(x, n)))
}

/** y[i] = f(x[i]) for n neighbouring floats; x and y may be one. */
export function activateRow(form: i32, n: i32, x: usize, y: usize): void {
  switch (form) {
    case GELU: rowLoop(GELU, n, x, y); break
    case GELU_TANH: rowLoop(GELU_TANH, n, x, y); break
    case GELU_QUICK: rowLoop(GELU_QUICK, n, x, y); break
    case SILU: rowLoop(SILU, n, x, y); break
    case RELU: rowLoop(RELU, n, x, y); break
    case TANH: rowLoop(TANH, n, x, y); break
    default: rowLoop(SIGMOID, n, x, y)
  }
}
