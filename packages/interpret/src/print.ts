/** How results print: small aligned tables. Pictures are @heed/viz's. */

/** Columns aligned by their widest cell; the first is flush left, the others right. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]?.map((_, c) => Math.max(...rows.map((r) => r[c].length))) ?? []
  return rows
    .map((r) =>
      r
        .map((cell, c) => (c === 0 ? cell.padEnd(widths[c]) : cell.padStart(widths[c])))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

/** Three decimals with a sign. */
export const signed = (v: number): string => `${v < 0 ? '−' : '+'}${Math.abs(v).toFixed(3)}`
/** A probability in per cent. */
export const percent = (v: number): string => `${(100 * v).toFixed(1)} %`
/** An error: one digit and its power of ten. */
export const tiny = (v: number): string => v.toExponential(0)

/** A result that prints itself, in templates and in Node's console. */
export abstract class Printed {
  abstract toString(): string
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString()
  }
}
