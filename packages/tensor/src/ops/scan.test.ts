import { describe, expect, it } from 'vitest'
import { tensor } from '../create.js'
import { grad } from '../grad.js'
import { constant, type Tensor } from '../graph.js'
import { realize } from '../realize.js'
import { reference } from '../reference/index.js'
import { add, cast, less, mul, sub, tanh, where } from './elementwise.js'
import { take } from './indexing.js'
import { linear, matmul } from './matmul.js'
import { softmax } from './normalize.js'
import { sum } from './reduce.js'
import { type ScanStep, scan } from './scan.js'
import { concat, flip, iota, reshape, slice } from './shape.js'

const backend = reference({ precision: 'f64' })
const read = async (...tensors: Tensor[]): Promise<number[][]> => {
  await realize(tensors, { backend })
  return Promise.all(tensors.map(async (t) => Array.from((await t.data()) as Float64Array)))
}
const near = (got: number[], want: number[], digits = 12): void => {
  expect(got).toHaveLength(want.length)
  got.forEach((g, i) => expect(g).toBeCloseTo(want[i], digits))
}
const wave = (n: number, from = 0): Float64Array =>
  Float64Array.from({ length: n }, (_, i) => Math.sin(1.7 * (i + from)) * 0.8)

/** The same loop without scan. */
function unrolled(
  step: ScanStep,
  init: Tensor[],
  xs: Tensor[],
  reverse = false,
): { carry: readonly Tensor[]; ys: Tensor[] } {
  const length = xs[0].shape[0]
  let carry: readonly Tensor[] = init
  const collected: Tensor[][] = []
  for (let k = 0; k < length; k++) {
    const t = reverse ? length - 1 - k : k
    const r = step(
      carry,
      xs.map((x) => reshape(slice(x, [[t, t + 1]]), x.shape.slice(1))),
    )
    carry = r.carry
    collected[t] = [...r.ys]
  }
  return {
    carry,
    ys: collected[0].map((_, i) => concat(collected.map((y) => reshape(y[i], [1, ...y[i].shape])))),
  }
}

/** A small recurrent network with a captured matrix and a captured index. */
function network(reverse: boolean, loop: 'scan' | 'unrolled') {
  const h = tensor(wave(3), { shape: [3] })
  const x = tensor(wave(12, 5), { shape: [4, 3] })
  const w = tensor(wave(9, 20), { shape: [3, 3] })
  const order = tensor([2, 0, 1], { dtype: 'i32' })
  const step: ScanStep = ([c], [v]) => {
    const next = tanh(add(matmul(take(c, order), w), v))
    return { carry: [next], ys: [mul(softmax(next), v)] }
  }
  const { carry, ys } =
    loop === 'scan' ? scan(step, { init: [h], xs: [x], reverse }) : unrolled(step, [h], [x], reverse)
  return { wrt: [h, x, w], outputs: [carry[0], ys[0]] }
}

describe.each([false, true])('reverse %s', (reverse) => {
  const both = () => [network(reverse, 'scan'), network(reverse, 'unrolled')] as const
  it('gives the values of the unrolled loop', async () => {
    const [a, b] = both()
    const [got, want] = [await read(...a.outputs), await read(...b.outputs)]
    got.forEach((g, i) => near(g, want[i], 14))
  })
  it('gives its gradients, also of captured tensors', async () => {
    const of = ({ wrt, outputs }: ReturnType<typeof network>) =>
      grad(add(sum(mul(outputs[0], outputs[0])), sum(mul(outputs[1], 1.5))), wrt)
    const [a, b] = both()
    const [got, want] = [await read(...of(a)), await read(...of(b))]
    got.forEach((g, i) => near(g, want[i]))
  })
  it('gives its second derivatives', async () => {
    const of = ({ wrt, outputs }: ReturnType<typeof network>) => {
      const first = grad(add(sum(mul(outputs[0], outputs[0])), sum(mul(outputs[1], 1.5))), wrt)
      const dot = first
        .map((g, i) => sum(mul(g, reshape(tensor(wave(g.size, 40 + i)), g.shape))))
        .reduce((p, q) => add(p, q))
      return grad(dot, wrt)
    }
    const [a, b] = both()
    const [got, want] = [await read(...of(a)), await read(...of(b))]
    got.forEach((g, i) => near(g, want[i], 11))
  })
})

