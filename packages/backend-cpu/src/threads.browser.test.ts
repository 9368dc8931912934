// The same threads in a page that is cross-origin isolated: workers from a blob, one shared memory, the same bits.
import { exp, realize, tensor } from '@heed/tensor'
import { expect, it } from 'vitest'
import { cpu } from './index.js'
import { instantiate } from './wasm.js'

it('gives the same bits on one thread and on three, and the workers join in', async () => {
  expect(globalThis.crossOriginIsolated).toBe(true)
  const long = Float32Array.from({ length: 200_003 }, (_, i) => Math.sin(i) * 20)
  const results: Float32Array[] = []
  for (const threads of [1, 3]) {
    const backend = await cpu({ threads })
    expect(backend.threads).toBe(threads)
    for (let turn = 0; turn < 10; turn++) {
      const y = exp(tensor(long))
      await realize([y], { backend })
      results.push((await y.data()) as Float32Array)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    backend.dispose()
  }
  for (const r of results) expect(r.every((x, i) => x === results[0][i])).toBe(true)
})

it('wakes workers of a page', async () => {
  const kernels = await instantiate({ threads: 2 })
  const words = new Int32Array(kernels.memory.memory.buffer, kernels.control, 96)
  const [left, parked] = [64 / 4, 192 / 4]
  const until = async (holds: () => boolean): Promise<void> => {
    const deadline = performance.now() + 20_000
    // asked once more, it may have changed
    let held = holds()
    while (!held && performance.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 1))
      held = holds()
    }
    expect(held).toBe(true)
  }
  await until(() => words[parked] === 1)
  const at = kernels.memory.alloc(4 * 2048 * 64)
  await until(() => {
    kernels.run('activation', [64 * 2048, 2048, 7, at, at, 0], 64)
    return words[left] === -2
  })
  kernels.stop()
})
