// One step of LSTM and GRU cells after the product with the state, and its backward, for some rows of the batch.

import { activate4, SIGMOID } from './activations'
import { tanh4 } from './functions'
import { loadPart, storePart } from './vector'

// @ts-ignore: decorator
@inline const LSTM: i32 = 0

// @ts-ignore: decorator
@inline function read(p: usize, n: i32): v128 {
  return n >= 4 ? v128.load(p) : loadPart(p, n)
}
// @ts-ignore: decorator
@inline function write(p: usize, n: i32, v: v128): void {
  if (n >= 4) v128.store(p, v)
  else storePart(p, n, v)
}
function sigmoid(x: v128): v128 {
  return activate4(SIGMOID, x)
}
function tanh(x: v128): v128 {
  return tanh4(x)
}
/** s·(1 − s) */
// @ts-ignore: decorator
@inline function bend(s: v128): v128 {
  return f32x4.mul(s, f32x4.sub(f32x4.splat(1), s))
}
/** 1 − t² */
// @ts-ignore: decorator
@inline function flat(t: v128): v128 {
  return f32x4.sub(f32x4.splat(1), f32x4.mul(t, t))
}
/** Column j of row r of an operand that may be missing (zeros): address, strides of rows and columns in elements. */
function operand(at: usize, r: i32, j: i32, n: i32): v128 {
  const base = load<usize>(at)
  if (!base) return f32x4.splat(0)
  const step = load<i32>(at, 8)
  const p = base + (<usize>(r * load<i32>(at, 4) + j * step) << 2)
  if (step == 1) return read(p, n)
  let v = v128.load32_splat(p)
  if (n > 1) v = v128.load_lane<f32>(p + (<usize>step << 2), v, 1)
  if (n > 2) v = v128.load_lane<f32>(p + (<usize>step << 3), v, 2)
  if (n > 3) v = v128.load_lane<f32>(p + <usize>step * 12, v, 3)
  return v
}

/**
 * Words: rows, rows of a chunk, hidden, kind, gates, x, h, c, y, previous h, previous c, keep. LSTM (kind 0): gates i, f, g, o of input and
 * state together; GRU (1): r, z, n of the state alone, those of the input at x, no c. h and c are replaced; y and the previous states
 * are written where asked for. Rows whose byte of keep is 0 wait: state as before, y zero.
 */
export function cellChunk(job: usize, chunk: i32): void {
  const per = load<i32>(job, 4)
  const from = chunk * per
  const to = min(load<i32>(job), from + per)
  const hidden = load<i32>(job, 8)
  const kind = load<i32>(job, 12)
  const row = <usize>hidden << 2
  const gates = load<usize>(job, 16)
  const x = load<usize>(job, 20)
  const y = load<usize>(job, 32)
  const savedH = load<usize>(job, 36)
  const savedC = load<usize>(job, 40)
  const keep = load<usize>(job, 44)
  for (let r = from; r < to; r++) {
    const waits = keep != 0 && load<u8>(keep + r) == 0
    for (let j = 0; j < hidden; j += 4) {
      const n = hidden - j
      const at = <usize>r * row + (<usize>j << 2)
      const h = load<usize>(job, 24) + at
      const c = load<usize>(job, 28) + at
      const h0 = read(h, n)
      if (savedH) write(savedH + at, n, h0)
      if (savedC) write(savedC + at, n, read(c, n))
      if (waits) {
        if (y) write(y + at, n, f32x4.splat(0))
        continue
      }
      let h1: v128
      if (kind == LSTM) {
        const g = gates + at + <usize>r * row * 3
        const fresh = f32x4.mul(sigmoid(read(g, n)), tanh(read(g + 2 * row, n)))
        const c1 = f32x4.add(f32x4.mul(sigmoid(read(g + row, n)), read(c, n)), fresh)
        h1 = f32x4.mul(sigmoid(read(g + 3 * row, n)), tanh(c1))
        write(c, n, c1)
      } else {
        const g = gates + at + <usize>r * row * 2
        const p = x + at + <usize>r * row * 2
        const reset = sigmoid(f32x4.add(read(p, n), read(g, n)))
        const z = sigmoid(f32x4.add(read(p + row, n), read(g + row, n)))
        const fresh = tanh(f32x4.add(read(p + 2 * row, n), f32x4.mul(reset, read(g + 2 * row, n))))
        h1 = f32x4.add(f32x4.mul(f32x4.sub(f32x4.splat(1), z), fresh), f32x4.mul(z, h0))
      }
      write(h, n, h1)
      if (y) write(y + at, n, h1)
    }
  }
}

