// The contract between whoever explains (the command line, a notebook, a test) and the report: one versioned,
// JSON-serialisable object. It holds results only; how they were computed belongs to @heed/interpret.
import { VizError } from './errors.js'
import type { PackedPatterns } from './patterns.js'

/** One token of the explained text. */
export interface ExplainToken {
  /** What the token decodes to, white space included; shown with visible glyphs. */
  text: string
  id: number
  /** True for [CLS], [MASK], <|endoftext|> …, whether the tokenizer added it or the text contains it. */
  special: boolean
  /** UTF-16 offsets into `ExplainData.text`; null when the token has no place there (added by the tokenizer). */
  start: number | null
  end: number | null
  /** Hex bytes such as `f0 9f`, when the token is no complete UTF-8 of its own. */
  bytes?: string
}

/** Where the numbers come from. No local paths, no user names. */
export interface Provenance {
  /** Model name: the folder's last part or the built-in name, never a path. */
  model: string
  /** For example `gpt2` or `bert`. */
  family: string
  parameters: number
  /** For example `sha256:…`; null when it was not computed. */
  weightsHash: string | null
  tokenizerHash: string | null
  /** Special tokens that the tokenizer added, in order; empty for none. */
  specialTokensAdded: string[]
  /** Package name → version. */
  packages: Record<string, string>
  backend: string
  precision: string
  /** ISO 8601. */
  date: string
  seed: number
  /** Checks that the run made on itself, e.g. `attention rows sum to 1`, with the error found and what was allowed. */
  selfChecks: { name: string; error: number; tolerance: number | null }[]
  /** Ops that did not run on the chosen backend, with the reason. Empty: nothing fell back. */
  fallbacks: string[]
  /** Edits made to the run, in the JSON dialect. Empty for none. */
  edits?: unknown[]
  /** The command that makes this report again. */
  command?: string
}

export interface Prediction {
  token: string
  id: number
  probability: number
  /** Hex bytes such as `f0 9f`, when the token is no complete UTF-8 of its own. */
  bytes?: string
}

/**
 * A deletion curve against random orders: tokens are removed most important first, and the area under the curve of
 * the target's probability is compared with random orders. Smaller is better.
 */
export interface DeletionCheck {
  /** Area under the curve of this method's order. */
  auc: number
  /** Areas of the random orders (20 of them in `heed explain`). */
  random: number[]
  /** The curve of this method: fraction of tokens deleted and the target's value there. Optional. */
  curve?: { deleted: number; value: number }[]
  /** One sentence that says how far to trust the picture. */
  sentence: string
}

export interface Attribution {
  /** For example `attention rollout` or `gradient × input`. */
  name: string
  /** What is explained, for example `the logit of " store"`. */
  target: string
  /** True: values have a sign (towards and against), drawn on a diverging scale with white at 0. */
  signed: boolean
  /** One number per token; null is "not computed", NaN is drawn as an error. */
  values: (number | null)[]
  /** What the numbers mean and what they add up to. */
  note?: string
  deletion?: DeletionCheck
}

export interface HeadRow {
  layer: number
  head: number
  /** Direct logit attribution; null where it is not defined. */
  value: number | null
  /** Scores in [0, 1] on a repeated random sequence; null when not computed. */
  previous: number | null
  duplicate: number | null
  induction: number | null
  /** For example `previous token`; null for none that stands out. */
  kind: string | null
}

export interface LensCell {
  token: string
  probability: number
  /** Probability that this layer gives to the model's final prediction at this position. */
  final: number
  /** Hex bytes such as `f0 9f`, when the token is no complete UTF-8 of its own. */
  bytes?: string
}

/** Logit lens: what each layer would predict at each position. */
export interface LogitLensTable {
  /** Token positions, the columns. */
  positions: number[]
  /** Rows from the embedding upwards; `cells` has one entry per position. */
  rows: { name: string; cells: LensCell[] }[]
  note?: string
}

