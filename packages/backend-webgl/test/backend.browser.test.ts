// What the conformance cases do not ask: limits, refusals, memory over many runs, programs over many lengths.
import { runConformance } from '@heed/conformance'
import { linear } from '@heed/nn'
import * as t from '@heed/tensor'
import { BackendError, realize, type Tensor, UnsupportedOpError, ValueError } from '@heed/tensor'
import { adamW, train } from '@heed/train'
import * as tf from '@tensorflow/tfjs-core'
import { describe, expect, it, vi } from 'vitest'
import { type WebglBackend, type WebglOptions, webgl } from '../src/index.js'
import { make, normal as numbers, values } from './support.js'

const normal = (...shape: number[]): Tensor => numbers(shape)
const worst = (got: ArrayLike<number>, want: ArrayLike<number>): number => {
  let max = 0
  for (let i = 0; i < want.length; i++) max = Math.max(max, Math.abs(got[i] - want[i]))
  return max
}
/** The same graph in float64. */
async function oracle(build: () => Tensor): Promise<Float64Array> {
  const backend = t.reference({ precision: 'f64' })
  const y = build()
  await realize([y], { backend })
  return (await y.data()) as Float64Array
}

describe('what runs', () => {
  it('has a kernel for every primitive: no case of any op runs on the reference kernels', async () => {
    // the first three cases of every op: the other test runs them all, and asks for numbers
    const seen = new Map<string, number>()
    const rows = await runConformance(await make(), {
      only(name) {
        const op = name.slice(0, name.indexOf('/'))
        seen.set(op, (seen.get(op) ?? 0) + 1)
        return (seen.get(op) as number) <= 3
      },
    })
    expect(seen.size).toBeGreaterThan(60)
    expect(rows.filter((r) => r.how === 'reference').map((r) => `${r.name} ${r.direction}`)).toEqual([])
    const fused = new Set(rows.filter((r) => r.how === 'fused').map((r) => `${r.op} ${r.direction}`))
    for (const op of ['attention', 'softmax', 'logSoftmax', 'layerNorm', 'rmsNorm']) {
      expect(fused, op).toContain(`${op} forward`)
      expect(fused, op).toContain(`${op} gradient`)
    }
    for (const op of ['quantizedLinear', 'dequantize']) expect(fused, op).toContain(`${op} forward`)
    for (const op of ['linear', 'rope', 'gelu', 'conv2d']) {
      expect(fused, op).toContain(`${op} forward`)
      expect(fused, op).toContain(`${op} gradient`)
    }
  })
  it('says what renders', async () => {
    expect((await make()).renderer).not.toBe('')
  })
  it('settles when the GPU is done', async () => {
    const backend = await make()
    const x = normal(256, 256)
    await realize([t.matmul(x, x)], { backend })
    await expect(backend.settled()).resolves.toBeUndefined()
    backend.dispose()
    await expect(backend.settled()).rejects.toThrow(/was disposed/)
  })
  it('reads views without a copy: turned, repeated and sliced operands', async () => {
    const backend = await make()
    const x = normal(6, 8)
    const y = t.add(t.transpose(x), t.slice(normal(1, 12), [null, [null, null, -2]]))
    const report = await realize([y], { backend })
    expect(report.copies).toBe(0)
    expect(report.steps).toBe(1)
  })
})

it('reads nothing back within a run: not in a step of training, a loop or a sort', async () => {
  const backend = await make()
  const [x, w, ids] = [normal(1, 2, 7, 4), normal(4, 4), t.tensor([3, 0, 3], { dtype: 'i32' })]
  const { z } = t.attention(x, x, x, { causal: true })
  const { ys } = t.scan(([c], [row]) => ({ carry: [t.add(c, row)], ys: [t.mul(c, row)] }), {
    init: [t.zeros([4])],
    xs: [t.softmax(t.matmul(t.reshape(z, [14, 4]), w))],
  })
  const loss = t.add(t.crossEntropy(t.take(ys[0], ids), ids), t.sum(t.layerNorm(z)))
  const results = [loss, ...t.grad(loss, [x, w]), t.sort(z, { axis: 2 }).indices, t.argMax(z, { axis: 2 })]
  const spies = (['readPixels', 'getBufferSubData', 'fenceSync', 'finish'] as const).map((name) =>
    vi.spyOn(WebGL2RenderingContext.prototype, name),
  )
  const asked = (): number[] => spies.map((spy) => spy.mock.calls.length)
  await realize(results, { backend, strict: true })
  expect(asked()).toEqual([0, 0, 0, 0])
  await loss.item()
  expect(asked()).toEqual([1, 1, 1, 0])
})

