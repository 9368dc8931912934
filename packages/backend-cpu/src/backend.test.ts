import {
  type AttentionOptions,
  add,
  attention,
  BackendError,
  broadcastTo,
  cumsum,
  grad,
  matmul,
  mul,
  type Report,
  realize,
  reference,
  release,
  reshape,
  scan,
  slice,
  sum,
  swapLast,
  type Tensor,
  tanh,
  tensor,
  transpose,
  ValueError,
} from '@heed/tensor'
import { beforeAll, describe, expect, it } from 'vitest'
import { uniform } from '../test/oracle.js'
import { type CpuBackend, cpu } from './backend.js'
import { OutOfMemoryError } from './errors.js'
import { embedded } from './wasm-binary.js'

let backend: CpuBackend
const oracle = reference({ precision: 'f64' })
beforeAll(async () => {
  backend = await cpu()
})

type Make = (seed: number, shape: number[]) => Tensor
/** Builds the expression twice, once for each backend, and compares every result. Returns the report of the WASM run. */
async function same(build: (make: Make) => Tensor[], tolerance = 1e-5): Promise<Report> {
  const make: Make = (seed, shape) => {
    const random = uniform(seed)
    return tensor(Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, random), shape)
  }
  const got = build(make)
  const want = build(make)
  const report = await realize(got, { backend, strict: true })
  await realize(want, { backend: oracle })
  for (const [i, t] of got.entries()) {
    const a = await t.data()
    const b = await want[i].data()
    expect(a.length).toBe(b.length)
    for (let j = 0; j < a.length; j++)
      if (
        !(
          a[j] === b[j] ||
          Math.abs(Number(a[j]) - Number(b[j])) <= tolerance * Math.max(1, Math.abs(Number(b[j])))
        )
      )
        expect.fail(`result ${i}[${j}]: got ${a[j]}, want ${b[j]}`)
  }
  return report
}
const ran = (report: Report, op: string) =>
  report.ran.filter((r) => r.op === op).map((r) => `${r.how} ×${r.count}`)

describe('matmul', () => {
  const shapes: [number[], number[]][] = [
    [
      [3, 4],
      [4, 5],
    ],
    [
      [0, 4],
      [4, 5],
    ],
    [
      [3, 0],
      [0, 5],
    ],
    [
      [1, 70],
      [70, 1],
    ],
    [
      [2, 3, 7, 9],
      [9, 11],
    ],
    [
      [2, 3, 7, 9],
      [2, 3, 9, 4],
    ],
    [
      [2, 1, 7, 9],
      [3, 9, 4],
    ],
    [
      [2, 1, 3, 5, 6],
      [4, 1, 6, 2],
    ],
    [
      [5, 6],
      [2, 3, 6, 2],
    ],
    [
      [1, 1],
      [1, 1],
    ],
    [
      [3, 1, 8],
      [3, 8, 1],
    ],
  ]
  it.each(shapes)('%j · %j', async (a, b) => {
    const report = await same((make) => [matmul(make(1, a), make(2, b))])
    expect(ran(report, 'matmul')).toEqual(['native ×1'])
  })
  it('reads transposed, broadcast and sliced operands in place', async () => {
    const report = await same((make) => {
      const x = make(3, [4, 6, 10])
      return [
        matmul(swapLast(x), x),
        matmul(x, swapLast(x)),
        matmul(transpose(x, [1, 2, 0]), transpose(x, [1, 0, 2])),
        matmul(
          slice(x, [
            [0, 4, 2],
            [1, 6],
            [3, 9, 3],
          ]),
          broadcastTo(make(4, [1, 1, 3]), [2, 2, 3]),
        ),
        matmul(
          broadcastTo(make(5, [1, 6]), [9, 6]),
          swapLast(
            slice(x, [
              [0, 1],
              [0, 6],
              [0, 6],
            ]),
          ),
        ),
      ]
    })
    expect(report.copies).toBe(0)
  })
  it('has the gradient of the formula', async () => {
    await same((make) => {
      const [a, b] = [make(6, [2, 3, 5, 7]), make(7, [3, 7, 4])]
      return grad(sum(mul(matmul(a, b), make(8, [2, 3, 5, 4]))), [a, b])
    })
  })
})

