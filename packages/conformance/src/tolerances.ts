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

/** The figures of float32 at another size of rounding. */
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

/**
 * Half precision is how tensors are held, not how they are computed with: inputs are halves (the oracle is given the same
 * halves), a run is float32 throughout, and what it hands over is rounded to halves, as the oracle's results are before they
 * are compared. So what moves numbers is exact, and everything else differs where the error of float32 crosses the middle
 * between two halves: by one step of 2⁻¹⁰, or of 2⁻²⁴ below 2⁻¹⁴. Both sides are infinite above 65504 and 0 below 2⁻²⁵, so
 * such values are compared too; whole numbers and booleans are not halves and stay exact at any size.
 */
const STEP = 2 ** -10
const SUBNORMAL_STEP = 2 ** -14 // of 1e-3, the least size that `scaled` is relative to
const HALVES = 'float32 within a run, and one step of half precision where its error crosses a middle'
const stored = (family: Family, { forward, gradient }: ToleranceEntry): ToleranceEntry => {
  const step = (t: Tolerance): Tolerance => ulp(t.rtol + STEP, t.scaled + SUBNORMAL_STEP)
  return both(family === 'exact' ? forward : step(forward), step(gradient), HALVES)
}

/** What each family may be off by, at each precision. */
export const tolerances: Readonly<Record<Precision, Readonly<Record<Family, ToleranceEntry>>>> = {
  f64: each(1e-7, 'doubles carry 29 bits more'),
  f32,
  f16: Object.fromEntries(
    (Object.entries(f32) as [Family, ToleranceEntry][]).map(([family, entry]) => [
      family,
      stored(family, entry),
    ]),
  ) as Record<Family, ToleranceEntry>,
}