it.each([
  ['one row', [1, 50257], 1],
  ['rows', [3, 600], 1],
  ['columns', [600, 3], 0],
  ['short rows', [3, 7], 1],
  ['a row of one', [3, 1], 1],
  ['no rows', [0, 600], 1],
])('finds the first of the largest, or of what is no number: %s', async (_, shape, axis) => {
  const backend = await make()
  // every value many times; the view begins in the middle, and goes backwards
  const build = (nan: boolean) => {
    const spread = shape.map((d) => 2 * d)
    const x = Float32Array.from({ length: spread[0] * spread[1] }, (_, i) => (i * 7919) % 101)
    if (nan) x.fill(Number.NaN, x.length / 3, x.length / 2)
    return t.slice(
      t.tensor(x, { shape: spread }),
      shape.map((): [null, null, number] => [null, null, -2]),
    )
  }
  for (const f of [
    () => t.argMax(build(false), { axis }),
    () => t.argMax(build(true), { axis }),
    () => t.argMax(t.cast(build(false), 'i32'), { axis }),
  ]) {
    const y = f()
    await realize([y], { backend, strict: true })
    expect(Array.from(await y.data(), Number)).toEqual([...(await oracle(f))])
  }
})

describe('memory', () => {
  it('holds the same textures after 1,000 runs, forward and backward', async () => {
    const backend = await make()
    const [q, k, v, w] = [normal(1, 2, 7, 4), normal(1, 2, 7, 4), normal(1, 2, 7, 4), normal(4, 4)]
    const step = async (): Promise<void> => {
      const { z } = t.attention(q, k, v, { causal: true })
      const loss = t.sum(t.layerNorm(t.gelu(t.matmul(z, w))))
      const results = [loss, ...t.grad(loss, [q, k, v, w])]
      await realize(results, { backend })
      for (const r of results) t.release(r)
    }
    for (let i = 0; i < 3; i++) await step()
    const before = backend.counts
    const bytes = backend.bytesInUse
    for (let i = 0; i < 1000; i++) await step()
    expect(backend.counts).toEqual(before)
    expect(backend.bytesInUse).toBe(bytes)
  })
  it('frees a loop, a sort and a run that fails', async () => {
    const backend = await make()
    const x = normal(9, 3)
    const run = async (): Promise<void> => {
      const { carry, ys } = t.scan(([c], [row]) => ({ carry: [t.add(c, row)], ys: [t.mul(c, row)] }), {
        init: [t.zeros([3])],
        xs: [x],
      })
      const results = [...carry, ...ys, ...Object.values(t.sort(x, { axis: 0 }))]
      await realize(results, { backend })
      for (const r of results) t.release(r)
    }
    // an array that is read again stays on the GPU
    for (let i = 0; i < 3; i++) await run()
    const before = backend.counts
    for (let i = 0; i < 20; i++) await run()
    expect(backend.counts).toEqual(before)

    // its plan, which holds the number 3, is there before
    const once = t.exp(t.mul(x, 3))
    await realize([once], { backend })
    t.release(once)
    const { live } = backend.counts
    const y = t.exp(t.mul(x, 3))
    const draws = vi.spyOn(WebGL2RenderingContext.prototype, 'drawArrays').mockImplementation(() => {
      throw new Error('out of order')
    })
    await expect(realize([y], { backend })).rejects.toThrow('out of order')
    draws.mockRestore()
    expect(backend.counts.live).toBe(live)
    await realize([y], { backend })
    t.release(y)
    expect(backend.counts.live).toBe(live)
  })
  it('frees a loop that fails, at whichever draw', async () => {
    const backend = await make()
    const x = normal(20, 3)
    const build = (): Tensor[] => {
      const { carry, ys } = t.scan(
        ([c], [row]) => ({ carry: [t.tanh(t.add(c, row))], ys: [t.mul(c, row)] }),
        {
          init: [t.zeros([3])],
          xs: [x],
        },
      )
      return [...carry, ...ys, ...t.grad(t.sum(ys[0]), [x])]
    }
    const original = WebGL2RenderingContext.prototype.drawArrays
    let draws = 0
    let last = Infinity
    vi.spyOn(WebGL2RenderingContext.prototype, 'drawArrays').mockImplementation(function (
      this: WebGL2RenderingContext,
      ...args
    ) {
      if (draws++ === last) throw new Error('out of order')
      original.apply(this, args)
    })
    // an array that is read again stays on the GPU
    for (let i = 0; i < 3; i++) {
      draws = 0
      const results = build()
      await realize(results, { backend })
      for (const r of results) t.release(r)
    }
    const all = draws
    const { live } = backend.counts
    expect(all).toBeGreaterThan(60)
    for (last = 0; last < all; last++) {
      draws = 0
      await expect(realize(build(), { backend })).rejects.toThrow('out of order')
      expect(backend.counts.live, `after draw ${last}`).toBe(live)
    }
  })
  it('keeps textures of the sizes that were used last for reuse', async () => {
    const backend = await make()
    const made = vi.spyOn(WebGL2RenderingContext.prototype, 'createTexture')
    // 16 MB and some each; 256 MB are kept
    const use = (i: number): number => {
      made.mockClear()
      const size = 2 ** 22 + (i + 1) * 2 ** 13
      backend.free(backend.upload(new Float32Array(size), [size], 'f32'))
      return made.mock.calls.length
    }
    for (let i = 0; i < 20; i++) expect(use(i)).toBe(1)
    expect(backend.counts.pooled).toBeLessThan(17)
    expect([use(19), use(18), use(10), use(0), use(19)]).toEqual([0, 0, 0, 1, 0])
  })
  it('holds the same textures through 1,000 steps of training', async () => {
    const backend = await make()
    t.setBackend(backend)
    try {
      const seen: (typeof backend.counts & { bytes: number })[] = []
      const { history } = await train(linear({ in: 4, out: 3 }), {
        batches: () => ({
          input: normal(5, 4),
          target: [0, 1, 2, 1, 0],
        }),
        loss: t.crossEntropy,
        optimizer: adamW({ lr: 1e-2 }),
        steps: 1000,
        clip: 1,
        progress: false,
        onStep: () => void seen.push({ ...backend.counts, bytes: backend.bytesInUse }),
      })
      expect(history[999].loss).toBeLessThan(history[0].loss)
      expect(seen).toHaveLength(1000)
      for (const counts of seen.slice(10)) expect(counts).toEqual(seen[9])
    } finally {
      t.setBackend(null)
    }
  })
  it('holds the same textures after 1,000 runs that fail, in every way that they can', async () => {
    const backend = await flat()
    const x = normal(9, 9)
    const large = t.tensor(values(1100))
    const original = WebGL2RenderingContext.prototype.drawArrays
    const fail = async (): Promise<void> => {
      // refused when it is compiled
      await expect(realize([t.mul(large, 2)], { backend, strict: true })).rejects.toThrow(UnsupportedOpError)
      // an id that does not exist, found before anything runs
      const ids = t.tensor([9], { dtype: 'i32' })
      await expect(realize([t.take(x, ids)], { backend })).rejects.toThrow(/id 9 is outside/)
      // between the draws of a run that was given its input
      const given = t.add(x, 1)
      await realize([given], { backend })
      let draws = 0
      const spy = vi.spyOn(WebGL2RenderingContext.prototype, 'drawArrays')
      spy.mockImplementation(function (this: WebGL2RenderingContext, ...args) {
        if (++draws === 2) throw new Error('out of order')
        original.apply(this, args)
      })
      const y = t.exp(t.softmax(t.matmul(given, given)))
      await expect(realize([y], { backend, donate: [given] })).rejects.toThrow('out of order')
      spy.mockRestore()
      expect(draws).toBe(2)
      // what a failing run was given stays whole
      await realize([y], { backend, donate: [given] })
      await expect(given.data()).rejects.toThrow(/was donated/)
      await expect(realize([t.neg(given)], { backend })).rejects.toThrow(ValueError)
      // released while its numbers are on their way
      const reading = y.data()
      t.release(y)
      await expect(reading).resolves.toHaveLength(81)
    }
    for (let i = 0; i < 3; i++) await fail()
    const before = { ...backend.counts, bytes: backend.bytesInUse }
    for (let i = 0; i < 1000; i++) await fail()
    expect({ ...backend.counts, bytes: backend.bytesInUse }).toEqual(before)
  })
  it('gives every texture, buffer and program back when it is disposed', async () => {
    const made = { createTexture: 0, createFramebuffer: 0, createProgram: 0, createShader: 0 }
    const gone = { deleteTexture: 0, deleteFramebuffer: 0, deleteProgram: 0, deleteShader: 0 }
    for (const [table, names] of [
      [made, Object.keys(made)],
      [gone, Object.keys(gone)],
    ] as const)
      for (const name of names as (keyof WebGL2RenderingContext)[]) {
        const original = WebGL2RenderingContext.prototype[name] as unknown as (...args: unknown[]) => unknown
        vi.spyOn(WebGL2RenderingContext.prototype, name as 'createTexture').mockImplementation(function (
          this: WebGL2RenderingContext,
          ...args: unknown[]
        ) {
          if (args[0] !== null) table[name as keyof typeof table]++
          return original.apply(this, args) as WebGLTexture
        })
      }
    const backend = await webgl()
    const x = normal(9, 9)
    const results = [t.softmax(t.matmul(x, x)), ...Object.values(t.sort(x, { axis: 0 }))]
    await realize(results, { backend })
    expect(made.createTexture).toBeGreaterThan(5)
    backend.dispose()
    backend.dispose()
    expect(Object.values(gone)).toEqual(Object.values(made))
    expect(backend.counts).toEqual({ live: 0, pooled: 0, programs: 0 })
    expect(backend.bytesInUse).toBe(0)
  })
  it('of two backends at once is apart', async () => {
    const [a, b] = [await make(), await make()]
    const x = normal(8, 8)
    const run = async (backend: WebglBackend): Promise<Tensor> => {
      const y = t.softmax(t.matmul(x, x))
      await realize([y], { backend, strict: true })
      return y
    }
    const [first, second] = [await run(a), await run(b)]
    const before = { ...b.counts }
    // from one to the other: over the host
    const both = t.sub(first, second)
    await realize([both], { backend: b })
    expect(worst((await both.data()) as Float32Array, new Float32Array(64))).toBe(0)
    t.release(both)
    a.dispose()
    await expect(first.data()).rejects.toThrow(/was disposed/)
    expect(await second.data()).toHaveLength(64)
    const again = await run(b)
    expect(await again.data()).toEqual(await second.data())
    t.release(again)
    expect(b.counts.live).toBe(before.live)
  })
})

