/** Positions that add to the scores: ALiBi's slopes and T5's learned buckets. They depend on distances only. */

import { checkSizes, type Init, module, normal, param } from '@heed/nn'
import {
  abs,
  add,
  cast,
  checkOptions,
  clamp,
  iota,
  mul,
  reshape,
  sub,
  type Tensor,
  take,
  tensor,
  transpose,
  ValueError,
} from '@heed/tensor'
import type { Place, Position } from './position.js'

/** Key position minus query position, i32 [query, key]. */
function distances(place: Place): Tensor {
  const { queries, keys, offset = 0 } = place
  const query = reshape(add(iota(queries, { dtype: 'i32' }), offset), [queries, 1])
  return sub(reshape(iota(keys, { dtype: 'i32' }), [1, keys]), query) // [query, key]
}

/**
 * ALiBi's slope per head (Press et al. 2022): 2^(−8(h+1)/n) for n a power of two; other numbers of heads borrow every
 * other slope of the next power.
 */
export function alibiSlopes(nHead: number): Float64Array {
  checkSizes('alibi', { nHead })
  const p = 2 ** Math.floor(Math.log2(nHead))
  return Float64Array.from({ length: nHead }, (_, h) =>
    h < p ? 2 ** ((-8 * (h + 1)) / p) : 2 ** ((-4 * (2 * (h - p) + 1)) / p),
  )
}

/** −slope·|distance| [1, head, query, key]. */
export function alibiBias(nHead: number, place: Place): Tensor {
  const slopes = reshape(tensor(alibiSlopes(nHead)), [1, nHead, 1, 1])
  return mul(slopes, mul(abs(cast(distances(place), 'f32')), -1)) // [1, head, query, key]
}
/** The position slot that lowers scores by distance, with a slope per head. */
export const alibi = (): Position => ({ bias: alibiBias })

export interface T5Buckets {
  numBuckets: number
  /** From here on all distances share the last bucket. */
  maxDistance: number
  /** Encoders: half of the buckets for keys after the query. */
  bidirectional: boolean
}
/**
 * T5's bucket of a distance (key position − query position; Raffel et al. 2020): near distances one each, far ones
 * by logarithm. The edges are found by comparing whole numbers, since at some of them floor(log) depends on rounding.
 */
export function t5Bucket(distance: number, o: T5Buckets): number {
  const n = o.bidirectional ? Math.floor(o.numBuckets / 2) : o.numBuckets
  const start = o.bidirectional && distance > 0 ? n : 0
  const d = o.bidirectional ? Math.abs(distance) : Math.max(-distance, 0)
  const half = Math.floor(n / 2)
  if (d < half) return start + d
  // the largest m with (d/half)^(n − half) ≥ (maxDistance/half)^m
  const big = (x: number, e: number): bigint => BigInt(x) ** BigInt(e)
  let m = 0
  while (
    m < n - half - 1 &&
    big(d, n - half) * big(half, m + 1) >= big(o.maxDistance, m + 1) * big(half, n - half)
  )
    m++
  return start + half + m
}

/** Buckets of the distances from..to, inclusive: i32 [to − from + 1]. */
export function t5Buckets(o: T5Buckets & { from: number; to: number }): Int32Array {
  return Int32Array.from({ length: o.to - o.from + 1 }, (_, i) => t5Bucket(o.from + i, o))
}

/** table[bucket, head] of every distance: [1, head, query, key]; table [numBuckets, nHead]. */
export function t5BiasOf(table: Tensor, place: Place, o: T5Buckets): Tensor {
  const far = o.maxDistance
  const buckets = tensor(t5Buckets({ ...o, from: -far, to: far }), { dtype: 'i32' })
  // beyond maxDistance nothing changes any more
  const row = add(clamp(distances(place), { lo: -far, hi: far }), far)
  const perHead = take(table, take(buckets, row)) // [query, key, head]
  return reshape(transpose(perHead, [2, 0, 1]), [1, perHead.shape[2], place.queries, place.keys])
}

export interface T5BiasOptions extends T5Buckets {
  nHead: number
  init?: Init
  key?: Tensor
}
/**
 * The position slot with T5's learned bias: parameter `w` [numBuckets, nHead], under `position` of the layer. Layers
 * that get the same slot share it. T5 does not scale its scores: give the layer `scale: 1`.
 */
export function t5Bias(o: T5BiasOptions): Position {
  checkOptions('t5Bias', o, ['nHead', 'numBuckets', 'maxDistance', 'bidirectional', 'init', 'key'])
  checkSizes('t5Bias', { nHead: o.nHead, numBuckets: o.numBuckets, maxDistance: o.maxDistance })
  const part = module(
    { w: param([o.numBuckets, o.nHead], o.init ?? normal(0.02), o.key) },
    (m, nHead: number, place: Place): Tensor => {
      if (nHead !== o.nHead) throw new ValueError(`t5Bias: made for ${o.nHead} heads, the layer has ${nHead}`)
      return t5BiasOf(m.w, place, o)
    },
  )
  return { part, bias: (nHead, place) => part(nHead, place) }
}
