import * as T from '@heed/tensor'
import { realize, reference, type Tensor, tensor } from '@heed/tensor'
import { beforeAll, describe, expect, it } from 'vitest'
import { uniform } from '../test/oracle.js'
import { type CpuBackend, cpu } from './backend.js'

let backend: CpuBackend
const oracle = reference({ precision: 'f64' })
beforeAll(async () => {
  backend = await cpu()
})

/** Runs the same expression on both backends; `ops` must have run on WASM loops. */
async function same(ops: string[], build: () => Tensor, against = oracle, tolerance = 1e-6): Promise<void> {
  const [got, want] = [build(), build()]
  const report = await realize([got], { backend, strict: true })
  await realize([want], { backend: against })
  for (const op of ops) {
    // alone, or in a chain with what is around it
    const how = report.ran.filter((r) => r.op === op || r.op === 'chain').map((r) => r.how)
    expect(how.length).toBeGreaterThan(0)
    expect(how).not.toContain('reference')
  }
  expect(report.copies).toBe(0)
  const [a, b] = [await got.data(), await want.data()]
  expect(a.length).toBe(b.length)
  for (let i = 0; i < b.length; i++) {
    const [x, y] = [Number(a[i]), Number(b[i])]
    if (!(Object.is(x, y) || x === y || Math.abs(x - y) <= tolerance * Math.max(1, Math.abs(y))))
      expect.fail(`[${i}]: got ${x}, want ${y}`)
  }
}
const make = (seed: number, shape: number[]): Tensor => {
  const random = uniform(seed)
  return tensor(
    Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => 3 * random()),
    shape,
  )
}
const SPECIAL = [
  0,
  -0,
  1,
  -1,
  1e-30,
  -1e-8,
  0.6249,
  0.6251,
  -20,
  20,
  88.7,
  88.8,
  -87.3,
  -88,
  -104,
  1e30,
  Infinity,
  -Infinity,
  NaN,
]

const { add, sub, mul, div, maximum, less, lessEqual, equal, neg, sqrt, exp, log, floor, tanh, erf } = T
const binary = { add, sub, mul, div, maximum, less, lessEqual, equal }
const unary = { neg, sqrt, exp, log, floor, tanh, erf }

describe.each(Object.entries(binary))('%s', (name, f) => {
  it.each<[string, () => [Tensor, Tensor]]>([
    ['the same shape', () => [make(1, [5, 7]), make(2, [5, 7])]],
    ['no elements', () => [make(1, [0, 7]), make(2, [0, 7])]],
    ['one element', () => [make(1, [1]), make(2, [1])]],
    ['a row', () => [make(1, [3, 5, 9]), make(2, [9])]],
    ['a column', () => [make(1, [3, 5, 9]), make(2, [3, 5, 1])]],
    ['a column and a row', () => [make(1, [6, 1]), make(2, [1, 11])]],
    ['a middle axis', () => [make(1, [2, 1, 9]), make(2, [4, 3, 2, 5, 9])]],
    [
      'permuted operands',
      () => [T.transpose(make(1, [9, 4, 6]), [1, 2, 0]), T.transpose(make(2, [4, 9, 6]), [0, 2, 1])],
    ],
    [
      'a slice with a step',
      () => [
        T.slice(make(1, [6, 20]), [
          [1, 5],
          [2, 19, 3],
        ]),
        make(2, [4, 6]),
      ],
    ],
    ['a scalar', () => [make(1, [6, 5]), tensor(0.5)]],
  ])('%s', async (_what, operands) => {
    await same([name], () => {
      const [a, b] = operands()
      return f(a, b)
    })
  })
  it('zeros, infinities, NaN and equal values', async () => {
    const n = SPECIAL.length
    const values = (turn: boolean) =>
      tensor(
        Float32Array.from({ length: n * n }, (_, i) => SPECIAL[turn ? i % n : Math.floor(i / n)]),
        [n * n],
      )
    const [got, want] = [0, 1].map(() => f(values(false), values(true)))
    await realize([got], { backend })
    await realize([want], { backend: reference() })
    // which zero wins a maximum is not said
    const plain = (data: T.TypedArray) => Array.from(data as Float32Array, (v) => v + 0)
    expect(plain(await got.data())).toEqual(plain(await want.data()))
  })
  it('integers', async () => {
    const ints = (seed: number) => T.cast(make(seed, [4, 5]), 'i32')
    const build = () => f(ints(1), T.maximum(ints(2), 1))
    const [got, want] = [build(), build()]
    await realize([got], { backend })
    await realize([want], { backend: oracle })
    expect([...(await got.data())].map(Number)).toEqual([...(await want.data())].map(Number))
  })
})

describe.each(Object.entries(unary))('%s', (name, f) => {
  it.each<[string, () => Tensor]>([
    ['contiguous', () => make(1, [5, 7])],
    ['no elements', () => make(1, [0])],
    ['permuted', () => T.transpose(make(1, [5, 7, 3]), [2, 0, 1])],
    ['broadcast', () => T.broadcastTo(make(1, [5, 1]), [3, 5, 6])],
  ])('%s', async (_what, x) => {
    await same([name], () => f(T.mul(x(), name === 'sqrt' ? x() : 1)))
  })
  it('special values', async () => {
    await same([name], () => f(tensor(Float32Array.from(SPECIAL), [SPECIAL.length])), reference())
  })
  it('is accurate over its whole range', async () => {
    const n = 40_001
    const x = Float32Array.from({ length: n }, (_, i) => -10 + (20 * i) / (n - 1))
    const got = f(tensor(x, [n]))
    await realize([got], { backend })
    const want = f(tensor(x, [n]))
    await realize([want], { backend: oracle })
    const [a, b] = [await got.data(), await want.data()]
    let worst = 0
    for (let i = 0; i < n; i++)
      if (b[i] !== 0 && a[i] !== b[i] && !Number.isNaN(Number(b[i])))
        worst = Math.max(worst, Math.abs((Number(a[i]) - Number(b[i])) / Number(b[i])))
    expect(worst).toBeLessThan(name === 'erf' ? 4e-7 : 2.5e-7)
  })
})

