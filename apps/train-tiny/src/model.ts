/**
 * The built-in model as it is trained: GPT-2's formula (Radford et al. 2019) with one product for q, k and v, parameters
 * under their Hugging Face names, and the initial values of the recipe. It has no taps and no cache; to look inside,
 * what is exported is loaded with `@heed/models` like any other GPT-2.
 */
import { type Module, module } from '@heed/nn'
import {
  add,
  attention,
  crossEntropy,
  embedding,
  gelu,
  layerNorm,
  linear,
  matmul,
  reshape,
  sliceAxis,
  swapLast,
  type Tensor,
  tensor,
  transpose,
} from '@heed/tensor'
import { normals, rng } from './rng.js'

/** Parameters under their Hugging Face names, row-major. */
export type Values = Map<string, { shape: number[]; data: Float32Array }>

export interface Shape {
  layers: number
  heads: number
  dModel: number
  context: number
  vocabSize: number
}

/** The form that `@heed/models`, transformers and the report read. */
export const hfConfig = (s: Shape, endOfText: number): Record<string, unknown> => ({
  architectures: ['GPT2LMHeadModel'],
  model_type: 'gpt2',
  activation_function: 'gelu_new',
  n_layer: s.layers,
  n_head: s.heads,
  n_embd: s.dModel,
  n_inner: null,
  n_positions: s.context,
  n_ctx: s.context,
  vocab_size: s.vocabSize,
  layer_norm_epsilon: 1e-5,
  attn_pdrop: 0,
  embd_pdrop: 0,
  resid_pdrop: 0,
  tie_word_embeddings: true,
  bos_token_id: endOfText,
  eos_token_id: endOfText,
})

type Affine = { weight: Tensor; bias: Tensor }
interface Block {
  ln_1: Affine
  attn: { c_attn: Affine; c_proj: Affine }
  ln_2: Affine
  mlp: { c_fc: Affine; c_proj: Affine }
}
interface Parts {
  wte: { weight: Tensor }
  wpe: { weight: Tensor }
  h: Block[]
  ln_f: Affine
}
export type TinyModel = Module<Parts, [ids: Tensor]>

export interface InitOptions {
  seed: number
  /** Standard deviation of token embeddings, amplitude of positions, standard deviation of the matrices. */
  embed: number
  position: number
  matrix: number
  /** Heads of the first layer that start by looking one token back, and how sharply. */
  shiftedHeads: number
  shiftGain: number
}

/**
 * Initial values that a small model leaves quickly ("mimetic initialisation", Trockman and Kolter 2023):
 * - positions start as sinusoids with wavelengths from 2 tokens to 60, so that "one back" is a rotation;
 * - in every head keys start equal to queries and the output as the transpose of the values: a head starts by looking
 *   at what resembles its token and by passing it on unchanged;
 * - the queries of `shiftedHeads` heads of the first layer are turned back by one position.
 * Everything is learned from there; nothing is frozen.
 */
export function initialValues(s: Shape, o: InitOptions): Values {
  const r = rng(o.seed)
  const normal = (n: number, std: number): Float32Array => normals(r, n, std)
  const values: Values = new Map()
  const put = (name: string, shape: number[], data: Float32Array): void =>
    void values.set(name, { shape, data })
  const ones = (name: string, n: number): void => put(name, [n], new Float32Array(n).fill(1))
  const zeros = (name: string, n: number): void => put(name, [n], new Float32Array(n))
  const d = s.dModel
  const half = d / 2
  const frequency = Array.from({ length: half }, (_, i) => 3 * 30 ** (-i / half))

  put('wte.weight', [s.vocabSize, d], normal(s.vocabSize * d, o.embed))
  const wpe = new Float32Array(s.context * d)
  for (let p = 0; p < s.context; p++)
    for (let i = 0; i < half; i++) {
      const angle = p * (frequency[i] as number)
      wpe[p * d + i] = o.position * Math.sin(angle)
      wpe[p * d + half + i] = o.position * Math.cos(angle)
    }
  put('wpe.weight', [s.context, d], wpe)

  for (let layer = 0; layer < s.layers; layer++) {
    const at = `h.${layer}`
    const key = normal(d * d, o.matrix) // [in, out]
    const value = normal(d * d, o.matrix)
    const query = key.slice()
    if (layer === 0) {
      const width = (d / s.heads) * o.shiftedHeads
      for (let column = 0; column < width; column++)
        for (let i = 0; i < half; i++) {
          // s(p − 1) = R s(p) for the sinusoids s, so q = Rᵀ-rotated rows of the key matrix
          const cos = Math.cos(frequency[i] as number)
          const sin = Math.sin(frequency[i] as number)
          const a = key[i * d + column] as number
          const b = key[(half + i) * d + column] as number
          query[i * d + column] = o.shiftGain * (a * cos + b * sin)
          query[(half + i) * d + column] = o.shiftGain * (b * cos - a * sin)
        }
    }
    const joined = new Float32Array(d * 3 * d)
    const out = new Float32Array(d * d)
    for (let i = 0; i < d; i++)
      for (let j = 0; j < d; j++) {
        joined[i * 3 * d + j] = query[i * d + j] as number
        joined[i * 3 * d + d + j] = key[i * d + j] as number
        joined[i * 3 * d + 2 * d + j] = value[i * d + j] as number
        out[j * d + i] = value[i * d + j] as number
      }
    ones(`${at}.ln_1.weight`, d)
    zeros(`${at}.ln_1.bias`, d)
    put(`${at}.attn.c_attn.weight`, [d, 3 * d], joined)
    zeros(`${at}.attn.c_attn.bias`, 3 * d)
    put(`${at}.attn.c_proj.weight`, [d, d], out)
    zeros(`${at}.attn.c_proj.bias`, d)
    ones(`${at}.ln_2.weight`, d)
    zeros(`${at}.ln_2.bias`, d)
    put(`${at}.mlp.c_fc.weight`, [d, 4 * d], normal(4 * d * d, o.matrix))
    zeros(`${at}.mlp.c_fc.bias`, 4 * d)
    put(`${at}.mlp.c_proj.weight`, [4 * d, d], normal(4 * d * d, o.matrix / Math.sqrt(2 * s.layers)))
    zeros(`${at}.mlp.c_proj.bias`, d)
  }
  ones('ln_f.weight', d)
  zeros('ln_f.bias', d)
  return values
}

