import { expect, it } from 'vitest'
import {
  type Backend,
  DTypeError,
  dequantize,
  fromF16,
  GradError,
  grad,
  linear,
  matmul,
  mul,
  packedParts,
  quantizeWeight,
  realize,
  reference,
  ShapeError,
  sum,
  type Tensor,
  take,
  tensor,
  toF16,
  ValueError,
  type WeightFormat,
  weightFormats,
} from '../index.js'

const f64 = reference({ precision: 'f64' })
const f32 = reference()

function draw(n: number, seed: number, scale = 1): Float32Array {
  let s = seed >>> 0 || 1
  return Float32Array.from({ length: n }, () => {
    s = (Math.imul(s, 1664525) + 1013904223) >>> 0
    return ((s / 2 ** 32) * 2 - 1) * scale
  })
}
async function values(t: Tensor, backend: Backend = f64): Promise<Float64Array> {
  await realize([t], { backend })
  return Float64Array.from((await t.data()) as Float64Array, (v) => v + 0) // no −0
}
const transposed = (w: ArrayLike<number>, rows: number, columns: number): Float32Array =>
  Float32Array.from({ length: rows * columns }, (_, i) => w[(i % rows) * columns + Math.floor(i / rows)])

/** The codes' own arithmetic, written again: what a weight [in, out] becomes. */
function expected(w: Float32Array, k: number, n: number, format: WeightFormat): Float64Array {
  const out = new Float64Array(w.length)
  for (let o = 0; o < n; o++) {
    const column = Array.from({ length: k }, (_, i) => w[i * n + o])
    const put = (i: number, v: number): void => {
      out[i * n + o] = v + 0 // no −0
    }
    if (format === 'f16') column.forEach((v, i) => put(i, fromF16(toF16(v))))
    else if (format === 'int8') {
      const scale = Math.fround(Math.max(...column.map(Math.abs), 0) / 127)
      column.forEach((v, i) => put(i, scale > 0 ? Math.round(v / scale) * scale : 0))
    } else
      for (let b = 0; b < k; b += 32) {
        const block = column.slice(b, b + 32)
        const widest = block.reduce((a, v) => (Math.abs(v) > Math.abs(a) ? v : a), 0)
        const scale = fromF16(toF16(widest / -8))
        block.forEach((v, i) => put(b + i, scale === 0 ? 0 : Math.min(7, Math.round(v / scale)) * scale))
      }
  }
  return out
}

/** Activations as each format rounds them, by searching the power of two. */
function rounded(x: ArrayLike<number>, k: number, format: WeightFormat): Float64Array {
  const out = Float64Array.from(x)
  if (format === 'f16') return out
  const [width, bits] = format === 'int8' ? [k, 13] : [32, 7]
  for (let row = 0; row < x.length; row += k)
    for (let b = 0; b < k; b += width) {
      const end = Math.min(k, b + width)
      let largest = 2 ** -100
      for (let i = b; i < end; i++) largest = Math.max(largest, Math.abs(x[row + i]))
      let p = 2 ** -100
      while (p * 2 <= largest) p *= 2
      const step = (p * 2) / 2 ** bits
      for (let i = b; i < end; i++) {
        const t = x[row + i] / step
        const low = Math.floor(t)
        const nearest = t - low > 0.5 || (t - low === 0.5 && Math.abs(low % 2) === 1) ? low + 1 : low
        out[row + i] = Math.max(1 - 2 ** bits, Math.min(2 ** bits - 1, nearest)) * step
      }
    }
  return out
}

const SHAPES: [k: number, n: number][] = [
  [32, 16],
  [1, 1],
  [5, 3],
  [33, 17],
  [70, 50],
]
it.each(weightFormats)('%s: the matrix is what the codes say, in both orientations', async (format) => {
  for (const [k, n] of SHAPES) {
    const w = draw(k * n, k * 31 + n)
    const want = expected(w, k, n, format)
    const { weight } = quantizeWeight(w, [k, n], { format })
    expect(weight.shape).toEqual([k, n])
    expect(await values(weight)).toEqual(want)
    const table = quantizeWeight(transposed(w, k, n), [n, k], { format, outAxis: 0 }).weight
    expect(table.shape).toEqual([n, k])
    const back = await values(table)
    for (let i = 0; i < k; i++) for (let o = 0; o < n; o++) expect(back[o * k + i]).toBe(want[i * n + o])
  }
})

