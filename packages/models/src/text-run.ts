/**
 * Running a model on text: the trace of tensor's with what a reader asks next, tokens, predictions, logits by name. What
 * the run saw and how edits work is tensor's business.
 */
import {
  type Edits,
  exp,
  logSoftmax,
  Run,
  realize,
  reshape,
  slice,
  type TapGlob,
  Tensor,
  trace,
} from '@heed/tensor'
import type { Encoding } from '@heed/tokenizer'
import { encodeText } from './batch.js'
import { checkOptions, InputError } from './errors.js'
import { type InputLike, toInput } from './input.js'
import type { TextModel } from './model.js'
import { softmax } from './sampling.js'

export interface RunOptions {
  /** Taps to be had without a second forward: names, globs (`*` is one part), or 'all'. */
  keep?: readonly TapGlob[] | 'all'
  /** Changes by tap: functions from tensor to tensor, or entries of the JSON dialect. */
  edit?: Edits
  /** A second text, for heads that read two. */
  pair?: string
  /** Default true: what the tokenizer's post-processor adds, nothing more. */
  addSpecialTokens?: boolean
}

/** One possible token (or class) and how likely the model holds it. */
export interface Prediction {
  /** As it reads: ' Mary', '##ing'; the name of the class for heads of classes. */
  readonly token: string
  readonly id: number
  readonly probability: number
}

/** Where to look. */
export interface At {
  /** Row of the batch; default 0. */
  row?: number
  /** Negative counts from the end; default the last token, for masked-token heads the first mask. */
  position?: number
}

/** Logits of at most so many values are kept on the host whole. */
const MAX_HOST = 2 ** 24

/** What a model computed from a text: a Run, and what its numbers say in words. */
export class TextRun extends Run<InputLike> {
  /** The text, when it was one. */
  readonly text: string | null
  /** Offsets, word numbers and special tokens of the text; null when ids were given. */
  readonly encoding: Encoding | null
  /** Ids of every row. */
  readonly ids: readonly (readonly number[])[]
  /** How many tokens of the text its tokenizer added ([CLS], [SEP], …). */
  readonly specialTokensAdded: number
  private host: { readonly from: number; readonly data: ArrayLike<number> } | null = null

  constructor(
    run: Run<InputLike>,
    readonly textModel: TextModel,
    about: { text: string | null; encoding: Encoding | null; ids: readonly (readonly number[])[] },
  ) {
    // biome-ignore lint/complexity/useLiteralKeys: the taps that a run listened to are its own; a run of text takes them over
    super(run.model, run.input, run.output, run['context'])
    this.report = run.report
    this.text = about.text
    this.encoding = about.encoding
    this.ids = about.ids
    this.specialTokensAdded = about.encoding?.specialTokensMask.reduce((n, s) => n + s, 0) ?? 0
  }

  /** The tokens of the first row as they read. */
  get tokens(): string[] {
    return this.tokensOf(0)
  }
  /** The tokens of a row as they read. */
  tokensOf(row: number): string[] {
    const { tokenizer } = this.textModel
    return this.rowIds(row).map((id) => (tokenizer ? this.textModel.tokenText(id) : `<${id}>`))
  }

  /**
   * The n most likely tokens at a position (classes, for heads of classes), best first. The run has already brought the
   * logits to the host.
   * @throws InputError for heads without logits, or when the logits were too large to be kept whole.
   */
  top(n = 5, position?: number, row = 0): Prediction[] {
    if (!Number.isInteger(n) || n < 1) throw new InputError(`top: n is ${n}, expected a positive integer`)
    const probability = softmax(this.hostLogits({ row, position }))
    const order = Array.from(probability, (_, id) => id)
    order.sort((a, b) => probability[b] - probability[a] || a - b)
    return order.slice(0, n).map((id) => ({ token: this.nameOf(id), id, probability: probability[id] }))
  }

