/**
 * Attention without a softmax: f(q)·(f(k)ᵀ v), linear in the length. There is no pattern to look at; causal attention
 * is a recurrent network whose state is a matrix.
 */

import {
  add,
  checkOptions,
  div,
  elu,
  matmul,
  mul,
  reshape,
  scan,
  sum,
  swapLast,
  type Tensor,
  transpose,
  zeros,
} from '@heed/tensor'

const feature = (x: Tensor): Tensor => add(elu(x), 1)

/**
 * f(q)(f(k)ᵀ v) / (f(q)·Σ f(k) + eps) with f = elu + 1 (Katharopoulos et al. 2020, eqs. 5, 7, 18–20).
 * q, k [batch, head, position, dHead], v [batch, head, position, dValue] → [batch, head, position, dValue].
 */
export function linearAttention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  o: { causal?: boolean; eps?: number } = {},
): Tensor {
  checkOptions('linearAttention', o, ['causal', 'eps'])
  const { causal = false, eps = 0 } = o
  const fq = feature(q)
  const fk = feature(k)
  if (!causal) {
    const values = matmul(swapLast(fk), v) // [batch, head, dHead, dValue]
    const total = sum(fk, { axes: 2, keepDims: true }) // [batch, head, 1, dHead]
    return div(matmul(fq, values), add(sum(mul(fq, total), { axes: 3, keepDims: true }), eps))
  }
  const [batch, nHead, , dHead] = k.shape
  const dValue = v.shape[3]
  const byTime = (x: Tensor): Tensor => transpose(x, [2, 0, 1, 3]) // [position, batch, head, ..]
  const { ys } = scan(
    ([values, total], [qt, kt, vt]) => {
      const outer = mul(reshape(kt, [batch, nHead, dHead, 1]), reshape(vt, [batch, nHead, 1, dValue]))
      const nextValues = add(values, outer) // [batch, head, dHead, dValue]
      const nextTotal = add(total, kt) // [batch, head, dHead]
      const top = reshape(matmul(reshape(qt, [batch, nHead, 1, dHead]), nextValues), [batch, nHead, dValue])
      const bottom = add(sum(mul(qt, nextTotal), { axes: 2, keepDims: true }), eps)
      return { carry: [nextValues, nextTotal], ys: [div(top, bottom)] }
    },
    {
      init: [zeros([batch, nHead, dHead, dValue]), zeros([batch, nHead, dHead])],
      xs: [byTime(fq), byTime(fk), byTime(v)],
    },
  )
  return transpose(ys[0], [1, 2, 0, 3]) // [batch, head, position, dValue]
}
