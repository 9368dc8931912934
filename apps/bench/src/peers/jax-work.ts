/**
 * The work in jax-js's words: everything under `jit`. Its arrays are counted references: an operand is given away unless `.ref` is passed.
 */
import { type GptShape, gptParameters, promptIds } from '../gpt.js'
import { swapped } from '../layout.js'
import { trainingBatch } from '../training-batch.js'
import type { Abilities, Inputs, Prepared } from '../work.js'

interface A {
  readonly ref: A
  readonly shape: readonly number[]
  add(other: A | number): A
  sub(other: A | number): A
  mul(other: A | number): A
  div(other: A | number): A
  neg(): A
  reshape(shape: readonly number[]): A
  transpose(perm?: readonly number[]): A
  data(): Promise<Float32Array>
  dispose(): void
}
type Tree = Record<string, A>
export interface Jax {
  init(...devices: string[]): Promise<string[]>
  defaultDevice(device: string): string
  jit<F extends (...args: never[]) => unknown>(f: F): F
  valueAndGrad<F extends (first: Tree, ...rest: A[]) => A>(f: F): (...args: Parameters<F>) => [A, Tree]
  blockUntilReady(x: unknown): Promise<unknown>
  readonly tree: { ref<X>(x: X): X; dispose(x: unknown): void }
  readonly numpy: {
    array(data: Float32Array | Int32Array, options: { shape: readonly number[]; dtype?: string }): A
    matmul(a: A, b: A): A
    mean(a: A, axis: number, options: { keepdims: boolean }): A
    sum(a: A): A
    sqrt(a: A): A
    tanh(a: A): A
    split(a: A, parts: number, axis: number): A[]
    square(a: A): A
    zerosLike(a: A): A
  }
  readonly nn: {
    softmax(a: A, axis: number): A
    sigmoid(a: A): A
    logSoftmax(a: A, axis: number): A
    gelu(a: A, options: { approximate: boolean }): A
    oneHot(ids: A, classes: number): A
    dotProductAttention(q: A, k: A, v: A, options: { isCausal: boolean }): A
  }
}

function layerNorm({ numpy: np }: Jax, x: A, w: A, b: A): A {
  const mean = np.mean(x.ref, -1, { keepdims: true })
  const centred = x.sub(mean)
  const variance = np.mean(np.square(centred.ref), -1, { keepdims: true })
  return centred
    .div(np.sqrt(variance.add(1e-5)))
    .mul(w)
    .add(b)
}

/** Logits [batch · length, nVocab] from the tokens' rows [batch · length, d]; `w`, with positions cut to length, is used up. */
function gpt(jax: Jax, shape: GptShape, w: Tree, tokens: A, batch: number, length: number): A {
  const { numpy: np, nn } = jax
  const { nLayer, nHead, dModel: d } = shape
  let x = tokens
    .reshape([batch, length, d])
    .add(w['pos_embed.w'].ref)
    .reshape([batch * length, d])
  const linear = (h: A, weight: A, bias: A): A => np.matmul(h, weight.ref).add(bias.ref)
  for (let i = 0; i < nLayer; i++) {
    const at = (name: string): A => w[`blocks.${i}.${name}`]
    const h = layerNorm(jax, x.ref, at('ln1.w').ref, at('ln1.b').ref)
    const [q, k, v] = ['q', 'k', 'v'].map((p) =>
      linear(h.ref, at(`attn.w_${p}`), at(`attn.b_${p}`)).reshape([batch, length, nHead, d / nHead]),
    )
    h.dispose()
    const z = nn.dotProductAttention(q, k, v, { isCausal: true }).reshape([batch * length, d])
    x = x.add(linear(z, at('attn.w_o'), at('attn.b_o')))
    const inner = linear(
      layerNorm(jax, x.ref, at('ln2.w').ref, at('ln2.b').ref),
      at('mlp.w_in'),
      at('mlp.b_in'),
    )
    x = x.add(linear(nn.gelu(inner, { approximate: true }), at('mlp.w_out'), at('mlp.b_out')))
  }
  const y = layerNorm(jax, x, w['ln_final.w'].ref, w['ln_final.b'].ref)
  const logits = np.matmul(y, w['embed.w'].ref.transpose())
  jax.tree.dispose(w)
  return logits
}

