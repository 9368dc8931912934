import { execFileSync } from 'node:child_process'
import os from 'node:os'
import { fileURLToPath } from 'node:url'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import workerThreads from 'node:worker_threads'
import { exp, realize, tensor } from '@heed/tensor'
import { describe, expect, it, vi } from 'vitest'
import { cpu } from './index.js'
import { instantiate } from './wasm.js'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const child = fileURLToPath(new URL('../test/exit-child.ts', import.meta.url))

const long = Float32Array.from({ length: 200_003 }, (_, i) => Math.sin(i) * 20)

describe('threads', () => {
  it('give the same bits however many there are, whenever they start', async () => {
    const results: Float32Array[] = []
    for (const threads of [1, 2, 5]) {
      const backend = await cpu({ threads })
      expect(backend.threads).toBe(threads)
      for (let turn = 0; turn < 40; turn++) {
        const y = exp(tensor(long))
        await realize([y], { backend })
        if (turn % 13 === 0) results.push((await y.data()) as Float32Array)
        // from here on the workers are awake, asleep or not there yet
        if (turn === 20) await new Promise((resolve) => setTimeout(resolve, 60))
      }
      backend.dispose()
    }
    expect(results[0][3]).toBeCloseTo(Math.exp(long[3]), 5)
    for (const r of results) expect(r.every((x, i) => x === results[0][i])).toBe(true)
  })

  it('are at most 256, on machines of more cores too', async () => {
    vi.spyOn(os, 'availableParallelism').mockReturnValue(300)
    class Idle {
      on(): void {}
      unref(): void {}
    }
    const started = vi
      .spyOn(workerThreads, 'Worker')
      .mockImplementation(Idle as unknown as typeof workerThreads.Worker)
    const backend = await cpu()
    expect(backend.threads).toBe(256)
    expect(started).toHaveBeenCalledTimes(255)
    vi.restoreAllMocks()
    backend.dispose()
  })

  it('really share the work', async () => {
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
    // the worker started, found nothing to do and sleeps
    await until(() => words[parked] === 1)
    const at = kernels.memory.alloc(4 * 2048 * 64)
    // jobs wake it; with nothing more to do it sleeps again
    await until(() => {
      kernels.run('activation', [64 * 2048, 2048, 7, at, at, 0], 64)
      // one claim too many of each: both looked for work
      return words[left] === -2
    })
    await until(() => words[parked] === 1)
    kernels.stop()
    await until(() => words[parked] === 0)
  })

  it('take every chunk once, and none beyond the last', async () => {
    const kernels = await instantiate({ threads: 2 })
    const [chunks, per] = [64, 2048]
    const n = (chunks + 1) * per
    const at = kernels.memory.alloc(4 * n)
    for (let turn = 0; turn < 20; turn++) {
      kernels.memory.f32().fill(0, at / 4, at / 4 + n)
      // the sigmoid in place, of all but the last part
      kernels.run('activation', [n, per, 7, at, at, 0], chunks)
      const y = kernels.memory.f32().subarray(at / 4, at / 4 + n)
      expect(y.findIndex((x, i) => x !== (i < chunks * per ? 0.5 : 0))).toBe(-1)
    }
    kernels.stop()
  })

  it('leave the memory alone once a kernel has trapped, and go on', async () => {
    const kernels = await instantiate({ threads: 3 })
    const n = 2048
    const at = kernels.memory.alloc(4 * n * 64)
    // reads beyond the memory; which thread meets it first is chance
    const far = kernels.memory.buffer.byteLength
    for (let turn = 0; turn < 100; turn++) {
      expect(() => kernels.run('activation', [64 * n, n, 5, far, at, 0], 64)).toThrow(
        /cpu: the kernel 'activation' failed/,
      )
      kernels.memory.f32().fill(-1, at / 4, at / 4 + 64 * n)
      kernels.run('activation', [64 * n, n, 5, at, at, 0], 64)
      expect(
        kernels.memory
          .f32()
          .subarray(at / 4, at / 4 + 64 * n)
          .every((x) => x === 0),
      ).toBe(true)
      if (turn % 20 === 0) await new Promise((resolve) => setTimeout(resolve, 20))
    }
    kernels.stop()
  })

  it('are one where nothing lets a worker start, which is said once', async () => {
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => {})
    vi.stubGlobal('process', {
      ...process,
      getBuiltinModule: (name: string) =>
        name === 'node:worker_threads'
          ? {
              Worker: class {
                constructor() {
                  throw new Error('Access to this API has been restricted')
                }
              },
            }
          : undefined,
    })
    try {
      const backend = await cpu({ threads: 3 })
      const y = exp(tensor(long))
      await realize([y], { backend })
      expect(((await y.data()) as Float32Array)[3]).toBeCloseTo(Math.exp(long[3]), 5)
      expect(warn.mock.calls).toHaveLength(1)
      expect(warn.mock.calls[0][0]).toMatch(/worker threads of the CPU backend.*restricted/)
      backend.dispose()
    } finally {
      vi.unstubAllGlobals()
      warn.mockRestore()
    }
  })

  it('end with a backend that nobody holds', async () => {
    setFlagsFromString('--expose-gc')
    const gc = runInNewContext('gc') as () => void
    const wordsOfOne = async (): Promise<Int32Array> => {
      const kernels = await instantiate({ threads: 2 })
      return new Int32Array(kernels.memory.memory.buffer, kernels.control, 96)
    }
    const words = await wordsOfOne()
    const stop = 256 / 4
    const deadline = performance.now() + 20_000
    while (words[stop] === 0 && performance.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 5))
      gc()
    }
    expect(words[stop]).toBe(1)
  })

  it('are refused with the way out where memory cannot be shared', async () => {
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => {})
    vi.stubGlobal('crossOriginIsolated', false)
    try {
      await expect(cpu({ threads: 2 })).rejects.toThrow(
        /2 threads were asked for.*Cross-Origin-Opener-Policy/,
      )
      for (let i = 0; i < 2; i++) expect((await cpu()).threads).toBe(1)
      expect(warn.mock.calls.filter(([line]) => /one thread: this page/.test(line))).toHaveLength(1)
    } finally {
      vi.unstubAllGlobals()
      warn.mockRestore()
    }
  })

  it('never keep a process alive', () => {
    const said = execFileSync(process.execPath, ['--import', 'tsx', child], {
      cwd: root,
      encoding: 'utf8',
      timeout: 30_000,
    })
    expect(said).toBe('done on 3\n')
  })
})
