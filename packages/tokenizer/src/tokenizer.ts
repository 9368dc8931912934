/**
 * The whole pipeline of a tokenizer.json: normalizer → added tokens → pre-tokenizer → model → truncation →
 * post-processor → padding, and the decoder back. It refuses to know any component, and where a file comes from (load.ts).
 */
import { AddedTokens } from './added-tokens.js'
import { AlignedText } from './aligned-text.js'
import { bytesOfToken, isUtf8 } from './byte-alphabet.js'
import { DecodeStream } from './decode-stream.js'
import { type Decoder, readDecoder } from './decoders.js'
import {
  type Draft,
  type Encoding,
  emptyDraft,
  finish,
  joinAll,
  type UnitsOfPoints,
  unitsOfPoints,
} from './encoding.js'
import { TokenizerError, TokenizerFormatError } from './errors.js'
import { checkOptions, Fields, type Json, type JsonObject } from './json.js'
import {
  choosePadding,
  chooseTruncation,
  type FullPadding,
  type FullTruncation,
  fill,
  limit,
  type Padding,
  readPadding,
  readTruncation,
  type Truncation,
} from './limits.js' // prettier-ignore
import { readModel } from './model.js'
import { type Normalizer, readNormalizer } from './normalizers.js'
import { PostProcessing } from './post-processors.js'
import { type PreTokenizer, readPreTokenizer } from './pre-tokenizers.js'
import type { Model } from './vocab.js'

/** A text, or words that are given and are not to be split apart by the caller's own rules again. */
export type TextInput = string | readonly string[]

export interface EncodeOptions {
  /** A second text: question and answer, sentence and sentence. */
  pair?: TextInput
  /** false leaves out what the post-processor adds ([CLS], <s>, …). Default true. */
  addSpecialTokens?: boolean
  /** Over the file's own setting; false = none. */
  truncation?: Truncation | false
  /** Over the file's own setting; true = 'longest' of the batch, false = none. */
  padding?: Padding | 'longest' | boolean
  /** true takes `[SEP]` in the text for five characters and not for the special token. Default false. */
  splitSpecialTokens?: boolean
}

export interface BatchOptions extends Omit<EncodeOptions, 'pair'> {
  /** The second text of every one of `texts`; undefined where there is none. */
  pairs?: readonly (TextInput | undefined)[]
  /** Short for `padding: { side }`. */
  padSide?: 'left' | 'right'
}

export interface DecodeOptions {
  /** Default true. */
  skipSpecialTokens?: boolean
}

export interface SpecialToken {
  id: number
  token: string
}

const encodeKeys = ['pair', 'addSpecialTokens', 'truncation', 'padding', 'splitSpecialTokens'] as const
const batchKeys = [
  'pairs',
  'addSpecialTokens',
  'truncation',
  'padding',
  'splitSpecialTokens',
  'padSide',
] as const

export class Tokenizer {
  private readonly model: Model
  private readonly added: AddedTokens
  private readonly preTokenizer: PreTokenizer
  private readonly postProcessing: PostProcessing
  private readonly decoder: Decoder
  private readonly normalizer: Normalizer
  /** The file's own truncation, null where it has none. */
  readonly truncation: FullTruncation | null
  /** The file's own padding, null where it has none. */
  readonly padding: FullPadding | null

  constructor(private readonly file: JsonObject) {
    const fields = Fields.of(file, '$')
    this.model = readModel(file.model, '$.model')
    this.normalizer = readNormalizer(file.normalizer, '$.normalizer')
    this.preTokenizer = readPreTokenizer(file.pre_tokenizer, '$.pre_tokenizer')
    this.postProcessing = new PostProcessing(file.post_processor, '$.post_processor')
    this.decoder = readDecoder(file.decoder, '$.decoder')
    this.added = new AddedTokens(
      fields.array('added_tokens', []),
      '$.added_tokens',
      this.model,
      this.normalizer,
    )
    this.truncation = readTruncation(file.truncation, '$.truncation')
    this.padding = readPadding(file.padding, '$.padding')
  }

  /**
   * The tokens of a text. Special tokens are those that the file's post-processor adds, nothing more. Lone surrogates
   * count as U+FFFD. Offsets are UTF-16 units of `text` (of `pair`, of a given word).
   */
  encode(text: TextInput, options: EncodeOptions = {}): Encoding {
    checkOptions('encode', options, encodeKeys)
    const units: UnitsOfPoints[] = []
    const draft = this.draft(text, options.pair, options, units)
    const padding = choosePadding(options.padding, this.padding, this.padToken)
    if (padding) fill([draft], padding)
    return finish(draft, units)
  }

