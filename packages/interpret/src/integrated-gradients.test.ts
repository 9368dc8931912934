import {
  embedding,
  mul,
  PARTS,
  reference,
  reshape,
  setBackend,
  sum,
  type Tensor,
  tap,
  tensor,
  trace,
} from '@heed/tensor'
import { beforeAll, expect, test } from 'vitest'
import { idsOf, randomPlain } from '../test/plain.js'
import { gaussLegendre, integratedGradients } from './integrated-gradients.js'
import { logitOf } from './metric.js'

beforeAll(() => setBackend(reference({ precision: 'f64' })))

test('nodes and weights integrate polynomials exactly', () => {
  const rule = gaussLegendre(4)
  for (let k = 0; k < 8; k++)
    expect(rule.reduce((s, p) => s + p.weight * p.node ** k, 0)).toBeCloseTo(1 / (k + 1), 14)
  expect(gaussLegendre(1)).toEqual([{ node: expect.closeTo(0.5, 14), weight: expect.closeTo(1, 14) }])
})

test('known in closed form: a cubic, x³ − x0³, with two points', async () => {
  const table = [
    [0.5, -1],
    [2, 0.25],
  ]
  const cubic = (ids: Tensor): Tensor => {
    const x = tap('embed', embedding(tensor(table), ids))
    return tap('logits', reshape(sum(mul(x, mul(x, x)), { axes: [1, 2] }), [x.shape[0], 1])) // [world, 1]
  }
  const model = Object.assign(cubic, { [PARTS]: { embed: { w: tensor(table) } } })
  const run = await trace(model, idsOf([0, 1]))
  const zero = await integratedGradients(run, { metric: logitOf(0), baseline: 'zero', steps: 2 })
  expect((await zero.attributions.array())[0]).toEqual(
    table.map((row) => row.map((v) => expect.closeTo(v ** 3, 12))),
  )
  const mean = await integratedGradients(run, { metric: logitOf(0), steps: 2 })
  const [a, b] = [1.25 ** 3, (-0.375) ** 3]
  expect(mean.signed).toEqual([
    expect.closeTo(0.125 - 1 - a - b, 12),
    expect.closeTo(8 + 0.25 ** 3 - a - b, 12),
  ])
  expect(Math.abs(mean.delta)).toBeLessThan(1e-12)
})

test('adds up to the difference between input and baseline', async () => {
  const model = randomPlain(3, { nLayer: 2, nHead: 2, dModel: 6, nVocab: 9, nCtx: 8 })
  const run = await trace(model, idsOf([1, 2, 3, 4]))
  const ig = await integratedGradients(run, { metric: logitOf(5), baseline: [0, 0, 0, 4] })
  const base = await trace(model, idsOf([0, 0, 0, 4]))
  expect(ig.value).toBeCloseTo((await run.get('logits').array())[0][3][5], 12)
  expect(ig.baselineValue).toBeCloseTo((await base.get('logits').array())[0][3][5], 12)
  expect(Math.abs(ig.delta)).toBeLessThan(1e-3)
  expect(ig.delta).toBeCloseTo(ig.signed.reduce((a, b) => a + b) - (ig.value - ig.baselineValue), 12)
  expect(ig.signed[3]).toBe(0)
})

test('what cannot be asked is refused', async () => {
  const run = await trace(
    randomPlain(3, { nLayer: 1, nHead: 2, dModel: 6, nVocab: 9, nCtx: 8 }),
    idsOf([1, 2]),
  )
  await expect(integratedGradients(run, { metric: logitOf(5), baseline: [1] })).rejects.toThrow(
    /none of 'mean', 'zero', 2 ids/,
  )
  await expect(integratedGradients(run, { metric: logitOf(5), steps: 0 })).rejects.toThrow(/steps is 0/)
  await expect(integratedGradients(run, { metric: logitOf(99) })).rejects.toThrow(/token id 99/)
})
