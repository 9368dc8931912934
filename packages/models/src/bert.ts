/**
 * BERT (Devlin et al. 2019): a post-norm encoder with learned positions and token types, and the heads that stand on it.
 * All that this package knows of the family: its config.json, its network, the names in its weight files.
 */
import { attention, learnedPositions, postNormBlock } from '@heed/attention'
import { dropout, embedding, layerNorm, linear, mlp, module, normal, param, zerosInit } from '@heed/nn'
import {
  type ActivationName,
  activation as activationOf,
  add,
  type Context,
  type ModelInput,
  matmul,
  reshape,
  slice,
  stack,
  type Tensor,
  tanh,
  tap,
  zeros,
} from '@heed/tensor'
import type { Described, Family, HeadKind, ModelConfig, Network } from './family.js'
import { activationKey, type HfConfig } from './hf-config.js'
import type { WeightRule, WeightTable } from './weight-rules.js'

export interface BertConfig extends ModelConfig {
  readonly family: 'bert'
  readonly head: HeadKind
  /** Token types. */
  readonly nType: number
  /** Classes of the heads that have some. */
  readonly nLabel: number
  readonly activation: ActivationName
  readonly eps: number
  /** The masked-token head's unembedding = embedding, one parameter. */
  readonly tied: boolean
  /** tanh of a linear map of the first position. */
  readonly pooler: boolean
  /** Acts only with a key. */
  readonly dropout: number
}

const HEADS: Readonly<Record<string, HeadKind>> = {
  BertModel: 'none',
  BertForMaskedLM: 'masked-token',
  BertForPreTraining: 'masked-token',
  BertForSequenceClassification: 'classes',
  BertForTokenClassification: 'token-classes',
  BertForQuestionAnswering: 'span',
}

/** Old files name no architecture: the head is what has weights. */
function headOf(hf: HfConfig, tensors: readonly string[]): { head: HeadKind; notes: string[] } {
  const [architecture] = hf.architectures()
  if (architecture !== undefined) {
    const head = Object.hasOwn(HEADS, architecture) ? HEADS[architecture] : undefined
    if (head === undefined)
      hf.fail(`architecture ${architecture} is not supported; supported are ${Object.keys(HEADS).join(', ')}`)
    const notes = architecture === 'BertForPreTraining' ? ['the next-sentence head is left out'] : []
    return { head, notes }
  }
  const has = (name: string): boolean => tensors.includes(name)
  const hasPooler = tensors.some((n) => n.endsWith('pooler.dense.weight'))
  const head: HeadKind = has('cls.predictions.transform.dense.weight')
    ? 'masked-token'
    : has('qa_outputs.weight')
      ? 'span'
      : has('classifier.weight')
        ? hasPooler
          ? 'classes'
          : 'token-classes'
        : 'none'
  return { head, notes: [`config.json names no architecture; the weights are those of head '${head}'`] }
}

function readConfig(hf: HfConfig, head: HeadKind, nLabel: number, tensors: readonly string[]): BertConfig {
  hf.refuse('is_decoder', 'a BERT that is causal is not built')
  hf.refuse('add_cross_attention', 'a BERT that reads an encoder is not built')
  hf.refuse('pruned_heads', 'heads are not pruned')
  const positions = hf.text('position_embedding_type', 'absolute')
  if (positions !== 'absolute')
    hf.fail(`position_embedding_type '${positions}' is not supported; 'absolute' is`)
  const dModel = hf.size(['hidden_size'], 768)
  const nHead = hf.size(['num_attention_heads'], 12)
  if (dModel % nHead !== 0)
    hf.fail(`hidden_size ${dModel} does not divide into num_attention_heads ${nHead} heads`)
  return {
    family: 'bert',
    head,
    nLayer: hf.size(['num_hidden_layers'], 12),
    nHead,
    dModel,
    dHead: dModel / nHead,
    dMlp: hf.size(['intermediate_size'], 3072),
    nCtx: hf.size(['max_position_embeddings'], 512),
    nVocab: hf.size(['vocab_size']),
    nType: hf.size(['type_vocab_size'], 2),
    nLabel,
    activation: hf.activation('hidden_act', 'gelu'),
    eps: hf.number(['layer_norm_eps'], 1e-12),
    tied: hf.flag('tie_word_embeddings', true),
    pooler: head === 'classes' || (head === 'none' && tensors.some((n) => n.endsWith('pooler.dense.weight'))),
    dropout: hf.number(['hidden_dropout_prob'], 0.1),
  }
}