export function jaxAbilities(jax: Jax): Abilities {
  const { numpy: np, nn } = jax
  const f32 = (data: Float32Array, shape: readonly number[]): A => np.array(data, { shape })
  const repeated = (f: (...args: A[]) => A, args: readonly A[]): Prepared => {
    const compiled = jax.jit(f)
    const once = (): A => compiled(...args.map((a) => a.ref))
    return {
      async run() {
        const y = once()
        await jax.blockUntilReady(y)
        y.dispose()
      },
      output: () => once().data(),
      free: () => args.forEach((a) => a.dispose()),
    }
  }
  const treeOf = (shape: GptShape, w: Inputs): Tree => {
    const dims = gptParameters(shape)
    return Object.fromEntries(Object.entries(w).map(([name, data]) => [name, f32(data, dims[name])]))
  }
  const oneHot = (ids: readonly number[], classes: number): A => {
    const rows = new Float32Array(ids.length * classes)
    ids.forEach((id, i) => {
      rows[i * classes + id] = 1
    })
    return f32(rows, [ids.length, classes])
  }
  return {
    matmul: ({ m, n, k }, { a, b }) => repeated((x, y) => np.matmul(x, y), [f32(a, [m, k]), f32(b, [k, n])]),
    attention({ heads, length, dim, causal }, inputs) {
      // its layout is [batch, position, head, dim]
      const args = [inputs.q, inputs.k, inputs.v].map((x) =>
        f32(swapped(x, heads, length, dim), [1, length, heads, dim]),
      )
      const prepared = repeated((q, k, v) => nn.dotProductAttention(q, k, v, { isCausal: causal }), args)
      const output = async () => swapped((await prepared.output()) as Float32Array, length, heads, dim)
      return { ...prepared, output }
    },
    softmax: ({ rows, columns }, { x }) => repeated((a) => nn.softmax(a, -1), [f32(x, [rows, columns])]),
    layerNorm: ({ rows, columns }, { x, w, b }) =>
      repeated(
        (...args) => layerNorm(jax, args[0], args[1], args[2]),
        [f32(x, [rows, columns]), f32(w, [columns]), f32(b, [columns])],
      ),
    add: ({ length }, { x, y }) => repeated((a, b) => a.add(b), [f32(x, [1, length]), f32(y, [1, length])]),
    chain({ length, ops }, { x, y }) {
      const args = [f32(x, [1, length]), f32(y, [1, length])]
      const compiled = jax.jit((a: A, b: A): A => {
        let z = a
        for (let i = 0; i < ops; i++) z = z.add(b.ref)
        b.dispose()
        return z
      })
      const once = (): A => compiled(...(args.map((a) => a.ref) as [A, A]))
      return {
        async run() {
          const z = once()
          await jax.blockUntilReady(z)
          z.dispose()
        },
        output: () => once().data(),
        free: () => args.forEach((a) => a.dispose()),
      }
    },
    lstm({ time, batch, hidden: n }, inputs) {
      // one cell under jit, called for each step: a loop in its own words would be unrolled
      const cell = jax.jit((x: A, h: A, c: A, wih: A, whh: A, b: A): [A, A] => {
        const gates = np.matmul(x, wih).add(np.matmul(h, whh)).add(b)
        const [i, f, g, o] = np.split(gates, 4, 1)
        const next = nn
          .sigmoid(f)
          .mul(c)
          .add(nn.sigmoid(i).mul(np.tanh(g)))
        return [nn.sigmoid(o).mul(np.tanh(next.ref)), next]
      })
      const xs = Array.from({ length: time }, (_, t) =>
        f32(inputs.x.slice(t * batch * n, (t + 1) * batch * n), [batch, n]),
      )
      const state = [f32(inputs.h0, [batch, n]), f32(inputs.c0, [batch, n])]
      const weights = [
        f32(inputs.w_ih, [n, 4 * n]),
        f32(inputs.w_hh, [n, 4 * n]),
        f32(inputs.b, [4 * n]),
      ] as const
      const once = (): A[] => {
        let [h, c] = state.map((s) => s.ref)
        return xs.map((x) => {
          ;[h, c] = cell(x.ref, h, c, weights[0].ref, weights[1].ref, weights[2].ref)
          return h.ref
        })
      }
      return {
        async run() {
          const ys = once()
          await jax.blockUntilReady(ys)
          jax.tree.dispose(ys)
        },
        async output() {
          const out = new Float32Array(time * batch * n)
          for (const [t, y] of once().entries()) out.set(await y.data(), t * batch * n)
          return out
        },
        free: () => jax.tree.dispose([xs, state, weights]),
      }
    },
    prefill({ shape, length }, inputs) {
      // tokens and positions are looked up beforehand: the rest is the same graph
      const { dModel: d } = shape
      const cut = { ...shape, nCtx: length }
      const w = treeOf(cut, { ...inputs, 'pos_embed.w': inputs['pos_embed.w'].slice(0, length * d) })
      const rows = new Float32Array(length * d)
      promptIds(shape, length).forEach((id, i) =>
        rows.set(inputs['embed.w'].subarray(id * d, (id + 1) * d), i * d),
      )
      const ids = f32(rows, [length, d])
      const forward = jax.jit((tree: Tree, x: A) => gpt(jax, cut, tree, x, 1, length))
      const once = (): A => forward(jax.tree.ref(w), ids.ref)
      return {
        async run() {
          const y = once()
          await jax.blockUntilReady(y)
          y.dispose()
        },
        output: () => once().data(),
        free: () => jax.tree.dispose([w, ids]),
      }
    },
    train(work, inputs) {
      const { shape, batch, length, lr } = work
      const rows = trainingBatch(work)
      const x = oneHot(rows.input.flat(), shape.nVocab)
      const y = oneHot(rows.target.flat(), shape.nVocab)
      const lossOf = (tree: Tree, ids: A, targets: A): A => {
        const tokens = np.matmul(ids, tree['embed.w'].ref)
        const logp = nn.logSoftmax(gpt(jax, shape, tree, tokens, batch, length), -1)
        return np
          .sum(logp.mul(targets))
          .neg()
          .div(batch * length)
      }
      const both = jax.valueAndGrad(lossOf)
      const [b1, b2] = [0.9, 0.999]
      /** Adam (Kingma and Ba 2015, algorithm 1); c1 and c2 are its bias corrections. */
      const update = jax.jit(
        (p: Tree, m: Tree, v: Tree, ids: A, targets: A, c1: A, c2: A): [A, Tree, Tree, Tree] => {
          const [loss, grads] = both(jax.tree.ref(p), ids, targets)
          const next: [Tree, Tree, Tree] = [{}, {}, {}]
          for (const name of Object.keys(p)) {
            const g = grads[name]
            const m1 = m[name].mul(b1).add(g.ref.mul(1 - b1))
            const v1 = v[name].mul(b2).add(np.square(g).mul(1 - b2))
            const step = m1.ref
              .mul(c1.ref)
              .div(np.sqrt(v1.ref.mul(c2.ref)).add(1e-7))
              .mul(lr)
            next[0][name] = p[name].sub(step)
            next[1][name] = m1
            next[2][name] = v1
          }
          c1.dispose()
          c2.dispose()
          return [loss, ...next]
        },
      )
      const zeros = (): Tree =>
        treeOf(
          shape,
          Object.fromEntries(Object.entries(inputs).map(([n, d]) => [n, new Float32Array(d.length)])),
        )
      let state: [Tree, Tree, Tree] = [treeOf(shape, inputs), zeros(), zeros()]
      let t = 0
      const step = async (): Promise<number> => {
        t++
        const correction = (beta: number): A => f32(Float32Array.of(1 / (1 - beta ** t)), [])
        const [loss, ...next] = update(...state, x.ref, y.ref, correction(b1), correction(b2))
        state = next
        await jax.blockUntilReady(next)
        return (await loss.data())[0]
      }
      return {
        run: step,
        output: async () => [await step(), await step()],
        free: () => jax.tree.dispose([state, x, y]),
      }
    },
  }
}
