/**
 * The work in Heed's words, on any backend. Results stay on the backend, as in a program that goes on with them; a result that
 * nobody reads is released, as a loop does.
 */
import { createModel, quantize, startDecoding, type TextModel } from '@heed/models'
import { lstm } from '@heed/nn'
import {
  add,
  attention,
  type Backend,
  crossEntropy,
  detach,
  grad,
  layerNorm,
  linear,
  packedParts,
  realize,
  release,
  setBackend,
  setParameters,
  softmax,
  type Tensor,
  tensor,
  trace,
} from '@heed/tensor'
import { adam } from '@heed/train'
import { type GptShape, gptParameters, promptIds } from './gpt.js'
import { swapped } from './layout.js'
import { trainingBatch } from './training-batch.js'
import type { Abilities, Inputs, Prepared, WorkOf } from './work.js'

/** A function of tensors that are on the backend already. */
function repeated(backend: Backend, build: () => Tensor, used: readonly Tensor[]): Prepared {
  const once = async (): Promise<Tensor> => {
    const y = build()
    await realize([y], { backend })
    return y
  }
  return {
    run: async () => release(await once()),
    output: async () => {
      const y = await once()
      const data = (await y.data()) as Float32Array
      release(y)
      return data
    },
    free: () => used.forEach(release),
  }
}

async function gpt(shape: GptShape, weights: Inputs): Promise<TextModel> {
  const model = await createModel({ family: 'gpt2', ...shape })
  const dims = gptParameters(shape)
  setParameters(
    model,
    Object.fromEntries(Object.entries(weights).map(([name, w]) => [name, tensor(w, dims[name])])),
  )
  return model
}
export const releaseAll = (model: TextModel) => (): void =>
  model.parameters.forEach((t) => (packedParts(t)?.parts ?? [t]).forEach(release))

/** Steps of training by hand, so that one step is one run: loss, gradients, Adam, old values donated. */
export async function heedTrainer(
  backend: Backend,
  work: WorkOf<'train'>,
  weights: Inputs,
): Promise<{ step(): Promise<number>; free(): void }> {
  const model = await gpt(work.shape, weights)
  const { input, target } = trainingBatch(work)
  const ids = tensor(input, { dtype: 'i32' })
  const targets = tensor(target, { dtype: 'i32' })
  const optimizer = adam({ lr: work.lr, eps: 1e-7 })
  let params = Object.fromEntries(model.parameters)
  let slots = Object.fromEntries(
    Object.entries(params).map(([name, p]) => [
      name,
      Object.fromEntries(optimizer.slots.map((s) => [s, tensor(new Float32Array(p.size), p.shape)])),
    ]),
  )
  let t = 0
  return {
    async step() {
      const loss = crossEntropy(model({ ids }), targets)
      const names = Object.keys(params)
      const before = names.map((n) => params[n])
      const grads = grad(loss, before)
      const scalars = Object.fromEntries(
        Object.entries(optimizer.scalars(t++)).map(([n, v]) => [
          n,
          tensor(Float64Array.of(v), { shape: [], dtype: 'f32' }),
        ]),
      )
      const next = names.map((n, i) => optimizer.update(params[n], grads[i], slots[n], scalars, false))
      const made = next.flatMap((u) => [u.param, ...Object.values(u.slots)])
      const old = [...before, ...Object.values(slots).flatMap((s) => Object.values(s))]
      await realize([loss, ...made], { backend, donate: old })
      params = Object.fromEntries(names.map((n, i) => [n, detach(next[i].param)]))
      slots = Object.fromEntries(
        names.map((n, i) => [
          n,
          Object.fromEntries(Object.entries(next[i].slots).map(([s, v]) => [s, detach(v)])),
        ]),
      )
      setParameters(model, params)
      const value = await loss.item()
      release(loss)
      return value
    },
    free: () => Object.values(params).forEach(release),
  }
}