  /**
   * The logit of a token (or class), as a lazy scalar tensor: differentiable.
   * @throws InputError when the text of the token is not exactly one piece.
   */
  logit(token: string | number, at: At = {}): Tensor {
    return reshape(this.logitsAt(at, this.idOf(token)), [])
  }
  /** The log-probability of a token (or class), as a lazy scalar tensor. */
  logProbability(token: string | number, at: At = {}): Tensor {
    const id = this.idOf(token)
    return reshape(slice(logSoftmax(this.logitsAt(at)), [[id, id + 1]]), [])
  }
  /** The probability of a token (or class), as a lazy scalar tensor. */
  probability(token: string | number, at: At = {}): Tensor {
    return exp(this.logProbability(token, at))
  }

  /** The id of a token given as text (or as an id). */
  idOf(token: string | number): number {
    const { textModel } = this
    const count = this.output.shape[this.output.rank - 1]
    if (typeof token === 'number') {
      if (!Number.isInteger(token) || token < 0 || token >= count)
        throw new InputError(`token id ${token} is outside 0..${count - 1}`)
      return token
    }
    if (this.isClasses()) {
      const id = textModel.labels.indexOf(token)
      if (id < 0)
        throw new InputError(
          `class ${JSON.stringify(token)} is unknown; classes are ${textModel.labels.join(', ')}`,
        )
      return id
    }
    const { tokenizer } = textModel
    if (!tokenizer) throw new InputError(`${textModel.source}: has no tokenizer.json; give the token's id`)
    const { ids, tokens } = tokenizer.encode(token, {
      addSpecialTokens: false,
      padding: false,
      truncation: false,
    })
    if (ids.length === 1) return ids[0]
    const literal = tokenizer.tokenToId(token)
    if (literal !== undefined) return literal
    const pieces = ids.map((id, i) =>
      JSON.stringify(tokens[i] === undefined ? `<${id}>` : textModel.tokenText(id)),
    )
    throw new InputError(
      `${JSON.stringify(token)} is ${ids.length} tokens (${pieces.join(' ')}), expected one; choose one of them, or give an id`,
    )
  }

  private isClasses(): boolean {
    return this.textModel.head === 'classes' || this.textModel.head === 'token-classes'
  }
  private nameOf(id: number): string {
    if (this.isClasses()) return this.textModel.labels[id] ?? `LABEL_${id}`
    return this.textModel.tokenizer ? this.textModel.tokenText(id) : `<${id}>`
  }
  private rowIds(row: number): readonly number[] {
    // an edit may have made several worlds of one row
    const ids = this.ids.length === 1 ? this.ids[0] : this.ids[row]
    if (!ids) throw new InputError(`row ${row} of ${this.ids.length}`)
    return ids
  }

  /** Row and position in the logits; heads of whole texts have no position. */
  private place({ row = 0, position }: At): { row: number; position: number | null } {
    const { head } = this.textModel
    if (head === 'none' || head === 'span')
      throw new InputError(
        `this model has no token predictions: its head is '${head}'; read run.output or its taps`,
      )
    const rows = this.output.shape[0]
    if (!Number.isInteger(row) || row < 0 || row >= rows)
      throw new InputError(`row ${row} is outside 0..${rows - 1}`)
    if (head === 'classes') {
      if (position !== undefined)
        throw new InputError('this model classifies whole texts; leave the position out')
      return { row, position: null }
    }
    const length = this.output.shape[1]
    const chosen = position ?? this.defaultPosition(row)
    const p = chosen < 0 ? chosen + length : chosen
    if (!Number.isInteger(p) || p < 0 || p >= length)
      throw new InputError(`position ${chosen} is outside 0..${length - 1}`)
    return { row, position: p }
  }
  private defaultPosition(row: number): number {
    if (this.textModel.head !== 'masked-token') return this.lastToken(row)
    const mask = this.textModel.tokenizer?.maskToken
    const at = mask ? this.rowIds(row).indexOf(mask.id) : -1
    if (at < 0)
      throw new InputError(
        `the text has no ${mask?.token ?? 'mask token'}; put one where a word is to be predicted, or give a position`,
      )
    return at
  }

