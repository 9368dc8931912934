// Products with one row: memory-bound, so everything is read once. And what is done to single rows.

import { TILE_COLS, fma } from './tile'

/** Bytes of a row of a panel. */
// @ts-ignore: decorator
@inline const ROW: usize = TILE_COLS * 4
/** Rows longer than this are walked from end to end instead of in columns. */
// @ts-ignore: decorator
@inline export const LONG: i32 = 160

// @ts-ignore: decorator
@inline export function sum4(v: v128): f32 {
  return f32x4.extract_lane(v, 0) + f32x4.extract_lane(v, 1) + (f32x4.extract_lane(v, 2) + f32x4.extract_lane(v, 3))
}

/** The 1 to 3 floats at `p`, zeros behind them: what is left of a row, without reading past it. */
export function loadPart(p: usize, n: i32): v128 {
  if (n == 1) return v128.load32_zero(p)
  const v = v128.load64_zero(p)
  return n == 2 ? v : v128.load_lane<f32>(p, v, 2, 8)
}

/** Writes the first 1 to 3 floats of v. */
export function storePart(p: usize, n: i32, v: v128): void {
  store<f32>(p, f32x4.extract_lane(v, 0))
  if (n > 1) store<f32>(p, f32x4.extract_lane(v, 1), 4)
  if (n > 2) store<f32>(p, f32x4.extract_lane(v, 2), 8)
}

/** y[i] += x[i] for n floats. */
export function addRow(n: i32, x: usize, y: usize): void {
  for (; n >= 4; n -= 4) {
    v128.store(y, f32x4.add(v128.load(y), v128.load(x)))
    x += 16
    y += 16
  }
  if (n > 0) storePart(y, n, f32x4.add(loadPart(y, n), loadPart(x, n)))
}

/**
 * c[j] = Σ a[k]·b[j·bRow + k] for cols rows of B (bRow in bytes). Every fourth k has a sum of its own, as in `rowPanels`: packed
 * or not, the results have the same bits.
 */
export function rowDots(cols: i32, depth: i32, a: usize, b: usize, bRow: usize, c: usize): void {
  const whole = depth & ~3
  for (; cols > 0; cols -= 4) {
    let pa = a
    // rows that are not there read the last one again
    let p0 = b
    let p1 = p0 + (cols > 1 ? bRow : 0)
    let p2 = p1 + (cols > 2 ? bRow : 0)
    let p3 = p2 + (cols > 3 ? bRow : 0)
    let s0 = f32x4.splat(0)
    let s1 = s0
    let s2 = s0
    let s3 = s0
    for (let k = 0; k < whole; k += 4) {
      const x = v128.load(pa)
      s0 = fma(x, v128.load(p0), s0)
      s1 = fma(x, v128.load(p1), s1)
      s2 = fma(x, v128.load(p2), s2)
      s3 = fma(x, v128.load(p3), s3)
      pa += 16
      p0 += 16
      p1 += 16
      p2 += 16
      p3 += 16
    }
    const left = depth - whole
    if (left > 0) {
      const x = loadPart(pa, left)
      s0 = fma(x, loadPart(p0, left), s0)
      s1 = fma(x, loadPart(p1, left), s1)
      s2 = fma(x, loadPart(p2, left), s2)
      s3 = fma(x, loadPart(p3, left), s3)
    }
    store<f32>(c, sum4(s0))
    if (cols > 1) store<f32>(c, sum4(s1), 4)
    if (cols > 2) store<f32>(c, sum4(s2), 8)
    if (cols > 3) store<f32>(c, sum4(s3), 12)
    c += 16
    b += 4 * bRow
  }
}

/**
 * c[j] = Σ a[k]·B[k, j] for cols columns in panels of TILE_COLS (see pack.ts): one stream from end to end, eight or twelve sums in
 * flight.
 */
