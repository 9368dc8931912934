import { expect, test } from 'vitest'
import { best, headScores, heldOutLoss, heldOutLossOf, type Measured, rowLoss } from './measure.js'
import type { HeldOutDocument } from './tokens.js'

const V = 11
const documents: HeldOutDocument[] = [
  { name: 'a', ids: Int32Array.from({ length: 57 }, (_, i) => (i * 7) % V), bytes: 140 },
  { name: 'b', ids: Int32Array.from({ length: 9 }, (_, i) => (i * 3) % V), bytes: 20 },
]

/** Logits that depend on the position in the window and on the current token: each window gives other losses. */
const model = (asked: { rows: number; length: number }[] = []): Measured => ({
  logits: async (ids, rows, length) => {
    asked.push({ rows, length })
    const out = new Float32Array(rows * length * V)
    for (let i = 0; i < rows * length; i++)
      for (let v = 0; v < V; v++) out[i * V + v] = Math.sin((ids[i] as number) * 3 + v) * 2
    return out
  },
  patterns: async () => [],
})

test('constant logits have the vocabulary size as perplexity', async () => {
  const flat: Measured = {
    logits: async (_, rows, length) => new Float32Array(rows * length * V).fill(4),
    patterns: async () => [],
  }
  const loss = await heldOutLoss(flat, documents, { window: 16, stride: 8, vocabSize: V })
  expect(loss.perplexity).toBeCloseTo(V, 4)
  expect(loss.tokens).toBe(56 + 8)
  expect(loss.bytes).toBeCloseTo(160, 9)
  expect(loss.bitsPerByte).toBeCloseTo((64 * Math.log2(V)) / 160, 5)
})

test('every token is scored once, whatever window, stride and rows', async () => {
  const direct = heldOutLossOf(documents, (ids) => {
    let nats = 0
    for (let t = 1; t < ids.length; t++) {
      const row = Float32Array.from({ length: V }, (_, v) => Math.sin((ids[t - 1] as number) * 3 + v) * 2)
      nats += rowLoss(row, 0, V, ids[t] as number)
    }
    return { nats: nats / (ids.length - 1), count: ids.length - 1 }
  })
  for (const [window, stride, rows] of [
    [16, 16, 8],
    [16, 5, 3],
    [64, 32, 2],
    [8, 1, 4],
  ] as const) {
    const loss = await heldOutLoss(model(), documents, { window, stride, rows, vocabSize: V })
    expect(loss.tokens).toBe(64)
    expect(loss.nats).toBeCloseTo(direct.nats, 5)
    expect(loss.bitsPerByte).toBeCloseTo(direct.bitsPerByte, 5)
  }
})

test('a token is scored by the window that sees the most before it', async () => {
  // the loss tells the position in the window: logits grow with it for the right answer alone
  const ids = Int32Array.from({ length: 13 }, () => 0)
  const tell: Measured = {
    logits: async (_, rows, length) => {
      const out = new Float32Array(rows * length * 2)
      for (let r = 0; r < rows; r++) for (let t = 0; t < length; t++) out[(r * length + t) * 2] = t
      return out
    },
    patterns: async () => [],
  }
  const at = (t: number): number => Math.log(1 + Math.exp(-t))
  const loss = await heldOutLoss(tell, [{ name: 'x', ids, bytes: 12 }], {
    window: 8,
    stride: 4,
    vocabSize: 2,
  })
  const expected = [0, 1, 2, 3, 4, 5, 6, 7, 4, 5, 6, 7].reduce((sum, t) => sum + at(t), 0) / 12
  expect(loss.nats).toBeCloseTo(expected, 5)
})

test('a perfect induction head scores 1, a uniform causal head 0.0139 at n = 50', async () => {
  const n = 50
  const heads: Measured = {
    logits: async () => new Float32Array(0),
    patterns: async (ids, rows, length) => {
      expect([...ids.slice(0, n)]).toEqual([...ids.slice(n, 2 * n)])
      expect(ids.includes(0)).toBe(false)
      const data = new Float32Array(rows * 4 * length * length)
      const set = (r: number, h: number, q: number, k: number, a: number): void => {
        data[((r * 4 + h) * length + q) * length + k] = a
      }
      for (let r = 0; r < rows; r++)
        for (let q = 0; q < length; q++) {
          for (let k = 0; k <= q; k++) set(r, 0, q, k, 1 / (q + 1))
          if (q >= n - 1) set(r, 1, q, q - n + 1, 1)
          if (q >= n) set(r, 2, q, q - n, 1)
          if (q >= 1) set(r, 3, q, q - 1, 1)
        }
      return [{ data, heads: 4 }]
    },
  }
  const scores = await headScores(heads, { vocabSize: 64, skip: [0], n, rows: 2 })
  expect(scores[0]?.induction).toBeCloseTo(0.01389, 3)
  expect(best(scores, 'induction')).toEqual({ layer: 0, head: 1, previous: 0, induction: 1, duplicate: 0 })
  expect(best(scores, 'duplicate').head).toBe(2)
  expect(best(scores, 'previous')).toMatchObject({ head: 3, previous: 1 })
})
