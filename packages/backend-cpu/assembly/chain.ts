// Elementwise work: a short program runs over blocks of 512 elements that stay in the first level of cache, so that a chain of ops
// reads and writes memory once. Every op is one loop; operands that do not lie as the result does are gathered into blocks first.
// Booleans are masks of 32 bits in a block and bytes outside.

import { activateRow, slopeRow } from './activations'
import { erf4, expAny4, log4, tanh4 } from './functions'
import { copyBytes, gather } from './gather'

// @ts-ignore: decorator
@inline const BLOCK: i32 = 512
// @ts-ignore: decorator
@inline const BYTES: usize = 2048

// kinds of operands, and ops: src/chain.ts knows the order
// @ts-ignore: decorator
@inline const FLAT: i32 = 0
// @ts-ignore: decorator
@inline const MASK: i32 = 2
// @ts-ignore: decorator
@inline const REPEATED: i32 = 4

// @ts-ignore: decorator
@inline const NEG: i32 = 0
// @ts-ignore: decorator
@inline const SQRT: i32 = 1
// @ts-ignore: decorator
@inline const EXP: i32 = 2
// @ts-ignore: decorator
@inline const LOG: i32 = 3
// @ts-ignore: decorator
@inline const ERF: i32 = 4
// @ts-ignore: decorator
@inline const FLOOR: i32 = 5
// @ts-ignore: decorator
@inline const FROM_BOOL: i32 = 6
// @ts-ignore: decorator
@inline const FROM_I32: i32 = 7
// @ts-ignore: decorator
@inline const TO_BOOL: i32 = 8
// @ts-ignore: decorator
@inline const ADD: i32 = 16
// @ts-ignore: decorator
@inline const SUB: i32 = 17
// @ts-ignore: decorator
@inline const MUL: i32 = 18
// @ts-ignore: decorator
@inline const DIV: i32 = 19
// @ts-ignore: decorator
@inline const MAX: i32 = 20
// @ts-ignore: decorator
@inline const LESS: i32 = 21
// @ts-ignore: decorator
@inline const LESS_EQUAL: i32 = 22
// @ts-ignore: decorator
@inline const EQUAL: i32 = 23
// @ts-ignore: decorator
@inline const LESS_I32: i32 = 24
// @ts-ignore: decorator
@inline const LESS_EQUAL_I32: i32 = 25
// @ts-ignore: decorator
@inline const EQUAL_I32: i32 = 26
// @ts-ignore: decorator
@inline const WHERE: i32 = 31
// @ts-ignore: decorator
@inline const ACTIVATE: i32 = 32
// @ts-ignore: decorator
@inline const SLOPE: i32 = 48

// @ts-ignore: decorator
@inline function one(op: i32, x: v128): v128 {
  if (op == NEG) return f32x4.neg(x)
  if (op == SQRT) return f32x4.sqrt(x)
  if (op == EXP) return expAny4(x)
  if (op == LOG) return log4(x)
  if (op == ERF) return erf4(x)
  if (op == FLOOR) return f32x4.floor(x)
  if (op == FROM_BOOL) return v128.and(x, f32x4.splat(1))
  if (op == FROM_I32) return f32x4.convert_i32x4_s(x)
  return f32x4.ne(x, f32x4.splat(0))
}
// @ts-ignore: decorator
@inline function two(op: i32, x: v128, y: v128): v128 {
  if (op == ADD) return f32x4.add(x, y)
  if (op == SUB) return f32x4.sub(x, y)
  if (op == MUL) return f32x4.mul(x, y)
  if (op == DIV) return f32x4.div(x, y)
  if (op == MAX) return f32x4.max(x, y)
  if (op == LESS) return f32x4.lt(x, y)
  if (op == LESS_EQUAL) return f32x4.le(x, y)
  if (op == EQUAL) return f32x4.eq(x, y)
  if (op == LESS_I32) return i32x4.lt_s(x, y)
  if (op == LESS_EQUAL_I32) return i32x4.le_s(x, y)
  return i32x4.eq(x, y)
}

// @ts-ignore: decorator
@inline function oneLoop(op: i32, n: i32, x: usize, to: usize): void {
  for (let i = 0; i < n; i += 4) {
    v128.store(to, one(op, v128.load(x)))
    x += 16
    to += 16
  }
}
// @ts-ignore: decorator
@inline function twoLoop(op: i32, n: i32, x: usize, y: usize, to: usize): void {
  for (let i = 0; i < n; i += 4) {
    v128.store(to, two(op, v128.load(x), v128.load(y)))
    x += 16
    y += 16
    to += 16
  }
}