describe('attention', () => {
  const sizes = [
    { name: 'square', q: [2, 4, 9, 6], k: [2, 4, 9, 6], v: [2, 4, 9, 5] },
    { name: 'grouped', q: [2, 4, 11, 8], k: [2, 2, 11, 8], v: [2, 2, 11, 8] },
    { name: 'cross', q: [1, 2, 3, 4], k: [1, 1, 17, 4], v: [1, 1, 17, 4] },
    { name: 'one query', q: [2, 2, 1, 8], k: [2, 2, 13, 8], v: [2, 2, 13, 8] },
    { name: 'one query of grouped heads', q: [2, 4, 1, 8], k: [2, 2, 13, 8], v: [2, 2, 13, 5] },
    { name: 'one query of many heads', q: [1, 6, 1, 4], k: [1, 1, 13, 4], v: [1, 1, 13, 4] },
  ]
  const forms: [
    string,
    (make: Make, n: { b: number; h: number; q: number; k: number }) => AttentionOptions,
  ][] = [
    ['plain', () => ({})],
    ['scale', () => ({ scale: 1.7 })],
    ['causal', () => ({ causal: true })],
    ['offset', () => ({ causal: true, offset: 3 })],
    ['negative offset', () => ({ causal: true, offset: -2 })],
    ['offset as a tensor', () => ({ causal: true, offset: tensor(2, { dtype: 'i32' }) })],
    [
      'offset out of a list',
      () => ({
        causal: true,
        offset: reshape(slice(tensor(Int32Array.of(-5, 2, 9), { dtype: 'i32' }), [[1, 2]]), []),
      }),
    ],
    ['window', () => ({ causal: true, offset: 1, window: [2, 0] })],
    ['two-sided window', () => ({ window: [3, 1] })],
    ['window, sink tokens and offset', () => ({ causal: true, offset: 4, window: [2, null], sinkTokens: 2 })],
    ['blocks', () => ({ block: 3, back: 1 })],
    ['causal blocks', () => ({ causal: true, offset: 2, block: 2, back: 1 })],
    ['the widest blocks', () => ({ causal: true, block: 2 ** 31 - 1, back: 7 })],
    ['softcap', () => ({ causal: true, softcap: 0.8, offset: 1 })],
    [
      'padding',
      (_, { b, k }) => ({
        mask: tensor(
          Uint8Array.from({ length: b * k }, (_x, i) => (i % k < 3 + Math.floor(i / k) ? 1 : 0)),
          { shape: [b, 1, 1, k], dtype: 'bool' },
        ),
        causal: true,
        offset: 2,
      }),
    ],
    [
      'mask per query',
      (_, { q, k }) => ({
        mask: tensor(
          Uint8Array.from({ length: q * k }, (_x, i) => ((i * 7) % 3 && Math.floor(i / k) !== 1 ? 1 : 0)),
          { shape: [q, k], dtype: 'bool' },
        ),
      }),
    ],
  ]
  for (const s of sizes)
    it.each(forms)(`${s.name}: %s, forward and backward`, async (_name, form) => {
      const report = await same((make) => {
        const [q, k, v] = [make(1, s.q), make(2, s.k), make(3, s.v)]
        const options = form(make, { b: s.q[0], h: s.q[1], q: s.q[2], k: s.k[2] })
        const { z } = attention(q, k, v, options)
        return [z, ...grad(sum(mul(z, make(4, [...s.q.slice(0, 3), s.v[3]]))), [q, k, v])]
      })
      expect(ran(report, 'attention')).toEqual(['fused ×1'])
      expect(ran(report, 'attention.vjp')).toEqual(['fused ×1'])
      expect(report.inlined).toEqual([])
    })
  for (const s of sizes)
    it.each([
      ['by head and distance', (h: number, q: number, k: number) => [1, h, q, k]],
      ['by key', (h: number, _q: number, k: number) => [h, 1, k]],
      ['by query', (_h: number, q: number) => [q, 1]],
      ['as one number', () => []],
    ] as [string, (h: number, q: number, k: number) => number[]][])(
      `${s.name}: learned bias %s and learned sink logits`,
      async (_name, shape) => {
        const report = await same((make) => {
          const [q, k, v] = [make(1, s.q), make(2, s.k), make(3, s.v)]
          const bias = make(5, shape(s.q[1], s.q[2], s.k[2]))
          const sink = make(6, [s.q[1]])
          const { z, lse } = attention(q, k, v, { causal: true, offset: 1, softcap: 2, bias, sink })
          const loss = add(sum(mul(z, make(4, [...s.q.slice(0, 3), s.v[3]]))), sum(lse))
          return [z, ...grad(loss, [q, k, v, bias, sink])]
        })
        expect(ran(report, 'attention')).toEqual(['fused ×1'])
        expect(ran(report, 'attention.vjp')).toEqual(['fused ×1'])
        expect(report.inlined).toEqual([])
      },
    )
  it('gives the log-sum-exp and takes its cotangent, alone and with z', async () => {
    const report = await same((make) => {
      const [q, k, v] = [make(1, [1, 2, 5, 4]), make(2, [1, 2, 6, 4]), make(3, [1, 2, 6, 4])]
      const { z, lse } = attention(q, k, v)
      return [
        lse,
        ...grad(sum(mul(lse, make(5, [1, 2, 5]))), [q, k]),
        ...grad(mul(sum(lse), sum(z)), [q, k, v]),
      ]
    })
    expect(ran(report, 'attention.vjp')).toEqual(['fused ×2'])
  })
  it('takes the largest offset there is', async () => {
    const report = await same((make) => {
      const [q, k] = [make(1, [1, 2, 1, 4]), make(2, [1, 2, 6, 4])]
      return [attention(q, k, k, { causal: true, offset: 2 ** 31 - 1 }).z]
    })
    expect(ran(report, 'attention')).toEqual(['fused ×1'])
  })
  it('reads heads through strides, and one tensor as q, k and v', async () => {
    const report = await same((make) => {
      const x = transpose(make(1, [2, 7, 3, 4]), [0, 2, 1, 3]) // [batch, head, position, dim]
      const { z } = attention(x, x, x, { causal: true })
      return [transpose(z, [0, 2, 1, 3]), ...grad(sum(mul(z, z)), [x])]
    })
    expect(ran(report, 'attention')).toEqual(['fused ×1'])
  })
  it('needs memory linear in T at T = 4096, forward and backward', async () => {
    const bytes: number[] = []
    for (const T of [2048, 4096]) {
      const q = tensor(new Float32Array(T * 8), [1, 1, T, 8])
      const { z } = attention(q, q, q, { causal: true })
      const report = await realize([z, ...grad(sum(z), [q])], { backend, strict: true })
      bytes.push(report.arenaBytes)
    }
    // the pattern alone would be 64 MiB
    expect(bytes[1]).toBeLessThan(4 * 2 ** 20)
    expect(bytes[1]).toBeLessThan(2 * bytes[0])
  })
})

