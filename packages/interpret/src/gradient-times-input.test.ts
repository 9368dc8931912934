import { mean, reference, reshape, setBackend, slice, sub, type Tensor, tensor, trace } from '@heed/tensor'
import { beforeAll, expect, test } from 'vitest'
import { idsOf, randomPlain } from '../test/plain.js'
import { gradientTimesInput } from './gradient-times-input.js'
import type { Traced } from './traced.js'

beforeAll(() => setBackend(reference({ precision: 'f64' })))
const model = randomPlain(11, { nLayer: 2, nHead: 2, dModel: 6, nVocab: 9, nCtx: 8 })
const logit = (run: Traced, id: number): Tensor =>
  reshape(
    slice(run.get('logits'), [
      [0, 1],
      [-1, null],
      [id, id + 1],
    ]),
    [],
  )
const ids = idsOf([2, 7, 1, 8])

test('agrees with finite differences of the model along every embedding', async () => {
  const run = await trace(model, ids)
  const result = await gradientTimesInput(run, { target: (r) => sub(logit(r, 3), logit(r, 5)) })
  const embed = (await run.get('embed').array())[0] as number[][]
  const h = 1e-5
  const along = async (position: number, factor: number): Promise<number> => {
    const delta = tensor([embed.map((row, p) => row.map((v) => (p === position ? v * factor : 0)))])
    const moved = await trace(model, ids, { edit: { embed: (x) => sub(x, delta) } })
    return (await sub(logit(moved, 3), logit(moved, 5)).item()) as number
  }
  const got = await result.row()
  for (let p = 0; p < 4; p++)
    expect(got[p]).toBeCloseTo(((await along(p, -h)) - (await along(p, h))) / (2 * h), 6)
  expect(result.value).toBeCloseTo(await sub(logit(run, 3), logit(run, 5)).item(), 12)
})

test('its norms are those of gradient and product', async () => {
  const run = await trace(model, ids)
  const result = await gradientTimesInput(run, { target: logit(run, 3) })
  const product = (await result.product.array())[0] as number[][]
  const embed = (await run.get('embed').array())[0] as number[][]
  const [norm, gradientNorm, gradientMax, signed] = await Promise.all(
    [result.norm, result.gradientNorm, result.gradientMax, result.signed].map(
      async (t) => (await t.array())[0] as number[],
    ),
  )
  product.forEach((row, p) => {
    const gradient = row.map((v, d) => v / embed[p][d])
    expect(signed[p]).toBeCloseTo(
      row.reduce((a, b) => a + b),
      10,
    )
    expect(norm[p]).toBeCloseTo(Math.hypot(...row), 10)
    expect(gradientNorm[p]).toBeCloseTo(Math.hypot(...gradient), 8)
    expect(gradientMax[p]).toBeCloseTo(Math.max(...gradient.map(Math.abs)), 8)
  })
})

test('tokens behind the target have nothing to do with it', async () => {
  const run = await trace(model, ids)
  const early = reshape(
    slice(run.get('logits'), [
      [0, 1],
      [1, 2],
      [3, 4],
    ]),
    [],
  )
  const got = await (await gradientTimesInput(run, { target: early })).row()
  expect(got.slice(2)).toEqual([0, 0])
  expect(got[0]).not.toBe(0)
})

test('what cannot be asked is refused', async () => {
  const run = await trace(model, ids)
  await expect(gradientTimesInput(run, { target: run.get('logits') })).rejects.toThrow(
    /target is \[1, 4, 9\], expected a scalar/,
  )
  await expect(
    gradientTimesInput(run, { target: mean(run.get('embed')), at: 'blocks.0.attn.z' }),
  ).rejects.toThrow(/expected \[batch, position, dModel\]/)
  await expect(gradientTimesInput(run, {} as never)).rejects.toThrow(/target is missing/)
  await expect(gradientTimesInput(run, { target: ' Mary' as never })).rejects.toThrow(
    /the target is {2}Mary, expected a scalar such as run.logit/,
  )
})
