/**
 * Truncation and padding: the settings of the file, those of a call, and what they do to one or two texts. It refuses to
 * touch tokens itself (encoding.ts).
 */
import { type Draft, pad, truncate } from './encoding.js'
import { TokenizerError, TokenizerFormatError } from './errors.js'
import { checkOptions, Fields, type Json } from './json.js'

export interface Truncation {
  /** Longest encoding, special tokens included. Shorter than the special tokens alone = no truncation. */
  maxLength: number
  /** How many tokens of a part are repeated in the next of `overflowing`. */
  stride?: number
  strategy?: 'longestFirst' | 'onlyFirst' | 'onlySecond'
  side?: 'left' | 'right'
}

export interface Padding {
  /** 'longest' of the batch, or a fixed number of tokens. */
  length?: 'longest' | number
  multipleOf?: number
  side?: 'left' | 'right'
  padId?: number
  padToken?: string
  padTypeId?: number
}

export type FullTruncation = Required<Truncation>
export type FullPadding = Required<Padding>

function side(fields: Fields): 'left' | 'right' {
  const value = fields.string('direction', 'Right')
  if (value !== 'Left' && value !== 'Right')
    throw new TokenizerFormatError(fields.at('direction'), `"${value}" is neither Left nor Right`)
  return value === 'Left' ? 'left' : 'right'
}

export function readTruncation(json: Json | undefined, path: string): FullTruncation | null {
  if (json === null || json === undefined) return null
  const fields = Fields.of(json, path)
  const strategy = fields.string('strategy', 'LongestFirst')
  const known = { LongestFirst: 'longestFirst', OnlyFirst: 'onlyFirst', OnlySecond: 'onlySecond' } as const
  if (!(strategy in known))
    throw new TokenizerFormatError(
      fields.at('strategy'),
      `"${strategy}" is none of ${Object.keys(known).join(', ')}`,
    )
  return {
    maxLength: fields.count('max_length'),
    stride: fields.count('stride', 0),
    strategy: known[strategy as keyof typeof known],
    side: side(fields),
  }
}

export function readPadding(json: Json | undefined, path: string): FullPadding | null {
  if (json === null || json === undefined) return null
  const fields = Fields.of(json, path)
  const strategy = fields.get('strategy')
  return {
    length: strategy === 'BatchLongest' ? 'longest' : fields.object('strategy').count('Fixed'),
    multipleOf: fields.has('pad_to_multiple_of') ? fields.count('pad_to_multiple_of') : 0,
    side: side(fields),
    padId: fields.count('pad_id'),
    padTypeId: fields.count('pad_type_id', 0),
    padToken: fields.string('pad_token'),
  }
}

/** What a call says over what the file says: undefined = the file's, false = none. */
export function chooseTruncation(
  option: Truncation | false | undefined,
  file: FullTruncation | null,
): FullTruncation | null {
  if (option === undefined) return file
  if (option === false) return null
  checkOptions('truncation', option, ['maxLength', 'stride', 'strategy', 'side'])
  const out: FullTruncation = { stride: 0, strategy: 'longestFirst', side: 'right', ...option }
  if (!Number.isInteger(out.maxLength) || out.maxLength < 0)
    throw new RangeError(`truncation: maxLength is ${out.maxLength}, expected a whole number of at least 0`)
  if (!['longestFirst', 'onlyFirst', 'onlySecond'].includes(out.strategy))
    throw new RangeError(`truncation: unknown strategy "${out.strategy}"`)
  return out
}

export function choosePadding(
  option: Padding | 'longest' | boolean | undefined,
  file: FullPadding | null,
  filler: { id: number; token: string } | null,
): FullPadding | null {
  if (option === undefined) return file
  if (option === false) return null
  const given: Padding = option === true ? {} : option === 'longest' ? { length: 'longest' } : option
  if (typeof given !== 'object')
    throw new TypeError(`padding: expected true, false, 'longest' or an object, got ${JSON.stringify(given)}`)
  checkOptions('padding', given, ['length', 'multipleOf', 'side', 'padId', 'padToken', 'padTypeId'])
  const padId = given.padId ?? file?.padId ?? filler?.id
  const padToken = given.padToken ?? file?.padToken ?? filler?.token
  if (padId === undefined || padToken === undefined)
    throw new TokenizerError(
      'padding: this tokenizer has no padding token; pass padding: { padId, padToken }',
    )
  const length = given.length ?? 'longest'
  if (length !== 'longest' && (!Number.isInteger(length) || length < 0))
    throw new RangeError(`padding: length is ${length}, expected 'longest' or a whole number`)
  return {
    length,
    multipleOf: given.multipleOf ?? file?.multipleOf ?? 0,
    side: given.side ?? file?.side ?? 'right',
    padId,
    padToken,
    padTypeId: given.padTypeId ?? file?.padTypeId ?? 0,
  }
}

/** Cuts one text or a pair so that, with `added` tokens, it is at most `maxLength` long. */
export function limit(
  texts: Draft[],
  { maxLength, stride, strategy, side }: FullTruncation,
  added: number,
): Draft[] {
  const room = maxLength - added
  if (room < 0) return texts
  const cut = (draft: Draft, length: number) => truncate(draft, length, stride, side)
  const [first, second] = texts
  if (room === 0) return texts.map((text) => cut(text, 0))
  const total = texts.reduce((n, text) => n + text.ids.length, 0)
  if (total <= room) return texts
  if (strategy === 'longestFirst') {
    if (!second) return [cut(first, room)]
    const [a, b] = share(first.ids.length, second.ids.length, room)
    return [cut(first, a), cut(second, b)]
  }
  const target = strategy === 'onlyFirst' ? first : second
  if (!target) throw new TokenizerError('truncation: strategy onlySecond, but there is no second text')
  const left = target.ids.length - (total - room)
  if (left <= 0)
    throw new TokenizerError(
      `truncation: ${strategy} would have to cut ${total - room} of ${target.ids.length} tokens; use longestFirst or a longer maxLength`,
    )
  return texts.map((text) => (text === target ? cut(text, left) : text))
}

/** Lengths of two texts that share `room`: the longer one is cut first. */
function share(first: number, second: number, room: number): [number, number] {
  let [short, long] = first <= second ? [first, second] : [second, first]
  long = short > room ? short : Math.max(short, room - short)
  if (short + long > room) {
    short = Math.floor(room / 2)
    long = short + (room % 2)
  }
  return first <= second ? [short, long] : [long, short]
}

/** Fills all encodings of a batch up. */
export function fill(drafts: Draft[], padding: FullPadding): void {
  let length =
    padding.length === 'longest' ? drafts.reduce((n, d) => Math.max(n, d.ids.length), 0) : padding.length
  if (padding.multipleOf > 0) length = Math.ceil(length / padding.multipleOf) * padding.multipleOf
  const filler = { id: padding.padId, token: padding.padToken, typeId: padding.padTypeId, side: padding.side }
  for (const draft of drafts) pad(draft, length, filler)
}
