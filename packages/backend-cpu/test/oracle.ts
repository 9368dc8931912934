/** Float64 loops that say what the kernels must compute. Written from the formulas; nothing is shared with the kernels. */

/** Small deterministic generator (mulberry32), uniform in [-1, 1). */
export function uniform(seed: number): () => number {
  let a = seed >>> 0
  return () => {
    a = (a + 0x6d2b79f5) >>> 0
    let t = Math.imul(a ^ (a >>> 15), 1 | a)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2147483648 - 1
  }
}

export interface Sizes {
  batch: number
  heads: number
  kvHeads: number
  queries: number
  keys: number
  dim: number
  valueDim: number
}

export interface Attention extends Sizes {
  scale: number
  /** Query i sees keys ≤ i + offset; undefined: all keys. */
  offset?: number
  allowed?: (b: number, h: number, q: number, k: number) => boolean
  /** Contiguous [batch, head, query, dim], [batch, kv, key, dim], [batch, kv, key, valueDim]. */
  query: ArrayLike<number>
  key: ArrayLike<number>
  value: ArrayLike<number>
}

function sees(a: Attention, b: number, h: number, q: number, k: number): boolean {
  return (a.offset === undefined || k <= q + a.offset) && (a.allowed === undefined || a.allowed(b, h, q, k))
}

/** z [batch, head, query, valueDim], lse [batch, head, query] and the pattern [batch, head, query, key]. */
export function attention(a: Attention) {
  const { batch, heads, kvHeads, queries, keys, dim, valueDim } = a
  const z = new Float64Array(batch * heads * queries * valueDim)
  const lse = new Float64Array(batch * heads * queries)
  const pattern = new Float64Array(batch * heads * queries * keys)
  for (let b = 0; b < batch; b++)
    for (let h = 0; h < heads; h++)
      for (let q = 0; q < queries; q++) {
        const row = (b * heads + h) * queries + q
        const kv = b * kvHeads + Math.floor((h * kvHeads) / heads)
        const s = Array.from({ length: keys }, (_, k) => {
          if (!sees(a, b, h, q, k)) return Number.NEGATIVE_INFINITY
          let dot = 0
          for (let d = 0; d < dim; d++) dot += a.query[row * dim + d] * a.key[(kv * keys + k) * dim + d]
          return dot * a.scale
        })
        const m = Math.max(...s)
        const sum = s.reduce((t, x) => t + (x === Number.NEGATIVE_INFINITY ? 0 : Math.exp(x - m)), 0)
        lse[row] = sum > 0 ? m + Math.log(sum) : Number.NEGATIVE_INFINITY
        for (let k = 0; k < keys; k++) {
          if (s[k] === Number.NEGATIVE_INFINITY) continue
          const p = Math.exp(s[k] - lse[row])
          pattern[row * keys + k] = p
          for (let d = 0; d < valueDim; d++)
            z[row * valueDim + d] += p * a.value[(kv * keys + k) * valueDim + d]
        }
      }
  return { z, lse, pattern }
}

/** Gradients of Σ dz·z + Σ dlse·lse by the textbook formulas. */
export function attentionBackward(a: Attention, dz: ArrayLike<number>, dlse?: ArrayLike<number>) {
  const { batch, heads, kvHeads, queries, keys, dim, valueDim } = a
  const { pattern } = attention(a)
  const dquery = new Float64Array(batch * heads * queries * dim)
  const dkey = new Float64Array(batch * kvHeads * keys * dim)
  const dvalue = new Float64Array(batch * kvHeads * keys * valueDim)
  for (let b = 0; b < batch; b++)
    for (let h = 0; h < heads; h++)
      for (let q = 0; q < queries; q++) {
        const row = (b * heads + h) * queries + q
        const kv = b * kvHeads + Math.floor((h * kvHeads) / heads)
        const p = pattern.subarray(row * keys, (row + 1) * keys)
        const dp = Array.from({ length: keys }, (_, k) => {
          let sum = 0
          for (let d = 0; d < valueDim; d++)
            sum += dz[row * valueDim + d] * a.value[(kv * keys + k) * valueDim + d]
          return sum
        })
        const mean = dp.reduce((t, x, k) => t + x * p[k], 0)
        for (let k = 0; k < keys; k++) {
          const ds = p[k] * (dp[k] - mean + (dlse ? dlse[row] : 0))
          for (let d = 0; d < dim; d++) {
            dquery[row * dim + d] += a.scale * ds * a.key[(kv * keys + k) * dim + d]
            dkey[(kv * keys + k) * dim + d] += a.scale * ds * a.query[row * dim + d]
          }
          for (let d = 0; d < valueDim; d++)
            dvalue[(kv * keys + k) * valueDim + d] += p[k] * dz[row * valueDim + d]
        }
      }
  return { dquery, dkey, dvalue }
}