function build(c: BertConfig, key?: Tensor): Network {
  const { nLayer, dModel, nHead, nVocab, nCtx, dMlp, activation, eps, head } = c
  const keyed = key ? { key } : {}
  const init = normal(0.02)
  const norm = () => layerNorm({ dModel, eps, ...keyed })
  const block = () =>
    postNormBlock({
      norm,
      attn: attention({ dModel, nHead, init, ...keyed }),
      mlp: mlp({ dModel, dMlp, activation, init, ...keyed }),
      dropout: c.dropout,
    })
  const isMasked = head === 'masked-token'
  const classes = head === 'span' ? 2 : head === 'classes' || head === 'token-classes' ? c.nLabel : 0
  const parts = {
    embed: embedding({ vocabulary: nVocab, dModel, init, ...keyed }),
    pos_embed: learnedPositions({ nCtx, dModel, init, ...keyed }),
    type_embed: embedding({ vocabulary: c.nType, dModel, init, ...keyed }),
    ln_embed: norm(),
    embed_drop: dropout({ p: c.dropout }),
    blocks: Array.from({ length: nLayer }, block),
    pooler: c.pooler ? linear({ in: dModel, out: dModel, init, ...keyed }) : undefined,
    transform: isMasked ? linear({ in: dModel, out: dModel, init, ...keyed }) : undefined,
    ln_transform: isMasked ? norm() : undefined,
    unembed: isMasked
      ? { b: param([nVocab], zerosInit, key), ...(c.tied ? {} : { w: param([dModel, nVocab], init, key) }) }
      : undefined,
    classifier: classes > 0 ? linear({ in: dModel, out: classes, init, ...keyed }) : undefined,
  }
  const act = activationOf(activation)
  return module(parts, (m, input: ModelInput, given?: Context): Tensor => {
    const { ids, typeIds, ...own } = input
    const ctx = { ...own, ...given }
    const types = typeIds ?? zeros([1, ids.shape[1]], 'i32')
    const words = add(tap('embed', m.embed(ids)), tap('type_embed', m.type_embed(types)))
    const summed = add(words, tap('pos_embed', m.pos_embed(ids, ctx)))
    let x = m.embed_drop(m.ln_embed(summed), ctx) // [batch, position, dModel]
    for (const b of m.blocks) x = b(x, ctx)
    const pooled = m.pooler ? tap('pooler', tanh(m.pooler(first(x)))) : null // [batch, dModel]
    if (m.transform && m.ln_transform && m.unembed) {
      const y = m.ln_transform(act(m.transform(x)))
      const w = (m.unembed as { w?: Tensor }).w
      const scores = w ? matmul(y, w) : matmul(y, m.embed.w, { transposeY: true })
      return tap('logits', add(scores, m.unembed.b)) // [batch, position, vocabulary]
    }
    if (!m.classifier) return x
    if (head === 'classes') return tap('logits', m.classifier(pooled as Tensor)) // [batch, class]
    const logits = m.classifier(x) // [batch, position, class]
    if (head !== 'span') return tap('logits', logits)
    const one = (k: number): Tensor =>
      reshape(slice(logits, [null, null, [k, k + 1]]), logits.shape.slice(0, 2))
    // [batch, position] each, put together again so that an edit of one reaches the output
    return tap('logits', stack([tap('start_logits', one(0)), tap('end_logits', one(1))], 2))
  })
}

/** [batch, position, dModel] → [batch, dModel]: what stands at the first position. */
const first = (x: Tensor): Tensor => reshape(slice(x, [null, [0, 1]]), [x.shape[0], x.shape[2]])

