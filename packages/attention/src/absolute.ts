/** Positions that are added to the embeddings: learned rows, or Vaswani's sines. Slots of a model, beside `embed`. */

import { checkSizes, type Init, type Module, module, normal, param } from '@heed/nn'
import {
  type Context,
  checkOptions,
  dynamicSlice,
  expandDims,
  sliceAxis,
  type Tensor,
  take,
  tensor,
  ValueError,
} from '@heed/tensor'
import { knownOffset } from './position.js'

/**
 * The rows for x [batch, position, ..]: [1, position, dModel], or [batch, position, dModel] for positions per row.
 * @throws ValueError for a text longer than the table.
 */
export function positionRows(table: Tensor, x: Tensor, ctx: Context = {}): Tensor {
  const nCtx = table.shape[0]
  if (ctx.positions) {
    const rows = take(table, ctx.positions)
    return rows.rank === 2 ? expandDims(rows, 0) : rows // [batch or 1, position, dModel]
  }
  const n = x.shape[1]
  const from = knownOffset(ctx.offset)
  if (n > nCtx || (from !== undefined && from + n > nCtx))
    throw new ValueError(
      `positions: the text has ${n} positions${from ? ` from ${from} on` : ''}, the model ${nCtx} (nCtx); shorten the text`,
    )
  const rows =
    ctx.offset === undefined
      ? sliceAxis(table, 0, 0, n)
      : dynamicSlice(table, ctx.offset, { axis: 0, size: n })
  return expandDims(rows, 0) // [1, position, dModel]
}

export interface LearnedPositionsOptions {
  nCtx: number
  dModel: number
  init?: Init
  key?: Tensor
}
/** Learned positions: (x, ctx) → the rows to add. Parameter `w` [nCtx, dModel]. */
export function learnedPositions(o: LearnedPositionsOptions): Module<{ w: Tensor }> {
  checkOptions('learnedPositions', o, ['nCtx', 'dModel', 'init', 'key'])
  checkSizes('learnedPositions', { nCtx: o.nCtx, dModel: o.dModel })
  return module({ w: param([o.nCtx, o.dModel], o.init ?? normal(0.02), o.key) }, (m, x, ctx) =>
    positionRows(m.w, x, ctx),
  )
}

export type SinusoidalLayout = 'interleaved' | 'concat' | 'whisper'
export interface SinusoidalOptions {
  nCtx: number
  dModel: number
  /** Default 10000. */
  base?: number
  /**
   * `interleaved` (default): sine and cosine alternate (Vaswani et al. 2017, §3.5); `concat`: all sines, then all
   * cosines (Marian); `whisper`: so too, with frequencies base^(−i/(dModel/2 − 1)).
   */
  layout?: SinusoidalLayout
}
/** The table [nCtx, dModel], made in double. */
export function sinusoidalTable(o: SinusoidalOptions): Tensor {
  checkOptions('sinusoidalPositions', o, ['nCtx', 'dModel', 'base', 'layout'])
  const { nCtx, dModel, base = 10000, layout = 'interleaved' } = o
  if (!['interleaved', 'concat', 'whisper'].includes(layout))
    throw new ValueError(
      `sinusoidalPositions: layout '${layout}' is unknown; use 'interleaved', 'concat' or 'whisper'`,
    )
  if (dModel % 2 !== 0)
    throw new ValueError(`sinusoidalPositions: dModel is ${dModel}, expected an even number`)
  const half = dModel / 2
  const data = new Float64Array(nCtx * dModel)
  for (let p = 0; p < nCtx; p++)
    for (let i = 0; i < half; i++) {
      const angle = p * base ** (layout === 'whisper' ? -i / (half - 1) : (-2 * i) / dModel)
      const at = p * dModel
      data[layout === 'interleaved' ? at + 2 * i : at + i] = Math.sin(angle)
      data[layout === 'interleaved' ? at + 2 * i + 1 : at + half + i] = Math.cos(angle)
    }
  return tensor(data, [nCtx, dModel])
}
/** Fixed sines and cosines: (x, ctx) → the rows to add. No parameters. */
export function sinusoidalPositions(o: SinusoidalOptions): Module<object> {
  const table = sinusoidalTable(o)
  return module({}, (_, x, ctx) => positionRows(table, x, ctx))
}
