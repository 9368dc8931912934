import { type Backend, realize, reference, softmax, tensor } from '@heed/tensor'
import { expect, it } from 'vitest'
import { openBackend, wholly } from './backend.js'

/** The reference kernels under a backend that refuses some ops. */
function picky(...refused: string[]): Backend {
  const backend = reference()
  return wholly({
    ...{ spec: 1, name: 'picky', precision: 'f32', limits: backend.limits, bytesInUse: 0 },
    supports: (node) => !refused.includes(node.op) || 'not yet',
    compile: (graph) => backend.compile(graph),
    upload: (data, shape, dtype) => backend.upload(data, shape, dtype),
    download: (buffer) => backend.download(buffer),
    free: (buffer) => backend.free(buffer),
    dispose: () => {},
  })
}

it('fails where a primitive would run elsewhere, and writes composites out', async () => {
  const on = (backend: Backend) => realize([softmax(tensor([1, 2]))], { backend })
  await expect(on(picky('softmax', 'exp'))).rejects.toThrow('picky refuses exp: not yet')
  expect((await on(picky('softmax'))).inlined.map((r) => r.op)).toEqual(['softmax'])
})

it('opens the backend that is named', async () => {
  for (const [name, called, precision] of [
    ['reference', /^reference$/, 'f32'],
    ['reference-f64', /^reference-f64$/, 'f64'],
    ['cpu/2', /^cpu \((relaxed|baseline), 2 threads\)$/, 'f32'],
    ['cpu-baseline/1', /^cpu \(baseline\)$/, 'f32'],
  ] as const) {
    const backend = await openBackend(name)
    expect(backend.name).toMatch(called)
    expect(backend.precision).toBe(precision)
    backend.dispose()
  }
  await expect(openBackend('gpu')).rejects.toThrow("no backend is called 'gpu'")
})
