/** TensorFlow.js in Node, on its WebAssembly and plain JavaScript backends: one thread, whatever is asked for. */
import { coldStart } from '../cold-start.js'
import { peersFolder } from '../folders.js'
import type { Peer } from './index.js'
import { requirePeer, versionsOf } from './load.js'
import { type Tf, tfjsAbilities } from './tfjs-work.js'

const coldCode = (backend: 'wasm' | 'cpu'): string => `const { createRequire } = await import('node:module')
  const require = createRequire(process.cwd() + '/package.json')
  const tf = require('@tensorflow/tfjs-core')
  const made = require('@tensorflow/tfjs-backend-${backend}')
  ${backend === 'wasm' ? `made.setWasmPaths(process.cwd() + '/node_modules/@tensorflow/tfjs-backend-wasm/dist/')` : ''}
  await tf.setBackend('${backend}')
  const y = await tf.matMul(tf.ones([64, 64]), tf.ones([64, 64])).data()`

/** It greets on the console with advice for another product. */
function quietly(f: () => void): void {
  const { log, warn } = console
  console.log = console.warn = () => {}
  try {
    f()
  } finally {
    Object.assign(console, { log, warn })
  }
}

function tfjs(backend: 'wasm' | 'cpu', byDefault: boolean): Peer {
  // gradients are registered by the whole package only
  const packages = ['@tensorflow/tfjs-core', `@tensorflow/tfjs-backend-${backend}`, '@tensorflow/tfjs']
  const name = `tfjs/${backend}`
  return {
    name,
    packages,
    byDefault,
    threaded: false,
    versions: () => versionsOf(...packages),
    async make(threads) {
      quietly(() => requirePeer(packages[2]))
      const tf = requirePeer<Tf>(packages[0])
      const made = requirePeer<{ setWasmPaths?(folder: string): void }>(packages[1])
      made.setWasmPaths?.(wasmFolder())
      await tf.setBackend(backend)
      return {
        name,
        threads,
        can: { ...tfjsAbilities(tf), cold: () => coldStart(coldCode(backend), 'peers') },
        enter: () => tf.setBackend(backend),
      }
    },
  }
}
const wasmFolder = (): string => `${peersFolder}/node_modules/@tensorflow/tfjs-backend-wasm/dist/`

export const tfjsWasm = tfjs('wasm', true)
// some fifty times slower: only for those who ask
export const tfjsCpu = tfjs('cpu', false)
