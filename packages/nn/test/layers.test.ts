import { parameters, reference, setBackend, type Tensor, transpose } from '@heed/tensor'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Case, check, readCases, withParameters } from '../../../scripts/layer-cases.js'
import { gatedMlp, gru, lstm, mlp, rnn } from '../src/index.js'

beforeAll(() => setBackend(reference({ precision: 'f64' })))

const cases = readCases(new URL('./fixtures/layers.json', import.meta.url))

/** PyTorch's weight_ih_l0_reverse → layers.0.backward.w_ih, transposed. */
function cellParameters(c: Case): Record<string, Tensor> {
  const out: Record<string, Tensor> = {}
  for (const [name, t] of Object.entries(c.inputs)) {
    const m = /^(weight|bias)_(ih|hh)_l(\d+)(_reverse)?$/.exec(name)
    if (!m) continue
    const path = `layers.${m[3]}.${m[4] ? 'backward' : 'forward'}.${m[1] === 'weight' ? 'w' : 'b'}_${m[2]}`
    out[path] = m[1] === 'weight' ? transpose(t) : t
  }
  return out
}
const make = { rnn, gru, lstm }

describe('recurrent layers against PyTorch', () => {
  for (const c of cases.filter((x) => x.op in make))
    it(c.id, async () => {
      const layer = withParameters(make[c.op as 'lstm'](c.args), cellParameters(c))
      expect(Object.keys(cellParameters(c)).sort()).toEqual([...parameters(layer).keys()].sort())
      const { x, h0, c0, lengths } = c.inputs
      await check(c, {
        ...layer(x, { ...(h0 ? { h0 } : {}), ...(c0 ? { c0 } : {}), ...(lengths ? { lengths } : {}) }),
      })
    })

  it('refuses states, lengths and options that do not fit', () => {
    const layer = gru({ input: 3, hidden: 4 })
    const x = cases[0].inputs.x
    expect(() => layer(x)).toThrow(/expected \[batch, time, 3\]/)
    expect(() => rnn({ input: 3, hidden: 4, nonlinearity: 'sigmoid' } as never)).toThrow(
      /'sigmoid' is unknown/,
    )
    expect(() => lstm({ input: 3, hidden: 4, projection: 2 } as never)).toThrow(/'projection' is unknown/)
    expect(() => layer(x, { c0: x } as never)).toThrow(/'c0' is unknown/)
  })
})

describe('MLPs against PyTorch', () => {
  for (const c of cases.filter((x) => x.op === 'mlp'))
    it(c.id, async () => {
      const { x, wIn, bIn, wOut, bOut } = c.inputs
      const [dMlp, dModel] = wIn.shape
      const layer = mlp({ dModel, dMlp, activation: c.args.approximate === 'tanh' ? 'geluTanh' : 'gelu' })
      withParameters(layer, { w_in: transpose(wIn), b_in: bIn, w_out: transpose(wOut), b_out: bOut })
      await check(c, { y: layer(x) })
    })
  for (const c of cases.filter((x) => x.op === 'swigluMlp'))
    it(c.id, async () => {
      const { x, wGate, wUp, wDown } = c.inputs
      const [dMlp, dModel] = wGate.shape
      const layer = gatedMlp({ dModel, dMlp })
      withParameters(layer, { w_gate: transpose(wGate), w_in: transpose(wUp), w_out: transpose(wDown) })
      await check(c, { y: layer(x) })
    })
})
