/** Three reference graphs whose size is a fact: nodes, kernels, copies, bytes. A change of these numbers is a decision. */
import { afterEach, beforeEach, expect, it } from 'vitest'
import {
  add,
  attention,
  countNodes,
  crossEntropy,
  embedding,
  gelu,
  grad,
  layerNorm,
  linear,
  matmul,
  mul,
  planCount,
  printGraph,
  realize,
  reference,
  reshape,
  scan,
  scope,
  setBackend,
  sigmoid,
  sliceAxis,
  sub,
  sum,
  type Tensor,
  tanh,
  tap,
  tensor,
  transpose,
  zeros,
} from './index.js'

const backend = reference()
beforeEach(() => setBackend(backend))
afterEach(() => setBackend(null))

/** A parameter whose values do not matter. */
const weight = (...shape: number[]): Tensor =>
  tensor(
    Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => ((i * 37) % 11) / 50),
    { shape },
  )

const D = 8
const H = 2
const V = 11
function makeModel(): { params: Tensor[]; forward: (ids: Tensor) => Tensor } {
  const params: Tensor[] = []
  const p = (...shape: number[]): Tensor => {
    const w = weight(...shape)
    params.push(w)
    return w
  }
  const embed = p(V, D)
  const pos = p(16, D)
  const blocks = [0, 1].map(() => ({
    ln1: [p(D), p(D)],
    q: p(D, D),
    k: p(D, D),
    v: p(D, D),
    o: p(D, D),
    ln2: [p(D), p(D)],
    up: p(D, 4 * D),
    bUp: p(4 * D),
    down: p(4 * D, D),
    bDown: p(D),
  }))
  const heads = (x: Tensor): Tensor => transpose(reshape(x, [x.shape[0], x.shape[1], H, D / H]), [0, 2, 1, 3])
  const forward = (ids: Tensor): Tensor => {
    let x = add(tap('embed', embedding(embed, ids)), tap('pos_embed', sliceAxis(pos, 0, 0, ids.shape[1])))
    blocks.forEach((b, i) =>
      scope(`blocks.${i}`, () => {
        const n = layerNorm(x, b.ln1[0], b.ln1[1])
        const { z } = scope('attn', () =>
          attention(heads(linear(n, b.q)), heads(linear(n, b.k)), heads(linear(n, b.v)), { causal: true }),
        )
        x = tap('resid_mid', add(x, linear(reshape(transpose(z, [0, 2, 1, 3]), x.shape), b.o)))
        x = tap(
          'resid_post',
          add(
            x,
            linear(
              gelu(linear(layerNorm(x, b.ln2[0], b.ln2[1]), b.up, b.bUp), { approximate: 'tanh' }),
              b.down,
              b.bDown,
            ),
          ),
        )
      }),
    )
    return tap('logits', matmul(x, transpose(embed)))
  }
  return { params, forward }
}
const ids = (): Tensor => tensor([[1, 2, 3, 4, 5]], { dtype: 'i32' })
const facts = (r: Awaited<ReturnType<typeof realize>>): object => ({
  nodes: r.nodes,
  steps: r.steps,
  copies: r.copies,
  arenaBytes: r.arenaBytes,
  outputBytes: r.outputBytes,
})

it('a two-layer decoder, forward', async () => {
  const { forward } = makeModel()
  const y = forward(ids())
  expect(countNodes([y])).toMatchInlineSnapshot(`47`)
  const before = planCount(backend)
  expect(facts(await realize([y]))).toMatchInlineSnapshot(`
    {
      "arenaBytes": 2560,
      "copies": 2,
      "nodes": 203,
      "outputBytes": 220,
      "steps": 124,
    }
  `)
  await realize([forward(ids())])
  expect(planCount(backend) - before).toBe(1)
})

it('the same with gradients and an update: a training step', async () => {
  const { params, forward } = makeModel()
  const step = (rate: number): Tensor[] => {
    const loss = crossEntropy(forward(ids()), ids())
    return [loss, ...grad(loss, params).map((g, i) => sub(params[i], mul(g, rate)))]
  }
  const outputs = step(0.1)
  expect(countNodes(outputs)).toMatchInlineSnapshot(`171`)
  const before = planCount(backend)
  expect(facts(await realize(outputs))).toMatchInlineSnapshot(`
    {
      "arenaBytes": 16320,
      "copies": 6,
      "nodes": 600,
      "outputBytes": 7588,
      "steps": 391,
    }
  `)
  // the first other rate compiles the general plan, further ones none
  for (const rate of [0.2, 0.3, 0.4]) await realize(step(rate))
  expect(planCount(backend) - before).toBe(2)
})

it('a recurrent cell over 32 steps, forward and gradient', async () => {
  const [w, u] = [weight(4, 8), weight(8, 8)]
  const xs = weight(32, 1, 4)
  const loss = (): Tensor => {
    const r = scan(
      ([h], [x]) => {
        const n = mul(tanh(add(matmul(x, w), matmul(h, u))), sigmoid(matmul(x, w)))
        return { carry: [n], ys: [n] }
      },
      { init: [zeros([1, 8])], xs: [xs] },
    )
    return sum(r.ys[0])
  }
  const l = loss()
  const outputs = [l, ...grad(l, [w, u, xs])]
  // one node a loop, however long it is
  expect(countNodes(outputs)).toMatchInlineSnapshot(`11`)
  expect(facts(await realize(outputs))).toMatchInlineSnapshot(`
    {
      "arenaBytes": 19520,
      "copies": 5,
      "nodes": 15,
      "outputBytes": 900,
      "steps": 8,
    }
  `)
})

it('prints as stable text', async () => {
  const { forward } = makeModel()
  await expect(printGraph(forward(ids()))).toMatchFileSnapshot('../test/two-layer-decoder.graph.txt')
})
