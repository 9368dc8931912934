/**
 * Sentence vectors: the last hidden states of an encoder pooled over the tokens of a text, as a sentence-transformers
 * folder says (modules.json, 1_Pooling) or, without one, by the mean, of unit length.
 */
import {
  cast,
  div,
  l2Normalize,
  max,
  mul,
  realize,
  reshape,
  slice,
  sum,
  Tensor,
  tensor,
  traceLazy,
  where,
} from '@heed/tensor'
import type { Folder } from '@heed/weights'
import { encodeText, padRows } from './batch.js'
import { checkOptions, InputError, ModelError } from './errors.js'
import type { InputLike } from './input.js'
import type { TextModel } from './model.js'
import type { TextRun } from './text-run.js'

export interface Pooling {
  readonly mode: 'mean' | 'cls' | 'max'
  /** Divide by the Euclidean length. */
  readonly normalize: boolean
  /** Tokens that are read of a text, when the folder limits them. */
  readonly maxTokens: number | null
  /** Whether the folder says so (modules.json), or it is the default. */
  readonly fromFolder: boolean
}

export const meanPooling: Pooling = { mode: 'mean', normalize: true, maxTokens: null, fromFolder: false }

/** Hidden states [batch, position, dModel] → [batch, dModel]. `mask` bool [batch, 1, 1, position]: true on tokens. */
export function pool(hidden: Tensor, mask: Tensor | null, pooling: Pooling): Tensor {
  const [batch, length, width] = hidden.shape
  const isToken = mask ? reshape(mask, [mask.shape[0], length, 1]) : null
  let y: Tensor
  if (pooling.mode === 'cls') y = reshape(slice(hidden, [null, [0, 1]]), [batch, width])
  else if (pooling.mode === 'max')
    y = max(isToken ? where(isToken, hidden, Number.NEGATIVE_INFINITY) : hidden, { axes: 1 })
  else if (isToken) {
    const weight = cast(isToken, 'f32')
    y = div(sum(mul(hidden, weight), { axes: 1 }), sum(weight, { axes: 1 }))
  } else y = div(sum(hidden, { axes: 1 }), length)
  return pooling.normalize ? l2Normalize(y) : y // [batch, dModel]
}

const lastHidden = (model: TextModel): string => `blocks.${model.config.nLayer - 1}.ln2`

function poolingOf(model: TextModel): Pooling {
  if (model.pooling) return model.pooling
  throw new InputError(
    `this ${model.kind} makes no sentence vectors; use an encoder such as all-MiniLM-L6-v2`,
  )
}

/** The sentence vector of a run on one text [batch, dModel]: lazy and differentiable. */
export function sentenceVector(run: TextRun): Tensor {
  const { textModel } = run
  const mask =
    run.input instanceof Object && 'mask' in run.input && run.input.mask instanceof Tensor
      ? run.input.mask
      : null
  return pool(run.get(lastHidden(textModel)), mask, poolingOf(textModel))
}

export interface EmbedOptions {
  /** Cut texts that are too long instead of throwing. */
  truncate?: boolean
  /** Texts in one forward pass; default 16. */
  batchSize?: number
  /** How many texts are done. */
  onProgress?: (done: number, of: number) => void
  signal?: AbortSignal
}

