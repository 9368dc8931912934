// Values of every dtype against PyTorch's, and the conversions against each other and against definitions.
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { fromBF16, fromF16, toBF16, toF16 } from './dtypes.js'
import { openWeights } from './weights.js'

const fixtures = fileURLToPath(new URL('../test/fixtures/', import.meta.url))
interface Expected {
  metadata: Record<string, string>
  tensors: Record<string, { dtype: string; shape: number[]; values: string[] }>
}
const expected: Expected = JSON.parse(await readFile(`${fixtures}all-dtypes.json`, 'utf8'))
const weights = await openWeights(`${fixtures}all-dtypes.safetensors`)

/** Python's repr: nan, inf, -inf; Object.is tells −0 from 0. */
const parse = (text: string) =>
  text === 'nan' ? Number.NaN : text === 'inf' ? Infinity : text === '-inf' ? -Infinity : Number(text)

describe('all dtypes', () => {
  it('has the names, shapes and metadata', () => {
    const infos = weights.names.map((name) => [name, weights.info(name)])
    const want = Object.entries(expected.tensors).map(([name, { dtype, shape }]) => [name, { dtype, shape }])
    expect(new Map(infos as [string, unknown][])).toEqual(new Map(want as [string, unknown][]))
    expect({ ...weights.metadata }).toEqual(expected.metadata)
  })

  for (const [name, { dtype, values }] of Object.entries(expected.tensors)) {
    it(`${name}: ${dtype}`, async () => {
      const { data } = await weights.read(name)
      if (/^(F16|BF16|F8)/.test(dtype)) {
        const got = await weights.readF32(name)
        expect(Array.from(got)).toEqual(values.map(parse)) // toEqual is Object.is for numbers
      } else if (/64/.test(dtype) && dtype !== 'F64') {
        expect(Array.from(data as BigInt64Array)).toEqual(values.map(BigInt))
      } else {
        expect(Array.from(data as Float64Array)).toEqual(values.map(parse))
      }
    })
  }

  it('gives the array of each dtype', async () => {
    const kind = async (name: string) => (await weights.read(name)).data.constructor.name
    const names = 'f64 f32 f16 bf16 i64 i32 i16 i8 u8 u16 u32 u64 bool f8_e4m3 f8_e5m2'.split(' ')
    expect(await Promise.all(names.map(kind))).toEqual(
      'Float64 Float32 Uint16 Uint16 BigInt64 Int32 Int16 Int8 Uint8 Uint16 Uint32 BigUint64 Uint8 Uint8 Uint8'
        .split(' ')
        .map((n) => `${n}Array`),
    )
  })

  it('converts small integers and F64, and refuses what float32 cannot hold', async () => {
    expect(Array.from(await weights.readF32('i16'))).toEqual([-32768, 32767])
    expect(Array.from(await weights.readF32('bool'))).toEqual([1, 0, 1])
    expect((await weights.readF32('f64'))[0]).toBe(Math.fround(0.1))
    for (const name of ['i64', 'u64', 'i32', 'u32']) {
      await expect(weights.readF32(name)).rejects.toThrow(/cannot be held by float32; use read\(\)/)
    }
  })

  it('names the nearest tensors for a wrong name', async () => {
    expect(() => weights.info('f8_e4m2')).toThrow(/"f8_e4m2": not in this file.*nearest: f8_e[45]m[23], f8_e/)
    await expect(weights.read('nothing')).rejects.toMatchObject({
      problem: 'missing tensor',
      tensor: 'nothing',
    })
  })
})

/** The value of binary16 bits by its definition. */
function half(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1
  const e = (bits >> 10) & 31
  const m = bits & 1023
  if (e === 31) return m ? Number.NaN : sign * Infinity
  return sign * (e === 0 ? m * 2 ** -24 : (1024 + m) * 2 ** (e - 25))
}
const every = Uint16Array.from({ length: 65536 }, (_, i) => i)

describe('16-bit floats', () => {
  it('reads every half exactly', () => {
    const values = fromF16(every)
    for (let i = 0; i < 65536; i++) {
      if (!Object.is(values[i], half(i))) expect.fail(`bits ${i}: ${values[i]}, not ${half(i)}`)
    }
  })

  it.each([
    ['f16', fromF16, toF16],
    ['bf16', fromBF16, toBF16],
  ] as const)('%s survives the way there and back, NaN as NaN', (_, from, to) => {
    const values = from(every)
    const back = to(values)
    for (let i = 0; i < 65536; i++) {
      const same = Number.isNaN(values[i]) ? Number.isNaN(from(back.slice(i, i + 1))[0]) : back[i] === i
      if (!same) expect.fail(`bits ${i} became ${back[i]}`)
    }
  })

  it.each([
    ['f16', fromF16, toF16, 65504, 2 ** 15],
    ['bf16', fromBF16, toBF16, 2 ** 127 * (2 - 2 ** -7), 2 ** 127],
  ] as const)('%s rounds to the nearest, ties to even', (_, from, to, largest, lastPower) => {
    const seed = 20
    const value = fc.oneof(
      fc.float({ noNaN: true, noDefaultInfinity: true }),
      fc.float({ min: Math.fround(-1e-4), max: Math.fround(1e-4), noNaN: true }),
      fc.float({ min: -70000, max: 70000, noNaN: true }),
      // exactly between two neighbours
      fc.integer({ min: 0, max: 0x7bfe }).map((b) => {
        const [low, high] = from(Uint16Array.of(b, b + 1))
        return (low + high) / 2
      }),
    )
    fc.assert(
      fc.property(value, (x) => {
        const [bits] = to(Float32Array.of(x))
        const [y] = from(Uint16Array.of(bits))
        const magnitude = Math.abs(x)
        if (magnitude > largest) {
          // beyond the middle between the largest value and the next power of two there is only infinity
          const middle = (largest + lastPower * 2) / 2
          return magnitude >= middle ? Math.abs(y) === Infinity : Math.abs(y) === largest
        }
        const code = bits & 0x7fff
        const neighbours = [code - 1, code + 1]
          .filter((b) => b >= 0 && Number.isFinite(from(Uint16Array.of(b))[0]))
          .map((b) => Math.abs(from(Uint16Array.of(b))[0] - magnitude))
        const own = Math.abs(Math.abs(y) - magnitude)
        const signKept = Object.is(Math.sign(x) || 1 / x < 0, Math.sign(y) || 1 / y < 0) || y === 0
        return signKept && neighbours.every((n) => own < n || (own === n && code % 2 === 0))
      }),
      { seed, numRuns: 3000 },
    )
  })
})
