// What tests of this backend share: backends that end with their test, and numbers that look random and are the same everywhere.
import { type Tensor, tensor } from '@heed/tensor'
import { afterEach, vi } from 'vitest'
import { type WebglBackend, type WebglOptions, webgl } from '../src/index.js'

const made: WebglBackend[] = []
/** A backend that is disposed after the test. */
export async function make(options?: WebglOptions): Promise<WebglBackend> {
  const backend = await webgl(options)
  made.push(backend)
  return backend
}
afterEach(() => {
  vi.restoreAllMocks()
  for (const b of made.splice(0)) b.dispose()
})

/** Numbers between −1 and 1. */
export const values = (n: number, seed = 1): Float32Array =>
  Float32Array.from({ length: n }, (_, i) => Math.sin((i + 1) * 12.9898 * seed))
export function normal(shape: readonly number[], seed = 1): Tensor {
  const size = shape.reduce((a, b) => a * b, 1)
  return tensor(values(size, seed), { shape })
}
