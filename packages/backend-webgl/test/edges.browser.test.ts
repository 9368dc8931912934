// Corners that the conformance cases do not come to: long sums of few rows, views that begin between two texels, ids from the GPU
// that fit no table, textures beyond what is kept for reuse.
import * as t from '@heed/tensor'
import { BackendError, realize, type Tensor, UnsupportedOpError } from '@heed/tensor'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { type WebglBackend, webgl } from '../src/index.js'
import { make, normal, values } from './support.js'

let backend: WebglBackend
beforeAll(async () => {
  backend = await webgl()
})
afterAll(() => backend?.dispose())
/** Worst errors over the largest value of each result, at least 1; −∞ and not-a-number must be where float64 has them. */
async function errors(build: () => readonly Tensor[], on: WebglBackend = backend): Promise<number[]> {
  const [got, want] = [build(), build()]
  await realize(got, { backend: on, strict: true })
  await realize(want, { backend: t.reference({ precision: 'f64' }) })
  return Promise.all(
    got.map(async (y, i) => {
      const [g, w] = [(await y.data()) as Float32Array, (await want[i].data()) as Float64Array]
      expect(g.length).toBe(w.length)
      const scale = w.reduce((m, v) => (Number.isFinite(v) ? Math.max(m, Math.abs(v)) : m), 1)
      return (
        w.reduce((m, v, k) => Math.max(m, Object.is(v, g[k]) || v === g[k] ? 0 : Math.abs(v - g[k])), 0) /
        scale
      )
    }),
  )
}
const expectSmall = (list: readonly number[], most: number): void =>
  list.forEach((error, i) => expect(error, `result ${i}`).toBeLessThan(most))
/** The numbers of a tensor, computed here. */
async function numbers(x: Tensor): Promise<number[]> {
  await realize([x], { backend, strict: true })
  return Array.from(await x.data(), Number)
}

describe('attention', () => {
  interface Shape {
    heads: number
    kvHeads?: number
    queries: number
    keys: number
    width?: number
  }
  /** Results and gradients by both of them. */
  const whole =
    ({ heads, kvHeads = heads, queries, keys, width = 4 }: Shape, options: () => t.AttentionOptions) =>
    () => {
      const [q, k, v] = [
        normal([1, heads, queries, width]),
        normal([1, kvHeads, keys, width], 2),
        normal([1, kvHeads, keys, width], 3),
      ]
      const o = options()
      const { z, lse } = t.attention(q, k, v, o)
      const extra = [o.bias, o.sink].filter((x) => x !== undefined)
      const gradients = t.grad([z, lse], [q, k, v, ...extra], {
        seed: [normal(z.shape, 4), normal(lse.shape, 5)],
      })
      return [z, lse, ...gradients]
    }
  it.each<[string, Shape, () => t.AttentionOptions]>([
    ['many keys', { heads: 2, kvHeads: 1, queries: 3, keys: 600 }, () => ({})],
    ['many keys of odd number', { heads: 2, kvHeads: 1, queries: 3, keys: 613 }, () => ({})],
    [
      'many keys in a window with sink tokens and sink logits',
      { heads: 4, kvHeads: 2, queries: 3, keys: 600 },
      () => ({ causal: true, offset: 590, window: [200, 0], sinkTokens: 5, sink: normal([4], 6) }),
    ],
    [
      'many queries that share odd keys',
      { heads: 2, kvHeads: 1, queries: 300, keys: 9 },
      () => ({ causal: true }),
    ],
    ['wide heads behind a mask', { heads: 1, queries: 9, keys: 9, width: 512 }, () => ({ causal: true })],
    [
      'one query of a cache of wide heads',
      { heads: 1, queries: 1, keys: 9, width: 512 },
      () => ({ causal: true, offset: 4 }),
    ],
    [
      'sink tokens behind a two-sided window',
      { heads: 2, queries: 9, keys: 12 },
      () => ({ window: [2, 1], sinkTokens: 6 }),
    ],
    [
      'sink logits far above the scores',
      { heads: 2, queries: 5, keys: 6 },
      () => ({ sink: t.tensor([200, -200]) }),
    ],
  ])('over %s', async (_, shape, options) => {
    expectSmall(await errors(whole(shape, options)), 1e-5)
  })
  it('hands on the cotangent of the log-sum-exp, some rows at a time', async () => {
    const parts = await make({ maxTextureSize: 32 })
    // 4,096 elements hold 24 queries' scores of 4 × 40
    expectSmall(
      await errors(
        whole({ heads: 4, queries: 39, keys: 40 }, () => ({ causal: true })),
        parts,
      ),
      1e-5,
    )
  })
  it('gives values no gradient where only the log-sum-exp is asked for', async () => {
    const [q, k, v] = [1, 2, 3].map((seed) => normal([1, 2, 5, 4], seed))
    const { lse } = t.attention(q, k, v)
    const [dv] = t.grad(t.sum(lse), [v], { unused: 'zero' })
    expect(await numbers(dv)).toEqual(new Array(40).fill(0))
  })
})

