/** The work in TensorFlow.js's words: eager ops, whose results stay on its backend and are disposed. */
import { type GptShape, gptParameters, promptIds } from '../gpt.js'
import { trainingBatch } from '../training-batch.js'
import type { Abilities, Inputs, Prepared } from '../work.js'

interface T {
  readonly shape: readonly number[]
  data(): Promise<Float32Array>
  dataSync(): Float32Array
  dispose(): void
}
export interface Tf {
  setBackend(name: string): Promise<boolean>
  tensor(data: Float32Array | Int32Array, shape: readonly number[], dtype?: 'float32' | 'int32'): T
  variable(x: T): T
  tidy<R>(f: () => R): R
  matMul(a: T, b: T, transposeA?: boolean, transposeB?: boolean): T
  add(a: T, b: T): T
  sub(a: T, b: T): T
  mul(a: T, b: T | number): T
  neg(a: T): T
  mean(a: T, axis?: number, keepDims?: boolean): T
  sum(a: T, axis?: number): T
  square(a: T): T
  rsqrt(a: T): T
  tanh(a: T): T
  sigmoid(a: T): T
  split(a: T, parts: number, axis: number): T[]
  concat(list: readonly T[], axis: number): T
  softmax(a: T): T
  logSoftmax(a: T): T
  reshape(a: T, shape: readonly number[]): T
  transpose(a: T, perm: readonly number[]): T
  slice(a: T, begin: readonly number[], size: readonly number[]): T
  gather(a: T, ids: T): T
  oneHot(ids: T, depth: number): T
  cast(a: T, dtype: 'float32'): T
  readonly train: {
    adam(
      lr: number,
      beta1: number,
      beta2: number,
      epsilon: number,
    ): {
      minimize(f: () => T, returnCost: boolean, variables: T[]): T
    }
  }
}

function layerNorm(tf: Tf, x: T, w: T, b: T): T {
  const centred = tf.sub(x, tf.mean(x, -1, true))
  const variance = tf.mean(tf.square(centred), -1, true)
  return tf.add(tf.mul(tf.mul(centred, tf.rsqrt(tf.add(variance, epsilonOf(tf)))), w), b)
}
const epsilons = new WeakMap<Tf, T>()
function epsilonOf(tf: Tf): T {
  let e = epsilons.get(tf)
  if (!e) epsilons.set(tf, (e = tf.variable(tf.tensor(Float32Array.of(1e-5), []))))
  return e
}

const causalMask = (tf: Tf, length: number): T =>
  tf.tensor(
    Float32Array.from({ length: length * length }, (_, i) =>
      i % length > Math.floor(i / length) ? -1e9 : 0,
    ),
    [length, length],
  )

/** q, k, v [batch, heads, length, dim]. */
function attend(tf: Tf, q: T, k: T, v: T, mask: T | null): T {
  const scores = tf.mul(tf.matMul(q, k, false, true), 1 / Math.sqrt(q.shape[3]))
  return tf.matMul(tf.softmax(mask ? tf.add(scores, mask) : scores), v)
}

/** Logits [batch · length, nVocab]. Ids become one-hot rows where gradients are wanted: gather has none in WebAssembly. */
function gpt(tf: Tf, shape: GptShape, w: Record<string, T>, ids: T, mask: T, forGradients: boolean): T {
  const { nLayer, nHead, dModel: d, nVocab } = shape
  const [batch, length] = ids.shape
  const flat = tf.reshape(ids, [batch * length])
  const tokens = forGradients
    ? tf.matMul(tf.cast(tf.oneHot(flat, nVocab), 'float32'), w['embed.w'])
    : tf.gather(w['embed.w'], flat)
  const positions = tf.slice(w['pos_embed.w'], [0, 0], [length, d])
  let x = tf.reshape(tf.add(tf.reshape(tokens, [batch, length, d]), positions), [batch * length, d])
  const linear = (h: T, weight: T, bias: T): T => tf.add(tf.matMul(h, weight), bias)
  for (let i = 0; i < nLayer; i++) {
    const at = (name: string): T => w[`blocks.${i}.${name}`]
    const h = layerNorm(tf, x, at('ln1.w'), at('ln1.b'))
    const [q, k, v] = ['q', 'k', 'v'].map((p) =>
      tf.transpose(
        tf.reshape(linear(h, at(`attn.w_${p}`), at(`attn.b_${p}`)), [batch, length, nHead, d / nHead]),
        [0, 2, 1, 3],
      ),
    )
    const z = tf.reshape(tf.transpose(attend(tf, q, k, v, mask), [0, 2, 1, 3]), [batch * length, d])
    x = tf.add(x, linear(z, at('attn.w_o'), at('attn.b_o')))
    const u = linear(layerNorm(tf, x, at('ln2.w'), at('ln2.b')), at('mlp.w_in'), at('mlp.b_in'))
    const cubic = tf.add(u, tf.mul(tf.mul(tf.square(u), u), 0.044715))
    const half = tf.mul(u, 0.5)
    const active = tf.add(half, tf.mul(half, tf.tanh(tf.mul(cubic, Math.sqrt(2 / Math.PI)))))
    x = tf.add(x, linear(active, at('mlp.w_out'), at('mlp.b_out')))
  }
  return tf.matMul(layerNorm(tf, x, w['ln_final.w'], w['ln_final.b']), w['embed.w'], false, true)
}