describe('programs', () => {
  it('are those of a family, not of a length', async () => {
    const backend = await make()
    const run = async (T: number): Promise<void> => {
      const x = normal(1, 2, T, 8)
      const { z } = t.attention(x, x, x, { causal: true, window: [3, 0] })
      const y = t.softmax(t.layerNorm(t.reshape(z, [2, T, 8])))
      await realize([y, ...t.grad(t.sum(t.mul(y, y)), [x])], { backend })
    }
    // one, few, and lengths that four divides or not have programs of their own
    for (const T of [1, 5, 8, 11]) await run(T)
    const { programs } = backend.counts
    for (const T of [2, 3, 6, 7, 12, 13, 16, 30, 37, 64]) await run(T)
    expect(backend.counts.programs).toBe(programs)
  })
})

/** On a GPU without layers: an array has at most 1024 elements. */
async function flat(): Promise<WebglBackend> {
  const original = WebGL2RenderingContext.prototype.getParameter
  const spy = vi.spyOn(WebGL2RenderingContext.prototype, 'getParameter').mockImplementation(function (
    this: WebGL2RenderingContext,
    name: number,
  ) {
    return name === this.MAX_ARRAY_TEXTURE_LAYERS ? 1 : original.call(this, name)
  })
  const backend = await make({ maxTextureSize: 16 })
  spy.mockRestore()
  return backend
}