it('multiplies one row by odd columns, in parts and in batches', async () => {
  expectSmall(
    await errors(() => [
      t.matmul(normal([1, 770]), normal([770, 5], 2)),
      t.matmul(normal([1, 770]), normal([5, 770], 2), { transposeY: true }),
      t.matmul(normal([3, 1, 12]), normal([3, 12, 5], 2)),
      t.matmul(normal([3, 1, 12]), normal([3, 5, 12], 2), { transposeY: true }),
      t.linear(normal([1, 770]), normal([770, 5], 2), normal([5], 3)),
    ]),
    1e-5,
  )
})

describe('views', () => {
  it('of products may begin between two texels, and lie between two', async () => {
    const part = (x: Tensor, at: number, n: number): Tensor => t.slice(x, [null, [at, at + n]])
    const flat = (n: number, shape: number[], strides: number, seed: number): Tensor =>
      t.slice(
        t.reshape(t.slice(normal([shape[0] * strides], seed), [[0, shape[0] * strides]]), [
          shape[0],
          strides,
        ]),
        [null, [0, n]],
      )
    expectSmall(
      await errors(() => [
        t.matmul(part(normal([8, 12]), 1, 8), normal([8, 8], 2)),
        t.matmul(normal([8, 8]), part(normal([8, 12], 2), 3, 8)),
        t.matmul(normal([8, 8]), part(normal([8, 12], 2), 3, 8), { transposeY: true }),
        t.matmul(part(normal([8, 12]), 2, 8), normal([8, 8], 2), { transposeX: true }),
        t.matmul(part(normal([2, 12]), 1, 8), normal([8, 8], 2)),
        // rows that end in the middle of a texel, behind which there is more
        t.matmul(part(normal([8, 12]), 0, 10), part(normal([8, 12], 2), 0, 10), { transposeY: true }),
        t.matmul(part(normal([8, 12]), 0, 10), t.slice(normal([12, 8], 2), [[0, 10]])),
        // matrices of a batch that begin 65 elements apart
        t.matmul(t.reshape(flat(64, [3, 65], 65, 1), [3, 8, 8]), normal([3, 8, 8], 2)),
        t.matmul(normal([8, 8]), t.reshape(flat(64, [3, 65], 65, 2), [3, 8, 8])),
        t.matmul(normal([8, 8]), t.reshape(flat(64, [3, 65], 65, 2), [3, 8, 8]), { transposeY: true }),
        t.matmul(t.reshape(flat(64, [3, 65], 65, 1), [3, 8, 8]), normal([8, 8], 2), { transposeX: true }),
        t.linear(normal([8, 8]), normal([8, 8], 2), t.slice(normal([20], 3), [[2, 18, 2]])),
      ]),
      1e-5,
    )
  })
  it('of one array are copied each for itself', async () => {
    const build = (): Tensor[] => {
      const x = t.add(normal([8, 8]), 0)
      return [
        [null, [0, 4]],
        [null, [4, 8]],
        [null, [0, 3]],
      ]
        .map((ranges) => t.softmax(t.slice(x, ranges as t.SliceRange[])))
        .concat(
          t.softmax(t.transpose(x)),
          t.softmax(t.slice(x, [null, [null, null, -1]])),
          t.softmax(t.broadcastTo(t.slice(x, [[0, 1]]), [8, 8])),
        )
    }
    expectSmall(await errors(build), 1e-6)
  })
  it('of a result are arrays of their own size', async () => {
    const y = t.slice(t.neg(t.iota(2000)), [[0, 40]])
    await realize([y], { backend })
    expect(await numbers(t.add(y, 1))).toEqual(Array.from({ length: 40 }, (_, i) => 1 - i))
  })
})

