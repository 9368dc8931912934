// Adapters whose models run on the backend that is set: it is the one that was asked for, whatever becomes of the case.
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Backend, getBackend, hasBackend, reference, setBackend } from '@heed/tensor'
import { saveSafetensors } from '@heed/weights'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { adapters } from './adapters.js'
import { diskFiles } from './disk.js'

let root = ''
let dir = ''
beforeEach(async () => {
  setBackend(null)
  root = await mkdtemp(join(tmpdir(), 'heed-adapters-'))
  // both the collection and the weights of that model
  dir = join(root, 'minilm')
  await mkdir(dir)
})
afterEach(async () => {
  setBackend(null)
  await rm(root, { recursive: true })
})

const expected = {
  train: {
    ...{ steps: 1, batch: 1, loss: [1], grad_norm_before_clip: [1], schedule: { rates: [1e-3] } },
    optimizer: { name: 'adamw', eps: 1e-8, weight_decay: { matrices: 0, vectors: 0 }, clip_global_norm: 1 },
  },
  'real-weights': { sentences: [{ text: '', ids: [1] }] },
}
it.each(['train', 'models-text', 'real-weights'])('%s', async (format) => {
  const data = Float32Array.of(1)
  const files: Readonly<Record<string, unknown>> = expected
  if (files[format]) await writeFile(join(dir, 'expected.json'), JSON.stringify(files[format]))
  await saveSafetensors(join(dir, 'expected.safetensors'), { x: { dtype: 'F32', shape: [1], data } })
  const backend: Backend = reference()
  const adapter = await adapters[format]()
  const golden = { format, version: 1 }
  const options = { backend: async () => backend, files: diskFiles, weights: root }
  try {
    for await (const one of adapter.cases({ dir, golden }, options)) await one.run().catch(() => undefined)
  } catch {
    // there is no model: what matters is where it would have run
  }
  expect(hasBackend()).toBe(true)
  expect(getBackend()).toBe(backend)
})
