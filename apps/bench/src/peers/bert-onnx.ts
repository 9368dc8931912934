/** MiniLM as ONNX, from the tensors of its safetensors file, with the inputs that exporters give it. */
import { minilmShape } from '../minilm.js'
import type { Inputs } from '../work.js'
import { GraphWriter } from './onnx.js'

const BOOL = 9
const FLOAT = 1

/**
 * input_ids, attention_mask, token_type_ids int64 [batch, position] → last_hidden_state [batch, position, dModel], or, when `pooled`, the
 * sentence vectors y [batch, dModel]: the mean over tokens, of length 1.
 */
export function minilmGraph(w: Inputs, pooled: boolean): Uint8Array {
  const { nLayer, nHead, dModel: d, nVocab, eps } = minilmShape
  const g = new GraphWriter()
  const ints = (...values: number[]): string =>
    g.constant(BigInt64Array.from(values, BigInt), [values.length])
  const norm = (x: string, name: string): string =>
    g.node(
      'LayerNormalization',
      [x, g.constant(w[`${name}.weight`], [d]), g.constant(w[`${name}.bias`], [d])],
      { axis: -1, epsilon: { float: eps } },
    )
  /** One product for several linear layers of the file, side by side. */
  const linear = (x: string, ...names: string[]): string => {
    const biases = names.map((n) => w[`${n}.bias`])
    const outs = biases.reduce((n, b) => n + b.length, 0)
    const ins = w[`${names[0]}.weight`].length / biases[0].length
    const weight = new Float32Array(ins * outs)
    const bias = new Float32Array(outs)
    let column = 0
    names.forEach((name, i) => {
      const file = w[`${name}.weight`] // [out, in]
      for (let o = 0; o < biases[i].length; o++)
        for (let c = 0; c < ins; c++) weight[c * outs + column + o] = file[o * ins + c]
      bias.set(biases[i], column)
      column += biases[i].length
    })
    return g.node('Add', [g.node('MatMul', [x, g.constant(weight, [ins, outs])]), g.constant(bias, [outs])])
  }
  const embed = (name: string, rows: number, ids: string): string =>
    g.node('Gather', [g.constant(w[`embeddings.${name}_embeddings.weight`], [rows, d]), ids])
  // positions 0 … T − 1 of the table
  const length = g.node('Shape', ['input_ids'], { start: 1, end: 2 })
  const positions = g.node('Slice', [
    g.constant(w['embeddings.position_embeddings.weight'], [512, d]),
    ...[ints(0), length, ints(0)],
  ])
  const words = g.node('Add', [embed('word', nVocab, 'input_ids'), embed('token_type', 2, 'token_type_ids')])
  let x = norm(g.node('Add', [words, positions]), 'embeddings.LayerNorm') // [batch, position, d]
  const isToken = g.node('Cast', ['attention_mask'], { to: BOOL })
  // the op wants a row for every query
  const square = g.node('Concat', [g.node('Shape', ['input_ids'], { end: 1 }), ints(1), length, length], {
    axis: 0,
  })
  const mask = g.node('Expand', [g.node('Unsqueeze', [isToken, ints(1, 2)]), square]) // [batch, 1, query, key]
  for (let i = 0; i < nLayer; i++) {
    const at = `encoder.layer.${i}`
    const self = `${at}.attention.self`
    const qkv = linear(x, `${self}.query`, `${self}.key`, `${self}.value`)
    const [q, k, v] = [0, 1, 2].map((c) => g.node('Slice', [qkv, ints(c * d), ints((c + 1) * d), ints(2)]))
    const z = g.node('Attention', [q, k, v, mask], { is_causal: 0, q_num_heads: nHead, kv_num_heads: nHead })
    x = norm(
      g.node('Add', [x, linear(z, `${at}.attention.output.dense`)]),
      `${at}.attention.output.LayerNorm`,
    )
    const inner = g.node('Gelu', [linear(x, `${at}.intermediate.dense`)], { approximate: 'none' })
    const last = !pooled && i === nLayer - 1
    const [y, name] = [g.node('Add', [x, linear(inner, `${at}.output.dense`)]), `${at}.output.LayerNorm`]
    x = last
      ? g.node(
          'LayerNormalization',
          [y, g.constant(w[`${name}.weight`], [d]), g.constant(w[`${name}.bias`], [d])],
          { axis: -1, epsilon: { float: eps } },
          'last_hidden_state',
        )
      : norm(y, name)
  }
  if (pooled) {
    const weight = g.node('Unsqueeze', [g.node('Cast', ['attention_mask'], { to: FLOAT }), ints(2)])
    const sum = g.node('ReduceSum', [g.node('Mul', [x, weight]), ints(1)], { keepdims: 0 })
    const mean = g.node('Div', [sum, g.node('ReduceSum', [weight, ints(1)], { keepdims: 0 })])
    g.node('Div', [mean, g.node('ReduceL2', [mean, ints(1)], { keepdims: 1 })], {}, 'y')
  }
  const dims = ['batch', 'position']
  return g.write(
    ['input_ids', 'attention_mask', 'token_type_ids'].map((name) => ({ name, dims, type: 'int64' })),
    [pooled ? { name: 'y', dims: ['batch', d] } : { name: 'last_hidden_state', dims: [...dims, d] }],
  )
}
