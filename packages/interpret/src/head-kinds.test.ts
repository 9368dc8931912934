import { reference, setBackend, tensor, zeros } from '@heed/tensor'
import { beforeAll, expect, test } from 'vitest'
import { inductionModel, plain, randomPlain, rows } from '../test/plain.js'
import { headKinds, kindOf } from './head-kinds.js'

beforeAll(() => setBackend(reference({ precision: 'f64' })))

test('a hand-made induction circuit scores 1 where its heads look', async () => {
  const kinds = await headKinds(inductionModel(12, 17), { length: 8, prefix: [0], exclude: [0], seed: 3 })
  // position 0 attends to itself, nobody to the position before it
  expect(kinds.at(0, 0).previous).toBeCloseTo(1, 12)
  expect(kinds.at(0, 0).kind).toBe('previous token')
  expect(kinds.at(1, 0).inductionSecondCopy).toBeCloseTo(1, 12)
  expect(kinds.at(1, 0).kind).toBe('induction')
  // the published diagonal begins one and the prefix two queries early, in uniform rows
  expect(kinds.at(1, 0).induction).toBeCloseTo((8 + 1 / 8 + 1 / 9) / 10, 12)
  expect(kinds.at(1, 0).duplicate).toBeLessThan(0.05)
})

test.each([
  [50, 0.01389],
  [100, 0.00694],
])('a uniform causal head scores what the field says, |r| = %i', async (n, expected) => {
  const flat = plain(
    {
      embed: { w: rows(Array.from({ length: n }, (_, i) => [i])) },
      blocks: [{ attn: { w_q: zeros([1, 1]), w_k: zeros([1, 1]), w_v: zeros([1, 1]), w_o: zeros([1, 1]) } }],
    },
    { nHead: 1 },
  )
  const kinds = await headKinds(flat, { length: n, batch: 1, nCtx: 2 * n })
  expect(kinds.heads[0].induction).toBeCloseTo(expected, 5)
  expect(kinds.heads[0].duplicate).toBeCloseTo(
    Array.from({ length: n }, (_, i) => 1 / (n + i + 1)).reduce((a, b) => a + b) / n,
    12,
  )
  expect(kinds.heads[0].previous).toBeCloseTo(
    Array.from({ length: 2 * n - 1 }, (_, i) => 1 / (i + 2)).reduce((a, b) => a + b) / (2 * n - 1),
    12,
  )
  expect(kinds.heads[0].kind).toBeNull()
})

test('sequences repeat, hold different allowed tokens, and depend on the seed alone', async () => {
  const model = randomPlain(1, { nLayer: 2, nHead: 2, dModel: 8, nVocab: 20, nCtx: 16 })
  const kinds = await headKinds(model, { exclude: [0, 19], batch: 3, seed: 5 })
  expect(kinds.length).toBe(8)
  expect(kinds.heads).toHaveLength(4)
  for (const ids of kinds.ids) {
    expect(ids.slice(0, 8)).toEqual(ids.slice(8))
    expect(new Set(ids).size).toBe(8)
    expect(ids.some((id) => id === 0 || id === 19)).toBe(false)
  }
  expect(new Set(kinds.ids.map(String)).size).toBe(3)
  expect((await headKinds(model, { exclude: [0, 19], batch: 3, seed: 5 })).ids).toEqual(kinds.ids)
  expect((await headKinds(model, { exclude: [0, 19], batch: 3, seed: 6 })).ids).not.toEqual(kinds.ids)
})

test('special tokens of the tokenizer are left out by themselves', async () => {
  const model = Object.assign(randomPlain(1, { nLayer: 1, nHead: 1, dModel: 4, nVocab: 6, nCtx: 16 }), {
    tokenizer: { specialTokens: [{ id: 0 }, { id: 5 }] },
  })
  const kinds = await headKinds(model)
  expect(kinds.length).toBe(4)
  expect(new Set(kinds.ids.flat())).toEqual(new Set([1, 2, 3, 4]))
})

test('the name is that of the highest score above the threshold', () => {
  const none = { previous: 0, duplicate: 0, induction: 0, inductionSecondCopy: 0 }
  expect(kindOf({ ...none, previous: 0.33 })).toBeNull()
  expect(kindOf({ ...none, previous: 0.34 })).toBe('previous token')
  expect(kindOf({ ...none, previous: 0.4, duplicate: 0.5 })).toBe('duplicate token')
  expect(kindOf({ ...none, induction: 0.6, duplicate: 0.5 })).toBe('induction')
})

test('what cannot be asked is refused', async () => {
  const model = randomPlain(1, { nLayer: 1, nHead: 1, dModel: 4, nVocab: 6, nCtx: 16 })
  await expect(headKinds(model, { length: 7 })).rejects.toThrow(
    /length 7 needs 14 positions and 7 different tokens; this model allows 6/,
  )
  await expect(headKinds(model, { lenght: 3 } as never)).rejects.toThrow(/option 'lenght' is unknown/)
  await expect(headKinds((x) => tensor([x.ids.size]))).rejects.toThrow(/config has no nVocab/)
})
