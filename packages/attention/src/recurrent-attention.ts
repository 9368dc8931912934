/**
 * Attention as it began: a recurrent decoder looks back at the encoder's states. Scores of one query against keys
 * [batch, time, dKey]; weights are [in, out].
 */

import { type CellWeights, gruCell } from '@heed/nn'
import {
  add,
  broadcastTo,
  concat,
  linear,
  matmul,
  reshape,
  ShapeError,
  softmax,
  type Tensor,
  tanh,
  tap,
  ValueError,
} from '@heed/tensor'

/** What a query made of the keys. */
export interface Looked {
  /** Σ pattern·keys [batch, dKey] */
  context: Tensor
  /** [batch, time] */
  pattern: Tensor
  /** The scores before masking and softmax [batch, time]. */
  energies: Tensor
}

function look(energies: Tensor, keys: Tensor, mask: Tensor | undefined): Looked {
  const scores = tap('scores', energies)
  const pattern = tap('pattern', softmax(scores, mask ? { mask } : {})) // [batch, time]
  const [batch, time, dKey] = keys.shape
  const context = reshape(matmul(reshape(pattern, [pattern.shape[0], 1, time]), keys), [
    Math.max(batch, pattern.shape[0]),
    dKey,
  ])
  return { context: tap('context', context), pattern, energies: scores }
}
const dot = (x: Tensor, v: Tensor): Tensor =>
  reshape(matmul(x, reshape(v, [v.shape[0], 1])), x.shape.slice(0, -1))

/** `w_q` [dQuery, dAtt], `w_k` [dKey, dAtt], `v` [dAtt]. */
export interface BahdanauWeights {
  w_q: Tensor
  w_k: Tensor
  v: Tensor
}
/**
 * v·tanh(query w_q + key w_k) (Bahdanau et al. 2015, appendix A.1.2, without biases): query [batch, dQuery], keys
 * [batch, time, dKey], mask bool [batch, time], true = may attend.
 */
export function bahdanauAttention(
  query: Tensor,
  keys: Tensor,
  w: BahdanauWeights,
  options: { mask?: Tensor } = {},
): Looked {
  const fromQuery = linear(query, w.w_q) // [batch, dAtt]
  const [batch, dAtt] = fromQuery.shape
  const hidden = tanh(add(reshape(fromQuery, [batch, 1, dAtt]), linear(keys, w.w_k))) // [batch, time, dAtt]
  return look(dot(hidden, w.v), keys, options.mask)
}

/** `general`: w [dKey, dQuery]; `concat`: w [dQuery + dKey, dAtt] and v [dAtt]. */
export interface LuongOptions {
  score: 'dot' | 'general' | 'concat'
  w?: Tensor
  v?: Tensor
  mask?: Tensor
}
/** Luong et al. 2015, eq. 8: query·key, query·(key w), or v·tanh([query; key] w). Shapes as `bahdanauAttention`. */
export function luongAttention(query: Tensor, keys: Tensor, o: LuongOptions): Looked {
  const { score, w, v, mask } = o
  const need = (t: Tensor | undefined, name: string): Tensor => {
    if (!t) throw new ValueError(`luongAttention: score '${score}' needs ${name}`)
    return t
  }
  const [batch, dQuery] = query.shape
  const [, time, dKey] = keys.shape
  const against = (k: Tensor): Tensor => {
    if (k.shape[2] !== dQuery)
      throw new ShapeError(`luongAttention: the query has ${dQuery} entries, the keys ${k.shape[2]}`)
    return reshape(matmul(k, reshape(query, [batch, dQuery, 1])), [batch, time])
  }
  switch (score) {
    case 'dot':
      return look(against(keys), keys, mask)
    case 'general':
      return look(against(linear(keys, need(w, 'w [dKey, dQuery]'))), keys, mask)
    case 'concat': {
      const wide = broadcastTo(reshape(query, [batch, 1, dQuery]), [batch, time, dQuery])
      const both = concat([wide, keys], 2) // [batch, time, dQuery + dKey]
      const hidden = tanh(linear(both, need(w, `w [${dQuery + dKey}, dAtt]`)))
      return look(dot(hidden, need(v, 'v [dAtt]')), keys, mask)
    }
    default:
      throw new ValueError(`luongAttention: score '${score}' is unknown; use 'dot', 'general' or 'concat'`)
  }
}

/**
 * One decoder step: looks with the previous state, then a GRU cell on [x; context]. x [batch, dEmbed], state [batch,
 * dState], cell weights for dEmbed + dKey inputs.
 */
export function bahdanauStep(
  x: Tensor,
  state: Tensor,
  keys: Tensor,
  w: BahdanauWeights & { cell: CellWeights },
  options: { mask?: Tensor } = {},
): Looked & { state: Tensor } {
  const seen = bahdanauAttention(state, keys, w, options)
  return { ...seen, state: gruCell(concat([x, seen.context], 1), state, w.cell) }
}

/**
 * One decoder step: a GRU cell on x, then general attention with the new state; attentional = tanh([context; state]
 * w_out) (Luong et al. 2015, eq. 5). `w` [dKey, dState], `w_out` [dKey + dState, dOut].
 */
export function luongStep(
  x: Tensor,
  state: Tensor,
  keys: Tensor,
  w: { w: Tensor; w_out: Tensor; cell: CellWeights },
  options: { mask?: Tensor } = {},
): Looked & { state: Tensor; attentional: Tensor } {
  const next = gruCell(x, state, w.cell)
  const seen = luongAttention(next, keys, { score: 'general', w: w.w, ...options })
  return { ...seen, state: next, attentional: tanh(linear(concat([seen.context, next], 1), w.w_out)) }
}
