import { reference, setBackend, trace, zeros } from '@heed/tensor'
import { beforeAll, expect, test } from 'vitest'
import { idsOf, plain, randomPlain, rows } from '../test/plain.js'
import { directLogitAttribution } from './direct-logit-attribution.js'
import { NotDefinedError } from './errors.js'

beforeAll(() => setBackend(reference({ precision: 'f64' })))

// logit difference = a·x1 + b·x2 + e, each term written by one part
const [a, b, e, x1, x2] = [1.75, -0.625, 0.25, 0.8, -1.2]
const additive = plain(
  {
    embed: {
      w: rows([
        [0, 0, 0, 0, 0],
        [x1, 0, 0, 0, 0],
        [0, x2, 0, 0, 0],
        [0, 0, 0, e, 0],
      ]),
    },
    pos_embed: { w: zeros([3, 5]) },
    blocks: [
      {
        attn: {
          w_q: zeros([5, 2]),
          w_k: zeros([5, 2]),
          w_v: rows([
            [1, 0],
            [0, 1],
            [0, 0],
            [0, 0],
            [0, 0],
          ]),
          w_o: rows([
            [0, 0, 0, 3 * a, 0],
            [0, 0, 0, 3 * b, 0],
          ]),
        },
      },
    ],
    unembed: {
      w: rows([
        [0, 0],
        [0, 0],
        [0, 0],
        [0.5, -0.5],
        [0, 0],
      ]),
    },
  },
  { nHead: 2, words: ['yes', 'no', 'maybe', 'ask'] },
)

test('gives every part of an additive circuit its own term', async () => {
  const dla = await directLogitAttribution(await trace(additive, idsOf([1, 2, 3])), { correct: 0, wrong: 1 })
  expect(dla.value).toBeCloseTo(a * x1 + b * x2 + e, 12)
  expect(dla.heads.map((h) => h.value)).toEqual([expect.closeTo(a * x1, 12), expect.closeTo(b * x2, 12)])
  const named = Object.fromEntries(dla.parts.map((p) => [p.name, p.value]))
  expect(named.embed).toBeCloseTo(e, 12)
  expect(named.pos_embed).toBe(0)
  expect(dla.error).toBeLessThan(1e-12)
  expect(dla.heads.top(1)[0]).toMatchObject({ layer: 0, head: 0 })
  expect(`${dla}`).toContain('logit "yes" − logit "no" = +2.400')
  const other = await directLogitAttribution(await trace(additive, idsOf([1, 2, 3])), {
    correct: 'no',
    wrong: 'yes',
  })
  expect(`${other}`).toContain('logit "no" − logit "yes" = −2.400')
})

test.each([
  ['LayerNorm', false],
  ['RMSNorm', true],
])('sums to the logit and to a difference behind %s', async (_, isRms) => {
  const model = randomPlain(7, { nLayer: 3, nHead: 2, dModel: 8, nVocab: 11, nCtx: 8 }, { isRms })
  const run = await trace(model, idsOf([1, 5, 2, 7], [4, 4, 9, 0]))
  const logits = (await run.get('logits').array()) as number[][][]
  const one = await directLogitAttribution(run, { token: 6, position: 1, row: 1 })
  expect(one.value).toBeCloseTo(logits[1][1][6], 12)
  expect(one.error).toBeLessThan(1e-10)
  const two = await directLogitAttribution(run, { correct: 6, wrong: 2 })
  expect(two.value).toBeCloseTo(logits[0][3][6] - logits[0][3][2], 12)
  expect(two.error).toBeLessThan(1e-10)
  expect(two.parts.map((p) => p.name).slice(0, 6)).toEqual([
    'embed',
    'pos_embed',
    'blocks.0.attn.result[0]',
    'blocks.0.attn.result[1]',
    'blocks.0.attn.b_o',
    'blocks.0.mlp_out',
  ])
  // the definition, for one head: (part − mean?)·γ/σ · (W_U[a] − W_U[b])
  const result = (await run.get('blocks.1.attn.result').array())[0][1][3] as number[]
  const resid = (await run.get('blocks.2.resid_post').array())[0][3] as number[]
  const mean = (v: number[]): number => (isRms ? 0 : v.reduce((s, x) => s + x, 0) / v.length)
  const centre = mean(resid)
  const sigma = Math.sqrt(
    resid.reduce((s, x) => s + (x - centre) ** 2, 0) / resid.length + (isRms ? 1e-6 : 1e-5),
  )
  const parts = model as unknown as {
    [k: symbol]: {
      ln_final: { w: { array(): Promise<number[]> } }
      unembed: { w: { array(): Promise<number[][]> } }
    }
  }
  const weights = parts[Object.getOwnPropertySymbols(model)[0]]
  const [gain, unembed] = [await weights.ln_final.w.array(), await weights.unembed.w.array()]
  const own = result.reduce(
    (s, v, i) => s + (((v - mean(result)) * gain[i]) / sigma) * (unembed[i][6] - unembed[i][2]),
    0,
  )
  expect(two.heads.find((h) => h.layer === 1 && h.head === 1)?.value).toBeCloseTo(own, 10)
  expect(two.heads.top(99).map((h) => Math.abs(h.value))).toEqual(
    two.heads.map((h) => Math.abs(h.value)).sort((x, y) => y - x),
  )
})

test('sees an edited head as what the edit made of it', async () => {
  const run = await trace(additive, idsOf([1, 2, 3]), {
    edit: [{ at: 'blocks.0.attn.z', head: 0, op: 'scale', value: 0 }],
  })
  const dla = await directLogitAttribution(run, { correct: 0, wrong: 1 })
  expect(dla.heads[0].value).toBe(0)
  expect(dla.value).toBeCloseTo(b * x2 + e, 12)
  expect(dla.error).toBeLessThan(1e-12)
})

test('what is not defined or cannot be asked is said so', async () => {
  const post = randomPlain(
    7,
    { nLayer: 1, nHead: 2, dModel: 8, nVocab: 11, nCtx: 8 },
    { isPostNorm: true, isCausal: false },
  )
  const run = await trace(post, idsOf([1, 5]))
  await expect(directLogitAttribution(run, { token: 1 })).rejects.toThrow(NotDefinedError)
  await expect(directLogitAttribution(run, { token: 1 })).rejects.toThrow(
    /not defined: the model is post-norm/,
  )
  const ok = await trace(additive, idsOf([1, 2, 3]))
  await expect(directLogitAttribution(ok, {})).rejects.toThrow(/give { token }, or { correct, wrong }/)
  await expect(directLogitAttribution(ok, { token: 0, correct: 1 })).rejects.toThrow(/give { token }/)
  await expect(directLogitAttribution(ok, { token: 2 })).rejects.toThrow(/token id 2 is outside 0..1/)
  await expect(directLogitAttribution(ok, { token: 'yes no' })).rejects.toThrow(/is 2 tokens \("yes" "no"\)/)
  await expect(directLogitAttribution(ok, { token: 0, position: 3 })).rejects.toThrow(/position 3 of 3/)
  const edited = await trace(
    randomPlain(7, { nLayer: 1, nHead: 2, dModel: 8, nVocab: 11, nCtx: 8 }),
    idsOf([1, 5]),
    {
      edit: [{ at: 'ln_final', op: 'add', value: [3, 1, 4, 1, 5, 9, 2, 6] }],
    },
  )
  await expect(directLogitAttribution(edited, { token: 1 })).rejects.toThrow(/neither LayerNorm nor RMSNorm/)
})
