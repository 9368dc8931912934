// Small tokenizer.json files for the fixtures, which have none: bytes as letters for GPT-2, words and letters for BERT.

/** Byte-level BPE over printable ASCII, with ' t' and 'he' merged: 97 tokens, as the fixture's vocabulary. */
export function byteTokenizer(): string {
  const vocab: Record<string, number> = {}
  for (let c = 33; c < 127; c++) vocab[String.fromCharCode(c)] = c - 33
  vocab.Ġ = 94
  vocab.Ġt = 95
  vocab.he = 96
  return JSON.stringify({
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
    post_processor: null,
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      vocab,
      merges: [
        ['Ġ', 't'],
        ['h', 'e'],
      ],
    },
  })
}

const SPECIAL = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]']

/** WordPiece over letters and some words: 101 tokens. Its own padding to 16 must not leak into a run. */
export function wordTokenizer(): string {
  const words = ['the', 'cat', 'dog', 'sat', 'on', 'mat', 'a', 'ran', '##s', '##ing']
  const vocab: Record<string, number> = {}
  for (const w of [...SPECIAL, ...words]) vocab[w] = Object.keys(vocab).length
  for (let c = 97; c < 123; c++)
    for (const w of [String.fromCharCode(c), `##${String.fromCharCode(c)}`])
      vocab[w] ??= Object.keys(vocab).length
  while (Object.keys(vocab).length < 101)
    vocab[`[unused${Object.keys(vocab).length}]`] = Object.keys(vocab).length
  const special = (id: string, typeId: number) => ({ SpecialToken: { id, type_id: typeId } })
  const text = (id: string, typeId: number) => ({ Sequence: { id, type_id: typeId } })
  return JSON.stringify({
    version: '1.0',
    truncation: { direction: 'Right', max_length: 6, strategy: 'LongestFirst', stride: 0 },
    padding: {
      strategy: { Fixed: 16 },
      direction: 'Right',
      pad_to_multiple_of: null,
      pad_id: 0,
      pad_type_id: 0,
      pad_token: '[PAD]',
    },
    added_tokens: SPECIAL.map((content, id) => ({
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: {
      type: 'BertNormalizer',
      clean_text: true,
      handle_chinese_chars: true,
      strip_accents: null,
      lowercase: true,
    },
    pre_tokenizer: { type: 'BertPreTokenizer' },
    post_processor: {
      type: 'TemplateProcessing',
      single: [special('[CLS]', 0), text('A', 0), special('[SEP]', 0)],
      pair: [special('[CLS]', 0), text('A', 0), special('[SEP]', 0), text('B', 1), special('[SEP]', 1)],
      special_tokens: {
        '[CLS]': { id: '[CLS]', ids: [2], tokens: ['[CLS]'] },
        '[SEP]': { id: '[SEP]', ids: [3], tokens: ['[SEP]'] },
      },
    },
    decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
    model: {
      type: 'WordPiece',
      unk_token: '[UNK]',
      continuing_subword_prefix: '##',
      max_input_chars_per_word: 100,
      vocab,
    },
  })
}
