/**
 * WordPiece: the longest piece of the vocabulary from the left, again and again; one word that cannot be covered is one
 * unknown token. It refuses to split on spaces, which is the pre-tokenizer's work. Source: Devlin et al. 2018, the
 * released tokenizer.
 */
import { widthAt } from './aligned-text.js'
import { TokenizerError } from './errors.js'
import type { Fields } from './json.js'
import { cached, type Model, type PieceTokens, readVocab, reverse } from './vocab.js'

export function readWordPiece(fields: Fields): Model {
  const vocab = readVocab(fields)
  const tokens = reverse(vocab)
  const unkToken = fields.string('unk_token', '[UNK]')
  const prefix = fields.string('continuing_subword_prefix', '##')
  const maxChars = fields.count('max_input_chars_per_word', 100)

  const unknown = (word: string): PieceTokens => {
    const id = vocab.get(unkToken)
    if (id === undefined)
      throw new TokenizerError(
        `${JSON.stringify(word)} needs the unknown token "${unkToken}", which is not in the vocabulary`,
      )
    return { ids: [id], starts: [0], ends: [word.length] }
  }
  return {
    vocab,
    unkToken,
    idToToken: (id) => tokens[id],
    tokenize: cached((word) => {
      const cuts = [0] // ends of code points, in units
      for (let i = 0; i < word.length; cuts.push(i)) i += widthAt(word, i)
      if (cuts.length - 1 > maxChars) return unknown(word)
      const out: PieceTokens = { ids: [], starts: [], ends: [] }
      for (let from = 0; from < cuts.length - 1; ) {
        let to = cuts.length - 1
        let id: number | undefined
        for (; to > from; to--) {
          const part = word.slice(cuts[from], cuts[to])
          id = vocab.get(from > 0 ? prefix + part : part)
          if (id !== undefined) break
        }
        if (id === undefined) return unknown(word)
        out.ids.push(id)
        out.starts.push(cuts[from])
        out.ends.push(cuts[to])
        from = to
      }
      return out
    }),
  }
}
