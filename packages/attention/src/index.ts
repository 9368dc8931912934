export {
  type LearnedPositionsOptions,
  learnedPositions,
  positionRows,
  type SinusoidalLayout,
  type SinusoidalOptions,
  sinusoidalPositions,
  sinusoidalTable,
} from './absolute.js'
export {
  type Block,
  type BlockParts,
  type BlockSlots,
  type EncoderDecoderParts,
  encoderDecoder,
  postNormBlock,
  preNormBlock,
  type Stack,
  type StackParts,
  stack,
} from './blocks.js'
export { type Cache, type CacheLayer, type CacheOptions, makeCache } from './cache.js'
export { attentionChunks, type Chunk, type ChunkOptions, finishChunk, mergeChunks } from './chunks.js'
export { linearAttention } from './linear-attention.js'
export {
  allowedKeys,
  arbitrary,
  blockLocal,
  causal,
  combineMasks,
  localWindow,
  type Mask,
  type MaskFunction,
  type MaskOptions,
  type MaskSlot,
  maskOptions,
  padding,
  prefix,
  sameSegment,
  sinks,
  slidingWindow,
} from './masks.js'
export {
  type AttentionLayerOptions,
  type AttentionParts,
  attention,
  type CrossAttentionOptions,
  crossAttention,
  type MultiHeadOptions,
  multiHeadAttention,
} from './multi-head.js'
export type { Place, Position } from './position.js'
export { projectHeads, splitHeads } from './project-heads.js'
export {
  type BahdanauWeights,
  bahdanauAttention,
  bahdanauStep,
  type Looked,
  type LuongOptions,
  luongAttention,
  luongStep,
} from './recurrent-attention.js'
export {
  type RopeAngles,
  type RopeFrequencies,
  type RopeOptions,
  type RopeScaling,
  rope,
  ropeAngles,
  ropeFrequencies,
} from './rope.js'
export {
  alibi,
  alibiBias,
  alibiSlopes,
  type T5BiasOptions,
  type T5Buckets,
  t5Bias,
  t5BiasOf,
  t5Bucket,
  t5Buckets,
} from './score-bias.js'