export function tfjsAbilities(tf: Tf): Abilities {
  const repeated = (f: () => T, used: readonly T[]): Prepared => ({
    run: () => tf.tidy(f).dispose(),
    async output() {
      const y = tf.tidy(f)
      const data = await y.data()
      y.dispose()
      return data
    },
    free: () => used.forEach((t) => t.dispose()),
  })
  const weightTensors = (shape: GptShape, w: Inputs): Record<string, T> => {
    const dims = gptParameters(shape)
    return Object.fromEntries(Object.entries(w).map(([name, data]) => [name, tf.tensor(data, dims[name])]))
  }
  return {
    matmul({ m, n, k }, inputs) {
      const [a, b] = [tf.tensor(inputs.a, [m, k]), tf.tensor(inputs.b, [k, n])]
      return repeated(() => tf.matMul(a, b), [a, b])
    },
    attention({ heads, length, dim, causal }, inputs) {
      const [q, k, v] = [inputs.q, inputs.k, inputs.v].map((x) => tf.tensor(x, [1, heads, length, dim]))
      const mask = causal ? causalMask(tf, length) : null
      return repeated(() => attend(tf, q, k, v, mask), [q, k, v, ...(mask ? [mask] : [])])
    },
    softmax({ rows, columns }, inputs) {
      const x = tf.tensor(inputs.x, [rows, columns])
      return repeated(() => tf.softmax(x), [x])
    },
    layerNorm({ rows, columns }, inputs) {
      const x = tf.tensor(inputs.x, [rows, columns])
      const [w, b] = [tf.tensor(inputs.w, [columns]), tf.tensor(inputs.b, [columns])]
      return repeated(() => layerNorm(tf, x, w, b), [x, w, b])
    },
    add({ length }, inputs) {
      const [x, y] = [tf.tensor(inputs.x, [1, length]), tf.tensor(inputs.y, [1, length])]
      return repeated(() => tf.add(x, y), [x, y])
    },
    chain({ length, ops }, inputs) {
      const [x, y] = [tf.tensor(inputs.x, [1, length]), tf.tensor(inputs.y, [1, length])]
      const build = (): T => {
        let z = x
        for (let i = 0; i < ops; i++) z = tf.add(z, y)
        return z
      }
      return repeated(build, [x, y])
    },
    lstm({ time, batch, hidden: n }, inputs) {
      const xs = Array.from({ length: time }, (_, t) =>
        tf.tensor(inputs.x.slice(t * batch * n, (t + 1) * batch * n), [batch, n]),
      )
      const [h0, c0] = [tf.tensor(inputs.h0, [batch, n]), tf.tensor(inputs.c0, [batch, n])]
      const wih = tf.tensor(inputs.w_ih, [n, 4 * n])
      const whh = tf.tensor(inputs.w_hh, [n, 4 * n])
      const b = tf.tensor(inputs.b, [4 * n])
      const build = (): T => {
        let [h, c] = [h0, c0]
        const ys = xs.map((x) => {
          const gates = tf.add(tf.add(tf.matMul(x, wih), tf.matMul(h, whh)), b)
          const [i, f, g, o] = tf.split(gates, 4, 1)
          c = tf.add(tf.mul(tf.sigmoid(f), c), tf.mul(tf.sigmoid(i), tf.tanh(g)))
          h = tf.mul(tf.sigmoid(o), tf.tanh(c))
          return h
        })
        return tf.concat(ys, 0)
      }
      return repeated(build, [...xs, h0, c0, wih, whh, b])
    },
    prefill({ shape, length }, inputs) {
      const w = weightTensors(shape, inputs)
      const ids = tf.tensor(Int32Array.from(promptIds(shape, length)), [1, length], 'int32')
      const mask = causalMask(tf, length)
      return repeated(() => gpt(tf, shape, w, ids, mask, false), [...Object.values(w), ids, mask])
    },
    train(work, inputs) {
      const { shape, batch, length, lr } = work
      const w = Object.fromEntries(
        Object.entries(weightTensors(shape, inputs)).map(([name, t]) => [name, tf.variable(t)]),
      )
      const rows = trainingBatch(work)
      const ids = tf.tensor(Int32Array.from(rows.input.flat()), [batch, length], 'int32')
      const flat = tf.tensor(Int32Array.from(rows.target.flat()), [batch * length], 'int32')
      const targets = tf.cast(tf.oneHot(flat, shape.nVocab), 'float32')
      const mask = causalMask(tf, length)
      const optimizer = tf.train.adam(lr, 0.9, 0.999, 1e-7)
      const step = (): number => {
        const loss = optimizer.minimize(
          () =>
            tf.neg(tf.mean(tf.sum(tf.mul(tf.logSoftmax(gpt(tf, shape, w, ids, mask, true)), targets), -1))),
          true,
          Object.values(w),
        )
        const value = loss.dataSync()[0]
        loss.dispose()
        return value
      }
      return {
        run: step,
        output: async () => [step(), step()],
        free: () => [...Object.values(w), ids, flat, targets, mask].forEach((t) => t.dispose()),
      }
    },
  }
}
