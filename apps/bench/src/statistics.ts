/** Medians and spreads of small samples. It knows nothing of clocks. */

/** The q-quantile (0 … 1), linear between order statistics (Hyndman and Fan's type 7). */
export function quantile(values: readonly number[], q: number): number {
  if (values.length === 0) throw new RangeError('quantile: no values')
  const sorted = [...values].sort((a, b) => a - b)
  const at = q * (sorted.length - 1)
  const low = Math.floor(at)
  const high = Math.min(low + 1, sorted.length - 1)
  return sorted[low] + (at - low) * (sorted[high] - sorted[low])
}

export interface Summary {
  readonly median: number
  readonly p10: number
  readonly p90: number
}
export const summary = (values: readonly number[]): Summary => ({
  median: quantile(values, 0.5),
  p10: quantile(values, 0.1),
  p90: quantile(values, 0.9),
})
