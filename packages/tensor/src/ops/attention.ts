/**
 * Attention as one node. Its body is the textbook formula and the specification; a backend claims the node with a
 * fused kernel of O(T) memory. `scores` and `pattern` are its room: kept, they are lazy expressions over q and k.
 */
import { checkOptions, DTypeError, ShapeError, showShape } from '../errors.js'
import { type Attrs, constant, type Spec, type Tensor } from '../graph.js'
import { composite, type Operand } from './define.js'
import {
  add,
  div,
  equal,
  exp,
  less,
  lessEqual,
  log,
  logicalAnd,
  logicalOr,
  maximum,
  mul,
  sub,
  tanh,
  where,
} from './elementwise.js'
import { matmul } from './matmul.js'
import { finiteMax, sum } from './reduce.js'
import { broadcastTo, iota, reshape, swapLast } from './shape.js'

export interface AttentionOptions {
  /** Factor on q·kᵀ. Default 1/√dHead (Vaswani et al. 2017, eq. 1). */
  scale?: number
  /** Query i attends keys j ≤ i + offset only. */
  causal?: boolean
  /** Query i stands at position i + offset: a number or an i32 scalar tensor. */
  offset?: number | Tensor
  /** [left, right], inclusive: keys from i − left to i + right; null is open. A window of w keys is [w − 1, 0]. */
  window?: readonly [number | null, number | null]
  /** First keys that a window never hides (Xiao et al. 2023). */
  sinkTokens?: number
  /** Block-local attention with blocks of this length. */
  block?: number
  /** With `block`: how many blocks before (without causal: on both sides of) its own a query sees. */
  back?: number
  /** scores = softcap·tanh(scores/softcap), before bias and mask (Gemma 2). */
  softcap?: number
  /** bool, true = may attend; broadcasts to [batch, head, query, key]. */
  mask?: Tensor
  /** Added to the scores; broadcasts to [batch, head, query, key] (ALiBi, T5). */
  bias?: Tensor
  /** One learned logit per head [head] in the softmax's denominator (gpt-oss): rows then sum to less than 1. */
  sink?: Tensor
}

/** Attributes of the node, as kernels see them. */
export interface AttentionAttrs extends Attrs {
  readonly scale: number
  readonly causal: boolean
  readonly window: readonly [number | null, number | null] | null
  readonly sinkTokens: number
  readonly block: number
  readonly back: number
  readonly softcap: number
  readonly hasMask: boolean
  readonly hasBias: boolean
  readonly hasSink: boolean
}

/** Keys or values of nKvHead heads repeated for nHead query heads: head h reads group ⌊h/(nHead/nKvHead)⌋. */
function repeatHeads(x: Tensor, nHead: number): Tensor {
  const [batch, groups, position, d] = x.shape
  if (groups === nHead) return x
  const wide = broadcastTo(reshape(x, [batch, groups, 1, position, d]), [
    batch,
    groups,
    nHead / groups,
    position,
    d,
  ])
  return reshape(wide, [batch, nHead, position, d]) // [batch, head, key, dHead]
}

/** bool [query, key] (or broader), true where the geometry lets a query see a key; null when it hides nothing. */
function geometry(a: AttentionAttrs, queries: number, keys: number, offset: Tensor): Tensor | null {
  const i = reshape(add(iota(queries, { dtype: 'i32' }), offset), [queries, 1])
  const j = reshape(iota(keys, { dtype: 'i32' }), [1, keys])
  let allowed: Tensor | null = null
  const and = (c: Tensor): void => {
    allowed = allowed ? logicalAnd(allowed, c) : c
  }
  if (a.causal) and(lessEqual(j, i))
  if (a.window) {
    const [left, right] = a.window
    let near: Tensor | null = null
    if (left !== null) near = lessEqual(sub(i, left), j)
    if (right !== null) {
      const c = lessEqual(j, add(i, right))
      near = near ? logicalAnd(near, c) : c
    }
    if (near) and(a.sinkTokens > 0 ? logicalOr(near, less(j, a.sinkTokens)) : near)
  }
  if (a.block > 0) {
    const bi = floorDiv(i, a.block)
    const bj = floorDiv(j, a.block)
    and(lessEqual(sub(bi, a.back), bj))
    and(lessEqual(bj, a.causal ? bi : add(bi, a.back)))
  }
  return allowed
}
/** ⌊x/n⌋ of i32, also for negative x (i32 division truncates). */
function floorDiv(x: Tensor, n: number): Tensor {
  const q = div(x, n)
  return where(less(x, mul(q, n)), sub(q, 1), q)
}