describe('scan', () => {
  it('collects in the order of the slices and carries whole numbers', async () => {
    const x = tensor([1, 2, 3, 4])
    const step: ScanStep = ([n, total], [v]) => ({
      carry: [add(n, 1), add(total, mul(v, cast(n, 'f32')))],
      ys: [n, sub(v, total)],
    })
    const init = [constant(10, 'i32'), constant(0)]
    const forward = scan(step, { init, xs: [x] })
    const backward = scan(step, { init, xs: [x], reverse: true })
    expect(await read(...forward.carry, ...forward.ys)).toEqual([
      [14],
      [10 + 22 + 36 + 52],
      [10, 11, 12, 13],
      [1, 2 - 10, 3 - 32, 4 - 68],
    ])
    expect((await read(...backward.carry, ...backward.ys))[2]).toEqual([13, 12, 11, 10])
    expect(forward.carry[0].dtype).toBe('i32')
    const [g] = grad(forward.carry[1], [x])
    expect(await read(g)).toEqual([[10, 11, 12, 13]])
  })
  it('is the same node for the same loop: one plan for other values', async () => {
    const own = reference()
    const { planCount } = await import('../realize.js')
    for (const by of [1, 2, 3]) {
      const w = tensor([by])
      const { carry } = scan(([c], [x]) => ({ carry: [add(mul(c, w), x)], ys: [] }), {
        init: [tensor([0])],
        xs: [tensor([[1], [by]])],
      })
      await realize(carry, { backend: own })
      expect(await carry[0].item()).toBe(2 * by)
    }
    expect(planCount(own)).toBe(1)
  })
  it('tells loops with other bodies or numbers apart', async () => {
    const run = async (f: (c: Tensor, x: Tensor) => Tensor): Promise<number> => {
      const { carry } = scan(([c], [x]) => ({ carry: [f(c, x)], ys: [] }), {
        init: [constant(1)],
        xs: [tensor([2, 3])],
      })
      return (await read(carry[0]))[0][0]
    }
    expect(await run((c, x) => add(c, x))).toBe(6)
    expect(await run((c, x) => mul(c, x))).toBe(6)
    expect(await run((c, x) => sub(c, x))).toBe(-4)
    expect(await run((c, x) => sub(x, c))).toBe(2)
    expect(await run((c, x) => add(mul(c, 2), x))).toBe(11)
    expect(await run((c, x) => add(mul(c, 3), x))).toBe(18)
  })
  it('of no steps gives the carries back, with their gradient', async () => {
    const h = tensor([1, 2])
    const x = tensor(new Float32Array(0), { shape: [0, 2] })
    const { carry, ys } = scan(([c], [v]) => ({ carry: [mul(c, v)], ys: [c] }), { init: [h], xs: [x] })
    const [gh, gx] = grad(sum(mul(carry[0], 3)), [h, x])
    expect(ys[0].shape).toEqual([0, 2])
    expect(await read(carry[0], ys[0], gh, gx)).toEqual([[1, 2], [], [3, 3], []])
  })
  it('runs without xs for a given length, and in a loop of a loop', async () => {
    const { carry } = scan(
      ([c]) => {
        const inner = scan(([d], [k]) => ({ carry: [add(d, mul(c, k))], ys: [] }), {
          init: [constant(1)],
          xs: [tensor([1, 2])],
        })
        return { carry: inner.carry, ys: [] }
      },
      { init: [constant(2)], xs: [], length: 3 },
    )
    // c → 1 + 3 c, three times
    expect(await read(carry[0])).toEqual([[1 + 3 * (1 + 3 * (1 + 3 * 2))]])
  })
  it('chooses by data within a step', async () => {
    const xs = tensor([3, -1, 4, -1, 5])
    const { carry, ys } = scan(([c], [x]) => ({ carry: [where(less(c, x), x, c)], ys: [c] }), {
      init: [constant(Number.NEGATIVE_INFINITY)],
      xs: [xs],
    })
    expect(await read(carry[0], ys[0])).toEqual([[5], [Number.NEGATIVE_INFINITY, 3, 3, 4, 4]])
  })
  it('reads captured views, slices and flips of its inputs', async () => {
    const x = iota(6)
    const w = flip(iota(3, { start: 1 }), 0)
    const rows = flip(reshape(x, [2, 3]), 1)
    const { ys } = scan(([c], [v]) => ({ carry: [add(c, 1)], ys: [add(mul(v, w), c)] }), {
      init: [constant(0)],
      xs: [rows],
    })
    expect(await read(ys[0])).toEqual([[2 * 3, 1 * 2, 0, 5 * 3 + 1, 4 * 2 + 1, 3 + 1]])
  })
  it('runs a composite in its body', async () => {
    const w = tensor([
      [1, 2],
      [3, 4],
    ])
    const { carry } = scan(([c]) => ({ carry: [linear(c, w)], ys: [] }), {
      init: [tensor([[1, 1]])],
      xs: [],
      length: 2,
    })
    expect(await read(carry[0])).toEqual([[4 + 18, 8 + 24]])
  })
})
