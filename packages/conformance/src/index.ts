// @heed/conformance: what every backend must satisfy, as data and as tests for any runner.
export type {
  Built,
  Case,
  CaseSpec,
  Layout,
  Slope,
} from './case.js'
export { conformanceCases } from './cases.js'
export { type Compared, compare, type Tolerance } from './compare.js'
export { type CompositeName, compositeNames } from './composite-cases.js'
export { type ContractCase, contractCases } from './contract.js'
export {
  conformanceProperties,
  type Property,
  type PropertyOptions,
  withoutComposites,
} from './properties.js'
export { type ConformanceResult, type How, type RunOptions, runCase, runConformance } from './run.js'
export { type AttentionSize, type ProductSize, type RowsSize, sizes } from './sizes.js'
export { type TestBackendOptions, type TestRunner, testBackend } from './test-backend.js'
export { type Family, type ToleranceEntry, tolerances } from './tolerances.js'
