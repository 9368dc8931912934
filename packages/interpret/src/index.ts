export { activationPatching, PatchingMap, type PatchingOptions } from './activation-patching.js'
export { type CompareOptions, Comparison, compare, type Moved } from './compare.js'
export { type CurvePoint, DeletionCheck, type DeletionOptions, deletionCheck } from './deletion-check.js'
export {
  DirectLogitAttribution,
  type DirectLogitOptions,
  directLogitAttribution,
  type HeadPart,
  type LogitPart,
  PartList,
} from './direct-logit-attribution.js'
export { InterpretError, NotDefinedError } from './errors.js'
export {
  GradientTimesInput,
  type GradientTimesInputOptions,
  gradientTimesInput,
} from './gradient-times-input.js'
export {
  type HeadKind,
  HeadKinds,
  type HeadKindsOptions,
  type HeadScores,
  headKinds,
  type Kind,
  kindOf,
  kindThreshold,
} from './head-kinds.js'
export {
  IntegratedGradients,
  type IntegratedGradientsOptions,
  integratedGradients,
} from './integrated-gradients.js'
export {
  type LensCell,
  type LensLayer,
  type LensToken,
  LogitLens,
  type LogitLensOptions,
  logitLens,
} from './logit-lens.js'
export {
  logitDifference,
  logitOf,
  logProbabilityOf,
  type Metric,
  type MetricOptions,
  probabilityOf,
} from './metric.js'
export { Rollout, type RolloutOptions, rollout } from './rollout.js'
export { patternSelfCheck, residualIdentity, SelfCheck } from './self-checks.js'
export type { Ids, Traced } from './traced.js'
export type { SweepOptions } from './worlds.js'
