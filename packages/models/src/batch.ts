/** Text to ids: one text with its length checked, and several texts padded to one batch with mask and positions. */
import { type Tensor, tensor } from '@heed/tensor'
import type { Encoding } from '@heed/tokenizer'
import { checkOptions, InputError } from './errors.js'
import { paddingMask, positionsOf } from './input.js'
import type { TextModel } from './model.js'

export interface EncodeTextOptions {
  /** A second text, for heads that read two. */
  pair?: string
  /** Default true: what the tokenizer's post-processor adds, nothing more. */
  addSpecialTokens?: boolean
  /** Cut what is too long instead of throwing. */
  truncate?: boolean
}

/**
 * The encoding of a text. The tokenizer file's own padding and truncation are left out: a text that is too long is an
 * error, never cut in silence.
 * @throws InputError for a text without tokens or longer than the context.
 */
export function encodeText(model: TextModel, text: string, options: EncodeTextOptions = {}): Encoding {
  const { tokenizer, config } = model
  if (!tokenizer)
    throw new InputError(
      `${model.source}: has no tokenizer.json, so it reads no text; pass ids, or add the file`,
    )
  if (typeof text !== 'string') throw new InputError(`run: the text is ${typeof text}, expected a string`)
  const { truncate = false, ...rest } = options
  const encoding = tokenizer.encode(text, {
    ...rest,
    padding: false,
    truncation: truncate ? { maxLength: config.nCtx } : false,
  })
  const { length } = encoding.ids
  if (length === 0)
    throw new InputError(
      text === ''
        ? `the text is empty, and this ${model.kind} adds no token of its own; give at least one character`
        : `the text ${JSON.stringify(text.slice(0, 40))} has no tokens; give another one`,
    )
  if (length > config.nCtx)
    throw new InputError(
      `the text has ${length} tokens, more than the model's context of ${config.nCtx}; shorten it by ${length - config.nCtx} tokens`,
    )
  return encoding
}

/** Several texts as one input of a model. */
export interface TextBatch {
  /** i32 [batch, position] */
  readonly ids: Tensor
  /** i32 [batch, position], for models with token types */
  readonly typeIds?: Tensor
  /** bool [batch, 1, 1, key]: false on padding */
  readonly mask: Tensor
  /** i32 [batch, position], for left padding */
  readonly positions?: Tensor
}

export interface BatchOfOptions {
  /** Default 'right'; 'left' is what a decoder needs to generate. */
  padSide?: 'left' | 'right'
  addSpecialTokens?: boolean
  /** Cut what is too long instead of throwing. */
  truncate?: boolean
}

/**
 * Texts padded to the longest of them. Padding is masked as a key; on the left the positions count tokens only, so that
 * every row computes what it computes alone.
 */
export function batchOf(model: TextModel, texts: readonly string[], options: BatchOfOptions = {}): TextBatch {
  checkOptions('batchOf', options, ['padSide', 'addSpecialTokens', 'truncate'])
  const { padSide = 'right', ...rest } = options
  if (padSide !== 'left' && padSide !== 'right')
    throw new InputError(`batchOf: padSide is '${padSide}', expected 'left' or 'right'`)
  if (texts.length === 0) throw new InputError('batchOf: there are no texts')
  const rows = texts.map((text) => encodeText(model, text, rest))
  return padRows(
    rows.map((r) => ({ ids: r.ids, typeIds: r.typeIds })),
    { padSide, padId: model.padId ?? 0, withTypes: 'nType' in model.config },
  )
}

export interface Row {
  readonly ids: readonly number[]
  readonly typeIds?: readonly number[]
}

/** The tensors of rows of different lengths. */
export function padRows(
  rows: readonly Row[],
  o: { padSide: 'left' | 'right'; padId: number; withTypes?: boolean },
): TextBatch {
  const width = Math.max(...rows.map((r) => r.ids.length))
  const fill = (values: readonly number[], pad: number): number[] => {
    const extra = new Array<number>(width - values.length).fill(pad)
    return o.padSide === 'left' ? [...extra, ...values] : [...values, ...extra]
  }
  const grid = (values: readonly (readonly number[])[]): Tensor =>
    tensor(Int32Array.from(values.flat()), { shape: [rows.length, width], dtype: 'i32' })
  const mask = rows.map((r) =>
    fill(
      r.ids.map(() => 1),
      0,
    ),
  )
  return {
    ids: grid(rows.map((r) => fill(r.ids, o.padId))),
    ...(o.withTypes ? { typeIds: grid(rows.map((r) => fill(r.typeIds ?? r.ids.map(() => 0), 0))) } : {}),
    mask: paddingMask(mask),
    ...(o.padSide === 'left' ? { positions: grid(positionsOf(mask)) } : {}),
  }
}
