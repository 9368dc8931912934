import { reference, setBackend, trace } from '@heed/tensor'
import { beforeAll, expect, test } from 'vitest'
import { idsOf, inductionModel, randomPlain } from '../test/plain.js'
import { compare } from './compare.js'
import type { Traced } from './traced.js'

beforeAll(() => setBackend(reference({ precision: 'f64' })))
const softmax = (v: number[]): number[] => v.map((x) => Math.exp(x) / v.reduce((s, y) => s + Math.exp(y), 0))

test('without its previous-token head an induction circuit loses the answer, by as much as it must', async () => {
  const model = inductionModel(6, 9)
  const ids = idsOf([0, 3, 1, 4, 2, 3, 1])
  const before = await trace(model, ids)
  const after = await trace(model, ids, { edit: [{ at: 'blocks.0.attn.z', head: 0, op: 'scale', value: 0 }] })
  const moved = await compare(before, after).fetch()
  // uniform over 0…6: logit of a token = 20·count/7
  const p = softmax([1, 2, 1, 2, 1, 0].map((n) => (20 * n) / 7))
  const sure = 1 / (1 + 5 * Math.exp(-20))
  const [first] = moved.top(1)
  expect(first).toMatchObject({ id: 4, token: null })
  expect(first.before).toBeCloseTo(sure, 10)
  expect(first.after).toBeCloseTo(p[4], 10)
  expect(first.change).toBeCloseTo(p[4] - sure, 10)
  expect(moved.kl).toBeCloseTo(Math.log(sure / p[4]), 5)
  expect(moved.top(3).map((m) => Math.abs(m.change))).toEqual(
    moved
      .top(6)
      .map((m) => Math.abs(m.change))
      .sort((a, b) => b - a)
      .slice(0, 3),
  )
})

test('a run compared with itself has not moved', async () => {
  const model = randomPlain(
    3,
    { nLayer: 1, nHead: 2, dModel: 4, nVocab: 5, nCtx: 4 },
    { words: ['a', 'b', 'c', 'd', 'e'] },
  )
  const run = await trace(model, idsOf([1, 2], [3, 0]))
  const same = await compare(run, run, { row: 1, position: 0 }).fetch()
  expect(same.kl).toBe(0)
  expect(same.top(2)).toMatchObject([
    { id: 0, token: 'a', change: 0 },
    { id: 1, token: 'b', change: 0 },
  ])
  expect(await same.logits.data()).toEqual(new Float64Array(20))
  expect(same.top(1)[0].before).toBeCloseTo(softmax((await run.get('logits').array())[1][0])[0], 12)
})

test('runs that know their predictions are compared at once', async () => {
  const model = randomPlain(3, { nLayer: 1, nHead: 2, dModel: 4, nVocab: 3, nCtx: 4 })
  const run = await trace(model, idsOf([1, 2]))
  const knowing = (p: number[]): Traced =>
    Object.assign(Object.create(run) as Traced, {
      top: (n: number) =>
        p
          .map((probability, id) => ({ id, token: 'abc'[id], probability }))
          .sort((x, y) => y.probability - x.probability)
          .slice(0, n),
    })
  const moved = compare(knowing([0.5, 0.3, 0.2]), knowing([0.1, 0.3, 0.6]))
  expect(moved.top(2)).toEqual([
    { id: 0, token: 'a', before: 0.5, after: 0.1, change: expect.closeTo(-0.4, 12) },
    { id: 2, token: 'c', before: 0.2, after: 0.6, change: expect.closeTo(0.4, 12) },
  ])
  expect(moved.kl).toBeCloseTo(0.5 * Math.log(5) + 0.2 * Math.log(1 / 3), 12)
  expect(`${moved}`).toBe(
    '"a"  50.0 %  →  10.0 %\n"c"  20.0 %  →  60.0 %\n"b"  30.0 %  →  30.0 %\nKL 0.5850 nats',
  )
})

test('what cannot be asked is refused', async () => {
  const model = randomPlain(3, { nLayer: 1, nHead: 2, dModel: 4, nVocab: 5, nCtx: 4 })
  const [a, b] = [await trace(model, idsOf([1, 2])), await trace(model, idsOf([1, 2, 3]))]
  expect(() => compare(a, b)).toThrow(/one text on one model/)
  expect(() => compare(a, a).top(1)).toThrow(/await compare\(a, b\)\.fetch\(\)/)
  expect(() => compare(a, a, { pos: 1 } as never)).toThrow(/option 'pos' is unknown/)
  await expect(compare(a, a, { position: 2 }).fetch()).rejects.toThrow(/position 2 of 2/)
  expect(() => compare(a, a).top(0)).toThrow(/n is 0/)
})
