// The reference kernels are what other backends are compared with, so here they are compared with numbers.
import { expect, it } from 'vitest'
import {
  add,
  argMax,
  cumsum,
  dynamicSlice,
  foldIn,
  mul,
  pow,
  randomKey,
  realize,
  reference,
  sort,
  type Tensor,
  tap,
  tensor,
  toBF16,
  trace,
} from '../index.js'

const backend = reference()
const read = async (...tensors: Tensor[]): Promise<number[][]> => {
  await realize(tensors, { backend })
  return Promise.all(tensors.map(async (t) => Array.from((await t.data()) as Float32Array)))
}

it('sort keeps the order of equal values in both directions, NaN is largest', async () => {
  const x = tensor([2, 1, Number.NaN, 2, 1])
  const [up, down] = [sort(x, { axis: 0 }), sort(x, { axis: 0, descending: true })]
  expect(await read(up.values, up.indices, down.values, down.indices)).toEqual([
    [1, 1, 2, 2, Number.NaN],
    [1, 4, 0, 3, 2],
    [Number.NaN, 2, 2, 1, 1],
    [2, 0, 3, 1, 4],
  ])
})
it('cumsum from either side, with and without the element itself', async () => {
  const x = tensor([1, 2, 4])
  const sums = [false, true].flatMap((reverse) =>
    [false, true].map((exclusive) => cumsum(x, { axis: 0, reverse, exclusive })),
  )
  expect(await read(...sums)).toEqual([
    [1, 3, 7],
    [0, 1, 3],
    [7, 6, 4],
    [6, 4, 0],
  ])
})
it('argMax takes the first of equals, and the first NaN', async () => {
  const first = (x: number[]): Tensor => argMax(tensor(x), { axis: 0 })
  expect(await read(first([1, 3, 3]), first([Number.NaN, 3, Number.NaN]), first([5, Number.NaN, 9]))).toEqual(
    [[1], [0], [1]],
  )
})
it('a slice at a computed offset ends within the tensor', async () => {
  const at = (n: number): Tensor =>
    dynamicSlice(tensor([1, 2, 3]), add(tensor(n, { dtype: 'i32' }), 0), { axis: 0, size: 2 })
  expect(await read(at(0), at(1))).toEqual([
    [1, 2],
    [2, 3],
  ])
  for (const n of [-1, 2, 3])
    await expect(realize([at(n)], { backend })).rejects.toThrow('the slice ends beyond the tensor')
})
it('pow is IEEE 754’s', async () => {
  const base = tensor([1, 1, -1, -1, -1, 2, 0])
  const power = tensor([Number.NaN, Infinity, Infinity, -Infinity, Number.NaN, -1, 0])
  expect(await read(pow(base, power))).toEqual([[1, 1, 1, 1, Number.NaN, 0.5, 1]])
})
it('a key folded with a name is not the key folded with that name’s number', () => {
  const host = (k: Tensor): string => `${k.value?.host}`
  // FNV-1a of the empty text
  expect(host(foldIn(randomKey(1), ''))).not.toBe(host(foldIn(randomKey(1), 0x811c9dc5 | 0)))
})
it('a NaN stays one as bfloat16', () => {
  expect(toBF16(Number.NaN) & 0x7fff).toBeGreaterThan(0x7f80)
})
it('before is what stood there before the first of several edits', async () => {
  const run = await trace((x: Tensor) => tap('x', mul(x, 2)), tensor([1]), {
    edit: [
      { at: 'x', op: 'add', value: 10 },
      { at: 'x', op: 'scale', value: 3 },
    ],
  })
  expect(await read(add(run.before('x'), 0), add(run.get('x'), 0))).toEqual([[2], [36]])
})
