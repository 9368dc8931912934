/** The work in ONNX Runtime's words, in Node and in a page: graphs carry their weights, so that it packs them when a session is made; a run is
 * `session.run`, copies in and out included, as its users have it.
 */
import { type GptShape, promptIds } from '../gpt.js'
import { swapped } from '../layout.js'
import type { Abilities, Inputs, Prepared } from '../work.js'
import { GraphWriter, type Value } from './onnx.js'

export interface OrtTensor {
  readonly data: Float32Array
}
interface Session {
  run(feeds: Record<string, OrtTensor>): Promise<Record<string, OrtTensor>>
  release(): Promise<void>
}
export interface Ort {
  readonly env: { readonly wasm: { numThreads: number } }
  readonly Tensor: new (
    type: 'float32' | 'int64',
    data: Float32Array | BigInt64Array,
    dims: readonly number[],
  ) => OrtTensor
  readonly InferenceSession: { create(model: Uint8Array, options: object): Promise<Session> }
}

export function ortAbilities(ort: Ort, options: object): Abilities {
  const session = async (
    bytes: Uint8Array,
    feeds: Record<string, OrtTensor>,
    output = 'y',
  ): Promise<Prepared> => {
    const s = await ort.InferenceSession.create(bytes, options)
    return {
      run: () => s.run(feeds),
      output: async () => (await s.run(feeds))[output].data,
      free: () => void s.release(),
    }
  }
  const f32 = (data: Float32Array, dims: readonly number[]): OrtTensor =>
    new ort.Tensor('float32', data, dims)
  return {
    matmul({ m, n, k }, { a, b }) {
      const g = new GraphWriter()
      g.node('MatMul', ['a', g.constant(b, [k, n])], {}, 'y')
      const bytes = g.write([{ name: 'a', dims: [m, k] }], [{ name: 'y', dims: [m, n] }])
      return session(bytes, { a: f32(a, [m, k]) })
    },
    attention({ heads, length, dim, causal }, inputs) {
      const g = new GraphWriter()
      const dims = [1, heads, length, dim]
      g.node('Attention', ['q', 'k', 'v'], { is_causal: causal ? 1 : 0 }, 'y')
      const names = ['q', 'k', 'v']
      const bytes = g.write(
        names.map((name) => ({ name, dims })),
        [{ name: 'y', dims }],
      )
      return session(bytes, Object.fromEntries(names.map((name) => [name, f32(inputs[name], dims)])))
    },
    softmax({ rows, columns }, { x }) {
      const g = new GraphWriter()
      const dims = [rows, columns]
      g.node('Softmax', ['x'], { axis: -1 }, 'y')
      return session(g.write([{ name: 'x', dims }], [{ name: 'y', dims }]), { x: f32(x, dims) })
    },
    layerNorm({ rows, columns }, { x, w, b }) {
      const g = new GraphWriter()
      const dims = [rows, columns]
      const known = [g.constant(w, [columns]), g.constant(b, [columns])]
      g.node('LayerNormalization', ['x', ...known], { axis: -1, epsilon: { float: 1e-5 } }, 'y')
      return session(g.write([{ name: 'x', dims }], [{ name: 'y', dims }]), { x: f32(x, dims) })
    },
    add({ length }, { x, y }) {
      const g = new GraphWriter()
      const dims = [1, length]
      g.node('Add', ['a', 'b'], {}, 'y')
      const bytes = g.write(
        [
          { name: 'a', dims },
          { name: 'b', dims },
        ],
        [{ name: 'y', dims }],
      )
      return session(bytes, { a: f32(x, dims), b: f32(y, dims) })
    },
    chain({ length, ops }, { x, y }) {
      const g = new GraphWriter()
      const dims = [1, length]
      let z = 'a'
      for (let i = 0; i < ops; i++) z = g.node('Add', [z, 'b'], {}, i === ops - 1 ? 'y' : undefined)
      const bytes = g.write(
        [
          { name: 'a', dims },
          { name: 'b', dims },
        ],
        [{ name: 'y', dims }],
      )
      return session(bytes, { a: f32(x, dims), b: f32(y, dims) })
    },
    lstm({ time, batch, hidden: n }, inputs) {
      // its weights are [1, 4 · hidden, input], its gates i, o, f, c
      const turned = (w: Float32Array): Float32Array => {
        const y = new Float32Array(w.length)
        ;[0, 3, 1, 2].forEach((gate, at) => {
          for (let j = 0; j < n; j++)
            for (let c = 0; c < n; c++) y[(at * n + j) * n + c] = w[c * 4 * n + gate * n + j]
        })
        return y
      }
      const b = new Float32Array(8 * n)
      ;[0, 3, 1, 2].forEach((gate, at) => {
        b.set(inputs.b.subarray(gate * n, (gate + 1) * n), at * n)
      })
      const g = new GraphWriter()
      const w = g.constant(turned(inputs.w_ih), [1, 4 * n, n])
      const r = g.constant(turned(inputs.w_hh), [1, 4 * n, n])
      const y = g.node('LSTM', ['x', w, r, g.constant(b, [1, 8 * n]), '', 'h', 'c'], { hidden_size: n }, 'y')
      const state = [1, batch, n]
      const bytes = g.write(
        [
          { name: 'x', dims: [time, batch, n] },
          { name: 'h', dims: state },
          { name: 'c', dims: state },
        ],
        [{ name: y, dims: [time, 1, batch, n] }],
      )
      return session(bytes, {
        x: f32(inputs.x, [time, batch, n]),
        h: f32(inputs.h0, state),
        c: f32(inputs.c0, state),
      })
    },
    prefill({ shape, length }, weights) {
      const ids = BigInt64Array.from(promptIds(shape, length), BigInt)
      return session(gptGraph(shape, weights, length, 0), {
        ids: new ort.Tensor('int64', ids, [1, length]),
      })
    },
    async decode({ shape, length }, weights) {
      // keys and values of the prompt, from the graph that reads it
      const all = promptIds(shape, length + 1)
      const dim = shape.dModel / shape.nHead
      const ids = (list: readonly number[]): OrtTensor =>
        new ort.Tensor('int64', BigInt64Array.from(list, BigInt), [1, list.length])
      const reader = await ort.InferenceSession.create(gptGraph(shape, weights, length, 0, true), options)
      const read = await reader.run({ ids: ids(all.slice(0, length)) })
      await reader.release()
      const past = Object.fromEntries(
        Array.from({ length: shape.nLayer }, (_, i) => ['k', 'v'].map((p) => `${p}${i}`))
          .flat()
          .map((name) => [
            `past_${name}`,
            f32(swapped(read[name].data, length, shape.nHead, dim), [1, shape.nHead, length, dim]),
          ]),
      )
      return session(gptGraph(shape, weights, 1, length, true), { ids: ids([all[length]]), ...past })
    },
  }
}