function weights(c: BertConfig, tensors: readonly string[]): WeightTable {
  const { dModel: d, dMlp, head } = c
  const rules: WeightRule[] = []
  const plain = (file: string, shape: readonly number[], parameter: string): void => {
    rules.push({ file, shape, parameters: [parameter] })
  }
  const dense = (file: string, from: number, to: number, w: string, b: string): void => {
    rules.push({ file: `${file}.weight`, shape: [to, from], parameters: [w], transposed: true })
    plain(`${file}.bias`, [to], b)
  }
  const norm = (file: string, parameter: string): void => {
    plain(`${file}.weight`, [d], `${parameter}.w`)
    plain(`${file}.bias`, [d], `${parameter}.b`)
  }
  const base = head === 'none' ? '' : 'bert.'
  const embeddings = `${base}embeddings`
  plain(`${embeddings}.word_embeddings.weight`, [c.nVocab, d], 'embed.w')
  plain(`${embeddings}.position_embeddings.weight`, [c.nCtx, d], 'pos_embed.w')
  plain(`${embeddings}.token_type_embeddings.weight`, [c.nType, d], 'type_embed.w')
  norm(`${embeddings}.LayerNorm`, 'ln_embed')
  for (let i = 0; i < c.nLayer; i++) {
    const [h, b] = [`${base}encoder.layer.${i}`, `blocks.${i}`]
    for (const [name, letter] of [
      ['query', 'q'],
      ['key', 'k'],
      ['value', 'v'],
    ])
      dense(`${h}.attention.self.${name}`, d, d, `${b}.attn.w_${letter}`, `${b}.attn.b_${letter}`)
    dense(`${h}.attention.output.dense`, d, d, `${b}.attn.w_o`, `${b}.attn.b_o`)
    norm(`${h}.attention.output.LayerNorm`, `${b}.ln1`)
    dense(`${h}.intermediate.dense`, d, dMlp, `${b}.mlp.w_in`, `${b}.mlp.b_in`)
    dense(`${h}.output.dense`, dMlp, d, `${b}.mlp.w_out`, `${b}.mlp.b_out`)
    norm(`${h}.output.LayerNorm`, `${b}.ln2`)
  }
  if (c.pooler) dense(`${base}pooler.dense`, d, d, 'pooler.w', 'pooler.b')
  if (head === 'masked-token') {
    dense('cls.predictions.transform.dense', d, d, 'transform.w', 'transform.b')
    norm('cls.predictions.transform.LayerNorm', 'ln_transform')
    // two names for one bias; where nothing is tied it is the decoder's own that counts
    const bias = !c.tied && tensors.includes('cls.predictions.decoder.bias') ? 'decoder.bias' : 'bias'
    plain(`cls.predictions.${bias}`, [c.nVocab], 'unembed.b')
    if (!c.tied)
      rules.push({
        file: 'cls.predictions.decoder.weight',
        shape: [c.nVocab, d],
        parameters: ['unembed.w'],
        transposed: true,
      })
  }
  if (head === 'span') dense('qa_outputs', d, 2, 'classifier.w', 'classifier.b')
  if (head === 'classes' || head === 'token-classes')
    dense('classifier', d, c.nLabel, 'classifier.w', 'classifier.b')
  return {
    rules,
    spellings,
    harmless:
      head === 'masked-token'
        ? /(^|\.)position_ids$|^(bert\.)?pooler\.|^cls\.(seq_relationship\.|predictions\.bias$)/
        : /(^|\.)position_ids$|^(bert\.)?pooler\.|^cls\./,
    copies:
      head === 'masked-token' && c.tied
        ? {
            'cls.predictions.decoder.weight': `${embeddings}.word_embeddings.weight`,
            'cls.predictions.decoder.bias': 'cls.predictions.bias',
          }
        : {},
  }
}

/** Old files say gamma and beta; a base model's file may have the prefix of the heads', and the other way round. */
function spellings(file: string): string[] {
  const others = file.startsWith('bert.')
    ? [file.slice(5)]
    : /^(embeddings|encoder|pooler)\./.test(file)
      ? [`bert.${file}`]
      : []
  const names = [file, ...others]
  const old = (name: string): string =>
    name.replace(/LayerNorm\.weight$/, 'LayerNorm.gamma').replace(/LayerNorm\.bias$/, 'LayerNorm.beta')
  return [...others, ...names.map(old)]
}

const ARCHITECTURE_OF: Readonly<Record<HeadKind, string>> = {
  none: 'BertModel',
  'masked-token': 'BertForMaskedLM',
  classes: 'BertForSequenceClassification',
  'token-classes': 'BertForTokenClassification',
  span: 'BertForQuestionAnswering',
  'next-token': 'BertLMHeadModel',
}

export const bert: Family = {
  modelType: 'bert',
  fromHf(hf, tensors): Described {
    const { head, notes } = headOf(hf, tensors)
    const labels = head === 'classes' || head === 'token-classes' ? hf.labels() : []
    if (labels.length === 0) hf.skip('id2label', 'num_labels', '_num_labels')
    const config = readConfig(hf, head, labels.length, tensors)
    return {
      config,
      kind: 'encoder',
      head,
      labels,
      build: (key) => build(config, key),
      weights: weights(config, tensors),
      notes,
      bosId: null,
      eosId: null,
      padId: hf.id('pad_token_id') ?? 0,
    }
  },
  toHf(config, ids) {
    const c = config as BertConfig
    const classes = c.nLabel ?? 0
    return {
      architectures: [ARCHITECTURE_OF[c.head ?? 'none']],
      model_type: 'bert',
      num_hidden_layers: c.nLayer,
      num_attention_heads: c.nHead,
      hidden_size: c.dModel,
      intermediate_size: c.dMlp ?? 4 * c.dModel,
      max_position_embeddings: c.nCtx,
      vocab_size: c.nVocab,
      type_vocab_size: c.nType ?? 2,
      hidden_act: activationKey(c.activation ?? 'gelu'),
      layer_norm_eps: c.eps ?? 1e-12,
      position_embedding_type: 'absolute',
      tie_word_embeddings: c.tied ?? true,
      hidden_dropout_prob: c.dropout ?? 0,
      attention_probs_dropout_prob: 0,
      pad_token_id: ids.padId ?? 0,
      ...(classes > 0
        ? { id2label: Object.fromEntries(Array.from({ length: classes }, (_, i) => [i, `LABEL_${i}`])) }
        : {}),
      dtype: 'float32',
    }
  },
}
