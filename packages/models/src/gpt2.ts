/**
 * GPT-2 (Radford et al. 2019): a pre-norm decoder with learned positions. All that this package knows of the family: its
 * config.json, its network, the names in its weight files.
 */
import { attention, causal, learnedPositions, preNormBlock } from '@heed/attention'
import { dropout, embedding, layerNorm, mlp, module, normal, param } from '@heed/nn'
import {
  type ActivationName,
  add,
  type Context,
  type ModelInput,
  matmul,
  type Tensor,
  tap,
} from '@heed/tensor'
import type { Described, Family, ModelConfig, Network } from './family.js'
import { activationKey, type HfConfig } from './hf-config.js'
import type { WeightRule, WeightTable } from './weight-rules.js'

export interface Gpt2Config extends ModelConfig {
  readonly family: 'gpt2'
  readonly activation: ActivationName
  readonly eps: number
  /** Unembedding = embedding, one parameter. */
  readonly tied: boolean
  /** false leaves out the factor 1/√dHead. */
  readonly scaleScores: boolean
  /** Scores of layer i are also divided by i + 1. */
  readonly scaleByLayer: boolean
  /** Of embeddings and of what blocks write; acts only with a key. */
  readonly embedDropout: number
  readonly dropout: number
}

function readConfig(hf: HfConfig): Gpt2Config {
  hf.refuse('add_cross_attention', 'a GPT-2 that reads an encoder is not built')
  hf.refuse('pruned_heads', 'heads are not pruned')
  const dModel = hf.size(['n_embd', 'hidden_size'], 768)
  const nHead = hf.size(['n_head', 'num_attention_heads'], 12)
  if (dModel % nHead !== 0) hf.fail(`n_embd ${dModel} does not divide into n_head ${nHead} heads`)
  return {
    family: 'gpt2',
    nLayer: hf.size(['n_layer', 'num_hidden_layers'], 12),
    nHead,
    dModel,
    dHead: dModel / nHead,
    dMlp: hf.size(['n_inner'], 4 * dModel),
    // n_ctx was the size of the causal mask: old files have it beside n_positions, some instead of it
    nCtx: hf.size(['n_positions', 'max_position_embeddings'], hf.size(['n_ctx'], 1024)),
    nVocab: hf.size(['vocab_size']),
    activation: hf.activation('activation_function', 'gelu_new'),
    eps: hf.number(['layer_norm_epsilon'], 1e-5),
    tied: hf.flag('tie_word_embeddings', true),
    scaleScores: hf.flag('scale_attn_weights', true),
    scaleByLayer: hf.flag('scale_attn_by_inverse_layer_idx', false),
    embedDropout: hf.number(['embd_pdrop'], 0.1),
    dropout: hf.number(['resid_pdrop'], 0.1),
  }
}

function build(c: Gpt2Config, key?: Tensor): Network {
  const { nLayer, dModel, nHead, nVocab, nCtx, dMlp, activation, eps } = c
  const keyed = key ? { key } : {}
  const init = normal(0.02)
  const norm = () => layerNorm({ dModel, eps, ...keyed })
  const block = (layer: number) =>
    preNormBlock({
      norm,
      attn: attention({
        dModel,
        nHead,
        mask: causal(),
        scale: (c.scaleScores ? 1 / Math.sqrt(c.dHead) : 1) / (c.scaleByLayer ? layer + 1 : 1),
        init,
        ...keyed,
      }),
      mlp: mlp({ dModel, dMlp, activation, init, ...keyed }),
      dropout: c.dropout,
    })
  const parts = {
    embed: embedding({ vocabulary: nVocab, dModel, init, ...keyed }),
    pos_embed: learnedPositions({ nCtx, dModel, init, ...keyed }),
    embed_drop: dropout({ p: c.embedDropout }),
    blocks: Array.from({ length: nLayer }, (_, i) => block(i)),
    ln_final: norm(),
    unembed: c.tied ? undefined : { w: param([dModel, nVocab], init, key) },
  }
  return module(parts, (m, input: ModelInput, given?: Context): Tensor => {
    const { ids, typeIds: _, ...own } = input
    const ctx = { ...own, ...given }
    let x = m.embed_drop(add(tap('embed', m.embed(ids)), tap('pos_embed', m.pos_embed(ids, ctx))), ctx) // [batch, position, dModel]
    for (const b of m.blocks) x = b(x, ctx)
    x = m.ln_final(x)
    const logits = m.unembed ? matmul(x, m.unembed.w) : matmul(x, m.embed.w, { transposeY: true })
    return tap('logits', logits) // [batch, position, vocabulary]
  })
}

