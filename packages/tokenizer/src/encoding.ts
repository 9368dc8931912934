/**
 * The token lists while they are being put together: joined, cut to length, filled up, wrapped in special tokens, each
 * with its overflow. Offsets are code points here and become UTF-16 units in `finish`. It refuses to know why any of this
 * happens (post-processors.ts, limits.ts).
 */
import { TokenizerError } from './errors.js'

/** Where offsets point: UTF-16 unit of every code point of a text and of its end, or null where they are the same. */
export type UnitsOfPoints = Int32Array | null

export interface Draft {
  ids: number[]
  typeIds: number[]
  tokens: string[]
  words: (number | null)[]
  starts: number[]
  ends: number[]
  special: number[]
  attention: number[]
  /** Which of the input's texts the offsets belong to (given words count as texts). */
  sources: number[]
  /** Tokens [from, to) of every sequence; empty = one sequence, everything. */
  ranges: Map<number, [number, number]>
  overflowing: Draft[]
}

export function emptyDraft(): Draft {
  return {
    ids: [],
    typeIds: [],
    tokens: [],
    words: [],
    starts: [],
    ends: [],
    special: [],
    attention: [],
    sources: [],
    ranges: new Map(),
    overflowing: [],
  } // prettier-ignore
}

const lists = [
  'ids',
  'typeIds',
  'tokens',
  'words',
  'starts',
  'ends',
  'special',
  'attention',
  'sources',
] as const

/** `count` tokens that come from no text. */
export function specialDraft(ids: number[], tokens: string[], typeId: number): Draft {
  const fill = <T>(value: T): T[] => ids.map(() => value)
  return {
    ids: [...ids],
    typeIds: fill(typeId),
    tokens: [...tokens],
    words: fill(null),
    starts: fill(0),
    ends: fill(0),
    special: fill(1),
    attention: fill(1),
    sources: fill(0),
    ranges: new Map(),
    overflowing: [],
  } // prettier-ignore
}

function part(of: Draft, from: number, to: number): Draft {
  const out = emptyDraft()
  for (const list of lists) (out[list] as unknown[]) = of[list].slice(from, to)
  return out
}

/** Without its overflow. */
function copy(of: Draft): Draft {
  const out = part(of, 0, of.ids.length)
  out.ranges = new Map(of.ranges)
  return out
}

export function setSequence(draft: Draft, sequence: number): void {
  draft.ranges.set(sequence, [0, draft.ids.length])
}

export function setTypeIds(draft: Draft, typeId: number): void {
  draft.typeIds = draft.ids.map(() => typeId)
}

/** Puts `other` behind `draft`; every overflow is combined with everything of the other side. */
export function append(draft: Draft, other: Draft): void {
  const overflowing: Draft[] = []
  const combine = (left: Draft, right: Draft) => {
    const both = copy(left)
    append(both, { ...right, overflowing: [] })
    overflowing.push(both)
  }
  for (const left of draft.overflowing) {
    combine(left, other)
    for (const right of other.overflowing) combine(left, right)
  }
  for (const right of other.overflowing) combine(draft, right)
  const length = draft.ids.length
  for (const [sequence, [from, to]] of other.ranges) draft.ranges.set(sequence, [length + from, length + to])
  for (const list of lists) for (const value of other[list]) (draft[list] as unknown[]).push(value)
  draft.overflowing = overflowing
}

export function joinAll(drafts: Draft[]): Draft {
  const out = emptyDraft()
  for (const draft of drafts) append(out, draft)
  return out
}

/** Cut to `length` tokens; what is cut off stands in `overflowing`, each part with `stride` tokens of the one before. */
export function truncate(draft: Draft, length: number, stride: number, side: 'left' | 'right'): Draft {
  const total = draft.ids.length
  if (length >= total) return draft
  if (length === 0)
    return { ...emptyDraft(), overflowing: [...draft.overflowing, { ...draft, overflowing: [] }] }
  if (stride >= length)
    throw new TokenizerError(
      `truncation: stride ${stride} leaves no room, ${length} tokens remain beside the special ones; use a smaller stride or a longer maxLength`,
    )
  const parts: Draft[] = []
  for (let i = 0; ; i += length - stride) {
    const from = side === 'right' ? i : Math.max(0, total - i - length)
    const to = side === 'right' ? Math.min(i + length, total) : total - i
    parts.push(part(draft, from, to))
    if (side === 'right' ? to === total : from === 0) break
  }
  const [first, ...rest] = parts
  first.overflowing = rest
  return first
}

export interface Filler {
  id: number
  token: string
  typeId: number
  side: 'left' | 'right'
}

/** Fills up to `length` tokens, the overflow too. */
export function pad(draft: Draft, length: number, filler: Filler): void {
  for (const overflow of draft.overflowing) pad(overflow, length, filler)
  const missing = length - draft.ids.length
  if (missing <= 0) return
  const filling = specialDraft(
    Array(missing).fill(filler.id),
    Array(missing).fill(filler.token),
    filler.typeId,
  )
  filling.attention.fill(0)
  const left = filler.side === 'left'
  for (const list of lists) {
    const parts = left ? [filling[list], draft[list]] : [draft[list], filling[list]]
    ;(draft[list] as unknown[]) = (parts[0] as unknown[]).concat(parts[1])
  }
  if (left) for (const range of draft.ranges.values()) for (const i of [0, 1]) range[i] += missing
}

/** The tokens of a text, or of a pair of texts, and where they come from. All arrays are as long as `ids`. */
export interface Encoding {
  ids: number[]
  tokens: string[]
  /** [start, end) of every token in its text, in UTF-16 units: `text.slice(start, end)`. [0, 0] for added tokens. */
  offsets: [number, number][]
  /** The same in code points. */
  offsetsCodePoints: [number, number][]
  typeIds: number[]
  /** 0 for padding, else 1. */
  attentionMask: number[]
  /** 1 for tokens that the post-processor or padding added; 0 for a special token that was in the text. */
  specialTokensMask: number[]
  /** Which word (piece of the pre-tokenizer) a token is of; null for added tokens. */
  words: (number | null)[]
  /** 0 for the first text, 1 for the second, null for added tokens. */
  sequences: (number | null)[]
  /** What truncation cut off, as encodings of their own. */
  overflowing: Encoding[]
}

export function finish(draft: Draft, units: readonly UnitsOfPoints[]): Encoding {
  const n = draft.ids.length
  const sequences: (number | null)[] = Array(n).fill(draft.ranges.size === 0 ? 0 : null)
  const ordered = [...draft.ranges].sort((a, b) => a[0] - b[0])
  for (const [sequence, [from, to]] of ordered) sequences.fill(sequence, from, to)
  const points: [number, number][] = draft.starts.map((start, i) => [start, draft.ends[i]])
  return {
    ids: draft.ids,
    tokens: draft.tokens,
    offsets: points.map(([start, end], i) => {
      const at = units[draft.sources[i]]
      return at ? [at[start], at[end]] : [start, end]
    }),
    offsetsCodePoints: points,
    typeIds: draft.typeIds,
    attentionMask: draft.attention,
    specialTokensMask: draft.special,
    words: draft.words,
    sequences,
    overflowing: draft.overflowing.map((o) => finish(o, units)),
  }
}

/** UTF-16 unit of every code point, null for a text without astral characters. */
export function unitsOfPoints(text: string): UnitsOfPoints {
  if (!/[\ud800-\udfff]/.test(text)) return null
  const out: number[] = []
  let at = 0
  for (const char of text) {
    out.push(at)
    at += char.length
  }
  out.push(at)
  return Int32Array.from(out)
}
