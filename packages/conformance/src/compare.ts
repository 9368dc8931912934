/** The one comparison of this package. nan ⇔ nan, infinities exactly, everything else within a tolerance. */

export interface Tolerance {
  /** Allowed error relative to the value expected there. */
  readonly rtol: number
  /** Allowed error relative to the largest finite value expected anywhere in the tensor (at least `floor`). */
  readonly scaled: number
  /** The smallest size that `scaled` is relative to. Default 1e-3. */
  readonly floor?: number
}

export interface Compared {
  readonly pass: boolean
  /** Largest |got − want|; Infinity where one is finite and the other is not, or lengths differ. */
  readonly maxError: number
  /** The same over the largest finite value expected anywhere, where that is above 1. */
  readonly scaledError: number
  /** Largest error over what was allowed there: a pass is ≤ 1. */
  readonly ratio: number
  /** Flat index of that element, −1 when all are equal. */
  readonly at: number
  /** One line for a failure. */
  readonly reason?: string
}

/** Compares element by element: |got − want| ≤ rtol·|want| + scaled·max|want|. */
export function compare(got: ArrayLike<number>, want: ArrayLike<number>, tolerance: Tolerance): Compared {
  if (got.length !== want.length)
    return {
      pass: false,
      maxError: Infinity,
      scaledError: Infinity,
      ratio: Infinity,
      at: 0,
      reason: `${got.length} values, expected ${want.length}`,
    }
  let size = tolerance.floor ?? 1e-3
  for (let i = 0; i < want.length; i++)
    if (Number.isFinite(want[i]) && Math.abs(want[i]) > size) size = Math.abs(want[i])
  let maxError = 0
  let ratio = 0
  let at = -1
  for (let i = 0; i < want.length; i++) {
    const g = got[i]
    const w = want[i]
    const error =
      g === w || (Number.isNaN(g) && Number.isNaN(w))
        ? 0
        : Number.isFinite(g) && Number.isFinite(w)
          ? Math.abs(g - w)
          : Infinity
    if (error === 0) continue
    if (error > maxError) maxError = error
    const allowed = tolerance.rtol * Math.abs(w) + tolerance.scaled * size
    const r = error === Infinity || allowed === 0 ? Infinity : error / allowed
    if (r > ratio) {
      ratio = r
      at = i
    }
  }
  const pass = ratio <= 1
  return {
    pass,
    maxError,
    scaledError: maxError / Math.max(1, size),
    ratio,
    at,
    ...(pass
      ? {}
      : {
          reason: `got ${got[at]} instead of ${want[at]} at flat index ${at} (${ratio.toPrecision(2)} times what is allowed)`,
        }),
  }
}
