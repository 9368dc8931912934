/**
 * Random numbers with explicit keys: threefry2x32-20 (Salmon et al. 2011), uniforms of 24 bits. The same key gives
 * the same uniforms on every backend, because generator and shift run inside one primitive.
 */
import { DTypeError, showShape, ValueError } from '../errors.js'
import { apply, leaf, type Op, type Spec, type Tensor } from '../graph.js'
import { type Shape, sizeOf } from '../shape.js'
import { dropoutMask } from './activation.js'
import { primitive } from './define.js'
import { add, cos, lessEqual, log, mul, sin, sqrt } from './elementwise.js'
import { reshape, sliceAxis, stack } from './shape.js'

const ROTATIONS = [13, 15, 26, 6, 17, 29, 16, 24]

/** One block of threefry2x32-20: two 32-bit words from a key and a counter of two words each. */
export function threefry2x32(
  key0: number,
  key1: number,
  counter0: number,
  counter1: number,
): [number, number] {
  const ks = [key0 | 0, key1 | 0, 0x1bd11bda ^ key0 ^ key1]
  let x0 = (counter0 + ks[0]) | 0
  let x1 = (counter1 + ks[1]) | 0
  for (let round = 0; round < 20; round++) {
    x0 = (x0 + x1) | 0
    const r = ROTATIONS[round % 8]
    x1 = ((x1 << r) | (x1 >>> (32 - r))) ^ x0
    if (round % 4 === 3) {
      const i = (round + 1) / 4
      x0 = (x0 + ks[i % 3]) | 0
      x1 = (x1 + ks[(i + 1) % 3] + i) | 0
    }
  }
  return [x0, x1]
}

const keyed = (key: Spec): void => {
  if (key.dtype !== 'i32' || key.shape.length !== 1 || key.shape[0] !== 2)
    throw new DTypeError(
      `the key is ${key.dtype} ${showShape(key.shape)}, expected i32 [2]; make it with randomKey(seed)`,
    )
}
const row = (dtype: 'i32' | 'f32'): Pick<Op, 'infer'> => ({
  infer: ([key], attrs) => {
    keyed(key)
    return { shape: [attrs.n as number], dtype }
  },
})
const bitsOp = primitive('randomBits', row('i32'))
const uniformOp = primitive('randomUniform', row('f32'))

export interface StreamOptions {
  /** The first counter, low word first. Blocks follow counter, counter + 1, … */
  counter?: readonly [number, number]
}
const attrsOf = (n: number, o: StreamOptions) => ({
  n,
  counter: [(o.counter?.[0] ?? 0) | 0, (o.counter?.[1] ?? 0) | 0],
})

/** n 32-bit words (as i32) of the key's stream. */
export function randomBits(key: Tensor, n: number, options: StreamOptions = {}): Tensor {
  return apply(bitsOp, [key], attrsOf(n, options))
}
/** Uniform in [0, 1): (bits >>> 8)·2⁻²⁴, exact in float32 and equal on every backend. */
export function randomUniform(
  key: Tensor,
  shape: Shape,
  options: StreamOptions & { lo?: number; hi?: number } = {},
): Tensor {
  const u = reshape(apply(uniformOp, [key], attrsOf(sizeOf(shape), options)), shape)
  const { lo = 0, hi = 1 } = options
  return lo === 0 && hi === 1 ? u : add(mul(u, hi - lo), lo)
}
/** Normal numbers by Box–Muller on consecutive words: r cos 2πu₂, r sin 2πu₂ with r = √(−2 ln u₁), u₁ in (0, 1]. */
export function randomNormal(
  key: Tensor,
  shape: Shape,
  options: StreamOptions & { mean?: number; std?: number } = {},
): Tensor {
  const n = sizeOf(shape)
  const half = Math.ceil(n / 2)
  const u = reshape(apply(uniformOp, [key], attrsOf(2 * half, options)), [half, 2])
  const u1 = add(sliceAxis(u, 1, 0, 1), 2 ** -24)
  const angle = mul(sliceAxis(u, 1, 1, 2), 2 * Math.PI)
  const r = sqrt(mul(log(u1), -2))
  const z = reshape(stack([mul(r, cos(angle)), mul(r, sin(angle))], 1), [2 * half]) // cosine and sine alternate
  const y = reshape(sliceAxis(z, 0, 0, n), shape)
  const { mean = 0, std = 1 } = options
  return mean === 0 && std === 1 ? y : add(mul(y, std), mean)
}

/** A key from a seed (any integer below 2⁵³). */
export function randomKey(seed: number): Tensor {
  if (!Number.isSafeInteger(seed) || seed < 0)
    throw new ValueError(`randomKey: the seed is ${seed}, expected a non-negative integer`)
  return keyOf(Math.floor(seed / 2 ** 32) | 0, seed | 0)
}
const keyOf = (a: number, b: number): Tensor => leaf({ shape: [2], dtype: 'i32' }, Int32Array.of(a, b))
/** A new key from a key and a number or a name; different data give independent keys. */
export function foldIn(key: Tensor, data: number | string): Tensor {
  const [a, b] = typeof data === 'number' ? [data | 0, 1] : [fnv(data), 2]
  const host = key.value?.host
  if (host instanceof Int32Array) return keyOf(...threefry2x32(host[0], host[1], a, b))
  return randomBits(key, 2, { counter: [a, b] })
}
/** n independent keys. */
export function splitKey(key: Tensor, n = 2): Tensor[] {
  return Array.from({ length: n }, (_, i) => foldIn(foldIn(key, 'split'), i))
}
function fnv(text: string): number {
  let h = 0x811c9dc5
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193)
  return h | 0
}

/** Zeros each element with probability p and divides the rest by 1 − p. On only when a key is given. */
export function dropout(x: Tensor, p: number, key: Tensor | null | undefined): Tensor {
  if (!(p >= 0 && p <= 1)) throw new ValueError(`dropout: p = ${p}, expected 0 ≤ p ≤ 1`)
  if (!key || p === 0) return x
  return dropoutMask(x, lessEqual(p, randomUniform(key, x.shape)), { p })
}

/** Samples an index per row from logits [..., classes] by the Gumbel trick (used with a key per step). */
export function gumbel(key: Tensor, shape: Shape): Tensor {
  const u = add(mul(randomUniform(key, shape), 1 - 2 ** -23), 2 ** -24)
  return mul(log(mul(log(u), -1)), -1)
}
