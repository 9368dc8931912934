/** The position slot of an attention layer: it turns queries and keys, or adds to the scores, or both. */
import type { HasParts, Tensor } from '@heed/tensor'

/** Where the queries and keys of one call stand. */
export interface Place {
  /** Query i stands at i + offset. */
  readonly offset: Tensor | number | undefined
  /** i32 [position] or [batch, position] for queries and new keys; null: offset, offset + 1, … */
  readonly positions: Tensor | null
  readonly queries: number
  /** All keys, those in a cache among them; key j stands at j. */
  readonly keys: number
}

/** What the `position` slot of `attention` takes: `rope()`, `alibi()`, `t5Bias({ … })`, or your own. */
export interface Position {
  /** Queries or new keys [batch, head, position, dHead], turned. */
  readonly rotate?: (x: Tensor, place: Place) => Tensor
  /** Added to the scores: broadcasts to [batch, head, query, key]. */
  readonly bias?: (nHead: number, place: Place) => Tensor
  /** Parameters of the slot; the layer keeps them under `position`. */
  readonly part?: HasParts
}

/** The number behind an offset where the host knows it, else undefined. */
export function knownOffset(offset: Tensor | number | undefined): number | undefined {
  if (offset === undefined) return 0
  if (typeof offset === 'number') return offset
  const host = offset.value?.host
  return host === undefined ? undefined : Number(host[0])
}
