// Softmax, its logarithm, cross-entropy and the norms, row by row, forward and backward. Every row is read from the first
// level of cache after its first pass. Sums run in float32 lanes over blocks of 256, and in float64 from block to block.

import { maskScores } from './attention-job'
import { expInto, expOne } from './exp'
import { expAny4, log4 } from './functions'
import { sum4 } from './vector'

// @ts-ignore: decorator
@inline const BLOCK: i32 = 256

// kinds of softmaxChunk: the order is known to src/rows.ts
// @ts-ignore: decorator
@inline const SOFTMAX: i32 = 0
// @ts-ignore: decorator
@inline const LOG: i32 = 1
// @ts-ignore: decorator
@inline const LOSS: i32 = 2
// @ts-ignore: decorator
@inline const LOSS_BACKWARD: i32 = 3
// @ts-ignore: decorator
@inline const SOFTMAX_BACKWARD: i32 = 4
// @ts-ignore: decorator
@inline const LOG_BACKWARD: i32 = 5

// @ts-ignore: decorator
@inline export function first(v: v128): f32 {
  return f32x4.extract_lane(v, 0)
}

/** Largest of n values, −∞ of none; NaN counts nothing. */
function top(x: usize, n: i32): f32 {
  let v0 = f32x4.splat(-Infinity)
  let v1 = v0
  let i = 0
  for (; i + 8 <= n; i += 8) {
    v0 = f32x4.pmax(v0, v128.load(x))
    v1 = f32x4.pmax(v1, v128.load(x, 16))
    x += 32
  }
  for (; i < n; i++) {
    v0 = f32x4.pmax(v0, v128.load32_splat(x))
    x += 4
  }
  v0 = f32x4.pmax(v0, v1)
  return max(
    max(f32x4.extract_lane(v0, 0), f32x4.extract_lane(v0, 1)),
    max(f32x4.extract_lane(v0, 2), f32x4.extract_lane(v0, 3)),
  )
}

/**
 * to[i] = exp(x[i] − shift) (always at the same block of `to` when `stay`), and their sum. A shift of +∞ stands for 0, and so
 * does −∞, as in the composite: a NaN or an infinity comes out as the formula has it.
 */
function expSum(x: usize, to: usize, n: i32, shift: f32, stay: bool): f64 {
  let total: f64 = 0
  if (shift == Infinity) {
    for (let i = 0; i < n; i++) {
      const e = first(expAny4(v128.load32_splat(x)))
      store<f32>(to, e)
      total += <f64>e
      x += 4
      if (!stay) to += 4
    }
    return total
  }
  while (n >= 4) {
    const k = min(n & ~3, BLOCK)
    total += <f64>expInto(x, to, k, shift)
    x += <usize>k << 2
    if (!stay) to += <usize>k << 2
    n -= k
  }
  for (; n > 0; n--) {
    const e = expOne(load<f32>(x) - shift)
    store<f32>(to, e)
    total += <f64>e
    x += 4
    to += 4
  }
  return total
}

/** The row maximum to subtract: 0 where the row has no finite entry; +∞ says that overflow has to be looked at. */
// @ts-ignore: decorator
@inline function shiftOf(x: usize, n: i32): f32 {
  const m = top(x, n)
  return m == -Infinity ? 0 : m
}

/** y[i] = y[i]·by */
function scaleRow(y: usize, n: i32, by: f32): void {
  const b = f32x4.splat(by)
  let i = 0
  for (; i + 4 <= n; i += 4) {
    v128.store(y, f32x4.mul(v128.load(y), b))
    y += 16
  }
  for (; i < n; i++) {
    store<f32>(y, load<f32>(y) * by)
    y += 4
  }
}

