// Products with one row: memory-bound, so everything is read once. And what is done to single rows.

import { TILE_COLS, fma } from './tile'

/** Bytes of a row of a panel. */
// @ts-ignore: decorator
@inline const ROW: usize = TILE_COLS * 4
/** Columns of which `rowPieces` makes the sums at once; four rows of sums, which stay in L1. */
// @ts-ignore: decorator
@inline const PIECE: i32 = 512
// @ts-ignore: decorator
@inline const SUM: usize = PIECE * 4
// @ts-ignore: decorator
@inline export const SUMS: usize = 4 * SUM

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

/** y[i] += x·row[i] for n floats; of the last four of y all are written. */
function addMultiple(n: i32, x: v128, row: usize, y: usize): void {
  for (; n >= 4; n -= 4) {
    v128.store(y, fma(x, v128.load(row), v128.load(y)))
    row += 16
    y += 16
  }
  if (n > 0) v128.store(y, fma(x, loadPart(row, n), v128.load(y)))
}

/** Four neighbours of the sum at s: two more rows of B, at p and q. */
// @ts-ignore: decorator
@inline function addTwo(s: usize, x: v128, p: usize, y: v128, q: usize): void {
  v128.store(s, fma(y, v128.load(q), fma(x, v128.load(p), v128.load(s))))
}

/**
 * c[j] = Σ a[k]·b[k·bRow + j] for cols columns (bRow in bytes): eight rows of B at a time are read in long pieces, since memory
 * likes several streams. The sums lie in `sums` (SUMS bytes), every fourth k has one of its own as in `rowPanels`: packed or not,
 * the results have the same bits.
 */
export function rowPieces(cols: i32, depth: i32, a: usize, b: usize, bRow: usize, c: usize, sums: usize): void {
  for (; cols > 0; cols -= PIECE) {
    const n = min(cols, PIECE)
    const whole = <usize>(n & ~3) << 2
    memory.fill(sums, 0, SUMS)
    let row = b
    let pa = a
    let k = depth
    for (; k >= 8; k -= 8) {
      const x0 = v128.load32_splat(pa)
      const x1 = v128.load32_splat(pa, 4)
      const x2 = v128.load32_splat(pa, 8)
      const x3 = v128.load32_splat(pa, 12)
      const y0 = v128.load32_splat(pa, 16)
      const y1 = v128.load32_splat(pa, 20)
      const y2 = v128.load32_splat(pa, 24)
      const y3 = v128.load32_splat(pa, 28)
      let p = row
      let q = row + 4 * bRow
      let s = sums
      for (const end = sums + whole; s < end; s += 16) {
        addTwo(s, x0, p, y0, q)
        addTwo(s + SUM, x1, p + bRow, y1, q + bRow)
        addTwo(s + 2 * SUM, x2, p + 2 * bRow, y2, q + 2 * bRow)
        addTwo(s + 3 * SUM, x3, p + 3 * bRow, y3, q + 3 * bRow)
        p += 16
        q += 16
      }
      for (let r = 0; r < 8 && n & 3; r++) addMultiple(n & 3, v128.load32_splat(pa + (r << 2)), p + r * bRow, s + (r & 3) * SUM)
      row += 8 * bRow
      pa += 32
    }
    for (let r = 0; r < k; r++) {
      addMultiple(n, v128.load32_splat(pa), row, sums + (r & 3) * SUM)
      row += bRow
      pa += 4
    }
    // the order of sum4
    for (let j = 0; j < n; j += 4) {
      const s = sums + (j << 2)
      put(c, n - j, f32x4.add(f32x4.add(v128.load(s), v128.load(s, SUM)), f32x4.add(v128.load(s, 2 * SUM), v128.load(s, 3 * SUM))))
      c += 16
    }
    b += PIECE * 4
  }
}

/** c[j] (+)= Σ a[k]·b[k·bRow + j] for j < cols (bRow in bytes): 32 columns at a time, so 8 sums hide the latency of the adder. */
export function rowTimes(cols: i32, depth: i32, a: usize, b: usize, bRow: usize, c: usize, acc: i32): void {
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
