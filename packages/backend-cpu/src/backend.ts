/**
 * `cpu()`: the Backend value. It puts the WASM kernels over the reference kernels in one table and lets the shared executor run
 * it on the WASM memory; what runs on a reference kernel is named so in every report.
 */
import {
  type Backend,
  checkOptions,
  type DType,
  type KernelTable,
  kernelBackend,
  type Memory,
  type Region,
  referenceKernels,
  type TypedArray,
} from '@heed/tensor'
import { attentionEntries } from './attention.js'
import { Chains } from './chain.js'
import { chained } from './chains.js'
import { elementwiseEntries } from './elementwise.js'
import { OutOfMemoryError } from './errors.js'
import { FUSED, fuse } from './fuse.js'
import { indexingEntries } from './indexing.js'
import { linearBackwardEntry, Products, productEntry } from './matmul.js'
import { Panels } from './panels.js'
import { quantizedEntry } from './quantized.js'
import { recurrent, recurrentEntries } from './recurrent.js'
import { ropeEntries } from './rope.js'
import { rowEntries } from './rows.js'
import { type Build, instantiate, type KernelOptions, type Kernels } from './wasm.js'

export type CpuOptions = KernelOptions
/**
 * A Backend that says which kernels it runs on how many threads; so does its name in every report: `cpu (relaxed)`,
 * `cpu (baseline, 4 threads)`.
 */
export interface CpuBackend extends Backend {
  readonly build: Build
  readonly threads: number
}

interface WasmRegion extends Region {
  readonly at: number
}

function arrayAt(buffer: ArrayBufferLike, at: number, length: number, dtype: DType): TypedArray {
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
function executorMemory(kernels: Kernels, panels: Panels): Memory {
  const wasm = kernels.memory
  return {
    get generation() {
      return wasm.generation
    },
    get bytesInUse() {
      return wasm.stats.used
    },
    alloc(bytes): WasmRegion {
      try {
        return { bytes, at: wasm.alloc(bytes) }
      } catch (error) {
        // packed copies of weights only save time
        if (!(error instanceof OutOfMemoryError) || !panels.giveWay()) throw error
        return { bytes, at: wasm.alloc(bytes) }
      }
    },
    free(region) {
      wasm.free((region as WasmRegion).at)
    },
    view(region, byteOffset, length, dtype: DType) {
      return arrayAt(wasm.buffer, (region as WasmRegion).at + byteOffset, length, dtype)
    },
    dispose() {
      kernels.stop()
    },
  }
}

/**
 * The CPU backend: WebAssembly SIMD, float32, all cores unless `threads` says otherwise; results do not depend on how many. Products,
 * attention, what goes row by row or element by element and loops over LSTM and GRU cells run on WASM kernels, forward and backward;
 * everything else runs on the reference kernels, and the report of a run says so.
 *
 * @throws BackendError when the engine lacks WebAssembly SIMD, or refuses the build or the threads asked for; ValueError for an
 * unknown option
 */
export async function cpu(options: CpuOptions = {}): Promise<CpuBackend> {
  checkOptions('cpu', options, ['threads', 'build', 'wasm', 'maxBytes'])
  const kernels = await instantiate(options)
  const panels = new Panels(kernels)
  const products = new Products(kernels, panels)
  const elementwise = { ...elementwiseEntries(kernels), ...new Chains(kernels).entries() }
  const fused = productEntry(products, elementwise.add.run)
  const quantized = quantizedEntry(kernels)
  const table: KernelTable = {
    ...referenceKernels,
    ...elementwise,
    ...rowEntries(kernels),
    ...indexingEntries(kernels),
    ...ropeEntries(kernels),
    matmul: { ...fused, how: 'native' },
    linear: fused,
    quantizedLinear: quantized,
    ...Object.fromEntries(FUSED.map((name) => [name, name.startsWith('quantized') ? quantized : fused])),
    'linear.vjp': linearBackwardEntry(products, elementwise.sum.run),
    ...recurrentEntries(kernels, products, elementwise.sum.run),
    ...attentionEntries(kernels),
  }
  const memory = executorMemory(kernels, panels)
  const limits = { maxRank: 16, maxBytes: kernels.memory.limit }
  const { build, threads } = kernels
  const backend = kernelBackend({
    name: `cpu (${build}${threads > 1 ? `, ${threads} threads` : ''})`,
    precision: 'f32',
    kernels: table,
    memory,
    limits,
    rewrite: (graph) => chained(fuse(recurrent(graph))),
    prepare: () => panels.prepare(),
    freed: (buffer) => panels.freed(buffer),
  })
  return Object.assign(backend, { build, threads })
}
