import {
  add,
  detach,
  exp,
  full,
  grad,
  linear,
  matmul,
  mul,
  realize,
  release,
  slice,
  sub,
  sum,
  type Tensor,
  tensor,
  transpose,
} from '@heed/tensor'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { uniform } from '../test/oracle.js'
import { type CpuBackend, cpu } from './backend.js'
import { OutOfMemoryError } from './errors.js'
import { sizeClass } from './memory.js'

let backend: CpuBackend
beforeEach(async () => {
  backend = await cpu({ threads: 1 })
})
afterEach(() => backend.dispose())

function random(seed: number, ...shape: number[]): Tensor {
  const next = uniform(seed)
  return tensor(Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, next), shape)
}
/** Realizes one tensor, reads it and frees it. */
async function once(y: Tensor): Promise<Float32Array> {
  await realize([y], { backend })
  const data = ((await y.data()) as Float32Array).slice()
  release(y)
  return data
}
const width = (): number => (backend.build === 'relaxed' ? 8 : 12)
const copyOf = (k: number, n: number): number => sizeClass(4 * k * Math.ceil(n / width()) * width())

/** Bytes in use after each of `turns` runs; all runs give the same bits. */
async function usage(turns: number, build: () => Tensor): Promise<number[]> {
  const bytes: number[] = []
  const first = await once(build())
  bytes.push(backend.bytesInUse)
  for (let i = 1; i < turns; i++) {
    expect(await once(build())).toEqual(first)
    bytes.push(backend.bytesInUse)
  }
  return bytes
}

describe('weights', () => {
  it('are packed when they are used again, once, and the copy goes with the weight', async () => {
    const x = random(1, 7, 96)
    const w = random(2, 96, 130)
    const bytes = await usage(5, () => linear(x, w))
    // the second use asks for the copy: it is there then, or before the third where memory has to grow
    expect(bytes[4] - bytes[0]).toBe(copyOf(96, 130))
    expect(bytes[2]).toBe(bytes[4])
    release(w)
    expect(backend.bytesInUse).toBe(bytes[0] - sizeClass(4 * 96 * 130))
  })

  it('are packed in each form that is used: as they lie, transposed, a part; the same form once', async () => {
    const w = random(3, 200, 64)
    const x = random(4, 3, 200)
    const h = random(5, 3, 64)
    const forms: [() => Tensor, number][] = [
      [() => matmul(x, w), copyOf(200, 64)],
      [() => matmul(h, w, { transposeY: true }), copyOf(64, 200)],
      [() => linear(h, transpose(w)), 0],
      [() => matmul(h, transpose(slice(w, [[8, 108]]))), copyOf(64, 100)],
      [() => matmul(h, transpose(slice(w, [[9, 109]]))), copyOf(64, 100)],
    ]
    await realize([x, h, w], { backend })
    for (const [build, more] of forms) {
      const bytes = await usage(4, build)
      expect(bytes[3] - bytes[0], build.toString()).toBe(more)
    }
  })

  it.each([
    [5, 61, 37],
    [29, 530, 90],
    [1, 70, 1003],
    [1, 3, 700],
    [1, 513, 12],
    [1, 14, 1103],
    [1, 8, 513],
    [1, 300, 1024],
    [1, 1023, 65],
  ])(
    'give the same bits packed and not: %i×%i times [%i, …], transposed, as it lies, and a part',
    async (m, k, n) => {
      const x = random(m, m, k)
      const [turned, lying, wide] = [random(9, n, k), random(10, k, n), random(11, k, n + 5)]
      for (const build of [
        () => matmul(x, turned, { transposeY: true }),
        () => matmul(x, lying),
        () => matmul(x, slice(wide, [null, [3, n + 3]])),
      ]) {
        const bytes = await usage(4, build)
        expect(bytes[3], build.toString()).toBeGreaterThan(bytes[0])
      }
    },
  )

  it('that every step of training replaces are never packed', async () => {
    const x = random(1, 16, 48)
    let w = random(2, 48, 40)
    let steady = 0
    for (let step = 0; step < 6; step++) {
      const loss = sum(mul(linear(x, w), linear(x, w)))
      const [g] = grad(loss, [w])
      const next = sub(w, mul(g, 1e-3))
      await realize([loss, next], { backend, donate: [w] })
      release(loss)
      w = detach(next)
      if (step === 1) steady = backend.bytesInUse
      if (step > 1) expect(backend.bytesInUse).toBe(steady)
    }
  })

  it('that are donated to the run that multiplies by them leave no copy behind', async () => {
    const [x, x2] = [random(1, 16, 48), random(3, 16, 48)]
    let w = random(2, 48, 40)
    const bytes: number[] = []
    for (let step = 0; step < 4; step++) {
      const products = [x, x2].map((v) => matmul(v, w))
      const next = mul(w, 0.5)
      await realize([...products, next], { backend, donate: [w] })
      for (const y of products) release(y)
      w = detach(next)
      bytes.push(backend.bytesInUse)
    }
    expect(bytes[3]).toBe(bytes[1])
  })

  it('that were donated and written over are not read from their copy', async () => {
    const x = random(1, 4, 64)
    let w = random(2, 64, 64)
    for (let i = 0; i < 3; i++) await once(matmul(x, w))
    const next = add(w, 1)
    await realize([next], { backend, donate: [w] })
    w = next
    const host = (await x.data()) as Float32Array
    const weights = (await w.data()) as Float32Array
    for (let i = 0; i < 3; i++) {
      const y = await once(matmul(x, w))
      for (const j of [0, 63]) {
        let want = 0
        for (let k = 0; k < 64; k++) want += host[k] * weights[k * 64 + j]
        expect(y[j]).toBeCloseTo(want, 4)
      }
    }
  })
})

describe('without the memory for copies', () => {
  it('products go on unpacked', async () => {
    backend.dispose()
    backend = await cpu({ threads: 1, maxBytes: 4 * 2 ** 20 })
    const x = random(1, 3, 512)
    const w = random(2, 512, 1024)
    const bytes = await usage(5, () => matmul(x, w))
    expect(bytes[4]).toBe(bytes[0])
  })

  it('copies give way to tensors, and what needs still more fails as before', async () => {
    backend.dispose()
    backend = await cpu({ threads: 1, maxBytes: 8 * 2 ** 20 })
    const x = random(1, 3, 512)
    const w = random(2, 512, 1024)
    const bytes = await usage(4, () => matmul(x, w))
    expect(bytes[3] - bytes[0]).toBe(copyOf(512, 1024))
    // 8 MiB less the weight, the copy and the scratch do not hold this; without the copy they do
    const large = exp(full([700_000], 0))
    await realize([large], { backend })
    expect(backend.bytesInUse).toBeLessThan(8 * 2 ** 20)
    const after = await usage(3, () => matmul(x, w))
    expect(after[2]).toBe(after[0])
    await expect(realize([exp(full([2_000_000], 1))], { backend })).rejects.toThrow(OutOfMemoryError)
  })
})
