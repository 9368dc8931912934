import {
  add,
  iota,
  matmul,
  randomKey,
  randomNormal,
  reference,
  setBackend,
  sliceAxis,
  swapLast,
  type Tensor,
  tensor,
} from '@heed/tensor'
import { beforeAll, describe, expect, it } from 'vitest'
import {
  learnedPositions,
  type Place,
  rope,
  ropeAngles,
  ropeFrequencies,
  sinusoidalPositions,
} from './index.js'

beforeAll(() => setBackend(reference({ precision: 'f64' })))

const ids = (v: number[] | number[][]): Tensor => tensor(v, { dtype: 'i32' })
const numbers = async (t: Tensor): Promise<number[]> => Array.from((await t.data()) as Float32Array, Number)
const turn = (x: Tensor, place: Partial<Place>, o = {}): Tensor =>
  rope(o).rotate?.(x, {
    offset: undefined,
    positions: null,
    queries: x.shape[2],
    keys: x.shape[2],
    ...place,
  }) as Tensor
async function expectClose(a: Tensor, b: Tensor, digits = 9): Promise<void> {
  expect(a.shape).toEqual(b.shape)
  const y = await numbers(b)
  ;(await numbers(a)).forEach((v, i) => expect(v).toBeCloseTo(y[i], digits))
}

describe('rope', () => {
  it('turns the first pair by the position in radians, in both layouts', async () => {
    const x = tensor([1, 0, 0, 0], [1, 1, 1, 4])
    const at = { positions: ids([3]) }
    expect(await numbers(turn(x, at))).toEqual([Math.cos(3), 0, Math.sin(3), 0])
    expect(await numbers(turn(x, at, { layout: 'interleaved' }))).toEqual([Math.cos(3), Math.sin(3), 0, 0])
    const second = tensor([0, 1, 0, 0], [1, 1, 1, 4])
    const [, a, , b] = await numbers(turn(second, at, { base: 100 }))
    expect(a).toBeCloseTo(Math.cos(0.3), 12)
    expect(b).toBeCloseTo(Math.sin(0.3), 12)
  })

  it('makes scores depend on distances only, and leaves what does not turn', async () => {
    for (const layout of ['half', 'interleaved'] as const) {
      const [q, k] = [randomNormal(randomKey(1), [1, 2, 5, 8]), randomNormal(randomKey(2), [1, 2, 5, 8])]
      const o = { layout, rotaryDim: 6 }
      const scores = (offset: number): Tensor => {
        const positions = add(iota(5, { dtype: 'i32' }), offset)
        const place = { positions, keys: 5 }
        return matmul(turn(q, place, { ...o, nCtx: 64 }), swapLast(turn(k, place, { ...o, nCtx: 64 })))
      }
      await expectClose(scores(0), scores(40))
      await expectClose(sliceAxis(turn(q, {}, o), 3, 6, 8), sliceAxis(q, 3, 6, 8))
    }
  })

  it('is the same by default places, offset, given positions and positions per row', async () => {
    const x = randomNormal(randomKey(3), [2, 2, 3, 4])
    const want = turn(x, { positions: ids([7, 8, 9]) })
    await expectClose(turn(x, { offset: 7 }), want)
    await expectClose(turn(x, { offset: tensor(7, { dtype: 'i32' }), keys: 16 }), want)
    await expectClose(
      turn(x, {
        positions: ids([
          [7, 8, 9],
          [7, 8, 9],
        ]),
      }),
      want,
    )
    await expectClose(turn(x, { positions: add(ids([6, 7, 8]), 1) }, { nCtx: 10 }), want)
    await expectClose(turn(x, {}), turn(x, { positions: ids([0, 1, 2]) }))
    // beyond the table that the calls above made
    await expectClose(turn(x, { offset: 200 }), turn(x, { positions: ids([200, 201, 202]) }))
    expect(() => turn(x, { positions: add(ids([6, 7, 8]), 1) })).toThrow(/give rope\({ nCtx }\)/)
    expect(() => turn(x, { positions: tensor([1, 2, 3]) })).toThrow(/expected i32/)
  })

  it('makes its tables in double', async () => {
    const { cos } = ropeAngles(ids([4095]), 64, { base: 500000 })
    const { invFreq } = ropeFrequencies({ dim: 64, base: 500000 })
    expect(await numbers(cos)).toEqual(Array.from(invFreq, (f) => Math.cos(4095 * f)))
  })

  it('uses the length at hand where a scaling asks for it', async () => {
    const scaling = {
      type: 'longrope' as const,
      factor: 2,
      originalMaxPositions: 4,
      shortFactor: [1, 1],
      longFactor: [2, 4],
    }
    const cosAt = async (n: number): Promise<number> => {
      const x = tensor(Array.from({ length: n }, () => [1, 0, 0, 0]).flat(), [1, 1, n, 4])
      return (await numbers(sliceAxis(turn(x, {}, { scaling }), 2, 1, 2)))[0]
    }
    const factor = Math.sqrt(1 + Math.log(2) / Math.log(4))
    expect(await cosAt(4)).toBeCloseTo(Math.cos(1) * factor, 12)
    expect(await cosAt(5)).toBeCloseTo(Math.cos(1 / 2) * factor, 12)
    const long = ropeFrequencies({
      dim: 4,
      scaling: { type: 'dynamic', factor: 2, maxPositions: 4, seqLen: 8 },
    })
    const short = ropeFrequencies({ dim: 4, scaling: { type: 'dynamic', factor: 2, maxPositions: 4 } })
    expect(long.invFreq[1]).toBeLessThan(short.invFreq[1])
    expect(short.invFreq).toEqual(ropeFrequencies({ dim: 4 }).invFreq)
  })

  it('refuses unknown and missing settings', () => {
    expect(() => rope({ theta: 1 } as never)).toThrow(/'theta' is unknown/)
    expect(() => rope({ scaling: { type: 'linear' } as never })).toThrow(/factor is missing/)
    expect(() => rope({ scaling: { type: 'cubic' } as never })).toThrow(/'cubic' is unknown/)
    expect(() => rope({ scaling: { type: 'linear', factor: 2, beta: 1 } as never })).toThrow(
      /'beta' is unknown/,
    )
    expect(() => ropeFrequencies({ dim: 3 })).toThrow(/3 dimensions/)
    const two = {
      type: 'longrope' as const,
      factor: 2,
      originalMaxPositions: 4,
      shortFactor: [1],
      longFactor: [1],
    }
    expect(() => ropeFrequencies({ dim: 4, scaling: two })).toThrow(/1 factors for 2/)
  })
})

