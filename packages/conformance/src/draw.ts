/** Numbers for cases: drawn from a stream that belongs to the case's name, exact in float32, the same on every machine. */
import { type DType, fromF16, type TypedArray, toF16 } from '@heed/tensor'

/** How an input is filled. */
export type Draw =
  | 'normal'
  /** 0.3 … 3: for logarithms, roots, divisors. */
  | 'positive'
  /** No value near 0: for kinks and poles there. */
  | 'away0'
  /** No two values close to each other: for extremes and sorting. */
  | 'distinct'
  /** Small whole numbers, so that ties happen. */
  | 'whole'
  /** Rows of the last axis that sum to 1. */
  | 'probabilities'
  /** i32 from 0 to `below` − 1. */
  | 'ids'
  | 'bools'

/** An input of a case. */
export interface Input {
  readonly shape: readonly number[]
  readonly draw: Draw
  readonly dtype: DType
  /** Bound of ids. */
  readonly below?: number
  /** Given instead of drawn. */
  readonly values?: readonly number[]
}

/** A stream of numbers in [0, 1) (mulberry32), seeded by text. */
export function stream(text: string): () => number {
  let a = 0x811c9dc5
  for (let i = 0; i < text.length; i++) a = Math.imul(a ^ text.charCodeAt(i), 0x01000193)
  return () => {
    a = (a + 0x6d2b79f5) | 0
    let t = Math.imul(a ^ (a >>> 15), 1 | a)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

export function normal(next: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next())
}

export const sizeOf = (shape: readonly number[]): number => shape.reduce((n, d) => n * d, 1)

/** The nearest numbers that half precision holds. */
export const halves = (values: ArrayLike<number>): Float32Array<ArrayBuffer> =>
  Float32Array.from(values, (v) => fromF16(toF16(v)))

/** The flat, row-major values of an input. */
export function valuesOf(input: Input, seed: string): TypedArray {
  const n = sizeOf(input.shape)
  const next = stream(seed)
  if (input.dtype === 'bool') return Uint8Array.from(input.values ?? flat(n, () => (next() < 0.6 ? 1 : 0)))
  if (input.dtype === 'i32')
    return Int32Array.from(
      input.values ??
        flat(n, () => (input.draw === 'ids' ? Math.floor(next() * (input.below ?? 1)) : whole(next))),
    )
  return Float32Array.from(input.values ?? floats(input, n, next))
}

const flat = (n: number, f: (i: number) => number): number[] => Array.from({ length: n }, (_, i) => f(i))
const whole = (next: () => number): number => Math.floor(next() * 7) - 3

function floats({ draw, shape }: Input, n: number, next: () => number): number[] {
  switch (draw) {
    case 'positive':
      return flat(n, () => 0.3 + 2.7 * next())
    case 'away0':
      return flat(n, () => (0.15 + 2.35 * next()) * (next() < 0.5 ? -1 : 1))
    case 'whole':
      return flat(n, () => whole(next))
    case 'distinct': {
      const order = flat(n, (i) => i)
      for (let i = n - 1; i > 0; i--) {
        const j = Math.floor(next() * (i + 1))
        ;[order[i], order[j]] = [order[j], order[i]]
      }
      return order.map((k) => (k - n / 2) * 0.1 + 0.02 * next())
    }
    case 'probabilities': {
      const width = shape[shape.length - 1] ?? 1
      const e = flat(n, () => Math.exp(normal(next)))
      return e.map((v, i) => {
        const row = Math.floor(i / width) * width
        return v / e.slice(row, row + width).reduce((a, b) => a + b, 0)
      })
    }
    default:
      return flat(n, () => normal(next))
  }
}
