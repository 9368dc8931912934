/**
 * transformers.js, for sentence vectors: on ONNX Runtime's WebAssembly (as in a page) and on its native library (as in Node). It reads a
 * local folder: the tokenizer and settings that were fetched, and an ONNX file that is written here from the float32 weights.
 */
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs'
import { app, peersFolder } from '../folders.js'
import { minilmFolder } from '../minilm.js'
import type { Inputs } from '../work.js'
import { minilmGraph } from './bert-onnx.js'
import type { Peer } from './index.js'
import { importPeer, requirePeer, versionsOf } from './load.js'

interface Vectors {
  readonly data: Float32Array
}
interface Library {
  readonly env: { allowRemoteModels: boolean; localModelPath: string }
  pipeline(
    task: 'feature-extraction',
    model: string,
    options: object,
  ): Promise<{
    (texts: readonly string[], options: { pooling: 'mean'; normalize: boolean }): Promise<Vectors>
    dispose(): Promise<unknown>
  }>
}

/** Made anew each time, so that it never stands for other weights. */
function writeFolder(weights: Inputs): string {
  const folder = `${app}/.bench/transformers`
  mkdirSync(`${folder}/minilm/onnx`, { recursive: true })
  for (const file of ['config.json', 'tokenizer.json', 'tokenizer_config.json'])
    copyFileSync(`${minilmFolder()}/${file}`, `${folder}/minilm/${file}`)
  writeFileSync(`${folder}/minilm/onnx/model.onnx`, minilmGraph(weights, false))
  return folder
}

const HOOK = Symbol.for('onnxruntime')

function transformers(engine: 'wasm' | 'node'): Peer {
  const name = `transformers.js/${engine}`
  const packages = ['@huggingface/transformers', engine === 'wasm' ? 'onnxruntime-web' : 'onnxruntime-node']
  return {
    name,
    packages,
    byDefault: true,
    threaded: true,
    versions: () => versionsOf(...packages),
    async make(threads) {
      // which ONNX Runtime it uses is settled when it is imported: a copy of it for each
      const hooks = globalThis as { [HOOK]?: unknown }
      let own: { Worker?: unknown } = {}
      if (engine === 'wasm') {
        const ort = requirePeer<{ env: { wasm: { numThreads: number; wasmPaths: string } } }>(
          'onnxruntime-web',
          /onnxruntime-(web|common)/,
        )
        ort.env.wasm.numThreads = threads
        // else it sets an address on the internet
        ort.env.wasm.wasmPaths = `${peersFolder}/node_modules/onnxruntime-web/dist/`
        hooks[HOOK] = ort
        own = { Worker: globalThis.Worker }
      } else requirePeer(packages[1], /onnxruntime-common/)
      const file = '@huggingface/transformers/dist/transformers.node.mjs'
      const library = await importPeer<Library>(file, `${engine}${threads}`)
      delete hooks[HOOK]
      library.env.allowRemoteModels = false
      return {
        name,
        threads,
        only: 'embed',
        enter: () => void Object.assign(globalThis, own),
        can: {
          async embed({ texts }, weights) {
            library.env.localModelPath = writeFolder(weights)
            const extract = await library.pipeline('feature-extraction', 'minilm', {
              dtype: 'fp32',
              device: engine === 'wasm' ? 'auto' : 'cpu',
              session_options: {
                intraOpNumThreads: threads,
                ...(engine === 'wasm' ? { executionProviders: ['wasm'] } : {}),
              },
            })
            const run = async (): Promise<Float32Array> =>
              (await extract(texts, { pooling: 'mean', normalize: true })).data
            return { run, output: run, free: () => void extract.dispose() }
          },
        },
      }
    },
  }
}
export const transformersWasm = transformers('wasm')
export const transformersNode = transformers('node')
