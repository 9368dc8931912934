export { DecodeStream } from './decode-stream.js'
export type { Encoding } from './encoding.js'
export { TokenizerError, TokenizerFormatError, UnsupportedComponentError } from './errors.js'
export type { Padding, Truncation } from './limits.js'
export { loadTokenizer } from './load.js'
export { charToToken, charToWord, wordToChars, wordToTokens } from './maps.js'
export {
  type BatchOptions,
  type DecodeOptions,
  type EncodeOptions,
  type SpecialToken,
  type TextInput,
  Tokenizer,
  tokenizerFromJson,
} from './tokenizer.js'
export { type TrainBpeOptions, trainBpe } from './train-bpe.js'
