/**
 * Errors of the graph. Each carries a marker symbol, so that `isHeedError` still works when two copies of a package
 * are installed, a name that survives minifiers, and a message of one line: where (scope path), which op, the offending
 * shapes or dtypes, the fix.
 */

const MARK = Symbol.for('heed.error')

/** Base of every error that Heed throws on purpose. */
export class HeedError extends Error {
  /** What `name` is: that of the class would not survive minifiers. */
  static readonly label: string = 'HeedError'
  readonly [MARK] = true
  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = new.target.label
  }
}
/** Shapes do not fit the op. */
export class ShapeError extends HeedError {
  static override readonly label: string = 'ShapeError'
}
/** A dtype the op does not take; there is no promotion, `cast` first. */
export class DTypeError extends HeedError {
  static override readonly label: string = 'DTypeError'
}
/** A backend refuses an op and `strict` forbids running it elsewhere. */
export class UnsupportedOpError extends HeedError {
  static override readonly label: string = 'UnsupportedOpError'
}
/** A backend failed, is missing, disposed, out of memory, or was handed a foreign tensor. */
export class BackendError extends HeedError {
  static override readonly label: string = 'BackendError'
}
/** A tap name, `keep` or `edit` that is unknown, never fired, or returned something of the wrong shape. */
export class TapError extends HeedError {
  static override readonly label: string = 'TapError'
}
/** A gradient that does not exist: the loss is not a scalar, or a tensor does not reach it. */
export class GradError extends HeedError {
  static override readonly label: string = 'GradError'
}
/** A value that a kernel cannot honour: an id out of range, a full cache, an option nobody knows. */
export class ValueError extends HeedError {
  static override readonly label: string = 'ValueError'
}

/** Options are checked by name: one that nobody knows is a typo, not a wish. */
export function checkOptions(what: string, options: unknown, known: readonly string[]): void {
  for (const name of Object(options) === options ? Object.keys(options as object) : [options])
    if (!known.includes(name as string))
      throw new ValueError(`${what}: option '${name}' is unknown; use one of ${known.join(', ')}`)
}

/** True for errors of any Heed package, also across two installed copies. */
export function isHeedError(error: unknown): error is HeedError {
  return (error as Partial<HeedError> | null | undefined)?.[MARK] === true
}

/** What a value is, where it is not what was expected. */
export const kindOf = (x: unknown): unknown => (x instanceof Promise ? 'a promise; await it' : x && typeof x)

/** @throws ValueError where one tensor stands for a list */
export function requireList(what: string, x: unknown): void {
  if (!Array.isArray(x)) throw new ValueError(`${what}: expected an array of tensors, got ${kindOf(x)}`)
}

/** `[2, 3]`: how shapes read in messages. */
export function showShape(shape: readonly number[]): string {
  return `[${shape.join(', ')}]`
}

/** The names nearest to `name` by edit distance, for "did you mean". */
export function nearestNames(name: string, candidates: Iterable<string>, count = 3): string[] {
  return Array.from(candidates, (candidate) => ({ candidate, distance: editDistance(name, candidate) }))
    .sort((a, b) => a.distance - b.distance)
    .slice(0, count)
    .map((s) => s.candidate)
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++)
      next.push(Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1)))
    row = next
  }
  return row[b.length]
}