export function rowPanels(cols: i32, depth: i32, a: usize, panels: usize, c: usize): void {
  let b = panels
  for (; cols > 0; cols -= TILE_COLS) {
    let pa = a
    let s0 = f32x4.splat(0)
    let t0 = s0
    let u0 = s0
    let s1 = s0
    let t1 = s0
    let u1 = s0
    let s2 = s0
    let t2 = s0
    let u2 = s0
    let s3 = s0
    let t3 = s0
    let u3 = s0
    let x: v128
    for (let k = depth >> 2; k > 0; k--) {
      x = v128.load32_splat(pa)
      s0 = fma(x, v128.load(b), s0)
      t0 = fma(x, v128.load(b, 16), t0)
      if (TILE_COLS > 8) u0 = fma(x, v128.load(b, 32), u0)
      x = v128.load32_splat(pa, 4)
      s1 = fma(x, v128.load(b, ROW), s1)
      t1 = fma(x, v128.load(b, ROW + 16), t1)
      if (TILE_COLS > 8) u1 = fma(x, v128.load(b, ROW + 32), u1)
      x = v128.load32_splat(pa, 8)
      s2 = fma(x, v128.load(b, 2 * ROW), s2)
      t2 = fma(x, v128.load(b, 2 * ROW + 16), t2)
      if (TILE_COLS > 8) u2 = fma(x, v128.load(b, 2 * ROW + 32), u2)
      x = v128.load32_splat(pa, 12)
      s3 = fma(x, v128.load(b, 3 * ROW), s3)
      t3 = fma(x, v128.load(b, 3 * ROW + 16), t3)
      if (TILE_COLS > 8) u3 = fma(x, v128.load(b, 3 * ROW + 32), u3)
      pa += 16
      b += 4 * ROW
    }
    const left = depth & 3
    if (left > 0) {
      x = v128.load32_splat(pa)
      s0 = fma(x, v128.load(b), s0)
      t0 = fma(x, v128.load(b, 16), t0)
      if (TILE_COLS > 8) u0 = fma(x, v128.load(b, 32), u0)
    }
    if (left > 1) {
      x = v128.load32_splat(pa, 4)
      s1 = fma(x, v128.load(b, ROW), s1)
      t1 = fma(x, v128.load(b, ROW + 16), t1)
      if (TILE_COLS > 8) u1 = fma(x, v128.load(b, ROW + 32), u1)
    }
    if (left > 2) {
      x = v128.load32_splat(pa, 8)
      s2 = fma(x, v128.load(b, 2 * ROW), s2)
      t2 = fma(x, v128.load(b, 2 * ROW + 16), t2)
      if (TILE_COLS > 8) u2 = fma(x, v128.load(b, 2 * ROW + 32), u2)
    }
    b += <usize>left * ROW
    // the order of sum4
    put(c, cols, f32x4.add(f32x4.add(s0, s1), f32x4.add(s2, s3)))
    put(c + 16, cols - 4, f32x4.add(f32x4.add(t0, t1), f32x4.add(t2, t3)))
    if (TILE_COLS > 8) put(c + 32, cols - 8, f32x4.add(f32x4.add(u0, u1), f32x4.add(u2, u3)))
    c += ROW
  }
}

/** Writes the first n floats of v, all four or none. */
function put(c: usize, n: i32, v: v128): void {
  if (n >= 4) v128.store(c, v)
  else if (n > 0) storePart(c, n, v)
}

