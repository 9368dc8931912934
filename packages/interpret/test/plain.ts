/**
 * The plainest transformers, from weights that are given: what the methods are tested on. No package but tensor is
 * needed, so a fault in a layer cannot hide a fault in a method.
 */
import {
  add,
  attention,
  type Context,
  embedding,
  gelu,
  layerNorm,
  linear,
  type ModelInput,
  matmul,
  type NestedArray,
  PARTS,
  reshape,
  rmsNorm,
  scope,
  sliceAxis,
  sum,
  swapLast,
  Tensor,
  tap,
  tensor,
  transpose,
} from '@heed/tensor'

export interface PlainBlock {
  ln1?: { w: Tensor; b?: Tensor }
  attn: { w_q: Tensor; w_k: Tensor; w_v: Tensor; w_o: Tensor; b_o?: Tensor }
  ln2?: { w: Tensor; b?: Tensor }
  mlp?: { w_in: Tensor; w_out: Tensor; b_out?: Tensor }
}
export interface PlainWeights {
  embed: { w: Tensor }
  pos_embed?: { w: Tensor }
  blocks: PlainBlock[]
  ln_final?: { w: Tensor; b?: Tensor }
  /** w [dModel, vocabulary]; absent: tied to embed. */
  unembed?: { w: Tensor; b?: Tensor }
}
export interface PlainOptions {
  nHead: number
  /** Factor on the scores; default 1/√dHead. */
  scale?: number
  isCausal?: boolean
  isPostNorm?: boolean
  isRms?: boolean
  words?: readonly string[]
  config?: Record<string, unknown>
}
type Input = Tensor | ModelInput
export type PlainModel = ((input: Input, ctx?: Context) => Tensor) & {
  [PARTS]: Record<string, unknown>
  config: Record<string, unknown>
  encode?: (text: string) => number[]
  decode?: (ids: ArrayLike<number>) => string
}

export function plain(w: PlainWeights, o: PlainOptions): PlainModel {
  const norm = (name: string, p: { w: Tensor; b?: Tensor } | undefined, x: Tensor): Tensor =>
    p ? scope(name, () => tap('', o.isRms ? rmsNorm(x, p.w) : layerNorm(x, p.w, p.b))) : x
  const heads = (x: Tensor): Tensor =>
    transpose(reshape(x, [x.shape[0], x.shape[1], o.nHead, -1]), [0, 2, 1, 3])
  const attend = (p: PlainBlock['attn'], x: Tensor, mask: Tensor | null | undefined): Tensor =>
    scope('attn', () => {
      const [q, k, v] = [p.w_q, p.w_k, p.w_v].map((m, i) => tap('qkv'[i], heads(linear(x, m))))
      const { z } = attention(q, k, v, {
        causal: o.isCausal ?? true,
        ...(o.scale === undefined ? {} : { scale: o.scale }),
        ...(mask ? { mask } : {}),
      })
      const perHead = reshape(p.w_o, [o.nHead, -1, p.w_o.shape[1]])
      const y = sum(tap('result', matmul(tap('z', z), perHead)), { axes: 1 }) // [batch, position, dModel]
      return p.b_o ? add(y, p.b_o) : y
    })
  const mlp = (p: PlainBlock['mlp'], x: Tensor): Tensor | null =>
    p ? tap('mlp_out', linear(gelu(linear(x, p.w_in)), p.w_out, p.b_out)) : null

  const self = (input: Input, ctx: Context = {}): Tensor => {
    const { ids, mask = ctx.mask } = input instanceof Tensor ? { ids: input, mask: ctx.mask } : input
    let x = tap('embed', embedding(w.embed.w, ids)) // [batch, position, dModel]
    if (w.pos_embed) x = add(x, tap('pos_embed', sliceAxis(w.pos_embed.w, 0, 0, ids.shape[1])))
    w.blocks.forEach((b, i) => {
      x = scope(`blocks.${i}`, () => {
        let y = tap('resid_pre', x)
        if (o.isPostNorm) {
          y = norm('ln1', b.ln1, tap('resid_mid', add(y, tap('attn_out', attend(b.attn, y, mask)))))
          const m = mlp(b.mlp, y)
          return norm('ln2', b.ln2, tap('resid_post', m ? add(y, m) : y))
        }
        y = tap('resid_mid', add(y, tap('attn_out', attend(b.attn, norm('ln1', b.ln1, y), mask))))
        const m = mlp(b.mlp, norm('ln2', b.ln2, y))
        return tap('resid_post', m ? add(y, m) : y)
      })
    })
    x = norm('ln_final', w.ln_final, x)
    return tap('logits', w.unembed ? linear(x, w.unembed.w, w.unembed.b) : matmul(x, swapLast(w.embed.w)))
  }
  const { words } = o
  return Object.assign(self, {
    [PARTS]: w as unknown as Record<string, unknown>,
    config: {
      nVocab: w.embed.w.shape[0],
      ...(w.pos_embed ? { nCtx: w.pos_embed.w.shape[0] } : {}),
      ...o.config,
    },
    ...(words
      ? {
          encode: (text: string) => text.split(' ').map((t) => words.indexOf(t)),
          decode: (ids: ArrayLike<number>) => Array.from(ids, (id) => words[id]).join(' '),
        }
      : {}),
  })
}

