/** jax-js in Node, on its WebAssembly backend: one thread. */
import { coldStart } from '../cold-start.js'
import type { Prepared } from '../work.js'
import type { Peer } from './index.js'
import { type Jax, jaxAbilities } from './jax-work.js'
import { importPeer, versionsOf } from './load.js'

const cold = (): Prepared =>
  coldStart(
    `const jax = await import('@jax-js/jax')
        await jax.init('wasm')
        jax.defaultDevice('wasm')
        const y = await jax.numpy.matmul(jax.numpy.ones([64, 64]), jax.numpy.ones([64, 64])).data()`,
    'peers',
  )

/** ONNX Runtime defines `Worker` in Node; jax-js would take it for a browser's and fail. */
const noWorkers = (): void => {
  Reflect.deleteProperty(globalThis, 'Worker')
}

export const jax: Peer = {
  name: 'jax-js/wasm',
  packages: ['@jax-js/jax'],
  byDefault: true,
  threaded: false,
  versions: () => versionsOf('@jax-js/jax'),
  async make(threads) {
    noWorkers()
    const library = await importPeer<Jax>('@jax-js/jax/dist/index.js')
    await library.init('wasm')
    library.defaultDevice('wasm')
    return { name: this.name, threads, can: { ...jaxAbilities(library), cold }, enter: noWorkers }
  },
}
