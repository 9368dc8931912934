import { expect, test } from 'vitest'
import { randomIndices, shuffled } from './random.js'

test('every number and every place is equally likely', () => {
  const below = randomIndices(7)
  const counts = new Array<number>(5).fill(0)
  for (let i = 0; i < 5000; i++) counts[below(5)]++
  for (const c of counts) expect(Math.abs(c - 1000)).toBeLessThan(150)
  const first = new Array<number>(4).fill(0)
  for (let i = 0; i < 4000; i++) {
    const order = shuffled([0, 1, 2, 3], below)
    expect([...order].sort()).toEqual([0, 1, 2, 3])
    first[order[0]]++
  }
  for (const c of first) expect(Math.abs(c - 1000)).toBeLessThan(150)
})