it.each<[string, number[], number[]]>([
  ['rows', [4, 5, 9], [2]],
  ['columns', [40, 9], [0]],
  ['all', [3, 5, 7], [0, 1, 2]],
  ['the middle', [3, 5, 7], [1]],
  ['the outside', [3, 5, 7, 2], [0, 3]],
  ['no elements', [3, 0, 7], [1]],
  ['nothing left', [0, 3], [1]],
  ['one element', [1], [0]],
])('sum and max over %s, also of a permuted tensor', async (_what, shape, axes) => {
  await same(['sum'], () => T.sum(make(1, shape), { axes }))
  await same(['max'], () => T.max(make(1, shape), { axes, keepDims: true }))
  const perm = shape.map((_, i) => shape.length - 1 - i)
  await same(['sum'], () => T.sum(T.transpose(make(1, shape), perm), { axes }))
  await same(['max'], () => T.max(T.transpose(make(1, shape), perm), { axes }))
})

it('sums in double, and NaN wins a maximum', async () => {
  const x = new Float32Array(2 ** 20).fill(0.1)
  const total = T.sum(tensor(x, [x.length]))
  await realize([total], { backend })
  expect(await total.item()).toBe(Math.fround(Math.fround(0.1) * 2 ** 20))
  for (const at of [0, 5, 8]) {
    const values = new Float32Array(9)
    values[at] = NaN
    const top = T.max(tensor(values, [9]))
    await realize([top], { backend })
    expect(await top.item()).toBeNaN()
  }
})

it.each<[string, number[], number[], number[]]>([
  ['the same shape', [5, 7], [5, 7], [5, 7]],
  ['broadcast', [5, 1], [7], [3, 5, 7]],
])('where: %s', async (_what, c, a, b) => {
  await same(['where'], () =>
    T.where(T.less(make(1, c), 0), make(2, a), T.transpose(T.transpose(make(3, b)))),
  )
})

describe('update', () => {
  const at = (n: number) => tensor(n, { dtype: 'i32' })
  it.each<[string, () => Tensor]>([
    ['one position', () => T.update(make(1, [2, 3, 8, 4]), make(2, [2, 3, 1, 4]), at(5), { axis: 2 })],
    ['several positions', () => T.update(make(1, [2, 3, 8, 4]), make(2, [2, 3, 3, 4]), at(0), { axis: 2 })],
    ['all of it', () => T.update(make(1, [8, 4]), make(2, [8, 4]), at(0), { axis: 0 })],
    ['the first axis', () => T.update(make(1, [8, 4]), make(2, [2, 4]), at(6), { axis: 0 })],
    ['the last axis', () => T.update(make(1, [3, 8]), make(2, [3, 1]), at(7), { axis: 1 })],
    [
      'a permuted patch',
      () => T.update(make(1, [2, 8, 4]), T.transpose(make(2, [2, 4, 3]), [0, 2, 1]), at(2), { axis: 1 }),
    ],
    [
      'a patch of other heads',
      () =>
        T.update(make(1, [2, 3, 8, 4]), T.transpose(make(2, [2, 2, 3, 4]), [0, 2, 1, 3]), at(2), { axis: 2 }),
    ],
    ['a permuted cache', () => T.update(T.transpose(make(1, [4, 8])), make(2, [1, 4]), at(3), { axis: 0 })],
    ['nothing', () => T.update(make(1, [2, 8]), make(2, [2, 0]), at(3), { axis: 1 })],
    [
      'integers',
      () => T.update(T.cast(make(1, [8, 4]), 'i32'), T.cast(make(2, [2, 4]), 'i32'), at(6), { axis: 0 }),
    ],
  ])('%s', async (_what, build) => {
    await same([], build)
  })
})

// longer than a block of a program, than a chunk, than a piece of a sum
describe('large', () => {
  const [many, ...others] = [1, 2, 3].map((seed) => () => make(seed, [301, 307]))
  it.each<[string, string[], () => Tensor]>([
    ['as it lies', ['add'], () => add(many(), others[0]())],
    ['turned', ['add'], () => add(many(), T.transpose(make(4, [307, 301])))],
    ['a row', ['mul'], () => mul(many(), make(4, [307]))],
    ['a column', ['mul'], () => mul(make(4, [301, 1]), many())],
    ['a number', ['div'], () => div(many(), 3)],
    ['compared', ['less'], () => less(many(), make(4, [307]))],
    ['chosen', ['less', 'where'], () => T.where(less(many(), make(4, [307])), many(), others[1]())],
    ['cast', ['less', 'cast'], () => T.cast(less(many(), others[0]()), 'f32')],
    ['cast to bool', ['cast'], () => T.cast(floor(many()), 'bool')],
    ['sum of all', ['sum'], () => T.sum(many())],
    ['sum of rows', ['sum'], () => T.sum(many(), { axes: 1 })],
    ['sum of columns', ['sum'], () => T.sum(many(), { axes: 0 })],
    ['sum of a turned array', ['sum'], () => T.sum(T.transpose(many()), { axes: 0 })],
    ['maximum of rows', ['max'], () => T.max(many(), { axes: 1 })],
    ['maximum of columns', ['max'], () => T.max(many(), { axes: 0 })],
    ['maximum of all', ['max'], () => T.max(many())],
  ])('%s', async (_what, ops, build) => {
    await same(ops, build, oracle, 4e-6)
  })
})
