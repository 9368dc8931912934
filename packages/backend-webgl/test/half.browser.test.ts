// Half precision: what a run is given and hands over are halves, within it all is float32.
import { testBackend } from '@heed/conformance'
import * as t from '@heed/tensor'
import { realize } from '@heed/tensor'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type WebglBackend, webgl } from '../src/index.js'

// every seventh case, so that layouts take turns, and all properties and promises, which have no op in their names
let n = 0
testBackend(
  () => webgl({ precision: 'f16' }),
  { describe, it, afterAll },
  {
    precision: 'f16',
    runs: 2,
    only: (name) => !name.includes('/') || (!name.includes('the size of') && n++ % 7 === 0),
  },
)

describe('within a run', () => {
  let backend: WebglBackend
  beforeAll(async () => {
    backend = await webgl({ precision: 'f16' })
  })
  afterAll(() => backend.dispose())
  const data = async (x: t.Tensor): Promise<number[]> => {
    await realize([x], { backend, strict: true })
    return Array.from((await x.data()) as Float32Array)
  }
  it('sums may pass what halves hold, and small divisors stay', async () => {
    const many = t.broadcastTo(t.tensor([2, 3]), [50_000, 2])
    expect(await data(t.mean(many, { axes: 0 }))).toEqual([2, 3])
    expect(await data(t.sum(many, { axes: 0 }))).toEqual([Infinity, Infinity])
    expect(await data(t.l2Normalize(t.zeros([2, 3])))).toEqual([0, 0, 0, 0, 0, 0])
    expect(await data(t.sqrt(t.square(t.tensor([3000, -400]))))).toEqual([3000, 400])
  })
  it('a single number is kept whole, in and out', async () => {
    const rate = t.tensor(1e-5)
    expect(await data(rate)).toEqual([expect.closeTo(1e-5, 12)])
    expect(await data(t.sum(t.mul(rate, t.tensor([1, 2, 4]))))).toEqual([expect.closeTo(7e-5, 10)])
    expect(await data(t.mul(t.sum(t.tensor([60000, 60000])), 1))).toEqual([120000])
  })
  it('what is asked for beside a result does not change it', async () => {
    const x = t.tensor([0.1, 0.2, 0.3])
    const build = () => {
      const third = t.div(x, 3)
      return [third, t.mul(t.sub(third, 0.033), 1000)]
    }
    const alone = await data(build()[1])
    const [third, scaled] = build()
    await realize([third, scaled], { backend })
    expect(Array.from((await scaled.data()) as Float32Array)).toEqual(alone)
  })
  it('loops, whose carries are not rounded from step to step', async () => {
    const { carry } = t.scan(([c], [x]) => ({ carry: [t.add(c, x)], ys: [] }), {
      init: [t.tensor([1, 1])],
      xs: [t.broadcastTo(t.tensor([0.0001, 0.0002]), [100, 2])],
    })
    const [a, b] = await data(carry[0])
    expect(a).toBeCloseTo(1.01, 3)
    expect(b).toBeCloseTo(1.02, 3)
  })
})
