import { type Backend, realize, reference, type Tensor, tensor } from '@heed/tensor'
import { adam, adamW, type Optimizer, type Slots } from '@heed/train'
import { afterAll, expect, it } from 'vitest'
import { uniform } from '../test/oracle.js'
import { cpu } from './backend.js'

const oracle = reference({ precision: 'f64' })
const backends = [await cpu({ threads: 1 }), await cpu({ threads: 2 })]
afterAll(() => {
  for (const b of backends) b.dispose()
})
const numbers = (shape: number[], seed: number): Tensor => {
  const next = uniform(seed)
  return tensor(
    Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => next()),
    { shape },
  )
}

/** Parameter and slots after some steps with given gradients. */
async function trajectory(optimizer: Optimizer, shape: number[], backend: Backend) {
  let param = numbers(shape, 1)
  let slots: Slots = Object.fromEntries(
    optimizer.slots.map((s) => [s, tensor(new Float32Array(param.size), { shape })]),
  )
  for (let t = 0; t < 4; t++) {
    const scalars = Object.fromEntries(
      Object.entries(optimizer.scalars(t)).map(([k, v]) => [k, tensor(Float64Array.of(v), { shape: [] })]),
    )
    // the largest gradient comes first, so that the kept maximum matters
    const next = optimizer.update(param, numbers(shape, 10 + t), slots, scalars, t !== 2)
    const report = await realize([next.param, ...Object.values(next.slots)], { backend })
    if (backend !== oracle) expect(report.ran).toEqual([{ op: 'adamUpdate', how: 'fused', count: 1 }])
    param = next.param
    slots = next.slots
  }
  return Promise.all([param, ...Object.values(slots)].map(async (x) => (await x.data()) as ArrayLike<number>))
}

it.each<[string, () => Optimizer]>([
  ['adam', () => adam({ lr: 0.1 })],
  [
    'adam with decay and amsgrad',
    () => adam({ lr: 0.1, weightDecay: 0.3, amsgrad: true, betas: [0.6, 0.7] }),
  ],
  ['adamW', () => adamW({ lr: 0.1, weightDecay: 0.3 })],
  [
    'adamW with amsgrad',
    () => adamW({ lr: (t) => 0.1 / (1 + t), amsgrad: true, eps: 1e-3, betas: [0.6, 0.7] }),
  ],
])('%s equals its formula in float64', async (_, make) => {
  for (const shape of [[], [7], [0, 3], [190, 301]]) {
    const want = await trajectory(make(), shape, oracle)
    const runs = []
    for (const backend of backends) {
      const got = await trajectory(make(), shape, backend)
      expect(got.length).toBe(want.length)
      got.forEach((g, k) => {
        for (let i = 0; i < want[k].length; i++)
          if (!(Math.abs(g[i] - want[k][i]) <= 2e-6 * Math.max(1, Math.abs(want[k][i]))))
            expect.fail(`result ${k} at ${i} of [${shape}]: ${g[i]} against ${want[k][i]}`)
      })
      runs.push(got)
    }
    expect(runs[0]).toEqual(runs[1])
  }
})
