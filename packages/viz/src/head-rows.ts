// One head as rows of (key, value), whether it comes from packed patterns or from a plain array: what every drawing of
// a head reads. It decides what is left out of a scale (sinks) and nothing about pixels.
import { VizError } from './errors.js'
import { type OpenedPatterns, openPatterns, type PatternRow, patternPacker } from './patterns.js'

export interface HeadRows {
  queries: number
  keys: number
  causal: boolean
  /** Entries kept per row; `keys` when all are. */
  top: number
  bound: number
  row(query: number): PatternRow
  column(key: number): Float32Array
  forEach(each: (query: number, key: number, value: number) => void): void
}

export function headRows(patterns: OpenedPatterns, layer: number, head: number): HeadRows {
  return {
    queries: patterns.queries,
    keys: patterns.keys,
    causal: patterns.causal,
    top: patterns.top,
    bound: patterns.bound,
    row: (query) => patterns.row(layer, head, query),
    column: (key) => patterns.column(layer, head, key),
    forEach: (each) => patterns.forEach(layer, head, each),
  }
}

/** A pattern as `[query * key]` or nested `[query][key]`. */
export type PatternArray = ArrayLike<number> | ArrayLike<ArrayLike<number>>

/** A plain pattern as HeadRows: packed like any other, so that a picture of it says the same bound and mass. */
export function rowsOfArray(pattern: PatternArray, queries: number, keys: number, causal = false): HeadRows {
  const first = pattern[0]
  let flat: ArrayLike<number>
  if (typeof first === 'number' || first === undefined) flat = pattern as ArrayLike<number>
  else {
    const nested = pattern as ArrayLike<ArrayLike<number>>
    const out = new Float64Array(queries * keys)
    if (nested.length !== queries)
      throw new VizError(`headView: pattern has ${nested.length} rows for ${queries} tokens`)
    for (let q = 0; q < queries; q++) {
      if (nested[q].length !== keys)
        throw new VizError(`headView: pattern row ${q} has ${nested[q].length} keys, expected ${keys}`)
      for (let k = 0; k < keys; k++) out[q * keys + k] = nested[q][k]
    }
    flat = out
  }
  const packer = patternPacker({ layers: 1, heads: 1, queries, keys, causal })
  packer.add(0, 0, flat)
  return headRows(openPatterns(packer.done()), 0, 0)
}

/** Largest shown value outside the sinks: the upper end of the head's colour scale; 1 when there is none. */
export function headLimit(rows: HeadRows, sinks: ReadonlySet<number>): number {
  let limit = 0
  rows.forEach((_, key, value) => {
    if (value > limit && !sinks.has(key)) limit = value
  })
  return limit || 1
}

/** Mean over ordinary rows of the attention that falls on the sinks (their shown values). */
export function sinkShare(rows: HeadRows, sinks: ReadonlySet<number>): number {
  let share = 0
  rows.forEach((_, key, value) => {
    if (sinks.has(key)) share += value
  })
  let ordinary = 0
  for (let q = 0; q < rows.queries; q++) if (rows.row(q).state === 'ok') ordinary++
  return ordinary === 0 ? 0 : share / ordinary
}
