// Pictures for a terminal: tokens with their numbers under them, bars, tables. Plain text by default, colours (256) on
// request; widths count columns, not code units. What a stream is and whether it has colours is the caller's business.
import { VizError } from './errors.js'
import { type TokenLike, tokenLabel } from './picture.js'
import { diverging, ink, limitOf, type Rgb, sequential } from './scale.js'
import { displayWidth, fitWidth } from './width.js'

const csi = '\u001b['
const reset = `${csi}0m`
const styled = new RegExp(`${csi.replace('[', '\\[')}[0-9;]*m`, 'g')

/** Columns that a text takes once its colour sequences are left out. */
export const terminalWidth = (text: string): number => displayWidth(text.replace(styled, ''))

/** Nearest of the 6 × 6 × 6 colours that every terminal of the last twenty years has. */
const cube = ([r, g, b]: Rgb): number => {
  const step = (c: number): number => (c < 48 ? 0 : c < 115 ? 1 : Math.min(5, Math.floor((c - 35) / 40)))
  return 16 + 36 * step(r) + 6 * step(g) + step(b)
}
const on = (text: string, ground: Rgb): string =>
  `${csi}48;5;${cube(ground)}m${csi}38;5;${ink(ground)[0] === 0 ? 16 : 231}m${text}${reset}`

/** Control characters cannot move the cursor: all but colour sequences become U+FFFD. */
const safe = (text: string): string =>
  text
    .split(new RegExp(`(${styled.source})`))
    // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this line is about
    .map((part, i) => (i % 2 === 1 ? part : part.replace(/[\u0000-\u001f\u007f-\u009f]/g, '\ufffd')))
    .join('')

const padTo = (text: string, width: number, right: boolean): string => {
  const space = ' '.repeat(Math.max(0, width - terminalWidth(text)))
  return right ? space + text : text + space
}

export interface TerminalHeatOptions {
  /** Grounds in 256 colours. The numbers are printed either way. */
  color: boolean
  /** Columns of the terminal. Default 80. */
  width?: number
  /** Diverging scale. Default: true when a value is negative. */
  signed?: boolean
  /** Upper end of the scale. Default: the largest magnitude. */
  limit?: number
}

const short = (v: number | null, limit: number): string => {
  if (v === null) return '–'
  if (!Number.isFinite(v)) return Number.isNaN(v) ? 'NaN' : v > 0 ? '∞' : '−∞'
  const a = Math.abs(v)
  const digits = limit >= 100 ? 0 : limit >= 10 ? 1 : 2
  const text =
    limit >= 0.05
      ? a.toFixed(digits).replace(/^0\./, '.')
      : a === 0
        ? '0'
        : a.toExponential(0).replace('e-', 'e−')
  return v < 0 && !/^[.0]*$/.test(text) ? `−${text}` : text
}

/**
 * Tokens in reading order, each with its value under it, wrapped to the width. Ends with a newline-free last line.
 * @throws VizError when values and tokens differ in number.
 */
export function terminalHeat(
  tokens: readonly TokenLike[],
  values: ArrayLike<number | null>,
  options: TerminalHeatOptions,
): string {
  if (values.length !== tokens.length)
    throw new VizError(`terminalHeat: ${values.length} values for ${tokens.length} tokens`)
  const { color, width = 80 } = options
  const list = Array.from(values)
  const signed = options.signed ?? list.some((v) => v !== null && v < 0)
  const limit = options.limit ?? limitOf(list)
  const lines: string[] = []
  let [upper, lower, used] = ['', '', 0]
  const flush = (): void => {
    if (used > 0) lines.push(upper.trimEnd(), lower.trimEnd())
    ;[upper, lower, used] = ['', '', 0]
  }
  tokens.forEach((token, i) => {
    const label = fitWidth(tokenLabel(token), width)
    const v = list[i]
    const number = short(v, limit)
    const w = Math.max(displayWidth(label), displayWidth(number))
    if (used > 0 && used + 1 + w > width) flush()
    const cell = padTo(label, w, false)
    const t = v === null || !Number.isFinite(v) ? 0 : v / limit
    // The lowest tenth keeps the terminal's own ground, so that what matters stands out on light and on dark ones.
    const shaded =
      color && Math.abs(t) >= 0.1 ? on(cell, signed ? diverging(t) : sequential(Math.max(0, t))) : cell
    const gap = used > 0 ? ' ' : ''
    upper += gap + shaded
    lower += gap + padTo(number, w, true)
    used += gap.length + w
  })
  flush()
  return lines.join('\n')
}

