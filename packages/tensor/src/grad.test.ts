import { describe, expect, it } from 'vitest'
import { tensor } from './create.js'
import { GradError, ShapeError } from './errors.js'
import { grad, valueAndGrad } from './grad.js'
import { alias, constOp, leafOp, postorder, type Tensor } from './graph.js'
import { relu, sigmoid, softplus } from './ops/activation.js'
import { attention } from './ops/attention.js'
import { bodyOf, composite, detach } from './ops/define.js'
import {
  abs,
  add,
  clamp,
  div,
  exp,
  floor,
  less,
  log,
  maximum,
  minimum,
  mul,
  neg,
  pow,
  sin,
  sqrt,
  sub,
  tanh,
  where,
} from './ops/elementwise.js'
import { embedding, take } from './ops/indexing.js'
import { matmul } from './ops/matmul.js'
import { l2Normalize, layerNorm, softmax } from './ops/normalize.js'
import { cumsum, logSumExp, max, prod, sum } from './ops/reduce.js'
import { broadcastTo, concat, reshape, slice, transpose } from './ops/shape.js'
import { realize } from './realize.js'
import { reference } from './reference/index.js'

const backend = reference({ precision: 'f64' })
const read = async (...tensors: Tensor[]): Promise<number[][]> => {
  await realize(tensors, { backend })
  return Promise.all(tensors.map(async (t) => Array.from((await t.data()) as Float64Array)))
}
/** Gradient of the sum of f at x. */
const at = async (f: (x: Tensor) => Tensor, ...x: number[]): Promise<number[]> => {
  const t = tensor(Float64Array.from(x), { shape: [x.length] })
  return (await read(grad(sum(f(t)), [t])[0]))[0]
}
const count = (outputs: readonly Tensor[]): number =>
  postorder(outputs, (n) => n.inputs).filter((n) => n.op !== constOp && n.op !== leafOp).length

describe('gradients where a rule is a choice', () => {
  it('share ties and stay finite at kinks and poles', async () => {
    expect(await at((x) => maximum(x, 1), 0, 1, 2)).toEqual([0, 0.5, 1])
    expect(await at((x) => minimum(x, 1), 0, 1, 2)).toEqual([1, 0.5, 0])
    expect(await at(abs, -2, 0, 3)).toEqual([-1, 0, 1])
    expect(await at(relu, -1, 0, 2)).toEqual([0, 0, 1])
    expect(await at((x) => clamp(x, { lo: 0, hi: 1 }), -1, 0, 0.5, 1, 2)).toEqual([0, 1, 1, 1, 0])
    expect(await at((x) => max(x), 3, 1, 3)).toEqual([0.5, 0, 0.5])
    expect(await at((x) => prod(x), 2, 0, 3)).toEqual([0, 6, 0])
    expect(await at((x) => prod(x), 0, 0, 3)).toEqual([0, 0, 0])
    expect(await at((x) => pow(x, 0), 0, 2)).toEqual([0, 0])
    expect(await at((x) => pow(x, 1), 0, 2)).toEqual([1, 1])
    expect(await at((x) => pow(2, x), 3)).toEqual([8 * Math.LN2])
    expect(await at((x) => pow(0, x), 2)).toEqual([0])
    expect((await at(softplus, 0))[0]).toBe(0.5)
    expect(await at(floor, 0.5, 1)).toEqual([0, 0])
    expect(await at((x) => where(less(0, x), log(where(less(0, x), x, 1)), 0), 0, 2)).toEqual([0, 0.5])
    expect(await at((x) => l2Normalize(reshape(x, [1, 2]), { eps: 0.5 }), 0, 0)).toEqual([2, 2])
  })
  it('are zero in a fully masked row, forward and backward', async () => {
    const x = tensor([
      [1, 2, 3],
      [4, 5, 6],
    ])
    const mask = tensor([
      [true, false, true],
      [false, false, false],
    ])
    const y = softmax(x, { mask })
    const weights = tensor([
      [1, 2, 3],
      [4, 5, 6],
    ])
    const [p, g] = await read(y, grad(sum(mul(y, weights)), [x])[0])
    const e = Math.exp(2)
    const w = e / (1 + e)
    expect(p.slice(3)).toEqual([0, 0, 0])
    expect(p[1]).toBe(0)
    expect(p[2]).toBeCloseTo(w, 14)
    expect(g.slice(3)).toEqual([0, 0, 0])
    expect(g[1]).toBe(0)
    expect(g[2]).toBeCloseTo(2 * w * (1 - w), 14)
    // the same where the scores themselves are −∞
    const scores = tensor([[Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY]])
    const z = softmax(scores)
    expect(await read(z, grad(sum(z), [scores])[0])).toEqual([
      [0, 0],
      [0, 0],
    ])
    // and in attention, log-sum-exp included
    const q = tensor([[[[1, 2]]]])
    const { z: out, lse } = attention(q, q, q, { mask: tensor([[[[false]]]]) })
    const [dq] = grad([out, lse], [q], { seed: [broadcastTo(1, out.shape), broadcastTo(1, lse.shape)] })
    expect(await read(out, lse, dq)).toEqual([[0, 0], [Number.NEGATIVE_INFINITY], [0, 0]])
  })
  it('of logSumExp is softmax, also of an empty row', async () => {
    const x = tensor([[0, Math.log(3)]])
    const [y, g] = await read(logSumExp(x, { axes: 1 }), grad(sum(logSumExp(x, { axes: 1 })), [x])[0])
    expect(y[0]).toBeCloseTo(Math.log(4), 7)
    expect(g[0]).toBeCloseTo(0.25, 7)
    const empty = tensor(new Float32Array(0), { shape: [2, 0] })
    expect(await read(logSumExp(empty, { axes: 1 }))).toEqual([
      [Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY],
    ])
  })
})

