/**
 * What every model is to the rest of the pipeline, and its vocabulary read from the file. It refuses to know how any
 * model cuts a piece.
 */
import { TokenizerFormatError } from './errors.js'
import type { Fields } from './json.js'

/** Tokens of one piece: ids and, for each, the UTF-16 units of the piece that it covers. */
export interface PieceTokens {
  ids: number[]
  starts: number[]
  ends: number[]
}

export interface Model {
  tokenize(piece: string): PieceTokens
  readonly vocab: ReadonlyMap<string, number>
  idToToken(id: number): string | undefined
  readonly unkToken: string | undefined
}

/** `vocab` as a map; ids need not be dense. */
export function readVocab(fields: Fields): Map<string, number> {
  const vocab = new Map<string, number>()
  for (const [token, id] of Object.entries(fields.object('vocab').value)) {
    if (typeof id !== 'number' || !Number.isInteger(id) || id < 0)
      throw new TokenizerFormatError(
        `${fields.at('vocab')}[${JSON.stringify(token)}]`,
        `id ${JSON.stringify(id)} is no whole number`,
      )
    vocab.set(token, id)
  }
  return vocab
}

const cachedPieces = 10_000
const longestCached = 256

/** Remembers what short pieces gave: texts repeat their words. */
export function cached(tokenize: (piece: string) => PieceTokens): (piece: string) => PieceTokens {
  const known = new Map<string, PieceTokens>()
  return (piece) => {
    let out = known.get(piece)
    if (out) return out
    out = tokenize(piece)
    if (piece.length <= longestCached) {
      if (known.size >= cachedPieces) known.clear()
      known.set(piece, out)
    }
    return out
  }
}

/** The token of every id. */
export function reverse(vocab: ReadonlyMap<string, number>): (string | undefined)[] {
  const out: (string | undefined)[] = []
  for (const [token, id] of vocab) out[id] = token
  return out
}
