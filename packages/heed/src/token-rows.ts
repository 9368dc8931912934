/** Ids as people read them: text, half characters as bytes, place in the text, special or not. */
import type { TextModel, TextRun } from '@heed/models'
import { type ExplainToken, type Prediction, visibleToken } from '@heed/viz'

const hexOf = (bytes: Uint8Array): string =>
  Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join(' ')

/** The text of an id; a part of a character has U+FFFD for a text and its bytes beside it. */
export function wordOf(model: TextModel, id: number): { text: string; bytes?: string } {
  const bytes = model.tokenizer?.tokenBytes(id)
  return bytes ? { text: '\ufffd', bytes: hexOf(bytes) } : { text: model.tokenText(id) }
}

/** The tokens of a run. `shift` is where the second text begins in the whole, for runs of two texts. */
export function tokensOf(model: TextModel, run: TextRun, shift = 0): ExplainToken[] {
  const specials = new Set(model.tokenizer?.specialTokens.map((t) => t.id))
  return run.ids[0].map((id, i) => {
    const isAdded = run.encoding?.specialTokensMask[i] === 1
    const [start, end] = run.encoding?.offsets[i] ?? [0, 0]
    const offset = run.encoding?.typeIds[i] === 1 ? shift : 0
    return {
      ...wordOf(model, id),
      id,
      special: isAdded || specials.has(id),
      start: isAdded ? null : start + offset,
      end: isAdded ? null : end + offset,
    }
  })
}

/** The n likeliest tokens at a position. */
export const predictionsOf = (run: TextRun, n: number, position?: number): Prediction[] =>
  run.top(n, position).map(({ id, probability }) => {
    const { text, bytes } = wordOf(run.textModel, id)
    return { token: text, id, probability, ...(bytes ? { bytes } : {}) }
  })

/** A token in a sentence: “·Mary”. */
export const quoted = (p: Prediction): string => `“${visibleToken(p.token, p.bytes)}”`
export const named = (tokens: readonly ExplainToken[], i: number): string =>
  `${visibleToken(tokens[i].text, tokens[i].bytes)} (token ${i})`
