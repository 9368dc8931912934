// The little that all canvases share: device pixels, the theme's colours, ramps as tables, and text cut to a width.
import { graphemes } from '../glyphs.js'
import { hex, type Rgb, sequential, type Theme } from '../scale.js'

export interface Palette {
  theme: Theme
  ground: string
  ink: string
  quiet: string
  line: string
  accent: string
  into: string
  none: string
  bad: string
  /** 256 steps of the sequential ramp as RGBA words for ImageData, and as CSS. */
  words: Uint32Array
  css: string[]
}

export const font = (px: number): string =>
  `${px}px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", "Noto Sans Mono", monospace`

export function readPalette(): Palette {
  const theme: Theme = matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light'
  const style = getComputedStyle(document.documentElement)
  const v = (name: string): string => style.getPropertyValue(`--${name}`).trim()
  const ramp: Rgb[] = Array.from({ length: 256 }, (_, i) => sequential(i / 255, theme))
  return {
    theme,
    ground: v('ground'),
    ink: v('ink'),
    quiet: v('quiet'),
    line: v('line'),
    accent: v('accent'),
    into: v('in'),
    none: v('none'),
    bad: v('bad'),
    words: Uint32Array.from(ramp, ([r, g, b]) => ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0),
    css: ramp.map(hex),
  }
}

/** `#rrggbb` as an RGBA word for ImageData. */
export function wordOf(css: string): number {
  const n = Number.parseInt(css.slice(1), 16)
  return ((255 << 24) | ((n & 255) << 16) | (((n >> 8) & 255) << 8) | (n >> 16)) >>> 0
}

/** Sizes a canvas in CSS pixels for this screen; returns a context in CSS pixels. */
export function sized(canvas: HTMLCanvasElement, width: number, height: number): CanvasRenderingContext2D {
  const ratio = Math.min(3, globalThis.devicePixelRatio || 1)
  const [w, h] = [Math.max(1, Math.round(width * ratio)), Math.max(1, Math.round(height * ratio))]
  if (canvas.width !== w || canvas.height !== h) {
    canvas.width = w
    canvas.height = h
    canvas.style.width = `${width}px`
    canvas.style.height = `${height}px`
  }
  const context = canvas.getContext('2d') as CanvasRenderingContext2D
  context.setTransform(ratio, 0, 0, ratio, 0, 0)
  return context
}

const cuts = new Map<string, string>()
/** Text that fits `width` pixels in the context's font, remembered: measuring is the slow part of a redraw. */
export function fitted(context: CanvasRenderingContext2D, text: string, width: number): string {
  const key = `${context.font}|${Math.round(width)}|${text}`
  const hit = cuts.get(key)
  if (hit !== undefined) return hit
  let out = text
  if (context.measureText(text).width > width) {
    const parts = graphemes(text)
    let n = Math.min(
      parts.length - 1,
      Math.max(1, Math.floor((parts.length * width) / context.measureText(text).width)),
    )
    while (n > 1 && context.measureText(`${parts.slice(0, n).join('')}…`).width > width) n--
    out = `${parts.slice(0, n).join('')}…`
  }
  if (cuts.size > 20_000) cuts.clear()
  cuts.set(key, out)
  return out
}

/** Diagonal hatch over a rectangle: "not allowed" and "left out", told apart from any value without colour. */
export function hatch(
  context: CanvasRenderingContext2D,
  x: number,
  y: number,
  w: number,
  h: number,
  colour: string,
): void {
  context.save()
  context.beginPath()
  context.rect(x, y, w, h)
  context.clip()
  context.strokeStyle = colour
  context.lineWidth = 1
  context.beginPath()
  for (let d = -h; d < w; d += 6) {
    context.moveTo(x + d, y + h)
    context.lineTo(x + d + h, y)
  }
  context.stroke()
  context.restore()
}