it.each(weightFormats)(
  '%s: linear, matmul and take work on the parts and give what they define',
  async (format) => {
    for (const [k, n] of SHAPES)
      for (const rows of [1, 3]) {
        const w = draw(k * n, n * 7 + k)
        const x = draw(rows * k, k + 5, 3)
        const b = draw(n, 9)
        const exact = expected(w, k, n, format)
        const xs = rounded(x, k, format)
        const product = Float64Array.from({ length: rows * n }, (_, at) => {
          let total = 0
          for (let i = 0; i < k; i++) total += xs[Math.floor(at / n) * k + i] * exact[i * n + (at % n)]
          return total
        })
        const withBias = product.map((v, i) => v + b[i % n])
        const { weight } = quantizeWeight(w, [k, n], { format })
        const table = quantizeWeight(transposed(w, k, n), [n, k], { format, outAxis: 0 }).weight
        const input = (): Tensor => tensor(x, [rows, k])
        const ys = [
          linear(input(), weight, tensor(b)),
          matmul(input(), weight),
          matmul(input(), table, { transposeY: true }),
          matmul(tensor(transposed(x, rows, k), [k, rows]), weight, { transposeX: true }),
        ]
        for (const y of ys) {
          expect(y.node.op.name).toBe('quantizedLinear')
          expect(y.shape).toEqual([rows, n])
        }
        for (const [i, y] of ys.entries()) {
          const want = i === 0 ? withBias : product
          const got = await values(y)
          got.forEach((v, j) => {
            expect(Math.abs(v - want[j])).toBeLessThan(1e-12 * k)
          })
        }
        // single precision finds the same integers
        const single = await values(linear(input(), weight, tensor(b)), f32)
        single.forEach((v, j) => {
          expect(Math.abs(v - withBias[j])).toBeLessThan(1e-5)
        })
        const ids = tensor([n - 1, 0, n - 1], { dtype: 'i32' })
        const taken = await values(take(table, ids))
        const whole = await values(table)
        ;[n - 1, 0, n - 1].forEach((id, r) => {
          for (let i = 0; i < k; i++) expect(taken[r * k + i]).toBe(whole[id * k + i])
        })
      }
  },
)

it('empty sides give zeros and nothing', async () => {
  for (const format of weightFormats) {
    const none = quantizeWeight([], [0, 3], { format }).weight
    expect(await values(linear(tensor([], { shape: [2, 0] }), none, tensor([1, 2, 3])))).toEqual(
      Float64Array.of(1, 2, 3, 1, 2, 3),
    )
    const narrow = quantizeWeight([], [4, 0], { format }).weight
    expect(linear(tensor([1, 2, 3, 4]), narrow).shape).toEqual([0])
    const { weight } = quantizeWeight([1, 2], [2, 1], { format })
    expect((await values(matmul(tensor([], { shape: [0, 2] }), weight))).length).toBe(0)
    expect(await values(matmul(tensor([1, 2]), weight))).toHaveLength(1)
  }
})

it('formats keep what they promise, also beside an outlier', async () => {
  const k = 256
  const n = 64
  const plain = draw(k * n, 3)
  const outlier = Float32Array.from(plain)
  for (let o = 0; o < n; o++) outlier[17 * n + o] = 50
  const errors = (w: Float32Array) => weightFormats.map((format) => quantizeWeight(w, [k, n], { format }).rms)
  const [int8, q4, f16] = errors(plain)
  // uniform weights: a step of 1/127 is off by 1/(127·√12) beside 1/√3; a step of 1/8 by 8/127 of that … and more at +8
  expect(int8).toBeLessThan(4.2e-3)
  expect(q4).toBeLessThan(7e-2)
  expect(f16).toBeLessThan(2.5e-4)
  // one outlier coarsens its output in int8; in q4 its own block of 32
  const [int8Out, q4Out] = errors(outlier)
  expect(int8Out).toBeLessThan(int8 * 12)
  expect(q4Out).toBeLessThan(q4 * 1.2)
  const reported = quantizeWeight(plain, [k, n], { format: 'q4' })
  const got = await values(reported.weight)
  let squares = 0
  let norm = 0
  let worst = 0
  got.forEach((v, i) => {
    squares += (v - plain[i]) ** 2
    norm += plain[i] ** 2
    worst = Math.max(worst, Math.abs(v - plain[i]))
  })
  expect(reported.rms).toBeCloseTo(Math.sqrt(squares / norm), 12)
  expect(reported.worst).toBeCloseTo(worst / Math.max(...plain.map(Math.abs)), 12)
  expect(reported.bytes).toBe((k * n) / 2 + (k * n) / 16)
})

