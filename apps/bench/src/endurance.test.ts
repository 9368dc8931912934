import { cpu } from '@heed/backend-cpu'
import { getBackend, hasBackend, setBackend } from '@heed/tensor'
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

describe('constant memory', () => {
  // the mark falls where every round of the cache is equally full
  it('of a generation of 1,840 steps', () => constant(decodingLoop, 1840))
  it('of a training run of 300 steps', () => constant(trainingLoop, 300))
})
