// The text itself as a picture: each token on a ground whose colour is its value, with a bar below (towards) or above
// (against) it, so that colour is never the only carrier.
import { VizError } from './errors.js'
import { h, type Mark } from './markup.js'
import {
  cellColours,
  column,
  frame,
  label,
  type Picture,
  picture,
  scaleBar,
  type TokenLike,
  tokenLabel,
} from './picture.js'
import { limitOf, pretty } from './scale.js'
import { displayWidth, fitWidth } from './width.js'

export interface TextHeatmapOptions {
  tokens: readonly TokenLike[]
  /** One value per token; null is drawn as not computed, NaN as an error. */
  values: ArrayLike<number | null>
  /** Diverging scale with white at 0. Default: true when a value is negative. */
  signed?: boolean
  /** Upper end of the colour scale. Default: the largest magnitude. Give it when pictures are compared. */
  limit?: number
  /** Default `Text heat-map`. */
  title?: string
  /** Pixels. Default 720. */
  width?: number
}

const known = new Set(['tokens', 'values', 'signed', 'limit', 'title', 'width'])

/** Tokens in reading order on one stated colour scale. @throws VizError when values and tokens differ in number. */
export function textHeatmap(options: TextHeatmapOptions): Picture {
  for (const name of Object.keys(options))
    if (!known.has(name))
      throw new VizError(`textHeatmap: unknown option '${name}'; there are: ${[...known].join(', ')}`)
  const { tokens, values, title = 'Text heat-map', width = 720 } = options
  if (values.length !== tokens.length)
    throw new VizError(`textHeatmap: ${values.length} values for ${tokens.length} tokens`)
  const list = Array.from(values)
  const signed = options.signed ?? list.some((v) => v !== null && v < 0)
  if (!signed && list.some((v) => v !== null && v < 0))
    throw new VizError('textHeatmap: a negative value on an unsigned scale; set signed: true')
  const limit = options.limit ?? limitOf(list)
  const cells: Mark[] = []
  const line = 30
  let x = 8
  let y = 72
  tokens.forEach((token, i) => {
    const text = fitWidth(tokenLabel(token), Math.floor((width - 30) / column))
    const w = Math.max(1, displayWidth(text)) * column + 6
    if (x + w > width - 8 && x > 8) {
      x = 8
      y += line
    }
    const v = list[i]
    const { fill, ink } = cellColours(v, limit, signed)
    const bar = v === null || !Number.isFinite(v) ? 0 : Math.round(Math.min(1, Math.abs(v) / limit) * 4)
    const said = v === null ? 'not computed' : pretty(v)
    cells.push(
      h(
        'g',
        {},
        h('title', {}, `${tokenLabel(token)}: ${said}`),
        h('rect', { x, y, width: w, height: 22, fill, rx: 2 }),
        bar > 0
          ? h('rect', {
              class: 'v-bar',
              x,
              y: (v as number) > 0 ? y + 22 : y - bar,
              width: w,
              height: bar,
              fill: '#1b1f24',
            })
          : null,
        label(x + w / 2, y + 15, text, { fill: ink, class: null, 'text-anchor': 'middle' }),
      ),
    )
    x += w + 1
    if (/\n/.test(typeof token === 'string' ? token : token.text)) {
      x = 8
      y += line
    }
  })
  return picture(
    frame(
      width,
      y + 36,
      title,
      label(8, 20, title, { 'font-weight': 600 }),
      scaleBar(
        8,
        32,
        limit,
        signed,
        signed ? 'bar below: towards, above: against' : 'bar below: the same value',
      ),
      cells,
    ),
  )
}
