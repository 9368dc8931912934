// Rotary position embedding: pairs of the last axis turned by angles whose cosines and sines are given; the rest is copied.

import { copyBytes } from './gather'

/** A row of an operand: address, then strides in elements along both batch axes, the positions and the columns. */
// @ts-ignore: decorator
@inline function place(at: usize, a: i32, b: i32, t: i32): usize {
  const step = a * load<i32>(at, 4) + b * load<i32>(at, 8) + t * load<i32>(at, 12)
  return load<usize>(at) + ((<usize>step) << 2)
}

/** The pair (x₁, x₂) turned by the angle of (cos, sin). */
// @ts-ignore: decorator
@inline function turn(x: usize, other: usize, c: usize, s: usize, y: usize, away: usize, sign: f32): void {
  const a = load<f32>(x)
  const b = load<f32>(other)
  const sin = load<f32>(s) * sign
  store<f32>(y, a * load<f32>(c) - b * sin)
  store<f32>(away, b * load<f32>(c) + a * sin)
}

/**
 * Words: rows, rows of a chunk, positions, heads, width, width that turns, interleaved (0 or 1), sign of the sine, then x, cos and
 * sin as (address, four strides), then y, whose rows are neighbours.
 */
export function ropeChunk(job: usize, chunk: i32): void {
  const per = load<i32>(job, 4)
  const from = chunk * per
  const to = min(load<i32>(job), from + per)
  const positions = load<i32>(job, 8)
  const heads = load<i32>(job, 12)
  const width = load<i32>(job, 16)
  const half = load<i32>(job, 20) >> 1
  const interleaved = load<i32>(job, 24)
  const sign = load<f32>(job, 28)
  const xs = <usize>load<i32>(job, 48) << 2
  const cs = <usize>load<i32>(job, 68) << 2
  const ss = <usize>load<i32>(job, 88) << 2
  // how far the second of a pair lies, and the next pair
  const pair: usize = interleaved ? 1 : half
  const next: usize = interleaved ? 2 : 1
  let y = load<usize>(job, 92) + ((<usize>from * width) << 2)
  for (let r = from; r < to; r++) {
    const t = r % positions
    const h = (r / positions) % heads
    const b = r / positions / heads
    let x = place(job + 32, b, h, t)
    let c = place(job + 52, b, h, t)
    let s = place(job + 72, b, h, t)
    const row = y
    let j = 0
    if (xs == 4 && cs == 4 && ss == 4 && !interleaved) {
      const far = <usize>half << 2
      const by = f32x4.splat(sign)
      for (; j + 4 <= half; j += 4) {
        const x1 = v128.load(x)
        const x2 = v128.load(x + far)
        const cos = v128.load(c)
        const sin = f32x4.mul(v128.load(s), by)
        v128.store(y, f32x4.sub(f32x4.mul(x1, cos), f32x4.mul(x2, sin)))
        v128.store(y + far, f32x4.add(f32x4.mul(x2, cos), f32x4.mul(x1, sin)))
        x += 16
        c += 16
        s += 16
        y += 16
      }
    }
    for (; j < half; j++) {
      turn(x, x + pair * xs, c, s, y, y + (pair << 2), sign)
      x += next * xs
      y += next << 2
      c += cs
      s += ss
    }
    const turned = <usize>half << 1
    y = row + (turned << 2)
    x = place(job + 32, b, h, t) + turned * xs
    const rest = width - <i32>turned
    if (xs == 4) copyBytes(y, x, <usize>rest << 2)
    else
      for (let i = 0; i < rest; i++) store<f32>(y + (<usize>i << 2), load<f32>(x + <usize>i * xs))
    y += <usize>rest << 2
  }
}
