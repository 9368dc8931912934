// Activations against their formulas in plain JavaScript, and where the formulas would overflow.
import { describe, expect, it } from 'vitest'
import { tensor } from '../create.js'
import type { Tensor } from '../graph.js'
import { realize } from '../realize.js'
import { erfDouble } from '../reference/erf.js'
import { reference } from '../reference/index.js'
import {
  type ActivationName,
  activation,
  elu,
  gelu,
  glu,
  leakyRelu,
  logSigmoid,
  softplus,
} from './activation.js'

const backend = reference({ precision: 'f64' })
const points = [-6, -2.5, -1, -0.3, 0, 0.2, 1, 2.7, 5]
const at = async (f: (x: Tensor) => Tensor, values: readonly number[] = points): Promise<number[]> => {
  const y = f(tensor(Float64Array.from(values)))
  await realize([y], { backend })
  return Array.from((await y.data()) as Float64Array)
}
const logistic = (x: number): number => 1 / (1 + Math.exp(-x))
const formulas: Record<ActivationName, (x: number) => number> = {
  relu: (x) => Math.max(x, 0),
  gelu: (x) => 0.5 * x * (1 + erfDouble(x / Math.SQRT2)),
  geluTanh: (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  quickGelu: (x) => x * logistic(1.702 * x),
  silu: (x) => x * logistic(x),
  sigmoid: logistic,
  tanh: Math.tanh,
  reluSquared: (x) => Math.max(x, 0) ** 2,
  mish: (x) => x * Math.tanh(Math.log1p(Math.exp(x))),
  hardSwish: (x) => (x * Math.min(Math.max(x + 3, 0), 6)) / 6,
  identity: (x) => x,
}

describe('activations', () => {
  it.each(Object.entries(formulas))('%s is its formula', async (name, formula) => {
    const got = await at(activation(name as ActivationName))
    got.forEach((v, i) => expect(v).toBeCloseTo(formula(points[i]), 13))
  })
  it('with a parameter', async () => {
    const near = (got: number[], formula: (x: number) => number): void =>
      got.forEach((v, i) => expect(v).toBeCloseTo(formula(points[i]), 13))
    near(await at((x) => elu(x, { alpha: 2 })), (x) => (x > 0 ? x : 2 * (Math.exp(x) - 1)))
    near(await at((x) => leakyRelu(x, { slope: 0.2 })), (x) => (x > 0 ? x : 0.2 * x))
    near(await at((x) => softplus(x, { beta: 3 })), (x) => Math.log1p(Math.exp(3 * x)) / 3)
    near(await at(logSigmoid), (x) => -Math.log1p(Math.exp(-x)))
    near(await at((x) => gelu(x)), formulas.gelu)
    near(await at((x) => glu(x, x, { act: 'relu' })), (x) => Math.max(x, 0) * x)
  })
  it('stay finite far out', async () => {
    const far = [-1e4, -800, 800, 1e4]
    expect(await at(activation('sigmoid'), far)).toEqual([0, 0, 1, 1])
    expect(await at((x) => softplus(x), far)).toEqual([0, 0, 800, 1e4])
    expect(await at(logSigmoid, far)).toEqual([-1e4, -800, -0, -0])
    expect(await at(activation('mish'), far)).toEqual([-0, -0, 800, 1e4])
    expect(await at((x) => elu(x), far)).toEqual([-1, -1, 800, 1e4])
  })
})
