/** The plain layers: linear, embedding, norms, dropout. Each is a module of parameters around one op of the tensor. */
import {
  checkOptions,
  currentPath,
  dropout as dropoutOp,
  embedding as embeddingOp,
  foldIn,
  layerNorm as layerNormOp,
  linear as linearOp,
  rmsNorm as rmsNormOp,
  type Tensor,
  tap,
} from '@heed/tensor'
import { type Module, module } from './module.js'
import { checkSizes } from './options.js'
import { type Init, normal, onesInit, param, xavierUniform, zerosInit } from './param.js'

export interface LinearOptions {
  in: number
  out: number
  /** Default true. */
  bias?: boolean
  /** Of the weight; the bias begins at zero. Default `xavierUniform()`. */
  init?: Init
  key?: Tensor
}
/** x w + b on the last axis. Parameters `w` [in, out] (PyTorch stores the transpose), `b` [out]. */
export function linear(o: LinearOptions): Module<{ w: Tensor; b?: Tensor }> {
  checkOptions('linear', o, ['in', 'out', 'bias', 'init', 'key'])
  checkSizes('linear', { in: o.in, out: o.out })
  const parts = {
    w: param([o.in, o.out], o.init ?? xavierUniform(), o.key),
    b: (o.bias ?? true) ? param([o.out], zerosInit, o.key) : undefined,
  }
  return module(parts, (m, x) => linearOp(x, m.w, m.b)) as Module<{ w: Tensor; b?: Tensor }>
}

export interface EmbeddingOptions {
  /** Rows of the table. */
  vocabulary: number
  dModel: number
  /** Default `normal(0.02)`. */
  init?: Init
  key?: Tensor
}
/** Rows of `w` [vocabulary, dModel] by i32 ids [..]: [.., dModel]. */
export function embedding(o: EmbeddingOptions): Module<{ w: Tensor }, [ids: Tensor]> {
  checkOptions('embedding', o, ['vocabulary', 'dModel', 'init', 'key'])
  checkSizes('embedding', { vocabulary: o.vocabulary, dModel: o.dModel })
  return module({ w: param([o.vocabulary, o.dModel], o.init ?? normal(0.02), o.key) }, (m, ids: Tensor) =>
    embeddingOp(m.w, ids),
  )
}

export interface NormOptions {
  dModel: number
  eps?: number
  key?: Tensor
}
/**
 * (x − mean)/√(var + eps)·w + b over the last axis (Ba et al. 2016), eps 1e-5. Parameters `w`, `b` [dModel]; `bias:
 * false` leaves `b` out. Taps its output under its own key.
 */
export function layerNorm(o: NormOptions & { bias?: boolean }): Module<{ w: Tensor; b?: Tensor }> {
  checkOptions('layerNorm', o, ['dModel', 'eps', 'bias', 'key'])
  checkSizes('layerNorm', { dModel: o.dModel })
  const parts = {
    w: param([o.dModel], onesInit, o.key),
    b: (o.bias ?? true) ? param([o.dModel], zerosInit, o.key) : undefined,
  }
  const eps = o.eps ?? 1e-5
  return module(parts, (m, x) => tapHere(layerNormOp(x, m.w, m.b, { eps }))) as Module<{
    w: Tensor
    b?: Tensor
  }>
}
/**
 * x/√(mean x² + eps)·w over the last axis (Zhang & Sennrich 2019), eps 1e-6. Parameter `w` [dModel]; `unitOffset`: times
 * 1 + w, as Gemma has it. Taps its output under its own key.
 */
export function rmsNorm(o: NormOptions & { unitOffset?: boolean }): Module<{ w: Tensor }> {
  checkOptions('rmsNorm', o, ['dModel', 'eps', 'unitOffset', 'key'])
  checkSizes('rmsNorm', { dModel: o.dModel })
  const { eps = 1e-6, unitOffset = false } = o
  const w = param([o.dModel], unitOffset ? zerosInit : onesInit, o.key)
  return module({ w }, (m, x) => tapHere(rmsNormOp(x, m.w, { eps, unitOffset })))
}

/** Zeros with probability p and divides the rest by 1 − p, only when `ctx.key` is given; folds the key with its path. */
export function dropout(o: { p: number }): Module<object> {
  checkOptions('dropout', o, ['p'])
  return module({}, (_, x, ctx) => (ctx?.key ? dropoutOp(x, o.p, foldIn(ctx.key, currentPath())) : x))
}

/** Taps a value under the key of the module that made it; called outside any model it has no name. */
function tapHere(x: Tensor): Tensor {
  return currentPath() === '' ? x : tap('', x)
}
