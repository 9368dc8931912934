/**
 * Direct logit attribution (Elhage et al. 2021, "A mathematical framework for transformer circuits"; Wang et al. 2022):
 * the last residual stream is a sum, so a logit is a sum too, part by part, once the final norm's scale is frozen. Only
 * direct paths are seen: what a part makes later parts do is not in its number.
 */
import { grad, realize, reshape, slice, sub, type Tensor } from '@heed/tensor'
import { checkCount, checkOptions, InterpretError, NotDefinedError } from './errors.js'
import { Printed, signed, table, tiny } from './print.js'
import {
  blocksOf,
  doubles,
  isPostNorm,
  logitsOf,
  parameterOf,
  placeIn,
  type Traced,
  tokenId,
  tokenText,
  vectorAt,
} from './traced.js'

export interface DirectLogitOptions {
  /** The logit of this token … */
  token?: number | string
  /** … or logit[correct] − logit[wrong]. */
  correct?: number | string
  wrong?: number | string
  /** Where it is predicted; default −1, the last. */
  position?: number
  /** Row of the batch; default 0. */
  row?: number
}

/** One term of the sum. */
export interface LogitPart {
  /** A tap (`embed`, `blocks.2.mlp_out`), a head `blocks.2.attn.result[5]`, a bias `blocks.2.attn.b_o`. */
  readonly name: string
  readonly value: number
  readonly layer?: number
  readonly head?: number
}
export interface HeadPart extends LogitPart {
  readonly layer: number
  readonly head: number
}

/** Parts, heaviest first on request. */
export class PartList<P extends LogitPart> extends Array<P> {
  /** The n parts of largest absolute value. */
  top(n = 5): P[] {
    checkCount('top', 'n', n)
    return [...this].sort((a, b) => Math.abs(b.value) - Math.abs(a.value)).slice(0, n)
  }
  static override get [Symbol.species](): ArrayConstructor {
    return Array
  }
}

export class DirectLogitAttribution extends Printed {
  constructor(
    /** All terms, in the order of the computation; with the norm's and the unembedding's bias they are the whole logit. */
    readonly parts: PartList<LogitPart>,
    /** The terms of single heads. */
    readonly heads: PartList<HeadPart>,
    /** The logit, or the difference, as the model computed it. */
    readonly value: number,
    /** |Σ parts − value|: what the sum misses. */
    readonly error: number,
    /** What is attributed, in words. */
    readonly target: string,
  ) {
    super()
  }
  toString(): string {
    const rows = this.parts.top(8).map((p) => [p.name, signed(p.value)])
    return `${table(rows)}\n${this.target} = ${signed(this.value)}; the ${this.parts.length} parts miss it by ${tiny(this.error)}`
  }
}

/** The final norm with its scale frozen: y = (x − mean?)·gain/σ + bias at one position. */
interface FrozenNorm {
  readonly isCentred: boolean
  readonly gain: Float64Array
  readonly bias: Float64Array | null
  readonly perSigma: number
}

/**
 * σ is read off the run: the number that takes the last residual to the norm's output. It fits LayerNorm (mean taken
 * out) and RMSNorm with gain w or 1 + w; a norm that none of these explains is refused.
 */
function frozenNorm(
  resid: Float64Array,
  output: Float64Array,
  weight: Float64Array,
  bias: Float64Array | null,
): FrozenNorm {
  const candidates = [true, false].flatMap((isCentred) =>
    [weight, weight.map((w) => 1 + w)].map((gain) => ({ isCentred, gain })),
  )
  const fits = candidates.map(({ isCentred, gain }) => {
    const x = scaled(resid, isCentred, gain)
    let [xy, xx] = [0, 0]
    for (let i = 0; i < x.length; i++) {
      const y = output[i] - (bias ? bias[i] : 0)
      xy += x[i] * y
      xx += x[i] * x[i]
    }
    const perSigma = xx > 0 ? xy / xx : 0
    let miss = 0
    for (let i = 0; i < x.length; i++)
      miss = Math.max(miss, Math.abs(output[i] - (bias ? bias[i] : 0) - x[i] * perSigma))
    return { norm: { isCentred, gain, bias, perSigma }, miss }
  })
  const best = fits.reduce((a, b) => (b.miss < a.miss ? b : a))
  const size = Math.max(...output.map(Math.abs))
  if (best.miss > 1e-3 * Math.max(size, 1e-6))
    throw new NotDefinedError(
      'directLogitAttribution',
      'ln_final is neither LayerNorm nor RMSNorm over the last resid_post, or an edit stands between them',
    )
  return best.norm
}

/** (x − mean?)·gain */
function scaled(x: Float64Array, isCentred: boolean, gain: Float64Array): Float64Array {
  const mean = isCentred ? x.reduce((s, v) => s + v, 0) / x.length : 0
  return x.map((v, i) => (v - mean) * gain[i])
}
const dot = (a: Float64Array, b: Float64Array): number => a.reduce((s, v, i) => s + v * b[i], 0)

/**
 * Splits a logit (or a difference of two) into embeddings, heads z_h W_O^h, biases b_O and MLPs.
 * @throws NotDefinedError for post-norm models and for runs without logits.
 */