describe('limits', () => {
  it('runs an embedding of 50,257 × 768 where textures end at 4096', async () => {
    const backend = await make({ maxTextureSize: 4096 })
    const [rows, width] = [50257, 768]
    const table = t.tensor(
      Float32Array.from({ length: rows * width }, (_, i) => ((i * 7919) % 2003) / 1000 - 1),
      { shape: [rows, width] },
    )
    const at = (row: number, column: number): number =>
      Math.fround((((row * width + column) * 7919) % 2003) / 1000 - 1)
    const ids = [0, 31337, 50256]
    const x = t.take(table, t.tensor(ids, { dtype: 'i32' }))
    const logits = t.matmul(t.slice(x, [[1, 2]]), table, { transposeY: true })
    const report = await realize([x, logits], { backend, strict: true })
    expect(report.segments).toBe(1)
    const got = (await x.data()) as Float32Array
    ids.forEach((row, i) => {
      for (const c of [0, 1, 767]) expect(got[i * width + c]).toBe(at(row, c))
    })
    const scores = (await logits.data()) as Float32Array
    for (const column of [0, 31337, 50256]) {
      let want = 0
      for (let c = 0; c < width; c++) want += at(ids[1], c) * at(column, c)
      expect(Math.abs(scores[column] - want)).toBeLessThan(1e-3)
    }
    t.release(table)
  })
  it('refuses what is above them with the reason, runs it on the reference kernels and says so', async () => {
    const backend = await flat()
    const x = t.tensor(values(1100))
    const y = t.mul(x, 2)
    await expect(realize([y], { backend, strict: true })).rejects.toThrow(UnsupportedOpError)
    await expect(realize([y], { backend, strict: true })).rejects.toThrow(
      /1100 elements is above the 1024 .*split it/,
    )
    const report = await realize([y], { backend })
    expect(report.ran).toEqual([{ op: 'mul', how: 'reference', count: 1 }])
    expect(
      worst(
        (await y.data()) as Float32Array,
        values(1100).map((v) => v * 2),
      ),
    ).toBe(0)
    // what only moves data does not go to the GPU either, also beside what does
    const [turned, some] = [t.transpose(t.reshape(x, [22, 50])), t.exp(t.slice(x, [[1000, 1004]]))]
    await realize([turned, some], { backend })
    expect(((await turned.data()) as Float32Array)[1]).toBe(values(1100)[50])
    expect(((await some.data()) as Float32Array)[0]).toBeCloseTo(Math.exp(values(1100)[1000]), 5)
  })
  it('runs a loop elsewhere whole, when its body needs what is above them', async () => {
    const backend = await flat()
    const build = (): Tensor =>
      t.scan(
        ([c], [x]) => {
          const outer = t.matmul(t.reshape(t.mul(c, x), [40, 1]), t.reshape(x, [1, 40]))
          return { carry: [t.sum(outer, { axes: 0 })], ys: [] }
        },
        { init: [normal(40)], xs: [normal(2, 40)] },
      ).carry[0]
    await expect(realize([build()], { backend, strict: true })).rejects.toThrow(
      /scan: its body has matmul: an array of 1600 elements/,
    )
    const y = build()
    const report = await realize([y], { backend })
    expect(report.ran).toContainEqual({ op: 'scan', how: 'reference', count: 1 })
    expect(worst((await y.data()) as Float32Array, await oracle(build))).toBeLessThan(1e-4)
    const long = t.sort(normal(600), { axis: 0 })
    await expect(realize([long.values], { backend })).resolves.toMatchObject({ segments: 1 })
  })
  it('takes ranks that no GLSL array has', async () => {
    const backend = await make()
    const shape = [2, 1, 3, 2, 1, 2, 2, 3]
    const perm = [7, 2, 0, 5, 1, 3, 6, 4]
    const build = (): Tensor => t.exp(t.transpose(normal(...shape), perm))
    const y = build()
    await realize([y], { backend, strict: true })
    expect(worst((await y.data()) as Float32Array, await oracle(build))).toBeLessThan(1e-6)
  })
  it('keeps whole numbers of 32 bits', async () => {
    const backend = await make()
    const a = t.tensor([2 ** 31 - 1, -(2 ** 31), 16777217], { dtype: 'i32' })
    const y = t.add(a, t.tensor([1, -1, 2], { dtype: 'i32' }))
    await realize([y], { backend, strict: true })
    expect([...((await y.data()) as Int32Array)]).toEqual([-(2 ** 31), 2 ** 31 - 1, 16777219])
  })
})

