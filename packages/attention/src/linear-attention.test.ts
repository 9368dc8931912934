import { reference, setBackend, type Tensor, tensor } from '@heed/tensor'
import { beforeAll, describe, expect, it } from 'vitest'
import { linearAttention } from './index.js'

beforeAll(() => setBackend(reference({ precision: 'f64' })))

const column = (v: number[]): Tensor => tensor(v, [1, 1, v.length, 1])

describe('linearAttention', () => {
  it('is a weighted mean of values with weights f(q)·f(k), f(x) = x + 1 above 0', async () => {
    const [q, k, v] = [column([1, 2]), column([0, 3]), column([10, 20])]
    const flat = async (t: Tensor): Promise<number[]> => Array.from((await t.data()) as Float32Array, Number)
    expect(await flat(linearAttention(q, k, v))).toEqual([(10 + 80) / 5, (10 + 80) / 5])
    expect(await flat(linearAttention(q, k, v, { causal: true }))).toEqual([10, 18])
    // eps stands beside f(q)·Σ f(k): 2 and 15 here
    expect(await flat(linearAttention(q, k, v, { causal: true, eps: 1 }))).toEqual([20 / 3, 270 / 16])
    expect(await flat(linearAttention(q, k, v, { eps: 1 }))).toEqual([180 / 11, 270 / 16])
    expect(() => linearAttention(q, k, v, { feature: 'relu' } as never)).toThrow(/'feature' is unknown/)
  })
})
