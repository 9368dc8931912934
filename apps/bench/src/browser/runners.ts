/** Who can be measured in a page: ours, and the peers that the server has. A row each; a page has one number of threads. */
import { cpu } from '@heed/backend-cpu'
import { webgl } from '@heed/backend-webgl'
import { heedAbilities, use } from '../heed.js'
import { type Jax, jaxAbilities } from '../peers/jax-work.js'
import { type Ort, ortAbilities } from '../peers/ort-work.js'
import { type Tf, tfjsAbilities } from '../peers/tfjs-work.js'
import type { Abilities, Kind, Prepare, Runner } from '../work.js'

export interface PageMaker {
  readonly name: string
  /** npm packages that must be installed beside the server. */
  readonly packages: readonly string[]
  /** False: runs only when it is chosen. */
  readonly byDefault?: boolean
  make(threads: number): Promise<Runner>
}

const at = (path: string): string => new URL(`/peers/${path}`, location.href).href
const load = async <T>(path: string): Promise<T> => (await import(/* @vite-ignore */ at(path))) as T
const scripts = new Map<string, Promise<void>>()
/** A classic script, once: two runners may stand on one library. */
function script(path: string): Promise<void> {
  const known = scripts.get(path) ?? loadScript(path)
  scripts.set(path, known)
  return known
}
const loadScript = (path: string): Promise<void> =>
  new Promise((ready, fail) => {
    const tag = document.createElement('script')
    tag.src = at(path)
    tag.onload = () => ready()
    tag.onerror = () => fail(new Error(`${path} does not load`))
    document.head.append(tag)
  })

/** The same work, over when the GPU is done and not when it has been told everything. */
function settling(can: Abilities, settled: () => Promise<unknown>): Abilities {
  const waiting =
    (prepare: Prepare<Kind>): Prepare<Kind> =>
    async (work, inputs) => {
      const prepared = await prepare(work, inputs)
      return {
        ...prepared,
        async run() {
          await prepared.run()
          await settled()
        },
      }
    }
  return Object.fromEntries(
    Object.entries(can).map(([kind, prepare]) => [kind, waiting(prepare as Prepare<Kind>)]),
  ) as Abilities
}

export const pageMakers: readonly PageMaker[] = [
  {
    name: 'heed/cpu',
    packages: [],
    async make(threads) {
      const backend = await cpu({ threads })
      return {
        name: this.name,
        threads: backend.threads,
        can: heedAbilities(backend),
        enter: () => use(backend),
      }
    },
  },
  {
    name: 'heed/cpu-baseline',
    packages: [],
    byDefault: false,
    async make(threads) {
      const backend = await cpu({ threads, build: 'baseline' })
      return {
        name: this.name,
        threads: backend.threads,
        can: heedAbilities(backend),
        enter: () => use(backend),
      }
    },
  },
  {
    name: 'heed/webgl',
    packages: [],
    byDefault: false,
    async make() {
      const backend = await webgl()
      return {
        name: this.name,
        threads: 1,
        renderer: backend.renderer,
        can: settling(heedAbilities(backend), () => backend.settled()),
        enter: () => use(backend),
      }
    },
  },
  {
    name: 'ort-web/wasm',
    packages: ['onnxruntime-web'],
    async make(threads) {
      const ort = await load<Ort & { env: { wasm: { wasmPaths: string } } }>(
        'onnxruntime-web/dist/ort.wasm.min.mjs',
      )
      ort.env.wasm.numThreads = threads
      ort.env.wasm.wasmPaths = at('onnxruntime-web/dist/')
      const options = { executionProviders: ['wasm'], graphOptimizationLevel: 'all' }
      return { name: this.name, threads, can: ortAbilities(ort, options) }
    },
  },
  {
    name: 'tfjs/wasm',
    packages: ['@tensorflow/tfjs', '@tensorflow/tfjs-backend-wasm'],
    async make(threads) {
      await script('@tensorflow/tfjs/dist/tf.min.js')
      await script('@tensorflow/tfjs-backend-wasm/dist/tf-backend-wasm.min.js')
      const { tf } = globalThis as unknown as {
        tf: Tf & { wasm: { setWasmPaths(folder: string): void; setThreadsCount(n: number): void } }
      }
      tf.wasm.setWasmPaths(at('@tensorflow/tfjs-backend-wasm/dist/'))
      tf.wasm.setThreadsCount(threads)
      await tf.setBackend('wasm')
      return { name: this.name, threads, can: tfjsAbilities(tf), enter: () => tf.setBackend('wasm') }
    },
  },
  {
    name: 'tfjs/webgl',
    packages: ['@tensorflow/tfjs'],
    byDefault: false,
    async make() {
      await script('@tensorflow/tfjs/dist/tf.min.js')
      const { tf } = globalThis as unknown as {
        tf: Tf & { backend(): { gpgpu: { createAndWaitForFence(): Promise<void> } } }
      }
      await tf.setBackend('webgl')
      return {
        name: this.name,
        threads: 1,
        can: settling(tfjsAbilities(tf), () => tf.backend().gpgpu.createAndWaitForFence()),
        enter: () => tf.setBackend('webgl'),
      }
    },
  },
  {
    name: 'jax-js/wasm',
    packages: ['@jax-js/jax'],
    async make(threads) {
      // it takes all cores where it finds Worker, and cannot be told otherwise
      const { Worker } = globalThis
      if (threads === 1) Reflect.deleteProperty(globalThis, 'Worker')
      const jax = await load<Jax>('@jax-js/jax/dist/index.js')
      await jax.init('wasm')
      jax.defaultDevice('wasm')
      const isShared = threads > 1 && crossOriginIsolated
      return {
        name: this.name,
        threads: isShared ? navigator.hardwareConcurrency : 1,
        can: jaxAbilities(jax),
        enter: () => {
          if (threads === 1) Reflect.deleteProperty(globalThis, 'Worker')
          else Object.assign(globalThis, { Worker })
        },
      }
    },
  },
]
