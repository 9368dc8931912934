/**
 * The normalizer of a file: text in, text out, alignment kept. One small function a component; BERT's is the only one with
 * rules of its own. It refuses to split anything.
 */
import type { AlignedText } from './aligned-text.js'
import { bytesAsChars } from './byte-alphabet.js'
import { UnsupportedComponentError } from './errors.js'
import { Fields, type Json } from './json.js'
import { patternFinder } from './pattern.js'
import { isStable, type NormalForm, normalForm } from './unicode/normal-forms.js'
import { accents, bertAccents, bertRemoved, isChinese, whiteSpaceSet } from './unicode/ranges.js'

export type Normalizer = (text: AlignedText) => AlignedText

export function readNormalizer(json: Json | undefined, path: string): Normalizer {
  if (json === null || json === undefined) return (text) => text
  const fields = Fields.of(json, path)
  const type = fields.string('type')
  switch (type) {
    case 'Sequence': {
      const parts = fields
        .array('normalizers')
        .map((part, i) => readNormalizer(part, `${path}.normalizers[${i}]`))
      return (text) => parts.reduce((t, part) => part(t), text)
    }
    case 'NFC':
    case 'NFD':
    case 'NFKC':
    case 'NFKD':
      return (text) => toNormalForm(text, type)
    case 'Lowercase':
      return lowercase
    case 'StripAccents':
      return (text) => without(text, (point) => accents().has(point))
    case 'BertNormalizer':
      return bert(fields)
    case 'Replace': {
      const find = patternFinder(fields, 'pattern')
      const content = fields.string('content')
      return (text) => text.replace(find(text.text), content)
    }
    case 'Prepend': {
      const content = fields.string('prepend')
      return (text) => text.prepend(content)
    }
    case 'Strip': {
      const left = fields.boolean('strip_left')
      const right = fields.boolean('strip_right')
      return (text) => strip(text, left, right)
    }
    case 'ByteLevel':
      return bytesAsChars
    case 'Nmt':
      return nmt
    default:
      throw new UnsupportedComponentError(`normalizer ${type}`, path)
  }
}

/** White space that is no control character, and tab and line ends: what becomes a space. */
const bertSpaces = /[\t\n\r\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]/g
const isAscii = (text: string) => !/[^\0-\x7f]/.test(text)

function toNormalForm(text: AlignedText, form: NormalForm): AlignedText {
  return isStable(text.text, form) ? text : text.rewrite(normalForm(text.text, form))
}

/** One character at a time, so Σ never becomes a final ς. */
export function lowercase(text: AlignedText): AlignedText {
  if (isAscii(text.text)) return text.withText(text.text.toLowerCase())
  return text.mapPoints((_, char) => char.toLowerCase())
}

function without(text: AlignedText, drop: (point: number) => boolean): AlignedText {
  return isAscii(text.text) ? text : text.mapPoints((point, char) => (drop(point) ? '' : char))
}

function strip(text: AlignedText, left: boolean, right: boolean): AlignedText {
  const white = whiteSpaceSet() // all of them are one unit long
  let from = 0
  let to = text.text.length
  if (left) while (from < to && white.has(text.text.charCodeAt(from))) from++
  if (right) while (to > from && white.has(text.text.charCodeAt(to - 1))) to--
  return text.slice(from, to)
}

/** BertNormalizer: clean, space around Chinese characters, strip accents, lowercase, in this order. */
function bert(fields: Fields): Normalizer {
  const clean = fields.boolean('clean_text', true)
  const chinese = fields.boolean('handle_chinese_chars', true)
  const lower = fields.boolean('lowercase', true)
  const strips = fields.has('strip_accents') ? fields.boolean('strip_accents') : lower
  return (text) => {
    if (clean && /[^ -~]/.test(text.text)) text = cleanText(text)
    if (chinese && !isAscii(text.text))
      text = text.mapPoints((point, char) => (isChinese(point) ? ` ${char} ` : char))
    if (strips) text = without(toNormalForm(text, 'NFD'), (point) => bertAccents().has(point))
    return lower ? lowercase(text) : text
  }
}

function cleanText(text: AlignedText): AlignedText {
  const spaced = text.withText(text.text.replace(bertSpaces, ' ')) // all white space is one unit long
  const removed = bertRemoved()
  const plain = /^[ -~\u00ae-\u00ff\u2010-\u2027]*$/.test(spaced.text) // the usual case: nothing to remove
  return plain ? spaced : spaced.mapPoints((point, char) => (removed.has(point) ? '' : char))
}

/** The normaliser of the Moses-like NMT pipelines: control characters vanish, kinds of space become a space. */
function nmt(text: AlignedText): AlignedText {
  return text.mapPoints((c, char) => {
    if (
      (c >= 1 && c <= 8) ||
      c === 0x0b ||
      (c >= 0x0e && c <= 0x1f) ||
      c === 0x7f ||
      c === 0x8f ||
      c === 0x9f
    )
      return ''
    const isSpace =
      c === 9 ||
      c === 10 ||
      c === 12 ||
      c === 13 ||
      c === 0x1680 ||
      (c >= 0x200b && c <= 0x200f) ||
      c === 0x2028 ||
      c === 0x2029 ||
      c === 0x2581 ||
      c === 0xfeff ||
      c === 0xfffd // prettier-ignore
    return isSpace ? ' ' : char
  })
}
