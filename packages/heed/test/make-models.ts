/** Tiny models with pseudo-random weights, as files of a Hugging Face folder: same bytes every time. */
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { trainBpe } from '@heed/tokenizer'
import { type TensorToWrite, writeSafetensors } from '@heed/weights'

export type Files = Record<string, string | Uint8Array>
type Shape = readonly number[]

/** Normal enough: the sum of twelve uniform numbers of a linear congruential generator. */
function weightsOf(shapes: Readonly<Record<string, Shape>>, scale: number): Uint8Array {
  let state = 12345
  const uniform = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
  const tensors = new Map<string, TensorToWrite>()
  for (const [name, shape] of Object.entries(shapes)) {
    const size = shape.reduce((n, d) => n * d, 1)
    const isGain = /(ln_.|LayerNorm)\.weight$/.test(name)
    const data = Float32Array.from({ length: size }, () => {
      let sum = -6
      for (let i = 0; i < 12; i++) sum += uniform()
      return isGain ? 1 + 0.1 * sum : scale * sum
    })
    tensors.set(name, { dtype: 'F32', shape, data })
  }
  return writeSafetensors(tensors, { format: 'pt' })
}

const prose =
  'the keys to the cabinet are on the table and the old man gave the keys to the woman who went to the store. '

/** A byte-level tokenizer of 280 pieces. */
const bytePairs = (): string => JSON.stringify(trainBpe([prose.repeat(3)], { vocabSize: 280 }).toJson())

export interface Gpt2Sizes {
  layers?: number
  heads?: number
  dModel?: number
  nCtx?: number
  scale?: number
}

export function gpt2Files(sizes: Gpt2Sizes = {}): Files {
  const { layers = 2, heads = 2, dModel: d = 16, nCtx = 24, scale = 0.4 } = sizes
  const tokenizer = bytePairs()
  const vocab = Object.keys((JSON.parse(tokenizer) as { model: { vocab: object } }).model.vocab).length
  const shapes: Record<string, Shape> = { 'wte.weight': [vocab, d], 'wpe.weight': [nCtx, d] }
  for (let i = 0; i < layers; i++)
    Object.assign(shapes, {
      [`h.${i}.ln_1.weight`]: [d],
      [`h.${i}.ln_1.bias`]: [d],
      [`h.${i}.attn.c_attn.weight`]: [d, 3 * d],
      [`h.${i}.attn.c_attn.bias`]: [3 * d],
      [`h.${i}.attn.c_proj.weight`]: [d, d],
      [`h.${i}.attn.c_proj.bias`]: [d],
      [`h.${i}.ln_2.weight`]: [d],
      [`h.${i}.ln_2.bias`]: [d],
      [`h.${i}.mlp.c_fc.weight`]: [d, 4 * d],
      [`h.${i}.mlp.c_fc.bias`]: [4 * d],
      [`h.${i}.mlp.c_proj.weight`]: [4 * d, d],
      [`h.${i}.mlp.c_proj.bias`]: [d],
    })
  Object.assign(shapes, { 'ln_f.weight': [d], 'ln_f.bias': [d] })
  return {
    'config.json': JSON.stringify({
      model_type: 'gpt2',
      architectures: ['GPT2LMHeadModel'],
      n_layer: layers,
      n_head: heads,
      n_embd: d,
      n_positions: nCtx,
      vocab_size: vocab,
      activation_function: 'gelu_new',
    }),
    'model.safetensors': weightsOf(shapes, scale),
    'tokenizer.json': tokenizer,
  }
}

const words =
  '[PAD] [UNK] [CLS] [SEP] [MASK] a the man is eating food bread girl keys cabinet paris capital of france where are on table who . ? ##s ##ing'.split(
    ' ',
  )
