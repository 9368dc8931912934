/**
 * all-MiniLM-L6-v2 (a BERT of 6 layers, Reimers and Gurevych 2019): where its files are, its weights as they lie in the file, and its
 * sentence vectors in float64. It shares no code with the packages that are measured.
 */
import { existsSync, readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { gelu } from './erf.js'
import { attend, layerNorm, product } from './oracle.js'
import type { Inputs } from './work.js'

const NEEDED = ['config.json', 'model.safetensors', 'tokenizer.json', 'modules.json', '1_Pooling/config.json']

/** `minilm` in the folder of --weights, which is $HEED_WEIGHTS, which is ~/.cache/heed-weights where nobody says otherwise. */
export const minilmFolder = (): string =>
  `${process.env.HEED_WEIGHTS || `${homedir()}/.cache/heed-weights`}/minilm`

/** One line on what is missing and how to get it; null when all is there. */
export function minilmMissing(folder = minilmFolder()): string | null {
  const missing = NEEDED.filter((file) => !existsSync(`${folder}/${file}`))
  if (missing.length === 0) return null
  return `${folder} has no ${missing[0]}: put the files of sentence-transformers/all-MiniLM-L6-v2 there, or in FOLDER/minilm of --weights FOLDER`
}

export const minilmShape = { nLayer: 6, nHead: 12, dModel: 384, dMlp: 1536, nVocab: 30522, eps: 1e-12 }

/** Every float32 tensor of a safetensors file, by its name there. Matrices of linear layers are [out, in]. */
export function readFloats(file: string): Inputs {
  const bytes = readFileSync(file)
  const head = Number(bytes.readBigUInt64LE(0))
  const header = JSON.parse(bytes.toString('utf8', 8, 8 + head)) as Record<
    string,
    { dtype?: string; data_offsets: [number, number] }
  >
  return Object.fromEntries(
    Object.entries(header)
      .filter(([, t]) => t.dtype === 'F32')
      .map(
        ([
          name,
          {
            data_offsets: [from, to],
          },
        ]) => {
          const data = new Float32Array((to - from) / 4)
          new Uint8Array(data.buffer).set(bytes.subarray(8 + head + from, 8 + head + to))
          return [name, data]
        },
      ),
  )
}

/** The vector [dModel] of one text in float64: mean over its tokens, length 1. */
export function sentenceVector(w: Inputs, ids: readonly number[]): Float64Array {
  const { nLayer, nHead, dModel: d, eps } = minilmShape
  const T = ids.length
  const dim = d / nHead
  const linear = (x: Float64Array, name: string): Float64Array => {
    const [weight, bias] = [w[`${name}.weight`], w[`${name}.bias`]]
    const n = bias.length
    const y = product(x, weight, T, weight.length / n, n, true)
    return y.map((v, i) => v + bias[i % n])
  }
  const norm = (x: Float64Array, name: string): Float64Array =>
    layerNorm(x, w[`${name}.weight`], w[`${name}.bias`], T, d, eps)
  const plus = (a: Float64Array, b: Float64Array): Float64Array => a.map((v, i) => v + b[i])
  const words = new Float64Array(T * d)
  for (let t = 0; t < T; t++)
    for (let c = 0; c < d; c++)
      words[t * d + c] =
        w['embeddings.word_embeddings.weight'][ids[t] * d + c] +
        w['embeddings.position_embeddings.weight'][t * d + c] +
        w['embeddings.token_type_embeddings.weight'][c]
  let x = norm(words, 'embeddings.LayerNorm')
  for (let i = 0; i < nLayer; i++) {
    const at = `encoder.layer.${i}`
    const [q, k, v] = ['query', 'key', 'value'].map((p) => linear(x, `${at}.attention.self.${p}`))
    const z = new Float64Array(T * d)
    for (let t = 0; t < T; t++)
      for (let head = 0; head < nHead; head++)
        z.set(
          attend(q, k, v, { q: t * d + head * dim, kv: head * dim, keys: T, dim, row: d }),
          t * d + head * dim,
        )
    x = norm(plus(x, linear(z, `${at}.attention.output.dense`)), `${at}.attention.output.LayerNorm`)
    const inner = linear(x, `${at}.intermediate.dense`).map(gelu)
    x = norm(plus(x, linear(inner, `${at}.output.dense`)), `${at}.output.LayerNorm`)
  }
  const mean = new Float64Array(d)
  for (let t = 0; t < T; t++) for (let c = 0; c < d; c++) mean[c] += x[t * d + c] / T
  const length = Math.sqrt(mean.reduce((s, v) => s + v * v, 0))
  return mean.map((v) => v / length)
}
