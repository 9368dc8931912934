/**
 * Worker threads that share the kernel memory: `worker_threads` in Node, Workers in a browser. A worker gets the compiled module
 * and the memory, then lives inside the kernel `work`; it never keeps a Node process alive. What a job is, this room does not know.
 */
import { BackendError } from '@heed/tensor'

/** Words that this side touches, by their index in the control block (assembly/parallel.ts). */
const GENERATION = 0
const LEFT = 64 / 4
const DONE = 128 / 4
const FAILED = 192 / 4 + 1
const STOP = 256 / 4

/** Looks for a new job before a worker sleeps: some 50 to 100 µs, longer than the gap between two kernels of a run. */
const SPINS = 20_000

/** How often the calling thread looks whether the others are done before it sleeps; 0, for ever, on a page's main thread. */
export const WAIT_SPINS = typeof document === 'undefined' ? SPINS : 0

export interface WorkerSetup {
  readonly module: WebAssembly.Module
  readonly memory: WebAssembly.Memory
  /** Byte address of the control block. */
  readonly control: number
}

// One text for both worlds. A kernel that traps must not leave the others waiting: the chunk counts as done, and as failed.
const LIFE = `({ module, memory, control, thread, spins }) => {
  const words = () => new Int32Array(memory.buffer, control)
  const env = { memory, abort() { throw new Error('a kernel aborted') } }
  const { work } = new WebAssembly.Instance(module, { env }).exports
  for (;;)
    try {
      return work(control, thread, spins)
    } catch {
      Atomics.store(words(), ${FAILED}, 1)
      Atomics.add(words(), ${DONE}, 1)
      Atomics.notify(words(), ${DONE})
    }
}`

interface NodeWorker {
  unref(): void
  on(event: 'error' | 'exit', listener: (x: unknown) => void): void
}
type NodeThreads = {
  readonly Worker: new (source: string, options: object) => NodeWorker
}
interface NodeProcess {
  getBuiltinModule?(name: string): unknown
}
const node = (): NodeProcess | undefined => (globalThis as { process?: NodeProcess }).process
const builtin = <T>(name: string): T | undefined => node()?.getBuiltinModule?.(name) as T | undefined

/** Cores that this process may use. */
export function availableThreads(): number {
  const os = builtin<{ availableParallelism(): number }>('node:os')
  return os?.availableParallelism() ?? globalThis.navigator?.hardwareConcurrency ?? 1
}

/** Null, or why threads cannot share memory here and what to do about it. */
export function threadsRefused(): string | null {
  const isolated = (globalThis as { crossOriginIsolated?: boolean }).crossOriginIsolated
  if (typeof SharedArrayBuffer === 'undefined' || isolated === false)
    return 'this page is not cross-origin isolated: serve it with the headers Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp'
  if (!builtin<NodeThreads>('node:worker_threads') && typeof Worker === 'undefined')
    return 'this engine has neither Worker nor worker_threads'
  return null
}

/** Workers on one memory. They start by themselves; until they have, the others do their work. */
export class Workers {
  private stopped = false
  /** Held, since engines may end a worker whose object is gone. */
  private readonly held: unknown[] = []

  constructor(
    private readonly setup: WorkerSetup,
    count: number,
    lost: (reason: string) => void,
  ) {
    for (let thread = 1; thread <= count; thread++) {
      const data = { ...setup, thread, spins: SPINS }
      const threads = builtin<NodeThreads>('node:worker_threads')
      const fail = (error: unknown): void => {
        if (!this.stopped) lost(error instanceof Error ? error.message : String(error))
      }
      try {
        this.held.push(this.start(threads, data, fail))
      } catch (error) {
        // Node's permission model and some policies of pages refuse at once, others by an event
        fail(error)
      }
    }
  }

  private start(threads: NodeThreads | undefined, data: object, fail: (error: unknown) => void): unknown {
    if (threads) {
      // no flags, loaders or environment of the program: the worker runs nothing but kernels
      const worker = new threads.Worker(`(${LIFE})(require('node:worker_threads').workerData)`, {
        eval: true,
        workerData: data,
        execArgv: [],
        env: {},
      })
      worker.on('error', fail)
      worker.unref()
      return worker
    }
    const url = URL.createObjectURL(
      new Blob([`onmessage = ({ data }) => { (${LIFE})(data); close() }`], { type: 'text/javascript' }),
    )
    const worker = new Worker(url)
    worker.onerror = (event) => fail(event.message || 'the page’s security policy forbids workers from blobs')
    worker.postMessage(data)
    URL.revokeObjectURL(url)
    return worker
  }

  private words(): Int32Array {
    return new Int32Array(this.setup.memory.buffer, this.setup.control)
  }

  /**
   * `words`: the memory as it is now; the control block begins at word `at`.
   * @throws BackendError when a kernel trapped on a worker since the last call
   */
  check(words: Int32Array, at: number, task: string): void {
    if (words[at + FAILED] === 0) return
    words[at + FAILED] = 0
    throw new BackendError(`cpu: the kernel '${task}' failed on a worker thread`)
  }

  /** After a trap on the calling thread: no chunk is taken any more, and those that were are done, the caller's own apart. */
  settle(chunks: number): void {
    const words = this.words()
    const taken = chunks - Math.max(0, Atomics.exchange(words, LEFT, 0))
    while (Atomics.load(words, DONE) < taken - 1);
    words[FAILED] = 0
  }

  stop(): void {
    if (this.stopped) return
    this.stopped = true
    const words = this.words()
    Atomics.store(words, STOP, 1)
    Atomics.add(words, GENERATION, 1)
    Atomics.notify(words, GENERATION)
  }
}