/**
 * Backward of one step. Words: rows, rows of a chunk, hidden, kind, gates, x, h, c (before the step), dh, dc, dx (0: not wanted, or the
 * same as the gates' gradient), keep, then y's cotangent and those of the states that were saved as (address, strides of rows and
 * columns). Gates become their own gradient; dh and dc become those of the states before the step, but for what comes through the
 * product.
 */
export function cellBackChunk(job: usize, chunk: i32): void {
  const per = load<i32>(job, 4)
  const from = chunk * per
  const to = min(load<i32>(job), from + per)
  const hidden = load<i32>(job, 8)
  const kind = load<i32>(job, 12)
  const row = <usize>hidden << 2
  const keep = load<usize>(job, 44)
  const wide = kind == LSTM ? <usize>3 : 2
  for (let r = from; r < to; r++) {
    const waits = keep != 0 && load<u8>(keep + r) == 0
    for (let j = 0; j < hidden; j += 4) {
      const n = hidden - j
      const at = <usize>r * row + (<usize>j << 2)
      const far = at + <usize>r * row * wide
      const g = load<usize>(job, 16) + far
      const x = load<usize>(job, 20) + far
      const dh = load<usize>(job, 32) + at
      const dc = load<usize>(job, 36) + at
      const dx = load<usize>(job, 40)
      const h0 = read(load<usize>(job, 24) + at, n)
      const alsoH = operand(job + 60, r, j, n)
      const grown = f32x4.add(read(dh, n), operand(job + 48, r, j, n))
      let d0 = f32x4.splat(0)
      let d1 = d0
      let d2 = d0
      // what the product with the state gets: the same but for the third gate of a GRU, which is reset
      let s2 = d0
      if (kind == LSTM) {
        let d3 = d0
        if (!waits) {
          const c0 = read(load<usize>(job, 28) + at, n)
          const i = sigmoid(read(g, n))
          const f = sigmoid(read(g + row, n))
          const fresh = tanh(read(g + 2 * row, n))
          const o = sigmoid(read(g + 3 * row, n))
          const t = tanh(f32x4.add(f32x4.mul(f, c0), f32x4.mul(i, fresh)))
          const down = f32x4.add(read(dc, n), f32x4.mul(f32x4.mul(grown, o), flat(t)))
          d0 = f32x4.mul(f32x4.mul(down, fresh), bend(i))
          d1 = f32x4.mul(f32x4.mul(down, c0), bend(f))
          d2 = f32x4.mul(f32x4.mul(down, i), flat(fresh))
          d3 = f32x4.mul(f32x4.mul(grown, t), bend(o))
          write(dc, n, f32x4.mul(down, f))
          write(dh, n, f32x4.splat(0))
        }
        write(dc, n, f32x4.add(read(dc, n), operand(job + 72, r, j, n)))
        write(g + 3 * row, n, d3)
        if (dx && dx + far != g) write(dx + far + 3 * row, n, d3)
        s2 = d2
      } else if (!waits) {
        const s = read(g + 2 * row, n)
        const reset = sigmoid(f32x4.add(read(x, n), read(g, n)))
        const z = sigmoid(f32x4.add(read(x + row, n), read(g + row, n)))
        const fresh = tanh(f32x4.add(read(x + 2 * row, n), f32x4.mul(reset, s)))
        d1 = f32x4.mul(f32x4.mul(grown, f32x4.sub(h0, fresh)), bend(z))
        d2 = f32x4.mul(f32x4.mul(grown, f32x4.sub(f32x4.splat(1), z)), flat(fresh))
        d0 = f32x4.mul(f32x4.mul(d2, s), bend(reset))
        s2 = f32x4.mul(d2, reset)
        write(dh, n, f32x4.mul(grown, z))
      }
      write(dh, n, f32x4.add(read(dh, n), alsoH))
      write(g, n, d0)
      write(g + row, n, d1)
      write(g + 2 * row, n, s2)
      if (dx && dx + far != g) {
        write(dx + far, n, d0)
        write(dx + far + row, n, d1)
        write(dx + far + 2 * row, n, d2)
      }
    }
  }
}
