export {
  dropout,
  type EmbeddingOptions,
  embedding,
  type LinearOptions,
  layerNorm,
  linear,
  type NormOptions,
  rmsNorm,
} from './layers.js'
export { type GatedMlp, gatedMlp, type Mlp, type MlpOptions, mlp } from './mlp.js'
export { type Layer, type Module, module } from './module.js'
export { checkSizes } from './options.js'
export {
  constantInit,
  type Init,
  kaimingNormal,
  kaimingUniform,
  normal,
  onesInit,
  param,
  truncatedNormal,
  type Uniforms,
  uniform,
  xavierNormal,
  xavierUniform,
  zerosInit,
} from './param.js'
export {
  type CellWeights,
  gru,
  gruCell,
  lstm,
  lstmCell,
  type RecurrentInputs,
  type RecurrentOptions,
  type RecurrentParts,
  type RecurrentResult,
  rnn,
  rnnCell,
} from './recurrent.js'
