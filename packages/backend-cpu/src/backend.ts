/**
 * `cpu()`: the Backend value. It puts the WASM kernels over the reference kernels in one table and lets the shared executor run
 * it on the WASM memory; what runs on a reference kernel is named so in every report.
 */
import {
  type Backend,
  BackendError,
  type DType,
  type KernelTable,
  kernelBackend,
  type Memory,
  type Region,
  referenceKernels,
  type TypedArray,
  ValueError,
} from '@heed/tensor'
import { attentionEntries } from './attention.js'
import { elementwiseEntries } from './elementwise.js'
import { matmulEntry } from './matmul.js'
import type { WasmMemory } from './memory.js'
import { type Build, instantiate, type KernelOptions } from './wasm.js'

export interface CpuOptions extends KernelOptions {
  /** Only 1 for now: more threads are an error, not a wish. */
  threads?: 1
}
/** A Backend that says which kernels it runs; so does its name, `cpu (relaxed)` or `cpu (baseline)`, in every report. */
export interface CpuBackend extends Backend {
  readonly build: Build
}

interface WasmRegion extends Region {
  readonly at: number
}

function arrayAt(buffer: ArrayBuffer, at: number, length: number, dtype: DType): TypedArray {
  switch (dtype) {
    case 'f32':
      return new Float32Array(buffer, at, length)
    case 'i32':
      return new Int32Array(buffer, at, length)
    case 'i64':
      return new BigInt64Array(buffer, at, length)
    case 'f16':
    case 'bf16':
      return new Uint16Array(buffer, at, length)
    case 'i8':
      return new Int8Array(buffer, at, length)
    case 'bool':
    case 'u8':
      return new Uint8Array(buffer, at, length)
  }
}

/** The allocator as the executor sees it. */
function executorMemory(wasm: WasmMemory): Memory {
  let generation = 0
  let buffer = wasm.memory.buffer
  return {
    get generation() {
      if (wasm.memory.buffer !== buffer) {
        buffer = wasm.memory.buffer
        generation++
      }
      return generation
    },
    get bytesInUse() {
      return wasm.stats.used
    },
    alloc(bytes): WasmRegion {
      return { bytes, at: wasm.alloc(bytes) }
    },
    free(region) {
      wasm.free((region as WasmRegion).at)
    },
    view(region, byteOffset, length, dtype: DType) {
      return arrayAt(wasm.memory.buffer, (region as WasmRegion).at + byteOffset, length, dtype)
    },
    dispose() {},
  }
}

const KNOWN = ['wasm', 'build', 'maxBytes', 'threads']

/**
 * The CPU backend: WebAssembly SIMD, float32, one thread. `matmul`, the common elementwise ops and sums and the
 * composite `attention`, forward and backward, run on WASM kernels; everything else runs on the reference kernels, and the report of a run says so.
 *
 * @throws BackendError when the engine lacks WebAssembly SIMD or refuses the build; ValueError for an unknown option
 */
export async function cpu(options: CpuOptions = {}): Promise<CpuBackend> {
  for (const name of Object.keys(options))
    if (!KNOWN.includes(name))
      throw new ValueError(`cpu: unknown option '${name}'; known: ${KNOWN.join(', ')}`)
  const { threads = 1, ...rest } = options
  if (threads !== 1)
    throw new BackendError(`cpu: threads is ${threads}, but this version runs on one thread; leave it out`)
  const kernels = await instantiate(rest)
  const table: KernelTable = {
    ...referenceKernels,
    ...elementwiseEntries(kernels),
    matmul: matmulEntry(kernels),
    ...attentionEntries(kernels),
  }
  const memory = executorMemory(kernels.memory)
  const limits = { maxRank: 16, maxBytes: kernels.memory.limit }
  const backend = kernelBackend({
    name: `cpu (${kernels.build})`,
    precision: 'f32',
    kernels: table,
    memory,
    limits,
  })
  return Object.assign(backend, { build: kernels.build })
}
