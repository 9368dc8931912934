/** ONNX Runtime in Node: its WebAssembly build for the web, and its native one. */
import { coldStart } from '../cold-start.js'
import { minilmFolder } from '../minilm.js'
import { batches, encodeIds } from '../tokens.js'
import type { Abilities, Maker, Prepared } from '../work.js'
import { minilmGraph } from './bert-onnx.js'
import { requirePeer, versionsOf } from './load.js'
import { GraphWriter } from './onnx.js'
import { type Ort, type OrtTensor, ortAbilities } from './ort-work.js'

const abilities = (ort: Ort, options: object, cold: () => Prepared): Abilities => ({
  ...ortAbilities(ort, options),
  async embed({ texts, width }, weights) {
    const s = await ort.InferenceSession.create(minilmGraph(weights, true), options)
    const parts = batches(encodeIds(minilmFolder(), texts))
    const feeds = parts.map(({ ids, mask, rows, width: length }) => {
      const grid = (data: BigInt64Array): OrtTensor => new ort.Tensor('int64', data, [rows, length])
      const types = new BigInt64Array(ids.length)
      return { input_ids: grid(ids), attention_mask: grid(mask), token_type_ids: grid(types) }
    })
    return {
      note: 'ids are given',
      async run() {
        for (const f of feeds) await s.run(f)
      },
      async output() {
        const out = new Float32Array(texts.length * width)
        for (const [b, f] of feeds.entries()) {
          const { data } = (await s.run(f)).y
          parts[b].at.forEach((text, row) => {
            out.set(data.subarray(row * width, (row + 1) * width), text * width)
          })
        }
        return out
      },
      free: () => void s.release(),
    }
  },
  cold,
})

const coldCode = (library: string, setUp: string, options: string): string => {
  const g = new GraphWriter()
  const dims = [64, 64]
  g.node('MatMul', ['a', 'a'], {}, 'y')
  const model = Buffer.from(g.write([{ name: 'a', dims }], [{ name: 'y', dims }])).toString('base64')
  return `const library = await import('${library}')
    const ort = library.default?.InferenceSession ? library.default : library
    ${setUp}
    const s = await ort.InferenceSession.create(Buffer.from('${model}', 'base64'), ${options})
    const a = new ort.Tensor('float32', new Float32Array(4096).fill(1), [64, 64])
    const y = (await s.run({ a })).y.data`
}

export const ortWeb: Maker & { packages: readonly string[] } = {
  name: 'ort-web/wasm',
  packages: ['onnxruntime-web'],
  byDefault: true,
  threaded: true,
  versions: () => versionsOf('onnxruntime-web'),
  async make(threads) {
    // the thread pool belongs to the module: a copy of it for each number of threads
    const ort = requirePeer<Ort>('onnxruntime-web', /onnxruntime-(web|common)/)
    ort.env.wasm.numThreads = threads
    // it starts its threads with the Worker that it defined, when its first session is made
    const { Worker } = globalThis
    const options = { executionProviders: ['wasm'], graphOptimizationLevel: 'all' }
    const setUp = `ort.env.wasm.numThreads = ${threads}`
    const cold = (): Prepared =>
      coldStart(coldCode('onnxruntime-web', setUp, `{ executionProviders: ['wasm'] }`), 'peers')
    const enter = (): void => void Object.assign(globalThis, { Worker })
    return { name: this.name, threads, can: abilities(ort, options, cold), enter }
  },
}

export const ortNode: Maker & { packages: readonly string[] } = {
  name: 'onnxruntime-node',
  packages: ['onnxruntime-node'],
  byDefault: true,
  threaded: true,
  versions: () => versionsOf('onnxruntime-node'),
  async make(threads) {
    // the web's settings are in the part that both share
    const ort = requirePeer<Ort>('onnxruntime-node', /onnxruntime-common/)
    const options = { intraOpNumThreads: threads, interOpNumThreads: 1, graphOptimizationLevel: 'all' }
    const cold = (): Prepared =>
      coldStart(coldCode('onnxruntime-node', '', `{ intraOpNumThreads: ${threads} }`), 'peers')
    return { name: this.name, threads, can: abilities(ort, options, cold) }
  },
}
