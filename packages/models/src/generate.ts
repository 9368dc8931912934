/**
 * Generation: an async generator of pieces of text outside the model. Greedy unless a temperature is given; what is not
 * supported (beam search among it) is an error, never ignored.
 */

import { startDecoding } from './decoding.js'
import { checkOptions, InputError, OptionError } from './errors.js'
import type { TextModel } from './model.js'
import { chooser, type SamplingOptions } from './sampling.js'

export interface GenerateOptions extends SamplingOptions {
  /** Default 50, or what is left of the context when that is less. */
  maxNewTokens?: number
  /** Of the draws; the same seed gives the same text. Default: another one each time. */
  seed?: number
  /** Texts before which generation ends. */
  stop?: string | readonly string[]
  /** Ends the text: a token or an id; null: nothing does. Default: the model's own. */
  eosToken?: string | number | null
  /** Of the prompt. Default true. */
  addSpecialTokens?: boolean
  signal?: AbortSignal
}

/** What one step gave. */
export interface GeneratedPiece {
  readonly id: number
  /** The token as it reads. */
  readonly token: string
  /**
   * Text that is certain now: '' while a character is half there or a stop text may have begun. All pieces together are
   * the generated text.
   */
  readonly text: string
}

const OPTIONS = [
  'maxNewTokens',
  'temperature',
  'topK',
  'topP',
  'minP',
  'repetitionPenalty',
  'seed',
  'stop',
  'eosToken',
  'addSpecialTokens',
  'signal',
]

/**
 * Continues a text (or ids), a piece per token. An empty prompt begins with the model's BOS token.
 * @throws InputError for a prompt that does not fit, OptionError for options that nobody knows, the signal's reason when
 * it aborts.
 */
export async function* generate(
  model: TextModel,
  prompt: string | readonly number[],
  options: GenerateOptions = {},
): AsyncGenerator<GeneratedPiece, void, void> {
  checkOptions('generate', options, OPTIONS)
  const ids = [...promptIds(model, prompt, options)]
  const room = model.config.nCtx - ids.length
  if (room <= 0)
    throw new InputError(
      `the prompt has ${ids.length} tokens, which leaves nothing of the model's context of ${model.config.nCtx}; shorten it`,
    )
  const max = maxOf(options.maxNewTokens, room)
  const choose = chooser(options)
  const eos = eosOf(model, options.eosToken)
  const { signal } = options
  signal?.throwIfAborted()
  const text = new Held(stopsOf(options.stop))
  const stream = model.tokenizer?.decodeStream()
  const decoding = await startDecoding(model, { ids: [ids] }, max)
  try {
    for (let step = 0; step < max; step++) {
      signal?.throwIfAborted()
      const id = choose(decoding.logits, ids, step, 0)
      ids.push(id)
      const token = model.tokenizer ? model.tokenText(id) : `<${id}>`
      const isLast = id === eos || step === max - 1
      const fresh = id === eos ? '' : (stream?.push(id) ?? '')
      const ready = text.take(fresh + (isLast ? (stream?.flush() ?? '') : ''), isLast)
      yield { id, token, text: ready }
      if (isLast || text.stopped) return
      await decoding.step([id])
    }
  } finally {
    decoding.free()
  }
}

/** Options of `generateIds`: ids instead of texts. */
export interface GenerateIdsOptions extends SamplingOptions {
  maxNewTokens: number
  seed?: number
  /** Ends a row; null: nothing does. Default: the model's own. */
  eosId?: number | null
  /** What a finished row goes on with. Default: the model's own. */
  padId?: number | null
  signal?: AbortSignal
  /** Steps done so far. */
  onProgress?: (done: number, of: number) => void
}

/**
 * Continues rows of ids at once. Rows of one length; shorter ones are padded on the left and their mask is given. Rows
 * are returned with their prompts, of one length again: a finished row goes on with `padId`.
 */