describe('precision', () => {
  it('half: when asked, named, and within 11 bits', async () => {
    const backend = await make({ precision: 'f16' })
    expect(backend.precision).toBe('f16')
    expect(backend.name).toBe('webgl (f16)')
    const build = (): Tensor => {
      const q = normal(1, 2, 9, 8)
      return t.attention(q, q, q, { causal: true }).z
    }
    const z = build()
    const report = await realize([z], { backend, strict: true })
    expect(report.precision).toBe('f16')
    const error = worst((await z.data()) as Float32Array, await oracle(build))
    expect(error).toBeLessThan(2e-3)
    // it is half precision, not float32 under another name
    expect(error).toBeGreaterThan(1e-6)
  })
  it('float32 that a GPU lacks is refused, with what to do', async () => {
    const original = WebGL2RenderingContext.prototype.getExtension
    vi.spyOn(WebGL2RenderingContext.prototype, 'getExtension').mockImplementation(function (
      this: WebGL2RenderingContext,
      name: string,
    ) {
      if (name === 'EXT_color_buffer_float') return null
      if (name === 'EXT_color_buffer_half_float') return {}
      return (original as unknown as (name: string) => object | null).call(this, name)
    } as typeof original)
    vi.spyOn(WebGL2RenderingContext.prototype, 'getSupportedExtensions').mockReturnValue([
      'EXT_color_buffer_half_float',
    ])
    await expect(webgl()).rejects.toThrow(BackendError)
    await expect(webgl()).rejects.toThrow(/EXT_color_buffer_float is missing.*precision: 'f16'/)
  })
  it('float32 that a GPU only promises is refused', async () => {
    vi.spyOn(WebGL2RenderingContext.prototype, 'getBufferSubData').mockImplementation(() => undefined)
    await expect(webgl()).rejects.toThrow(/keeps fewer bits/)
  })
})

describe('bad input', () => {
  it('unknown options and values', async () => {
    await expect(webgl({ presicion: 'f16' } as WebglOptions)).rejects.toThrow(ValueError)
    await expect(webgl('f16' as WebglOptions)).rejects.toThrow(
      "webgl: option 'f16' is unknown; use one of precision, maxTextureSize",
    )
    await expect(webgl(null as unknown as WebglOptions)).rejects.toThrow(/option 'null' is unknown/)
    await expect(webgl({ precision: 'f64' } as unknown as WebglOptions)).rejects.toThrow(/use 'f32' or 'f16'/)
    await expect(webgl({ maxTextureSize: 0 })).rejects.toThrow(/at least 4/)
  })
  it('a browser that has WebGL switched off', async () => {
    const version = tf.env().getNumber('WEBGL_VERSION')
    tf.env().set('WEBGL_VERSION', 0)
    try {
      await expect(webgl()).rejects.toThrow(/no WebGL2 here/)
    } finally {
      tf.env().set('WEBGL_VERSION', version)
    }
  })
  it('a context that cannot be made', async () => {
    vi.spyOn(WebGL2RenderingContext.prototype, 'createFramebuffer').mockImplementation(() => {
      throw new Error('too many contexts')
    })
    await expect(webgl()).rejects.toThrow(BackendError)
    await expect(webgl()).rejects.toThrow(/cannot open a WebGL2 context: too many contexts/)
  })
  it('a disposed backend', async () => {
    const backend = await make()
    backend.dispose()
    await expect(realize([t.add(normal(3), 1)], { backend })).rejects.toThrow(/was disposed/)
  })
})

