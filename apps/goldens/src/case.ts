// What a golden case is, and the one comparison that every adapter uses. Nothing here knows a format.
import type { Backend } from '@heed/tensor'
import type { Files } from './files.js'

/** How one case went. `error` and `tolerance` belong to the same element, so `pass` means error ≤ tolerance. */
export interface Outcome {
  status: 'pass' | 'fail' | 'unsupported'
  /** Absolute error at the element that comes nearest to (or goes furthest beyond) what is allowed. */
  error?: number
  /** What is allowed at that element: atol + rtol · |want|. */
  tolerance?: number
  /** Why it failed or is unsupported; for a pass, why its tolerance was widened. */
  reason?: string
}

/** The smallest unit that can pass alone. `id` is a path below the collection. */
export interface GoldenCase {
  id: string
  run(): Promise<Outcome>
}

/** A folder with a golden.json: `dir` is its place, `golden` the parsed file. */
export interface Collection {
  dir: string
  golden: Record<string, unknown>
}

export interface Options {
  /** The backend that was asked for with --backend, opened on the first call and disposed of after the collection. */
  backend(): Promise<Backend>
  files: Files
  /** The place of the real weights, a folder for each model. */
  weights: string
}

/** One file per format exports this as `cases`. Whatever it throws becomes a failing row. */
export interface Adapter {
  cases(collection: Collection, options: Options): AsyncIterable<GoldenCase>
}

/** The id of a row that stands for a whole collection: a format that nobody reads yet, an adapter that crashed. */
export const wholeCollection = '.'

/** A case that is listed and never run. */
export function unsupported(id: string, reason: string): GoldenCase {
  return { id, run: async () => ({ status: 'unsupported', reason }) }
}

/** abs(got − want) ≤ atol + rtol · abs(want), with the reason of a widened tolerance if there is one. */
export interface Tolerance {
  atol: number
  rtol?: number
  reason?: string
}

export interface Comparison {
  pass: boolean
  /** Worst error divided by what is allowed there: a pass is ≤ 1. Infinity where nothing is allowed or the kind differs. */
  ratio: number
  /** Error and allowance at the element with the worst ratio. */
  error: number
  tolerance: number
  /** The largest absolute error of all, whatever is allowed there. */
  maxError: number
  /** Flat index of the element with the worst ratio, −1 when every element is exact. */
  at: number
  /** One line that names the place and the two values; undefined when it passes. */
  reason?: string
}

type Numbers = ArrayLike<number>

/**
 * Compares element by element: nan ⇔ nan, ±inf exactly, else abs(got − want) ≤ atol + rtol · abs(want).
 * A wrong length fails. `label` begins the reason (a tensor's name). `select` (non-zero = compare) leaves elements out; `extra`
 * is allowed beyond, element by element.
 */
export function compare(
  got: Numbers,
  want: Numbers,
  { atol, rtol = 0 }: Tolerance,
  { label = '', select, extra }: { label?: string; select?: Numbers; extra?: Numbers } = {},
): Comparison {
  const prefix = label ? `${label}: ` : ''
  if (got.length !== want.length || (select && select.length !== want.length)) {
    const reason = `${prefix}${got.length} values, expected ${want.length}`
    return { pass: false, ratio: Infinity, error: Infinity, tolerance: 0, maxError: Infinity, at: 0, reason }
  }
  let ratio = 0
  let error = 0
  let tolerance = atol
  let maxError = 0
  let at = -1
  for (let i = 0; i < want.length; i++) {
    if (select && !select[i]) continue
    const g = got[i]
    const w = want[i]
    const finite = Number.isFinite(g) && Number.isFinite(w)
    const e = finite ? Math.abs(g - w) : Object.is(g, w) ? 0 : Infinity
    if (e > maxError) maxError = e
    const allowed = Number.isFinite(w) ? atol + rtol * Math.abs(w) + (extra?.[i] ?? 0) : 0
    const r = e === 0 ? 0 : allowed > 0 && e < Infinity ? e / allowed : Infinity
    if (r > ratio) {
      ratio = r
      error = e
      tolerance = allowed
      at = i
    }
  }
  const pass = at < 0 || (error < Infinity && error <= tolerance)
  const reason = pass ? undefined : `${prefix}got ${got[at]} instead of ${want[at]} at flat index ${at}`
  return { pass, ratio, error, tolerance, maxError, at, reason }
}

/** The outcome of a case made of several comparisons: it passes when all do; the worst one gives the numbers. */
export function outcome(comparisons: readonly Comparison[], widened?: string): Outcome {
  if (comparisons.length === 0) return { status: 'fail', reason: 'the case compares nothing' }
  const worst = comparisons.reduce((a, b) => (b.ratio > a.ratio || (a.pass && !b.pass) ? b : a))
  const { error, tolerance } = worst
  return worst.pass
    ? { status: 'pass', error, tolerance, ...(widened ? { reason: widened } : {}) }
    : { status: 'fail', error, tolerance, reason: [worst.reason, widened].filter(Boolean).join('; ') }
}
