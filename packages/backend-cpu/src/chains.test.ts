import * as T from '@heed/tensor'
import { realize, reference, type Tensor, tensor } from '@heed/tensor'
import { afterAll, describe, expect, it } from 'vitest'
import { uniform } from '../test/oracle.js'
import { cpu } from './backend.js'

const oracle = reference({ precision: 'f64' })
const backends = [await cpu({ threads: 1 }), await cpu({ threads: 2 })]
afterAll(() => {
  for (const b of backends) b.dispose()
})
const make = (seed: number, shape: number[]): Tensor => {
  const random = uniform(seed)
  return tensor(
    Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => 2 * random()),
    shape,
  )
}
const { add, mul, sub, div, tanh, silu, gelu, sum, where, less, exp } = T

/** Runs on both, compares, and says how many nodes of each kind ran. */
async function ran(build: () => Tensor[]): Promise<(op: string) => number> {
  const want = build()
  await realize(want, { backend: oracle })
  let count = (_: string): number => 0
  const results: ArrayLike<number | bigint>[][] = []
  for (const backend of backends) {
    const got = build()
    const report = await realize(got, { backend })
    count = (op) => report.ran.filter((r) => r.op === op).reduce((n, r) => n + r.count, 0)
    const values = await Promise.all(got.map((x) => x.data()))
    for (const [k, g] of values.entries()) {
      const w = await want[k].data()
      expect(g.length).toBe(w.length)
      for (let i = 0; i < w.length; i++)
        if (!(Math.abs(Number(g[i]) - Number(w[i])) <= 3e-6 * Math.max(1, Math.abs(Number(w[i])))))
          expect.fail(`result ${k} at ${i}: ${g[i]} against ${w[i]}`)
    }
    results.push(values)
  }
  expect(results[0]).toEqual(results[1])
  return count
}

describe('chains of elementwise ops', () => {
  it.each([[[3]], [[5, 7]], [[40, 130]], [[0, 4]], [[]]])('become one node: %s', async (shape) => {
    const count = await ran(() => [add(mul(silu(make(1, shape)), make(2, shape)), make(3, shape))])
    expect(count('chain')).toBe(1)
    expect(count('silu') + count('mul') + count('add')).toBe(0)
  })
  it('take rows, columns, numbers, turned arrays and booleans', async () => {
    const count = await ran(() => {
      const x = make(1, [30, 70])
      const scaled = div(add(mul(x, make(2, [70])), make(3, [30, 1])), 3)
      return [where(less(scaled, T.transpose(make(4, [70, 30]))), tanh(scaled), mul(0.5, make(5, [1, 70])))]
    })
    expect(count('chain')).toBeGreaterThan(0)
    expect(count('where')).toBe(0)
  })
  it('keep a value that is an output or has another reader', async () => {
    const outputs = await ran(() => {
      const y = mul(make(1, [9]), make(2, [9]))
      return [y, add(y, 1)]
    })
    expect([outputs('mul'), outputs('add'), outputs('chain')]).toEqual([1, 1, 0])
    const readers = await ran(() => {
      const y = mul(make(1, [9]), make(2, [9]))
      return [sum(y), add(y, 1)]
    })
    expect([readers('mul'), readers('add')]).toEqual([1, 1])
  })
  it('do not work out a small value again for every row', async () => {
    const count = await ran(() => [mul(make(1, [40, 9]), exp(make(2, [9])))])
    expect([count('exp'), count('mul')]).toEqual([1, 1])
  })
  it('read one operand twice', async () => {
    const count = await ran(() => {
      const [x, y] = [make(1, [2000]), make(2, [2000])]
      return [add(mul(x, y), sub(x, mul(y, x)))]
    })
    expect(count('chain')).toBe(1)
  })
  it('are cut where a job would be too long', async () => {
    const count = await ran(() => {
      let y = make(1, [3, 600])
      for (let k = 2; k < 40; k++) y = add(mul(y, 0.9), make(k, [3, 600]))
      return [y]
    })
    expect(count('chain')).toBeGreaterThan(2)
    expect(count('chain')).toBeLessThan(20)
  })
  it('hold gradients of activations', async () => {
    const count = await ran(() => {
      const x = make(1, [6, 50])
      const y = mul(gelu(x), make(2, [6, 50]))
      return T.grad(sum(mul(y, y)), [x])
    })
    expect(count('gelu.vjp')).toBe(0)
    expect(count('chain')).toBeGreaterThan(0)
  })
  it('of whole numbers', async () => {
    const count = await ran(() => {
      const x = T.iota(3000, { dtype: 'i32' })
      return [mul(T.cast(where(less(x, 1500), x, T.iota(3000, { dtype: 'i32' })), 'f32'), 0.5)]
    })
    expect(count('chain')).toBe(1)
  })
})
