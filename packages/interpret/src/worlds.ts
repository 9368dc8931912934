/**
 * Many variants of one text at once: how many fit into a forward pass, and the loop over them that reports its progress
 * and can be stopped. What a variant is, the method says.
 */
import { realize, type Tensor } from '@heed/tensor'
import { InterpretError } from './errors.js'

export interface SweepOptions {
  /** Called before the first and after every forward pass. */
  onProgress?: (done: number, of: number) => void
  signal?: AbortSignal
}
export const sweepOptions = ['onProgress', 'signal']

/** Values of the output that one forward pass may hold. */
const MAX_VALUES = 2 ** 23
const MAX_WORLDS = 64

/** How many worlds of this output go into one pass, in passes of equal size (one plan serves all). */
export function worldsPerPass(worlds: number, outputSize: number): number {
  const fit = Math.min(MAX_WORLDS, Math.max(1, Math.floor(MAX_VALUES / Math.max(1, outputSize))))
  return Math.ceil(worlds / Math.ceil(worlds / fit))
}

/**
 * Values of `measure(items)` ([items] each) for all items, `size` at a time; the last pass is filled up with its last
 * item, so that every pass has the same shapes.
 */
export async function sweep<Item>(
  what: string,
  items: readonly Item[],
  size: number,
  measure: (items: readonly Item[]) => Tensor,
  options: SweepOptions & { done?: number; of?: number } = {},
): Promise<Float64Array> {
  const { done = 0, of = items.length, onProgress, signal } = options
  const out = new Float64Array(items.length)
  for (let i = 0; i < items.length; i += size) {
    signal?.throwIfAborted()
    const part = items.slice(i, i + size)
    const full = [...part, ...new Array<Item>(size - part.length).fill(part[part.length - 1])]
    const m = measure(full)
    if (m.rank !== 1 || m.shape[0] !== full.length)
      throw new InterpretError(
        `${what}: the metric gave [${m.shape.join(', ')}] for ${full.length} worlds; it has to keep the batch axis`,
      )
    await realize([m])
    const values = (await m.data()) as Float32Array
    for (let k = 0; k < part.length; k++) out[i + k] = values[k]
    onProgress?.(done + i + part.length, of)
  }
  return out
}
