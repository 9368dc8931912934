// Pooling by hand: what is padding counts for nothing, in the mean, in the maximum and in the gradient.
import { grad, realize, reference, sum, tensor } from '@heed/tensor'
import { describe, expect, it } from 'vitest'
import { type Pooling, pool } from './embed.js'

const backend = reference({ precision: 'f64' })
const hidden = tensor([
  [
    [1, -8],
    [3, -2],
    [50, 60],
  ],
  [
    [3, 4],
    [70, 80],
    [90, 100],
  ],
])
const mask = tensor(Uint8Array.of(1, 1, 0, 1, 0, 0), { shape: [2, 1, 1, 3], dtype: 'bool' })
const read = async (mode: Pooling['mode'], normalize: boolean, masked: boolean): Promise<number[][]> => {
  const y = pool(hidden, masked ? mask : null, { mode, normalize, maxTokens: null, fromFolder: false })
  await realize([y], { backend })
  return (await y.array()) as number[][]
}

describe('pool', () => {
  it('takes the mean of the tokens', async () => {
    expect(await read('mean', false, true)).toEqual([
      [2, -5],
      [3, 4],
    ])
    expect(await read('mean', false, false)).toEqual([
      [18, 50 / 3],
      [163 / 3, 184 / 3],
    ])
  })
  it('takes the largest of the tokens', async () => {
    expect(await read('max', false, true)).toEqual([
      [3, -2],
      [3, 4],
    ])
    expect(await read('max', false, false)).toEqual([
      [50, 60],
      [90, 100],
    ])
  })
  it('takes the first token', async () => {
    expect(await read('cls', false, true)).toEqual([
      [1, -8],
      [3, 4],
    ])
  })
  it('divides by the length where it is told to', async () => {
    const [, row] = await read('mean', true, true)
    expect(row[0]).toBeCloseTo(0.6, 12)
    expect(row[1]).toBeCloseTo(0.8, 12)
  })
  it('gives padding no gradient', async () => {
    const y = pool(hidden, mask, { mode: 'mean', normalize: false, maxTokens: null, fromFolder: false })
    const [g] = grad(sum(y), [hidden])
    await realize([g], { backend })
    expect(await g.array()).toEqual([
      [
        [0.5, 0.5],
        [0.5, 0.5],
        [0, 0],
      ],
      [
        [1, 1],
        [0, 0],
        [0, 0],
      ],
    ])
  })
})