describe('quantised weights', () => {
  // a weight of ones but for a sign, whose codes are exact: what is left is how activations are rounded
  const weight = (format: 'int8' | 'q4' | 'f16'): Tensor =>
    t.quantizeWeight(
      Float32Array.from({ length: 64 * 8 }, (_, i) => (i % 3 === 0 ? -1 : 1)),
      [64, 8],
      { format },
    ).weight
  it.each(['int8', 'q4', 'f16'] as const)(
    '%s: activations just below a power of two, too small to have a step, none at all, and views',
    async (format) => {
      const rows = Float32Array.from({ length: 4 * 64 }, (_, i) => {
        if (i < 64) return i % 2 ? 1 - 2 ** -20 : 2 ** -20 - 1
        return i < 128 ? 2 ** -105 * i : i < 192 ? 0 : 1 / i
      })
      const small = Float32Array.from({ length: 64 }, (_, i) => 2 ** -115 * i)
      const build = (): Tensor[] => {
        const x = t.tensor(rows, { shape: [4, 64] })
        const two = t.slice(x, [[0, 2]])
        const back = t.slice(t.tensor(rows.slice(), { shape: [2, 128] }), [null, [32, 96]])
        return [
          t.linear(x, weight(format)),
          t.linear(two, weight(format)),
          t.mul(t.linear(t.tensor(small, { shape: [1, 64] }), weight(format)), 2 ** 100),
          t.linear(back, weight(format), t.slice(normal([18]), [[2, 18, 2]])),
        ]
      }
      expectSmall(await errors(build), 2e-7)
    },
  )
})

it('pads a convolution of one element', async () => {
  const build = (): Tensor[] => {
    const [x, w] = [normal([2, 4, 5, 6]), normal([4, 4, 1, 1], 2)]
    const y = t.conv2d(x, w, t.slice(normal([8], 3), [[null, null, 2]]), { padding: 1 })
    return [y, ...t.grad(y, [x, w], { seed: normal(y.shape, 4) })]
  }
  expectSmall(await errors(build), 1e-5)
})

describe('adding by index', () => {
  // sums that depend on their order: in float32 10⁸ + 1 is 10⁸
  const terms = (n: number): Float32Array =>
    Float32Array.from({ length: n }, (_, i) => [1e8, 1, -1e8, 3, 0.5][i % 5])
  const inOrder = (n: number, row: (j: number) => number): number[] => {
    const sums = new Float32Array(3)
    terms(n).forEach((v, j) => {
      sums[row(j)] += v
    })
    return [...sums]
  }
  it.each([20, 90])('of %i sums in the order of places', async (n) => {
    const row = (j: number): number => (j * 7) % 3
    const ids = t.tensor(Int32Array.from({ length: n }, (_, j) => row(j)))
    const source = t.tensor(terms(n))
    expect(await numbers(t.takeAdd(t.zeros([3]), ids, source, 0))).toEqual(inOrder(n, row))
    expect(await numbers(t.scatterAdd(t.zeros([3]), ids, source, { axis: 0 }))).toEqual(inOrder(n, row))
  })
  it.each([3, 60])('takes %i ids and offsets that no table has for the nearest one', async (n) => {
    // computed on the GPU, where nobody can throw
    const far = t.mul(t.tensor(Int32Array.from({ length: n }, (_, j) => (j % 3) - 1)), 100)
    await realize([far], { backend })
    const [ones, x] = [t.ones([n]), t.tensor([5, 6, 7, 8])]
    const nearest = Array.from({ length: n }, (_, j) => (j % 3 === 2 ? 3 : 0))
    const counts = [0, 1, 2, 3].map((row) => nearest.filter((v) => v === row).length)
    expect(await numbers(t.take(x, far))).toEqual(nearest.map((v) => 5 + v))
    expect(await numbers(t.gather(x, far, { axis: 0 }))).toEqual(nearest.map((v) => 5 + v))
    expect(await numbers(t.takeAdd(t.zeros([4]), far, ones, 0))).toEqual(counts)
    expect(await numbers(t.scatterAdd(t.zeros([4]), far, ones, { axis: 0 }))).toEqual(counts)
  })
  it('moves a patch and a slice that would lie outside', async () => {
    for (const [by, at] of [
      [-9, 0],
      [9, 2],
    ]) {
      const offset = t.mul(t.tensor(by, { dtype: 'i32' }), t.tensor(1, { dtype: 'i32' }))
      await realize([offset], { backend })
      const want = [5, 6, 7, 8]
      expect(await numbers(t.dynamicSlice(t.tensor(want), offset, { axis: 0, size: 2 }))).toEqual(
        want.slice(at, at + 2),
      )
      want.splice(at, 2, -1, -2)
      expect(
        await numbers(t.update(t.tensor([5, 6, 7, 8]), t.tensor([-1, -2]), offset, { axis: 0 })),
      ).toEqual(want)
    }
  })
})

