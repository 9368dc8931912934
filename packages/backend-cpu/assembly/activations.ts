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

// 1, ½, √½, −1.702, −2·√(2/π), 0.044715; then for derivatives 1/√(2π), 2·√(2/π), 3·0.044715, ¼, 1.702
const TABLE: usize = memory.data<f32>([
  1.0, 0.5, 0.70710678118654752, -1.702, -1.5957691216057308, 0.044715, 0.3989422804014327, 1.5957691216057308, 0.134145, 0.25, 1.702,
])

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

/** dy·(σ + σ(1 − σ)·x·slope) with σ = 1/(1 + eᵗ): of x·σ, where slope is −dt/dx. */
// @ts-ignore: decorator
@inline function gateSlope4(x: v128, t: v128, slope: v128, dy: v128): v128 {
  const sigma = f32x4.div(c(0), f32x4.add(c(0), expAny4(t)))
  const bend = f32x4.mul(sigma, f32x4.sub(c(0), sigma))
  return f32x4.mul(dy, f32x4.add(sigma, f32x4.mul(f32x4.mul(bend, x), slope)))
}

/** dy·f′(x) of four floats; `form` is a constant to the compiler. Of tanh x is the result, not the argument. */
// @ts-ignore: decorator
@inline function slope4(form: i32, x: v128, dy: v128): v128 {
  if (form == GELU) {
    const density = f32x4.mul(c(6), expAny4(f32x4.neg(f32x4.mul(c(1), f32x4.mul(x, x)))))
    const below = f32x4.mul(c(1), f32x4.add(c(0), erf4(f32x4.mul(x, c(2)))))
    return f32x4.mul(dy, f32x4.add(below, f32x4.mul(x, density)))
  }
  if (form == GELU_TANH) {
    const square = f32x4.mul(x, x)
    const t = f32x4.mul(c(4), f32x4.add(x, f32x4.mul(c(5), f32x4.mul(x, square))))
    return gateSlope4(x, t, f32x4.mul(c(7), f32x4.add(c(0), f32x4.mul(c(8), square))), dy)
  }
  if (form == GELU_QUICK) return gateSlope4(x, f32x4.mul(c(3), x), c(10), dy)
  if (form == SILU) return gateSlope4(x, f32x4.neg(x), c(0), dy)
  if (form == RELU) return v128.and(dy, f32x4.gt(x, f32x4.splat(0)))
  if (form == TANH) return f32x4.mul(dy, f32x4.sub(c(0), f32x4.mul(x, x)))
  const t = tanh4(f32x4.mul(c(1), x))
  return f32x4.mul(dy, f32x4.mul(c(9), f32x4.sub(c(0), f32x4.mul(t, t))))
}

// @ts-ignore: decorator
@inline function slopeLoop(form: i32, n: i32, x: usize, dy: usize, dx: usize): void {
  for (; n >= 4; n -= 4) {
    v128.store(dx, slope4(form, v128.load(x), v128.load(dy)))
    x += 16
    dy += 16
    dx += 16
  }
  if (n > 0) storePart(dx, n, slope4(form, loadPart(x, n), loadPart(dy, n)))
}

/** dx[i] = dy[i]·f′(x[i]) for n neighbouring floats. */
export function slopeRow(form: i32, n: i32, x: usize, dy: usize, dx: usize): void {
  switch (form) {
    case GELU: slopeLoop(GELU, n, x, dy, dx); break
    case GELU_TANH: slopeLoop(GELU_TANH, n, x, dy, dx); break
    case GELU_QUICK: slopeLoop(GELU_QUICK, n, x, dy, dx); break
    case SILU: slopeLoop(SILU, n, x, dy, dx); break
    case RELU: slopeLoop(RELU, n, x, dy, dx); break
    case TANH: slopeLoop(TANH, n, x, dy, dx); break
    default: slopeLoop(SIGMOID, n, x, dy, dx)
  }
}

/** Words: n, numbers of a chunk, form, x, y; with dy (not 0) y is dx. */
export function activationChunk(job: usize, chunk: i32): void {
  const per = load<i32>(job, 4)
  const from = chunk * per
  const n = min(load<i32>(job) - from, per)
  const at = <usize>from << 2
  const form = load<i32>(job, 8)
  const x = load<usize>(job, 12) + at
  const y = load<usize>(job, 16) + at
  const dy = load<usize>(job, 20)
  if (dy) slopeRow(form, n, x, dy + at, y)
  else activateRow(form, n, x, y)
}