describe('quantised weights', () => {
  const formats = ['int8', 'q4', 'f16'] as const
  it.each(formats)('%s: rows and columns that four divides and others, one row in parts', async (format) => {
    const backend = await make()
    for (const [M, K, N] of [
      [1, 768, 64],
      [1, 70, 37],
      [3, 33, 50],
      [4, 96, 64],
      [9, 70, 37],
    ]) {
      const build = (): Tensor => {
        // halves of a step, both ways: ties go to the even integer
        const x = t.tensor(
          Float32Array.from({ length: M * K }, (_, i) =>
            i % K === 0 ? 1.75 : ((i * 37) % 4001) / 4096 - 0.5 + 2 ** -13,
          ),
          { shape: [M, K] },
        )
        // some so small that half precision has them as subnormal numbers
        const w = values(K * N, 0.7).map((v, i) => (i % 5 === 0 ? v * 2 ** -15 : v))
        const { weight } = t.quantizeWeight(w, [K, N], { format })
        return t.linear(x, weight, normal(N))
      }
      const y = build()
      const report = await realize([y], { backend, strict: true })
      expect(report.inlined).toEqual([])
      // the sum of K terms below 1, and far less than what one integer more would be
      expect(worst((await y.data()) as Float32Array, await oracle(build)), `${M} × ${K} × ${N}`).toBeLessThan(
        2e-5,
      )
    }
  })
  it('activations that are no numbers spoil their row alone', async () => {
    const backend = await make()
    const x = normal(5, 64).data()
    const given = ((await x) as Float32Array).slice()
    given[64] = Number.POSITIVE_INFINITY
    given[3 * 64 + 40] = Number.NaN
    for (const format of ['int8', 'q4'] as const) {
      const { weight } = t.quantizeWeight(values(64 * 8), [64, 8], { format })
      const y = t.linear(t.tensor(given, { shape: [5, 64] }), weight)
      await realize([y], { backend, strict: true })
      const rows = await y.data()
      expect([0, 1, 2, 3, 4].map((i) => Number.isNaN(rows[8 * i]))).toEqual([false, true, false, true, false])
    }
  })
})

describe('convolution', () => {
  it.each([
    ['over fours', [2, 8, 12, 12], [8, 8, 3, 3], { padding: 1 }],
    [
      'in groups, with strides',
      [1, 8, 11, 13],
      [12, 4, 3, 2],
      { groups: 2, stride: [2, 3], padding: [1, 0] },
    ],
    [
      'dilated, of every channel alone',
      [2, 4, 9, 10],
      [4, 1, 3, 3],
      { groups: 4, dilation: [2, 1], padding: 2 },
    ],
    ['of one element', [2, 8, 6, 6], [4, 8, 1, 1], {}],
    ['of one element in steps', [1, 8, 7, 7], [4, 8, 1, 1], { stride: 2 }],
  ] as const)('%s, with gradients', async (_, image, kernel, options) => {
    const backend = await make()
    const build = (): Tensor[] => {
      const [x, w, b] = [
        t.transpose(normal(image[1], image[0], image[2], image[3]), [1, 0, 2, 3]),
        normal(...kernel),
        normal(kernel[0]),
      ]
      const y = t.conv2d(x, w, b, options as t.ConvOptions)
      const seed = t.tensor(values(y.size, 3), { shape: y.shape })
      return [y, ...t.grad(t.sum(t.mul(y, seed)), [x, w, b])]
    }
    const got = build()
    const report = await realize(got, { backend, strict: true })
    expect(report.inlined).toEqual([])
    const want = build()
    await realize(want, { backend: t.reference({ precision: 'f64' }) })
    for (const [i, y] of got.entries())
      expect(
        worst((await y.data()) as Float32Array, (await want[i].data()) as Float64Array),
        `${i}`,
      ).toBeLessThan(5e-5)
  })
})

describe('adding by index', () => {
  // more ids than are looked through one by one, many of them equal, some rows without any; rows of fours and others
  const ids = (...shape: number[]): Tensor =>
    t.tensor(
      Int32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => (i * i * 7) % 23),
      { shape },
    )
  const builds: readonly (readonly [string, () => Tensor])[] = [
    ['rows', () => t.takeAdd(normal(25, 12), ids(5, 9), normal(5, 9, 12), 0)],
    ['rows of odd width', () => t.takeAdd(normal(25, 5), ids(40), normal(40, 5), 0)],
    ['columns', () => t.takeAdd(normal(3, 25), ids(40), normal(3, 40), 1)],
    [
      'rows in the middle, of a table that is turned',
      () => t.takeAdd(t.transpose(normal(25, 3, 8), [1, 0, 2]), ids(37), normal(3, 37, 8), 1),
    ],
    [
      'rows to zeros',
      () => {
        const table = normal(25, 8)
        return t.grad(t.sum(t.mul(t.embedding(table, ids(64)), normal(64, 8))), [table])[0]
      },
    ],
    ['whole numbers', () => t.takeAdd(t.zeros([25, 4], 'i32'), ids(33), t.add(ids(33, 4), 2 ** 30), 0)],
    ['elements down', () => t.scatterAdd(normal(25, 3), ids(45, 3), normal(46, 4), { axis: 0 })],
    ['elements along', () => t.scatterAdd(normal(4, 25), ids(3, 45), normal(3, 45), { axis: 1 })],
    [
      'elements of views',
      () =>
        t.scatterAdd(t.transpose(normal(25, 3)), t.transpose(ids(45, 3)), t.transpose(normal(45, 3)), {
          axis: 1,
        }),
    ],
  ]
  it.each(builds)('%s', async (_, build) => {
    const backend = await make()
    const y = build()
    await realize([y], { backend, strict: true })
    expect(worst((await y.data()) as Float32Array, await oracle(build))).toBeLessThan(5e-6)
    // the order of a sum is that of the ids
    const again = build()
    await realize([again], { backend, strict: true })
    expect(await again.data()).toEqual(await y.data())
  })
  it("finds the rows of an embedding as large as GPT-2's at once", async () => {
    const backend = await make()
    const [rows, width, count] = [50257, 64, 512]
    const at = Array.from({ length: count }, (_, i) => ((i * 97) % 400 === 0 ? 50256 : (i * 7919) % rows))
    const dy = values(count * width)
    const y = t.takeAdd(
      t.zeros([rows, width]),
      t.tensor(at, { dtype: 'i32' }),
      t.tensor(dy, { shape: [count, width] }),
      0,
    )
    const start = performance.now()
    await realize([y], { backend, strict: true })
    const got = (await y.data()) as Float32Array
    // 1.6 · 10⁹ comparisons would take software rendering a quarter of a minute
    expect(performance.now() - start).toBeLessThan(5000)
    const want = new Float64Array(rows * width)
    at.forEach((row, j) => {
      for (let c = 0; c < width; c++) want[row * width + c] += dy[j * width + c]
    })
    expect(worst(got, want)).toBeLessThan(1e-6)
  })
})