it('carries from one word of a random counter to the next', async () => {
  const build = (): Tensor => t.randomBits(t.randomKey(7), 12, { counter: [-2, 5] })
  const want = build()
  await realize([want], { backend: t.reference() })
  expect(await numbers(build())).toEqual(Array.from(await want.data(), Number))
})

it('rounds to halves and to bfloat16, ties to even', async () => {
  // not-a-number whose bits round up to the next sign
  const nan = new Float32Array(Uint32Array.of(0x7fffffff).buffer)
  const of = async (dtype: 'f16' | 'bf16', x: readonly number[]): Promise<number[]> =>
    numbers(t.cast(t.cast(t.concat([t.tensor(x), t.tensor(nan)], 0), dtype), 'f32'))
  const half = 2 ** -10
  expect(
    await of('f16', [
      ...[1 + half / 2, 1 + 1.5 * half, 1 + 0.49 * half],
      ...[2 ** -25, 3 * 2 ** -25, -3 * 2 ** -25, 65519, 65520, -65520],
    ]),
  ).toEqual([1, 1 + 2 * half, 1, 0, 2 ** -23, -(2 ** -23), 65504, Infinity, -Infinity, NaN])
  const brain = 2 ** -7
  expect(await of('bf16', [1 + brain / 2, -1 - 1.5 * brain, 1 + 0.51 * brain, 3.4e38])).toEqual([
    ...[1, -1 - 2 * brain, 1 + brain, Infinity, NaN],
  ])
})
it('finds exponentials that no float holds, and the turn of a large number next to a quarter of one', async () => {
  const far = [89, 1000, 3e38, -110, -1000, -3e38, Infinity, -Infinity]
  expect(await numbers(t.exp(t.tensor(far)))).toEqual([Infinity, Infinity, Infinity, 0, 0, 0, Infinity, 0])
  // a multiple of a quarter turn but for some 10⁻⁹, above and below
  for (const x of [16367173 * 2 ** 72, 14173733 * 2 ** 88, 14015064 * 2 ** 66]) {
    const [f, exact] = Math.abs(Math.sin(x)) < 1e-7 ? [t.sin, Math.sin] : [t.cos, Math.cos]
    const [got] = await numbers(f(t.tensor([x])))
    expect(Math.abs(got / exact(x) - 1), `${x}`).toBeLessThan(1e-6)
  }
})
it('finds the first of several that are no numbers', async () => {
  const x = t.tensor([1, Number.NaN, 3, Number.NaN, 5, 5, 2, 5], { shape: [2, 4] })
  expect(await numbers(t.argMax(x, { axis: 1 }))).toEqual([1, 0])
  expect(await numbers(t.max(x, { axes: 1 }))).toEqual([NaN, 5])
})
it('divides whole numbers towards 0, and by 0 to 0', async () => {
  const of = (...values: number[]): Tensor => t.tensor(values, { dtype: 'i32' })
  const y = t.div(of(7, -7, 7, -7, 5, -5, 0), of(2, 2, -2, -2, 0, 0, 0))
  expect(await numbers(y)).toEqual([3, -3, -3, 3, 0, 0, 0])
})

it('hands a loop on to another run in half precision', async () => {
  const halves = await make({ precision: 'f16' })
  const { carry, ys } = t.scan(([c], [x]) => ({ carry: [t.add(c, x)], ys: [t.mul(c, x)] }), {
    init: [t.zeros([40])],
    xs: [t.reshape(t.iota(120), [3, 40])],
  })
  const results = [...carry, ...ys]
  await realize(results, { backend: halves, strict: true })
  const [next, products] = results.map((x) => t.add(x, 1))
  await realize([next, products], { backend: halves, strict: true })
  expect(Array.from(await next.data(), Number)).toEqual(Array.from({ length: 40 }, (_, i) => 3 * i + 121))
  const [first, second] = [(i: number) => i * (i + 40), (i: number) => (2 * i + 40) * (i + 80)]
  const want = Array.from({ length: 120 }, (_, i) => [() => 0, first, second][Math.floor(i / 40)](i % 40) + 1)
  for (const [i, v] of Array.from(await products.data(), Number).entries())
    expect(Math.abs(v / want[i] - 1)).toBeLessThan(2 ** -10)
})

