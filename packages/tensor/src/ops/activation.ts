/** Activations: composites over elementwise primitives; a backend may claim any of them whole. */
import { ShapeError, ValueError } from '../errors.js'
import type { Spec, Tensor } from '../graph.js'
import { composite, like } from './define.js'
import {
  abs,
  add,
  clamp,
  div,
  erf,
  exp,
  expm1,
  less,
  log1p,
  maximum,
  mul,
  neg,
  sub,
  tanh,
  where,
} from './elementwise.js'

const pointwise = (name: string, body: (x: Tensor, attrs: Readonly<Record<string, unknown>>) => Tensor) => {
  const make = composite(name, {
    infer: ([x]: readonly Spec[]) => like(x),
    body: ([x], attrs) => [body(x, attrs)],
  })
  return (x: Tensor, attrs?: Readonly<Record<string, unknown>>): Tensor => make([x], attrs)[0]
}

export type GeluForm = 'none' | 'tanh' | 'quick'
const geluOf = pointwise('gelu', (x, { approximate }) => {
  if (approximate === 'quick') return mul(x, sigmoid(mul(x, 1.702)))
  if (approximate === 'tanh') {
    const inner = mul(Math.sqrt(2 / Math.PI), add(x, mul(0.044715, mul(x, mul(x, x)))))
    return mul(mul(0.5, x), add(1, tanh(inner)))
  }
  return mul(mul(0.5, x), add(1, erf(mul(x, Math.SQRT1_2))))
})
/**
 * x·Φ(x) (Hendrycks & Gimpel 2016). `'none'` is exact (erf), `'tanh'` GPT-2's and Gemma's form, `'quick'` CLIP's
 * x·σ(1.702 x).
 */
export function gelu(x: Tensor, options: { approximate?: GeluForm } = {}): Tensor {
  const approximate = options.approximate ?? 'none'
  if (!['none', 'tanh', 'quick'].includes(approximate))
    throw new ValueError(`gelu: approximate '${approximate}' is unknown; use 'none', 'tanh' or 'quick'`)
  return geluOf(x, { approximate })
}

/** max(x, 0); gradient 0 at 0 */
export const relu: (x: Tensor) => Tensor = pointwise('relu', (x) =>
  where(less(0, x), x, where(less(x, 0), 0, mul(x, 0))),
)
/** relu(x)² */
export const reluSquared = (x: Tensor): Tensor => {
  const y = relu(x)
  return mul(y, y)
}
/** 1/(1 + e^−x), without overflow */
export const sigmoid: (x: Tensor) => Tensor = pointwise('sigmoid', (x) => mul(0.5, add(1, tanh(mul(0.5, x)))))
/** x·σ(x), also called swish */
export const silu: (x: Tensor) => Tensor = pointwise('silu', (x) => mul(x, sigmoid(x)))
/** log(1 + e^(βx))/β, exact for every x */
export function softplus(x: Tensor, options: { beta?: number } = {}): Tensor {
  const beta = options.beta ?? 1
  const t = beta === 1 ? x : mul(x, beta)
  // max(t, 0) written so that its gradient at 0 is ½, the derivative of softplus there
  const y = add(maximum(t, 0), log1p(exp(neg(abs(t)))))
  return beta === 1 ? y : div(y, beta)
}
/** log σ(x), stable */
export const logSigmoid = (x: Tensor): Tensor => neg(softplus(neg(x)))
/** x·tanh(softplus(x)) (Misra 2019) */
export const mish = (x: Tensor): Tensor => mul(x, tanh(softplus(x)))
/** x·clamp(x + 3, 0, 6)/6 */
export const hardSwish = (x: Tensor): Tensor => div(mul(x, clamp(add(x, 3), { lo: 0, hi: 6 })), 6)
/** x > 0 ? x : α(eˣ − 1) */
export const elu = (x: Tensor, options: { alpha?: number } = {}): Tensor =>
  where(less(0, x), x, mul(options.alpha ?? 1, expm1(where(less(0, x), 0, x))))
/** x > 0 ? x : slope·x */
export const leakyRelu = (x: Tensor, options: { slope?: number } = {}): Tensor =>
  where(less(0, x), x, mul(options.slope ?? 0.01, x))

export type GateName = 'silu' | 'gelu' | 'geluTanh' | 'sigmoid' | 'relu'
/** act(gate)·up (Shazeer 2020): silu is SwiGLU, gelu GeGLU, sigmoid GLU, relu ReGLU. */
export function glu(gate: Tensor, up: Tensor, options: { act?: GateName } = {}): Tensor {
  return mul(activation(options.act ?? 'silu')(gate), up)
}

const byName: Record<string, (x: Tensor) => Tensor> = {
  relu,
  gelu,
  geluTanh: (x) => gelu(x, { approximate: 'tanh' }),
  quickGelu: (x) => gelu(x, { approximate: 'quick' }),
  silu,
  sigmoid,
  tanh,
  reluSquared,
  mish,
  hardSwish,
  identity: (x) => x,
}
export type ActivationName =
  | 'relu'
  | 'gelu'
  | 'geluTanh'
  | 'quickGelu'
  | 'silu'
  | 'sigmoid'
  | 'tanh'
  | 'reluSquared'
  | 'mish'
  | 'hardSwish'
  | 'identity'
/** The activation of that name. */
export function activation(name: ActivationName): (x: Tensor) => Tensor {
  const f = byName[name]
  if (!f)
    throw new ValueError(`activation '${name}' is unknown; use one of ${Object.keys(byName).join(', ')}`)
  return f
}

const dropoutOf = composite('dropout', {
  infer: ([x, keep]) => {
    if (keep.dtype !== 'bool') throw new ShapeError(`the keep mask is ${keep.dtype}, expected bool`)
    return like(x)
  },
  body: ([x, keep], { p }) => [where(keep, (p as number) === 1 ? mul(x, 0) : div(x, sub(1, p as number)), 0)],
})
/** x where `keep`, divided by 1 − p; zeros elsewhere. Random masks: `dropout` of `@heed/tensor`'s random functions. */
export function dropoutMask(x: Tensor, keep: Tensor, options: { p: number }): Tensor {
  return dropoutOf([x, keep], { p: options.p })[0]
}
