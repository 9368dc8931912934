// Whole models in a page: the same graph on WebGL and on the CPU gives the same numbers, trains the same way and says the same
// words. Both sides make their own model from the same key.
import { cpu } from '@heed/backend-cpu'
import { createModel, generateIds, loadModel, type TextModel } from '@heed/models'
import { lstm } from '@heed/nn'
import {
  type Backend,
  crossEntropy,
  grad,
  realize,
  setBackend,
  sum,
  type Tensor,
  tensor,
  trace,
  traceLazy,
} from '@heed/tensor'
import { adamW, train } from '@heed/train'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { webgl } from '../src/index.js'

const GPT2 = { family: 'gpt2', nLayer: 3, nHead: 4, dModel: 64, nCtx: 64, nVocab: 211 } as const
const MINILM = {
  family: 'bert',
  nLayer: 2,
  nHead: 4,
  dModel: 48,
  nCtx: 32,
  nVocab: 101,
  dMlp: 96,
} as const

let both: readonly Backend[]
beforeAll(async () => {
  both = [await cpu(), await webgl()]
})
afterAll(() => {
  setBackend(null)
  for (const b of both) b.dispose()
})
/** The same on the CPU and on WebGL. */
async function onBoth<T>(run: () => Promise<T>): Promise<[T, T]> {
  const results: T[] = []
  for (const backend of both) {
    setBackend(backend)
    results.push(await run())
  }
  return results as [T, T]
}
/** Worst error relative to the largest value. */
function apart(got: ArrayLike<number>, want: ArrayLike<number>): number {
  expect(got.length).toBe(want.length)
  let scale = Number.MIN_VALUE
  let error = 0
  for (let i = 0; i < want.length; i++) {
    scale = Math.max(scale, Math.abs(want[i]))
    error = Math.max(error, Math.abs(got[i] - want[i]))
  }
  return error / scale
}
/**
 * A key's bias moves all scores of a row alike, which a softmax does not see: its gradient is 0 but for rounding, and Adam
 * makes steps of full size of that.
 */
const isNoise = (name: string): boolean => name.endsWith('.b_k')
const data = async (x: Tensor): Promise<Float32Array> => (await x.data()) as Float32Array
const idsOf = (batch: number, length: number, below: number, seed = 7): number[][] =>
  Array.from({ length: batch }, (_, b) =>
    Array.from({ length }, (_, i) => (i * i * 31 + i * seed + b * 13) % below),
  )

describe('a GPT-2 on WebGL', () => {
  it('has the logits, patterns and gradients of the CPU, without a reference kernel', async () => {
    const [want, got] = await onBoth(async () => {
      const model = await createModel(GPT2)
      const run = traceLazy(model, { ids: tensor(idsOf(2, 19, 211), { dtype: 'i32' }) })
      const logits = run.output
      const pattern = run.get('blocks.1.attn.pattern')
      const loss = crossEntropy(logits, tensor(idsOf(2, 19, 211, 3), { dtype: 'i32' }))
      const names = [...model.parameters.keys()]
      const gradients = grad(loss, [...model.parameters.values()], { unused: 'zero' })
      const report = await realize([logits, pattern, loss, ...gradients], { strict: true })
      expect(report.ran.filter((r) => r.how === 'reference' && both[1].name === report.backend)).toEqual([])
      return {
        logits: await data(logits),
        pattern: await data(pattern),
        loss: await loss.item(),
        gradients: await Promise.all(gradients.map(data)),
        names,
      }
    })
    expect(apart(got.logits, want.logits)).toBeLessThan(5e-6)
    expect(apart(got.pattern, want.pattern)).toBeLessThan(1e-5)
    expect(Math.abs(got.loss - want.loss)).toBeLessThan(1e-5)
    want.names.forEach((name, i) => {
      if (isNoise(name)) return
      expect(apart(got.gradients[i], want.gradients[i]), name).toBeLessThan(2e-5)
    })
  })
  it('decodes through its cache to the same tokens', async () => {
    const [want, got] = await onBoth(async () => {
      const model = await createModel(GPT2)
      return generateIds(model, { ids: idsOf(2, 5, 211) }, { maxNewTokens: 12, temperature: 0 })
    })
    expect(got).toEqual(want)
    expect(got[0]).toHaveLength(17)
  })
  it('trains: after 20 steps of AdamW the loss has fallen and the parameters are those of the CPU', async () => {
    const [want, got] = await onBoth(async () => {
      const model = await createModel({ ...GPT2, nLayer: 2 })
      const { params, history } = await train(model, {
        // one batch again and again: it can be learned
        batches: () => ({ input: idsOf(2, 16, 211), target: idsOf(2, 16, 211, 3) }),
        loss: crossEntropy,
        optimizer: adamW({ lr: 3e-3 }),
        steps: 20,
        clip: 1,
        progress: false,
      })
      const values: Record<string, Float32Array> = {}
      for (const [name, p] of Object.entries(params)) values[name] = await data(p)
      return { values, losses: history.map((h) => h.loss) }
    })
    expect(got.losses[19]).toBeLessThan(got.losses[0] - 1)
    got.losses.forEach((loss, i) => expect(Math.abs(loss - want.losses[i])).toBeLessThan(5e-5))
    // Adam divides by √v: where a gradient is near 0, its rounding decides the sign of a step of lr
    for (const [name, w] of Object.entries(want.values).filter(([n]) => !isNoise(n)))
      expect(apart(got.values[name], w), name).toBeLessThan(1e-3)
  })
})

it('a MiniLM-shaped encoder with padding gives the vectors of the CPU', async () => {
  const [want, got] = await onBoth(async () => {
    const model = await createModel(MINILM)
    const ids = idsOf(3, 11, 101)
    const mask = [11, 4, 7].map((n) => ids[0].map((_, i) => i < n))
    const run = await trace(
      model,
      { ids: tensor(ids, { dtype: 'i32' }), mask: tensor(mask.map((row) => [[row]])) },
      { keep: ['blocks.1.ln2'] },
    )
    return data(run.get('blocks.1.ln2'))
  })
  expect(apart(got, want)).toBeLessThan(1e-5)
})

it('an LSTM, forward and backward', async () => {
  const [want, got] = await onBoth(async () => {
    const layer = lstm({ input: 6, hidden: 10 })
    const x = tensor(
      Float32Array.from({ length: 2 * 9 * 6 }, (_, i) => Math.sin(i)),
      { shape: [2, 9, 6] },
    )
    const { y: output } = layer(x)
    const [dx] = grad(sum(output), [x])
    return [await data(output), await data(dx)]
  })
  expect(apart(got[0], want[0])).toBeLessThan(1e-5)
  expect(apart(got[1], want[1])).toBeLessThan(1e-4)
})

it('the built-in model says the same on both', async () => {
  const text = 'When Mary and John went to the store, John gave a drink to'
  const [want, got] = await onBoth(async () => {
    const model: TextModel = await loadModel()
    const run = await model.run(text, { keep: ['blocks.*.attn.pattern'] })
    return {
      top: run.top(5).map((p) => [p.id, p.probability]),
      pattern: await data(run.get('blocks.1.attn.pattern')),
    }
  })
  expect(got.top.map(([id]) => id)).toEqual(want.top.map(([id]) => id))
  got.top.forEach(([, p], i) => expect(p).toBeCloseTo(want.top[i][1], 4))
  expect(apart(got.pattern, want.pattern)).toBeLessThan(1e-4)
})
