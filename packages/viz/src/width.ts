// How many columns of a fixed-width font a text takes: 0 for combining marks, 2 for East Asian wide and emoji, else 1.
// A close reading of UAX #11 for terminals and for estimates in SVG; it measures no real font.
import { graphemes } from './glyphs.js'

const wide: [number, number][] = [
  [0x1100, 0x115f],
  [0x231a, 0x231b],
  [0x23e9, 0x23ec],
  [0x25fd, 0x25fe],
  [0x2614, 0x2615],
  [0x2648, 0x2653],
  [0x26a1, 0x26a1],
  [0x26bd, 0x26be],
  [0x2705, 0x2705],
  [0x274c, 0x274c],
  [0x2753, 0x2755],
  [0x2b1b, 0x2b1c],
  [0x2b50, 0x2b50],
  [0x2e80, 0x303e],
  [0x3041, 0x33ff],
  [0x3400, 0x4dbf],
  [0x4e00, 0x9fff],
  [0xa000, 0xa4cf],
  [0xa960, 0xa97f],
  [0xac00, 0xd7a3],
  [0xf900, 0xfaff],
  [0xfe30, 0xfe6f],
  [0xff00, 0xff60],
  [0xffe0, 0xffe6],
  [0x1f004, 0x1f004],
  [0x1f0cf, 0x1f0cf],
  [0x1f18e, 0x1f19a],
  [0x1f200, 0x1f320],
  [0x1f32d, 0x1f64f],
  [0x1f680, 0x1f6fc],
  [0x1f7e0, 0x1f7eb],
  [0x1f90c, 0x1f9ff],
  [0x1fa70, 0x1faff],
  [0x20000, 0x3fffd],
]

const clusterWidth = (cluster: string): number => {
  const code = cluster.codePointAt(0) as number
  if (/^(?:\p{M}|\p{Cf})/u.test(cluster)) return 0
  if (cluster.includes('\ufe0f') || /\p{Regional_Indicator}{2}/u.test(cluster)) return 2
  return wide.some(([from, to]) => code >= from && code <= to) ? 2 : 1
}

/** Columns that `text` takes, without escape sequences. */
export function displayWidth(text: string): number {
  if (/^[ -~]*$/.test(text)) return text.length
  let sum = 0
  for (const cluster of graphemes(text)) sum += clusterWidth(cluster)
  return sum
}

/** `text` cut to at most `width` columns, the last one an ellipsis when something was cut. */
export function fitWidth(text: string, width: number): string {
  if (displayWidth(text) <= width) return text
  if (width <= 0) return ''
  let out = ''
  let used = 0
  for (const cluster of graphemes(text)) {
    const w = clusterWidth(cluster)
    if (used + w > width - 1) break
    out += cluster
    used += w
  }
  return `${out}…`
}
