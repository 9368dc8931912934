import { reference, setBackend, trace } from '@heed/tensor'
import { beforeAll, expect, test } from 'vitest'
import { idsOf, inductionModel, randomPlain } from '../test/plain.js'
import { NotDefinedError } from './errors.js'
import { logitLens } from './logit-lens.js'

beforeAll(() => setBackend(reference({ precision: 'f64' })))
const shape = { nLayer: 3, nHead: 2, dModel: 8, nVocab: 11, nCtx: 8 }

test('the last layer is the model', async () => {
  const run = await trace(randomPlain(3, shape), idsOf([1, 5, 2, 7], [6, 0, 0, 3]))
  const lens = await logitLens(run, { top: 2, row: 1 })
  expect(lens.error).toBe(0)
  expect(lens.layers.map((l) => l.tap)).toEqual([
    'blocks.0.resid_pre',
    'blocks.1.resid_pre',
    'blocks.2.resid_pre',
    'blocks.2.resid_post',
  ])
  const logits = (await run.get('logits').array())[1] as number[][]
  const { cells } = lens.layers[3]
  cells.forEach(({ position, top, final }) => {
    const row = logits[position]
    const total = row.reduce((s, v) => s + Math.exp(v), 0)
    const order = row.map((v, id) => [Math.exp(v) / total, id]).sort((x, y) => y[0] - x[0])
    expect(top.map((t) => t.id)).toEqual(order.slice(0, 2).map((o) => o[1]))
    expect(top[0].probability).toBeCloseTo(order[0][0], 12)
    expect(final).toBeCloseTo(order[0][0], 12)
  })
})

test('an earlier layer is what the model says when the later blocks add nothing', async () => {
  const model = randomPlain(3, shape)
  const ids = idsOf([1, 5, 2])
  const zero = { op: 'scale', value: 0 } as const
  const cut = await trace(model, ids, {
    edit: [
      { at: 'blocks.2.attn_out', ...zero },
      { at: 'blocks.2.mlp_out', ...zero },
      { at: 'blocks.1.attn_out', ...zero },
      { at: 'blocks.1.mlp_out', ...zero },
    ],
  })
  const lens = await logitLens(await trace(model, ids), { top: 11, positions: [-1] })
  const row = (await cut.get('logits').array())[0][2] as number[]
  const total = row.reduce((s, v) => s + Math.exp(v), 0)
  const { top } = lens.layers[1].cells[0]
  expect(lens.layers[1].cells).toHaveLength(1)
  for (const { id, probability } of top) expect(probability).toBeCloseTo(Math.exp(row[id]) / total, 12)
})

test('an induction circuit knows its answer only after its second layer', async () => {
  const run = await trace(inductionModel(6, 9), idsOf([0, 3, 1, 4, 2, 3, 1]))
  const lens = await logitLens(run, { positions: [-1], top: 1 })
  expect(lens.layers[1].cells[0].final).toBeCloseTo(1 / 6, 12)
  // all equal: ties in order of id
  expect(lens.layers[1].cells[0].top[0].id).toBe(0)
  expect(lens.layers[2].cells[0].top[0].id).toBe(4)
  expect(lens.layers[2].cells[0].final).toBeGreaterThan(0.99)
})

test('an edit behind the residual shows as an error', async () => {
  const run = await trace(randomPlain(3, shape), idsOf([1, 5, 2]), {
    edit: [{ at: 'ln_final', op: 'scale', value: 2 }],
  })
  expect((await logitLens(run)).error).toBeGreaterThan(0.1)
})

test('what is not defined is said so', async () => {
  const post = await trace(randomPlain(3, shape, { isPostNorm: true }), idsOf([1, 5]))
  await expect(logitLens(post)).rejects.toThrow(NotDefinedError)
  const run = await trace(randomPlain(3, shape), idsOf([1, 5]))
  await expect(logitLens(run, { positions: [2] })).rejects.toThrow(/position 2 of 2/)
  await expect(logitLens(run, { k: 2 } as never)).rejects.toThrow(/option 'k' is unknown/)
})
