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
export { checkExplainData, failedChecks, sinkPositions } from './explain-data.js'
export { visibleText, visibleToken } from './glyphs.js'
export type { PatternArray } from './head-rows.js'
export type { HeadViewOptions } from './head-view.js'
export { headView } from './head-view.js'
export type { LogitLensOptions } from './logit-lens.js'
export { logitLens } from './logit-lens.js'
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
export type { Picture, TokenLike } from './picture.js'
export { explainReport, readReport } from './report.js'
export type { TerminalBarOptions, TerminalHeatOptions, TerminalTableOptions } from './terminal.js'
export { terminalBar, terminalHeat, terminalTable, terminalWidth } from './terminal.js'
export type { TextHeatmapOptions } from './text-heatmap.js'
export { textHeatmap } from './text-heatmap.js'
export { displayWidth } from './width.js'
