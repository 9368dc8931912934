// Elementwise float32 kernels over two axes: `rows` runs of n elements. Operands have a row stride and a step of any size (0
// repeats), in elements; the output is contiguous. Which op runs is a number that the loops see as a constant, so that every
// combination of op and steps becomes a loop of its own.

import { erf4, expAny4, tanh4 } from './functions'

// ops of binary(): the order is known to src/elementwise.ts
// @ts-ignore: decorator
@inline const ADD: i32 = 0
// @ts-ignore: decorator
@inline const SUB: i32 = 1
// @ts-ignore: decorator
@inline const MUL: i32 = 2
// @ts-ignore: decorator
@inline const DIV: i32 = 3
// @ts-ignore: decorator
@inline const MAX: i32 = 4

// @ts-ignore: decorator
@inline function two(op: i32, x: v128, y: v128): v128 {
  if (op == ADD) return f32x4.add(x, y)
  if (op == SUB) return f32x4.sub(x, y)
  if (op == MUL) return f32x4.mul(x, y)
  if (op == DIV) return f32x4.div(x, y)
  return f32x4.max(x, y)
}

// @ts-ignore: decorator
@inline function first(v: v128): f32 {
  return f32x4.extract_lane(v, 0)
}

// @ts-ignore: decorator
@inline function gather4(at: usize, step: usize): v128 {
  let v = v128.load32_zero(at)
  v = v128.load_lane<f32>(at + step, v, 1)
  v = v128.load_lane<f32>(at + 2 * step, v, 2)
  return v128.load_lane<f32>(at + 3 * step, v, 3)
}

// @ts-ignore: decorator
@inline function binaryLoop(op: i32, rows: i32, n: i32, a: usize, aRow: usize, aStep: usize, b: usize, bRow: usize, bStep: usize, c: usize): void {
  const whole = n & ~3
  for (let r = 0; r < rows; r++) {
    let pa = a
    let pb = b
    if (aStep == 4 && bStep == 4) {
      for (let i = 0; i < whole; i += 4) {
        v128.store(c, two(op, v128.load(pa), v128.load(pb)))
        pa += 16
        pb += 16
        c += 16
      }
    } else if (aStep == 4 && bStep == 0) {
      const y = v128.load32_splat(pb)
      for (let i = 0; i < whole; i += 4) {
        v128.store(c, two(op, v128.load(pa), y))
        pa += 16
        c += 16
      }
    } else if (aStep == 0 && bStep == 4) {
      const x = v128.load32_splat(pa)
      for (let i = 0; i < whole; i += 4) {
        v128.store(c, two(op, x, v128.load(pb)))
        pb += 16
        c += 16
      }
    } else {
      for (let i = 0; i < whole; i += 4) {
        v128.store(c, two(op, gather4(pa, aStep), gather4(pb, bStep)))
        pa += 4 * aStep
        pb += 4 * bStep
        c += 16
      }
    }
    for (let i = whole; i < n; i++) {
      store<f32>(c, first(two(op, v128.load32_splat(pa), v128.load32_splat(pb))))
      pa += aStep
      pb += bStep
      c += 4
    }
    a += aRow
    b += bRow
  }
}

/** c = a ∘ b. */
export function binary(op: i32, rows: i32, n: i32, a: usize, aRow: i32, aStep: i32, b: usize, bRow: i32, bStep: i32, c: usize): void {
  const ar = <usize>aRow << 2
  const as = <usize>aStep << 2
  const br = <usize>bRow << 2
  const bs = <usize>bStep << 2
  switch (op) {
    case ADD: binaryLoop(ADD, rows, n, a, ar, as, b, br, bs, c); break
    case SUB: binaryLoop(SUB, rows, n, a, ar, as, b, br, bs, c); break
    case MUL: binaryLoop(MUL, rows, n, a, ar, as, b, br, bs, c); break
    case DIV: binaryLoop(DIV, rows, n, a, ar, as, b, br, bs, c); break
    default: binaryLoop(MAX, rows, n, a, ar, as, b, br, bs, c)
  }
}

// ops of unary()
// @ts-ignore: decorator
@inline const NEG: i32 = 0
// @ts-ignore: decorator
@inline const SQRT: i32 = 1
// @ts-ignore: decorator
@inline const EXP: i32 = 2
// @ts-ignore: decorator
@inline const TANH: i32 = 3
// @ts-ignore: decorator
@inline const ERF: i32 = 4

// @ts-ignore: decorator
@inline function one(op: i32, x: v128): v128 {
  if (op == NEG) return f32x4.neg(x)
  if (op == SQRT) return f32x4.sqrt(x)
  if (op == EXP) return expAny4(x)
  if (op == TANH) return tanh4(x)
  return erf4(x)
}

// @ts-ignore: decorator
@inline function unaryLoop(op: i32, rows: i32, n: i32, a: usize, aRow: usize, aStep: usize, c: usize): void {
  const whole = n & ~3
  for (let r = 0; r < rows; r++) {
    let pa = a
    if (aStep == 4)
      for (let i = 0; i < whole; i += 4) {
        v128.store(c, one(op, v128.load(pa)))
        pa += 16
        c += 16
      }
    else
      for (let i = 0; i < whole; i += 4) {
        v128.store(c, one(op, gather4(pa, aStep)))
        pa += 4 * aStep
        c += 16
      }
    for (let i = whole; i < n; i++) {
      store<f32>(c, first(one(op, v128.load32_splat(pa))))
      pa += aStep
      c += 4
    }
    a += aRow
  }
}

