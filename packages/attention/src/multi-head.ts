/**
 * Attention as a layer: multi-head, grouped-query or multi-query, over itself or over a memory. Masks, positions and
 * norms are slots; the layer knows none of them by name.
 */

import {
  checkSizes,
  type Init,
  type Layer,
  type Module,
  module,
  normal,
  param,
  xavierUniform,
  zerosInit,
} from '@heed/nn'
import {
  add,
  attention as attentionOp,
  broadcastTo,
  type Context,
  checkOptions,
  concat,
  currentPath,
  full,
  iota,
  lessEqual,
  linear,
  reshape,
  ShapeError,
  sub,
  type Tensor,
  tap,
  ValueError,
} from '@heed/tensor'
import { combineMasks, type MaskSlot, maskOptions } from './masks.js'
import type { Place, Position } from './position.js'
import { projectHeads, splitHeads } from './project-heads.js'

export interface AttentionLayerOptions {
  dModel: number
  nHead: number
  /** Key and value heads: default nHead; fewer is grouped-query attention, 1 multi-query. */
  nKvHead?: number
  /** Default dModel / nHead. */
  dHead?: number
  /** Which keys a query may see, together with `ctx.mask`. Default all. */
  mask?: MaskSlot
  /** `rope()`, `alibi()`, `t5Bias({ … })`. */
  position?: Position
  /** A norm over dHead for queries and keys before they turn: `(dHead) => rmsNorm({ dModel: dHead })`. */
  qkNorm?: (dHead: number) => Layer
  /** scores = softcap·tanh(scores/softcap). */
  softcap?: number
  /** Factor on the scores; default 1/√dHead. */
  scale?: number
  /** Biases: all (default), none, or those of q, k and v only. */
  bias?: boolean | 'qkv'
  /** Of the weights. Default `xavierUniform()`. */
  init?: Init
  key?: Tensor
}

export interface AttentionParts {
  w_q: Tensor
  b_q?: Tensor
  w_k: Tensor
  b_k?: Tensor
  w_v: Tensor
  b_v?: Tensor
  w_o: Tensor
  b_o?: Tensor
  q_norm?: Layer
  k_norm?: Layer
  position?: unknown
  /** One learned key and value more, behind all others: [nKvHead·dHead]. */
  k_extra?: Tensor
  v_extra?: Tensor
}
type Args<A extends readonly unknown[]> = Module<AttentionParts, A, Tensor>

interface Widths {
  dKey: number
  dValue: number
}
const optionNames = [
  'dModel',
  'nHead',
  'nKvHead',
  'dHead',
  'mask',
  'position',
  'qkNorm',
  'softcap',
  'scale',
  'bias',
  'init',
  'key',
]

function sizes(what: string, o: AttentionLayerOptions): { nKvHead: number; dHead: number } {
  const { dModel, nHead, nKvHead = nHead } = o
  checkSizes(what, { dModel, nHead, nKvHead })
  if (nHead % nKvHead !== 0)
    throw new ShapeError(`${what}: ${nHead} query heads are no multiple of ${nKvHead} key and value heads`)
  if (o.dHead === undefined && dModel % nHead !== 0)
    throw new ShapeError(`${what}: dModel ${dModel} does not divide into ${nHead} heads; give dHead`)
  const dHead = o.dHead ?? dModel / nHead
  checkSizes(what, { dHead })
  return { nKvHead, dHead }
}

function partsOf(what: string, o: AttentionLayerOptions, widths: Widths): AttentionParts {
  const { nKvHead, dHead } = sizes(what, o)
  const { dModel, nHead, bias = true, init = xavierUniform(), key } = o
  const b = (n: number, on: boolean): Tensor | undefined => (on ? param([n], zerosInit, key) : undefined)
  const inner = bias !== false
  return {
    w_q: param([dModel, nHead * dHead], init, key),
    b_q: b(nHead * dHead, inner),
    w_k: param([widths.dKey, nKvHead * dHead], init, key),
    b_k: b(nKvHead * dHead, inner),
    w_v: param([widths.dValue, nKvHead * dHead], init, key),
    b_v: b(nKvHead * dHead, inner),
    w_o: param([nHead * dHead, dModel], init, key),
    b_o: b(dModel, bias === true),
    q_norm: o.qkNorm?.(dHead),
    k_norm: o.qkNorm?.(dHead),
    position: o.position?.part,
  }
}