describe('absolute positions', () => {
  it('give the rows of the places at hand', async () => {
    const x = tensor(new Float32Array(2 * 2 * 4), [2, 2, 4])
    const sines = sinusoidalPositions({ nCtx: 6, dModel: 4 })
    const at = (p: number) => [Math.sin(p), Math.cos(p), Math.sin(p / 100), Math.cos(p / 100)]
    await expectClose(sines(x), tensor([[at(0), at(1)]]))
    await expectClose(sines(x, { offset: 3 }), tensor([[at(3), at(4)]]))
    await expectClose(sines(x, { offset: tensor(3, { dtype: 'i32' }) }), tensor([[at(3), at(4)]]))
    await expectClose(
      sines(x, {
        positions: ids([
          [5, 0],
          [1, 1],
        ]),
      }),
      tensor([
        [at(5), at(0)],
        [at(1), at(1)],
      ]),
    )
  })

  it('name a text that is too long', () => {
    const rows = learnedPositions({ nCtx: 4, dModel: 2 })
    expect(() => rows(tensor(new Float32Array(10), [1, 5, 2]))).toThrow(/has 5 positions, the model 4/)
    expect(() => rows(tensor(new Float32Array(4), [1, 2, 2]), { offset: 3 })).toThrow(/2 positions from 3 on/)
    expect(() => sinusoidalPositions({ nCtx: 4, dModel: 3 })).toThrow(/even/)
  })
})
