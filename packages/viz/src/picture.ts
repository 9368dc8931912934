// What every standalone SVG shares: the frame, the fonts, the token cell and the printed colour scale. Colours are
// presentation attributes (the light theme), classes let a page restyle them for a dark one.
import { visibleToken } from './glyphs.js'
import { type Child, h, type Mark, toHtml } from './markup.js'
import { diverging, hex, ink, pretty, sequential } from './scale.js'
import { fitWidth } from './width.js'

/** A finished picture. */
export interface Picture {
  /** A standalone SVG document. */
  svg(): string
}

/** Tokens as plain strings, or with the hex bytes of pieces that are no text. */
export type TokenLike = string | { text: string; bytes?: string }

export const tokenLabel = (token: TokenLike): string =>
  typeof token === 'string' ? visibleToken(token) : visibleToken(token.text, token.bytes)

export const fonts = 'ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", "Noto Sans Mono", monospace'
/** Width of one column of the fonts above at 13 px, rounded up. */
export const column = 8

export function frame(width: number, height: number, title: string, ...children: Child[]): Mark {
  return h(
    'svg',
    {
      xmlns: 'http://www.w3.org/2000/svg',
      viewBox: `0 0 ${width} ${height}`,
      width,
      height,
      role: 'img',
      'font-family': fonts,
      'font-size': 13,
    },
    h('title', {}, title),
    h('rect', { class: 'v-ground', width, height, fill: '#ffffff' }),
    ...children,
  )
}

export const picture = (mark: Mark): Picture => ({ svg: () => toHtml(mark) })

export function label(
  x: number,
  y: number,
  text: string,
  attributes: Record<string, string | number | null> = {},
): Mark {
  return h('text', { x, y, class: 'v-ink', fill: '#1b1f24', 'unicode-bidi': 'isolate', ...attributes }, text)
}

/** A token cut to fit a cell, its full text as a tooltip. */
export function tokenText(
  x: number,
  y: number,
  token: TokenLike,
  columns: number,
  attributes: Record<string, string | number | null> = {},
): Mark {
  const full = tokenLabel(token)
  const mark = label(x, y, fitWidth(full, columns), attributes)
  if (mark.children[0] !== full) mark.children.push(h('title', {}, full))
  return mark
}

/** The colour scale with its ends printed: a bar of steps, limits, and what left it. */
export function scaleBar(x: number, y: number, limit: number, signed: boolean, caption: string): Mark {
  const steps = 16
  const w = 160
  return h(
    'g',
    {},
    Array.from({ length: steps }, (_, i) =>
      h('rect', {
        x: x + (i * w) / steps,
        y,
        width: w / steps + 0.5,
        height: 8,
        fill: hex(signed ? diverging((2 * i) / (steps - 1) - 1) : sequential(i / (steps - 1))),
      }),
    ),
    h('rect', { x, y, width: w, height: 8, fill: 'none', stroke: '#8a929c', 'stroke-width': 0.5 }),
    label(x, y + 22, signed ? pretty(-limit) : '0', { 'font-size': 11 }),
    signed ? label(x + w / 2, y + 22, '0', { 'font-size': 11, 'text-anchor': 'middle' }) : null,
    label(x + w, y + 22, pretty(limit), { 'font-size': 11, 'text-anchor': 'end' }),
    label(x + w + 12, y + 8, caption, { 'font-size': 11 }),
  )
}

/** Ground and ink of a value cell. NaN is the error colour, null the hatch-grey of "not computed". */
export function cellColours(
  value: number | null,
  limit: number,
  signed: boolean,
): { fill: string; ink: string } {
  if (value === null) return { fill: '#e3e6ea', ink: '#000000' }
  if (!Number.isFinite(value)) return { fill: '#c2187a', ink: '#ffffff' }
  const rgb = signed ? diverging(value / limit) : sequential(value / limit)
  return { fill: hex(rgb), ink: hex(ink(rgb)) }
}
