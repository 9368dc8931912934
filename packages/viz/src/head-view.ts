// The head view as a still picture: tokens twice, a line for each attention weight that is shown. Interaction and
// large inputs belong to the report; this one is for papers, READMEs and readers without script.
import { VizError } from './errors.js'
import { type HeadRows, headLimit, type PatternArray, rowsOfArray, sinkShare } from './head-rows.js'
import { h, type Mark } from './markup.js'
import {
  column,
  frame,
  label,
  type Picture,
  picture,
  scaleBar,
  type TokenLike,
  tokenText,
} from './picture.js'
import { percent, pretty } from './scale.js'

export interface HeadViewOptions {
  /** Query tokens, in order. */
  tokens: readonly TokenLike[]
  /** Attention weights `[query * key]` or `[query][key]`, each in [0, 1]. */
  pattern: PatternArray
  /** Key tokens, when they are not the queries (cross-attention). */
  keyTokens?: readonly TokenLike[]
  /** Key positions left out of picture and scale. Default: none. */
  sinks?: readonly number[]
  /** Lines per query at most. Default 8. */
  top?: number
  /** Default `Attention`. */
  title?: string
}

const known = new Set(['tokens', 'pattern', 'keyTokens', 'sinks', 'top', 'title'])

/**
 * Tokens left (queries) and right (keys) with a line per shown weight: opacity and width are proportional to it.
 * Each query states the mass its lines carry when that is not all of it.
 *
 * @throws VizError when the pattern does not fit the tokens or is no pattern.
 */
export function headView(options: HeadViewOptions): Picture {
  for (const name of Object.keys(options))
    if (!known.has(name))
      throw new VizError(`headView: unknown option '${name}'; there are: ${[...known].join(', ')}`)
  const { tokens, keyTokens = tokens, sinks = [], top = 8, title = 'Attention' } = options
  if (tokens.length === 0) throw new VizError('headView: tokens is empty')
  const rows = rowsOfArray(options.pattern, tokens.length, keyTokens.length)
  return picture(headViewMark({ rows, tokens, keyTokens, sinks: new Set(sinks), top, title }))
}

interface Drawing {
  rows: HeadRows
  tokens: readonly TokenLike[]
  keyTokens: readonly TokenLike[]
  sinks: ReadonlySet<number>
  top: number
  title: string
  /** First and one-past-last row to draw; default all. */
  from?: number
  to?: number
}

/** The drawing behind headView, over rows of any origin; `from`/`to` cut a window out of a long text. */
export function headViewMark({ rows, tokens, keyTokens, sinks, top, title, from = 0, to }: Drawing): Mark {
  const lastQuery = Math.min(to ?? rows.queries, rows.queries)
  const lastKey = Math.min(to ?? rows.keys, rows.keys)
  const step = 20
  const [left, right, mass, width] = [180, 360, 44, 600]
  const head = 64
  const height = head + Math.max(lastQuery, lastKey) * step - from * step + 12
  const limit = headLimit(rows, sinks)
  const y = (i: number): number => head + (i - from) * step + step / 2
  const lines: Mark[] = []
  const cells: Mark[] = []
  for (let k = from; k < lastKey; k++)
    cells.push(
      tokenText(right + 8, y(k) + 4, keyTokens[k], Math.floor((width - right - 16) / column), {
        'fill-opacity': sinks.has(k) ? 0.5 : null,
      }),
    )
  for (let q = from; q < lastQuery; q++) {
    cells.push(tokenText(left - 8, y(q) + 4, tokens[q], 15, { 'text-anchor': 'end' }))
    const { keys, values, state } = rows.row(q)
    if (state !== 'ok') {
      cells.push(label(left + 6, y(q) + 4, state, { 'font-size': 11, fill: '#b0106c', class: 'v-error' }))
      continue
    }
    const order = keys.map((_, i) => i).sort((a, b) => values[b] - values[a])
    let drawn = 0
    let sunk = 0
    let count = 0
    for (const i of order) {
      if (sinks.has(keys[i])) {
        sunk += values[i]
        continue
      }
      if (count++ >= top) break
      drawn += values[i]
      if (keys[i] < from || keys[i] >= lastKey) continue
      const t = values[i] / limit
      lines.push(
        h('line', {
          x1: left,
          y1: y(q),
          x2: right,
          y2: y(keys[i]),
          'stroke-width': (0.4 + 2.6 * t).toFixed(2),
          'stroke-opacity': (0.08 + 0.92 * t).toFixed(2),
        }),
      )
    }
    if (drawn + sunk < 0.995)
      cells.push(
        label(mass - 6, y(q) + 4, percent(drawn), {
          'font-size': 10,
          'text-anchor': 'end',
          class: 'v-quiet',
          fill: '#59636e',
        }),
      )
  }
  const left_out =
    sinks.size > 0
      ? `${sinks.size === 1 ? '1 sink' : `${sinks.size} sinks`} left out: ${percent(sinkShare(rows, sinks))} of the attention`
      : 'no token left out'
  return frame(
    width,
    height,
    title,
    label(8, 20, title, { 'font-weight': 600 }),
    scaleBar(8, 32, limit, false, `${left_out}; error ≤ ${pretty(rows.bound)}`),
    h(
      'text',
      { x: width - 8, y: 20, 'text-anchor': 'end', 'font-size': 11, class: 'v-quiet', fill: '#59636e' },
      'left looks, right is looked at; % = drawn, where not all is',
    ),
    h('g', { class: 'v-lines', stroke: '#1c5fa8' }, lines),
    cells,
  )
}
