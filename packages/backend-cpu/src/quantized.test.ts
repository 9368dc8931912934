import {
  add,
  gelu,
  linear,
  matmul,
  quantizeWeight,
  realize,
  reference,
  tensor,
  weightFormats,
} from '@heed/tensor'
import { describe, expect, it } from 'vitest'
import { cpu } from './index.js'
import { bestBuild } from './wasm.js'

const wave = (n: number, seed: number) => Float32Array.from({ length: n }, (_, i) => Math.sin(i * i + seed))

describe.each(weightFormats)('%s', (format) => {
  it('gives the same bits on every number of threads, for one row and for many', async () => {
    const [k, n] = [300, 1111]
    for (const rows of [1, 3, 40]) {
      const results: Float32Array[] = []
      for (const threads of [1, 2, 5]) {
        const backend = await cpu({ threads })
        const { weight } = quantizeWeight(wave(k * n, 1), [k, n], { format })
        const y = linear(tensor(wave(rows * k, 2), [rows, k]), weight, tensor(wave(n, 3)))
        const report = await realize([y], { backend, strict: true })
        expect(report.ran).toEqual([{ op: 'quantizedLinear', how: 'fused', count: 1 }])
        results.push((await y.data()) as Float32Array)
        backend.dispose()
      }
      for (const r of results) expect(r).toEqual(results[0])
    }
  })
  it('takes over what follows it, and copies views of activations', async () => {
    const backend = await cpu()
    const build = () => {
      const w = quantizeWeight(wave(33 * 20, 1), [20, 33], { format, outAxis: 0 }).weight
      const x = tensor(wave(5 * 33, 2), [33, 5])
      const y = matmul(x, w, { transposeX: true, transposeY: true }) // [5, 20]
      return add(gelu(y), tensor(wave(100, 3), [5, 20]))
    }
    const [got, want] = [build(), build()]
    const report = await realize([got], { backend })
    expect(report.ran).toEqual([{ op: 'quantizedLinear+gelu+add', how: 'fused', count: 1 }])
    expect(report.copies).toBe(1)
    await realize([want], { backend: reference({ precision: 'f64' }) })
    const expected = await want.data()
    ;((await got.data()) as Float32Array).forEach((v, i) => {
      expect(v).toBeCloseTo(Number(expected[i]), 4)
    })
    backend.dispose()
  })
})

it('int8 gives the same bits on both builds', async () => {
  if (bestBuild() !== 'relaxed') return
  const results: Float32Array[] = []
  for (const build of ['relaxed', 'baseline'] as const) {
    const backend = await cpu({ build })
    const { weight } = quantizeWeight(wave(70 * 50, 1), [70, 50], { format: 'int8' })
    const y = linear(tensor(wave(7 * 70, 2), [7, 70]), weight)
    await realize([y], { backend })
    results.push((await y.data()) as Float32Array)
    backend.dispose()
  }
  expect(results[0]).toEqual(results[1])
})
