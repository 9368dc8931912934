// @heed/weights: read and write safetensors, whole models in shards, and the folders they lie in. Imports no package.
export {
  fromBF16,
  fromF8E4M3,
  fromF8E5M2,
  fromF16,
  toBF16,
  toF16,
  type WeightData,
  type WeightDType,
} from './dtypes.js'
export { WeightsError, type WeightsProblem } from './errors.js'
export { type FilesInMemory, type Folder, openFolder } from './folder.js'
export { sha256 } from './hash.js'
export { blobSource, bytesSource, fileSource, type Source, urlSource } from './source.js'
export { openWeights, type ReadTensor, type TensorInfo, type Weights, type WeightsInput } from './weights.js'
export {
  saveFile,
  saveSafetensors,
  type TensorsToWrite,
  type TensorToWrite,
  writeSafetensors,
} from './write.js'