function weights(c: Gpt2Config): WeightTable {
  const { dModel: d, dMlp } = c
  const rules: WeightRule[] = []
  const add = (file: string, shape: readonly number[], ...parameters: string[]): void => {
    rules.push({ file, shape, parameters })
  }
  add('transformer.wte.weight', [c.nVocab, d], 'embed.w')
  add('transformer.wpe.weight', [c.nCtx, d], 'pos_embed.w')
  for (let i = 0; i < c.nLayer; i++) {
    const [h, b] = [`transformer.h.${i}`, `blocks.${i}`]
    for (const n of [1, 2]) {
      add(`${h}.ln_${n}.weight`, [d], `${b}.ln${n}.w`)
      add(`${h}.ln_${n}.bias`, [d], `${b}.ln${n}.b`)
    }
    // matrices are stored [in, out] here, q, k and v side by side
    add(`${h}.attn.c_attn.weight`, [d, 3 * d], `${b}.attn.w_q`, `${b}.attn.w_k`, `${b}.attn.w_v`)
    add(`${h}.attn.c_attn.bias`, [3 * d], `${b}.attn.b_q`, `${b}.attn.b_k`, `${b}.attn.b_v`)
    add(`${h}.attn.c_proj.weight`, [d, d], `${b}.attn.w_o`)
    add(`${h}.attn.c_proj.bias`, [d], `${b}.attn.b_o`)
    add(`${h}.mlp.c_fc.weight`, [d, dMlp], `${b}.mlp.w_in`)
    add(`${h}.mlp.c_fc.bias`, [dMlp], `${b}.mlp.b_in`)
    add(`${h}.mlp.c_proj.weight`, [dMlp, d], `${b}.mlp.w_out`)
    add(`${h}.mlp.c_proj.bias`, [d], `${b}.mlp.b_out`)
  }
  add('transformer.ln_f.weight', [d], 'ln_final.w')
  add('transformer.ln_f.bias', [d], 'ln_final.b')
  if (!c.tied)
    rules.push({ file: 'lm_head.weight', shape: [c.nVocab, d], parameters: ['unembed.w'], transposed: true })
  return {
    rules,
    spellings: (file) => [file.replace(/^transformer\./, '')],
    harmless: /(^|\.)attn\.(bias|masked_bias)$/,
    copies: c.tied ? { 'lm_head.weight': 'transformer.wte.weight' } : {},
  }
}

const ARCHITECTURES = ['GPT2LMHeadModel', 'GPT2Model']

export const gpt2: Family = {
  modelType: 'gpt2',
  fromHf(hf): Described {
    const [architecture] = hf.architectures()
    if (architecture !== undefined && !ARCHITECTURES.includes(architecture))
      hf.fail(`architecture ${architecture} is not supported; supported are ${ARCHITECTURES.join(', ')}`)
    const config = readConfig(hf)
    return {
      config,
      kind: 'decoder',
      head: 'next-token',
      labels: [],
      build: (key) => build(config, key),
      weights: weights(config),
      notes:
        architecture === 'GPT2Model'
          ? ['GPT2Model has no head of its own: logits come from the embedding']
          : [],
      bosId: hf.id('bos_token_id'),
      eosId: hf.id('eos_token_id'),
      padId: hf.id('pad_token_id'),
    }
  },
  toHf(config, ids) {
    const c = config as Gpt2Config
    return {
      architectures: ['GPT2LMHeadModel'],
      model_type: 'gpt2',
      n_layer: c.nLayer,
      n_head: c.nHead,
      n_embd: c.dModel,
      n_inner: c.dMlp ?? null,
      n_positions: c.nCtx,
      vocab_size: c.nVocab,
      activation_function: activationKey(c.activation ?? 'geluTanh'),
      layer_norm_epsilon: c.eps ?? 1e-5,
      tie_word_embeddings: c.tied ?? true,
      scale_attn_weights: c.scaleScores ?? true,
      scale_attn_by_inverse_layer_idx: c.scaleByLayer ?? false,
      embd_pdrop: c.embedDropout ?? 0,
      resid_pdrop: c.dropout ?? 0,
      attn_pdrop: 0,
      bos_token_id: ids.bosId,
      eos_token_id: ids.eosId,
      pad_token_id: ids.padId,
      dtype: 'float32',
    }
  },
}