  /** The tokens of many texts, padded to one length where `padding` (or the file) says so. */
  encodeBatch(texts: readonly TextInput[], options: BatchOptions = {}): Encoding[] {
    checkOptions('encodeBatch', options, batchKeys)
    const { pairs, padSide } = options
    if (pairs && pairs.length !== texts.length)
      throw new RangeError(`encodeBatch: ${texts.length} texts but ${pairs.length} pairs`)
    const units: UnitsOfPoints[][] = texts.map(() => [])
    const drafts = texts.map((text, i) => this.draft(text, pairs?.[i], options, units[i]))
    const padding = choosePadding(options.padding, this.padding, this.padToken)
    if (padding) fill(drafts, padSide ? { ...padding, side: padSide } : padding)
    return drafts.map((draft, i) => finish(draft, units[i]))
  }

  private draft(
    text: TextInput,
    pair: TextInput | undefined,
    options: EncodeOptions | BatchOptions,
    units: UnitsOfPoints[],
  ): Draft {
    const add = options.addSpecialTokens ?? true
    const split = options.splitSpecialTokens ?? false
    let texts = [this.sequence(text, 0, split, units)]
    if (pair !== undefined) texts.push(this.sequence(pair, 1, split, units))
    const truncation = chooseTruncation(options.truncation, this.truncation)
    if (truncation) texts = limit(texts, truncation, add ? this.postProcessing.added(pair !== undefined) : 0)
    return this.postProcessing.run(texts, add)
  }

  /** One of the two texts, before anything is added to it. */
  private sequence(text: TextInput, typeId: number, splitSpecials: boolean, units: UnitsOfPoints[]): Draft {
    if (typeof text === 'string') return this.tokens(text, typeId, null, splitSpecials, units)
    if (!Array.isArray(text))
      throw new TypeError(`encode: expected a string or an array of words, got ${typeof text}`)
    return joinAll(text.map((word, i) => this.tokens(word, typeId, i, splitSpecials, units)))
  }

  private tokens(
    text: string,
    typeId: number,
    word: number | null,
    splitSpecials: boolean,
    units: UnitsOfPoints[],
  ): Draft {
    if (typeof text !== 'string') throw new TypeError(`encode: expected a string, got ${typeof text}`)
    const source = units.length
    const clean = wellFormed(text)
    units.push(unitsOfPoints(clean))
    const out = emptyDraft()
    let index = 0
    const add = (id: number, token: string, start: number, end: number) => {
      out.ids.push(id)
      out.typeIds.push(typeId)
      out.tokens.push(token)
      out.words.push(word ?? index)
      out.starts.push(start)
      out.ends.push(end)
      out.special.push(0)
      out.attention.push(1)
      out.sources.push(source)
    }
    for (const { text: part, added } of this.added.split(AlignedText.from(clean), splitSpecials)) {
      if (added) {
        add(added.id, part.text, part.startOf(0), part.endOf(part.text.length - 1))
        index++
        continue
      }
      for (const piece of this.preTokenizer(part)) {
        const { ids, starts, ends } = this.model.tokenize(piece.text)
        for (let i = 0; i < ids.length; i++)
          add(
            ids[i],
            this.model.idToToken(ids[i]) as string,
            piece.startOf(starts[i]),
            piece.endOf(ends[i] - 1),
          )
        index++
      }
    }
    return out
  }

  /** The text of ids. Ids that stand for nothing are left out, as the Rust library does. */
  decode(ids: ArrayLike<number> & Iterable<number>, options: DecodeOptions = {}): string {
    checkOptions('decode', options, ['skipSpecialTokens'])
    const skip = options.skipSpecialTokens ?? true
    const tokens: string[] = []
    for (const id of ids) {
      const token = this.idToToken(Number(id))
      if (token !== undefined && !(skip && this.added.isSpecial(token))) tokens.push(token)
    }
    return this.decoder(tokens).join('')
  }

  /** Text piece by piece while ids arrive: never half a character, and together what `decode` gives. */
  decodeStream(options: DecodeOptions = {}): DecodeStream {
    checkOptions('decodeStream', options, ['skipSpecialTokens'])
    return new DecodeStream((ids) => this.decode(ids, options))
  }