describe('arrays that are too large on the way', () => {
  it('are found before anything runs', async () => {
    const original = WebGL2RenderingContext.prototype.getParameter
    const spy = vi.spyOn(WebGL2RenderingContext.prototype, 'getParameter').mockImplementation(function (
      this: WebGL2RenderingContext,
      name: number,
    ) {
      return name === this.MAX_ARRAY_TEXTURE_LAYERS ? 1 : original.call(this, name)
    })
    // 1,024 elements at most
    const flat = await make({ maxTextureSize: 16 })
    spy.mockRestore()
    const long = t.sort(normal([3, 300]), { axis: 1 }).values
    await expect(realize([long], { backend: flat, strict: true })).rejects.toThrow(
      /it needs an array that is too large: an array of 1536 elements/,
    )
    const image = normal([1, 8, 8, 8])
    const convolved = t.conv2d(image, normal([2, 8, 3, 3]), null, { padding: 1 })
    const [q, k] = [normal([1, 32, 1, 8]), normal([1, 1, 40, 8])]
    const { z } = t.attention(q, k, k)
    for (const y of [convolved, z, ...t.grad(t.sum(convolved), [image]), ...t.grad(t.sum(z), [q])])
      await expect(realize([y], { backend: flat, strict: true })).rejects.toThrow(UnsupportedOpError)
    expect(flat.counts.live).toBe(0)
  })
})

describe('the device', () => {
  const created = () => vi.spyOn(WebGL2RenderingContext.prototype, 'createTexture').mock
  it('keeps some free textures, and deletes what is more', async () => {
    const b = await make()
    const data = new Float32Array(2 ** 24)
    const buffers = Array.from({ length: 6 }, () => b.upload(data, [data.length], 'f32'))
    for (const buffer of buffers) b.free(buffer)
    const more = created()
    for (const _ of buffers) b.upload(data, [data.length], 'f32')
    // 256 MB of 384 were kept
    expect(more.calls).toHaveLength(2)
  })
  it('goes on reusing textures, however often', async () => {
    const b = await make()
    const data = new Float32Array(2 ** 22)
    b.free(b.upload(data, [data.length], 'f32'))
    const more = created()
    for (let i = 0; i < 20; i++) b.free(b.upload(data, [data.length], 'f32'))
    expect(more.calls).toHaveLength(0)
  })
  it('gives a texture back whose numbers found no room', async () => {
    const b = await make()
    const { live } = b.counts
    const { NO_ERROR, OUT_OF_MEMORY } = WebGL2RenderingContext
    vi.spyOn(WebGL2RenderingContext.prototype, 'getError')
      .mockReturnValueOnce(NO_ERROR)
      .mockReturnValueOnce(OUT_OF_MEMORY)
    expect(() => b.upload(new Float32Array(2 ** 22), [2 ** 22], 'f32')).toThrow(/out of memory/)
    expect(b.counts.live).toBe(live)
  })
  it.each([
    ['OUT_OF_MEMORY', /out of memory/],
    ['INVALID_OPERATION', /the GPU reports error 1282/],
  ] as const)('says of %s when numbers are read', async (name, message) => {
    const b = await make()
    const buffer = b.upload(values(9), [9], 'f32')
    const get = vi.spyOn(WebGL2RenderingContext.prototype, 'getError')
    get.mockReturnValueOnce(WebGL2RenderingContext[name])
    await expect(b.download(buffer)).rejects.toThrow(BackendError)
    get.mockReturnValueOnce(WebGL2RenderingContext[name])
    await expect(b.download(buffer)).rejects.toThrow(message)
    expect(await b.download(buffer)).toEqual(values(9))
  })
  it('leaves a context as TensorFlow.js expects it', async () => {
    const draw = vi.spyOn(WebGL2RenderingContext.prototype, 'drawArrays')
    await realize([t.matmul(normal([8, 8]), normal([8, 8], 2))], { backend })
    const gl = draw.mock.contexts[0] as WebGL2RenderingContext
    expect([gl.isEnabled(gl.SCISSOR_TEST), gl.isEnabled(gl.CULL_FACE)]).toEqual([true, true])
    expect(gl.getParameter(gl.VERTEX_ARRAY_BINDING)).toBeNull()
    expect(gl.getParameter(gl.FRAMEBUFFER_BINDING)).toBeNull()
  })
  it('takes no larger textures than there are, whatever is asked for', async () => {
    const original = WebGL2RenderingContext.prototype.getParameter
    const spy = vi.spyOn(WebGL2RenderingContext.prototype, 'getParameter').mockImplementation(function (
      this: WebGL2RenderingContext,
      name: number,
    ) {
      return name === this.MAX_TEXTURE_SIZE ? 16 : original.call(this, name)
    })
    const b = await make({ maxTextureSize: 4096 })
    spy.mockRestore()
    const storage = vi.spyOn(WebGL2RenderingContext.prototype, 'texStorage3D').mock
    b.free(b.upload(values(5000), [5000], 'f32'))
    expect(storage.calls.map((call) => [call[3], call[4]])).toEqual([[16, 8]])
  })
})