describe('the structure of a gradient', () => {
  it('adds what a tensor gets from several readers, and sums over broadcast axes', async () => {
    const a = tensor([1, 2])
    const m = tensor([
      [1, 2],
      [3, 4],
      [5, 6],
    ])
    const y = sum(add(mul(m, a), add(a, a)))
    const [ga, gm] = await read(...grad(y, [a, m]))
    expect(ga).toEqual([9 + 6, 12 + 6])
    expect(gm).toEqual([1, 2, 1, 2, 1, 2])
  })
  it('of a shared matrix is one product over all rows', () => {
    const x = tensor(new Float32Array(24), { shape: [2, 3, 4] })
    const w = tensor(new Float32Array(20), { shape: [4, 5] })
    const [gw] = grad(sum(matmul(x, w)), [w])
    const products = postorder([gw], (n) => n.inputs).filter((n) => n.op.name === 'matmul')
    expect(products.map((n) => n.outputs[0].shape)).toEqual([[4, 5]])
  })
  it('walks back only as far as it must', () => {
    const start = tensor([0.5])
    let x = tanh(start)
    const oldest = x.node
    for (let i = 0; i < 1000; i++) x = tanh(x)
    const here = alias(x)
    const loss = sum(mul(here, here))
    const { mark } = oldest
    const [g] = grad(loss, [here])
    // the thousand steps are the past of the value: none of them is differentiated, or even visited
    expect(oldest.mark).toBe(mark)
    expect(count([g]) - count([x])).toBeLessThan(10)
  })
  it('stops at what is detached', async () => {
    const x = tensor([3])
    const [g] = grad(sum(mul(x, detach(x))), [x])
    expect(await read(g)).toEqual([[3]])
    expect(() => grad(sum(detach(mul(x, x))), [x])).toThrow(GradError)
    // a realized tensor is no wall
    const y = mul(x, x)
    await realize([y], { backend })
    expect(await read(grad(sum(mul(y, y)), [x])[0])).toEqual([[4 * 27]])
  })
  it('with stop does not walk behind the wanted tensors', async () => {
    const x = tensor([3])
    const y = mul(x, 2)
    const loss = sum(add(mul(y, y), x))
    expect(await read(...grad(loss, [x, y]))).toEqual([[1 + 24], [12]])
    expect(await read(...grad(loss, [x, y], { stop: true }))).toEqual([[1], [12]])
  })
  it('asked inside a composite of a composite opens both', async () => {
    const twice = composite('twiceInner', {
      inner: ['pre'],
      infer: ([s]) => ({ shape: s.shape, dtype: s.dtype }),
      body: ([s], _, tap) => [mul(tap('pre', mul(s, s)), 3)],
    })
    let seen: Tensor | undefined
    const outer = composite('twiceOuter', {
      infer: ([s]) => ({ shape: s.shape, dtype: s.dtype }),
      inner: ['mid'],
      body: ([s], _, tap) => {
        const [t] = twice([s])
        seen = t
        return [mul(tap('mid', t), t)]
      },
    })
    const x = tensor([2])
    const [y] = outer([x])
    const mid = bodyOf(y.node).inner.get('mid') as Tensor
    const pre = bodyOf((seen as Tensor).node).inner.get('pre') as Tensor
    // y = mid·3pre with mid = 3pre, pre = x²
    const loss = sum(y)
    expect(await read(...grad(loss, [mid, pre, x]))).toEqual([[24], [72], [288]])
    expect(await read(...grad(loss, [pre]))).toEqual([[72]])
  })
  it('keeps a composite whole, forward and backward', () => {
    const x = tensor([[1, 2, 3]])
    const y = softmax(x)
    const [g] = grad(sum(mul(y, y)), [x])
    const names = postorder([g], (n) => n.inputs).map((n) => n.op.name)
    expect(names.filter((n) => n === 'softmax')).toHaveLength(1)
    expect(names.filter((n) => n === 'softmax.vjp')).toHaveLength(1)
    expect(names).not.toContain('exp')
  })
  it('asked inside a composite opens that one alone, as the same nodes', async () => {
    const four = (v: number[]): Tensor => tensor(v, { shape: [1, 1, 2, 2] })
    const [q, k, v] = [four([1, 2, 3, 4]), four([0.5, -1, 2, 0]), four([1, 0, 0, 1])]
    const { z } = attention(q, k, v)
    const { z: outer } = attention(z, z, z)
    const pattern = bodyOf(z.node).inner.get('pattern') as Tensor
    const [gp, gq] = grad(sum(mul(outer, outer)), [pattern, q])
    const names = postorder([gp], (n) => n.inputs).map((n) => n.op.name)
    expect(names.filter((n) => n === 'attention.vjp')).toHaveLength(1)
    // dL/dq through the pattern: softmax's rule by hand
    const [p, dp, dq, keys] = await read(pattern, gp, gq, k)
    const want = [0, 0, 0, 0]
    for (let i = 0; i < 2; i++) {
      const dot = p[2 * i] * dp[2 * i] + p[2 * i + 1] * dp[2 * i + 1]
      for (let j = 0; j < 2; j++)
        for (let d = 0; d < 2; d++)
          want[2 * i + d] += (p[2 * i + j] * (dp[2 * i + j] - dot) * keys[2 * j + d]) / Math.SQRT2
    }
    dq.forEach((g, i) => expect(g).toBeCloseTo(want[i], 12))
  })
  it('of one tensor as q, k and v is the sum of the three', async () => {
    const data = Float64Array.of(0.3, -1, 0.8, 0.1)
    const x = tensor(data, { shape: [1, 1, 2, 2] })
    const parts = [0, 1, 2].map(() => tensor(data, { shape: [1, 1, 2, 2] }))
    const square = (t: Tensor): Tensor => sum(mul(t, t))
    const one = grad(square(attention(x, x, x).z), [x])[0]
    const three = grad(square(attention(parts[0], parts[1], parts[2]).z), parts)
    const [got, a, b, c] = await read(one, ...three)
    got.forEach((g, i) => expect(g).toBeCloseTo(a[i] + b[i] + c[i], 13))
  })
})

