/**
 * Compiles and instantiates the kernel module on a memory and types its exports. It chooses between the two builds; it does not
 * know what a tensor is. Every pointer is a byte address, every stride of a tensor counts elements.
 */
import { BackendError } from '@heed/tensor'
import { WasmMemory } from './memory.js'
import { TASKS, type Task } from './tasks.js'
import { availableThreads, threadsRefused, WAIT_SPINS, Workers } from './threads.js'
import { embedded } from './wasm-binary.js'

/** `relaxed`: 6×8 tile with fused multiply-add; `baseline`: 3×12 and 5×8 tiles, multiply then add, for engines without relaxed SIMD. */
export type Build = 'relaxed' | 'baseline'

interface Exports {
  heapBase(): number
  matmulScratch(m: number, n: number, k: number): number
  activationBytes(format: number, m: number, k: number): number
  quantizedScratch(format: number, m: number, k: number): number
  panelColumns(): number
  attentionJobBytes(): number
  attentionScratch(itemRows: number, dim: number, valueDim: number): number
  attentionBlock(): number
  attentionGradientScratch(dim: number, valueDim: number): number
  controlBytes(): number
  runAlone(task: number, job: number, chunks: number, scratch: number): void
  runShared(
    control: number,
    task: number,
    job: number,
    chunks: number,
    scratch: number,
    stride: number,
    spins: number,
  ): void
  sumInto(rows: number, n: number, ...operands: number[]): void
  roundSums(n: number, sums: number, y: number): void
  maxInto(rows: number, n: number, ...operands: number[]): void
}

/** Words that the host may write for a task. */
const JOB_WORDS = 256

/** The kernels of one module on one memory, and the threads that share it. */
export class Kernels {
  /** Threads that work, this one included: so many times the scratch of a thread must be there. */
  readonly threads: number
  private readonly job: number

  constructor(
    readonly build: Build,
    readonly memory: WasmMemory,
    /** The raw functions; assembly/*.ts says what they take. */
    readonly exports: Exports,
    /** Byte address of the control block that threads share. */
    readonly control: number,
    private readonly workers: Workers | null = null,
    threads = 1,
  ) {
    this.threads = threads
    this.job = control + exports.controlBytes()
  }

  /**
   * Runs `chunks` parts of a task, shared between the threads. `words` are 32-bit words (`f32bits` for floats) that
   * assembly says the meaning of; thread t works in `stride` bytes at scratch + t·stride.
   * @throws BackendError when a kernel traps; no thread touches the memory any more then
   */
  run(task: Task, words: readonly number[], chunks: number, scratch = 0, stride = 0): void {
    if (words.length > JOB_WORDS)
      throw new BackendError(`cpu: a job of ${words.length} words; ${JOB_WORDS} fit`)
    const memory = this.memory.i32()
    const at = this.job / 4
    for (let i = 0; i < words.length; i++) memory[at + i] = words[i]
    const workers = chunks > 1 ? this.workers : null
    try {
      if (workers)
        this.exports.runShared(this.control, TASKS[task], this.job, chunks, scratch, stride, WAIT_SPINS)
      else this.exports.runAlone(TASKS[task], this.job, chunks, scratch)
    } catch (cause) {
      workers?.settle(chunks)
      throw new BackendError(`cpu: the kernel '${task}' failed: ${(cause as Error).message}`, { cause })
    }
    workers?.check(memory, this.control / 4, task)
  }

  /** Ends the workers; whatever still runs afterwards runs on one thread. */
  stop(): void {
    this.workers?.stop()
  }
}

// A function of three vectors that multiplies and adds them relaxed; and one that adds two plainly.
const RELAXED = '0061736d010000000108016003' + '7b7b7b017b03020100' + '0a0d010b00200020012002fd85020b'
const SIMD = '0061736d010000000107016002' + '7b7b017b03020100' + '0a0b010900200020' + '01fde4010b'

function accepts(hex: string): boolean {
  return WebAssembly.validate(Uint8Array.from(hex.match(/../g) ?? [], (byte) => Number.parseInt(byte, 16)))
}

/** The best build this engine validates. No engine flag is ever touched. */
export function bestBuild(): Build {
  return accepts(RELAXED) ? 'relaxed' : 'baseline'
}

