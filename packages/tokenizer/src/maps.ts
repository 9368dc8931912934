/**
 * Ways between characters, tokens and words of an encoding, for whoever clicks on a text. Places are UTF-16 units, as in
 * `offsets`. It refuses to guess: what belongs to no token is null.
 */
import type { Encoding } from './encoding.js'

/** The first token that covers a UTF-16 unit of a text (0, or 1 for the second of a pair). */
export function charToToken(encoding: Encoding, unit: number, sequence = 0): number | null {
  const found = encoding.offsets.findIndex(
    ([start, end], i) => encoding.sequences[i] === sequence && unit >= start && unit < end,
  )
  return found < 0 ? null : found
}

/** The word of the token that covers a UTF-16 unit. */
export function charToWord(encoding: Encoding, unit: number, sequence = 0): number | null {
  const token = charToToken(encoding, unit, sequence)
  return token === null ? null : encoding.words[token]
}

/** Tokens [first, last + 1) of a word. */
export function wordToTokens(encoding: Encoding, word: number, sequence = 0): [number, number] | null {
  const is = (w: number | null, i: number) => w === word && encoding.sequences[i] === sequence
  const first = encoding.words.findIndex(is)
  if (first < 0) return null
  let end = first + 1
  for (let i = end; i < encoding.words.length; i++) if (is(encoding.words[i], i)) end = i + 1
  return [first, end]
}

/** UTF-16 units [start, end) of a word. */
export function wordToChars(encoding: Encoding, word: number, sequence = 0): [number, number] | null {
  const tokens = wordToTokens(encoding, word, sequence)
  return tokens && [encoding.offsets[tokens[0]][0], encoding.offsets[tokens[1] - 1][1]]
}
