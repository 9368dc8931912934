/**
 * One GPT-2 shaped model, described once for everybody: its sizes, its random weights by Heed's parameter names, and its forward
 * in float64. Each library builds it in its own words elsewhere.
 */
import { attend, layerNorm, product } from './oracle.js'
import { integers, noise } from './random.js'

export interface GptShape {
  readonly nLayer: number
  readonly nHead: number
  readonly dModel: number
  readonly nCtx: number
  readonly nVocab: number
}
export const gpt2Small: GptShape = { nLayer: 12, nHead: 12, dModel: 768, nCtx: 1024, nVocab: 50257 }
export const gptTiny: GptShape = { nLayer: 2, nHead: 4, dModel: 128, nCtx: 64, nVocab: 256 }
export const gptMedium: GptShape = { nLayer: 4, nHead: 4, dModel: 256, nCtx: 128, nVocab: 1000 }

export type Weights = Readonly<Record<string, Float32Array>>

/** Parameter name → shape. Matrices are [in, out]; the unembedding is embed.w, transposed. */
export function gptParameters({ nLayer, dModel: d, nCtx, nVocab }: GptShape): Record<string, number[]> {
  const out: Record<string, number[]> = { 'embed.w': [nVocab, d], 'pos_embed.w': [nCtx, d] }
  for (let i = 0; i < nLayer; i++) {
    const at = (name: string, shape: number[]): void => {
      out[`blocks.${i}.${name}`] = shape
    }
    for (const norm of ['ln1', 'ln2']) {
      at(`${norm}.w`, [d])
      at(`${norm}.b`, [d])
    }
    for (const part of ['q', 'k', 'v', 'o']) {
      at(`attn.w_${part}`, [d, d])
      at(`attn.b_${part}`, [d])
    }
    at('mlp.w_in', [d, 4 * d])
    at('mlp.b_in', [4 * d])
    at('mlp.w_out', [4 * d, d])
    at('mlp.b_out', [d])
  }
  out['ln_final.w'] = [d]
  out['ln_final.b'] = [d]
  return out
}

/** Random, of the sizes that trained weights have: matrices 0.05, biases 0.02, norm weights around 1. */
export function gptWeights(shape: GptShape): Weights {
  return Object.fromEntries(
    Object.entries(gptParameters(shape)).map(([name, dims], seed) => {
      const size = dims.reduce((a, b) => a * b)
      if (/ln\w*\.w$/.test(name)) return [name, noise(size, seed + 1, 0.1, 1)]
      return [name, noise(size, seed + 1, dims.length > 1 ? 0.05 : 0.02)]
    }),
  )
}

/** Token ids of a prompt; the same for everyone. */
export const promptIds = (shape: GptShape, length: number, seed = 7): number[] =>
  integers(length, shape.nVocab, seed)

const gelu = (x: number): number =>
  0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)))

/** Logits [positions, nVocab] in float64 of the asked positions (Radford et al. 2019: pre-norm, GELU by tanh, tied). */
export function gptLogits(
  shape: GptShape,
  weights: Weights,
  ids: readonly number[],
  positions: readonly number[],
): Float64Array {
  const { nLayer, nHead, dModel: d, nVocab } = shape
  const T = ids.length
  const dim = d / nHead
  const x = new Float64Array(T * d)
  for (let t = 0; t < T; t++)
    for (let c = 0; c < d; c++)
      x[t * d + c] = weights['embed.w'][ids[t] * d + c] + weights['pos_embed.w'][t * d + c]
  const linear = (h: Float64Array, w: Float32Array, b: Float32Array): Float64Array => {
    const rows = h.length / (w.length / b.length)
    const y = product(h, w, rows, w.length / b.length, b.length)
    for (let i = 0; i < y.length; i++) y[i] += b[i % b.length]
    return y
  }
  for (let i = 0; i < nLayer; i++) {
    const w = (name: string): Float32Array => weights[`blocks.${i}.${name}`]
    const h = layerNorm(x, w('ln1.w'), w('ln1.b'), T, d)
    const [q, k, v] = ['q', 'k', 'v'].map((p) => linear(h, w(`attn.w_${p}`), w(`attn.b_${p}`)))
    const z = new Float64Array(T * d)
    for (let t = 0; t < T; t++)
      for (let head = 0; head < nHead; head++)
        z.set(
          attend(q, k, v, { q: t * d + head * dim, kv: head * dim, keys: t + 1, dim, row: d }),
          t * d + head * dim,
        )
    const attnOut = linear(z, w('attn.w_o'), w('attn.b_o'))
    for (let c = 0; c < x.length; c++) x[c] += attnOut[c]
    const inner = linear(layerNorm(x, w('ln2.w'), w('ln2.b'), T, d), w('mlp.w_in'), w('mlp.b_in')).map(gelu)
    const mlpOut = linear(inner, w('mlp.w_out'), w('mlp.b_out'))
    for (let c = 0; c < x.length; c++) x[c] += mlpOut[c]
  }
  const final = layerNorm(x, weights['ln_final.w'], weights['ln_final.b'], T, d)
  const rows = new Float64Array(positions.length * d)
  positions.forEach((p, i) => rows.set(final.subarray(p * d, (p + 1) * d), i * d))
  return product(rows, weights['embed.w'], positions.length, d, nVocab, true)
}

/** Multiply-adds of a forward over T new tokens that see `keys` keys on average, times two. */
export const gptFlops = (s: GptShape, T: number, keys: number, logitRows = T): number =>
  2 * T * s.nLayer * (12 * s.dModel ** 2 + 2 * keys * s.dModel) + 2 * logitRows * s.dModel * s.nVocab
