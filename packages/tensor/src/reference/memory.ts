/** Plain ArrayBuffers as a backend's memory, with a free list of equal sizes. */
import { arrayOn, type Precision } from '../dtype.js'
import type { Memory, Region } from '../kernel-backend.js'

interface HostRegion extends Region {
  readonly buffer: ArrayBuffer
}

/** A memory for `kernelBackend` whose kernels work on JavaScript's arrays. */
export function hostMemory(precision: Precision): Memory {
  const free = new Map<number, HostRegion[]>()
  let inUse = 0
  return {
    generation: 0,
    get bytesInUse() {
      return inUse
    },
    alloc(bytes) {
      const size = Math.max(64, Math.ceil(bytes / 64) * 64)
      inUse += size
      return free.get(size)?.pop() ?? { bytes: size, buffer: new ArrayBuffer(size) }
    },
    free(region) {
      inUse -= region.bytes
      const list = free.get(region.bytes)
      if (!list) free.set(region.bytes, [region as HostRegion])
      // a few of each size are enough for loops; the rest is the garbage collector's
      else if (list.length < 8) list.push(region as HostRegion)
    },
    view: (region, byteOffset, length, dtype) =>
      arrayOn((region as HostRegion).buffer, byteOffset, length, dtype, precision),
    dispose() {
      free.clear()
    },
  }
}