/** Σ a[i]·b[i] */
function dotRow(a: usize, b: usize, n: i32): f64 {
  let total: f64 = 0
  while (n >= 8) {
    const k = min(n & ~7, BLOCK)
    let s0 = f32x4.splat(0)
    let s1 = s0
    for (let i = 0; i < k; i += 8) {
      s0 = f32x4.add(s0, f32x4.mul(v128.load(a), v128.load(b)))
      s1 = f32x4.add(s1, f32x4.mul(v128.load(a, 16), v128.load(b, 16)))
      a += 32
      b += 32
    }
    total += <f64>sum4(f32x4.add(s0, s1))
    n -= k
  }
  for (; n > 0; n--) {
    total += <f64>(load<f32>(a) * load<f32>(b))
    a += 4
    b += 4
  }
  return total
}

/**
 * Rows of the softmax family. Words: rows, rows of a chunk, n, kind, x, y, then
 * softmax and its logarithm: mask (bytes, 0 when there is none);
 * loss: targets, id to ignore; y has one number a row;
 * loss backward: targets, id to ignore, dy and its step;
 * softmax backward and its logarithm's: x is the result, then dy.
 */
export function softmaxChunk(job: usize, chunk: i32, scratch: usize): void {
  const per = load<i32>(job, 4)
  const from = chunk * per
  const to = min(load<i32>(job), from + per)
  const n = load<i32>(job, 8)
  const kind = load<i32>(job, 12)
  const bytes = <usize>n << 2
  let x = load<usize>(job, 16) + <usize>from * bytes
  let y = load<usize>(job, 20)
  const third = load<usize>(job, 24)
  const ignored = load<i32>(job, 28)
  const dy = load<usize>(job, 32)
  const dyStep = load<usize>(job, 36) << 2
  y += <usize>from * (kind == LOSS ? 4 : bytes)
  for (let r = from; r < to; r++) {
    if (kind == SOFTMAX_BACKWARD) {
      const g = third + <usize>r * bytes
      backRow(x, g, y, n, <f32>dotRow(x, g, n))
    } else if (kind == LOG_BACKWARD) {
      const g = third + <usize>r * bytes
      expSum(x, y, n, 0, false)
      subRow(g, y, n, <f32>sumRow(g, n))
    } else {
      let source = x
      if (kind == SOFTMAX && third) {
        memory.copy(y, x, bytes)
        maskScores(y, n, third + <usize>r * n, 1, -Infinity)
        source = y
      }
      const shift = shiftOf(source, n)
      const total = kind == LOSS ? expSum(source, scratch, n, shift, true) : expSum(source, y, n, shift, false)
      const sub: f32 = shift == Infinity ? 0 : shift
      if (kind == SOFTMAX) scaleRow(y, n, total == 0 ? 0 : <f32>(1 / total))
      else if (kind == LOSS_BACKWARD) {
        const target = load<i32>(third + (<usize>r << 2))
        const kept = target != ignored
        const g: f32 = kept ? load<f32>(dy + <usize>r * dyStep) : 0
        scaleRow(y, n, <f32>(<f64>g / total))
        const at = y + (<usize>(kept ? target : 0) << 2)
        store<f32>(at, load<f32>(at) - g)
      } else {
        const ln = first(log4(f32x4.splat(<f32>total)))
        if (kind == LOG) shiftRow(x, y, n, sub, ln)
        else {
          const target = load<i32>(third + (<usize>r << 2))
          store<f32>(y, target == ignored ? 0 : ln - (load<f32>(x + (<usize>target << 2)) - sub))
        }
      }
    }
    x += bytes
    y += kind == LOSS ? 4 : bytes
  }
}

/** y[i] = x[i] − shift − ln */
function shiftRow(x: usize, y: usize, n: i32, shift: f32, ln: f32): void {
  const s = f32x4.splat(shift)
  const l = f32x4.splat(ln)
  let i = 0
  for (; i + 4 <= n; i += 4) {
    v128.store(y, f32x4.sub(f32x4.sub(v128.load(x), s), l))
    x += 16
    y += 16
  }
  for (; i < n; i++) {
    store<f32>(y, load<f32>(x) - shift - ln)
    x += 4
    y += 4
  }
}