  /** The last position of a row that is no padding, as far as its mask is known on the host. */
  private lastToken(row: number): number {
    const { input } = this
    const mask =
      input instanceof Object && 'mask' in input && input.mask instanceof Tensor ? input.mask : null
    const host = mask?.value?.host
    const keys = mask?.shape[mask.rank - 1] ?? 0
    if (!mask || !host || mask.size !== mask.shape[0] * keys || keys !== this.output.shape[1]) return -1
    const from = (mask.shape[0] === 1 ? 0 : row) * keys
    for (let k = keys - 1; k >= 0; k--) if (host[from + k]) return k
    return -1
  }

  private logitsAt(at: At, id?: number): Tensor {
    const { row, position } = this.place(at)
    const last = id === undefined ? null : ([id, id + 1] as [number, number])
    const ranges =
      position === null ? [[row, row + 1], last] : [[row, row + 1], [position, position + 1], last]
    const x = slice(this.output, ranges as ([number, number] | null)[])
    return reshape(x, [id === undefined ? this.output.shape[this.output.rank - 1] : 1])
  }
  private hostLogits(at: At): ArrayLike<number> {
    const { row, position } = this.place(at)
    const width = this.output.shape[this.output.rank - 1]
    const start = (position === null ? row : row * this.output.shape[1] + position) * width
    const { host } = this
    if (!host || start < host.from || start + width > host.from + host.data.length)
      throw new InputError(
        `the logits of position ${position} of row ${row} are not on the host; read await run.get('logits').array(), or run a shorter text`,
      )
    return Array.prototype.slice.call(host.data, start - host.from, start - host.from + width) as number[]
  }

  /** Brings the logits to the host: all of them, or the default position's when they are very large. */
  async fetch(): Promise<this> {
    const { head } = this.textModel
    if (head === 'none' || head === 'span') return this
    if (this.output.size <= MAX_HOST) {
      this.host = { from: 0, data: (await this.output.data()) as Float32Array }
      return this
    }
    const length = this.output.shape[1]
    const mask = this.textModel.tokenizer?.maskToken
    const wanted = head === 'masked-token' ? this.rowIds(0).indexOf(mask?.id ?? -1) : length - 1
    if (wanted < 0) return this
    const row = this.logitsAt({ row: 0, position: wanted })
    await realize([row])
    this.host = { from: wanted * row.size, data: (await row.data()) as Float32Array }
    return this
  }
}

/** `model.run`. */
export async function runModel(
  model: TextModel,
  input: string | InputLike,
  options: RunOptions = {},
): Promise<TextRun> {
  checkOptions('run', options, ['keep', 'edit', 'pair', 'addSpecialTokens'])
  const { keep, edit, pair, addSpecialTokens } = options
  const traceOptions = { ...(keep === undefined ? {} : { keep }), ...(edit === undefined ? {} : { edit }) }
  if (typeof input === 'string') {
    const encoding = encodeText(model, input, {
      ...(pair === undefined ? {} : { pair }),
      ...(addSpecialTokens === undefined ? {} : { addSpecialTokens }),
    })
    const hasTypes = 'nType' in model.config
    const asInput = toInput(
      { ids: encoding.ids, ...(hasTypes ? { typeIds: encoding.typeIds } : {}) },
      limitsOf(model),
    )
    const run = await trace<InputLike>(model, asInput, traceOptions)
    return new TextRun(run, model, { text: input, encoding, ids: [encoding.ids] }).fetch()
  }
  if (pair !== undefined || addSpecialTokens !== undefined)
    throw new InputError('run: pair and addSpecialTokens belong to a text; ids already hold what they hold')
  const asInput = toInput(input, limitsOf(model))
  const run = await trace<InputLike>(model, asInput, traceOptions)
  return new TextRun(run, model, {
    text: null,
    encoding: null,
    ids: (await asInput.ids.array()) as number[][],
  }).fetch()
}

const limitsOf = (model: TextModel): { nVocab: number; nCtx: number; nType?: number } => {
  const { nVocab, nCtx, nType } = model.config
  return { nVocab, nCtx, ...(typeof nType === 'number' ? { nType } : {}) }
}
