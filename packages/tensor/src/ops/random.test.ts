import { describe, expect, it } from 'vitest'
import { tensor } from '../create.js'
import type { Tensor } from '../graph.js'
import { realize } from '../realize.js'
import { reference } from '../reference/index.js'
import {
  dropout,
  foldIn,
  gumbel,
  randomBits,
  randomKey,
  randomNormal,
  randomUniform,
  splitKey,
  threefry2x32,
} from './random.js'
import { broadcastTo } from './shape.js'

const backend = reference()
const read = async (t: Tensor): Promise<number[]> => {
  await realize([t], { backend })
  return Array.from((await t.data()) as Float32Array)
}
const hex = (words: readonly number[]): string[] => words.map((w) => (w >>> 0).toString(16).padStart(8, '0'))
const key = (a: number, b: number): Tensor => tensor(Int32Array.of(a, b), { shape: [2] })

describe('threefry2x32-20', () => {
  // the known answers of Random123 (kat_vectors)
  it.each([
    [
      [0, 0],
      [0, 0],
      ['6b200159', '99ba4efe'],
    ],
    [
      [-1, -1],
      [-1, -1],
      ['1cb996fc', 'bb002be7'],
    ],
    [
      [0x13198a2e, 0x03707344],
      [0x243f6a88, 0x85a308d3],
      ['c4923a9c', '483df7a0'],
    ],
  ])('key %j, counter %j', async ([k0, k1], [c0, c1], want) => {
    expect(hex(threefry2x32(k0, k1, c0, c1))).toEqual(want)
    expect(hex(await read(randomBits(key(k0, k1), 2, { counter: [c0 | 0, c1 | 0] })))).toEqual(want)
  })
  it('counts blocks, low word first, with carry', async () => {
    const stream = await read(randomBits(key(5, 6), 6, { counter: [-2, 7] }))
    const blocks = [
      [-2, 7],
      [-1, 7],
      [0, 8],
    ].flatMap(([low, high]) => threefry2x32(5, 6, low, high))
    expect(stream).toEqual(blocks)
  })
  it('gives an odd count the front of the stream', async () => {
    const seven = await read(randomBits(key(1, 2), 7))
    expect(seven).toEqual((await read(randomBits(key(1, 2), 8))).slice(0, 7))
  })
})

describe('uniforms', () => {
  it('are 24 bits in [0, 1), in the order of the words', async () => {
    const u = await read(randomUniform(key(3, 4), [2, 5]))
    const bits = await read(randomBits(key(3, 4), 10))
    expect(u).toEqual(bits.map((b) => (b >>> 8) * 2 ** -24))
  })
  it('fill an interval evenly', async () => {
    const u = await read(randomUniform(randomKey(9), [20_000], { lo: -1, hi: 3 }))
    expect(Math.min(...u)).toBeGreaterThanOrEqual(-1)
    expect(Math.max(...u)).toBeLessThanOrEqual(3)
    const bins = new Array<number>(8).fill(0)
    for (const v of u) bins[Math.floor((v + 1) * 2)]++
    // 2,500 expected in each, σ = 47
    for (const n of bins) expect(Math.abs(n - 2500)).toBeLessThan(5 * 47)
  })
})

describe('normals', () => {
  it('are Box–Muller of consecutive words, cosine first', async () => {
    const z = await read(randomNormal(key(3, 4), [5]))
    const u = await read(randomUniform(key(3, 4), [6]))
    for (let i = 0; i < 5; i++) {
      const r = Math.sqrt(-2 * Math.log(u[i - (i % 2)] + 2 ** -24))
      const angle = 2 * Math.PI * u[i - (i % 2) + 1]
      expect(z[i]).toBeCloseTo(r * (i % 2 ? Math.sin(angle) : Math.cos(angle)), 5)
    }
  })
  it('have mean, deviation and tails of a normal distribution', async () => {
    const z = await read(randomNormal(randomKey(1), [20_000], { mean: 2, std: 3 }))
    const mean = z.reduce((a, b) => a + b, 0) / z.length
    const std = Math.sqrt(z.reduce((a, b) => a + (b - mean) ** 2, 0) / z.length)
    expect(Math.abs(mean - 2)).toBeLessThan((5 * 3) / Math.sqrt(20_000))
    expect(Math.abs(std - 3)).toBeLessThan(0.08)
    const far = z.filter((v) => Math.abs(v - 2) > 6).length / z.length
    expect(Math.abs(far - 0.0455)).toBeLessThan(0.008)
  })
})

describe('keys', () => {
  it('fold numbers and names into different keys, on the host and in the graph alike', async () => {
    const k = randomKey(2 ** 40 + 5)
    const names = [foldIn(k, 0), foldIn(k, 1), foldIn(k, 'a'), foldIn(k, 'b'), ...splitKey(k, 3)]
    const all = await Promise.all(names.map(read))
    expect(new Set(all.map(String)).size).toBe(all.length)
    // a key that is not known on the host yet gives the same
    const lazy = randomBits(k, 2)
    const known = tensor(Int32Array.from(await read(randomBits(k, 2))), { shape: [2] })
    expect(await read(foldIn(lazy, 7))).toEqual(await read(foldIn(known, 7)))
    expect(await read(foldIn(lazy, 'w'))).toEqual(await read(foldIn(known, 'w')))
  })
  it('differ by both halves of the seed', async () => {
    expect(await read(randomKey(7))).not.toEqual(await read(randomKey(7 + 2 ** 32)))
  })
})

describe('dropout', () => {
  it('keeps the share and the mean, and nothing without a key', async () => {
    const x = broadcastTo(1, [10_000])
    const y = await read(dropout(x, 0.3, randomKey(4)))
    const kept = y.filter((v) => v !== 0)
    expect(Math.abs(kept.length - 7000)).toBeLessThan(5 * 46)
    for (const v of kept) expect(v).toBeCloseTo(1 / 0.7, 6)
    expect(dropout(x, 0.3, null)).toBe(x)
    expect(dropout(x, 0, randomKey(4))).toBe(x)
    expect(new Set(await read(dropout(x, 1, randomKey(4))))).toEqual(new Set([0]))
  })
})

describe('gumbel', () => {
  it('samples by softmax when it is added to logits', async () => {
    const g = await read(gumbel(randomKey(8), [4000, 2]))
    let first = 0
    for (let i = 0; i < 4000; i++) if (g[2 * i] + Math.log(3) > g[2 * i + 1]) first++
    expect(Math.abs(first / 4000 - 0.75)).toBeLessThan(0.035)
    expect(g.every(Number.isFinite)).toBe(true)
  })
})
