/**
 * The decoder of a file: token strings in, text out. Components pass lists of strings along; the list is joined at the
 * end. It refuses to look at ids.
 */
import { bytesOfToken } from './byte-alphabet.js'
import { TokenizerFormatError, UnsupportedComponentError } from './errors.js'
import { Fields, type Json } from './json.js'
import { patternFinder } from './pattern.js'

export type Decoder = (tokens: string[]) => string[]

/** Invalid UTF-8 becomes U+FFFD; a BOM stays. */
const utf8 = new TextDecoder('utf-8', { ignoreBOM: true })
const strict = new TextDecoder('utf-8', { ignoreBOM: true, fatal: true })

export function readDecoder(json: Json | undefined, path: string): Decoder {
  if (json === null || json === undefined) return (tokens) => [tokens.join(' ')]
  return read(json, path)
}

function read(json: Json, path: string): Decoder {
  const fields = Fields.of(json, path)
  const type = fields.string('type')
  switch (type) {
    case 'Sequence': {
      const parts = fields.array('decoders').map((part, i) => read(part, `${path}.decoders[${i}]`))
      return (tokens) => parts.reduce((t, part) => part(t), tokens)
    }
    case 'ByteLevel':
      if (!fields.has('add_prefix_space') || !fields.has('trim_offsets'))
        throw new TokenizerFormatError(path, 'a ByteLevel decoder needs add_prefix_space and trim_offsets')
      return (tokens) => {
        const bytes: number[] = []
        for (const token of tokens) for (const byte of bytesOfToken(token)) bytes.push(byte)
        return [utf8.decode(Uint8Array.from(bytes))]
      }
    case 'WordPiece':
      return wordPiece(fields)
    case 'Fuse':
      return (tokens) => [tokens.join('')]
    case 'ByteFallback':
      return byteFallback
    case 'Metaspace': {
      const mark = fields.string('replacement')
      const old = fields.boolean('add_prefix_space', true) ? 'always' : 'never'
      const drops = fields.string('prepend_scheme', old) !== 'never'
      return (tokens) => tokens.map((token, i) => token.replaceAll(mark, i === 0 && drops ? '' : ' '))
    }
    case 'BPEDecoder': {
      const suffix = fields.string('suffix', '</w>')
      return (tokens) =>
        tokens.map((token, i) => token.replaceAll(suffix, i === tokens.length - 1 ? '' : ' '))
    }
    case 'Strip': {
      const content = fields.string('content')
      const start = fields.count('start')
      const stop = fields.count('stop')
      return (tokens) => tokens.map((token) => strip(token, content, start, stop))
    }
    case 'Replace': {
      const find = patternFinder(fields, 'pattern')
      const content = fields.string('content')
      return (tokens) => tokens.map((token) => replace(token, find(token), content))
    }
    case 'CTC':
      return ctc(fields)
    default:
      throw new UnsupportedComponentError(`decoder ${type}`, path)
  }
}

/** Spaces before punctuation and English contractions, as BERT's own detokeniser removes them. */
const cleanups = [
  [' .', '.'],
  [' ?', '?'],
  [' !', '!'],
  [' ,', ','],
  [" ' ", "'"],
  [" n't", "n't"],
  [" 'm", "'m"],
  [' do not', " don't"],
  [" 's", "'s"],
  [" 've", "'ve"],
  [" 're", "'re"],
] // prettier-ignore
const cleaned = (text: string) => cleanups.reduce((t, [from, to]) => t.replaceAll(from, to), text)

function wordPiece(fields: Fields): Decoder {
  const prefix = fields.string('prefix', '##')
  const cleanup = fields.boolean('cleanup', true)
  return (tokens) =>
    tokens.map((token, i) => {
      const text = i === 0 ? token : token.startsWith(prefix) ? token.slice(prefix.length) : ` ${token}`
      return cleanup ? cleaned(text) : text
    })
}

/** Runs of `<0xXX>` become their text, or one U+FFFD a byte where they are no UTF-8. */
function byteFallback(tokens: string[]): string[] {
  const out: string[] = []
  let bytes: number[] = []
  const flush = () => {
    if (bytes.length === 0) return
    try {
      out.push(strict.decode(Uint8Array.from(bytes)))
    } catch {
      for (const _ of bytes) out.push('\ufffd')
    }
    bytes = []
  }
  for (const token of tokens) {
    const code = /^<0x([0-9a-fA-F]{2})>$/.exec(token)
    if (code) bytes.push(Number.parseInt(code[1], 16))
    else {
      flush()
      out.push(token)
    }
  }
  flush()
  return out
}

function strip(token: string, content: string, start: number, stop: number): string {
  const chars = Array.from(token)
  let from = 0
  while (from < start && chars[from] === content) from++
  let to = chars.length
  while (chars.length - to < stop && to > from && chars[to - 1] === content) to--
  return chars.slice(from, to).join('')
}

function replace(token: string, matches: [number, number][], content: string): string {
  let out = ''
  let at = 0
  for (const [from, to] of matches) {
    out += token.slice(at, from) + content
    at = to
  }
  return out + token.slice(at)
}

/** Repeated tokens count once, padding vanishes. */
function ctc(fields: Fields): Decoder {
  const padding = fields.string('pad_token', '<pad>')
  const delimiter = fields.string('word_delimiter_token', '|')
  const cleanup = fields.boolean('cleanup', true)
  return (tokens) =>
    tokens
      .filter((token, i) => i === 0 || token !== tokens[i - 1])
      .map((token) => {
        const text = token.replaceAll(padding, '')
        return cleanup ? cleaned(text).replaceAll(delimiter, ' ') : text
      })
      .filter((text) => text !== '')
}