interface AttentionInputs {
  q: Tensor
  k: Tensor
  v: Tensor
  offset: Tensor
  mask: Tensor | null
  bias: Tensor | null
  sink: Tensor | null
}
function named(inputs: readonly Tensor[], a: AttentionAttrs): AttentionInputs {
  let at = 4
  return {
    q: inputs[0],
    k: inputs[1],
    v: inputs[2],
    offset: inputs[3],
    mask: a.hasMask ? inputs[at++] : null,
    bias: a.hasBias ? inputs[at++] : null,
    sink: a.hasSink ? inputs[at++] : null,
  }
}

const attentionOf = composite('attention', {
  inner: ['scores', 'pattern'],
  infer: (inputs, attrs) => {
    const a = attrs as AttentionAttrs
    const [q, k, v, offset] = inputs
    for (const [name, s] of [
      ['q', q],
      ['k', k],
      ['v', v],
    ] as const) {
      if (s.shape.length !== 4)
        throw new ShapeError(`${name} is ${showShape(s.shape)}, expected [batch, head, position, dHead]`)
      if (s.dtype !== 'f32') throw new DTypeError(`${name} is ${s.dtype}, expected f32`)
    }
    const [B, H, Q, D] = q.shape
    if (k.shape[3] !== D) throw new ShapeError(`q has dHead ${D}, k has ${k.shape[3]}`)
    if (k.shape[2] !== v.shape[2]) throw new ShapeError(`k has ${k.shape[2]} positions, v has ${v.shape[2]}`)
    if (k.shape[1] !== v.shape[1] || H % k.shape[1] !== 0)
      throw new ShapeError(
        `${H} query heads are no multiple of ${k.shape[1]} key and ${v.shape[1]} value heads`,
      )
    if (k.shape[0] !== B || v.shape[0] !== B)
      throw new ShapeError(`q, k and v have batches ${B}, ${k.shape[0]} and ${v.shape[0]}`)
    if (offset.dtype !== 'i32' || offset.shape.length !== 0)
      throw new DTypeError(`offset is ${offset.dtype} ${showShape(offset.shape)}, expected an i32 scalar`)
    const full = [B, H, Q, k.shape[2]]
    let at = 4
    const fits = (s: Spec, what: string): void => {
      const lead = full.length - s.shape.length
      if (lead < 0 || s.shape.some((d, i) => d !== 1 && d !== full[lead + i]))
        throw new ShapeError(`${what} ${showShape(s.shape)} does not broadcast to ${showShape(full)}`)
    }
    if (a.hasMask) {
      if (inputs[at].dtype !== 'bool')
        throw new DTypeError(`the mask is ${inputs[at].dtype}, expected bool (true = may attend)`)
      fits(inputs[at++], 'the mask')
    }
    if (a.hasBias) fits(inputs[at++], 'the bias')
    if (a.hasSink && (inputs[at].shape.length !== 1 || inputs[at].shape[0] !== H))
      throw new ShapeError(`sink is ${showShape(inputs[at].shape)}, expected [${H}]`)
    return [
      { shape: [B, H, Q, v.shape[3]], dtype: 'f32' }, // z
      { shape: [B, H, Q], dtype: 'f32' }, // log-sum-exp of the row
    ]
  },
  body: (inputs, attrs, tap) => {
    const a = attrs as AttentionAttrs
    const { q, k, v, offset, mask, bias, sink } = named(inputs, a)
    const [, nHead, queries] = q.shape
    let scores = mul(matmul(q, swapLast(repeatHeads(k, nHead))), a.scale) // [batch, head, query, key]
    if (a.softcap > 0) scores = mul(a.softcap, tanh(div(scores, a.softcap)))
    if (bias) scores = add(scores, bias)
    const seen = geometry(a, queries, k.shape[2], offset)
    const allowed = seen && mask ? logicalAnd(seen, mask) : (seen ?? mask)
    if (allowed) scores = where(allowed, scores, Number.NEGATIVE_INFINITY)
    scores = tap('scores', scores)
    let top = finiteMax(scores, [3]) // [batch, head, query, 1]
    const sinkLogit = sink ? reshape(sink, [1, nHead, 1, 1]) : null
    if (sinkLogit) top = maximum(top, finiteMax(sinkLogit, [3]))
    const e = exp(sub(scores, top))
    let total = sum(e, { axes: 3, keepDims: true })
    if (sinkLogit) total = add(total, exp(sub(sinkLogit, top)))
    // nothing allowed: zeros, −∞ as log-sum-exp, and a gradient of zero
    const empty = equal(total, 0)
    const divisor = where(empty, 1, total)
    const pattern = tap('pattern', div(e, divisor))
    const lse = where(empty, Number.NEGATIVE_INFINITY, add(log(divisor), top))
    return [matmul(pattern, repeatHeads(v, nHead)), reshape(lse, [lse.shape[0], lse.shape[1], queries])]
  },
})

