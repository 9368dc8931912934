import { type AttentionOptions, attention, grad, mul, realize, sum, tensor } from '@heed/tensor'
import { describe, expect, it } from 'vitest'
import { cpu } from '../src/index.js'
import { uniform } from './oracle.js'

/** Bytes of z, lse and every gradient on so many threads. */
async function bytes(
  threads: number,
  [batch, heads, kvHeads, queries, keys]: number[],
  options: AttentionOptions,
  dim: number,
) {
  const backend = await cpu({ build: 'baseline', threads })
  const fill = (seed: number, ...shape: number[]) =>
    tensor(Float32Array.from({ length: shape.reduce((x, y) => x * y, 1) }, uniform(seed)), { shape })
  const [q, k, v] = [
    fill(1, batch, heads, queries, dim),
    fill(2, batch, kvHeads, keys, dim),
    fill(3, batch, kvHeads, keys, dim),
  ]
  const bias = fill(4, 1, heads, queries, keys)
  const sink = fill(5, heads)
  const { z, lse } = attention(q, k, v, { ...options, bias, sink })
  const loss = sum(mul(z, fill(6, batch, heads, queries, dim)))
  const all = [z, lse, ...grad(loss, [q, k, v, bias, sink])]
  const report = await realize(all, { backend })
  expect(report.inlined).toEqual([])
  const data = await Promise.all(
    all.map(async (x) => Buffer.from((await x.data()).slice().buffer).toString('base64')),
  )
  backend.dispose()
  return data
}

describe('attention gives the same bits on any number of threads', () => {
  it.each([
    ['one long head, so that its gradient is summed in parts', [1, 1, 1, 700, 700], { causal: true }, 8],
    ['few heads, odd width', [1, 2, 2, 300, 560], { causal: true, offset: 260, window: [300, 0] }, 12],
    ['grouped heads in batches', [3, 4, 2, 200, 200], { causal: true }, 16],
    ['decoding', [1, 8, 2, 1, 900], { causal: true, offset: 800 }, 64],
  ] as [string, number[], AttentionOptions, number][])('%s', async (_name, shape, options, dim) => {
    const alone = await bytes(1, shape, options, dim)
    expect(await bytes(2, shape, options, dim)).toEqual(alone)
    expect(await bytes(3, shape, options, dim)).toEqual(alone)
  })
})
