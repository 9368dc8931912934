import { attention, reference, scope, setBackend, type Tensor, tap, tensor, trace } from '@heed/tensor'
import fc from 'fast-check'
import { beforeAll, expect, test } from 'vitest'
import { idsOf, randomPlain } from '../test/plain.js'
import { rollout } from './rollout.js'

beforeAll(() => setBackend(reference({ precision: 'f64' })))

/** The paper's recurrence in plain loops. */
function byHand(patterns: readonly number[][][][], residual: number): number[][] {
  let r: number[][] | null = null
  for (const heads of patterns) {
    const t = heads[0].length
    const bar = heads[0].map((row, i) =>
      row.map((_, j) => {
        const mean = heads.reduce((s, a) => s + a[i][j], 0) / heads.length
        return (1 - residual) * mean + (i === j ? residual : 0)
      }),
    )
    const normed = bar.map((row) => row.map((v) => v / row.reduce((a, b) => a + b, 0)))
    const below: number[][] | null = r
    r = below
      ? normed.map((row) =>
          Array.from({ length: t }, (_, j) => row.reduce((s, v, k) => s + v * below[k][j], 0)),
        )
      : normed
  }
  return r as number[][]
}

test.each([
  [true, 0.5],
  [false, 0.5],
  [true, 0.2],
])('is the product of averaged layers (causal %s, residual %f)', async (isCausal, residual) => {
  const model = randomPlain(4, { nLayer: 3, nHead: 2, dModel: 8, nVocab: 9, nCtx: 7 }, { isCausal })
  const run = await trace(model, idsOf([3, 1, 4, 1, 5], [2, 7, 1, 8, 2]))
  const result = await rollout(run, { residual })
  const patterns = await Promise.all([0, 1, 2].map((i) => run.get(`blocks.${i}.attn.pattern`).array()))
  const got = (await result.matrix.array()) as number[][][]
  for (const b of [0, 1]) {
    const want = byHand(
      patterns.map((p) => p[b]),
      residual,
    )
    want.forEach((row, q) => {
      row.forEach((v, k) => expect(got[b][q][k]).toBeCloseTo(v, 12))
    })
  }
  expect(await result.row(2, 1)).toEqual(got[1][2])
  const columns = [0, 1, 2, 3, 4].map((k) => got[0].reduce((s, row) => s + row[k], 0) / 5)
  ;(await result.mean()).forEach((v, k) => {
    expect(v).toBeCloseTo(columns[k], 12)
  })
  expect(result.layers).toBe(3)
})

test('rows sum to 1, and nothing flows from the future of a causal model', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer(),
      fc.integer({ min: 1, max: 3 }),
      fc.integer({ min: 1, max: 6 }),
      async (seed, nLayer, t) => {
        const model = randomPlain(seed, { nLayer, nHead: 2, dModel: 4, nVocab: 7, nCtx: 6 })
        const run = await trace(model, idsOf(Array.from({ length: t }, (_, i) => i)))
        const [matrix] = (await (await rollout(run)).matrix.array()) as number[][][]
        matrix.forEach((row, q) => {
          expect(row.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 12)
          row.forEach((v, k) => k > q && expect(v).toBe(0))
        })
      },
    ),
    { numRuns: 20, verbose: 1 },
  )
})

test('a row that attends to nothing keeps its residual path', async () => {
  const model = randomPlain(4, { nLayer: 2, nHead: 2, dModel: 8, nVocab: 9, nCtx: 7 })
  const mask = tensor(Uint8Array.from([0, 0, 1]), { shape: [1, 1, 1, 3], dtype: 'bool' })
  const run = await trace(model, { ids: idsOf([1, 2, 3]), mask })
  const [matrix] = await (await rollout(run)).matrix.array()
  expect(matrix[0]).toEqual([1, 0, 0])
  expect(matrix[1]).toEqual([0, 1, 0])
})

test('what cannot be asked is refused', async () => {
  const model = randomPlain(4, { nLayer: 1, nHead: 2, dModel: 8, nVocab: 9, nCtx: 7 })
  const run = await trace(model, idsOf([1, 2, 3]))
  await expect(rollout(run, { residual: 1 })).rejects.toThrow(/residual is 1/)
  await expect(rollout(run, { stack: 'encoder.' })).rejects.toThrow(/no tap 'encoder.blocks/)
  await expect(rollout(run, { resid: 0.1 } as never)).rejects.toThrow(/option 'resid' is unknown/)
  const cross = (x: Tensor): Tensor =>
    scope('blocks.0', () =>
      scope('attn', () => tap('z', attention(x, tensor([[[[1], [2], [3]]]]), tensor([[[[1], [2], [3]]]])).z)),
    )
  await expect(rollout(await trace(cross, tensor([[[[1], [2]]]])))).rejects.toThrow(/2 queries and 3 keys/)
})
