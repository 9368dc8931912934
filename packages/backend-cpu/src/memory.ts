/**
 * The WASM memory and who owns which bytes of it: an allocator with free lists by size class. It knows nothing of tensors, and
 * it never gives a view away to keep: growing replaces the buffer, so every reader asks for a fresh view (`f32()` …).
 */
import { BackendError } from '@heed/tensor'
import { OutOfMemoryError } from './errors.js'

const PAGE = 65536
const ALIGN = 64
const MAX_BYTES = 65536 * PAGE
/** 256 MiB: with less than that no model is of use. */
const LEAST_PAGES = 4096

/** A free stretch that belongs to no size class any more. */
interface Region {
  start: number
  bytes: number
}

export class WasmMemory {
  readonly memory: WebAssembly.Memory
  readonly limit: number
  private base = ALIGN
  private top = ALIGN
  private readonly sizes = new Map<number, number>()
  private readonly lists = new Map<number, number[]>()
  private regions: Region[] = []
  private used = 0
  private peak = 0
  private listed = 0
  /** What the memory holds now. Asking the engine for it costs as much as a small kernel. */
  buffer: ArrayBufferLike
  /** Grows whenever the memory does: older views read nothing any more, or not all of it. */
  generation = 0
  private viewF32: Float32Array
  private viewI32: Int32Array
  private viewU8: Uint8Array

  /**
   * @param maxBytes how far the memory may grow, at most 4 GiB. Default: 4 GiB, or what the engine gives: telephones refuse to
   * reserve so much for a memory that is shared. `limit` says what it became
   * @param shared for threads
   */
  constructor(maxBytes?: number, shared = false) {
    const wanted = maxBytes ?? MAX_BYTES
    if (!Number.isInteger(wanted) || wanted < PAGE || wanted > MAX_BYTES)
      throw new BackendError(`cpu: maxBytes must be an integer from ${PAGE} to ${MAX_BYTES}, got ${wanted}`)
    let maximum = Math.floor(wanted / PAGE)
    let memory: WebAssembly.Memory | undefined
    while (!memory)
      try {
        memory = new WebAssembly.Memory({ initial: 1, maximum, shared })
      } catch (cause) {
        if (maxBytes !== undefined || maximum < LEAST_PAGES)
          throw new BackendError(
            `cpu: this engine does not give a WASM memory of up to ${maximum * PAGE} bytes; pass a smaller maxBytes`,
            { cause },
          )
        maximum /= 2
      }
    this.memory = memory
    this.limit = maximum * PAGE
    this.buffer = this.memory.buffer
    this.viewF32 = new Float32Array(this.buffer)
    this.viewI32 = new Int32Array(this.buffer)
    this.viewU8 = new Uint8Array(this.buffer)
  }

  /** Everything below `base` belongs to the module; called once, before the first allocation. */
  reserve(base: number): void {
    this.base = Math.ceil(base / ALIGN) * ALIGN
    this.top = this.base
  }

  /** Bytes in use and the most that ever were, size classes included. */
  get stats(): { used: number; peak: number; committed: number } {
    return { used: this.used, peak: this.peak, committed: this.buffer.byteLength }
  }

  /**
   * A pointer to `bytes` bytes, aligned to 64, contents undefined. 0 bytes get a pointer too.
   * @throws OutOfMemoryError
   */
  alloc(bytes: number): number {
    if (!(bytes >= 0) || !Number.isInteger(bytes))
      throw new BackendError(`cpu: cannot allocate ${bytes} bytes`)
    const size = sizeClass(bytes)
    return this.hand(this.find(size) ?? this.extend(size, bytes), size)
  }

  /** The same without growing, for the middle of a run, when views of the buffer are in use; undefined without room. */
  allocInPlace(bytes: number): number | undefined {
    const size = sizeClass(bytes)
    const fits = this.top + size <= this.memory.buffer.byteLength
    const pointer = this.find(size) ?? (fits ? this.extend(size, bytes) : undefined)
    return pointer === undefined ? undefined : this.hand(pointer, size)
  }