/** Rows of c = f(a): words op, rows of a chunk, rows, n, a, row and step of a, c. */
export function unaryChunk(job: usize, chunk: i32): void {
  const op = load<i32>(job)
  const size = load<i32>(job, 4)
  const first = chunk * size
  const rows = min(size, load<i32>(job, 8) - first)
  const n = load<i32>(job, 12)
  const ar = load<usize>(job, 20) << 2
  const as = load<usize>(job, 24) << 2
  const a = load<usize>(job, 16) + <usize>first * ar
  const c = load<usize>(job, 28) + (<usize>(first * n) << 2)
  switch (op) {
    case NEG: unaryLoop(NEG, rows, n, a, ar, as, c); break
    case SQRT: unaryLoop(SQRT, rows, n, a, ar, as, c); break
    case EXP: unaryLoop(EXP, rows, n, a, ar, as, c); break
    case TANH: unaryLoop(TANH, rows, n, a, ar, as, c); break
    default: unaryLoop(ERF, rows, n, a, ar, as, c)
  }
}

/** c (bytes) = a < b (op 0), a ≤ b (1), a = b (2). */
export function compare(op: i32, rows: i32, n: i32, a: usize, aRow: i32, aStep: i32, b: usize, bRow: i32, bStep: i32, c: usize): void {
  const as = <usize>aStep << 2
  const bs = <usize>bStep << 2
  for (let r = 0; r < rows; r++) {
    let pa = a
    let pb = b
    for (let i = 0; i < n; i++) {
      const x = load<f32>(pa)
      const y = load<f32>(pb)
      store<u8>(c, op == 0 ? u8(x < y) : op == 1 ? u8(x <= y) : u8(x == y))
      pa += as
      pb += bs
      c++
    }
    a += <usize>aRow << 2
    b += <usize>bRow << 2
  }
}

/** out = c ? a : b with bytes c. */
export function choose(rows: i32, n: i32, c: usize, cRow: i32, cStep: i32, a: usize, aRow: i32, aStep: i32, b: usize, bRow: i32, bStep: i32, out: usize): void {
  const as = <usize>aStep << 2
  const bs = <usize>bStep << 2
  for (let r = 0; r < rows; r++) {
    let pc = c
    let pa = a
    let pb = b
    for (let i = 0; i < n; i++) {
      store<f32>(out, select<f32>(load<f32>(pa), load<f32>(pb), load<u8>(pc)))
      pc += cStep
      pa += as
      pb += bs
      out += 4
    }
    c += cRow
    a += <usize>aRow << 2
    b += <usize>bRow << 2
  }
}

/** Adds rows × n elements of x to float64 sums: element (r, i) goes to acc + 8·(r·accRow + i·accStep). */
export function sumInto(rows: i32, n: i32, x: usize, xRow: i32, xStep: i32, acc: usize, accRow: i32, accStep: i32): void {
  const step = <usize>xStep << 2
  for (let r = 0; r < rows; r++) {
    let p = x
    let i = 0
    if (accStep == 0) {
      let s0 = f64x2.splat(0)
      let s1 = s0
      if (xStep == 1)
        for (; i + 4 <= n; i += 4) {
          const v = v128.load(p)
          s0 = f64x2.add(s0, f64x2.promote_low_f32x4(v))
          s1 = f64x2.add(s1, f64x2.promote_low_f32x4(v128.shuffle<i64>(v, v, 1, 1)))
          p += 16
        }
      s0 = f64x2.add(s0, s1)
      let s = f64x2.extract_lane(s0, 0) + f64x2.extract_lane(s0, 1)
      for (; i < n; i++) {
        s += <f64>load<f32>(p)
        p += step
      }
      store<f64>(acc, load<f64>(acc) + s)
    } else {
      let q = acc
      if (accStep == 1 && xStep == 1)
        for (; i + 4 <= n; i += 4) {
          const v = v128.load(p)
          v128.store(q, f64x2.add(v128.load(q), f64x2.promote_low_f32x4(v)))
          v128.store(q, f64x2.add(v128.load(q, 16), f64x2.promote_low_f32x4(v128.shuffle<i64>(v, v, 1, 1))), 16)
          p += 16
          q += 32
        }
      for (; i < n; i++) {
        store<f64>(q, load<f64>(q) + <f64>load<f32>(p))
        p += step
        q += <usize>accStep << 3
      }
    }
    x += <usize>xRow << 2
    acc += <usize>accRow << 3
  }
}

/** float64 sums → float32 results. */
export function roundSums(n: i32, acc: usize, y: usize): void {
  for (let i = 0; i < n; i++) {
    store<f32>(y, <f32>load<f64>(acc))
    acc += 8
    y += 4
  }
}

/** Largest of rows × n elements of x and of what stands at y + 4·(r·yRow + i·yStep); NaN wins. */
export function maxInto(rows: i32, n: i32, x: usize, xRow: i32, xStep: i32, y: usize, yRow: i32, yStep: i32): void {
  const step = <usize>xStep << 2
  for (let r = 0; r < rows; r++) {
    let p = x
    let i = 0
    if (yStep == 0) {
      let m = load<f32>(y)
      if (xStep == 1 && n >= 4) {
        let v = v128.load32_splat(y)
        for (; i + 4 <= n; i += 4) {
          v = f32x4.max(v, v128.load(p))
          p += 16
        }
        m = max(
          max(f32x4.extract_lane(v, 0), f32x4.extract_lane(v, 1)),
          max(f32x4.extract_lane(v, 2), f32x4.extract_lane(v, 3)),
        )
      }
      for (; i < n; i++) {
        m = max(m, load<f32>(p))
        p += step
      }
      store<f32>(y, m)
    } else {
      let q = y
      for (; i < n; i++) {
        store<f32>(q, max(load<f32>(q), load<f32>(p)))
        p += step
        q += <usize>yStep << 2
      }
    }
    x += <usize>xRow << 2
    y += <usize>yRow << 2
  }
}
