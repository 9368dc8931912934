// Numbers at the ends of float32, against the host's own functions in float64.
import * as t from '@heed/tensor'
import { realize, type Tensor } from '@heed/tensor'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type WebglBackend, webgl } from '../src/index.js'

let backend: WebglBackend
beforeAll(async () => {
  backend = await webgl()
})
afterAll(() => backend?.dispose())

async function of(x: Float32Array, f: (x: Tensor) => Tensor): Promise<number[]> {
  const y = f(t.tensor(x, { shape: [x.length] }))
  await realize([y], { backend, strict: true })
  return Array.from(await y.data(), Number)
}
/** Largest error relative to what is wanted, or to `least` where that is smaller. */
async function error(
  x: Float32Array,
  f: (x: Tensor) => Tensor,
  want: (x: number) => number,
  least = 0,
): Promise<number> {
  const got = await of(x, f)
  return Math.max(
    ...got.map((y, i) => {
      const w = Math.fround(want(x[i]))
      return y === w ? 0 : Math.abs(y - w) / Math.max(Math.abs(w), least)
    }),
  )
}

describe('sin and cos', () => {
  // every power of two, with digits behind it, and the numbers nearest to multiples of π/2 up to 2¹²⁷
  const far = Float32Array.from(
    { length: 256 },
    (_, i) => (i % 2 ? -1 : 1) * 2 ** (i >> 1) * (1 + ((i * 37) % 97) / 97),
  )
  const near = Float32Array.from({ length: 64 }, (_, i) => (Math.PI / 2) * (3 ** (i % 40) + i))
  const worst = Float32Array.of(16367173 * 2 ** 72, 12000, 12001, -3e38, 1e8, 0)
  it.each([
    ['of powers of two', far],
    ['near quarter turns', near],
    ['where reduction is hardest, and at the change of method', worst],
  ])('%s', async (_, x) => {
    // the polynomials are good to 2⁻²³ of 1
    expect(await error(x, t.sin, Math.sin, 1)).toBeLessThan(2.4e-7)
    expect(await error(x, t.cos, Math.cos, 1)).toBeLessThan(2.4e-7)
  })
  it('of what is no number', async () => {
    expect(await of(Float32Array.of(Infinity, -Infinity, Number.NaN), t.sin)).toEqual([NaN, NaN, NaN])
  })
})