/** y[i] = g[i] − y[i]·by */
function subRow(g: usize, y: usize, n: i32, by: f32): void {
  const b = f32x4.splat(by)
  let i = 0
  for (; i + 4 <= n; i += 4) {
    v128.store(y, f32x4.sub(v128.load(g), f32x4.mul(v128.load(y), b)))
    g += 16
    y += 16
  }
  for (; i < n; i++) {
    store<f32>(y, load<f32>(g) - load<f32>(y) * by)
    g += 4
    y += 4
  }
}

/** dx[i] = p[i]·(dy[i] − dot) */
function backRow(p: usize, dy: usize, dx: usize, n: i32, dot: f32): void {
  const d = f32x4.splat(dot)
  let i = 0
  for (; i + 4 <= n; i += 4) {
    v128.store(dx, f32x4.mul(v128.load(p), f32x4.sub(v128.load(dy), d)))
    p += 16
    dy += 16
    dx += 16
  }
  for (; i < n; i++) {
    store<f32>(dx, load<f32>(p) * (load<f32>(dy) - dot))
    p += 4
    dy += 4
    dx += 4
  }
}

/** Σ x[i], or with `square` Σ (x[i] − mean)² */
// @ts-ignore: decorator
@inline function moment(x: usize, n: i32, square: bool, mean: f32): f64 {
  const m = f32x4.splat(mean)
  let total: f64 = 0
  while (n >= 8) {
    const k = min(n & ~7, BLOCK)
    let s0 = f32x4.splat(0)
    let s1 = s0
    for (let i = 0; i < k; i += 8) {
      let a = v128.load(x)
      let b = v128.load(x, 16)
      if (square) {
        a = f32x4.sub(a, m)
        b = f32x4.sub(b, m)
        a = f32x4.mul(a, a)
        b = f32x4.mul(b, b)
      }
      s0 = f32x4.add(s0, a)
      s1 = f32x4.add(s1, b)
      x += 32
    }
    total += <f64>sum4(f32x4.add(s0, s1))
    n -= k
  }
  for (; n > 0; n--) {
    const d = load<f32>(x) - mean
    total += <f64>(square ? d * d : d)
    x += 4
  }
  return total
}
function sumRow(x: usize, n: i32): f64 {
  return moment(x, n, false, 0)
}
function squaresRow(x: usize, n: i32, mean: f32): f64 {
  return moment(x, n, true, mean)
}

/** (x − mean)·scale·(w + unit) + b; w and b may be missing. */
function normRow(x: usize, y: usize, n: i32, mean: f32, scale: f32, w: usize, unit: f32, b: usize): void {
  const m = f32x4.splat(mean)
  const s = f32x4.splat(scale)
  const u = f32x4.splat(unit)
  let i = 0
  for (; i + 4 <= n; i += 4) {
    let v = f32x4.mul(f32x4.sub(v128.load(x), m), s)
    if (w) {
      v = f32x4.mul(v, f32x4.add(v128.load(w), u))
      w += 16
    }
    if (b) {
      v = f32x4.add(v, v128.load(b))
      b += 16
    }
    v128.store(y, v)
    x += 16
    y += 16
  }
  for (; i < n; i++) {
    let v = (load<f32>(x) - mean) * scale
    if (w) {
      v *= load<f32>(w) + unit
      w += 4
    }
    if (b) {
      v += load<f32>(b)
      b += 4
    }
    store<f32>(y, v)
    x += 4
    y += 4
  }
}

/**
 * Rows of layerNorm (center 1) and rmsNorm (center 0), and their backward with respect to x. Words: rows, rows of a chunk, n,
 * center, eps, x, w, unit, b, y, then backward (when stats is not 0; y is dx there): dy, stats. Stats gets (mean, scale) of
 * every row.
 */