/**
 * New attention weights for one layer, turned round: keys equal queries again, but the output is minus 0.9 times the transpose
 * of the values, so that a head starts by taking away what it looks at. Who gives cannot be who receives: heads that
 * start by copying hardly ever learn to say so.
 */
export function turnedAttention(s: Shape, layer: number, seed: number): Values {
  const fresh = initialValues(
    { ...s, layers: 1, vocabSize: 1, context: 1 },
    { seed, embed: 0, position: 0, matrix: TURNED_MATRIX, shiftedHeads: 0, shiftGain: 1 },
  )
  const values: Values = new Map()
  for (const [name, { shape, data }] of fresh) {
    if (!name.startsWith('h.0.attn.')) continue
    values.set(name.replace('h.0.', `h.${layer}.`), {
      shape,
      data: name.endsWith('c_proj.weight') ? data.map((x) => -0.9 * x) : data,
    })
  }
  return values
}

const TURNED_MATRIX = 0.06

/** The module over given values: ids [batch, position] → logits [batch, position, vocab]. */
export function tinyModel(s: Shape, values: Values): TinyModel {
  const get = (name: string): Tensor => {
    const v = values.get(name)
    if (!v) throw new Error(`tinyModel: no value for ${name}`)
    return tensor(v.data, { shape: v.shape })
  }
  const affine = (name: string): Affine => ({ weight: get(`${name}.weight`), bias: get(`${name}.bias`) })
  const parts: Parts = {
    wte: { weight: get('wte.weight') },
    wpe: { weight: get('wpe.weight') },
    h: Array.from({ length: s.layers }, (_, i) => ({
      ln_1: affine(`h.${i}.ln_1`),
      attn: { c_attn: affine(`h.${i}.attn.c_attn`), c_proj: affine(`h.${i}.attn.c_proj`) },
      ln_2: affine(`h.${i}.ln_2`),
      mlp: { c_fc: affine(`h.${i}.mlp.c_fc`), c_proj: affine(`h.${i}.mlp.c_proj`) },
    })),
    ln_f: affine('ln_f'),
  }
  const dHead = s.dModel / s.heads
  return module(parts, (m, ids: Tensor) => {
    const [batch, position] = ids.shape as [number, number]
    const heads = (x: Tensor, part: number): Tensor =>
      transpose(
        reshape(sliceAxis(x, 2, part * s.dModel, (part + 1) * s.dModel), [batch, position, s.heads, dHead]),
        [0, 2, 1, 3],
      ) // [batch, head, position, dHead]
    let x = add(embedding(m.wte.weight, ids), sliceAxis(m.wpe.weight, 0, 0, position))
    for (const block of m.h) {
      const qkv = linear(
        layerNorm(x, block.ln_1.weight, block.ln_1.bias),
        block.attn.c_attn.weight,
        block.attn.c_attn.bias,
      )
      const { z } = attention(heads(qkv, 0), heads(qkv, 1), heads(qkv, 2), { causal: true })
      const joined = reshape(transpose(z, [0, 2, 1, 3]), [batch, position, s.dModel])
      x = add(x, linear(joined, block.attn.c_proj.weight, block.attn.c_proj.bias))
      const wide = linear(
        layerNorm(x, block.ln_2.weight, block.ln_2.bias),
        block.mlp.c_fc.weight,
        block.mlp.c_fc.bias,
      )
      x = add(x, linear(gelu(wide, { approximate: 'tanh' }), block.mlp.c_proj.weight, block.mlp.c_proj.bias))
    }
    return matmul(layerNorm(x, m.ln_f.weight, m.ln_f.bias), swapLast(m.wte.weight)) // [batch, position, vocab]
  }) as TinyModel
}

/** Mean cross-entropy of logits [batch, position, vocab] against ids [batch, position]. */
export function languageLoss(logits: Tensor, targets: Tensor): Tensor {
  const vocab = logits.shape[logits.shape.length - 1] as number
  return crossEntropy(reshape(logits, [targets.size, vocab]), reshape(targets, [targets.size]))
}