describe('numbers below 2⁻¹²⁶, which GPUs take for 0', () => {
  const least = 2 ** -149
  const small = Float32Array.of(least, 10 * least, 1e-40, 5.9e-39, 2 ** -126 - least)
  const both = Float32Array.from([...small, ...small.map((v) => -v)])

  it('have their order', async () => {
    const zero = Math.fround(0)
    const next = Float32Array.from(both, (v) => v + Math.sign(v) * least)
    expect(await of(both, t.sign)).toEqual([...both].map(Math.sign))
    expect(await of(both, (x) => t.maximum(x, zero))).toEqual([...both].map((v) => Math.max(v, 0)))
    expect(await of(both, (x) => t.minimum(x, zero))).toEqual([...both].map((v) => Math.min(v, 0)))
    expect(await of(both, (x) => t.less(x, t.tensor(next)))).toEqual([...both].map((v) => Number(v > 0)))
    expect(await of(both, (x) => t.lessEqual(x, t.tensor(next)))).toEqual([...both].map((v) => Number(v > 0)))
    expect(await of(both, (x) => t.equal(x, t.tensor(next)))).toEqual([...both].map(() => 0))
    expect(await of(both, (x) => t.equal(x, t.tensor(both)))).toEqual([...both].map(() => 1))
    expect(await of(Float32Array.of(-0), (x) => t.equal(x, zero))).toEqual([1])
    expect(await of(Float32Array.of(-0), (x) => t.less(x, zero))).toEqual([0])
  })
  it('are sorted, and are the largest or the least', async () => {
    const x = Float32Array.of(3e-40, 1e-40, -1e-40, 0, Number.NaN, 2e-40, -5e-40)
    const order = [6, 2, 3, 1, 5, 0, 4]
    expect(await of(x, (x) => t.sort(x, { axis: 0 }).indices)).toEqual(order)
    expect(await of(x, (x) => t.sort(x, { axis: 0, descending: true }).indices)).toEqual(order.reverse())
    const numbers = x.filter((v) => !Number.isNaN(v))
    for (const v of [numbers, Float32Array.from({ length: 1200 }, (_, i) => numbers[i % 6])]) {
      expect(await of(v, t.max)).toEqual([numbers[0]])
      expect(await of(v, t.min)).toEqual([numbers[5]])
      expect(await of(v, (x) => t.argMax(x, { axis: 0 }))).toEqual([0])
      expect(await of(v, (x) => t.argMin(x, { axis: 0 }))).toEqual([5])
    }
    expect(await of(x, t.max)).toEqual([NaN])
  })
  it('pass relu, whose slope is 1 there, and are cut to whole numbers', async () => {
    expect(await of(both, (x) => t.grad(t.sum(t.relu(x)), [x])[0])).toEqual(
      [...both].map((v) => Number(v > 0)),
    )
    expect(await of(both, t.floor)).toEqual([...both].map(Math.floor))
    expect(await of(both, t.ceil)).toEqual([...both].map(Math.ceil))
  })
  it('have powers, and are powers', async () => {
    for (const by of [0.5, -0.5, 0.25, -0.75])
      expect(
        await error(
          small,
          (x) => t.pow(x, by),
          (x) => x ** by,
        ),
      ).toBeLessThan(1e-5)
    const ends = [Infinity, -Infinity, 0, 2, 1, -2, Number.NaN]
    for (const by of both)
      expect(await of(Float32Array.from(ends), (x) => t.pow(x, t.tensor([by])))).toEqual(
        // 1 to the power of not-a-number aside, JavaScript's are those of IEEE 754
        ends.map((v) => v ** by),
      )
  })
  it('are true as bool', async () => {
    const x = Float32Array.of(0, -0, least, -least, Number.NaN)
    expect(await of(x, (x) => t.cast(x, 'bool'))).toEqual([0, 0, 1, 1, 1])
  })
  it('have a root, a logarithm, quotients and an error function', async () => {
    expect(await error(small, t.sqrt, Math.sqrt)).toBeLessThan(3e-7)
    expect(await error(small, t.log, Math.log)).toBeLessThan(3e-7)
    expect(await error(both, t.reciprocal, (x) => 1 / x)).toBeLessThan(3e-7)
    expect(
      await error(
        both,
        (x) => t.div(2 ** -100, x),
        (x) => 2 ** -100 / x,
      ),
    ).toBeLessThan(3e-7)
    expect(
      await error(
        both,
        (x) => t.div(x, 2 ** -100),
        (x) => x * 2 ** 100,
      ),
    ).toBeLessThan(3e-7)
    expect(
      await error(
        both,
        (x) => t.div(x, t.tensor(both)),
        () => 1,
      ),
    ).toBe(0)
    expect(await error(both, t.erf, (x) => (x * 2) / Math.sqrt(Math.PI), 2 ** -126)).toBeLessThan(3e-7)
    expect(await of(Float32Array.of(-least, -1, -0, 0), t.sqrt)).toEqual([NaN, NaN, -0, 0])
    expect(await of(Float32Array.of(-least, -1, -0, 0), t.log)).toEqual([NaN, NaN, -Infinity, -Infinity])
  })
})

it('turns numbers of any size into whole ones, as typed arrays do', async () => {
  const x = Float32Array.from(
    [
      2 ** 31,
      2 ** 31 - 128,
      3e9,
      2 ** 32 + 4096,
      2 ** 54 + 2 ** 31,
      2 ** 55,
      1e20,
      3.4e38,
      300.7,
      0.9,
      Infinity,
    ].flatMap((v) => [v, -v]),
  )
  const all = Float32Array.of(...x, Number.NaN)
  expect(await of(all, (x) => t.cast(x, 'i32'))).toEqual([...Int32Array.from(all)])
  expect(await of(all, (x) => t.cast(x, 'u8'))).toEqual([...Uint8Array.from(all)])
  expect(await of(all, (x) => t.cast(x, 'i8'))).toEqual([...Int8Array.from(all)])
})

it('keeps not-a-number in relu, and in a dropout that keeps nothing', async () => {
  const x = Float32Array.of(Number.NaN, -1, 2)
  expect(await of(x, t.relu)).toEqual([NaN, 0, 2])
  expect(await of(x, (x) => t.dropoutMask(x, t.tensor([true, true, false]), { p: 1 }))).toEqual([NaN, -0, 0])
})

it('gives attention no gradient where one key has all of the pattern', async () => {
  const shape = [1, 2, 16, 16]
  const wave = (seed: number) =>
    t.tensor(
      Float32Array.from({ length: 512 }, (_, i) => Math.sin((i + 1) * 12.9898 * seed)),
      shape,
    )
  // each query along a key of its own, whose score is 250 and the others' 0
  const k = t.tensor(
    Float32Array.from({ length: 512 }, (_, i) => Number(i % 17 === (i < 256 ? 0 : 1))),
    shape,
  )
  const q = t.mul(k, 1000)
  const { z } = t.attention(q, k, wave(1))
  const [dq] = t.grad(t.sum(t.mul(z, wave(2))), [q])
  await realize([dq], { backend, strict: true })
  expect((await dq.data()).filter((v) => v !== 0)).toEqual(new Float32Array(0))
})