describe('attention', () => {
  const inputs = (heads: number, kvHeads: number, queries: number, keys: number): Tensor[] => [
    normal(2, heads, queries, 8),
    normal(2, kvHeads, keys, 8),
    normal(2, kvHeads, keys, 8),
  ]
  /** z, log-sum-exp and every gradient, against float64; with the report of the run. */
  async function check(backend: WebglBackend, given: () => Tensor[], options: () => t.AttentionOptions) {
    const build = (): Tensor[] => {
      const [q, k, v] = given()
      const o = options()
      const { z, lse } = t.attention(q, k, v, o)
      const seed = t.tensor(values(z.size, 3), { shape: z.shape })
      const extra = [o.bias, o.sink].filter((x) => x !== undefined)
      return [z, lse, ...t.grad(t.sum(t.mul(z, seed)), [q, k, v, ...extra])]
    }
    const got = build()
    const report = await realize(got, { backend, strict: true })
    const want = build()
    await realize(want, { backend: t.reference({ precision: 'f64' }) })
    for (const [i, y] of got.entries())
      expect(
        worst(
          ((await y.data()) as Float32Array).map((x) => Math.max(x, -1e4)),
          ((await want[i].data()) as Float64Array).map((x) => Math.max(x, -1e4)),
        ),
        `result ${i}`,
      ).toBeLessThan(1e-5)
    return report
  }
  const lengths = [
    // four divides the keys or not, rows or not; scores of 2 · 4 · 40 · 48 do not fit a texture of 32 × 32 texels
    [40, 48],
    [37, 45],
  ]
  const variants: readonly (readonly [string, (Q: number, K: number) => t.AttentionOptions])[] = [
    ['everything', () => ({})],
    ['causal', () => ({ causal: true })],
    ['causal with an offset', (Q, K) => ({ causal: true, offset: K - Q })],
    ['causal where the first rows see nothing', () => ({ causal: true, offset: -9 })],
    ['a far offset', () => ({ causal: true, offset: 2 ** 30 })],
    ['a far offset the other way', () => ({ window: [3, 5], offset: -(2 ** 30) })],
    ['a window', () => ({ causal: true, window: [9, 0], offset: 4 })],
    ['a two-sided window', () => ({ window: [5, 6] })],
    ['a window with sinks', () => ({ causal: true, window: [7, 0], sinkTokens: 3, offset: 5 })],
    ['blocks', () => ({ block: 6, back: 1 })],
    ['causal blocks', () => ({ causal: true, block: 5, back: 2, offset: 3 })],
    ['blocks before the first key', () => ({ block: 7, back: 1, offset: -20 })],
    ['huge blocks', () => ({ block: 2 ** 31 - 1, back: 2 ** 31 - 1 })],
    [
      'softcap, bias by key, sink logits',
      (_, K) => ({ causal: true, softcap: 2, bias: normal(1, K), sink: normal(4) }),
    ],
    [
      'bias by query, mask by query',
      (Q, K) => ({
        causal: true,
        bias: normal(4, Q, 1),
        mask: t.tensor(
          values(Q * K).map((x) => (x > -0.7 ? 1 : 0)),
          { shape: [Q, K], dtype: 'bool' },
        ),
      }),
    ],
  ]
  describe.each(lengths)('of %i queries over %i keys', (Q, K) => {
    it.each(variants)('%s: whole, and some rows at a time', async (_, options) => {
      const whole = await make()
      const parts = await make({ maxTextureSize: 32 })
      for (const kvHeads of [4, 2]) {
        const given = (): Tensor[] => inputs(4, kvHeads, Q, K)
        const one = await check(whole, given, () => options(Q, K))
        const many = await check(parts, given, () => options(Q, K))
        expect(many.steps).toBeGreaterThan(one.steps)
      }
    })
  })
  it('does half the work where half is hidden: what nobody sees is not read', async () => {
    const backend = await make()
    // the pattern of what is hidden is 0, and 0 · ∞ would be no number
    const T = 64
    const late = (x: Tensor): Tensor => {
      const rest = t.add(t.zeros([1, 1, T / 2, 8]), Number.POSITIVE_INFINITY)
      return t.concat([t.slice(x, [null, null, [0, T / 2]]), rest], 2)
    }
    const x = normal(1, 1, T, 8)
    const { z } = t.attention(x, x, late(x), { causal: true })
    await realize([z], { backend, strict: true })
    const got = (await z.data()) as Float32Array
    expect(got.slice(0, (T / 2) * 8).every(Number.isFinite)).toBe(true)
    expect(got.slice((T / 2) * 8).some(Number.isFinite)).toBe(false)
  })
  it('holds at most some scores at once, forward and backward', async () => {
    const backend = await make()
    const [heads, T] = [5, 2048]
    const x = normal(1, heads, T, 4)
    const { z } = t.attention(x, x, x, { causal: true })
    const forward = await realize([z], { backend, strict: true })
    // 2²⁴ scores are 64 MB; all of them were 80. Those in work: products by row, in order, and e^score
    expect(forward.arenaBytes).toBeLessThan(3 * 2 ** 26)
    const wider = t.attention(
      normal(1, 3 * heads, T, 4),
      normal(1, 3 * heads, T, 4),
      normal(1, 3 * heads, T, 4),
    )
    const threefold = await realize([wider.z], { backend, strict: true })
    expect(threefold.arenaBytes / forward.arenaBytes).toBeLessThan(1.2)
    const [dx] = t.grad(t.sum(t.mul(z, z)), [x])
    const backward = await realize([dx], { backend, strict: true })
    expect(backward.arenaBytes).toBeLessThan(5 * 2 ** 26)
    const small = await oracle(() => {
      const y = normal(1, heads, T, 4)
      return t.slice(
        t.attention(t.slice(y, [null, null, [T - 2, T]]), y, y, { causal: true, offset: T - 2 }).z,
        [null],
      )
    })
    const rows = (await z.data()) as Float32Array
    const lastRows = Array.from({ length: heads }, (_, h) => [
      ...rows.subarray((h * T + T - 2) * 4, (h + 1) * T * 4),
    ])
    expect(worst(lastRows.flat(), small)).toBeLessThan(1e-5)
  })
})

