// Arrays that one texture cannot hold: the same numbers out of several layers. `maxTextureSize` makes small arrays large.
import { testBackend } from '@heed/conformance'
import * as t from '@heed/tensor'
import { BackendError, type DType, realize, type Tensor, type TypedArray } from '@heed/tensor'
import { afterAll, describe, expect, it, vi } from 'vitest'
import { type WebglBackend, webgl } from '../src/index.js'
import { make, normal, values } from './support.js'

// 64 elements a texture: most arrays of the cases lie in layers. Every seventh case, so that layouts take turns
describe('conformance', () => {
  let n = 0
  testBackend(
    () => webgl({ maxTextureSize: 4 }),
    { describe, it, afterAll },
    { runs: 1, only: (name) => !name.includes('the size of') && n++ % 7 === 1 },
  )
})

/** Textures of layers that are made while this runs: their depths. */
async function layersDuring(run: () => Promise<void>): Promise<number[]> {
  const storage = vi.spyOn(WebGL2RenderingContext.prototype, 'texStorage3D')
  await run()
  const depths = storage.mock.calls.map((call) => call[5])
  storage.mockRestore()
  return depths
}
const firstDifference = (a: Float32Array, b: Float32Array): number =>
  a.length === b.length ? a.findIndex((v, i) => !Object.is(v, b[i])) : 0
/** Results on the backend against float64: worst error over the largest value of each. */
async function errors(backend: WebglBackend, build: () => Tensor[]): Promise<number[]> {
  const [got, want] = [build(), build()]
  const report = await realize(got, { backend, strict: true })
  expect(report.backend).toBe(backend.name)
  const oracle = t.reference({ precision: 'f64' })
  await realize(want, { backend: oracle })
  const out: number[] = []
  for (const [i, y] of got.entries()) {
    const [g, w] = [(await y.data()) as Float32Array, (await want[i].data()) as Float64Array]
    expect(g.length).toBe(w.length)
    let [scale, error] = [1e-30, 0]
    for (let k = 0; k < w.length; k++) {
      scale = Math.max(scale, Math.abs(w[k]))
      error = Math.max(error, Math.abs(g[k] - w[k]))
    }
    out.push(error / scale)
  }
  oracle.dispose()
  return out
}

