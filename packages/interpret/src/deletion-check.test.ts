import {
  embedding,
  type ModelInput,
  reference,
  reshape,
  setBackend,
  sum,
  type Tensor,
  tap,
  tensor,
  trace,
  where,
} from '@heed/tensor'
import { beforeAll, expect, test } from 'vitest'
import { idsOf, randomPlain } from '../test/plain.js'
import { deletionCheck } from './deletion-check.js'
import { logitOf, probabilityOf } from './metric.js'
import type { Traced } from './traced.js'

beforeAll(() => setBackend(reference({ precision: 'f64' })))

// the score is the sum of the worths of the tokens whose keys are seen
const worth = [5, 1, 4, 2, 3, 0.5, 0]
const additive = ({ ids, mask }: ModelInput): Tensor => {
  const w = reshape(embedding(tensor(worth.map((v) => [v])), ids), [1, ids.shape[1]])
  const seen = mask ? where(reshape(mask, [mask.shape[0], ids.shape[1]]), w, 0) : w
  return tap('logits', sum(seen, { axes: -1, keepDims: true })) // [world, 1]
}
const oracle = [0, 2, 4, 3, 1, 5]
const known = [15.5, 10.5, 6.5, 3.5, 1.5, 0.5, 0]
const run = (): Promise<Traced> => trace(additive, { ids: idsOf([0, 1, 2, 3, 4, 5, 6]) })

test('an order by worth is as good as it gets, its reverse as bad', async () => {
  const traced = await run()
  const best = await deletionCheck(traced, { metric: logitOf(0), scores: worth })
  expect(best.order).toEqual(oracle)
  expect(best.curve.map((p) => p.value)).toEqual(known)
  expect(best.curve.map((p) => p.deleted)).toEqual([0, 1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1])
  const area = known.slice(1).reduce((s, v, i) => s + (v + known[i]) / 12, 0)
  expect(best.auc).toBeCloseTo(area, 12)
  expect(best.random).toHaveLength(20)
  expect(Math.min(...best.random)).toBeGreaterThanOrEqual(area)
  expect(best.percentile).toBeGreaterThanOrEqual(0.95)
  expect(best.sentence).toMatch(/^The ranking holds up: .* faster than (19|20) of 20 random orders\.$/)

  const worst = await deletionCheck(traced, { metric: logitOf(0), order: [...oracle].reverse() })
  expect(worst.auc).toBeCloseTo(15.5 - area, 12)
  expect(Math.max(...worst.random)).toBeLessThanOrEqual(worst.auc as number)
  expect(worst.percentile).toBeLessThanOrEqual(0.05)
  expect(worst.sentence).toMatch(/^The ranking is worse than chance/)
  const named = await deletionCheck(traced, { metric: logitOf(0), scores: worth, called: 'the logit of 0' })
  expect(named.sentence).toMatch(/first lowers the logit of 0 faster than/)
  // random areas are real: they lie around the middle
  const mean = best.random.reduce((s, v) => s + v, 0) / 20
  expect(mean).toBeGreaterThan(area + 1)
  expect(mean).toBeLessThan(15.5 - area - 1)
})

test('a seed repeats the random orders, another draws others', async () => {
  const traced = await run()
  const ask = async (seed: number): Promise<readonly number[]> =>
    (await deletionCheck(traced, { metric: logitOf(0), scores: worth, seed })).random
  expect(await ask(4)).toEqual(await ask(4))
  expect(await ask(4)).not.toEqual(await ask(5))
})

test('ties go to the earlier position, and equal tokens say nothing', async () => {
  const traced = await trace(additive, { ids: idsOf([3, 3, 3, 3, 3]) })
  const check = await deletionCheck(traced, { metric: logitOf(0), scores: [1, 2, 1, 2, 9] })
  expect(check.order).toEqual([1, 3, 0, 2])
  expect(check.percentile).toBe(0.5)
  expect(check.sentence).toMatch(/says nothing about the ranking/)
})

test('texts with nothing to delete say so', async () => {
  const one = await deletionCheck(await trace(additive, { ids: idsOf([3]) }), {
    metric: logitOf(0),
    scores: [1],
  })
  expect(one.auc).toBeNull()
  expect(one.sentence).toMatch(/nothing to delete/)
  const two = await deletionCheck(await trace(additive, { ids: idsOf([3, 1]) }), {
    metric: logitOf(0),
    scores: [1, 2],
  })
  expect(two.curve.map((p) => p.value)).toEqual([3, 1].map((_, i) => (i === 0 ? 3 : 1)))
  expect(two.percentile).toBeNull()
  expect(two.sentence).toMatch(/Only one token/)
})

test('long texts are checked at ten thresholds, and progress is announced before the first pass', async () => {
  const model = randomPlain(2, { nLayer: 1, nHead: 2, dModel: 4, nVocab: 30, nCtx: 30 })
  const ids = Array.from({ length: 25 }, (_, i) => i)
  const seen: [number, number][] = []
  const check = await deletionCheck(await trace(model, idsOf(ids)), {
    metric: probabilityOf(3),
    scores: ids.map((i) => -i),
    randomOrders: 5,
    onProgress: (done, of) => seen.push([done, of]),
  })
  expect(check.curve).toHaveLength(11)
  expect(check.order).toEqual(ids.slice(0, 24))
  expect(seen[0][0]).toBe(0)
  expect(seen.at(-1)?.[0]).toBe(seen[0][1])
  // the start and the end are shared by all orders
  expect(seen[0][1]).toBeLessThanOrEqual(2 + 6 * 9)
  const stop = new AbortController()
  stop.abort()
  await expect(
    deletionCheck(await run(), { metric: logitOf(0), scores: worth, signal: stop.signal }),
  ).rejects.toThrow(/abort/i)
})