it('activations of any size meet the same integers; rows that are not finite become NaN', async () => {
  const k = 40
  const w = draw(k * 4, 1)
  for (const format of ['int8', 'q4'] as const) {
    const { weight } = quantizeWeight(w, [k, 4], { format })
    for (const scale of [1e-30, 1, 1e30, 2 ** 20]) {
      const x = draw(k, 2, scale)
      x[0] = scale
      const want = await values(linear(tensor(x), weight))
      const got = await values(linear(tensor(x), weight), f32)
      got.forEach((v, i) => {
        expect(Math.abs(v - want[i]) / scale).toBeLessThan(1e-5)
      })
    }
    expect(await values(linear(tensor(new Float32Array(k)), weight))).toEqual(new Float64Array(4))
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY]) {
      const x = draw(2 * k, 2)
      x[3] = bad
      const y = await values(linear(tensor(x, [2, k]), weight), f32)
      expect(y.slice(0, 4).every(Number.isNaN)).toBe(true)
      expect(y.slice(4).some(Number.isNaN)).toBe(false)
    }
  }
})

it('gradients pass through activations as if they had not been rounded, and refuse the weight', async () => {
  for (const format of weightFormats) {
    const w = draw(6 * 5, 4)
    const { weight } = quantizeWeight(w, [6, 5], { format })
    const table = quantizeWeight(transposed(w, 6, 5), [5, 6], { format, outAxis: 0 }).weight
    const exact = await values(quantizeWeight(w, [6, 5], { format }).weight)
    const seed = draw(10, 8)
    const want = Float64Array.from({ length: 12 }, (_, at) => {
      let total = 0
      for (let o = 0; o < 5; o++) total += seed[Math.floor(at / 6) * 5 + o] * exact[(at % 6) * 5 + o]
      return total
    })
    for (const product of [
      (x: Tensor, b: Tensor) => linear(x, weight, b),
      (x: Tensor) => matmul(x, table, { transposeY: true }),
    ]) {
      const x = tensor(draw(12, 6), [2, 6])
      const b = tensor(draw(5, 7))
      const y = product(x, b)
      const [dx, db] = grad(sum(mul(y, tensor(seed, [2, 5]))), [x, b], { unused: 'zero' })
      ;(await values(dx)).forEach((v, i) => {
        expect(v).toBeCloseTo(want[i], 10)
      })
      const gb = await values(db)
      if (y.node.inputs.includes(b)) gb.forEach((v, o) => expect(v).toBeCloseTo(seed[o] + seed[o + 5], 10))
      expect(() => grad(sum(y), [weight], { unused: 'zero' })).toThrow(GradError)
      expect(() => grad(sum(y), [weight], { unused: 'zero' })).toThrow(/quantised \(/)
    }
  }
})

it('a quantised weight used in any other way is the matrix that it stands for', async () => {
  const w = draw(12, 3)
  const make = () => quantizeWeight(w, [4, 3], { format: 'int8' }).weight
  const dense = tensor(Float32Array.from(await values(make(), f32)), [4, 3])
  const x = tensor(draw(3, 5))
  for (const f of [
    (m: Tensor) => mul(m, 2),
    (m: Tensor) => matmul(m, x),
    (m: Tensor) => matmul(x, m, { transposeY: true }),
    (m: Tensor) => take(m, tensor([2, 0], { dtype: 'i32' })),
    (m: Tensor) => take(m, tensor([2, 0], { dtype: 'i32' }), { axis: 1 }),
  ])
    expect(await values(f(make()), f32)).toEqual(await values(f(dense), f32))
})

it('says what does not fit', async () => {
  expect(() => quantizeWeight([1], [1, 1], { format: 'int3' as 'int8' })).toThrow(ValueError)
  expect(() => quantizeWeight([1, 2], [1, 1], { format: 'int8' })).toThrow(ShapeError)
  expect(() => quantizeWeight([Number.NaN], [1, 1], { format: 'int8' })).toThrow(/finite/)
  expect(() => quantizeWeight([70000], [1, 1], { format: 'f16' })).toThrow(/use int8/)
  const packed = packedParts(quantizeWeight([1, 2], [2, 1], { format: 'int8' }).weight)
  if (!packed) throw new Error('not packed')
  const [codes, scales] = packed.parts
  expect(() => dequantize({ ...packed, parts: [codes] })).toThrow(DTypeError)
  expect(() => dequantize({ parts: [codes, tensor([1, 2])], attrs: packed.attrs })).toThrow(ShapeError)
  expect(() => dequantize({ parts: [scales, scales], attrs: packed.attrs })).toThrow(DTypeError)
  const { weight } = quantizeWeight([1, 2], [2, 1], { format: 'int8' })
  expect(() => linear(tensor([1, 2, 3]), weight)).toThrow(/the last axis of x is 3, the weight takes 2/)
  expect(() => linear(tensor([1, 2]), weight, tensor([1, 2]))).toThrow(ShapeError)
  // an id of the padding is out of range, too
  const table = quantizeWeight(draw(12, 1), [3, 4], { format: 'q4', outAxis: 0 }).weight
  await expect(values(take(table, tensor([3], { dtype: 'i32' })))).rejects.toThrow(/id 3 is outside 0\.\.2/)
})