export function normChunk(job: usize, chunk: i32): void {
  const per = load<i32>(job, 4)
  const from = chunk * per
  const to = min(load<i32>(job), from + per)
  const n = load<i32>(job, 8)
  const center = load<i32>(job, 12)
  const eps = load<f32>(job, 16)
  const bytes = <usize>n << 2
  let x = load<usize>(job, 20) + <usize>from * bytes
  const w = load<usize>(job, 24)
  const unit = load<f32>(job, 28)
  const b = load<usize>(job, 32)
  let y = load<usize>(job, 36) + <usize>from * bytes
  let dy = load<usize>(job, 40) + <usize>from * bytes
  let stats = load<usize>(job, 44)
  const backward = stats != 0
  stats += <usize>from << 3
  for (let r = from; r < to; r++) {
    const mean: f32 = center ? <f32>(sumRow(x, n) / n) : 0
    const scale = <f32>(1 / Math.sqrt(squaresRow(x, n, mean) / n + <f64>eps))
    if (backward) {
      store<f32>(stats, mean)
      store<f32>(stats, scale, 4)
      stats += 8
      normBack(x, dy, y, n, mean, scale, w, unit, center)
      dy += bytes
    } else normRow(x, y, n, mean, scale, w, unit, b)
    x += bytes
    y += bytes
  }
}

/** dx = scale·(g − mean g − x̂·mean(g·x̂)) with g = dy·(w + unit) and x̂ = (x − mean)·scale; without center no mean of g. */
function normBack(x: usize, dy: usize, dx: usize, n: i32, mean: f32, scale: f32, w: usize, unit: f32, center: i32): void {
  const m = f32x4.splat(mean)
  const u = f32x4.splat(unit)
  const whole = n & ~3
  let sumG: f64 = 0
  let sumGx: f64 = 0
  // g waits in dx for the second pass
  for (let at = 0; at < whole; ) {
    const end = min(whole, at + BLOCK)
    let s0 = f32x4.splat(0)
    let s1 = s0
    for (; at < end; at += 4) {
      const p = <usize>at << 2
      let g = v128.load(dy + p)
      if (w) g = f32x4.mul(g, f32x4.add(v128.load(w + p), u))
      v128.store(dx + p, g)
      s0 = f32x4.add(s0, g)
      s1 = f32x4.add(s1, f32x4.mul(g, f32x4.sub(v128.load(x + p), m)))
    }
    sumG += <f64>sum4(s0)
    sumGx += <f64>sum4(s1)
  }
  for (let at = whole; at < n; at++) {
    const p = <usize>at << 2
    const g = load<f32>(dy + p) * (w ? load<f32>(w + p) + unit : 1)
    store<f32>(dx + p, g)
    sumG += <f64>g
    sumGx += <f64>(g * (load<f32>(x + p) - mean))
  }
  // dx = scale·g − scale·mean g − (x − mean)·scale³·mean(g·(x − mean))
  const k = <f64>scale
  const shift: f32 = center ? <f32>(sumG / n) : 0
  const slope = <f32>((sumGx / n) * k * k)
  const gs = f32x4.splat(shift)
  const sl = f32x4.splat(slope)
  const s = f32x4.splat(scale)
  let at = 0
  for (; at < whole; at += 4) {
    const p = <usize>at << 2
    const d = f32x4.sub(f32x4.sub(v128.load(dx + p), gs), f32x4.mul(f32x4.sub(v128.load(x + p), m), sl))
    v128.store(dx + p, f32x4.mul(d, s))
  }
  for (; at < n; at++) {
    const p = <usize>at << 2
    store<f32>(dx + p, (load<f32>(dx + p) - shift - (load<f32>(x + p) - mean) * slope) * scale)
  }
}