test('a deleted key is seen by no query of any layer', async () => {
  const model = randomPlain(5, { nLayer: 2, nHead: 2, dModel: 6, nVocab: 9, nCtx: 8 })
  const check = await deletionCheck(await trace(model, idsOf([1, 2, 3])), {
    metric: logitOf(4),
    order: [1, 0],
    randomOrders: 1,
  })
  const mask = tensor(Uint8Array.from([1, 0, 1]), { shape: [1, 1, 1, 3], dtype: 'bool' })
  const masked = await trace(model, { ids: idsOf([1, 2, 3]), mask })
  expect(check.curve[1].value).toBeCloseTo((await masked.get('logits').array())[0][2][4], 12)
  expect((await masked.get('blocks.1.attn.pattern').array())[0][0].map((row: number[]) => row[1])).toEqual([
    0, 0, 0,
  ])
  // a mask that the run already had stays in force
  const both = await deletionCheck(masked, { metric: logitOf(4), order: [0, 1], randomOrders: 1 })
  expect(both.curve[0].value).toBeCloseTo(check.curve[1].value, 12)
})

test('what is always kept is neither ranked nor deleted', async () => {
  const traced = await run()
  const check = await deletionCheck(traced, { metric: logitOf(0), scores: worth, keep: [0, -1] })
  expect(check.order).toEqual([2, 4, 3, 1, 5])
  expect(check.curve.at(-1)?.value).toBe(5)
  const special = Object.assign(Object.create(traced) as Traced, {
    encoding: { specialTokensMask: [1, 0, 0, 0, 0, 0, 0] },
  })
  expect((await deletionCheck(special, { metric: logitOf(0), scores: worth })).order).toEqual([2, 4, 3, 1, 5])
})

test('an order that chance finds too counts half', async () => {
  const traced = await trace(additive, { ids: idsOf([0, 1, 6]) })
  const check = await deletionCheck(traced, { metric: logitOf(0), scores: [2, 1, 0] })
  const same = check.random.filter((r) => Math.abs(r - (check.auc as number)) < 1e-9).length
  expect(same).toBeGreaterThan(3)
  expect(same).toBeLessThan(17)
  expect(check.percentile).toBeCloseTo((20 - same + same / 2) / 20, 12)
  expect(check.sentence).toMatch(/With only 2 tokens/)
})

test('two rankings of one text share their random orders', async () => {
  const traced = await run()
  const metric = logitOf(0)
  const first = await deletionCheck(traced, { metric, scores: worth, seed: 2 })
  const passes: number[] = []
  const reverse = [...oracle].reverse()
  const second = await deletionCheck(traced, {
    metric,
    order: reverse,
    against: first,
    onProgress: (_, of) => passes.push(of),
  })
  expect(second.random).toEqual(first.random)
  expect(passes[0]).toBe(7)
  expect(second.sentence).toBe((await deletionCheck(traced, { metric, order: reverse, seed: 2 })).sentence)
  const ask = (o: object) => deletionCheck(traced, { metric, scores: worth, against: first, ...o })
  await expect(ask({ keep: [0, -1] })).rejects.toThrow(/deletes other positions/)
  await expect(ask({ randomOrders: 5 })).rejects.toThrow(/exclude each other/)
  await expect(ask({ steps: 3 })).rejects.toThrow(/another text, score or number of steps/)
  await expect(ask({ metric: probabilityOf(0) })).rejects.toThrow(/another text, score/)
})

test('what cannot be asked is refused', async () => {
  const traced = await run()
  const metric = logitOf(0)
  await expect(deletionCheck(traced, { metric })).rejects.toThrow(/give either scores/)
  await expect(deletionCheck(traced, { metric, scores: [1] })).rejects.toThrow(/1 scores for 7 tokens/)
  await expect(deletionCheck(traced, { metric, scores: [Number.NaN, ...worth.slice(1)] })).rejects.toThrow(
    /score of position 0 is NaN/,
  )
  await expect(deletionCheck(traced, { metric, order: [0, 1] })).rejects.toThrow(
    /every deletable position once/,
  )
  await expect(deletionCheck(traced, { metric, scores: worth, steps: 11 })).rejects.toThrow(/at most 10/)
  await expect(deletionCheck(traced, { metric, scores: worth, orders: 3 } as never)).rejects.toThrow(
    /option 'orders' is unknown/,
  )
  await expect(deletionCheck(traced, { metric: (r) => sum(r.output), scores: worth })).rejects.toThrow(
    /expected one number per row/,
  )
  const two = await trace(
    randomPlain(2, { nLayer: 1, nHead: 2, dModel: 4, nVocab: 9, nCtx: 9 }),
    idsOf([1, 2], [3, 4]),
  )
  await expect(deletionCheck(two, { metric, scores: [1, 2] })).rejects.toThrow(/holds 2 texts/)
})
