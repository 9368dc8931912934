/**
 * What kind of head is it: previous-token, duplicate-token and induction scores on a repeated random sequence (Elhage et
 * al. 2021; Olsson et al. 2022). On r + r, |r| = n, a score is the mean attention on one diagonal of the pattern.
 */
import { mean, realize, type Tensor, tensor, traceLazy } from '@heed/tensor'
import { checkCount, checkOptions, InterpretError } from './errors.js'
import { Printed, table } from './print.js'
import { randomIndices } from './random.js'
import { type Traced, tapsOf } from './traced.js'

export interface HeadKindsOptions {
  /** |r|: how many random tokens are repeated. Default 50, or what context and vocabulary allow. */
  length?: number
  /** Sequences the scores are the mean of; default 4. */
  batch?: number
  /** Default 0. */
  seed?: number
  /** Ids that are never drawn; default the tokenizer's special tokens. */
  exclude?: readonly number[]
  /** Ids put in front of every sequence, such as a BOS; default none. */
  prefix?: readonly number[]
  /** Sizes of a model whose config has no nVocab and nCtx. */
  nVocab?: number
  nCtx?: number
  /** Which stack: '' (default), 'encoder.' or 'decoder.'. */
  stack?: '' | 'encoder.' | 'decoder.'
}

/** Scores in [0, 1]. */
export interface HeadScores {
  /** Mean attention to the token before: diagonal −1. */
  readonly previous: number
  /** Mean attention to the earlier copy of the same token: diagonal −n. */
  readonly duplicate: number
  /** Mean attention to the token behind the earlier copy: diagonal 1 − n. */
  readonly induction: number
  /** The same over the queries of the second copy alone, where there is an earlier copy: 1 for a perfect head. */
  readonly inductionSecondCopy: number
}
export interface HeadKind extends HeadScores {
  readonly layer: number
  readonly head: number
  readonly kind: Kind
}
export type Kind = 'previous token' | 'duplicate token' | 'induction' | null

/** A head is called by its highest score, from this score on: it then gives a third of its attention to that one place. */
export const kindThreshold = 1 / 3

/** The name of a head: its highest score's, when that reaches `kindThreshold`; null for none. */
export function kindOf(scores: HeadScores): Kind {
  const named: [Kind, number][] = [
    ['induction', scores.induction],
    ['previous token', scores.previous],
    ['duplicate token', scores.duplicate],
  ]
  const [kind, score] = named.reduce((a, b) => (b[1] > a[1] ? b : a))
  return score >= kindThreshold ? kind : null
}

export class HeadKinds extends Printed {
  constructor(
    /** Every head, layer by layer. */
    readonly heads: readonly HeadKind[],
    /** |r| */
    readonly length: number,
    /** The sequences [batch][position]. */
    readonly ids: readonly (readonly number[])[],
  ) {
    super()
  }
  at(layer: number, head: number): HeadKind {
    const found = this.heads.find((h) => h.layer === layer && h.head === head)
    if (!found) throw new InterpretError(`headKinds: there is no head ${head} in layer ${layer}`)
    return found
  }
  /** The n best heads by one score. */
  top(by: keyof HeadScores, n = 3): HeadKind[] {
    return [...this.heads].sort((a, b) => b[by] - a[by]).slice(0, n)
  }
  toString(): string {
    const rows = (['previous', 'duplicate', 'induction'] as const).map((by) => {
      const [best] = this.top(by, 1)
      return [by, `L${best.layer}H${best.head}`, best[by].toFixed(3)]
    })
    return `${table(rows)}\nbest heads of ${this.heads.length} on ${this.ids.length} sequences of ${this.length} random tokens, repeated`
  }
}

interface Sized {
  readonly config?: Readonly<Record<string, unknown>>
  readonly tokenizer?: { readonly specialTokens?: readonly { readonly id: number }[] } | null
}

function sizeOf(model: Sized, name: 'nVocab' | 'nCtx', given: number | undefined): number {
  const value = given ?? model.config?.[name]
  if (typeof value !== 'number')
    throw new InterpretError(`headKinds: the model's config has no ${name}; give it as an option`)
  checkCount('headKinds', name, value)
  return value
}