/** Adds the four lanes of v to four float64 sums. */
// @ts-ignore: decorator
@inline function spill(at: usize, v: v128): void {
  v128.store(at, f64x2.add(v128.load(at), f64x2.promote_low_f32x4(v)))
  v128.store(at, f64x2.add(v128.load(at, 16), f64x2.promote_low_f32x4(v128.shuffle<i64>(v, v, 1, 1))), 16)
}

/**
 * Columns of dw = Σ dy·x̂ and db = Σ dy over all rows. Words: columns, columns of a chunk (a multiple of 16), rows, x, dy, stats,
 * dw, db (0: not wanted). Scratch: 256 bytes. Sixteen columns, a cache line, at a time, in blocks of 16 rows.
 */
export function normColumnsChunk(job: usize, chunk: i32, scratch: usize): void {
  const n = load<i32>(job)
  const per = load<i32>(job, 4)
  const rows = load<i32>(job, 8)
  const x0 = load<usize>(job, 12)
  const dy0 = load<usize>(job, 16)
  const stats = load<usize>(job, 20)
  const dw = load<usize>(job, 24)
  const db = load<usize>(job, 28)
  const end = min(n, (chunk + 1) * per)
  const bytes = <usize>n << 2
  for (let j = chunk * per; j < end; j += 16) {
    const columns = min(16, end - j)
    let x = x0 + (<usize>j << 2)
    let dy = dy0 + (<usize>j << 2)
    let st = stats
    memory.fill(scratch, 0, 256)
    if (columns == 16)
      for (let r = 0; r < rows; ) {
        const last = min(rows, r + 16)
        let w0 = f32x4.splat(0)
        let w1 = w0
        let w2 = w0
        let w3 = w0
        let b0 = w0
        let b1 = w0
        let b2 = w0
        let b3 = w0
        for (; r < last; r++) {
          const m = v128.load32_splat(st)
          const s = v128.load32_splat(st, 4)
          let g = v128.load(dy)
          b0 = f32x4.add(b0, g)
          w0 = f32x4.add(w0, f32x4.mul(g, f32x4.mul(f32x4.sub(v128.load(x), m), s)))
          g = v128.load(dy, 16)
          b1 = f32x4.add(b1, g)
          w1 = f32x4.add(w1, f32x4.mul(g, f32x4.mul(f32x4.sub(v128.load(x, 16), m), s)))
          g = v128.load(dy, 32)
          b2 = f32x4.add(b2, g)
          w2 = f32x4.add(w2, f32x4.mul(g, f32x4.mul(f32x4.sub(v128.load(x, 32), m), s)))
          g = v128.load(dy, 48)
          b3 = f32x4.add(b3, g)
          w3 = f32x4.add(w3, f32x4.mul(g, f32x4.mul(f32x4.sub(v128.load(x, 48), m), s)))
          x += bytes
          dy += bytes
          st += 8
        }
        spill(scratch, w0)
        spill(scratch + 32, w1)
        spill(scratch + 64, w2)
        spill(scratch + 96, w3)
        spill(scratch + 128, b0)
        spill(scratch + 160, b1)
        spill(scratch + 192, b2)
        spill(scratch + 224, b3)
      }
    else
      for (let r = 0; r < rows; r++) {
        for (let c = 0; c < columns; c++) {
          const p = <usize>c << 2
          const acc = scratch + (<usize>c << 3)
          const g = load<f32>(dy + p)
          store<f64>(acc, load<f64>(acc) + <f64>(g * ((load<f32>(x + p) - load<f32>(st)) * load<f32>(st, 4))))
          store<f64>(acc, load<f64>(acc, 128) + <f64>g, 128)
        }
        x += bytes
        dy += bytes
        st += 8
      }
    for (let c = 0; c < columns; c++) {
      const out = <usize>(j + c) << 2
      const acc = scratch + (<usize>c << 3)
      if (dw) store<f32>(dw + out, <f32>load<f64>(acc))
      if (db) store<f32>(db + out, <f32>load<f64>(acc, 128))
    }
  }
}
