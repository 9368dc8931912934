/**
 * The true values in float64, from plain loops that share nothing with any library measured here. Large results are checked
 * on every seventh row (every 37th query): neighbours of every remainder modulo the tile sizes in use.
 */
import type { Expected, Inputs, WorkOf } from './work.js'

type Numbers = ArrayLike<number>

/** x[rows, k] · w[k, n] in float64; w is [n, k] when `transposed`. */
export function product(
  x: Numbers,
  w: Numbers,
  rows: number,
  k: number,
  n: number,
  transposed = false,
): Float64Array {
  const y = new Float64Array(rows * n)
  const column = transposed ? k : 1
  const step = transposed ? 1 : n
  const doubles = x instanceof Float64Array ? x : Float64Array.from(x)
  // two columns lie side by side, so that the loop below reads memory in order
  const pairs = new Float64Array(2 * k)
  // 4 × 2 sums at a time stay in registers
  for (let j = 0; j < n; j += 2) {
    const pair = j + 1 < n ? 1 : 0
    for (let c = 0, p = j * column; c < k; c++, p += step) {
      pairs[2 * c] = w[p]
      pairs[2 * c + 1] = w[p + pair * column]
    }
    for (let i = 0; i < rows; i += 4) fourByTwo(doubles, pairs, y, k, n, i, rows, j, pair)
  }
  return y
}

/** Rows i … i + 3 and columns j and j + 1 of a product; one that does not exist stands for the first, and is written there again. */
function fourByTwo(
  x: Float64Array,
  w: Float64Array,
  y: Float64Array,
  k: number,
  n: number,
  i: number,
  rows: number,
  j: number,
  pair: number,
): void {
  const r1 = i + 1 < rows ? 1 : 0
  const r2 = i + 2 < rows ? 2 : 0
  const r3 = i + 3 < rows ? 3 : 0
  let a0 = 0
  let a1 = 0
  let a2 = 0
  let a3 = 0
  let b0 = 0
  let b1 = 0
  let b2 = 0
  let b3 = 0
  const x0 = i * k
  const x1 = (i + r1) * k
  const x2 = (i + r2) * k
  const x3 = (i + r3) * k
  for (let c = 0; c < k; c++) {
    const u = w[2 * c]
    const v = w[2 * c + 1]
    const s0 = x[x0 + c]
    const s1 = x[x1 + c]
    const s2 = x[x2 + c]
    const s3 = x[x3 + c]
    a0 += s0 * u
    b0 += s0 * v
    a1 += s1 * u
    b1 += s1 * v
    a2 += s2 * u
    b2 += s2 * v
    a3 += s3 * u
    b3 += s3 * v
  }
  y[(i + r3) * n + j] = a3
  y[(i + r3) * n + j + pair] = b3
  y[(i + r2) * n + j] = a2
  y[(i + r2) * n + j + pair] = b2
  y[(i + r1) * n + j] = a1
  y[(i + r1) * n + j + pair] = b1
  y[i * n + j] = a0
  y[i * n + j + pair] = b0
}

export function matmulExpected(
  { m, n, k }: WorkOf<'matmul'>,
  inputs: { a: Float32Array; b: Float32Array },
): Expected {
  const every = m * n * k > 2 ** 27 ? 7 : 1
  const rows = everyOf(m, every)
  const picked = new Float32Array(rows.length * k)
  rows.forEach((r, i) => picked.set(inputs.a.subarray(r * k, (r + 1) * k), i * k))
  const y = product(picked, inputs.b, rows.length, k, n)
  return {
    chunks: rows.map((r, i) => ({ at: r * n, values: y.subarray(i * n, (i + 1) * n) })),
    size: m * n,
    tolerance: 1e-5,
  }
}

/** Every `step`-th index and the last. */
const everyOf = (length: number, step: number): number[] => {
  const out = Array.from({ length: Math.ceil(length / step) }, (_, i) => i * step)
  if (out[out.length - 1] !== length - 1) out.push(length - 1)
  return out
}

/** One query's softmax(q kᵀ / √d) v over the first `keys` keys. */
export function attend(
  q: Numbers,
  k: Numbers,
  v: Numbers,
  at: { q: number; kv: number; keys: number; dim: number; row: number },
): Float64Array {
  const { keys, dim, row } = at
  const scores = new Float64Array(keys)
  let greatest = Number.NEGATIVE_INFINITY
  for (let j = 0; j < keys; j++) {
    let s = 0
    for (let c = 0; c < dim; c++) s += q[at.q + c] * k[at.kv + j * row + c]
    scores[j] = s / Math.sqrt(dim)
    if (scores[j] > greatest) greatest = scores[j]
  }
  const z = new Float64Array(dim)
  let total = 0
  for (let j = 0; j < keys; j++) {
    const p = Math.exp(scores[j] - greatest)
    total += p
    for (let c = 0; c < dim; c++) z[c] += p * v[at.kv + j * row + c]
  }
  for (let c = 0; c < dim; c++) z[c] /= total
  return z
}