describe('gradients of gradients', () => {
  it('exist to any order', async () => {
    const x = tensor(Float64Array.of(0.7))
    let y = sin(x)
    const values: Tensor[] = []
    for (let i = 0; i < 5; i++) {
      y = grad(sum(y), [x])[0]
      values.push(y)
    }
    const [s, c] = [Math.sin(0.7), Math.cos(0.7)]
    const want = [c, -s, -c, s, c]
    ;(await read(...values)).forEach(([v], i) => expect(v).toBeCloseTo(want[i], 13))
  })
  it('pass through composites to any order', async () => {
    const x = tensor(Float64Array.of(0.4))
    let y = sigmoid(x)
    const values: Tensor[] = []
    for (let i = 0; i < 3; i++) {
      y = grad(sum(y), [x])[0]
      values.push(y)
    }
    const s = 1 / (1 + Math.exp(-0.4))
    const want = [s * (1 - s), s * (1 - s) * (1 - 2 * s), s * (1 - s) * (1 - 6 * s + 6 * s * s)]
    ;(await read(...values)).forEach(([v], i) => expect(v).toBeCloseTo(want[i], 13))
  })
  it('equal finite differences of the gradient', async () => {
    const f = (x: Tensor): Tensor => {
      const m = reshape(x, [2, 3])
      const y = add(
        layerNorm(matmul(transpose(m), m), null, null, { eps: 0.1 }),
        mul(add(cumsum(softmax(concat([m, slice(m, [[0, 1]])])), { axis: 0 }), 0.1), 0.3),
      )
      return sum(mul(y, tanh(y)))
    }
    const base = [0.3, -0.8, 0.5, 1.1, -0.2, 0.9]
    const direction = [0.2, -0.5, 0.7, 0.1, 0.4, -0.3]
    const gradAt = (h: number): Tensor => {
      const x = tensor(Float64Array.from(base, (v, i) => v + h * direction[i]))
      return grad(f(x), [x])[0]
    }
    const x = tensor(Float64Array.from(base))
    const d = tensor(Float64Array.from(direction))
    const [hvp] = grad(sum(mul(grad(f(x), [x])[0], d)), [x])
    const h = 1e-5
    const [got, plus, minus] = await read(hvp, gradAt(h), gradAt(-h))
    got.forEach((g, i) => expect(g).toBeCloseTo((plus[i] - minus[i]) / (2 * h), 7))
  })
})

