/**
 * A larger model that computes what a smaller one does, to be trained on from there (Net2Net, Chen et al. 2016,
 * arXiv:1511.05641). Heads keep their width and their numbers; new heads, new hidden units and new layers write nothing at
 * first; new columns of the residual stream carry each row's mean, which layer norms take away again.
 */
import type { Shape, Values } from './model.js'
import { normals, rng } from './rng.js'

interface Matrix {
  rows: number
  columns: number
  data: Float32Array
}
const matrix = (rows: number, columns: number, at: (row: number, column: number) => number): Matrix => {
  const data = new Float32Array(rows * columns)
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) data[i * columns + j] = at(i, j)
  return { rows, columns, data }
}

export interface GrowOptions {
  seed: number
  /** Standard deviation of new weights that read. */
  matrix: number
}

/** @throws RangeError when a size shrinks or heads would change their width. */
export function grow(values: Values, from: Shape, to: Shape, o: GrowOptions): Values {
  const dHead = from.dModel / from.heads
  if (to.dModel / to.heads !== dHead)
    throw new RangeError(`grow: heads are ${dHead} wide, those of the new shape ${to.dModel / to.heads}`)
  for (const size of ['layers', 'heads', 'dModel'] as const)
    if (to[size] < from[size]) throw new RangeError(`grow: ${size} shrinks from ${from[size]} to ${to[size]}`)
  if (to.vocabSize !== from.vocabSize || to.context !== from.context)
    throw new RangeError('grow: vocabulary and context keep their sizes')
  const [d, wide] = [from.dModel, to.dModel]
  const random = rng(o.seed)
  const draw = (rows: number, columns: number): Matrix => ({
    rows,
    columns,
    data: normals(random, rows * columns, o.matrix),
  })
  const given = (name: string): { shape: number[]; data: Float32Array } => {
    const v = values.get(name)
    if (!v) throw new RangeError(`grow: no value for ${name}`)
    return v
  }
  const out: Values = new Map()
  const put = (name: string, shape: number[], data: Float32Array): void => void out.set(name, { shape, data })

  /** What writes into the residual stream, [rows, d]: the new columns are the row's mean, new rows zero. */
  const writer = (name: string, rows = given(name).data.length / d): void => {
    const { data, shape } = given(name)
    const old = data.length / d
    const means = Array.from({ length: old }, (_, i) => {
      let sum = 0
      for (let j = 0; j < d; j++) sum += data[i * d + j] as number
      return sum / d
    })
    const m = matrix(rows, wide, (i, j) =>
      i >= old ? 0 : j < d ? (data[i * d + j] as number) : (means[i] as number),
    )
    put(name, shape.length === 1 ? [wide] : [rows, wide], m.data)
  }
  /** What reads it, [d, parts · n] → [wide, parts · n']: random in new rows and columns. */
  const reader = (name: string, parts: number): void => {
    const { data } = given(`${name}.weight`)
    const n = data.length / d / parts
    const grown = (n / d) * wide
    const fresh = draw(wide, parts * grown)
    const m = matrix(wide, parts * grown, (i, j) => {
      const [part, column] = [Math.floor(j / grown), j % grown]
      return i < d && column < n
        ? (data[(i * parts + part) * n + column] as number)
        : (fresh.data[i * parts * grown + j] as number)
    })
    put(`${name}.weight`, [wide, parts * grown], m.data)
    const bias = given(`${name}.bias`).data
    const padded = matrix(parts, grown, (part, j) => (j < n ? (bias[part * n + j] as number) : 0))
    put(`${name}.bias`, [parts * grown], padded.data)
  }
  /** A row of the same numbers and zeros has d/wide of the variance: the weights of norms make up for it. */
  const norm = (name: string): void => {
    const { data: w } = given(`${name}.weight`)
    const { data: b } = given(`${name}.bias`)
    const shrink = Math.sqrt(d / wide)
    put(`${name}.weight`, [wide], matrix(1, wide, (_, j) => (j < d ? (w[j] as number) * shrink : 1)).data)
    put(`${name}.bias`, [wide], matrix(1, wide, (_, j) => (j < d ? (b[j] as number) : 0)).data)
  }

  writer('wte.weight')
  writer('wpe.weight')
  for (let layer = 0; layer < from.layers; layer++) {
    const at = `h.${layer}`
    norm(`${at}.ln_1`)
    reader(`${at}.attn.c_attn`, 3)
    writer(`${at}.attn.c_proj.weight`, wide)
    writer(`${at}.attn.c_proj.bias`)
    norm(`${at}.ln_2`)
    reader(`${at}.mlp.c_fc`, 1)
    writer(`${at}.mlp.c_proj.weight`, 4 * wide)
    writer(`${at}.mlp.c_proj.bias`)
  }
  for (let layer = from.layers; layer < to.layers; layer++) {
    const at = `h.${layer}`
    const ones = new Float32Array(wide).fill(1)
    for (const name of ['ln_1', 'ln_2']) {
      put(`${at}.${name}.weight`, [wide], ones.slice())
      put(`${at}.${name}.bias`, [wide], new Float32Array(wide))
    }
    for (const [name, rows, columns] of [
      ['attn.c_attn', wide, 3 * wide],
      ['attn.c_proj', wide, wide],
      ['mlp.c_fc', wide, 4 * wide],
      ['mlp.c_proj', 4 * wide, wide],
    ] as const) {
      const writes = name.endsWith('c_proj')
      const data = writes ? new Float32Array(rows * columns) : draw(rows, columns).data
      put(`${at}.${name}.weight`, [rows, columns], data)
      put(`${at}.${name}.bias`, [columns], new Float32Array(columns))
    }
  }
  norm('ln_f')
  return out
}
