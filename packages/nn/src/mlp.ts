/** Feed-forward layers of transformer blocks. They tap `mlp_pre` and `mlp_post`; the block taps `mlp_out`. */
import { type ActivationName, activation, checkOptions, linear, mul, type Tensor, tap } from '@heed/tensor'
import { type Module, module } from './module.js'
import { checkSizes } from './options.js'
import { type Init, param, xavierUniform, zerosInit } from './param.js'

export interface MlpOptions {
  dModel: number
  /** Width inside; default 4·dModel. */
  dMlp?: number
  /** By name, or a function. Default 'gelu' (exact) for `mlp`, 'silu' for `gatedMlp`. */
  activation?: ActivationName | ((x: Tensor) => Tensor)
  /** Default true for `mlp`, false for `gatedMlp`. */
  bias?: boolean
  init?: Init
  key?: Tensor
}
const known = ['dModel', 'dMlp', 'activation', 'bias', 'init', 'key']
const functionOf = (a: NonNullable<MlpOptions['activation']>): ((x: Tensor) => Tensor) =>
  typeof a === 'function' ? a : activation(a)

export type Mlp = Module<{ w_in: Tensor; b_in?: Tensor; w_out: Tensor; b_out?: Tensor }>
/** act(x w_in + b_in) w_out + b_out. */
export function mlp(o: MlpOptions): Mlp {
  checkOptions('mlp', o, known)
  const { dModel, dMlp = 4 * dModel, bias = true, init = xavierUniform(), key } = o
  checkSizes('mlp', { dModel, dMlp })
  const act = functionOf(o.activation ?? 'gelu')
  const parts = {
    w_in: param([dModel, dMlp], init, key),
    b_in: bias ? param([dMlp], zerosInit, key) : undefined,
    w_out: param([dMlp, dModel], init, key),
    b_out: bias ? param([dModel], zerosInit, key) : undefined,
  }
  return module(parts, (m, x) => {
    const pre = tap('mlp_pre', linear(x, m.w_in, m.b_in)) // [.., dMlp]
    const post = tap('mlp_post', act(pre))
    return linear(post, m.w_out, m.b_out) // [.., dModel]
  }) as Mlp
}

export type GatedMlp = Module<{
  w_gate: Tensor
  b_gate?: Tensor
  w_in: Tensor
  b_in?: Tensor
  w_out: Tensor
  b_out?: Tensor
}>
/**
 * (act(x w_gate)·(x w_in)) w_out (Shazeer 2020): silu is Llama's SwiGLU, geluTanh Gemma's GeGLU. `mlp_pre` is the gate
 * before its activation, `mlp_post` the product.
 */
export function gatedMlp(o: MlpOptions): GatedMlp {
  checkOptions('gatedMlp', o, known)
  const { dModel, dMlp = 4 * dModel, bias = false, init = xavierUniform(), key } = o
  checkSizes('gatedMlp', { dModel, dMlp })
  const act = functionOf(o.activation ?? 'silu')
  const b = (n: number): Tensor | undefined => (bias ? param([n], zerosInit, key) : undefined)
  const parts = {
    w_gate: param([dModel, dMlp], init, key),
    b_gate: b(dMlp),
    w_in: param([dModel, dMlp], init, key),
    b_in: b(dMlp),
    w_out: param([dMlp, dModel], init, key),
    b_out: b(dModel),
  }
  return module(parts, (m, x) => {
    const pre = tap('mlp_pre', linear(x, m.w_gate, m.b_gate)) // [.., dMlp]
    const post = tap('mlp_post', mul(act(pre), linear(x, m.w_in, m.b_in)))
    return linear(post, m.w_out, m.b_out) // [.., dModel]
  }) as GatedMlp
}