export interface TerminalBarOptions {
  /** The value of a full bar. Default 1. */
  max?: number
  /** Columns of a full bar. Default 20. */
  width?: number
  /** Blue for positive, orange for negative. Default false. */
  color?: boolean
}

/** A bar of exactly `width` columns in eighths; a negative value is drawn hatched, NaN says so. */
export function terminalBar(value: number, options: TerminalBarOptions = {}): string {
  const { max = 1, width = 20, color = false } = options
  if (!(max > 0)) throw new VizError(`terminalBar: max must be above 0, got ${max}`)
  if (!Number.isFinite(value)) return padTo(fitWidth('not a number', width), width, false)
  const eighths = Math.round(Math.min(1, Math.abs(value) / max) * width * 8)
  const bar =
    value < 0
      ? '▒'.repeat(Math.round(eighths / 8))
      : '█'.repeat(eighths >> 3) + (eighths % 8 > 0 ? ' ▏▎▍▌▋▊▉'[eighths % 8] : '')
  const full = padTo(bar, width, false)
  return color ? `${csi}38;5;${value < 0 ? 208 : 39}m${full}${reset}` : full
}

export interface TerminalTableOptions {
  head?: readonly string[]
  /** Per column. Default: numbers right, text left, by the first row. */
  align?: readonly ('left' | 'right')[]
  /** Columns of the terminal; the widest text column is cut to fit. Default 80. */
  width?: number
  /** Bold head. Default false. */
  color?: boolean
}

/** Columns aligned by display width, two spaces apart. Cells may carry colours; other control characters are replaced. */
export function terminalTable(
  rows: readonly (readonly (string | number)[])[],
  options: TerminalTableOptions = {},
): string {
  const { head, width = 80, color = false } = options
  const count = head?.length ?? rows[0]?.length ?? 0
  rows.forEach((r, i) => {
    if (r.length !== count)
      throw new VizError(`terminalTable: row ${i} has ${r.length} cells, expected ${count}`)
  })
  const right = Array.from(
    { length: count },
    (_, c) => (options.align?.[c] ?? (typeof rows[0]?.[c] === 'number' ? 'right' : 'left')) === 'right',
  )
  const cells = rows.map((r) => r.map((v) => safe(String(v))))
  const all = head ? [head.map((t) => safe(t)), ...cells] : cells
  const widths = Array.from({ length: count }, (_, c) => Math.max(0, ...all.map((r) => terminalWidth(r[c]))))
  const total = (): number => widths.reduce((a, b) => a + b, 0) + 2 * Math.max(0, count - 1)
  if (total() > width) {
    const widest = widths.indexOf(Math.max(...widths.map((w, c) => (right[c] ? 0 : w))))
    widths[widest] = Math.max(4, widths[widest] - (total() - width))
  }
  const cut = (text: string, w: number): string =>
    terminalWidth(text) <= w ? text : fitWidth(text.replace(styled, ''), w)
  const line = (r: readonly string[]): string =>
    r
      .map((t, c) => padTo(cut(t, widths[c]), widths[c], right[c]))
      .join('  ')
      .trimEnd()
  const out = cells.map(line)
  if (head) {
    const title = line(all[0])
    out.unshift(color ? `${csi}1m${title}${reset}` : title, '─'.repeat(Math.min(width, total())))
  }
  return out.join('\n')
}
