/** The error function in float64 from its series and its continued fraction (Abramowitz & Stegun 7.1.6, 7.1.14), to 1e-14. */

function erf(x: number): number {
  const a = Math.abs(x)
  if (a < 2.5) {
    // 2/√π · e^(−x²) · Σ 2ⁿ x^(2n+1) / (1·3·…·(2n+1)): all terms of one sign
    let term = a
    let sum = a
    for (let n = 1; term > sum * 1e-17; n++) {
      term *= (2 * a * a) / (2 * n + 1)
      sum += term
    }
    return Math.sign(x) * (2 / Math.sqrt(Math.PI)) * Math.exp(-a * a) * sum
  }
  // erfc = e^(−x²)/√π · 1/(x + (1/2)/(x + 1/(x + (3/2)/(x + …)))), from the inside
  let below = a
  for (let n = 60; n > 0; n--) below = a + n / 2 / below
  return Math.sign(x) * (1 - Math.exp(-a * a) / Math.sqrt(Math.PI) / below)
}

/** x Φ(x), with the exact Φ. */
export const gelu = (x: number): number => 0.5 * x * (1 + erf(x / Math.SQRT2))