it('runs loops: a scan and its gradient', async () => {
  const report = await same((make) => {
    const [w, xs, h0] = [make(1, [5, 5]), make(2, [7, 3, 5]), make(3, [3, 5])]
    const { carry, ys } = scan(
      ([h], [x]) => {
        const next = tanh(add(matmul(h, w), x)) // [batch, hidden]
        return { carry: [next], ys: [sum(next, { axes: 1 })] }
      },
      { init: [h0], xs: [xs] },
    )
    return [carry[0], ys[0], ...grad(add(sum(carry[0]), sum(mul(ys[0], ys[0]))), [w, xs, h0])]
  }, 1e-4)
  expect(ran(report, 'scan')).not.toEqual([])
})

describe('the backend', () => {
  it('says which kernels it runs', () => {
    expect(backend.name).toBe(
      `cpu (${backend.build}${backend.threads > 1 ? `, ${backend.threads} threads` : ''})`,
    )
  })
  it('allocates nothing in the second run of a plan', async () => {
    const w = tensor(new Float32Array(256), [16, 16])
    const step = async () => {
      const y = sum(matmul(w, w))
      await realize([y], { backend })
      return y
    }
    const kept = [await step()]
    const before = backend.bytesInUse
    kept.push(await step())
    expect(backend.bytesInUse - before).toBe(64)
  })
  it('keeps its values when the memory grows', async () => {
    const fresh = await cpu()
    const small = matmul(tensor([[1, 2]]), tensor([[3], [4]]))
    await realize([small], { backend: fresh })
    const before = fresh.bytesInUse
    const doubled = mul(tensor(new Float32Array(2e6).fill(1), [2e6]), 2)
    await realize([doubled], { backend: fresh })
    expect(fresh.bytesInUse - before).toBeGreaterThan(8e6)
    expect((await doubled.data())[1_999_999]).toBe(2)
    const again = matmul(small, small)
    await realize([again], { backend: fresh })
    expect([...(await small.data()), ...(await again.data())]).toEqual([11, 121])
  })
  it('reports running out of memory and goes on', async () => {
    const tiny = await cpu({ maxBytes: 1 << 20 })
    expect(() => tiny.upload(new Float32Array(1e6), [1e6], 'f32')).toThrow(OutOfMemoryError)
    const x = tensor([
      [1, 2],
      [3, 4],
    ])
    const y = matmul(x, x)
    await realize([y], { backend: tiny })
    expect([...(await y.data())]).toEqual([7, 10, 15, 22])
  })
  for (const threads of [1, 2])
    it(`stays usable when memory ends, wherever that is, on ${threads} thread(s)`, async () => {
      // numbers of a megabyte
      const MB = 2 ** 18
      const ones = (n: number): Tensor => tensor(new Float32Array(n).fill(1), [n])
      const backend = await cpu({ maxBytes: 8 << 20, threads })
      const works = async (): Promise<void> => {
        const x = ones(1000)
        const y = mul(add(x, 1), sum(x))
        await realize([y], { backend })
        expect((await y.data())[999]).toBe(2000)
        release(x)
        release(y)
      }
      const fails = async (outputs: Tensor[], asked: number): Promise<void> => {
        const error = await realize(outputs, { backend }).catch((e: unknown) => e)
        expect(error).toBeInstanceOf(OutOfMemoryError)
        const { requested, inUse, limit } = error as OutOfMemoryError
        expect(requested - asked).toBeGreaterThanOrEqual(0)
        expect(requested - asked).toBeLessThan(1024)
        expect(limit).toBe(8 << 20)
        expect((error as Error).message).toContain(`asked for ${requested} bytes with ${inUse} in use`)
        await works()
      }
      await works()
      const before = backend.bytesInUse
      // an upload, a result, an arena
      await fails([sum(ones(12 * MB))], 12 << 20)
      await fails([broadcastTo(ones(1), [12 * MB])], 12 << 20)
      await fails([sum(cumsum(add(broadcastTo(ones(1), [5 * MB]), 1), { axis: 0 }))], 10 << 20)
      expect(backend.bytesInUse - before).toBeLessThanOrEqual(64)
      // a run that once was large does not starve the others: 4 MB of arena and twice 2.5 MB are too much
      await realize([sum(add(broadcastTo(ones(1), [4 * MB]), 1))], { backend })
      expect(backend.bytesInUse - before).toBeGreaterThan(4 << 20)
      const kept = ones(2.5 * MB)
      await realize([sum(kept)], { backend })
      const more = backend.upload(new Float32Array(2.5 * MB), [2.5 * MB], 'f32')
      await works()
      expect(backend.bytesInUse - before).toBeLessThan(6 << 20)
      backend.free(more)
      backend.dispose()
    })
  it('takes the bytes of a module', async () => {
    const wasm = await embedded('baseline')
    const made = await cpu({ wasm, build: 'baseline' })
    expect(made.build).toBe('baseline')
    await expect(cpu({ wasm: new Uint8Array([1, 2, 3]) })).rejects.toThrow(/does not load/)
    await expect(cpu({ wasm: new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]) })).rejects.toThrow(
      /no import named env.memory/,
    )
  })
  it('gives no gradient noise where one key has all the weight', async () => {
    // scores of hundreds: the softmax is one-hot, its derivative is exactly 0, and any rounding would be multiplied by k
    const backend = await cpu()
    const grid = (seed: number, n: number): number[] =>
      Array.from({ length: n }, (_, i) => Math.sin(seed + 1.7 * i) * 40)
    const q = tensor(Float32Array.from(grid(1, 5 * 16)), [1, 1, 5, 16])
    const k = tensor(Float32Array.from(grid(2, 9 * 16)), [1, 1, 9, 16])
    const v = tensor(
      Float32Array.from(grid(3, 9 * 16), (x) => x / 40),
      [1, 1, 9, 16],
    )
    const { z } = attention(q, k, v)
    const seed = tensor(
      Float32Array.from(grid(4, 5 * 16), (x) => x / 40),
      [1, 1, 5, 16],
    )
    const [dq, dk] = grad(z, [q, k], { seed })
    await realize([dq, dk], { backend })
    for (const g of [dq, dk])
      expect(Math.max(...[...((await g.data()) as Float32Array)].map(Math.abs))).toBeLessThan(1e-12)
  })
  it('reports what it leaves to plain loops, dtype by dtype', async () => {
    const backend = await cpu({ threads: 1 })
    const ids = tensor([1, 2, 3], { dtype: 'i32' })
    const x = tensor([1, 2, 3])
    const { ran } = await realize([add(ids, 1), add(x, 1), sum(ids), sum(x)], { backend })
    const how = (op: string): string[] => ran.filter((r) => r.op === op).map((r) => r.how)
    expect(how('add').sort()).toEqual(['native', 'reference'])
    expect(how('sum').sort()).toEqual(['native', 'reference'])
    backend.dispose()
  })
  it('refuses threads, unknown builds and unknown options', async () => {
    await expect(cpu({ threads: 0 })).rejects.toThrow(/threads is 0, expected a count/)
    await expect(cpu({ threads: 257 })).rejects.toThrow(/threads is 257, expected a count from 1 to 256/)
    // 256 are taken: what is wrong then is the module
    await expect(cpu({ threads: 256, wasm: new Uint8Array(8) })).rejects.toThrow(/module does not load/)
    await expect(cpu({ threads: 1.5 })).rejects.toThrow(BackendError)
    // @ts-expect-error no such build
    await expect(cpu({ build: 'fast' })).rejects.toThrow(/unknown build 'fast'/)
    // @ts-expect-error no such option
    await expect(cpu({ thread: 1 })).rejects.toThrow(ValueError)
  })
})
