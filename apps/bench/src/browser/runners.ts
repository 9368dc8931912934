/** Who can be measured in a page: ours, and the peers that the server has. A row each; a page has one number of threads. */
import { cpu } from '@heed/backend-cpu'
import { heedAbilities, use } from '../heed.js'
import { type Jax, jaxAbilities } from '../peers/jax-work.js'
import { type Ort, ortAbilities } from '../peers/ort-work.js'
import { type Tf, tfjsAbilities } from '../peers/tfjs-work.js'
import type { Runner } from '../work.js'

export interface PageMaker {
  readonly name: string
  /** npm packages that must be installed beside the server. */
  readonly packages: readonly string[]
  make(threads: number): Promise<Runner>
}

const at = (path: string): string => new URL(`/peers/${path}`, location.href).href
const load = async <T>(path: string): Promise<T> => (await import(/* @vite-ignore */ at(path))) as T
const script = (path: string): Promise<void> =>
  new Promise((ready, fail) => {
    const tag = document.createElement('script')
    tag.src = at(path)
    tag.onload = () => ready()
    tag.onerror = () => fail(new Error(`${path} does not load`))
    document.head.append(tag)
  })

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
      return { name: this.name, threads, can: tfjsAbilities(tf) }
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
