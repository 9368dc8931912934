/**
 * How far to trust a ranking of tokens: the deletion curve (Petsiuk et al. 2018, RISE, §4; Samek et al. 2017) against
 * random orders. Tokens are deleted by masking them as keys everywhere, so nobody reads them and nothing moves; their
 * own rows stay, and positions stay. A good ranking lowers the score faster than chance does.
 */
import { logicalAnd, type Tensor, tensor, traceLazy } from '@heed/tensor'
import { checkCount, checkOptions, InterpretError, indexOf } from './errors.js'
import { type Metric, measured } from './metric.js'
import { Printed } from './print.js'
import { randomIndices, shuffled } from './random.js'
import { callableOf, type Ids, inputOf, type Traced } from './traced.js'
import { type SweepOptions, sweep, sweepOptions, worldsPerPass } from './worlds.js'

export interface DeletionOptions extends SweepOptions {
  /** What is watched while tokens disappear, such as `probabilityOf(' Mary')`. */
  metric: Metric
  /** What the metric is called in the sentence; default 'the score'. */
  called?: string
  /** One number per position, the largest is deleted first (ties: the earlier position). Give this or `order`. */
  scores?: ArrayLike<number>
  /** Positions in the order of deletion. */
  order?: readonly number[]
  /** Positions that are never deleted or ranked. Default: the last one and those that a tokenizer added. */
  keep?: readonly number[]
  /** Default 20. */
  randomOrders?: number
  /** How many points the curve has behind its start, at most 10 (default), fewer for short texts. */
  steps?: number
  /** Of the random orders; default 0. */
  seed?: number
  /** A check of another ranking of the same text, score and positions: its random orders serve again. */
  against?: DeletionCheck
}
const known = [
  'metric',
  'called',
  'scores',
  'order',
  'keep',
  'randomOrders',
  'steps',
  'seed',
  'against',
  ...sweepOptions,
]
const MAX_STEPS = 10

export interface CurvePoint {
  /** Share of the deletable tokens that are gone. */
  readonly deleted: number
  readonly value: number
}

/** A curve, its area, and what chance reaches. */
export class DeletionCheck extends Printed {
  constructor(
    readonly curve: readonly CurvePoint[],
    /** Area under the curve, smaller is better; null when nothing can be deleted. */
    readonly auc: number | null,
    /** Areas of the random orders. */
    readonly random: readonly number[],
    /** Share of random orders with a larger area (ties count half); null when nothing can be compared. */
    readonly percentile: number | null,
    /** How far to trust the ranking, in plain words. */
    readonly sentence: string,
    /** Positions in the order in which they were deleted. */
    readonly order: readonly number[],
  ) {
    super()
  }
  toString(): string {
    if (this.auc === null) return this.sentence
    const points = this.curve.map((p) => p.value.toFixed(3)).join(' ')
    return `deletion curve ${points}\narea ${this.auc.toFixed(4)}, random orders ${mean(this.random).toFixed(4)}\n${this.sentence}`
  }
}

const mean = (v: readonly number[]): number => v.reduce((s, x) => s + x, 0) / Math.max(1, v.length)

/** Positions by falling score, ties by position. */
function ranking(scores: ArrayLike<number>, positions: readonly number[]): number[] {
  return [...positions].sort((a, b) => scores[b] - scores[a] || a - b)
}

function orderOf(o: DeletionOptions, deletable: readonly number[], length: number): number[] {
  if ((o.scores === undefined) === (o.order === undefined))
    throw new InterpretError(
      'deletionCheck: give either scores (one number per position) or order (positions)',
    )
  if (o.scores) {
    if (o.scores.length !== length)
      throw new InterpretError(`deletionCheck: ${o.scores.length} scores for ${length} tokens`)
    for (const p of deletable)
      if (!Number.isFinite(o.scores[p]))
        throw new InterpretError(`deletionCheck: the score of position ${p} is ${o.scores[p]}`)
    return ranking(o.scores, deletable)
  }
  const order = o.order as readonly number[]
  if (
    order.length !== deletable.length ||
    new Set(order).size !== order.length ||
    order.some((p) => !deletable.includes(p))
  )
    throw new InterpretError(
      `deletionCheck: order has to hold every deletable position once: ${deletable.join(', ')}`,
    )
  return [...order]
}

/** The last position, and what the tokenizer put around the text. */
function defaultKeep(run: Traced, length: number): number[] {
  const mask =
    (run as { encoding?: { specialTokensMask?: readonly number[] } | null }).encoding?.specialTokensMask ?? []
  return [length - 1, ...mask.flatMap((s, i) => (s ? [i] : []))]
}

/**
 * Deletes tokens in the order of a ranking and in random orders, and compares the areas under the metric's curves.
 * Costs at most 2 + (randomOrders + 1)·(steps − 1) forward passes, many in one batch; the run's edits take no part.
 * @throws InterpretError for a run of several texts.
 */