describe('numbers', () => {
  it('go up and come back in every dtype, around the ends of rows, layers and textures', async () => {
    const backend = await make({ maxTextureSize: 4 })
    const arrays: readonly [DType, (n: number) => TypedArray][] = [
      ['f32', (n) => values(n)],
      ['i32', (n) => Int32Array.from({ length: n }, (_, i) => Math.imul(i + 1, 0x9e3779b1))],
      ['bool', (n) => Uint8Array.from({ length: n }, (_, i) => Math.imul(i, i) & 1)],
      ['u8', (n) => Uint8Array.from({ length: n }, (_, i) => Math.imul(i, 37))],
      ['i8', (n) => Int8Array.from({ length: n }, (_, i) => Math.imul(i, 37))],
      ['f16', (n) => Uint16Array.from({ length: n }, (_, i) => Math.imul(i, 7919))],
      ['bf16', (n) => Uint16Array.from({ length: n }, (_, i) => Math.imul(i, 7919))],
    ]
    for (const [dtype, make] of arrays)
      for (const n of [0, 1, 63, 64, 65, 80, 256, 257, 1021, 1024, 1025, 2300]) {
        const data = make(n)
        const buffer = backend.upload(data, [n], dtype)
        expect(await backend.download(buffer), `${n} ${dtype}`).toEqual(data)
        backend.free(buffer)
      }
    expect(backend.counts.live).toBe(0)
  })
  it('of a layer are read as they were when reading began, whoever frees the array meanwhile', async () => {
    const backend = await make({ maxTextureSize: 4 })
    const buffer = backend.upload(values(1000), [1000], 'f32')
    const pending = backend.download(buffer)
    backend.free(buffer)
    const other = backend.upload(new Float32Array(1000), [1000], 'f32')
    expect(await pending).toEqual(values(1000))
    backend.free(other)
    expect(backend.counts.live).toBe(0)
    const last = backend.download(backend.upload(values(1000), [1000], 'f32'))
    backend.dispose()
    await expect(last).rejects.toThrow(BackendError)
  })
  it('of products, by four rows and by one, in every layout', async () => {
    const backend = await make({ maxTextureSize: 4 })
    const depths = await layersDuring(async () => {
      const worst = await errors(backend, () => [
        t.matmul(normal([36, 24]), normal([24, 32], 2)),
        t.matmul(normal([24, 36]), normal([24, 32], 2), { transposeX: true }),
        t.matmul(normal([36, 24]), normal([32, 24], 2), { transposeY: true }),
        t.matmul(normal([3, 36]), normal([36, 33], 2)),
        t.matmul(normal([2, 9, 17]), normal([17, 8], 2)),
        t.linear(normal([36, 24]), normal([24, 32], 2), normal([32], 3)),
      ])
      for (const error of worst) expect(error).toBeLessThan(1e-5)
    })
    expect(Math.max(...depths)).toBeGreaterThan(8)
  })
  it('of attention and its gradients, the scores of one query in layers too', async () => {
    const backend = await make({ maxTextureSize: 4 })
    const build = (): Tensor[] => {
      const [q, k, v] = [1, 2, 3].map((seed) => normal([1, 4, 24, 8], seed))
      const { z } = t.attention(q, t.slice(k, [null, [0, 2]]), t.slice(v, [null, [0, 2]]), {
        causal: true,
        window: [9, 0],
      })
      return [z, ...t.grad(t.sum(t.mul(z, normal([1, 4, 24, 8], 4))), [q, k, v])]
    }
    const depths = await layersDuring(async () => {
      for (const error of await errors(backend, build)) expect(error).toBeLessThan(2e-6)
    })
    expect(depths.length).toBeGreaterThan(0)
  })
  it('of a bias by query whose last part is one query: its gradient too', async () => {
    const backend = await make({ maxTextureSize: 16 })
    const build = (): Tensor[] => {
      const x = normal([1, 2, 37, 8])
      const bias = normal([2, 37, 37], 2)
      const { z } = t.attention(x, x, x, { bias })
      return [z, ...t.grad(t.sum(t.mul(z, normal([1, 2, 37, 8], 3))), [x, bias])]
    }
    // 1,024 elements hold 13 queries' scores of 2 × 37: parts of 12, 12, 12 and 1
    for (const error of await errors(backend, build)) expect(error).toBeLessThan(5e-6)
  })
  it('of loops, sorts, norms and convolutions, and of their gradients', async () => {
    const backend = await make({ maxTextureSize: 4 })
    const worst = await errors(backend, () => {
      const x = normal([7, 90])
      const { carry, ys } = t.scan(
        ([c], [row]) => ({ carry: [t.tanh(t.add(c, row))], ys: [t.mul(c, row)] }),
        {
          init: [normal([90], 2)],
          xs: [x],
        },
      )
      const { values: sorted, indices } = t.sort(x, { axis: 1 })
      const image = normal([2, 3, 9, 8])
      const y = t.conv2d(image, normal([4, 3, 3, 3], 3))
      const loss = t.add(t.sum(t.mul(t.layerNorm(x), x)), t.add(t.sum(carry[0]), t.sum(ys[0])))
      return [carry[0], ys[0], sorted, t.cast(indices, 'f32'), y, ...t.grad(loss, [x])]
    })
    for (const error of worst) expect(error).toBeLessThan(1e-5)
  })
  it('of an embedding of 50,257 rows where a texture ends at 256, read, multiplied and trained', async () => {
    const [rows, width] = [50257, 64]
    const weights = values(rows * width)
    const ids = [0, 31337, 50256, 7, 31337, 20000]
    const run = async (backend: WebglBackend): Promise<Float32Array[]> => {
      const table = t.tensor(weights, { shape: [rows, width] })
      const x = t.take(table, t.tensor(ids, { dtype: 'i32' }))
      const logits = t.matmul(x, table, { transposeY: true })
      const loss = t.crossEntropy(logits, t.tensor([5, 50256, 3, 1, 0, 9], { dtype: 'i32' }))
      const results = [x, logits, ...t.grad(loss, [table])]
      await realize(results, { backend, strict: true })
      return Promise.all(results.map(async (y) => (await y.data()) as Float32Array))
    }
    const want = await run(await make())
    const depths = await layersDuring(async () => {
      const got = await run(await make({ maxTextureSize: 256 }))
      // the same program but for where it reads: the same bits
      for (const [i, y] of got.entries()) expect(firstDifference(y, want[i]), `result ${i}`).toBe(-1)
    })
    // 804,112 texels in layers of 256 × 256
    expect(depths).toContain(13)
    const [x, logits] = want
    ids.forEach((row, i) => {
      expect(x.subarray(i * width, (i + 1) * width)).toEqual(weights.subarray(row * width, (row + 1) * width))
      for (const column of [0, 31337, 50256]) {
        let sum = 0
        for (let c = 0; c < width; c++) sum += weights[row * width + c] * weights[column * width + c]
        expect(Math.abs(logits[i * rows + column] - sum)).toBeLessThan(1e-4)
      }
    })
  })
})