  tokenToId(token: string): number | undefined {
    return this.added.id(token) ?? this.model.vocab.get(token)
  }

  idToToken(id: number): string | undefined {
    return this.added.content(id) ?? this.model.idToToken(id)
  }

  /**
   * The bytes of a token that is no text of its own, only a part of a character (of a byte-level vocabulary, or `<0xF0>`);
   * null for every other token.
   */
  tokenBytes(id: number): Uint8Array | null {
    const token = this.idToToken(id)
    if (token === undefined || !this.decode([id], { skipSpecialTokens: false }).includes('\ufffd'))
      return null
    const named = /^<0x([0-9A-Fa-f]{2})>$/.exec(token)
    const bytes = named ? Uint8Array.of(Number.parseInt(named[1], 16)) : Uint8Array.from(bytesOfToken(token))
    // U+FFFD itself is text
    return isUtf8(bytes) ? null : bytes
  }

  /** How many different tokens there are, added ones included. */
  get vocabSize(): number {
    return this.model.vocab.size + this.added.extra(this.model)
  }

  /** All special tokens of the file, by id; which of them are put around a text is the post-processor's business. */
  get specialTokens(): SpecialToken[] {
    return this.added.specials().map(({ id, content }) => ({ id, token: content }))
  }

  /** From the file's padding, else an added token with one of the usual names, else null. */
  get padToken(): SpecialToken | null {
    if (this.padding) return { id: this.padding.padId, token: this.padding.padToken }
    return this.usual('[PAD]', '<pad>', '<|padding|>', '<|pad|>')
  }

  /** An added token with one of the usual names, else null. */
  get maskToken(): SpecialToken | null {
    return this.usual('[MASK]', '<mask>')
  }

  /** What the model gives for what it does not know, else null (byte-level models know everything). */
  get unkToken(): SpecialToken | null {
    const token = this.model.unkToken
    const id = token === undefined ? undefined : this.tokenToId(token)
    return token === undefined || id === undefined ? null : { id, token }
  }

  private usual(...names: string[]): SpecialToken | null {
    const token = names.find((name) => this.added.has(name))
    return token === undefined ? null : { id: this.added.id(token) as number, token }
  }

  /** The normaliser alone: text and, for every code point of it, the [start, end) code points it came from. */
  normalize(text: string): { text: string; offsetsCodePoints: [number, number][] } {
    const out = this.normalizer(AlignedText.from(wellFormed(text)))
    return { text: out.text, offsetsCodePoints: pointSpans(out) }
  }

  /** Normaliser and pre-tokenizer alone: the pieces that the model sees, added tokens not looked for. */
  preTokenize(text: string): {
    pieces: string[]
    offsets: [number, number][]
    offsetsCodePoints: [number, number][]
  } {
    const clean = wellFormed(text)
    const at = unitsOfPoints(clean)
    const pieces = this.preTokenizer(this.normalizer(AlignedText.from(clean))).filter((p) => p.text !== '')
    const points = pieces.map((p): [number, number] => [p.startOf(0), p.endOf(p.text.length - 1)])
    return {
      pieces: pieces.map((p) => p.text),
      offsets: points.map(([a, b]) => (at ? [at[a], at[b]] : [a, b])),
      offsetsCodePoints: points,
    }
  }

  /** The tokenizer.json, to be written with JSON.stringify. */
  toJson(): JsonObject {
    return structuredClone(this.file)
  }
}

function wellFormed(text: string): string {
  return /[\ud800-\udfff]/.test(text) ? text.replace(/\p{Surrogate}/gu, '\ufffd') : text
}

function pointSpans(text: AlignedText): [number, number][] {
  const out: [number, number][] = []
  let at = 0
  for (const char of text.text) {
    out.push([text.startOf(at), text.endOf(at)])
    at += char.length
  }
  return out
}

/** A tokenizer from the text or the parsed content of a tokenizer.json. */
export function tokenizerFromJson(json: string | object): Tokenizer {
  let value: unknown = json
  if (typeof json === 'string') {
    try {
      value = JSON.parse(json)
    } catch (error) {
      throw new TokenizerFormatError('$', `is not JSON (${(error as Error).message})`)
    }
  }
  if (value === null || typeof value !== 'object')
    throw new TokenizerError('tokenizerFromJson: expected JSON text or an object')
  return new Tokenizer(value as { [key: string]: Json })
}