describe('what grad refuses', () => {
  const x = tensor([1, 2])
  it('says so', () => {
    expect(() => grad(mul(x, 2), [x])).toThrow(
      'grad: the loss is [2], expected a scalar; reduce it (sum, mean) or pass { seed }',
    )
    expect(() => grad(sum(x), [tensor([1])])).toThrow(
      "grad: tensor 0 (leaf [1]) does not reach the loss; drop it from wrt, or pass { unused: 'zero' }",
    )
    expect(() => grad(sum(less(x, 1)), [x])).toThrow('grad: the loss is i32, expected f32')
    expect(() => grad(sum(x), x as never)).toThrow('grad: expected an array of tensors, got object')
    expect(() => grad(sum(x), [tensor([1], { dtype: 'i32' })])).toThrow(
      'grad: leaf [1] is i32; only f32 tensors have gradients',
    )
    expect(() => grad(mul(x, 2), [x], { seed: tensor([1]) })).toThrow(ShapeError)
    expect(() => grad(sum(x), [x], { seed: [tensor(1), tensor(1)] })).toThrow('grad: 2 seeds for 1 losses')
  })
  it('gives zeros for what is not reached only when told to', async () => {
    const other = tensor([[1, 2]])
    const [gx, go] = grad(sum(mul(x, 3)), [x, other], { unused: 'zero' })
    expect(await read(gx, go)).toEqual([
      [3, 3],
      [0, 0],
    ])
    expect(go.shape).toEqual([1, 2])
    // reached, but only through steps: the gradient exists and is zero
    expect(await read(grad(sum(floor(x)), [x])[0])).toEqual([[0, 0]])
  })
})

describe('several losses, seeds and indices', () => {
  it('add up', async () => {
    const x = tensor([1, 2])
    const [g] = grad([mul(x, 3), exp(x)], [x], { seed: [tensor([1, 10]), tensor([1, 0])] })
    const [got] = await read(g)
    expect(got[0]).toBeCloseTo(3 + Math.E, 12)
    expect(got[1]).toBe(30)
  })
  it('repeat ids add up in a table', async () => {
    const table = tensor([
      [1, 1],
      [2, 2],
      [3, 3],
    ])
    const ids = tensor(
      [
        [2, 0],
        [2, 2],
      ],
      { dtype: 'i32' },
    )
    const { value, grads } = valueAndGrad(sum(mul(embedding(table, ids), 2)), [table])
    expect(await read(value, ...grads)).toEqual([[2 * 2 * (3 * 3 + 1)], [2, 2, 0, 0, 6, 6]])
    const row = tensor([5, 7])
    expect(await read(grad(sum(take(row, tensor([1, 1, 1], { dtype: 'i32' }))), [row])[0])).toEqual([[0, 3]])
  })
  it('quotients and roots', async () => {
    const [a, b] = [tensor(Float64Array.of(3)), tensor(Float64Array.of(4))]
    expect(await read(...grad(sum(div(a, b)), [a, b]))).toEqual([[0.25], [-3 / 16]])
    expect(await read(...grad(sum(sqrt(b)), [b]))).toEqual([[0.25]])
    expect(await read(...grad(sum(sub(neg(a), b)), [a, b]))).toEqual([[-1], [-1]])
  })
})
