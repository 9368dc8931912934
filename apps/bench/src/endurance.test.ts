import { cpu } from '@heed/backend-cpu'
import {
  detach,
  getBackend,
  hasBackend,
  realize,
  release,
  setBackend,
  type Tensor,
  tensor,
} from '@heed/tensor'
import { adamW, type Slots } from '@heed/train'
import { afterAll, describe, expect, it } from 'vitest'
import { decodingLoop, type Loop, trainingLoop } from './endurance.js'

const before = hasBackend() ? getBackend() : null
const backend = await cpu({ threads: 1 })
afterAll(() => {
  setBackend(before)
  backend.dispose()
})

async function constant(loop: Loop, steps: number): Promise<void> {
  const marks = await loop(backend, steps, steps / 10)
  const settled = marks.slice(1)
  expect(new Set(settled.map((m) => m.bytesInUse)).size, JSON.stringify(marks)).toBe(1)
  expect(new Set(settled.map((m) => m.plans)).size).toBe(1)
  const [first, last] = [settled[0], settled[settled.length - 1]]
  expect(last.rss - first.rss).toBeLessThan(2 ** 24)
}

describe('an update that is donated to', () => {
  it('has the bits of one that is not', async () => {
    const shapes = [[1], [5], [7, 9], [64, 3], [2, 1001]]
    const optimizer = adamW({ lr: 0.01, amsgrad: true, weightDecay: 0.1 })
    const noise = (shape: number[], seed: number): Tensor => {
      const size = shape.reduce((a, b) => a * b, 1)
      return tensor(
        Float32Array.from({ length: size }, (_, i) => Math.sin(seed + i * 1.7)),
        shape,
      )
    }
    const run = async (donates: boolean): Promise<number[][]> => {
      let state = shapes.map((shape, i) => {
        const zeros = (): Tensor => tensor(new Float32Array(noise(shape, 0).size), shape)
        return { param: noise(shape, i), slots: { m: zeros(), v: zeros(), vMax: zeros() } as Slots }
      })
      let kept = 0
      for (let t = 0; t < 4; t++) {
        const scalars = Object.fromEntries(
          Object.entries(optimizer.scalars(t)).map(([name, v]) => [name, tensor(v)]),
        )
        const next = state.map(({ param, slots }, i) =>
          optimizer.update(detach(param), noise(shapes[i], 10 * t + i), slots, scalars, true),
        )
        const all = (s: typeof state): Tensor[] =>
          s.flatMap(({ param, slots }) => [param, ...Object.values(slots)])
        const before = all(state)
        await realize(all(next), { backend, donate: donates ? before : [] })
        if (!donates) before.forEach(release)
        // from the second step on nothing but the small inputs comes and goes
        if (t === 1) kept = backend.bytesInUse
        state = next
      }
      expect(backend.bytesInUse - kept).toBeLessThan(2 ** 16)
      return Promise.all(state.map(async ({ param }) => [...((await param.data()) as Float32Array)]))
    }
    expect(await run(true)).toEqual(await run(false))
  })
})

describe('constant memory', () => {
  // the mark falls where every round of the cache is equally full
  it('of a generation of 1,840 steps', () => constant(decodingLoop, 1840))
  it('of a training run of 300 steps', () => constant(trainingLoop, 300))
})
