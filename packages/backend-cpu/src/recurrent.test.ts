import { gru, lstm, rnn } from '@heed/nn'
import {
  add,
  grad,
  mul,
  parameters,
  type Report,
  realize,
  reference,
  sum,
  type Tensor,
  tensor,
} from '@heed/tensor'
import { afterAll, describe, expect, it } from 'vitest'
import { uniform } from '../test/oracle.js'
import { cpu } from './backend.js'

const oracle = reference({ precision: 'f64' })
const backends = [await cpu({ threads: 1 }), await cpu({ threads: 2 })]
afterAll(() => {
  for (const b of backends) b.dispose()
})

function numbers(shape: readonly number[], seed: number): Float32Array {
  const next = uniform(seed)
  const n = shape.reduce((a, b) => a * b, 1)
  return Float32Array.from({ length: n }, () => next())
}
const random = (shape: readonly number[], seed: number): Tensor => tensor(numbers(shape, seed), { shape })

interface Sizes {
  batch: number
  time: number
  input: number
  hidden: number
  bias?: boolean
  layers?: number
  bidirectional?: boolean
  lengths?: number[]
}

const makers = { lstm, gru }
/** Results, their gradients and what ran. */
async function results(kind: 'lstm' | 'gru', s: Sizes, withGradients: boolean) {
  const { batch, time, input, hidden, layers = 1, bidirectional = false, bias = true } = s
  // the same numbers on every backend
  let seed = 0
  const init = (shape: readonly number[]) => numbers(shape, 50 + seed++)
  const model = makers[kind]({ input, hidden, layers, bidirectional, bias, init })
  const x = random([batch, time, input], 3)
  const states = layers * (bidirectional ? 2 : 1)
  const h0 = random([states, batch, hidden], 4)
  const lengths = s.lengths && tensor(s.lengths, { dtype: 'i32' })
  const r = model(x, { h0, ...(lengths ? { lengths } : {}) }) as { y: Tensor; hN: Tensor; cN?: Tensor }
  const outs = [r.y, r.hN, ...(r.cN ? [r.cN] : [])]
  if (!withGradients) return outs
  // different weights for every result, so that no gradient is symmetric
  const loss = outs.map((o, i) => sum(mul(mul(o, o), random(o.shape, 70 + i)))).reduce((a, b) => add(a, b))
  return [...outs, ...grad(loss, [x, h0, ...parameters(model).values()])]
}

const read = async (
  kind: 'lstm' | 'gru',
  s: Sizes,
  gradients: boolean,
  on: Parameters<typeof realize>[1],
) => {
  const outs = await results(kind, s, gradients)
  const report = await realize(outs, on)
  return { report, values: await Promise.all(outs.map((o) => o.data())) }
}
const ran = (report: Report, op: string): number =>
  report.ran.filter((r) => r.op === op).reduce((n, r) => n + r.count, 0)

const small: Sizes = { batch: 3, time: 5, input: 4, hidden: 6 }
const cases: [string, Sizes][] = [
  ['a sequence', small],
  ['no bias', { ...small, bias: false }],
  ['one step of one row', { batch: 1, time: 1, input: 3, hidden: 9 }],
  ['one of everything', { batch: 1, time: 1, input: 1, hidden: 1 }],
  ['no rows', { ...small, batch: 0 }],
  ['two layers', { ...small, layers: 2 }],
  ['both directions', { ...small, bidirectional: true }],
  ['padding', { ...small, lengths: [5, 2, 0] }],
  ['both directions with padding', { ...small, bidirectional: true, layers: 2, lengths: [3, 5, 1] }],
  ['wide', { batch: 7, time: 4, input: 8, hidden: 67 }],
]
describe.each(['lstm', 'gru'] as const)('%s', (kind) => {
  it.each(cases)('%s: equals the loop in float64, forward and backward', async (_, s) => {
    const loops = (s.layers ?? 1) * (s.bidirectional ? 2 : 1)
    const want = await read(kind, s, true, { backend: oracle })
    const runs = []
    for (const backend of backends) {
      const forward = await read(kind, s, false, { backend })
      expect(ran(forward.report, kind)).toBe(loops)
      const got = await read(kind, s, true, { backend })
      expect([ran(got.report, kind), ran(got.report, `${kind}.vjp`), ran(got.report, 'scan')]).toEqual([
        loops,
        loops,
        0,
      ])
      got.values.forEach((g, i) => {
        const w = want.values[i] as Float64Array
        expect(g.length).toBe(w.length)
        for (let k = 0; k < w.length; k++)
          if (!(Math.abs((g[k] as number) - w[k]) <= 2e-5 * Math.max(1, Math.abs(w[k]))))
            throw new Error(`result ${i} at ${k}: ${g[k]} against ${w[k]}`)
      })
      for (const [i, f] of forward.values.entries()) expect(f).toEqual(got.values[i])
      runs.push(got.values)
    }
    expect(runs[0]).toEqual(runs[1])
  })
})

it('another cell stays a loop', async () => {
  const y = rnn({ input: 2, hidden: 3 })(random([2, 4, 2], 1)).y
  expect(ran(await realize([y], { backend: backends[0] }), 'scan')).toBe(1)
})
it.each([
  ['lstm', undefined],
  ['gru', undefined],
  ['lstm', [4, 2]],
  ['gru', [1, 4]],
] as const)(
  'a second gradient of %s, lengths %s, runs loops beside the fused ones',
  async (kind, lengths) => {
    const second = async (backend: Parameters<typeof realize>[1]) => {
      let seed = 0
      const model = makers[kind]({ input: 2, hidden: 5, init: (shape) => numbers(shape, 8 + seed++) })
      const x = random([2, 4, 2], 1)
      const given = lengths ? { lengths: tensor([...lengths], { dtype: 'i32' }) } : {}
      const { y } = model(x, given) as { y: Tensor }
      const [dx] = grad(sum(mul(y, y)), [x])
      const [d2x] = grad(sum(mul(dx, dx)), [x])
      const report = await realize([d2x], backend)
      return { report, values: (await d2x.data()) as ArrayLike<number> }
    }
    const [got, want] = [await second({ backend: backends[0] }), await second({ backend: oracle })]
    expect(ran(got.report, 'scan')).toBeGreaterThan(0)
    expect(ran(got.report, `${kind}.vjp`)).toBe(1)
    for (let i = 0; i < want.values.length; i++) expect(got.values[i]).toBeCloseTo(want.values[i], 5)
  },
)