/**
 * GPT-2: ids [1, T] → y [T, nVocab], fused attention (opset 23), q, k and v in one product as exporters write them. With a past of P
 * positions, past_k0, past_v0, … [1, head, P, dim] come in. `keys` gives the new keys and values k0, v0, … [1, T, dModel]
 * back, the least that a loop of decoding needs.
 */
function gptGraph(shape: GptShape, w: Inputs, T: number, P: number, keys = false): Uint8Array {
  const { nLayer, nHead, dModel: d, nVocab, nCtx } = shape
  const g = new GraphWriter()
  const norm = (x: string, name: string): string =>
    g.node('LayerNormalization', [x, g.constant(w[`${name}.w`], [d]), g.constant(w[`${name}.b`], [d])], {
      axis: -1,
      epsilon: { float: 1e-5 },
    })
  const linear = (x: string, weight: Float32Array, bias: Float32Array): string => {
    const n = bias.length
    const y = g.node('MatMul', [x, g.constant(weight, [weight.length / n, n])])
    return g.node('Add', [y, g.constant(bias, [n])])
  }
  const inputs: Value[] = [{ name: 'ids', dims: [1, T], type: 'int64' }]
  const outputs: Value[] = [{ name: 'y', dims: [T, nVocab] }]
  const embed = g.constant(w['embed.w'], [nVocab, d])
  const positions = w['pos_embed.w'].subarray(P * d, Math.min(nCtx, P + T) * d)
  let x = g.node('Add', [g.node('Gather', [embed, 'ids']), g.constant(positions, [1, T, d])]) // [1, T, d]
  for (let i = 0; i < nLayer; i++) {
    const at = (name: string): Float32Array => w[`blocks.${i}.${name}`]
    const three = new Float32Array(3 * d * d)
    const bias = new Float32Array(3 * d)
    ;['q', 'k', 'v'].forEach((p, c) => {
      bias.set(at(`attn.b_${p}`), c * d)
      const part = at(`attn.w_${p}`)
      for (let r = 0; r < d; r++) three.set(part.subarray(r * d, (r + 1) * d), (r * 3 + c) * d)
    })
    const qkv = linear(norm(x, `blocks.${i}.ln1`), three, bias) // [1, T, 3 d]
    const part = (c: number, name?: string): string =>
      g.node(
        'Slice',
        [qkv, ...[c * d, (c + 1) * d, 2].map((v) => g.constant(BigInt64Array.of(BigInt(v)), [1]))],
        {},
        name,
      )
    const q = part(0)
    const [k, v] = [part(1, keys ? `k${i}` : undefined), part(2, keys ? `v${i}` : undefined)]
    if (keys) for (const p of ['k', 'v']) outputs.push({ name: `${p}${i}`, dims: [1, T, d] })
    let z: string
    if (P > 0) {
      const dims = [1, nHead, P, d / nHead]
      const past = ['k', 'v'].map((p) => `past_${p}${i}`)
      inputs.push(...past.map((name) => ({ name, dims })))
      // one query sees the whole past and itself
      const order = g.constant(BigInt64Array.of(1n, BigInt(T), BigInt(nHead), BigInt(d / nHead)), [4])
      const heads = (y: string): string =>
        g.node('Transpose', [g.node('Reshape', [y, order])], { perm: [0, 2, 1, 3] })
      const [key, value] = [k, v].map((y, c) => g.node('Concat', [past[c], heads(y)], { axis: 2 }))
      const out = g.node('Attention', [heads(q), key, value], { is_causal: 0 }) // [1, head, 1, dim]
      z = g.node('Reshape', [out, g.constant(BigInt64Array.of(1n, BigInt(T), BigInt(d)), [3])])
    } else z = g.node('Attention', [q, k, v], { is_causal: 1, q_num_heads: nHead, kv_num_heads: nHead })
    x = g.node('Add', [x, linear(z, at('attn.w_o'), at('attn.b_o'))])
    const inner = linear(norm(x, `blocks.${i}.ln2`), at('mlp.w_in'), at('mlp.b_in'))
    const active = g.node('Gelu', [inner], { approximate: 'tanh' })
    x = g.node('Add', [x, linear(active, at('mlp.w_out'), at('mlp.b_out'))])
  }
  const rows = g.node('Reshape', [
    norm(x, 'ln_final'),
    g.constant(BigInt64Array.of(BigInt(T), BigInt(d)), [2]),
  ])
  g.node('Gemm', [rows, embed], { transB: 1 }, 'y')
  return g.write(inputs, outputs)
}