/** Sentence vectors [text, dModel]. Texts of similar length go together; the order stays. */
export async function embedTexts(
  model: TextModel,
  texts: readonly string[],
  options: EmbedOptions = {},
): Promise<Tensor> {
  checkOptions('embed', options, ['truncate', 'batchSize', 'onProgress', 'signal'])
  const pooling = poolingOf(model)
  const { batchSize = 16, truncate = false } = options
  if (texts.length === 0) throw new InputError('embed: there are no texts')
  const rows = texts.map((text, at) => ({ at, ...encodeText(model, text, { truncate }) }))
  const limit = pooling.maxTokens
  const long = limit === null ? undefined : rows.find((r) => r.ids.length > limit)
  if (long && limit !== null && !truncate)
    throw new InputError(
      `embed: text ${long.at} has ${long.ids.length} tokens, this model's vectors read ${limit}; shorten it, or pass { truncate: true }`,
    )
  const cut =
    limit === null ? rows : rows.map((r) => (r.ids.length > limit ? { ...r, ...cutRow(r, limit) } : r))
  const sorted = [...cut].sort((a, b) => a.ids.length - b.ids.length || a.at - b.at)
  const width = model.config.dModel
  const out = new Float32Array(texts.length * width)
  for (let i = 0; i < sorted.length; i += batchSize) {
    options.signal?.throwIfAborted()
    const part = sorted.slice(i, i + batchSize)
    const input = padRows(part, {
      padSide: 'right',
      padId: model.padId ?? 0,
      withTypes: 'nType' in model.config,
    })
    const run = traceLazy<InputLike>(model, input)
    const vectors = pool(run.get(lastHidden(model)), input.mask, pooling)
    await realize([vectors])
    const data = await vectors.data()
    part.forEach((r, k) => {
      out.set((data as Float32Array).subarray(k * width, (k + 1) * width), r.at * width)
    })
    options.onProgress?.(i + part.length, texts.length)
  }
  return tensor(out, [texts.length, width])
}

/** The first tokens and the last one, which is the separator that closes every text. */
const cutRow = (r: { ids: number[]; typeIds: number[] }, limit: number) => ({
  ids: [...r.ids.slice(0, limit - 1), r.ids[r.ids.length - 1]],
  typeIds: [...r.typeIds.slice(0, limit - 1), r.typeIds[r.typeIds.length - 1]],
})

interface SentenceModule {
  readonly type?: unknown
  readonly path?: unknown
}

/** What a sentence-transformers folder says about its vectors; null where the folder is none. */
export async function readPooling(folder: Folder): Promise<Pooling | null> {
  if (!(await folder.has('modules.json'))) return null
  const file = `${folder.name}/modules.json`
  const modules = (await folder.json('modules.json')) as SentenceModule[]
  if (!Array.isArray(modules)) throw new ModelError(file, 'is not a list of modules')
  let pooling: Pooling = { ...meanPooling, normalize: false, fromFolder: true }
  let isPooled = false
  for (const { type, path } of modules) {
    const kind = String(type).split('.').at(-1)
    if (kind === 'Transformer') continue
    if (kind === 'Pooling') {
      pooling = { ...pooling, mode: await readMode(folder, String(path)) }
      isPooled = true
    } else if (kind === 'Normalize') pooling = { ...pooling, normalize: true }
    else
      throw new ModelError(
        file,
        `module ${String(type)} is not supported; Transformer, Pooling and Normalize are`,
      )
  }
  if (!isPooled) throw new ModelError(file, 'has no Pooling module, so it gives no sentence vectors')
  if (!(await folder.has('sentence_bert_config.json'))) return pooling
  const { max_seq_length: maxTokens } = (await folder.json('sentence_bert_config.json')) as {
    max_seq_length?: unknown
  }
  return { ...pooling, maxTokens: typeof maxTokens === 'number' ? maxTokens : null }
}

async function readMode(folder: Folder, path: string): Promise<Pooling['mode']> {
  const name = `${path}/config.json`
  const file = `${folder.name}/${name}`
  const config = (await folder.json(name)) as Record<string, unknown>
  const on = Object.entries(config).flatMap(([key, value]) =>
    key.startsWith('pooling_mode_') && value === true ? [key.slice(13)] : [],
  )
  if (typeof config.pooling_mode === 'string') on.push(config.pooling_mode)
  const known: Readonly<Record<string, Pooling['mode']>> = {
    mean_tokens: 'mean',
    cls_token: 'cls',
    max_tokens: 'max',
    mean: 'mean',
    cls: 'cls',
    max: 'max',
  }
  if (on.length === 1 && Object.hasOwn(known, on[0])) return known[on[0]]
  throw new ModelError(
    file,
    `pooling ${on.length === 0 ? 'is not given' : on.join(' and ')}; one of mean_tokens, cls_token, max_tokens is supported`,
  )
}