/** Normal-ish numbers of a seed, the same everywhere. */
export function randomWeights(seed: number): (shape: readonly number[], scale?: number) => Tensor {
  let state = seed >>> 0
  const next = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
  return (shape, scale = 1) => {
    const n = shape.reduce((a, b) => a * b, 1)
    return tensor(
      Float32Array.from({ length: n }, () => (next() + next() + next() + next() - 2) * scale * 1.7),
      shape,
    )
  }
}

export interface RandomShape {
  nLayer: number
  nHead: number
  dModel: number
  nVocab: number
  nCtx: number
}
/** A pre-norm decoder (or what `o` makes of it) with random weights. */
export function randomPlain(seed: number, s: RandomShape, o: Partial<PlainOptions> = {}): PlainModel {
  const r = randomWeights(seed)
  const d = s.dModel
  const norm = () => (o.isRms ? { w: r([d], 0.3) } : { w: r([d], 0.6), b: r([d], 0.3) })
  const blocks = Array.from({ length: s.nLayer }, () => ({
    ln1: norm(),
    attn: {
      w_q: r([d, d], 0.5),
      w_k: r([d, d], 0.5),
      w_v: r([d, d], 0.4),
      w_o: r([d, d], 0.4),
      b_o: r([d], 0.2),
    },
    ln2: norm(),
    mlp: { w_in: r([d, 2 * d], 0.4), w_out: r([2 * d, d], 0.4), b_out: r([d], 0.2) },
  }))
  const weights: PlainWeights = {
    embed: { w: r([s.nVocab, d]) },
    pos_embed: { w: r([s.nCtx, d], 0.3) },
    blocks,
    ...(o.isPostNorm ? {} : { ln_final: norm() }),
    unembed: { w: r([d, s.nVocab], 0.5), b: r([s.nVocab], 0.5) },
  }
  return plain(weights, { nHead: s.nHead, ...o })
}

/** From nested rows. */
export const rows = (values: NestedArray): Tensor => tensor(values, { dtype: 'f32' })
const identity = (n: number, by = 1): number[][] =>
  Array.from({ length: n }, (_, i) => Array.from({ length: n }, (_, j) => (i === j ? by : 0)))
const zero = (a: number, b: number): number[][] =>
  Array.from({ length: a }, () => new Array<number>(b).fill(0))

/**
 * An induction circuit made by hand: rooms of the residual are token | position | previous token | prediction. Head 0.0
 * attends to the position before and copies its token; head 1.0 attends to where 'previous token' is the current token
 * and copies the token that stands there into the prediction.
 */
export function inductionModel(
  nVocab: number,
  nCtx: number,
  options: { beta?: number; gain?: number } = {},
): PlainModel {
  const { beta = 200, gain = 20 } = options
  const d = 3 * nVocab + nCtx
  const dHead = d
  const at = { token: 0, position: nVocab, previous: nVocab + nCtx, prediction: 2 * nVocab + nCtx }
  const put = (m: number[][], row: number, col: number, block: number[][]): number[][] => {
    block.forEach((line, i) => {
      line.forEach((v, j) => {
        m[row + i][col + j] = v
      })
    })
    return m
  }
  const shifted = zero(nCtx, nCtx)
  for (let p = 0; p + 1 < nCtx; p++) shifted[p][p + 1] = 1
  const block = (q: number[][], k: number[][], v: number[][], out: number[][]): PlainBlock => ({
    attn: { w_q: rows(q), w_k: rows(k), w_v: rows(v), w_o: rows(out) },
  })
  const one = identity(nVocab)
  return plain(
    {
      embed: { w: rows(put(zero(nVocab, d), 0, at.token, one)) },
      pos_embed: { w: rows(put(zero(nCtx, d), 0, at.position, identity(nCtx))) },
      blocks: [
        block(
          put(zero(d, dHead), at.position, 0, identity(nCtx, beta)),
          put(zero(d, dHead), at.position, 0, shifted),
          put(zero(d, dHead), at.token, 0, one),
          put(zero(dHead, d), 0, at.previous, one),
        ),
        block(
          put(zero(d, dHead), at.token, 0, identity(nVocab, beta)),
          put(zero(d, dHead), at.previous, 0, one),
          put(zero(d, dHead), at.token, 0, one),
          put(zero(dHead, d), 0, at.prediction, one),
        ),
      ],
      unembed: { w: rows(put(zero(d, nVocab), at.prediction, 0, identity(nVocab, gain))) },
    },
    { nHead: 1, scale: 1 },
  )
}

/** i32 ids [batch, position]. */
export const idsOf = (...batch: (readonly number[])[]): Tensor =>
  tensor(Int32Array.from(batch.flat()), { shape: [batch.length, batch[0].length], dtype: 'i32' })