export async function generateIds(
  model: TextModel,
  prompt: { ids: readonly (readonly number[])[]; mask?: readonly (readonly number[])[] | null },
  options: GenerateIdsOptions,
): Promise<number[][]> {
  checkOptions('generateIds', options, [
    'maxNewTokens',
    'temperature',
    'topK',
    'topP',
    'minP',
    'repetitionPenalty',
    'seed',
    'eosId',
    'padId',
    'signal',
    'onProgress',
  ])
  const rows = prompt.ids.map((row) => [...row])
  const max = maxOf(options.maxNewTokens, model.config.nCtx - (rows[0]?.length ?? 0))
  const choose = chooser(options)
  const eos = options.eosId === undefined ? model.eosId : options.eosId
  const pad = options.padId === undefined ? model.padId : options.padId
  const done = rows.map(() => false)
  const decoding = await startDecoding(model, prompt, max)
  const { nVocab } = model.config
  try {
    for (let step = 0; step < max; step++) {
      options.signal?.throwIfAborted()
      rows.forEach((row, r) => {
        if (done[r]) {
          if (pad === null)
            throw new OptionError(
              'generateIds: a row is finished and there is no padId to go on with; give one',
            )
          row.push(pad)
          return
        }
        const id = choose(decoding.logits.subarray(r * nVocab, (r + 1) * nVocab), row, step, r)
        row.push(id)
        if (id === eos) done[r] = true
      })
      options.onProgress?.(step + 1, max)
      if (step === max - 1 || done.every(Boolean)) break
      await decoding.step(rows.map((row) => row[row.length - 1]))
    }
  } finally {
    decoding.free()
  }
  return rows
}

function promptIds(
  model: TextModel,
  prompt: string | readonly number[],
  options: GenerateOptions,
): readonly number[] {
  if (typeof prompt !== 'string') return prompt
  const { tokenizer, bosId } = model
  if (!tokenizer)
    throw new InputError(`${model.source}: has no tokenizer.json, so it reads no text; give ids`)
  const { ids } = tokenizer.encode(prompt, {
    addSpecialTokens: options.addSpecialTokens ?? true,
    padding: false,
    truncation: false,
  })
  if (ids.length > 0) return ids
  if (bosId === null)
    throw new InputError(
      'the prompt is empty and this model has no token to begin with; give at least one character',
    )
  return [bosId]
}

function maxOf(wanted: number | undefined, room: number): number {
  if (wanted === undefined) return Math.min(50, room)
  if (!Number.isInteger(wanted) || wanted < 1)
    throw new OptionError(`maxNewTokens is ${wanted}, expected a positive integer`)
  return wanted
}

function eosOf(model: TextModel, given: GenerateOptions['eosToken']): number | null {
  if (given === undefined) return model.eosId
  if (given === null || typeof given === 'number') return given
  const id = model.tokenizer?.tokenToId(given)
  if (id === undefined) throw new OptionError(`eosToken ${JSON.stringify(given)} is no token of this model`)
  return id
}

function stopsOf(stop: GenerateOptions['stop']): string[] {
  const list = stop === undefined ? [] : typeof stop === 'string' ? [stop] : [...stop]
  for (const s of list)
    if (typeof s !== 'string' || s === '')
      throw new OptionError(`stop is ${JSON.stringify(s)}, expected a text`)
  return list
}

/** Holds back text that may be the beginning of a stop text. */
class Held {
  private text = ''
  stopped = false
  constructor(private readonly stops: readonly string[]) {}

  /** Adds text; returns what is certain. At the end everything is. */
  take(more: string, isLast: boolean): string {
    this.text += more
    const at = Math.min(...this.stops.map((s) => this.text.indexOf(s)).filter((i) => i >= 0))
    if (Number.isFinite(at)) {
      this.stopped = true
      return this.release(at)
    }
    return this.release(isLast ? this.text.length : this.text.length - this.maybe())
  }
  private release(n: number): string {
    const out = this.text.slice(0, n)
    this.text = this.text.slice(n)
    return out
  }
  /** How many characters at the end could begin a stop text. */
  private maybe(): number {
    const longest = Math.max(0, ...this.stops.map((s) => s.length - 1))
    for (let n = Math.min(longest, this.text.length); n > 0; n--) {
      const tail = this.text.slice(-n)
      if (this.stops.some((s) => s.startsWith(tail))) return n
    }
    return 0
  }
}
