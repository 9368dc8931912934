import { describe, expect, it } from 'vitest'
import { tensor } from './create.js'
import { grad } from './grad.js'
import {
  alias,
  constant,
  currentPath,
  hashValue,
  postorder,
  recordCreationSites,
  scope,
  type Tensor,
} from './graph.js'
import { add, mul, neg, sin } from './ops/elementwise.js'
import { embedding } from './ops/indexing.js'
import { matmul } from './ops/matmul.js'
import { softmax } from './ops/normalize.js'
import { sum } from './ops/reduce.js'
import { transpose, zeros } from './ops/shape.js'
import { countNodes, printGraph } from './print.js'
import { planCount, realize } from './realize.js'
import { reference } from './reference/index.js'

describe('deep graphs', () => {
  const depth = 10_000
  it('are built, differentiated, compiled and run without recursion', async () => {
    const backend = reference()
    const x = tensor([0.25])
    let y = x
    for (let i = 0; i < depth; i++) y = add(y, mul(x, 2 ** -20))
    const [g] = grad(sum(y), [x])
    await realize([y, g], { backend })
    expect(await y.item()).toBeCloseTo(0.25 * (1 + depth * 2 ** -20), 5)
    expect(await g.item()).toBeCloseTo(1 + depth * 2 ** -20, 4)
    expect(planCount(backend)).toBe(1)
  }, 30_000)
  it('are walked inputs first, each node once', () => {
    const x = tensor([1])
    let y: Tensor = neg(x)
    for (let i = 0; i < 5000; i++) y = add(y, y)
    const order = postorder([y, y], (n) => n.inputs)
    expect(order).toHaveLength(5002)
    const at = new Map(order.map((n, i) => [n, i]))
    for (const n of order)
      for (const t of n.inputs) expect((at.get(t.node) ?? -1) < (at.get(n) ?? 0)).toBe(true)
  })
})

describe('hashValue', () => {
  it('tells plain data apart', () => {
    const values = [
      0,
      -0,
      1,
      '1',
      true,
      false,
      null,
      undefined,
      Number.NaN,
      [],
      [0],
      [[0]],
      [0, 0],
      {},
      { a: 1 },
      { b: 1 },
      { a: [1, 2] },
      { a: [1], b: 2 },
      'ab',
      ['a', 'b'],
    ]
    const seen = values.map((v) => hashValue(v).join())
    expect(new Set(seen).size).toBe(values.length)
    expect(hashValue({ a: [1, 2, { c: 'x' }] })).toEqual(hashValue({ a: [1, 2, { c: 'x' }] }))
  })
})

describe('scope', () => {
  it('nests, comes back after an error, and names nodes', () => {
    const inner = scope('blocks', () =>
      scope('3', () => ({ path: currentPath(), node: neg(tensor([1])).node })),
    )
    expect(inner.path).toBe('blocks.3')
    expect(inner.node.path).toBe('blocks.3')
    expect(() =>
      scope('a', () => {
        throw new Error('stop')
      }),
    ).toThrow('stop')
    expect(currentPath()).toBe('')
  })
})

describe('creation sites', () => {
  it('point at the line that built, in errors at run time', async () => {
    recordCreationSites(true)
    try {
      const ids = add(tensor([5], { dtype: 'i32' }), tensor([0], { dtype: 'i32' }))
      const rows = embedding(zeros([3, 2]), ids)
      const error = (await realize([rows], { backend: reference() }).catch((e: Error) => e)) as Error
      expect(error.message).toBe('take([3, 2], [1]): index 5 is outside 0..2')
      expect(error.stack).toContain('graph.test.ts')
    } finally {
      recordCreationSites(false)
    }
  })
})

describe('printing', () => {
  const build = (): Tensor => {
    const x = tensor([
      [1, 2],
      [3, 4],
    ])
    x.name = 'x'
    return scope('head', () => sum(mul(softmax(matmul(x, transpose(x))), 0.5)))
  }
  it('is stable text', () => {
    expect(printGraph(build())).toBe(
      [
        '%0 = leaf : f32[2,2]  # x',
        '%1 = transpose(%0) {perm=[1,0]} : f32[2,2]  # head',
        '%2 = matmul(%0, %1) : f32[2,2]  # head',
        '%3 = softmax(%2) {axis=1} : f32[2,2]  # head',
        '%4 = mul(%3, 0.5) : f32[2,2]  # head',
        '%5 = sum(%4) {axes=[0,1]} : f32[1,1]  # head',
        '%6 = reshape(%5) {shape=[]} : f32[]  # head',
        'return %6',
        '',
      ].join('\n'),
    )
    expect(printGraph(build())).toBe(printGraph(build()))
  })
  it('counts nodes without leaves and numbers', () => {
    expect(countNodes([build()])).toBe(6)
    const x = tensor([1])
    expect(countNodes([add(alias(x), constant(1)), sin(x)])).toBe(3)
  })
})

describe('tensors', () => {
  it('print what is known of them', async () => {
    const x = tensor([1, 2, 0.33333])
    expect(`${x}`).toBe('Tensor [3] f32 leaf [1, 2, 0.3333]')
    const y = neg(x)
    y.name = 'y'
    expect(`${y}`).toBe("Tensor [3] f32 'y' neg (not computed)")
    await realize([y], { backend: reference() })
    expect(`${y}`).toBe("Tensor [3] f32 'y' neg [-1, -2, -0.3333]")
  })
  it('nest, and refuse item() of many', async () => {
    const x = tensor([
      [[1], [2]],
      [[3], [4]],
    ])
    expect(await x.array()).toEqual([
      [[1], [2]],
      [[3], [4]],
    ])
    expect(await tensor([true, false]).array()).toEqual([true, false])
    await expect(x.item()).rejects.toThrow('item() needs one element, this tensor is [2, 2, 1]')
    expect([x.rank, x.size]).toEqual([3, 4])
  })
})