export interface ExplainData {
  format: 'heed-explain'
  version: 1
  text: string
  tokens: ExplainToken[]
  architecture: 'decoder' | 'encoder'
  layers: number
  heads: number
  provenance: Provenance
  /** Attention of every head over `tokens`, from `packPatterns`; null when not computed. */
  patterns: PackedPatterns | null
  /** Decoders: the next token after the last one. */
  predictions?: { top: Prediction[] }
  /** Encoders: what stands at each `[MASK]`. */
  masked?: { position: number; top: Prediction[] }[]
  /** Encoders with a classification head. */
  classes?: { label: string; probability: number }[]
  /** Encoders that classify tokens: the likeliest class of each. */
  tokenClasses?: { position: number; label: string; probability: number }[]
  /** Encoders that answer questions: the likeliest span, first and last token; null when the likeliest is no answer. */
  answer?: { text: string; start: number; end: number; score: number } | null
  /** Encoders: lines nearest to the text by sentence vector. */
  nearest?: { measure: string; lines: { text: string; score: number }[] }
  attributions?: Attribution[]
  /** Heads that matter, most important first. `note` carries the check of the sum. */
  headTable?: { target: string | null; rows: HeadRow[]; note?: string }
  logitLens?: LogitLensTable
  /** Plain sentences, such as why something is not defined for this model. */
  notes: string[]
  /** What is selected when the report opens. Default: the first of `headTable`, the last token. */
  initial?: { layer?: number; head?: number; token?: number }
}

/** Throws a VizError that names the first field which does not fit the others. */
export function checkExplainData(data: ExplainData): void {
  const fail = (message: string): never => {
    throw new VizError(`explainReport: ${message}`)
  }
  if (data.format !== 'heed-explain' || data.version !== 1)
    fail(`format '${data.format}' version ${data.version}; this package draws heed-explain version 1`)
  const count = data.tokens.length
  if (count === 0) fail('tokens is empty; there is nothing to explain')
  for (const name of ['layers', 'heads'] as const)
    if (!Number.isInteger(data[name]) || data[name] < 1)
      fail(`${name} is ${data[name]}; expected a whole number ≥ 1`)
  const p = data.patterns
  if (p) {
    if (p.layers !== data.layers || p.heads !== data.heads)
      fail(
        `patterns hold ${p.layers} layers × ${p.heads} heads, the model has ${data.layers} × ${data.heads}`,
      )
    if (p.queries !== count || p.keys !== count)
      fail(`patterns are ${p.queries} queries × ${p.keys} keys, the text has ${count} tokens`)
  }
  for (const a of data.attributions ?? [])
    if (a.values.length !== count)
      fail(`attribution '${a.name}' has ${a.values.length} values, the text has ${count} tokens`)
  for (const r of data.headTable?.rows ?? [])
    if (!(r.layer >= 0 && r.layer < data.layers && r.head >= 0 && r.head < data.heads))
      fail(`headTable names layer ${r.layer} head ${r.head}, the model has ${data.layers} × ${data.heads}`)
  for (const m of data.masked ?? [])
    if (!(m.position >= 0 && m.position < count))
      fail(`masked position ${m.position} is outside ${count} tokens`)
  for (const c of data.tokenClasses ?? [])
    if (!(c.position >= 0 && c.position < count))
      fail(`tokenClasses position ${c.position} is outside ${count} tokens`)
  const span = data.answer
  if (span && !(span.start >= 0 && span.start <= span.end && span.end < count))
    fail(`answer spans tokens ${span.start} to ${span.end}, the text has ${count}`)
  const lens = data.logitLens
  if (lens) {
    for (const q of lens.positions)
      if (!(q >= 0 && q < count)) fail(`logitLens position ${q} is outside ${count} tokens`)
    for (const r of lens.rows)
      if (r.cells.length !== lens.positions.length)
        fail(`logitLens row '${r.name}' has ${r.cells.length} cells for ${lens.positions.length} positions`)
  }
  const { layer = 0, head = 0, token = 0 } = data.initial ?? {}
  if (!(layer >= 0 && layer < data.layers && head >= 0 && head < data.heads && token >= 0 && token < count))
    fail(
      `initial selects layer ${layer} head ${head} token ${token}, outside ${data.layers} × ${data.heads} × ${count}`,
    )
}

/** Self-checks whose error is above what was allowed, or is no number. */
export function failedChecks(data: ExplainData): Provenance['selfChecks'] {
  return data.provenance.selfChecks.filter((c) => c.tolerance !== null && !(c.error <= c.tolerance))
}

/**
 * Positions that soak up attention without meaning: the first token, and special tokens that the tokenizer added
 * (a `[MASK]` that stands in the text stays). Pictures leave them out of their scale unless asked.
 */
export function sinkPositions(tokens: readonly ExplainToken[]): number[] {
  const sinks = tokens.flatMap((t, i) =>
    i === 0 || (t.special && (t.start === null || t.start === t.end)) ? [i] : [],
  )
  return tokens.length - sinks.length < 2 ? [] : sinks
}