const wordPieces = (): string => {
  const id = (t: string): number => words.indexOf(t)
  const special = (t: string) => ({ [t]: { id: t, ids: [id(t)], tokens: [t] } })
  const piece = (t: string, type: number) => ({ SpecialToken: { id: t, type_id: type } })
  const text = (name: 'A' | 'B', type: number) => ({ Sequence: { id: name, type_id: type } })
  return JSON.stringify({
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: words.slice(0, 5).map((content, i) => ({
      id: i,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: {
      type: 'BertNormalizer',
      clean_text: true,
      handle_chinese_chars: true,
      strip_accents: null,
      lowercase: true,
    },
    pre_tokenizer: { type: 'BertPreTokenizer' },
    post_processor: {
      type: 'TemplateProcessing',
      single: [piece('[CLS]', 0), text('A', 0), piece('[SEP]', 0)],
      pair: [piece('[CLS]', 0), text('A', 0), piece('[SEP]', 0), text('B', 1), piece('[SEP]', 1)],
      special_tokens: { ...special('[CLS]'), ...special('[SEP]') },
    },
    decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
    model: {
      type: 'WordPiece',
      unk_token: '[UNK]',
      continuing_subword_prefix: '##',
      max_input_chars_per_word: 100,
      vocab: Object.fromEntries(words.map((w, i) => [w, i])),
    },
  })
}

const bertHeads = {
  BertModel: {},
  BertForMaskedLM: {
    'cls.predictions.transform.dense.weight': ['d', 'd'],
    'cls.predictions.transform.dense.bias': ['d'],
    'cls.predictions.transform.LayerNorm.weight': ['d'],
    'cls.predictions.transform.LayerNorm.bias': ['d'],
    'cls.predictions.bias': ['v'],
  },
  BertForSequenceClassification: {
    'bert.pooler.dense.weight': ['d', 'd'],
    'bert.pooler.dense.bias': ['d'],
    'classifier.weight': ['c', 'd'],
    'classifier.bias': ['c'],
  },
  BertForTokenClassification: { 'classifier.weight': ['c', 'd'], 'classifier.bias': ['c'] },
  BertForQuestionAnswering: { 'qa_outputs.weight': [2, 'd'], 'qa_outputs.bias': [2] },
} as const
export type BertHead = keyof typeof bertHeads

export function bertFiles(head: BertHead, config: Readonly<Record<string, unknown>> = {}): Files {
  const [d, layers, nCtx] = [16, 2, 24]
  const labels = (config.id2label as object | undefined) ?? { 0: 'O', 1: 'PERSON', 2: 'PLACE' }
  const classes = Object.keys(labels).length
  const base = head === 'BertModel' ? '' : 'bert.'
  const shapes: Record<string, Shape> = {
    [`${base}embeddings.word_embeddings.weight`]: [words.length, d],
    [`${base}embeddings.position_embeddings.weight`]: [nCtx, d],
    [`${base}embeddings.token_type_embeddings.weight`]: [2, d],
    [`${base}embeddings.LayerNorm.weight`]: [d],
    [`${base}embeddings.LayerNorm.bias`]: [d],
  }
  for (let i = 0; i < layers; i++) {
    const at = `${base}encoder.layer.${i}`
    for (const name of ['self.query', 'self.key', 'self.value', 'output.dense'])
      Object.assign(shapes, {
        [`${at}.attention.${name}.weight`]: [d, d],
        [`${at}.attention.${name}.bias`]: [d],
      })
    Object.assign(shapes, {
      [`${at}.attention.output.LayerNorm.weight`]: [d],
      [`${at}.attention.output.LayerNorm.bias`]: [d],
      [`${at}.intermediate.dense.weight`]: [2 * d, d],
      [`${at}.intermediate.dense.bias`]: [2 * d],
      [`${at}.output.dense.weight`]: [d, 2 * d],
      [`${at}.output.dense.bias`]: [d],
      [`${at}.output.LayerNorm.weight`]: [d],
      [`${at}.output.LayerNorm.bias`]: [d],
    })
  }
  const sizes = { d, c: classes, v: words.length }
  for (const [name, shape] of Object.entries(
    bertHeads[head] as Record<string, readonly ('d' | 'c' | 'v' | 2)[]>,
  ))
    shapes[name] = shape.map((s) => (s === 2 ? 2 : sizes[s]))
  return {
    'config.json': JSON.stringify({
      model_type: 'bert',
      architectures: [head],
      num_hidden_layers: layers,
      num_attention_heads: 2,
      hidden_size: d,
      intermediate_size: 2 * d,
      max_position_embeddings: nCtx,
      vocab_size: words.length,
      type_vocab_size: 2,
      ...(/Classification/.test(head) ? { id2label: labels } : {}),
      ...config,
    }),
    'model.safetensors': weightsOf(shapes, 0.5),
    'tokenizer.json': wordPieces(),
  }
}

/** A new empty folder for one test file. */
export const newFolder = (): string => mkdtempSync(join(tmpdir(), 'heed-test-'))

/** Writes files below a folder (null leaves one out) and returns the folder. */
export function writeFiles(
  folder: string,
  files: Readonly<Record<string, string | Uint8Array | null>>,
): string {
  mkdirSync(folder, { recursive: true })
  for (const [name, content] of Object.entries(files)) {
    if (content === null) continue
    mkdirSync(dirname(join(folder, name)), { recursive: true })
    writeFileSync(join(folder, name), content)
  }
  return folder
}