/** Scores of every head of a model on its own vocabulary. */
export async function headKinds(
  model: (input: { ids: Tensor }) => Tensor,
  options: HeadKindsOptions = {},
): Promise<HeadKinds> {
  const what = 'headKinds'
  checkOptions(what, options, ['length', 'batch', 'seed', 'exclude', 'prefix', 'nVocab', 'nCtx', 'stack'])
  if (typeof model !== 'function')
    throw new InterpretError(`${what}: the model is ${typeof model}, expected a model`)
  const sized = model as Sized
  const { batch = 4, seed = 0, prefix = [], stack = '' } = options
  checkCount(what, 'batch', batch)
  const nVocab = sizeOf(sized, 'nVocab', options.nVocab)
  const nCtx = sizeOf(sized, 'nCtx', options.nCtx)
  const exclude = new Set(options.exclude ?? sized.tokenizer?.specialTokens?.map((t) => t.id) ?? [])
  const vocabulary = Array.from({ length: nVocab }, (_, id) => id).filter((id) => !exclude.has(id))
  const longest = Math.min(Math.floor((nCtx - prefix.length) / 2), vocabulary.length)
  const n = options.length ?? Math.min(50, longest)
  checkCount(what, 'length', n, 2)
  if (n > longest)
    throw new InterpretError(
      `${what}: length ${n} needs ${2 * n + prefix.length} positions and ${n} different tokens; this model allows ${longest}`,
    )

  const below = randomIndices(seed)
  const ids = Array.from({ length: batch }, () => {
    const r = drawn(vocabulary, n, below)
    return [...prefix, ...r, ...r]
  })
  const total = prefix.length + 2 * n
  const input = { ids: tensor(Int32Array.from(ids.flat()), { shape: [batch, total], dtype: 'i32' }) }
  const run: Traced = traceLazy(model, input)
  const names = tapsOf(what, run, 'attn.pattern', stack)
  const averages = names.map((name) => averageOf(run.get(name), n))
  // one forward pass; a pattern is dropped once its sequences are averaged
  await realize(averages)
  const heads: HeadKind[] = []
  for (const [i, name] of names.entries()) {
    const layer = Number(/blocks\.(\d+)\./.exec(name)?.[1])
    for (const [head, scores] of (await scoresOf(averages[i], n)).entries())
      heads.push({ layer, head, ...scores, kind: kindOf(scores) })
  }
  return new HeadKinds(heads, n, ids)
}

/** Different tokens, so that nothing but the repeat repeats. */
function drawn(vocabulary: readonly number[], n: number, below: (n: number) => number): number[] {
  const pool = [...vocabulary]
  for (let i = 0; i < n; i++) {
    const j = i + below(pool.length - i)
    ;[pool[i], pool[j]] = [pool[j], pool[i]]
  }
  return pool.slice(0, n)
}

/** Mean over the sequences of a pattern [batch, head, query, key] → [head, query, key]. */
function averageOf(pattern: Tensor, n: number): Tensor {
  const [, , queries, keys] = pattern.shape
  if (queries !== keys || queries < 2 * n)
    throw new InterpretError(
      `headKinds: a pattern [${pattern.shape.join(', ')}] is not over two copies of ${n} tokens`,
    )
  return mean(pattern, { axes: 0 })
}

/** Scores of every head of an averaged pattern [head, query, key] over … r + r, |r| = n. */
async function scoresOf(average: Tensor, n: number): Promise<HeadScores[]> {
  const [nHead, queries, keys] = average.shape
  const a = (await average.data()) as Float32Array
  return Array.from({ length: nHead }, (_, h) => {
    const diagonal = (offset: number, from: number): number => {
      let sum = 0
      for (let q = from; q < queries; q++) sum += a[(h * queries + q) * keys + q - offset]
      return sum / (queries - from)
    }
    return {
      previous: diagonal(1, 1),
      duplicate: diagonal(n, n),
      induction: diagonal(n - 1, n - 1),
      inductionSecondCopy: diagonal(n - 1, queries - n),
    }
  })
}