/** One instruction over n elements (a multiple of 4). */
function step(op: i32, n: i32, x: usize, y: usize, z: usize, to: usize): void {
  switch (op) {
    case NEG: oneLoop(NEG, n, x, to); break
    case SQRT: oneLoop(SQRT, n, x, to); break
    case EXP: oneLoop(EXP, n, x, to); break
    case LOG: oneLoop(LOG, n, x, to); break
    case ERF: oneLoop(ERF, n, x, to); break
    case FLOOR: oneLoop(FLOOR, n, x, to); break
    case FROM_BOOL: oneLoop(FROM_BOOL, n, x, to); break
    case FROM_I32: oneLoop(FROM_I32, n, x, to); break
    case TO_BOOL: oneLoop(TO_BOOL, n, x, to); break
    case ADD: twoLoop(ADD, n, x, y, to); break
    case SUB: twoLoop(SUB, n, x, y, to); break
    case MUL: twoLoop(MUL, n, x, y, to); break
    case DIV: twoLoop(DIV, n, x, y, to); break
    case MAX: twoLoop(MAX, n, x, y, to); break
    case LESS: twoLoop(LESS, n, x, y, to); break
    case LESS_EQUAL: twoLoop(LESS_EQUAL, n, x, y, to); break
    case EQUAL: twoLoop(EQUAL, n, x, y, to); break
    case LESS_I32: twoLoop(LESS_I32, n, x, y, to); break
    case LESS_EQUAL_I32: twoLoop(LESS_EQUAL_I32, n, x, y, to); break
    case EQUAL_I32: twoLoop(EQUAL_I32, n, x, y, to); break
    case WHERE:
      for (let i = 0; i < n; i += 4) {
        v128.store(to, v128.bitselect(v128.load(y), v128.load(z), v128.load(x)))
        x += 16
        y += 16
        z += 16
        to += 16
      }
      break
    default:
      if (op < SLOPE) activateRow(op - ACTIVATE, n, x, to)
      else slopeRow(op - SLOPE, n, x, y, to)
  }
}

/** Bytes in the last quarter of a block become masks. */
function widen(block: usize, n: i32): void {
  const zero = i32x4.splat(0)
  let from = block + 3 * BLOCK
  for (let i = 0; i < n; i += 4) {
    const wide = i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(v128.load32_zero(from)))
    v128.store(block, i32x4.ne(wide, zero))
    from += 4
    block += 16
  }
}

/** Elements from … of an operand into a block; the view follows its kind. */
function fill(operand: usize, index: usize, from: i32, n: i32, block: usize): void {
  if (load<i32>(operand) & MASK) {
    gather(operand + 4, index, from, n, block + 3 * BLOCK, 1)
    widen(block, n)
  } else gather(operand + 4, index, from, n, block, 4)
}

/**
 * Words: elements, elements of a chunk (a multiple of 512), operands, instructions, words to the first instruction, address of the
 * result, 1 when it is bytes; then each operand: words it has, kind (0 lies as the result does, 1 is gathered, + 2 for bytes, + 4 for
 * one number repeated), view (assembly/gather.ts). Then instructions: op, x, y, z, to. A value below the number of operands is one,
 * the others are blocks; the last instruction writes the result. Scratch: 64 + (operands + instructions) · 2052 bytes, in 64s.
 */
export function chainChunk(job: usize, chunk: i32, scratch: usize): void {
  const per = load<i32>(job, 4)
  const first = chunk * per
  const end = min(load<i32>(job), first + per)
  const operands = load<i32>(job, 8)
  const last = load<i32>(job, 12) - 1
  const code = job + (<usize>load<i32>(job, 16) << 2)
  const out = load<usize>(job, 20)
  const isBytes = load<i32>(job, 24)
  // where every value lies, then the blocks
  const table = scratch + 64
  const blocks = (table + (<usize>(operands + last + 1) << 2) + 63) & ~63
  for (let k = 0; k <= operands + last; k++) store<usize>(table + (<usize>k << 2), blocks + <usize>k * BYTES)
  for (let from = first; from < end; from += BLOCK) {
    const n = min(BLOCK, end - from)
    const whole = (n + 3) & ~3
    let operand = job + 28
    for (let k = 0; k < operands; k++) {
      const kind = load<i32>(operand, 4)
      const block = blocks + <usize>k * BYTES
      // past the end there may be nothing to read
      if (kind == FLAT && n == whole) store<usize>(table + (<usize>k << 2), load<usize>(operand, 8) + (<usize>from << 2))
      else {
        store<usize>(table + (<usize>k << 2), block)
        if (from == first || !(kind & REPEATED)) fill(operand + 4, scratch, from, n, block)
      }
      operand += <usize>load<i32>(operand) << 2
    }
    const isDirect = !isBytes && n == whole
    let at = code
    for (let k = 0; k <= last; k++) {
      const value = table + (<usize>load<i32>(at, 16) << 2)
      if (k == last) store<usize>(value, isDirect ? out + (<usize>from << 2) : blocks + <usize>load<i32>(at, 16) * BYTES)
      step(
        load<i32>(at), whole,
        load<usize>(table + (<usize>load<i32>(at, 4) << 2)),
        load<usize>(table + (<usize>load<i32>(at, 8) << 2)),
        load<usize>(table + (<usize>load<i32>(at, 12) << 2)),
        load<usize>(value),
      )
      at += 20
    }
    if (isDirect) continue
    const result = load<usize>(table + (<usize>load<i32>(at - 4) << 2))
    if (isBytes)
      for (let i = 0; i < n; i++) store<u8>(out + from + i, <u8>(load<u32>(result + (<usize>i << 2)) & 1))
    else copyBytes(out + (<usize>from << 2), result, <usize>n << 2)
  }
}