export async function directLogitAttribution(
  run: Traced,
  options: DirectLogitOptions,
): Promise<DirectLogitAttribution> {
  const what = 'directLogitAttribution'
  checkOptions(what, options, ['token', 'correct', 'wrong', 'position', 'row'])
  const isPair = options.correct !== undefined && options.wrong !== undefined
  if (
    (options.token !== undefined) === isPair ||
    (!isPair && (options.correct !== undefined || options.wrong !== undefined))
  )
    throw new InterpretError(`${what}: give { token }, or { correct, wrong }`)
  if (isPostNorm(run))
    throw new NotDefinedError(
      what,
      'the model is post-norm: every block normalises the sum again, so no part reaches the logits unchanged',
    )
  const logits = logitsOf(run)
  const blocks = blocksOf(run)
  if (logits.rank !== 3 || !run.has('logits') || blocks.length === 0)
    throw new NotDefinedError(what, 'the run has no blocks that end in logits [batch, position, vocabulary]')

  const at = placeIn(what, logits, options)
  const id = (token: number | string): number => tokenId(what, run.model, token, logits.shape[2])
  const pick = (i: number): Tensor =>
    reshape(
      slice(logits, [
        [at.row, at.row + 1],
        [at.position, at.position + 1],
        [i, i + 1],
      ]),
      [],
    )
  const name = (token: number | string): string =>
    JSON.stringify(tokenText(run.model, id(token)) ?? id(token))
  const first = isPair ? options.correct : options.token
  const metric = isPair
    ? sub(pick(id(options.correct as string)), pick(id(options.wrong as string)))
    : pick(id(first as string))
  const target = isPair
    ? `logit ${name(options.correct as string)} − logit ${name(options.wrong as string)}`
    : `logit ${name(first as string)}`

  const last = run.get(`blocks.${blocks[blocks.length - 1]}.resid_post`)
  const hasNorm = run.has('ln_final')
  const normed = hasNorm ? run.get('ln_final') : last
  // the unembedding is linear: its gradient is W_U[:, a] − W_U[:, b], whatever it is tied to
  const [gradient] = grad(metric, [normed])
  const here = (t: Tensor): Tensor => vectorAt(t, at.row, at.position) // […, dModel]
  const [weight, bias] = ['ln_final.w', 'ln_final.b'].map((path) => parameterOf(run.model, path))
  const terms = termsOf(run, blocks, at)
  const sources = [gradient, normed, last].map(here)
  // everything in one forward pass
  await realize([metric, ...sources, ...terms.map((t) => t.values)])
  const [direction, output, resid] = await Promise.all(sources.map(doubles))
  const value = await metric.item()
  const gain = weight ? await doubles(weight) : new Float64Array(resid.length).fill(1)
  const norm = hasNorm ? frozenNorm(resid, output, gain, bias ? await doubles(bias) : null) : null
  const share = (part: Float64Array): number =>
    norm ? dot(scaled(part, norm.isCentred, norm.gain), direction) * norm.perSigma : dot(part, direction)

  const parts = new PartList<LogitPart>()
  const heads = new PartList<HeadPart>()
  for (const term of terms) {
    const values = await doubles(term.values)
    if (!term.hasHeads) {
      parts.push({
        name: term.name,
        value: share(values),
        ...(term.layer === null ? {} : { layer: term.layer }),
      })
      continue
    }
    const width = resid.length
    for (let head = 0; head * width < values.length; head++) {
      const part = {
        name: `${term.name}[${head}]`,
        layer: term.layer as number,
        head,
        value: share(values.subarray(head * width, (head + 1) * width)),
      }
      parts.push(part)
      heads.push(part)
    }
  }
  if (norm?.bias) parts.push({ name: 'ln_final.b', value: dot(norm.bias, direction) })
  // what the unembedding adds of its own; without a bias there is nothing, and a miss shows as error
  if (parameterOf(run.model, 'unembed.b'))
    parts.push({ name: 'unembed.b', value: value - dot(output, direction) })
  const total = parts.reduce((s, p) => s + p.value, 0)
  return new DirectLogitAttribution(parts, heads, value, Math.abs(total - value), target)
}

/** A summand of the last residual at one position: [dModel], or [head, dModel]. */
interface Term {
  readonly name: string
  readonly layer: number | null
  readonly hasHeads: boolean
  readonly values: Tensor
}
function termsOf(run: Traced, blocks: readonly number[], at: { row: number; position: number }): Term[] {
  const terms: Term[] = []
  const tapped = (name: string, layer: number | null): void => {
    if (run.has(name))
      terms.push({ name, layer, hasHeads: false, values: vectorAt(run.get(name), at.row, at.position) })
  }
  // a norm on the embeddings makes one part of them
  for (const word of run.has('ln_embed') ? ['ln_embed'] : ['embed', 'pos_embed', 'type_embed'])
    tapped(word, null)
  for (const layer of blocks) {
    const name = `blocks.${layer}.attn.result`
    if (run.has(name)) {
      const result = run.get(name) // [batch, head, position, dModel]
      const row = result.shape[0] === 1 ? 0 : at.row
      const values = slice(result, [[row, row + 1], null, [at.position, at.position + 1]])
      terms.push({ name, layer, hasHeads: true, values })
      const bias = parameterOf(run.model, `blocks.${layer}.attn.b_o`)
      if (bias) terms.push({ name: `blocks.${layer}.attn.b_o`, layer, hasHeads: false, values: bias })
    } else tapped(`blocks.${layer}.attn_out`, layer)
    tapped(`blocks.${layer}.mlp_out`, layer)
  }
  return terms
}
