import { describe, expect, it } from 'vitest'
import { guard } from '../test/checks.js'
import { uniform } from '../test/oracle.js'
import { type Product, packedBytes, packPanels, productScratch, runProduct } from './product.js'
import { instantiate, type Kernels } from './wasm.js'

const fill = (seed: number, n: number): Float32Array => Float32Array.from({ length: n }, uniform(seed))

type Layout = Omit<Product, 'a' | 'b' | 'c' | 'packed' | 'bias' | 'residual'> & {
  readonly transposeA?: boolean
  readonly transposeB?: boolean
  readonly isPacked?: boolean
  readonly hasEnd?: boolean
}

/** The product on so many threads; nothing is written past any of its arrays. */
function run(kernels: Kernels, { transposeA, transposeB, isPacked, hasEnd, ...p }: Layout): Float32Array {
  const { memory } = kernels
  const { m, n, k, outer = 1, inner = 1 } = p
  const restore = guard(memory)
  const owned: number[] = []
  const take = (bytes: number): number => {
    const at = memory.alloc(bytes)
    owned.push(at)
    return at
  }
  const put = (data: Float32Array): number => {
    const at = take(4 * data.length)
    memory.f32().set(data, at / 4)
    return at
  }
  const batch = outer * inner
  const a = {
    ...{ at: put(fill(1, batch * m * k)), inner: m * k, outer: inner * m * k },
    ...(transposeA ? { row: 1, column: m } : { row: k, column: 1 }),
  }
  const b = {
    ...{ at: put(fill(2, batch * k * n)), inner: isPacked ? 0 : k * n, outer: isPacked ? 0 : inner * k * n },
    ...(transposeB ? { row: 1, column: k } : { row: n, column: 1 }),
  }
  const c = put(new Float32Array(batch * m * n).fill(0.25))
  let packed = 0
  if (isPacked) {
    packed = take(packedBytes(kernels, k, n))
    packPanels(kernels, k, n, b, packed)
  }
  const end = hasEnd ? { bias: put(fill(3, n)), residual: put(fill(4, batch * m * n)), form: 2 } : {}
  const scratch = take(productScratch(kernels, m, n, k))
  runProduct(kernels, { ...p, ...end, a, b, packed, c: { at: c, row: n } }, scratch)
  const result = memory.f32().slice(c / 4, c / 4 + batch * m * n)
  for (const at of owned) memory.free(at)
  restore()
  return result
}

const cases: [string, Layout][] = [
  ['square', { m: 200, n: 210, k: 70 }],
  ['packed', { m: 128, n: 203, k: 600, isPacked: true, hasEnd: true }],
  ['tall', { m: 1201, n: 9, k: 90, hasEnd: true }],
  ['wide, few rows', { m: 7, n: 1500, k: 100 }],
  ['wider than a block', { m: 40, n: 1100, k: 50, hasEnd: true }],
  ['A · Bᵀ', { m: 61, n: 333, k: 128, transposeB: true, hasEnd: true }],
  ['Aᵀ · B', { m: 333, n: 61, k: 128, transposeA: true, add: true }],
  ['one row', { m: 1, n: 3001, k: 300 }],
  ['one row, packed', { m: 1, n: 3001, k: 301, isPacked: true, hasEnd: true }],
  ['one row, transposed', { m: 1, n: 3001, k: 303, transposeB: true }],
  ['many matrices', { m: 40, n: 40, k: 40, outer: 5, inner: 7 }],
  ['some matrices', { m: 100, n: 90, k: 80, outer: 1, inner: 3, transposeB: true, hasEnd: true }],
]

describe('products', () => {
  it.each(cases)('have the same bits on any number of threads: %s', async (_, layout) => {
    const results: Float32Array[] = []
    for (const threads of [1, 2, 5]) {
      const kernels = await instantiate({ threads })
      results.push(run(kernels, layout))
      kernels.stop()
    }
    expect(results[0].every(Number.isFinite)).toBe(true)
    expect(results[1]).toEqual(results[0])
    expect(results[2]).toEqual(results[0])
  })

  it('are cut into chunks when they are large, and not when they are small', async () => {
    const kernels = await instantiate({ threads: 2 })
    const chunks: number[] = []
    const { run: real } = kernels
    kernels.run = (task, words, count, ...rest) => {
      if (task === 'matmul') chunks.push(count)
      real.call(kernels, task, words, count, ...rest)
    }
    for (const [, layout] of cases) run(kernels, layout)
    run(kernels, { m: 30, n: 30, k: 30 })
    kernels.stop()
    expect(chunks.pop()).toBe(1)
    for (const count of chunks) expect(count).toBeGreaterThan(1)
  })
})
