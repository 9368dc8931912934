/**
 * A cache of keys and values with a fixed capacity. The offset is an input of the plan, so every step of a generation
 * runs the same plan; what lies beyond the filled part is hidden by the mask, not cut off.
 */

import { checkSizes } from '@heed/nn'
import {
  checkOptions,
  detach,
  type KeyValueCache,
  type Report,
  realize,
  release,
  type Tensor,
  tensor,
  update,
  ValueError,
} from '@heed/tensor'
import { knownOffset } from './position.js'

export interface CacheOptions {
  /** Attention layers that will use it. */
  layers: number
  batch: number
  nKvHead: number
  /** Positions that fit. */
  capacity: number
  dHead: number
}

/** Keys and values of one layer, [batch, nKvHead, capacity, dHead]. */
export interface CacheLayer {
  /** The layer's scope, once it has been used. */
  readonly path: string | null
  readonly k: Tensor
  readonly v: Tensor
}

export interface Cache extends KeyValueCache {
  readonly layers: readonly CacheLayer[]
  /** Positions filled by the steps that were kept. */
  readonly length: number
  /** The offset of the next step: an i32 scalar for `ctx.offset`. */
  offset(): Tensor
  /** What the last call wrote and nobody kept yet. */
  pending(): Tensor[]
  /**
   * Ends a step: realizes `outputs` together with the new keys and values, keeps these and gives the old buffers away.
   * Constant memory over any number of steps.
   */
  advance(outputs?: readonly Tensor[]): Promise<Report>
  /** Gives the memory back now instead of when nobody holds the cache any more; using it afterwards throws. */
  free(): void
}

interface Slot {
  path: string | null
  k: Tensor
  v: Tensor
  next: { k: Tensor; v: Tensor } | null
}

/** An empty cache. Layers take their places in the order of their first call. */
export function makeCache(o: CacheOptions): Cache {
  checkOptions('makeCache', o, ['layers', 'batch', 'nKvHead', 'capacity', 'dHead'])
  checkSizes('makeCache', { ...o })
  const shape = [o.batch, o.nKvHead, o.capacity, o.dHead]
  // one array of zeros on this side: every tensor has memory of its own once it is on a backend
  const zeros = new Float32Array(o.batch * o.nKvHead * o.capacity * o.dHead)
  const empty = (): Tensor => tensor(zeros, shape)
  const slots: Slot[] = Array.from({ length: o.layers }, () => ({
    path: null,
    k: empty(),
    v: empty(),
    next: null,
  }))
  const byPath = new Map<string, Slot>()
  let length = 0
  let written = 0
  let freed = false
  const alive = (what: string): void => {
    if (freed) throw new ValueError(`${what}the cache was freed; make a new one`)
  }

  const slotOf = (path: string): Slot => {
    const known = byPath.get(path)
    if (known) return known
    const free = slots[byPath.size]
    if (!free)
      throw new ValueError(
        `${path}: the cache has ${o.layers} layers, all taken (${[...byPath.keys()].join(', ')}); make one with more`,
      )
    free.path = path
    byPath.set(path, free)
    return free
  }

  return {
    capacity: o.capacity,
    get layers() {
      return slots.map(({ path, k, v }) => ({ path, k, v }))
    },
    get length() {
      return length
    },
    offset: () => tensor(Int32Array.of(length), { shape: [], dtype: 'i32' }),
    join(path, k, v, offset) {
      alive(path ? `${path}: ` : '')
      const n = k.shape[2]
      const from = knownOffset(offset)
      // an offset that only a device knows is checked when the plan is bound
      if (n > o.capacity || (from !== undefined && from + n > o.capacity))
        throw new ValueError(
          `${path ? `${path}: ` : ''}the cache is full: positions ${from ?? '?'}..${from === undefined ? '?' : from + n - 1} of ${o.capacity}; make a cache of more positions`,
        )
      const slot = slotOf(path)
      slot.next = { k: update(slot.k, k, offset, { axis: 2 }), v: update(slot.v, v, offset, { axis: 2 }) }
      written = n
      return slot.next
    },
    pending: () => slots.flatMap((s) => (s.next ? [s.next.k, s.next.v] : [])),
    async advance(outputs = []) {
      alive('cache.advance: ')
      const used = slots.filter((s) => s.next !== null)
      if (used.length === 0)
        throw new ValueError('cache.advance: no layer wrote anything; call the model with this cache first')
      const old = used.flatMap((s) => [s.k, s.v])
      const made = used.flatMap((s) => (s.next ? [s.next.k, s.next.v] : []))
      const report = await realize([...outputs, ...made], { donate: old })
      for (const s of used) {
        if (!s.next) continue
        s.k = detach(s.next.k)
        s.v = detach(s.next.v)
        s.next = null
      }
      length += written
      return report
    },
    free() {
      freed = true
      for (const s of slots) {
        s.next = null
        release(s.k)
        release(s.v)
      }
    },
  }
}
