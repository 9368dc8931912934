export { VizError } from './errors.js'
export { escapeHtml, escapeJson } from './escape.js'
export type {
  Attribution,
  DeletionCheck,
  ExplainData,
  ExplainToken,
  HeadRow,
  LensCell,
  LogitLensTable,
  Prediction,
  Provenance,
} from './explain-data.js'
export { checkExplainData, sinkPositions } from './explain-data.js'
export { visibleText, visibleToken } from './glyphs.js'
export type {
  OpenedPatterns,
  PackedPatterns,
  PackOptions,
  PackShape,
  PatternPacker,
  PatternRow,
  RowState,
} from './patterns.js'
export { openPatterns, packPatterns, patternPacker, rowStates } from './patterns.js'