/** What a Heed backend can do here: everything but what needs files and processes, which only Node has. */
export const heedAbilities = (backend: Backend): Abilities => ({
  matmul({ m, n, k }, inputs) {
    const a = tensor(inputs.a, [m, k])
    const b = tensor(inputs.b, [k, n])
    return repeated(backend, () => linear(a, b), [a, b])
  },
  attention({ heads, length, dim, causal }, inputs) {
    const [q, k, v] = [inputs.q, inputs.k, inputs.v].map((x) => tensor(x, [1, heads, length, dim]))
    return repeated(backend, () => attention(q, k, v, { causal }).z, [q, k, v])
  },
  softmax({ rows, columns }, inputs) {
    const x = tensor(inputs.x, [rows, columns])
    return repeated(backend, () => softmax(x), [x])
  },
  layerNorm({ rows, columns }, inputs) {
    const x = tensor(inputs.x, [rows, columns])
    const [w, b] = [tensor(inputs.w, [columns]), tensor(inputs.b, [columns])]
    return repeated(backend, () => layerNorm(x, w, b), [x, w, b])
  },
  add({ length }, inputs) {
    const [x, y] = [tensor(inputs.x, [1, length]), tensor(inputs.y, [1, length])]
    return repeated(backend, () => add(x, y), [x, y])
  },
  chain({ length, ops }, inputs) {
    const [x, y] = [tensor(inputs.x, [1, length]), tensor(inputs.y, [1, length])]
    const build = (): Tensor => {
      let z = x
      for (let i = 0; i < ops; i++) z = add(z, y)
      return z
    }
    return repeated(backend, build, [x, y])
  },
  lstm({ time, batch, hidden: n }, inputs) {
    const layer = lstm({ input: n, hidden: n })
    const { w_ih, w_hh, b } = inputs
    const values = {
      'layers.0.forward.w_ih': tensor(w_ih, [n, 4 * n]),
      'layers.0.forward.w_hh': tensor(w_hh, [n, 4 * n]),
      'layers.0.forward.b_ih': tensor(b, [4 * n]),
      'layers.0.forward.b_hh': tensor(new Float32Array(4 * n), [4 * n]),
    }
    setParameters(layer, values)
    const x = tensor(swapped(inputs.x, time, batch, n), [batch, time, n])
    const [h0, c0] = [inputs.h0, inputs.c0].map((s) => tensor(s, [1, batch, n]))
    const prepared = repeated(backend, () => layer(x, { h0, c0 }).y, [x, h0, c0, ...Object.values(values)])
    const output = async () => swapped((await prepared.output()) as Float32Array, batch, time, n)
    return { ...prepared, output }
  },
  async prefill({ shape, length }, weights) {
    const model = await gpt(shape, weights)
    const ids = tensor([promptIds(shape, length)], { dtype: 'i32' })
    const free = releaseAll(model)
    return { ...repeated(backend, () => model({ ids }), []), free }
  },
  async decode({ shape, length, weights: format }, weights) {
    const model = await gpt(shape, weights)
    if (format !== 'f32') await quantize(model, format)
    const ids = promptIds(shape, length + 1)
    const next = ids[length]
    const start = () => startDecoding(model, { ids: [ids.slice(0, length)] }, shape.nCtx - length)
    let decoding = await start()
    return {
      async run() {
        if (decoding.length === decoding.capacity) decoding = await start()
        await decoding.step([next])
      },
      output: () => decoding.step([next]),
      free: releaseAll(model),
    }
  },
  async keep({ shape, length, keep }, weights) {
    const model = await gpt(shape, weights)
    const ids = tensor([promptIds(shape, length)], { dtype: 'i32' })
    const once = () =>
      trace<{ ids: Tensor }>((input) => model(input), { ids }, keep === 'all' ? { keep: 'all' } : {})
    return {
      async run() {
        const r = await once()
        release(r.output)
      },
      output: async () => (await once()).output.data() as Promise<Float32Array>,
      free: releaseAll(model),
    }
  },
  async train(work, weights) {
    const trainer = await heedTrainer(backend, work, weights)
    return {
      run: trainer.step,
      output: async () => [await trainer.step(), await trainer.step()],
      free: trainer.free,
    }
  },
})

/** Which backend `trace`, `startDecoding` and models use from now on. */
export const use = (backend: Backend): void => setBackend(backend)