/** c[j] += Σ a[k]·b[k·bRow + j]: four rows of B at a time, read from end to end, for rows too long to walk in columns. */
export function longRowTimes(cols: i32, depth: i32, a: usize, b: usize, bRow: usize, c: usize): void {
  const whole = cols & ~3
  let k = 0
  for (; k + 4 <= depth; k += 4) {
    const x0 = v128.load32_splat(a)
    const x1 = v128.load32_splat(a, 4)
    const x2 = v128.load32_splat(a, 8)
    const x3 = v128.load32_splat(a, 12)
    let p0 = b
    let p1 = p0 + bRow
    let p2 = p1 + bRow
    let p3 = p2 + bRow
    let out = c
    for (let j = 0; j < whole; j += 4) {
      const even = fma(x0, v128.load(p0), v128.load(out))
      const odd = f32x4.mul(x1, v128.load(p1))
      v128.store(out, f32x4.add(fma(x2, v128.load(p2), even), fma(x3, v128.load(p3), odd)))
      out += 16
      p0 += 16
      p1 += 16
      p2 += 16
      p3 += 16
    }
    for (let j = whole; j < cols; j++) {
      const sum = load<f32>(a) * load<f32>(p0) + load<f32>(a, 4) * load<f32>(p1)
      store<f32>(out, load<f32>(out) + sum + load<f32>(a, 8) * load<f32>(p2) + load<f32>(a, 12) * load<f32>(p3))
      out += 4
      p0 += 4
      p1 += 4
      p2 += 4
      p3 += 4
    }
    a += 16
    b += 4 * bRow
  }
  for (; k < depth; k++) {
    const x = load<f32>(a)
    for (let j = 0; j < cols; j++) {
      const at = <usize>j << 2
      store<f32>(c + at, load<f32>(c + at) + x * load<f32>(b + at))
    }
    a += 4
    b += bRow
  }
}

/** c[j] (+)= Σ a[k]·b[k·bRow + j] for j < cols (bRow in bytes): 32 columns at a time, so 8 sums hide the latency of the adder. */
export function rowTimes(cols: i32, depth: i32, a: usize, b: usize, bRow: usize, c: usize, acc: i32): void {
  if (cols > LONG) {
    if (!acc) memory.fill(c, 0, <usize>cols << 2)
    longRowTimes(cols, depth, a, b, bRow, c)
    return
  }
  let j = 0
  for (; j + 32 <= cols; j += 32) {
    let s0 = f32x4.splat(0)
    let s1 = s0
    let s2 = s0
    let s3 = s0
    let s4 = s0
    let s5 = s0
    let s6 = s0
    let s7 = s0
    if (acc) {
      s0 = v128.load(c)
      s1 = v128.load(c, 16)
      s2 = v128.load(c, 32)
      s3 = v128.load(c, 48)
      s4 = v128.load(c, 64)
      s5 = v128.load(c, 80)
      s6 = v128.load(c, 96)
      s7 = v128.load(c, 112)
    }
    let pa = a
    let p = b
    for (let k = depth; k > 0; k--) {
      const x = v128.load32_splat(pa)
      s0 = fma(x, v128.load(p), s0)
      s1 = fma(x, v128.load(p, 16), s1)
      s2 = fma(x, v128.load(p, 32), s2)
      s3 = fma(x, v128.load(p, 48), s3)
      s4 = fma(x, v128.load(p, 64), s4)
      s5 = fma(x, v128.load(p, 80), s5)
      s6 = fma(x, v128.load(p, 96), s6)
      s7 = fma(x, v128.load(p, 112), s7)
      pa += 4
      p += bRow
    }
    v128.store(c, s0)
    v128.store(c, s1, 16)
    v128.store(c, s2, 32)
    v128.store(c, s3, 48)
    v128.store(c, s4, 64)
    v128.store(c, s5, 80)
    v128.store(c, s6, 96)
    v128.store(c, s7, 112)
    c += 128
    b += 128
  }
  for (; j + 4 <= cols; j += 4) {
    let s = acc ? v128.load(c) : f32x4.splat(0)
    let pa = a
    let p = b
    for (let k = depth; k > 0; k--) {
      s = fma(v128.load32_splat(pa), v128.load(p), s)
      pa += 4
      p += bRow
    }
    v128.store(c, s)
    c += 16
    b += 16
  }
  for (; j < cols; j++) {
    let s: f32 = acc ? load<f32>(c) : 0
    let pa = a
    let p = b
    for (let k = depth; k > 0; k--) {
      s += load<f32>(pa) * load<f32>(p)
      pa += 4
      p += bRow
    }
    store<f32>(c, s)
    c += 4
    b += 4
  }
}
