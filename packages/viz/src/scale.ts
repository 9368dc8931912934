// Colour: one sequential ramp for patterns and one diverging ramp with the ground (white on light, near black on dark)
// at zero for signed numbers. Both are safe for colour-blind readers: one hue of falling lightness, blue against
// orange. Ink is chosen by luminance. Classes `s0…s20` and `n20…n1 z p1…p20` are the same ramps in steps, for CSS.

export type Rgb = readonly [number, number, number]
export type Theme = 'light' | 'dark'

/** Steps of the CSS classes. */
export const levels = 20

const ramps: Record<Theme, { up: Rgb[]; down: Rgb[] }> = {
  light: {
    up: [
      [255, 255, 255],
      [206, 224, 242],
      [125, 180, 220],
      [36, 113, 181],
      [8, 44, 100],
    ],
    down: [
      [255, 255, 255],
      [254, 219, 184],
      [249, 156, 84],
      [196, 84, 10],
      [105, 37, 2],
    ],
  },
  dark: {
    up: [
      [22, 25, 31],
      [22, 52, 89],
      [32, 96, 158],
      [96, 166, 216],
      [220, 238, 252],
    ],
    down: [
      [22, 25, 31],
      [84, 42, 12],
      [172, 82, 22],
      [246, 164, 92],
      [255, 230, 204],
    ],
  },
}

const along = (ramp: readonly Rgb[], t: number): Rgb => {
  const x = Math.min(1, Math.max(0, t)) * (ramp.length - 1)
  const i = Math.min(ramp.length - 2, Math.floor(x))
  const mix = (c: 0 | 1 | 2): number => Math.round(ramp[i][c] + (ramp[i + 1][c] - ramp[i][c]) * (x - i))
  return [mix(0), mix(1), mix(2)]
}

/** Colour of t in [0, 1] on the sequential ramp. */
export const sequential = (t: number, theme: Theme = 'light'): Rgb => along(ramps[theme].up, t)

/** Colour of t in [−1, 1] on the diverging ramp; 0 is the ground. */
export const diverging = (t: number, theme: Theme = 'light'): Rgb =>
  t < 0 ? along(ramps[theme].down, -t) : along(ramps[theme].up, t)

export const hex = ([r, g, b]: Rgb): string =>
  `#${[r, g, b].map((c) => c.toString(16).padStart(2, '0')).join('')}`

/** Relative luminance of sRGB, WCAG 2.2. */
export function luminance([r, g, b]: Rgb): number {
  const linear = (c: number): number => (c <= 10.31475 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4)
  return 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b)
}

/** Contrast ratio of two colours, 1 to 21. */
export function contrast(a: Rgb, b: Rgb): number {
  const [la, lb] = [luminance(a), luminance(b)]
  return (Math.max(la, lb) + 0.05) / (Math.min(la, lb) + 0.05)
}

const black: Rgb = [0, 0, 0]
const white: Rgb = [255, 255, 255]
/** Black or white, whichever stands out more; never below 4.58 : 1. */
export const ink = (ground: Rgb): Rgb => (contrast(ground, black) >= contrast(ground, white) ? black : white)

/** A value on its scale as a number of steps: −20 … 20 (signed) or 0 … 20. */
export function level(value: number, limit: number): number {
  if (!(limit > 0)) return 0
  return Math.round(Math.min(1, Math.max(-1, value / limit)) * levels)
}

/** CSS class of a value: `s7`, `p3`, `n12`, `z`; `bad` for no number, `none` for not computed. */
export function levelClass(value: number | string | null, limit: number, signed: boolean): string {
  if (value === null) return 'none'
  if (typeof value !== 'number' || !Number.isFinite(value)) return 'bad'
  const n = level(value, limit)
  if (!signed) return `s${Math.max(0, n)}`
  return n === 0 ? 'z' : n > 0 ? `p${n}` : `n${-n}`
}

/** Largest magnitude among the finite values; 1 when there is none or all are zero. */
export function limitOf(values: ArrayLike<number | string | null>): number {
  let limit = 0
  for (let i = 0; i < values.length; i++) {
    const v = values[i]
    if (typeof v === 'number' && Number.isFinite(v)) limit = Math.max(limit, Math.abs(v))
  }
  return limit || 1
}

/** A number as a reader wants it: three significant digits, a real minus sign. */
export function pretty(value: number): string {
  if (Number.isNaN(value)) return 'not a number'
  if (!Number.isFinite(value)) return value > 0 ? '∞' : '−∞'
  const a = Math.abs(value)
  const text =
    a === 0
      ? '0'
      : a >= 1000
        ? a.toFixed(0)
        : a >= 0.001
          ? String(Number(a.toPrecision(3)))
          : a.toExponential(1)
  return value < 0 ? `−${text}` : text
}

/** A value known to ± `bound`: as many decimals as that bears, at least two. */
export function rounded(value: number, bound: number): string {
  return value.toFixed(Math.max(2, Math.ceil(-Math.log10(bound))))
}

/** A probability as a percentage with one decimal, as in the terminal, that never rounds a possible thing to 0 % or 100 %. */
export function percent(p: number): string {
  if (!Number.isFinite(p)) return 'not a number'
  const x = p * 100
  if (x === 0 || x === 100) return `${x} %`
  if (x < 0.1) return '< 0.1 %'
  if (x > 99.9) return '> 99.9 %'
  return `${x.toFixed(1)} %`
}
