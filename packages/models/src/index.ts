export {
  type BatchOfOptions,
  type EncodeTextOptions,
  encodeText,
  padRows,
  type Row,
  type TextBatch,
} from './batch.js'
export type { BertConfig } from './bert.js'
export { type CreateOptions, createModel, type NewModelConfig } from './create.js'
export { type Decoding, type Prompt, startDecoding } from './decoding.js'
export { type EmbedOptions, type Pooling, pool, sentenceVector } from './embed.js'
export { ConfigError, InputError, ModelError, OptionError } from './errors.js'
export type { Described, Family, HeadKind, ModelConfig, SpecialIds } from './family.js'
export {
  type GeneratedPiece,
  type GenerateIdsOptions,
  type GenerateOptions,
  generate,
  generateIds,
} from './generate.js'
export type { Gpt2Config } from './gpt2.js'
export { type BatchInput, type Ids, type InputLike, paddingMask, positionsOf, toInput } from './input.js'
export { families, type LoadOptions, loadModel, type ModelSource } from './load.js'
export type { TextModel } from './model.js'
export { type QuantizedRow, type QuantizeOptions, type QuantizeReport, quantize } from './quantize.js'
export {
  argMaxOf,
  minP,
  type Processor,
  repetitionPenalty,
  type SamplingOptions,
  temperature,
  topK,
  topP,
} from './sampling.js'
export { type ModelFiles, modelFiles, saveModel } from './save.js'
export {
  bestSpan,
  type NearestLines,
  type NearLine,
  nearestLines,
  type Score,
  type Scored,
  similarityTo,
  spanScore,
} from './scores.js'
export { type At, type Prediction, type RunOptions, TextRun } from './text-run.js'
export { toFile, type WeightRule, type WeightTable } from './weight-rules.js'
