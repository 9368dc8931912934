// The one error type of this package. Every refusal (wrong shape, value out of range, a layout over its
// budget) names the field, the offending value and the way out; nothing here formats for a terminal.

const marker = Symbol.for('heed.VizError')

/** Something handed to a picture cannot be drawn truthfully. The message names the field and the fix. */
export class VizError extends Error {
  override readonly name = 'VizError'
  readonly [marker] = true
  /** True for a VizError of any copy of this package on the page. */
  static is(error: unknown): error is VizError {
    return typeof error === 'object' && error !== null && marker in error
  }
}