/** What makes `instantiate` choose: nothing, a build by name, or the bytes of a module. */
export interface KernelOptions {
  /** Bytes of a kernel module (of this version of the package) instead of the embedded one. */
  wasm?: BufferSource
  /** Default: `relaxed` where the engine validates it, else `baseline`. */
  build?: Build
  /** How far the memory may grow in bytes. Default: 4 GiB, the most, or as much of it as the engine reserves. */
  maxBytes?: number
  /**
   * At most 256: each takes some megabytes and milliseconds to start. Default: as many as there are cores; 1 where threads
   * cannot share memory, with one notice on the console.
   */
  threads?: number
}

// The import of env.memory up to the byte that says which kind: 1 is a memory with a maximum, 3 one that is shared, too.
const IMPORT = [3, ...'env'].map(byteOf).concat([6, ...'memory'].map(byteOf), [2, 1])
function byteOf(x: string | number): number {
  return typeof x === 'number' ? x : x.charCodeAt(0)
}
/** The same code for a memory that threads share; nothing else in a module depends on it. */
function forSharedMemory(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const at = bytes.findIndex((_, i) => IMPORT.every((x, k) => bytes[i + k] === x))
  if (at < 0) throw new Error('no import named env.memory')
  const out = bytes.slice()
  out[at + IMPORT.length - 1] = 3
  return out
}

let noticed = false
function threadsFor(asked: number | undefined): number {
  if (asked !== undefined && !(Number.isInteger(asked) && asked >= 1 && asked <= 256))
    throw new BackendError(`cpu: threads is ${asked}, expected a count from 1 to 256`)
  const wanted = asked ?? Math.min(availableThreads(), 256)
  const refused = wanted > 1 ? threadsRefused() : null
  if (refused === null) return wanted
  if (asked !== undefined)
    throw new BackendError(`cpu: ${asked} threads were asked for, but ${refused}; or leave threads out`)
  if (!noticed) console.warn(`heed: the CPU backend runs on one thread: ${refused}`)
  noticed = true
  return 1
}

/**
 * The kernels on a memory of their own.
 * @throws BackendError when the engine lacks WebAssembly SIMD, refuses the build or the threads asked for, or the bytes are not
 * this module
 */
export async function instantiate(options: KernelOptions = {}): Promise<Kernels> {
  if (typeof WebAssembly === 'undefined' || !accepts(SIMD))
    throw new BackendError('cpu: this engine has no WebAssembly SIMD; use another backend')
  const build = options.build ?? bestBuild()
  if (build !== 'relaxed' && build !== 'baseline')
    throw new BackendError(`cpu: unknown build '${String(build)}', use 'relaxed' or 'baseline'`)
  if (build === 'relaxed' && !accepts(RELAXED))
    throw new BackendError("cpu: this engine does not validate relaxed SIMD; use build: 'baseline'")
  const threads = threadsFor(options.threads)
  const memory = new WasmMemory(options.maxBytes, threads > 1)
  let module: WebAssembly.Module
  let exports: Exports
  try {
    const given = options.wasm
    const bytes =
      given === undefined
        ? await embedded(build)
        : new Uint8Array(
            ArrayBuffer.isView(given)
              ? (given.buffer.slice(given.byteOffset, given.byteOffset + given.byteLength) as ArrayBuffer)
              : given,
          )
    module = await WebAssembly.compile(threads > 1 ? forSharedMemory(bytes) : bytes)
    const instance = await WebAssembly.instantiate(module, { env: { memory: memory.memory, abort } })
    exports = instance.exports as unknown as Exports
    if (typeof exports.heapBase !== 'function') throw new Error('no export named heapBase')
  } catch (cause) {
    throw new BackendError(`cpu: the kernel module does not load: ${(cause as Error).message}`, { cause })
  }
  const control = exports.heapBase() >>> 0
  memory.reserve(control + exports.controlBytes() + 4 * JOB_WORDS)
  let told = false
  const lost = (reason: string): void => {
    if (!told)
      console.warn(`heed: worker threads of the CPU backend ended, those that are left go on: ${reason}`)
    told = true
  }
  const workers =
    threads > 1 ? new Workers({ module, memory: memory.memory, control }, threads - 1, lost) : null
  const kernels = new Kernels(build, memory, exports, control, workers, threads)
  if (workers) forgotten.register(kernels, workers)
  return kernels
}
/** Ends the workers of a backend that nobody holds any more and nobody disposed: a net, `dispose` is the plan. */
const forgotten = new FinalizationRegistry<Workers>((workers) => workers.stop())

function abort(): never {
  throw new BackendError('cpu: a kernel aborted')
}
