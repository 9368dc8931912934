// Backends are compared with the float64 reference, which shares the gradient rules of the ops: here the rules
// themselves meet finite differences, case by case.
import { type Backend, realize, reference } from '@heed/tensor'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { conformanceCases } from './cases.js'

/** Inputs that stand on a step, a kink or a pole, where a difference is no derivative. */
const onAnEdge = [
  'maximum/ties halve the gradient',
  'max/ties share',
  'sort/ties keep their order',
  'sort/descending ties keep their order',
  'floor/halves',
  'round/ties to even',
  'relu/far out',
  'attention/log-sum-exp of masked rows',
  'max/empty axis',
  'logSumExp/empty',
  // activations are rounded, which gradients pass over
  ...['int8', 'q4'].flatMap((format) =>
    ['rows', 'a vector', 'batch', "a table's rows"].map((name) => `quantizedLinear/${format}, ${name}`),
  ),
]

describe('gradients equal finite differences', () => {
  let backend: Backend
  beforeAll(() => {
    backend = reference({ precision: 'f64' })
  })
  afterAll(() => backend.dispose())
  const cases = conformanceCases().filter((c) => c.hasGradient && !c.name.endsWith(')'))
  const smooth = cases.filter((c) => !onAnEdge.includes(c.name))

  it.each(smooth)('$name', async (one) => {
    const h = 1e-6
    const { along, plus, minus } = one.slope(h)
    await realize([along, plus, minus], { backend })
    const [got, up, down] = [await along.item(), await plus.item(), await minus.item()]
    const want = (up - down) / (2 * h)
    // the difference itself loses about ε·|loss|/h, and h²·f‴
    const allowed = 2e-7 * Math.max(1, Math.abs(want)) + 1e-9 * Math.abs(up) + 1e-6 * Math.abs(want)
    expect(Math.abs(got - want), `${got} instead of ${want}`).toBeLessThan(allowed)
  })
  it('leaves out only what it names', () => {
    expect(cases.length - smooth.length).toBe(onAnEdge.length)
  })
})
