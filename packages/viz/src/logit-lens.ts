// The logit lens as a still picture: layers down, positions across, each cell the layer's top token on the colour of
// its probability.
import { VizError } from './errors.js'
import type { LogitLensTable } from './explain-data.js'
import { h, type Mark } from './markup.js'
import {
  cellColours,
  frame,
  label,
  type Picture,
  picture,
  scaleBar,
  type TokenLike,
  tokenLabel,
} from './picture.js'
import { percent } from './scale.js'
import { fitWidth } from './width.js'

export interface LogitLensOptions extends LogitLensTable {
  tokens: readonly TokenLike[]
  /** Default `Logit lens`. */
  title?: string
}

/** One scale, 0 to 1, for the whole table. @throws VizError when a row does not fit the positions. */
export function logitLens(options: LogitLensOptions): Picture {
  const { tokens, positions, rows, title = 'Logit lens' } = options
  if (positions.length > 64)
    throw new VizError(
      `logitLens: ${positions.length} positions make a picture of ${positions.length * 84} px; choose at most 64`,
    )
  const [w, line, left, head] = [84, 34, 96, 88]
  const cells: Mark[] = []
  positions.forEach((p, c) => {
    if (!(p >= 0 && p < tokens.length))
      throw new VizError(`logitLens: position ${p} is outside ${tokens.length} tokens`)
    cells.push(
      label(left + c * w + w / 2, head - 8, fitWidth(tokenLabel(tokens[p]), 9), {
        'text-anchor': 'middle',
        'font-size': 12,
      }),
    )
  })
  rows.forEach((row, r) => {
    if (row.cells.length !== positions.length)
      throw new VizError(
        `logitLens: row '${row.name}' has ${row.cells.length} cells for ${positions.length} positions`,
      )
    const y = head + r * line
    cells.push(label(left - 8, y + 20, fitWidth(row.name, 11), { 'text-anchor': 'end', 'font-size': 12 }))
    row.cells.forEach((cell, c) => {
      const x = left + c * w
      const { fill, ink } = cellColours(cell.probability, 1, false)
      cells.push(
        h(
          'g',
          {},
          h(
            'title',
            {},
            `${row.name}, ${tokenLabel(cell.token)}: ${percent(cell.probability)}; final prediction: ${percent(cell.final)}`,
          ),
          h('rect', { x, y, width: w - 1, height: line - 1, fill }),
          label(x + w / 2, y + 14, fitWidth(tokenLabel(cell.token), 10), {
            fill: ink,
            class: null,
            'text-anchor': 'middle',
            'font-size': 12,
          }),
          label(x + w / 2, y + 28, percent(cell.probability), {
            fill: ink,
            class: null,
            'text-anchor': 'middle',
            'font-size': 10,
          }),
        ),
      )
    })
  })
  return picture(
    frame(
      left + positions.length * w + 8,
      head + rows.length * line + 8,
      title,
      label(8, 20, title, { 'font-weight': 600 }),
      scaleBar(8, 32, 1, false, 'probability of the top token'),
      cells,
    ),
  )
}