export async function deletionCheck(run: Traced, options: DeletionOptions): Promise<DeletionCheck> {
  const what = 'deletionCheck'
  checkOptions(what, options, known)
  const { metric, called = 'the score', randomOrders = 20, steps = MAX_STEPS, seed = 0 } = options
  checkCount(what, 'randomOrders', randomOrders)
  checkCount(what, 'steps', steps)
  if (steps > MAX_STEPS) throw new InterpretError(`${what}: steps is ${steps}, at most ${MAX_STEPS}`)
  if (!Number.isInteger(seed)) throw new InterpretError(`${what}: seed is ${seed}, expected a whole number`)
  const model = callableOf(what, run)
  const input = inputOf(what, run.model, run.input as Ids)
  const [batch, length] = input.ids.shape
  if (batch !== 1) throw new InterpretError(`${what}: the run holds ${batch} texts; check one at a time`)
  if (input.cache) throw new InterpretError(`${what}: the run used a cache; run the whole text without one`)

  const keep = new Set(
    (options.keep ?? defaultKeep(run, length)).map((p) => indexOf(what, 'kept position', p, length)),
  )
  const deletable = Array.from({ length }, (_, p) => p).filter((p) => !keep.has(p))
  const order = orderOf(options, deletable, length)
  const n = deletable.length
  if (n === 0)
    return new DeletionCheck(
      [],
      null,
      [],
      null,
      'There is nothing to delete, so this cannot be checked.',
      order,
    )

  const below = randomIndices(seed)
  const { against } = options
  if (against && (against.order.length !== n || against.order.some((p) => keep.has(p))))
    throw new InterpretError(`${what}: 'against' deletes other positions; give both checks the same keep`)
  if (against && options.randomOrders !== undefined)
    throw new InterpretError(
      `${what}: randomOrders and 'against' exclude each other; it brings its own random orders`,
    )
  const fresh = against ? 0 : randomOrders
  const orders = [order, ...Array.from({ length: fresh }, () => shuffled(deletable, below))]
  const counts = [...new Set(Array.from({ length: steps + 1 }, (_, j) => Math.round((j * n) / steps)))]
  // the same set of tokens is measured once, whatever the order that led to it
  const sets = new Map<string, readonly number[]>()
  const keyOf = (positions: readonly number[]): string => [...positions].sort((a, b) => a - b).join()
  for (const one of orders) for (const k of counts) sets.set(keyOf(one.slice(0, k)), one.slice(0, k))
  const items = [...sets.values()]

  const score = (gone: readonly (readonly number[])[]): Tensor => {
    const seen = Uint8Array.from({ length: gone.length * length }, () => 1)
    gone.forEach((positions, w) => {
      for (const p of positions) seen[w * length + p] = 0
    })
    const keys = tensor(seen, { shape: [gone.length, 1, 1, length], dtype: 'bool' }) // [world, 1, 1, key]
    const world = traceLazy(model, { ...input, mask: input.mask ? logicalAnd(input.mask, keys) : keys })
    return measured(what, metric, world)
  }
  const { onProgress, signal } = options
  const passes = { ...(onProgress ? { onProgress } : {}), ...(signal ? { signal } : {}) }
  onProgress?.(0, items.length)
  const values = await sweep(what, items, worldsPerPass(items.length, run.output.size), score, passes)
  const found = new Map(items.map((positions, i) => [keyOf(positions), values[i]]))
  const curveOf = (one: readonly number[]): CurvePoint[] =>
    counts.map((k) => ({ deleted: k / n, value: found.get(keyOf(one.slice(0, k))) as number }))

  const curve = curveOf(order)
  // the same text and score begin at the same value, and areas compare on the same points
  if (
    against &&
    (against.curve.length !== curve.length ||
      Math.abs(against.curve[0].value - curve[0].value) > 1e-6 * Math.max(1, Math.abs(curve[0].value)))
  )
    throw new InterpretError(`${what}: 'against' is a check of another text, score or number of steps`)
  const auc = area(curve)
  const random = against?.random ?? orders.slice(1).map((one) => area(curveOf(one)))
  return new DeletionCheck(curve, auc, random, ...verdict(curve, auc, random, n, called), order)
}

/** Trapezoids on the share of deleted tokens. */
function area(curve: readonly CurvePoint[]): number {
  let total = 0
  for (let i = 1; i < curve.length; i++)
    total += ((curve[i].value + curve[i - 1].value) / 2) * (curve[i].deleted - curve[i - 1].deleted)
  return total
}

function verdict(
  curve: readonly CurvePoint[],
  auc: number,
  random: readonly number[],
  n: number,
  called: string,
): [number | null, string] {
  if (n === 1)
    return [null, 'Only one token can be deleted, so every order is the same and this cannot be checked.']
  const values = curve.map((p) => p.value)
  const near = 1e-6 * Math.max(1e-6, ...values.map(Math.abs))
  const all = [auc, ...random]
  if (Math.max(...all) - Math.min(...all) <= near)
    return [0.5, `Every order of deletion gives the same curve: this text says nothing about the ranking.`]
  const worse = random.filter((r) => r > auc + near).length
  const ties = random.filter((r) => Math.abs(r - auc) <= near).length
  const percentile = (worse + ties / 2) / random.length
  const count = `deleting the highest-ranked tokens first lowers ${called} faster than ${worse} of ${random.length} random orders`
  const few = n <= 3 ? ` With only ${n} tokens to delete there are few orders, so this means little.` : ''
  const say = (judgement: string): [number, string] => [percentile, `${judgement}: ${count}.${few}`]
  if (percentile >= 0.95) return say('The ranking holds up')
  if (percentile >= 0.75) return say('The ranking is somewhat better than chance; read it with care')
  if (percentile > 0.05) return say('The ranking is no better than chance; do not rely on it')
  return say('The ranking is worse than chance; do not rely on it')
}
