/**
 * Tokens that stand beside the model's vocabulary: found in the raw text (or, where they say so, in the normalised one)
 * before anything else looks at it, and never cut. It refuses to add tokens around a text (post-processors.ts).
 */
import { AlignedText } from './aligned-text.js'
import { Fields, type Json } from './json.js'
import type { Normalizer } from './normalizers.js'
import { plainWordSet, whiteSpaceSet } from './unicode/ranges.js'
import type { Model } from './vocab.js'

export interface AddedToken {
  id: number
  content: string
  singleWord: boolean
  lstrip: boolean
  rstrip: boolean
  normalized: boolean
  special: boolean
}

/** A piece of the text; `added` if it is an added token and needs no model. */
export interface Piece {
  text: AlignedText
  added?: AddedToken
}

export class AddedTokens {
  private readonly byContent = new Map<string, number>()
  private readonly byId = new Map<number, AddedToken>()
  /** What an id is decoded to: a normalised token comes out normalised. */
  private readonly texts = new Map<number, string>()
  private readonly special = new Set<string>()
  private readonly raw: Matcher
  private readonly normalised: Matcher

  constructor(
    json: Json[],
    path: string,
    model: Model,
    private readonly normalizer: Normalizer,
  ) {
    const kept: AddedToken[] = []
    for (const [i, entry] of json.entries()) {
      const token = readAddedToken(Fields.of(entry, `${path}[${i}]`))
      if (token.content === '') continue
      if (token.special) this.special.add(token.content)
      token.id = this.byContent.get(token.content) ?? model.vocab.get(token.content) ?? this.nextId(model)
      this.byContent.set(token.content, token.id)
      this.byId.set(token.id, token) // the last of the same content wins
      kept.push(token)
    }
    const tokens = kept.map((t) => this.byId.get(t.id) as AddedToken)
    const pattern = (t: AddedToken) => normalizer(AlignedText.from(t.content)).text
    this.raw = new Matcher(tokens.filter((t) => !t.normalized).map((t) => [t.content, t]))
    this.normalised = new Matcher(tokens.filter((t) => t.normalized).map((t) => [pattern(t), t]))
    for (const t of tokens) this.texts.set(t.id, t.normalized ? pattern(t) : t.content)
  }

  /** Ids go on behind the vocabulary, whatever the file says: so the library numbers them. */
  private nextId(model: Model): number {
    let next = model.vocab.size
    for (const id of this.byContent.values()) next = Math.max(next, id + 1)
    return next
  }

  /** Tokens that the model does not have. */
  extra(model: Model): number {
    return [...this.byContent.keys()].filter((content) => !model.vocab.has(content)).length
  }

  id(content: string): number | undefined {
    return this.byContent.get(content)
  }

  content(id: number): string | undefined {
    return this.texts.get(id)
  }

  isSpecial(content: string): boolean {
    return this.special.has(content)
  }

  /** All special ones, by id. */
  specials(): AddedToken[] {
    return [...this.byId.values()].filter((t) => this.special.has(t.content)).sort((a, b) => a.id - b.id)
  }

  has(content: string): boolean {
    return this.byContent.has(content)
  }

  /** Cuts out added tokens and normalises the rest. */
  split(text: AlignedText, keepSpecialsAsText: boolean): Piece[] {
    const skip = (t: AddedToken) => keepSpecialsAsText && this.special.has(t.content)
    return this.raw.split(text, skip).flatMap((piece) => {
      if (piece.added) return [piece]
      return this.normalised.split(this.normalizer(piece.text), skip)
    })
  }
}

function readAddedToken(fields: Fields): AddedToken {
  return {
    id: fields.count('id'),
    content: fields.string('content'),
    singleWord: fields.boolean('single_word', false),
    lstrip: fields.boolean('lstrip', false),
    rstrip: fields.boolean('rstrip', false),
    normalized: fields.boolean('normalized', true),
    special: fields.boolean('special', false),
  }
}

/** The longest token at the leftmost place, then on behind it. */
class Matcher {
  private readonly byFirst = new Map<number, [string, AddedToken][]>()

  constructor(patterns: [string, AddedToken][]) {
    for (const entry of patterns) {
      if (entry[0] === '') continue
      const first = entry[0].charCodeAt(0)
      const list = this.byFirst.get(first)
      if (list) list.push(entry)
      else this.byFirst.set(first, [entry])
    }
    for (const list of this.byFirst.values()) list.sort((a, b) => b[0].length - a[0].length)
  }

  split(text: AlignedText, skip: (token: AddedToken) => boolean): Piece[] {
    const s = text.text
    if (s === '') return []
    if (this.byFirst.size === 0) return [{ text }]
    const out: Piece[] = []
    const white = whiteSpaceSet()
    let at = 0 // end of the last piece
    for (let i = 0; i < s.length; ) {
      const found = this.byFirst.get(s.charCodeAt(i))?.find(([content]) => s.startsWith(content, i))
      if (!found) {
        i++
        continue
      }
      const [content, token] = found
      let from = i
      let to = i + content.length
      i = to
      if (skip(token)) continue
      if (token.singleWord && (endsInWord(s, from) || startsWithWord(s, to))) continue
      if (token.lstrip) {
        while (from > 0 && white.has(s.charCodeAt(from - 1))) from--
        from = Math.max(from, at)
      }
      if (token.rstrip) while (to < s.length && white.has(s.charCodeAt(to))) to++
      if (at < from) out.push({ text: text.slice(at, from) })
      out.push({ text: text.slice(from, to), added: token })
      at = to
    }
    if (at < s.length) out.push({ text: text.slice(at, s.length) })
    return out
  }
}

function startsWithWord(s: string, at: number): boolean {
  return at < s.length && plainWordSet().has(s.codePointAt(at) as number)
}

function endsInWord(s: string, at: number): boolean {
  if (at === 0) return false
  const low = s.charCodeAt(at - 1)
  return plainWordSet().has(low >= 0xdc00 && low < 0xe000 ? (s.codePointAt(at - 2) as number) : low)
}