describe('products', () => {
  async function expectNear(build: () => Tensor[], limit: number): Promise<void> {
    const [got, want] = [build(), build()]
    await realize(got, { backend: await make(), strict: true })
    await realize(want, { backend: t.reference({ precision: 'f64' }) })
    for (const [i, y] of got.entries())
      expect(
        worst((await y.data()) as Float32Array, (await want[i].data()) as Float64Array),
        `${i}`,
      ).toBeLessThan(limit)
  }
  it.each([
    [1, 512, 8],
    [1, 770, 12],
    [2, 3001, 5],
    [3, 1024, 64],
  ])('long sums of few results, in parts: %i × %i × %i', async (M, K, N) => {
    const build = (): Tensor[] => [
      t.matmul(normal(M, K), normal(K, N)),
      t.matmul(normal(M, K), normal(N, K), { transposeY: true }),
      t.matmul(normal(2, M, K), normal(1, K, N)),
      t.linear(normal(M, K), normal(K, N), normal(N)),
    ]
    await expectNear(build, K * 2 ** -22) // a product of a row with itself is K/2
  })
  // sizes around the tile of four rows by four columns, in every layout that a texel of four can have
  it.each([
    [4, 8, 4],
    [5, 8, 8],
    [7, 12, 4],
    [8, 9, 4],
    [13, 32, 20],
    [16, 33, 12],
    [1, 16, 4099],
    [2, 16, 9],
    [3, 8, 5],
    [5, 12, 7],
    [9, 13, 6],
    [12, 20, 3],
  ])('%i × %i × %i, plain, turned left, turned right, batches, with a bias, parts', async (M, K, N) => {
    const build = (): Tensor[] => [
      t.matmul(normal(M, K), normal(K, N)),
      t.matmul(normal(K, M), normal(K, N), { transposeX: true }),
      t.matmul(normal(M, K), normal(N, K), { transposeY: true }),
      t.matmul(normal(K, M), normal(N, K), { transposeX: true, transposeY: true }),
      t.matmul(normal(3, M, K), normal(K, N)),
      t.matmul(normal(3, K, M), normal(1, K, N), { transposeX: true }),
      t.linear(normal(M, K), normal(K, N), normal(N)),
      t.linear(normal(M, K), t.transpose(normal(N, K)), normal(N)),
      t.matmul(t.slice(normal(M, K + 3), [null, [1, K + 1]]), t.slice(normal(K, N + 5), [null, [3, N + 3]])),
      t.matmul(t.slice(normal(M, K + 4), [null, [4]]), t.slice(normal(K, N + 2), [null, [2]])),
    ]
    await expectNear(build, 2e-5)
  })
})