/** One call: project, turn, remember, attend, project back. */
function attend(
  m: AttentionParts,
  o: AttentionLayerOptions,
  inputs: { query: Tensor; key: Tensor; value: Tensor },
  ctx: Context,
  mask: Tensor | null | undefined,
): Tensor {
  const { nHead, nKvHead = nHead } = o
  let q = tap('q', splitHeads(linear(inputs.query, m.w_q, m.b_q), nHead)) // [batch, head, position, dHead]
  let k = tap('k', splitHeads(linear(inputs.key, m.w_k, m.b_k), nKvHead))
  let v = tap('v', splitHeads(linear(inputs.value, m.w_v, m.b_v), nKvHead))
  if (m.k_extra && m.v_extra) {
    k = withExtra(k, m.k_extra)
    v = withExtra(v, m.v_extra)
    mask = mask && alsoExtra(mask)
  }
  if (m.q_norm) q = m.q_norm(q)
  if (m.k_norm) k = m.k_norm(k)

  const { cache, offset } = ctx
  if (cache && offset === undefined)
    throw new ValueError(`${where()}a cache needs ctx.offset: give { cache, offset: cache.offset() }`)
  const fresh = k.shape[2]
  const place: Place = {
    offset,
    positions: ctx.positions ?? null,
    queries: q.shape[2],
    keys: cache ? cache.capacity : fresh,
  }
  if (o.position?.rotate) {
    q = tap('rot_q', o.position.rotate(q, place))
    k = tap('rot_k', o.position.rotate(k, place))
  }
  if (cache) ({ k, v } = cache.join(currentPath(), k, v, offset ?? 0)) // [batch, nKvHead, capacity, dHead]

  let seen = combineMasks(o.mask, mask)
  // without causal nothing else hides the part of the cache that is still empty
  if (cache && !seen.causal) seen = combineMasks(seen, filled(place, fresh))
  const bias = o.position?.bias?.(nHead, place)
  const { z } = attentionOp(q, k, v, {
    ...maskOptions(seen, { ...place, offset: offset ?? 0 }),
    ...(offset === undefined ? {} : { offset }),
    ...(bias ? { bias } : {}),
    ...(o.scale === undefined ? {} : { scale: o.scale }),
    ...(o.softcap === undefined ? {} : { softcap: o.softcap }),
  })
  return projectHeads(tap('z', z), m.w_o, m.b_o) // [batch, position, dModel]
}
/** [batch, head, key + 1, dHead] */
function withExtra(x: Tensor, extra: Tensor): Tensor {
  const [batch, nKvHead, , dHead] = x.shape
  return concat([x, broadcastTo(reshape(extra, [1, nKvHead, 1, dHead]), [batch, nKvHead, 1, dHead])], 2)
}
/** A mask in which everybody may see one key more. */
function alsoExtra(mask: Tensor): Tensor {
  const lead = mask.shape.slice(0, -1)
  return mask.shape[mask.rank - 1] === 1 ? mask : concat([mask, full([...lead, 1], 1, 'bool')], mask.rank - 1)
}
const where = (): string => (currentPath() ? `${currentPath()}: ` : '')

/** bool [1, key], true for positions below offset + n. */
function filled(place: Place, n: number): Tensor {
  const last = sub(add(reshape(iota(1, { dtype: 'i32' }), []), place.offset ?? 0), 1 - n)
  return lessEqual(reshape(iota(place.keys, { dtype: 'i32' }), [1, place.keys]), last)
}

/**
 * Attention over itself: (x [batch, position, dModel], ctx) → [batch, position, dModel] (Vaswani et al. 2017, §3.2;
 * Shazeer 2019 and Ainslie et al. 2023 for fewer key heads). Parameters `w_q w_k w_v w_o` as [in, out], heads side by
 * side, and `b_q b_k b_v b_o`. Taps q, k, v, rot_q, rot_k, scores, pattern, z, result; the block taps attn_out.
 * Reads mask, positions, offset and cache of its context.
 */
export function attention(o: AttentionLayerOptions): Module<AttentionParts> {
  checkOptions('attention', o, optionNames)
  return module(partsOf('attention', o, { dKey: o.dModel, dValue: o.dModel }), (m, x, ctx = {}) =>
    attend(m, o, { query: x, key: x, value: x }, ctx, ctx.mask),
  ) as Module<AttentionParts>
}

/** `memory` may be wider or narrower than the model. */
export type CrossAttentionOptions = AttentionLayerOptions & { dMemory?: number }
/**
 * Attention over a memory: (x [batch, query, dModel], memory [batch, key, dMemory], ctx). Reads `ctx.memoryMask`; no
 * cache and no offset: queries have no place among the keys.
 */
export function crossAttention(o: CrossAttentionOptions): Args<[x: Tensor, memory: Tensor, ctx?: Context]> {
  checkOptions('crossAttention', o, [...optionNames, 'dMemory'])
  const { dMemory = o.dModel } = o
  return module(
    partsOf('crossAttention', o, { dKey: dMemory, dValue: dMemory }),
    (m, x: Tensor, memory: Tensor, ctx: Context = {}): Tensor => {
      if (!memory)
        throw new ValueError(
          `${where()}cross-attention needs a memory; give ctx.memory [batch, position, ${dMemory}]`,
        )
      return attend(m, o, { query: x, key: memory, value: memory }, {}, ctx.memoryMask)
    },
  ) as Args<[x: Tensor, memory: Tensor, ctx?: Context]>
}

export type MultiHeadOptions = AttentionLayerOptions & {
  /** Widths of key and value inputs; default dModel. */
  dKey?: number
  dValue?: number
  /** A learned key and value more (`add_bias_kv`): parameters `k_extra`, `v_extra` [nKvHead·dHead]. */
  extraKey?: boolean
}
/** Attention with query, key and value from three places: the general form of the two layers above. */
export function multiHeadAttention(
  o: MultiHeadOptions,
): Args<[query: Tensor, key: Tensor, value: Tensor, ctx?: Context]> {
  checkOptions('multiHeadAttention', o, [...optionNames, 'dKey', 'dValue', 'extraKey'])
  const { dKey = o.dModel, dValue = o.dModel, extraKey = false } = o
  const { nKvHead, dHead } = sizes('multiHeadAttention', o)
  const extra = (): Tensor | undefined => (extraKey ? param([nKvHead * dHead], normal(), o.key) : undefined)
  const parts = { ...partsOf('multiHeadAttention', o, { dKey, dValue }), k_extra: extra(), v_extra: extra() }
  return module(
    parts,
    (m: AttentionParts, query: Tensor, key: Tensor, value: Tensor, ctx: Context = {}): Tensor =>
      attend(m, o, { query, key, value }, ctx, ctx.mask),
  ) as Args<[query: Tensor, key: Tensor, value: Tensor, ctx?: Context]>
}
