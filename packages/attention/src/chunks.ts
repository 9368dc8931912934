/**
 * Attention over keys in pieces: each piece keeps its row maximum, its sum and its unnormalised values, and pieces
 * merge exactly (the online softmax of Milakov & Gimelshein 2018, which flash attention is built on).
 */

import {
  add,
  broadcastTo,
  checkOptions,
  div,
  equal,
  exp,
  less,
  matmul,
  max,
  maximum,
  mul,
  reshape,
  ShapeError,
  sliceAxis,
  sub,
  sum,
  swapLast,
  type Tensor,
  where,
} from '@heed/tensor'
import { allowedKeys, combineMasks, type MaskSlot } from './masks.js'

/** Attention over some of the keys. */
export interface Chunk {
  /** Row maximum of the scores, −∞ where nothing is allowed: [batch, head, query]. */
  readonly m: Tensor
  /** Σ exp(scores − m): [batch, head, query]. */
  readonly l: Tensor
  /** Σ exp(scores − m)·v, not divided: [batch, head, query, dHead]. */
  readonly o: Tensor
}

const NOTHING = Number.NEGATIVE_INFINITY
const column = (x: Tensor): Tensor => reshape(x, [...x.shape, 1])
/** The maximum, or 0 where nothing is allowed: −∞ − −∞ must not become NaN. */
const safe = (m: Tensor): Tensor => where(less(NOTHING, m), m, 0)

function repeatHeads(x: Tensor, nHead: number): Tensor {
  const [batch, groups, n, d] = x.shape
  if (groups === nHead) return x
  if (nHead % groups !== 0) throw new ShapeError(`attentionChunks: ${nHead} query heads, ${groups} key heads`)
  const wide = broadcastTo(reshape(x, [batch, groups, 1, n, d]), [batch, groups, nHead / groups, n, d])
  return reshape(wide, [batch, nHead, n, d]) // [batch, head, key, dHead]
}

/** q·kᵀ·scale with its values, from scores [batch, head, query, key]. */
function chunkOf(scores: Tensor, v: Tensor): Chunk {
  const m = max(scores, { axes: 3 }) // [batch, head, query]
  const e = exp(sub(scores, column(safe(m))))
  return { m, l: sum(e, { axes: 3 }), o: matmul(e, v) }
}

/** The chunk of all keys of both. Merging is associative. */
export function mergeChunks(a: Chunk, b: Chunk): Chunk {
  const m = maximum(a.m, b.m)
  const top = safe(m)
  const wa = exp(sub(a.m, top))
  const wb = exp(sub(b.m, top))
  return {
    m,
    l: add(mul(wa, a.l), mul(wb, b.l)),
    o: add(mul(column(wa), a.o), mul(column(wb), b.o)),
  }
}
/** o / l: the attention of a chunk, zeros where nothing is allowed. */
export function finishChunk(c: Chunk): Tensor {
  const l = column(c.l)
  return div(c.o, where(equal(l, 0), 1, l)) // [batch, head, query, dHead]
}

export interface ChunkOptions {
  /** Keys per piece; their sum is the number of keys. */
  sizes: readonly number[]
  mask?: MaskSlot
  /** Query i stands at i + offset. */
  offset?: Tensor | number
  /** Default 1/√dHead. */
  scale?: number
}
/** Attention over pieces of the keys, one after the other, merged: equal to attention over all of them. */
export function attentionChunks(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  o: ChunkOptions,
): Chunk & { z: Tensor; chunks: readonly Chunk[] } {
  checkOptions('attentionChunks', o, ['sizes', 'mask', 'offset', 'scale'])
  const [, nHead, queries, dHead] = q.shape
  const keys = k.shape[2]
  const total = o.sizes.reduce((n, s) => n + s, 0)
  if (total !== keys)
    throw new ShapeError(`attentionChunks: sizes add up to ${total}, there are ${keys} keys`)
  const wideK = repeatHeads(k, nHead)
  const wideV = repeatHeads(v, nHead)
  let scores = mul(matmul(q, swapLast(wideK)), o.scale ?? 1 / Math.sqrt(dHead)) // [batch, head, query, key]
  const allowed = allowedKeys(combineMasks(o.mask), { queries, keys, offset: o.offset })
  if (allowed) scores = where(allowed, scores, NOTHING)
  let from = 0
  const chunks = o.sizes.map((size) => {
    const to = from + size
    const c = chunkOf(sliceAxis(scores, 3, from, to), sliceAxis(wideV, 2, from, to))
    from = to
    return c
  })
  const merged = chunks.reduce(mergeChunks)
  return { ...merged, z: finishChunk(merged), chunks }
}