  private hand(pointer: number, size: number): number {
    this.sizes.set(pointer, size)
    this.used += size
    if (this.used > this.peak) this.peak = this.used
    return pointer
  }

  /** Gives the bytes at `pointer` back; freeing twice, or what was never allocated, throws. */
  free(pointer: number): void {
    const size = this.sizes.get(pointer)
    if (size === undefined)
      throw new BackendError(`cpu: ${pointer} is not an allocated pointer (freed twice?)`)
    this.sizes.delete(pointer)
    this.used -= size
    this.listed += size
    const list = this.lists.get(size)
    if (list) list.push(pointer)
    else this.lists.set(size, [pointer])
  }

  f32(): Float32Array {
    return this.viewF32
  }
  i32(): Int32Array {
    return this.viewI32
  }
  u8(): Uint8Array {
    return this.viewU8
  }

  private find(size: number): number | undefined {
    const pointer = this.lists.get(size)?.pop()
    if (pointer !== undefined) {
      this.listed -= size
      return pointer
    }
    return this.carve(size)
  }

  /** First region that is large enough. */
  private carve(size: number): number | undefined {
    const i = this.regions.findIndex((r) => r.bytes >= size)
    if (i < 0) return undefined
    const region = this.regions[i]
    const start = region.start
    region.start += size
    region.bytes -= size
    if (region.bytes === 0) this.regions.splice(i, 1)
    return start
  }

  /** New bytes at the top; before the memory grows for them, free blocks are merged and tried. */
  private extend(size: number, bytes: number): number {
    if (this.top + size > this.buffer.byteLength && this.listed > 0) {
      this.merge()
      const pointer = this.carve(size)
      if (pointer !== undefined) return pointer
    }
    if (this.top + size > this.buffer.byteLength) this.grow(this.top + size, bytes)
    const pointer = this.top
    this.top += size
    return pointer
  }

  /** Empties the size classes into sorted, merged regions; a region that ends at the top lowers the top. */
  private merge(): void {
    const blocks = this.regions
    for (const [bytes, list] of this.lists) for (const start of list) blocks.push({ start, bytes })
    this.lists.clear()
    this.listed = 0
    blocks.sort((a, b) => a.start - b.start)
    const merged: Region[] = []
    for (const block of blocks) {
      const last = merged[merged.length - 1]
      if (last && last.start + last.bytes === block.start) last.bytes += block.bytes
      else merged.push({ ...block })
    }
    // what lies at the top is handed out as the top again
    const last = merged[merged.length - 1]
    if (last && last.start + last.bytes === this.top) {
      this.top = last.start
      merged.pop()
    }
    this.regions = merged
  }

  private grow(needed: number, bytes: number): void {
    const have = this.buffer.byteLength
    // a quarter more than needed, so that a slowly growing program does not grow page by page
    const wish = Math.min(this.limit, Math.max(needed, have + Math.min(have / 4, 256 * 1024 * 1024)))
    for (const target of [wish, needed]) {
      if (needed > this.limit) break
      try {
        this.memory.grow(Math.ceil((target - have) / PAGE))
        this.buffer = this.memory.buffer
        this.generation++
        this.viewF32 = new Float32Array(this.buffer)
        this.viewI32 = new Int32Array(this.buffer)
        this.viewU8 = new Uint8Array(this.buffer)
        return
      } catch {
        // try the smaller step, then report
      }
    }
    throw new OutOfMemoryError(bytes, this.used, this.limit)
  }
}

/** Rounds up to one of 8 classes per power of two (multiples of 64): at most an eighth is wasted. */
export function sizeClass(bytes: number): number {
  if (bytes <= 512) return Math.max(ALIGN, Math.ceil(bytes / ALIGN) * ALIGN)
  const step = 2 ** Math.max(6, Math.floor(Math.log2(bytes - 1)) - 3)
  return Math.ceil(bytes / step) * step
}
