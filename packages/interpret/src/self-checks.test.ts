import {
  add,
  attention,
  mul,
  reference,
  scope,
  setBackend,
  type Tensor,
  tap,
  tensor,
  trace,
} from '@heed/tensor'
import { beforeAll, expect, test } from 'vitest'
import { idsOf, randomPlain, randomWeights } from '../test/plain.js'
import { patternSelfCheck, residualIdentity } from './self-checks.js'

beforeAll(() => setBackend(reference({ precision: 'f64' })))
const shape = { nLayer: 2, nHead: 2, dModel: 6, nVocab: 9, nCtx: 8 }

test.each([[false], [true]])(
  'the residual stream is the sum of its parts (post-norm %s)',
  async (isPostNorm) => {
    const run = await trace(randomPlain(2, shape, { isPostNorm }), idsOf([1, 2, 3]))
    const check = await residualIdentity(run)
    expect(check.error).toBeLessThan(1e-12)
    expect([...check.errors.keys()]).toEqual([
      'blocks.0.resid_pre',
      'blocks.0.resid_mid',
      'blocks.0.resid_post',
      'blocks.1.resid_pre',
      'blocks.1.resid_mid',
      'blocks.1.resid_post',
    ])
  },
)

test('an attn_out that holds the residual is found', async () => {
  const wrong = (x: Tensor): Tensor =>
    scope('blocks.0', () => {
      const y = tap('resid_pre', x)
      return tap('resid_post', tap('attn_out', add(y, mul(y, 2))))
    })
  const check = await residualIdentity(await trace(wrong, tensor([[[1, -2]]])))
  expect(check).toMatchObject({ error: 2, worst: 'blocks.0.resid_post' })
})

test('pattern times v is z, also with grouped heads, and a wrong z is found', async () => {
  const run = await trace(randomPlain(2, shape), idsOf([1, 2, 3], [4, 5, 6]))
  for (const query of [0, 1, -1]) expect((await patternSelfCheck(run, { query })).error).toBeLessThan(1e-12)
  const r = randomWeights(3)
  const grouped = (x: Tensor): Tensor =>
    scope('blocks.0.attn', () =>
      tap(
        'z',
        attention(tap('q', x), tap('k', r([1, 2, 3, 5])), tap('v', r([1, 2, 3, 5])), { causal: true }).z,
      ),
    )
  expect((await patternSelfCheck(await trace(grouped, r([1, 4, 3, 5])))).error).toBeLessThan(1e-12)
  const edited = await trace(randomPlain(2, shape), idsOf([1, 2, 3]), {
    edit: [{ at: 'blocks.1.attn.z', op: 'add', value: 0.5 }],
  })
  const check = await patternSelfCheck(edited)
  expect(check.error).toBeCloseTo(0.5, 10)
  expect(check.worst).toBe('blocks.1.attn.pattern')
})
