/**
 * Which model a file means, and the simplest of them, a list of words. It refuses to normalise or split: a model sees one
 * piece at a time.
 */
import { readBpe } from './bpe.js'
import { TokenizerError, UnsupportedComponentError } from './errors.js'
import { Fields, type Json } from './json.js'
import { type Model, readVocab, reverse } from './vocab.js'
import { readWordPiece } from './wordpiece.js'

export function readModel(json: Json | undefined, path: string): Model {
  const fields = Fields.of(json, path)
  const type = fields.has('type') ? fields.string('type') : guess(fields)
  switch (type) {
    case 'BPE':
      return readBpe(fields)
    case 'WordPiece':
      return readWordPiece(fields)
    case 'WordLevel':
      return readWordLevel(fields)
    default:
      throw new UnsupportedComponentError(`model ${type}`, path)
  }
}

/** Old files have no `model.type`: the fields decide. */
function guess(fields: Fields): string {
  if (fields.has('merges')) return 'BPE'
  if (Array.isArray(fields.value.vocab)) return 'Unigram'
  if (fields.has('continuing_subword_prefix') || fields.has('max_input_chars_per_word')) return 'WordPiece'
  return 'WordLevel'
}

function readWordLevel(fields: Fields): Model {
  const vocab = readVocab(fields)
  const tokens = reverse(vocab)
  const unkToken = fields.string('unk_token', '<unk>')
  return {
    vocab,
    unkToken,
    idToToken: (id) => tokens[id],
    tokenize(piece) {
      const id = vocab.get(piece) ?? vocab.get(unkToken)
      if (id === undefined)
        throw new TokenizerError(
          `${JSON.stringify(piece)} is not in the vocabulary, and neither is the unknown token "${unkToken}"`,
        )
      return { ids: [id], starts: [0], ends: [piece.length] }
    },
  }
}
