/**
 * The one tolerance table, by family of ops and precision of the backend. Everything is compared with float64, so a
 * figure is the rounding of the backend and nothing else. A loose entry says why.
 */
import type { Precision } from '@heed/tensor'
import type { Tolerance } from './compare.js'

export type Family =
  /** No arithmetic: views, copies, indices, comparisons, random uniforms. */
  | 'exact'
  /** One rounding an element: + − · ÷ √ and what is made of few of them. */
  | 'arithmetic'
  /** exp, log, sin, tanh, erf, pow and activations. */
  | 'transcendental'
  /** Sums, means, products and running sums. */
  | 'reduction'
  | 'matmul'
  | 'softmax'
  | 'norm'
  | 'attention'
  | 'loss'
  /** Loops: errors add up over steps. */
  | 'loop'

export interface ToleranceEntry {
  readonly forward: Tolerance
  readonly gradient: Tolerance
  /** Why it is wider than one rounding an operation. */
  readonly reason?: string
}

const ulp = (rtol: number, scaled: number): Tolerance => ({ rtol, scaled })
const both = (forward: Tolerance, gradient: Tolerance, reason?: string): ToleranceEntry => ({
  forward,
  gradient,
  ...(reason ? { reason } : {}),
})
const EXACT = both(
  ulp(0, 0),
  ulp(2e-6, 2e-6),
  'a gradient of no arithmetic still adds where elements were read twice',
)

const f32: Record<Family, ToleranceEntry> = {
  exact: EXACT,
  arithmetic: both(ulp(1e-6, 1e-7), ulp(2e-6, 2e-6), 'a gradient sums over broadcast axes'),
  transcendental: both(
    ulp(2e-6, 5e-7),
    ulp(5e-6, 2e-6),
    'GPU languages promise a few ulp for exp, log, sin and pow',
  ),
  reduction: both(ulp(2e-6, 2e-6), ulp(5e-6, 5e-6), 'one accumulator loses √n to n roundings'),
  matmul: both(
    ulp(2e-6, 4e-6),
    ulp(4e-6, 8e-6),
    'a row of K products: ε·√K·|x|·|y|, where cancellation leaves a small sum',
  ),
  softmax: both(ulp(4e-6, 1e-6), ulp(1e-5, 4e-6), 'an error δ of a score moves a weight by p(1 − p)·δ'),
  norm: both(ulp(5e-6, 4e-6), ulp(1e-5, 1e-5), 'x − mean cancels: ε·mean/σ'),
  attention: both(ulp(5e-6, 5e-6), ulp(2e-5, 1e-5), 'two products and a softmax, scores of size √dHead'),
  loss: both(ulp(5e-6, 2e-6), ulp(1e-5, 4e-6), 'a logarithm of a softmax, then a sum'),
  loop: both(ulp(1e-5, 5e-6), ulp(5e-5, 2e-5), 'errors add over steps'),
}

/** Half precision keeps 11 bits: about 8,000 times the float32 figures, since sums are held in float32 there. */
const widened = (entry: ToleranceEntry, by: number, reason: string): ToleranceEntry => ({
  forward: { rtol: entry.forward.rtol * by, scaled: entry.forward.scaled * by },
  gradient: { rtol: entry.gradient.rtol * by, scaled: entry.gradient.scaled * by },
  reason: entry.reason ? `${entry.reason}; ${reason}` : reason,
})
const each = (by: number, reason: string): Record<Family, ToleranceEntry> =>
  Object.fromEntries(Object.entries(f32).map(([k, v]) => [k, widened(v, by, reason)])) as Record<
    Family,
    ToleranceEntry
  >

/** What each family may be off by, at each precision. */
export const tolerances: Readonly<Record<Precision, Readonly<Record<Family, ToleranceEntry>>>> = {
  f64: each(1e-7, 'doubles carry 29 bits more'),
  f32,
  f16: each(8192, 'half precision carries 13 bits less'),
}