export function attentionExpected(
  { heads, length, dim, causal }: WorkOf<'attention'>,
  inputs: { q: Float32Array; k: Float32Array; v: Float32Array },
): Expected {
  const queries = everyOf(length, length > 256 ? 37 : 1)
  const chunks = []
  for (let h = 0; h < heads; h++)
    for (const i of queries) {
      const at = (h * length + i) * dim
      const values = attend(inputs.q, inputs.k, inputs.v, {
        q: at,
        kv: h * length * dim,
        keys: causal ? i + 1 : length,
        dim,
        row: dim,
      })
      chunks.push({ at, values })
    }
  return { chunks, size: heads * length * dim, tolerance: 1e-5 }
}

export function softmaxExpected({ rows, columns }: WorkOf<'softmax'>, inputs: { x: Float32Array }): Expected {
  const y = new Float64Array(rows * columns)
  for (let r = 0; r < rows; r++) {
    const x = inputs.x.subarray(r * columns, (r + 1) * columns)
    const greatest = x.reduce((a, b) => Math.max(a, b))
    let total = 0
    for (let c = 0; c < columns; c++) total += y[r * columns + c] = Math.exp(x[c] - greatest)
    for (let c = 0; c < columns; c++) y[r * columns + c] /= total
  }
  return { chunks: [{ at: 0, values: y }], size: y.length, tolerance: 1e-5 }
}

export function layerNorm(
  x: Numbers,
  w: Numbers,
  b: Numbers,
  rows: number,
  columns: number,
  eps = 1e-5,
): Float64Array {
  const y = new Float64Array(rows * columns)
  for (let r = 0; r < rows; r++) {
    let sum = 0
    for (let c = 0; c < columns; c++) sum += x[r * columns + c]
    const mean = sum / columns
    let squares = 0
    for (let c = 0; c < columns; c++) squares += (x[r * columns + c] - mean) ** 2
    const scale = 1 / Math.sqrt(squares / columns + eps)
    for (let c = 0; c < columns; c++) y[r * columns + c] = (x[r * columns + c] - mean) * scale * w[c] + b[c]
  }
  return y
}

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x))

/** h of every step, [time, batch, hidden] (Hochreiter & Schmidhuber 1997, gates i, f, g, o). */
export function lstmExpected({ time, batch, hidden: n }: WorkOf<'lstm'>, inputs: Inputs): Expected {
  const { x, w_ih, w_hh, b } = inputs
  const c = Float64Array.from(inputs.c0)
  const values = new Float64Array(time * batch * n)
  let h: Float64Array = Float64Array.from(inputs.h0)
  for (let t = 0; t < time; t++) {
    const fromInput = product(x.subarray(t * batch * n, (t + 1) * batch * n), w_ih, batch, n, 4 * n)
    const fromState = product(h, w_hh, batch, n, 4 * n)
    h = values.subarray(t * batch * n, (t + 1) * batch * n)
    for (let r = 0; r < batch; r++)
      for (let j = 0; j < n; j++) {
        const gate = (g: number): number => {
          const at = g * n + j
          return fromInput[r * 4 * n + at] + fromState[r * 4 * n + at] + b[at]
        }
        const at = r * n + j
        c[at] = sigmoid(gate(1)) * c[at] + sigmoid(gate(0)) * Math.tanh(gate(2))
        h[at] = sigmoid(gate(3)) * Math.tanh(c[at])
      }
  }
  return { chunks: [{ at: 0, values }], size: values.length, tolerance: 1e-5 }
}

/** Greatest distance from the true values, relative to the greatest true value; a missing or odd number is infinite. */
export function greatestError(got: ArrayLike<number>, expected: Expected): number {
  if (got.length !== expected.size) return Number.POSITIVE_INFINITY
  for (let i = 0; i < got.length; i++) if (!Number.isFinite(got[i])) return Number.POSITIVE_INFINITY
  let error = 0
  let scale = 0
  for (const { at, values } of expected.chunks)
    for (let i = 0; i < values.length; i++) {
      error = Math.max(error, Math.abs(got[at + i] - values[i]))
      scale = Math.max(scale, Math.abs(values[i]))
    }
  return error / (scale || 1)
}
