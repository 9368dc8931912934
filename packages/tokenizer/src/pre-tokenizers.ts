/**
 * The pre-tokenizer of a file: one text in, pieces out, inside which the model works. One small function a component. It
 * refuses to look at the vocabulary.
 */
import type { AlignedText } from './aligned-text.js'
import { bytesAsChars } from './byte-alphabet.js'
import { TokenizerFormatError, UnsupportedComponentError } from './errors.js'
import { Fields, type Json } from './json.js'
import {
  type Behavior,
  behaviors,
  type Finder,
  patternFinder,
  regexFinder,
  setFinder,
  split,
  stringFinder,
} from './pattern.js'
import { translateRegex } from './regex.js'
import { classBody, numeric, oldPunctuation, plainWord, whiteSpace, whiteSpaceSet } from './unicode/ranges.js'

/** Pieces are never empty. */
export type PreTokenizer = (text: AlignedText) => AlignedText[]

/** Contractions, letters, numbers, the rest, each with one space before it; then runs of spaces (GPT-2). */
export const gpt2Pattern = String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`

export function readPreTokenizer(json: Json | undefined, path: string): PreTokenizer {
  if (json === null || json === undefined) return (text) => [text]
  const fields = Fields.of(json, path)
  const type = fields.string('type')
  switch (type) {
    case 'Sequence': {
      const parts = fields
        .array('pretokenizers')
        .map((part, i) => readPreTokenizer(part, `${path}.pretokenizers[${i}]`))
      return (text) => parts.reduce((pieces, part) => pieces.flatMap(part), [text])
    }
    case 'ByteLevel':
      return byteLevel(fields)
    case 'BertPreTokenizer':
      return (text) =>
        split(text, setFinder(whiteSpaceSet()), 'Removed').flatMap((t) =>
          /^[A-Za-z0-9]+$/.test(t.text) ? [t] : split(t, setFinder(oldPunctuation()), 'Isolated'),
        )
    case 'Whitespace': {
      const words = `[${classBody(plainWord())}]+|[^${classBody([...plainWord(), ...whiteSpace])}]+`
      const find = regexFinder(new RegExp(words, 'gu'))
      return (text) => split(text, find, 'Removed', true)
    }
    case 'WhitespaceSplit':
      return (text) => split(text, setFinder(whiteSpaceSet()), 'Removed')
    case 'Punctuation': {
      const how = behavior(fields, 'Isolated')
      return (text) => split(text, setFinder(oldPunctuation()), how)
    }
    case 'Digits': {
      const how = fields.boolean('individual_digits', false) ? 'Isolated' : 'Contiguous'
      return (text) => split(text, setFinder(numeric()), how)
    }
    case 'Split': {
      const find = patternFinder(fields, 'pattern')
      const how = behavior(fields)
      const invert = fields.boolean('invert', false)
      return (text) => split(text, find, how, invert)
    }
    case 'CharDelimiterSplit': {
      const find = stringFinder(fields.string('delimiter'))
      return (text) => split(text, find, 'Removed')
    }
    case 'Metaspace':
      return metaspace(fields)
    case 'FixedLength': {
      const length = fields.count('length')
      if (length === 0) throw new TokenizerFormatError(fields.at('length'), 'must be at least 1')
      return (text) => split(text, fixedLength(length), 'Isolated')
    }
    default:
      throw new UnsupportedComponentError(`pre-tokenizer ${type}`, path)
  }
}

function behavior(fields: Fields, fallback?: Behavior): Behavior {
  const name = fields.string('behavior', fallback)
  const found = behaviors.find((b) => b === name)
  if (!found)
    throw new TokenizerFormatError(fields.at('behavior'), `"${name}" is none of ${behaviors.join(', ')}`)
  return found
}

function byteLevel(fields: Fields): PreTokenizer {
  const prefix = fields.boolean('add_prefix_space', true)
  const find = fields.boolean('use_regex', true)
    ? regexFinder(translateRegex(gpt2Pattern, fields.path))
    : null
  return (text) => {
    if (prefix && !text.text.startsWith(' ')) text = text.prepend(' ')
    return (find ? split(text, find, 'Isolated') : [text]).map(bytesAsChars)
  }
}

function metaspace(fields: Fields): PreTokenizer {
  const mark = fields.string('replacement')
  const old = fields.boolean('add_prefix_space', true) ? 'always' : 'never'
  const scheme = fields.string('prepend_scheme', old)
  if (!['always', 'first', 'never'].includes(scheme))
    throw new TokenizerFormatError(fields.at('prepend_scheme'), `"${scheme}" is none of always, first, never`)
  const splits = fields.boolean('split', true)
  const spaces = stringFinder(' ')
  const marks = stringFinder(mark)
  return (text) => {
    text = text.replace(spaces(text.text), mark)
    const wants = scheme === 'always' || (scheme === 'first' && text.base === 0)
    if (wants && !text.text.startsWith(mark)) text = text.prepend(mark)
    return splits ? split(text, marks, 'MergedWithNext') : [text]
  }
}

function fixedLength(length: number): Finder {
  return (text) => {
    const out: [number, number][] = []
    let from = 0
    let points = 0
    for (let i = 0; i < text.length; ) {
      i += (text.codePointAt(i) as number) > 0xffff ? 2 : 1
      if (++points === length) {
        out.push([from, i])
        from = i
        points = 0
      }
    }
    return out
  }
}
