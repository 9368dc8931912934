// What three reference graphs cost, as numbers that a change must mean to change: nodes, plans, steps, bytes.
import { describe, expect, it } from 'vitest'
import { tensor } from './create.js'
import { grad } from './grad.js'
import type { Tensor } from './graph.js'
import { gelu } from './ops/activation.js'
import { attention } from './ops/attention.js'
import { detach } from './ops/define.js'
import { add, mul, sub, tanh } from './ops/elementwise.js'
import { crossEntropy } from './ops/loss.js'
import { linear, matmul } from './ops/matmul.js'
import { layerNorm } from './ops/normalize.js'
import { sum } from './ops/reduce.js'
import { scan } from './ops/scan.js'
import { reshape, transpose } from './ops/shape.js'
import { countNodes } from './print.js'
import { planCount, realize } from './realize.js'
import { reference } from './reference/index.js'

const filled = (...shape: number[]): Tensor => {
  const n = shape.reduce((a, b) => a * b, 1)
  return tensor(
    Float32Array.from({ length: n }, (_, i) => Math.sin(i) / 8),
    { shape },
  )
}
async function cost(outputs: Tensor[]) {
  const backend = reference()
  const report = await realize(outputs, { backend })
  const { nodes, steps, arenaBytes, outputBytes, copies } = report
  return {
    built: countNodes(outputs),
    nodes,
    steps,
    arenaBytes,
    outputBytes,
    copies,
    plans: planCount(backend),
  }
}

/** One block of a decoder: batch 2, 16 positions, 4 heads of 8. */
function block() {
  const [batch, position, nHead, dHead] = [2, 16, 4, 8]
  const dModel = nHead * dHead
  const w = [filled(dModel, dModel), filled(dModel, dModel), filled(dModel, dModel), filled(dModel, dModel)]
  const [up, down] = [filled(dModel, 4 * dModel), filled(4 * dModel, dModel)]
  const norm = filled(dModel)
  const x = filled(batch, position, dModel)
  const heads = (t: Tensor): Tensor => transpose(reshape(t, [batch, position, nHead, dHead]), [0, 2, 1, 3])
  const h = layerNorm(x, norm)
  const { z } = attention(heads(linear(h, w[0])), heads(linear(h, w[1])), heads(linear(h, w[2])), {
    causal: true,
  })
  const mid = add(x, linear(reshape(transpose(z, [0, 2, 1, 3]), [batch, position, dModel]), w[3]))
  const out = add(mid, linear(gelu(linear(layerNorm(mid, norm), up)), down))
  return { out, wrt: [...w, up, down, norm] }
}

describe('the cost of a graph', () => {
  it('of a block, forward', async () => {
    expect(await cost([block().out])).toMatchInlineSnapshot(`
      {
        "arenaBytes": 41088,
        "built": 20,
        "copies": 1,
        "nodes": 92,
        "outputBytes": 4096,
        "plans": 1,
        "steps": 54,
      }
    `)
  })
  it('of a block, forward and backward', async () => {
    const { out, wrt } = block()
    const loss = crossEntropy(
      reshape(out, [32, 32]),
      tensor(
        Int32Array.from({ length: 32 }, (_, i) => i),
        [32],
      ),
    )
    expect(await cost([loss, ...grad(loss, wrt)])).toMatchInlineSnapshot(`
      {
        "arenaBytes": 152576,
        "built": 59,
        "copies": 4,
        "nodes": 247,
        "outputBytes": 49284,
        "plans": 1,
        "steps": 149,
      }
    `)
  })
  it('of a recurrent network over 64 steps, forward and backward', async () => {
    const [w, x] = [filled(8, 8), filled(64, 1, 8)]
    const { carry } = scan(([h], [v]) => ({ carry: [tanh(add(matmul(h, w), v))], ys: [] }), {
      init: [filled(1, 8)],
      xs: [x],
    })
    const loss = sum(mul(carry[0], carry[0]))
    expect(await cost([loss, ...grad(loss, [w, x])])).toMatchInlineSnapshot(`
      {
        "arenaBytes": 23936,
        "built": 12,
        "copies": 2,
        "nodes": 16,
        "outputBytes": 2308,
        "plans": 1,
        "steps": 8,
      }
    `)
  })
  it('of ten steps of training: one plan, no growth', async () => {
    const backend = reference()
    let w = filled(4, 3)
    const sizes = new Set<number>()
    for (let step = 0; step < 10; step++) {
      const x = filled(5, 4)
      const param = detach(w)
      const loss = sum(mul(matmul(x, param), matmul(x, param)))
      const next = sub(param, mul(grad(loss, [param])[0], 0.01))
      await realize([next], { backend, donate: [w] })
      w = next
      if (step > 1) sizes.add(backend.bytesInUse)
    }
    expect(planCount(backend)).toBe(1)
    // the inputs of a step stay until they are collected: growth is theirs alone
    expect([...sizes].every((s, i, all) => i === 0 || s - all[i - 1] <= 128)).toBe(true)
  })
})