describe('textures and programs', () => {
  it('are reused: the same counts after many runs', async () => {
    const backend = await make({ maxTextureSize: 4 })
    const [x, w] = [normal([20, 24]), normal([24, 24], 2)]
    const step = async (): Promise<void> => {
      const y = t.softmax(t.matmul(x, w))
      const results = [y, ...t.grad(t.sum(t.mul(y, y)), [x, w])]
      await realize(results, { backend })
      for (const r of results) t.release(r)
    }
    for (let i = 0; i < 3; i++) await step()
    const { counts, bytesInUse } = backend
    for (let i = 0; i < 50; i++) await step()
    expect(backend.counts).toEqual(counts)
    expect(backend.bytesInUse).toBe(bytesInUse)
  })
  it('waste less than an eighth of what several layers hold', async () => {
    const backend = await make({ maxTextureSize: 64 })
    for (const n of [16385, 20000, 40000, 99999, 262145]) {
      const before = backend.bytesInUse
      const buffer = backend.upload(new Float32Array(n), [n], 'f32')
      expect((backend.bytesInUse - before) / (4 * n)).toBeLessThan(1 + 1 / 8)
      backend.free(buffer)
    }
  })
  it('have no layers where one texture is enough', async () => {
    const backend = await make()
    const sources = vi.spyOn(WebGL2RenderingContext.prototype, 'shaderSource')
    const depths = await layersDuring(async () => {
      await realize([t.softmax(t.matmul(normal([20, 24]), normal([24, 24])))], { backend, strict: true })
    })
    expect(depths).toEqual([])
    expect(sources.mock.calls.length).toBeGreaterThan(2)
    for (const [, source] of sources.mock.calls) expect(source).not.toMatch(/Array|base_/)
  })
})

describe('no room', () => {
  const large = (): Tensor => t.exp(t.broadcastTo(t.tensor([1]), [2 ** 11, 2 ** 11]))
  it('for a texture: what waits for reuse gives way, then a typed error', async () => {
    const backend = await make()
    await realize([t.add(normal([256, 256]), normal([256, 256]))], { backend })
    expect(backend.counts.pooled).toBeGreaterThan(1)
    const deleted = vi.spyOn(WebGL2RenderingContext.prototype, 'deleteTexture')
    const get = vi.spyOn(WebGL2RenderingContext.prototype, 'getError')
    get.mockReturnValueOnce(WebGL2RenderingContext.OUT_OF_MEMORY)
    const y = large()
    await realize([y], { backend, strict: true })
    // the texture that was not given, and at least one of the pool
    expect(deleted.mock.calls.length).toBeGreaterThan(1)
    const { live } = backend.counts
    get.mockReturnValue(WebGL2RenderingContext.OUT_OF_MEMORY)
    await expect(realize([large()], { backend })).rejects.toThrow(BackendError)
    await expect(realize([large()], { backend })).rejects.toThrow(/out of memory; .*smaller parts/)
    get.mockRestore()
    expect(backend.counts.live).toBe(live)
  })
  it('where the GPU finds out when it draws: nothing is handed over', async () => {
    const backend = await make()
    const get = vi.spyOn(WebGL2RenderingContext.prototype, 'getError')
    const draw = vi.spyOn(WebGL2RenderingContext.prototype, 'drawArrays').mockImplementation(() => {
      get.mockReturnValueOnce(WebGL2RenderingContext.OUT_OF_MEMORY)
    })
    const x = t.tensor(new Float32Array(2 ** 22))
    await expect(realize([t.neg(x)], { backend })).rejects.toThrow(/out of memory/)
    draw.mockRestore()
    get.mockRestore()
    const before = backend.counts.live
    const y = t.neg(x)
    await realize([y], { backend })
    t.release(y)
    expect(backend.counts.live).toBe(before)
  })
  it('where the browser takes the context away instead', async () => {
    const backend = await make()
    vi.spyOn(WebGL2RenderingContext.prototype, 'checkFramebufferStatus').mockReturnValue(
      WebGL2RenderingContext.FRAMEBUFFER_UNSUPPORTED,
    )
    await expect(realize([large()], { backend })).rejects.toThrow(/out of memory/)
  })
  it('for a GiB at once in software rendering: refused with the reason before it ends WebGL for the page', async () => {
    const backend = await make()
    if (!/SwiftShader/.test(backend.renderer)) return
    const y = t.sum(t.exp(t.broadcastTo(t.tensor([1]), [2 ** 28 + 1])))
    await expect(realize([y], { backend, strict: true })).rejects.toThrow(
      /268435457 elements takes a texture of \d+ bytes, above the 1073741823 .*split it/,
    )
    const z = t.sum(t.broadcastTo(t.tensor([1]), [2 ** 31]))
    await expect(realize([z], { backend, strict: true })).rejects.toThrow(
      /2147483648 elements is above the 2147352576/,
    )
  })
})