export interface AttentionResult {
  /** [batch, head, query, dHead] */
  z: Tensor
  /** log Σ exp(scores) per row [batch, head, query]; −∞ where nothing is allowed. */
  lse: Tensor
}
/**
 * softmax(mask(softcap(scale·q·kᵀ) + bias))·v (Vaswani et al. 2017, eq. 1; Ainslie et al. 2023 for grouped heads).
 *
 * q [batch, nHead, query, dHead]; k, v [batch, nKvHead, key, dHead], nHead a multiple of nKvHead. A batch of 1 is
 * broadcast. A row where nothing is allowed gives zeros. Taps `scores` and `pattern` [batch, head, query, key].
 */
export function attention(q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions = {}): AttentionResult {
  checkOptions('attention', options, [
    'scale',
    'causal',
    'offset',
    'window',
    'sinkTokens',
    'block',
    'back',
    'softcap',
    'mask',
    'bias',
    'sink',
  ])
  const batch = Math.max(
    ...[q, k, v].map((t) => t.shape[0] ?? 1),
    ...[options.mask, options.bias].map((t) => (t?.rank === 4 ? t.shape[0] : 1)),
  )
  const wide = (t: Tensor): Tensor =>
    t.rank === 4 && t.shape[0] === 1 && batch > 1 ? broadcastTo(t, [batch, ...t.shape.slice(1)]) : t
  const offset: Operand = options.offset ?? 0
  const { mask, bias, sink } = options
  const attrs: AttentionAttrs = {
    scale: options.scale ?? 1 / Math.sqrt(q.shape[q.rank - 1] || 1),
    causal: options.causal ?? false,
    window:
      options.window && (options.window[0] !== null || options.window[1] !== null)
        ? [options.window[0] ?? null, options.window[1] ?? null]
        : null,
    sinkTokens: options.sinkTokens ?? 0,
    block: options.block ?? 0,
    back: options.back ?? 0,
    softcap: options.softcap ?? 0,
    hasMask: !!mask,
    hasBias: !!bias,
    hasSink: !!sink,
  }
  const at = typeof offset === 'number' ? constant(offset, 'i32') : offset
  const inputs = [
    wide(q),
    wide(k),
    wide(v),
    at,
    ...(mask ? [mask] : []),
    ...(bias ? [bias] : []),
    ...(sink ? [sink] : []),
  ]
  const [z, lse] = attentionOf(inputs, attrs)
  return { z, lse }
}
