// The one table in which a tolerance of a collection is widened. Every entry says why; its reason is printed in the row.

import type { Tolerance } from './case.js'
import { matcher } from './pattern.js'

interface Widening {
  /** Format of golden.json. */
  format: string
  /** Pattern against the case id: only * and ? are special. */
  cases: string
  /** The new values; what is not given stays the collection's. Never smaller than the collection's. */
  atol?: number
  rtol?: number
  reason: string
}

const flushed = {
  format: 'ops',
  atol: 2 ** -126,
  reason: 'a backend may flush what is below the smallest normal float32, 2⁻¹²⁶, to zero',
}

export const widenings: readonly Widening[] = [
  { ...flushed, cases: '*/denormal*' },
  // 1 / 3.4e38 and (1e-19)²
  { ...flushed, cases: 'primitives/reciprocal/huge' },
  { ...flushed, cases: 'primitives/square/huge' },
  {
    format: 'models-text',
    cases: '*/cotangent-loss',
    rtol: 2e-6,
    reason:
      "of the cotangent's length: a sum of hidden states carries their float32 noise (Hugging Face's own value is 1e-6 of it off from float64)",
  },
  {
    format: 'models-text',
    cases: '*/grad',
    rtol: 2e-7,
    reason:
      "of the model's largest gradient: what is zero in exact arithmetic (key biases) is rounding noise of that size",
  },
]

/**
 * AdamW's first step is lr·g / (|g| + eps): where g is rounding noise, so is the step, on PyTorch's side too. Noise of a gradient of
 * norm 1 in one of its elements: ten times what sums of float32 make of it on average.
 */
export const gradientNoise = {
  size: 2 ** -28,
  reason: 'widened: where the first gradient is below some 1e-7, AdamW makes a step of its rounding noise',
}

/** The tolerance to use for a case: the collection's own, or the wider one of the table with its reason. */
export function widen(format: string, id: string, own: Tolerance, table = widenings): Tolerance {
  const row = table.find((w) => w.format === format && matcher(w.cases)(id))
  if (!row) return own
  const atol = Math.max(own.atol, row.atol ?? 0)
  const rtol = Math.max(own.rtol ?? 0, row.rtol ?? 0)
  return { atol, rtol, reason: `widened: ${row.reason}` }
}
