import { reference, setBackend, type Tensor, trace } from '@heed/tensor'
import { beforeAll, expect, test } from 'vitest'
import { idsOf, randomPlain } from '../test/plain.js'
import { activationPatching } from './activation-patching.js'
import { logitDifference } from './metric.js'

beforeAll(() => setBackend(reference({ precision: 'f64' })))
const model = randomPlain(9, { nLayer: 2, nHead: 2, dModel: 6, nVocab: 9, nCtx: 8 })
const [clean, corrupted] = [
  [1, 2, 3, 4],
  [1, 7, 3, 4],
]
const metric = logitDifference(5, 6)

test('the whole residual of any layer restores the answer exactly, and nothing before the change does', async () => {
  const whole = await activationPatching(model, {
    clean,
    corrupted,
    at: 'blocks.*.resid_pre',
    metric,
    by: 'whole',
  })
  expect(whole.values).toEqual([[expect.closeTo(1, 12)], [expect.closeTo(1, 12)]])
  const map = await activationPatching(model, { clean, corrupted, at: 'blocks.*.resid_pre', metric })
  expect(map.taps).toEqual(['blocks.0.resid_pre', 'blocks.1.resid_pre'])
  expect(map.values[0].map((v) => v.toFixed(9))).toEqual([
    '0.000000000',
    '1.000000000',
    '0.000000000',
    '0.000000000',
  ])
  // causal: the first position is the same in both texts
  expect(map.values[1][0]).toBeCloseTo(0, 12)
})

test.each(['head', 'head and position'] as const)(
  'worlds agree with single patched runs (by %s)',
  async (by) => {
    const map = await activationPatching(model, { clean, corrupted, at: 'blocks.*.attn.z', metric, by })
    const cleanRun = await trace(model, idsOf(clean))
    const logits = async (t: Tensor): Promise<number> => {
      const row = (await t.array())[0][3]
      return row[5] - row[6]
    }
    const base = await trace(model, idsOf(corrupted))
    const [top, floor] = [await logits(cleanRun.get('logits')), await logits(base.get('logits'))]
    expect([map.clean, map.corrupted]).toEqual([expect.closeTo(top, 12), expect.closeTo(floor, 12)])
    for (const layer of [0, 1]) {
      const z = await cleanRun.get(`blocks.${layer}.attn.z`).array()
      for (const head of [0, 1]) {
        const places = by === 'head' ? [[0, 1, 2, 3]] : [[0], [1], [2], [3]]
        for (const [i, positions] of places.entries()) {
          const edit = positions.map((pos) => ({
            at: `blocks.${layer}.attn.z`,
            head,
            pos: [pos],
            op: 'set' as const,
            value: z[0][head][pos] as number[],
          }))
          const one = await logits((await trace(model, idsOf(corrupted), { edit })).get('logits'))
          expect(map.values[layer][head * places.length + i]).toBeCloseTo((one - floor) / (top - floor), 10)
        }
      }
    }
  },
)

test("takes TransformerLens's names, as a run does", async () => {
  const map = await activationPatching(model, { clean, corrupted, at: 'blocks.*.hook_resid_pre', metric })
  expect(map.taps).toEqual(['blocks.0.resid_pre', 'blocks.1.resid_pre'])
})

test('what cannot be asked is refused', async () => {
  const ask = (o: object) =>
    activationPatching(model, { clean, corrupted, at: 'blocks.*.resid_pre', metric, ...o })
  await expect(ask({ corrupted: clean })).rejects.toThrow(/there is nothing to restore/)
  await expect(ask({ corrupted: [1, 2] })).rejects.toThrow(/4 tokens and corrupted 2/)
  await expect(ask({ at: 'blocks.*.resid_pr' })).rejects.toThrow(/nearest: blocks/)
  await expect(ask({ by: 'head' })).rejects.toThrow(/has no heads/)
  await expect(ask({ by: 'token' })).rejects.toThrow(/by 'token' is unknown/)
  await expect(ask({ clean: 'a text' })).rejects.toThrow(/reads no text/)
})
