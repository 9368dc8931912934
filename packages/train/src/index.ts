export {
  checkpoints,
  loadCheckpoint,
  type Restored,
  saveCheckpoint,
  type TrainingState,
} from './checkpoint.js'
export { clipGradNorm, clipGradValue, ema, emaDecay, globalNorm } from './clip.js'
export {
  type AdamOptions,
  adam,
  adamW,
  initialSlots,
  type Optimizer,
  type OptimizerOptions,
  type Slots,
  sgd,
} from './optimizer.js'
export { duration, type Progress, progressLine, progressPrinter } from './progress.js'
export {
  constant,
  constantWarmup,
  cosine,
  cosineAnnealing,
  cosineRestarts,
  exponential,
  inverseSqrt,
  linearDecay,
  noam,
  oneCycle,
  polynomial,
  type Schedule,
  scheduleNamed,
  stepDecay,
  type TotalOptions,
  type WarmupOptions,
  warmupCosine,
} from './schedule.js'
export { folderStorage, memoryStorage, type Storage } from './storage.js'
export {
  type Batch,
  type StepRecord,
  type TrainableModel,
  type TrainOptions,
  type TrainResult,
  train,
} from './train.js'
