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
  /** Query i stands at position i + offset. */
  offset?: number
  /** It sees keys ≤ its position only. Without this, an offset that is given means the same. */
  causal?: boolean
  /** Keys from position − left to position + right. */
  window?: readonly [left: number | null, right: number | null]
  /** First keys that a window does not hide. */
  sinkTokens?: number
  /** Blocks of this length; a query sees its own, `back` before it and, unless causal, `back` after it. */
  block?: number
  back?: number
  softcap?: number
  bias?: (b: number, h: number, q: number, k: number) => number
  /** A logit for each head. */
  sink?: ArrayLike<number>
  allowed?: (b: number, h: number, q: number, k: number) => boolean
  /** Contiguous [batch, head, query, dim], [batch, kv, key, dim], [batch, kv, key, valueDim]. */
  query: ArrayLike<number>
  key: ArrayLike<number>
  value: ArrayLike<number>
}

function sees(a: Attention, b: number, h: number, q: number, k: number): boolean {
  const at = q + (a.offset ?? 0)
  const causal = a.causal ?? a.offset !== undefined
  if (causal && k > at) return false
  if (a.window && !(k < (a.sinkTokens ?? 0))) {
    const [left, right] = a.window
    if (left !== null && k < at - left) return false
    if (right !== null && k > at + right) return false
  }
  if (a.block) {
    const apart = Math.floor(at / a.block) - Math.floor(k / a.block)
    if (apart > (a.back ?? 0) || apart < (causal ? 0 : -(a.back ?? 0))) return false
  }
  return a.allowed === undefined || a.allowed(b, h, q, k)
}

/** z [batch, head, query, valueDim], lse [batch, head, query], the pattern and the scores before bias and mask [batch, head, query, key]. */
export function attention(a: Attention) {
  const { batch, heads, kvHeads, queries, keys, dim, valueDim } = a
  const z = new Float64Array(batch * heads * queries * valueDim)
  const lse = new Float64Array(batch * heads * queries)
  const pattern = new Float64Array(batch * heads * queries * keys)
  const capped = new Float64Array(batch * heads * queries * keys)
  for (let b = 0; b < batch; b++)
    for (let h = 0; h < heads; h++)
      for (let q = 0; q < queries; q++) {
        const row = (b * heads + h) * queries + q
        const kv = b * kvHeads + Math.floor((h * kvHeads) / heads)
        const s = Array.from({ length: keys }, (_, k) => {
          if (!sees(a, b, h, q, k)) return Number.NEGATIVE_INFINITY
          let dot = 0
          for (let d = 0; d < dim; d++) dot += a.query[row * dim + d] * a.key[(kv * keys + k) * dim + d]
          const raw = dot * a.scale
          const score = a.softcap ? a.softcap * Math.tanh(raw / a.softcap) : raw
          capped[row * keys + k] = score
          return score + (a.bias?.(b, h, q, k) ?? 0)
        })
        const sink = a.sink?.[h] ?? Number.NEGATIVE_INFINITY
        const m = Math.max(...s, sink)
        const sum = [...s, sink].reduce(
          (t, x) => t + (x === Number.NEGATIVE_INFINITY ? 0 : Math.exp(x - m)),
          0,
        )
        lse[row] = sum > 0 ? m + Math.log(sum) : Number.NEGATIVE_INFINITY
        for (let k = 0; k < keys; k++) {
          if (s[k] === Number.NEGATIVE_INFINITY) continue
          const p = Math.exp(s[k] - lse[row])
          pattern[row * keys + k] = p
          for (let d = 0; d < valueDim; d++)
            z[row * valueDim + d] += p * a.value[(kv * keys + k) * valueDim + d]
        }
      }
  return { z, lse, pattern, capped }
}

/** Gradients of Σ dz·z + Σ dlse·lse by the textbook formulas; dbias [batch, head, query, key]. */
export function attentionBackward(a: Attention, dz: ArrayLike<number>, dlse?: ArrayLike<number>) {
  const { batch, heads, kvHeads, queries, keys, dim, valueDim } = a
  const { pattern, capped, lse } = attention(a)
  const dquery = new Float64Array(batch * heads * queries * dim)
  const dkey = new Float64Array(batch * kvHeads * keys * dim)
  const dvalue = new Float64Array(batch * kvHeads * keys * valueDim)
  const dbias = new Float64Array(batch * heads * queries * keys)
  const dsink = new Float64Array(heads)
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
        const mean =
          dp.reduce((t, x, k) => t + x * p[k], 0) -
          (dlse && lse[row] > Number.NEGATIVE_INFINITY ? dlse[row] : 0)
        if (a.sink && lse[row] > Number.NEGATIVE_INFINITY) dsink[h] -= Math.exp(a.sink[h] - lse[row]) * mean
        for (let k = 0; k < keys; k++) {
          let ds = p[k] * (dp[k] - mean)
          dbias[row * keys + k] = ds
          if (a.softcap) ds *= 1 - (capped[row * keys + k] / a.softcap) ** 2
          for (let d = 0; d < dim; d++) {
            dquery[row * dim + d] += a.scale * ds * a.key[(kv * keys + k) * dim + d]
            dkey[(kv * keys + k) * dim + d] += a.scale * ds * a.query[row * dim + d]
          }
          for (let d = 0; d < valueDim; d++)
            dvalue[(kv * keys + k) * valueDim + d] += p[k] * dz[row * valueDim + d]
        }
      }
  return { dquery, dkey, dvalue, dbias, dsink }
}
