/**
 * Choosing the next token from logits, on the host: a chain of processors (each sets what may not be chosen to −∞), then
 * the largest or a draw. The processors are those of Hugging Face by definition and by test; no model is known here.
 */
import { threefry2x32 } from '@heed/tensor'
import { OptionError } from './errors.js'

/** Scores of one row, changed in place or replaced. `ids` are the tokens so far (prompt included). */
export type Processor = (scores: Float64Array, ids: readonly number[]) => Float64Array

export interface SamplingOptions {
  /** Divides the logits; 0 is greedy. Default 0. */
  temperature?: number
  /** Only the k largest (all that tie with the k-th). */
  topK?: number
  /** The smallest set of tokens whose probability reaches p (Holtzman et al. 2020). */
  topP?: number
  /** Only tokens of at least minP times the largest probability. */
  minP?: number
  /** > 1 discourages tokens that occurred: positive logits are divided, negative multiplied (Keskar et al. 2019). */
  repetitionPenalty?: number
}

export function temperature(value: number): Processor {
  if (!(value > 0))
    throw new OptionError(
      `temperature is ${value}, expected a number above 0 (0 is greedy and needs no processor)`,
    )
  return (scores) => scores.map((v) => v / value)
}

export function topK(k: number, minTokens = 1): Processor {
  if (!Number.isInteger(k) || k < 1) throw new OptionError(`topK is ${k}, expected a positive integer`)
  return (scores) => {
    const n = Math.min(Math.max(k, minTokens), scores.length)
    const limit = Float64Array.from(scores).sort()[scores.length - n]
    return scores.map((v) => (v < limit ? Number.NEGATIVE_INFINITY : v))
  }
}

export function topP(p: number, minTokens = 1): Processor {
  if (!(p > 0 && p <= 1)) throw new OptionError(`topP is ${p}, expected a number above 0 and at most 1`)
  return (scores) => {
    if (p === 1) return scores
    const order = Array.from(scores, (_, i) => i).sort((a, b) => scores[a] - scores[b] || a - b)
    const probability = softmax(scores)
    let mass = 0
    const out = Float64Array.from(scores)
    // from the smallest on: dropped while what is dropped stays within 1 − p
    for (const i of order.slice(0, order.length - minTokens)) {
      mass += probability[i]
      if (mass > 1 - p) break
      out[i] = Number.NEGATIVE_INFINITY
    }
    return out
  }
}

export function minP(p: number): Processor {
  if (!(p >= 0 && p <= 1)) throw new OptionError(`minP is ${p}, expected a number from 0 to 1`)
  return (scores) => {
    const probability = softmax(scores)
    const limit = p * probability.reduce((a, b) => Math.max(a, b), 0)
    return scores.map((v, i) => (probability[i] < limit ? Number.NEGATIVE_INFINITY : v))
  }
}

export function repetitionPenalty(penalty: number): Processor {
  if (!(penalty > 0)) throw new OptionError(`repetitionPenalty is ${penalty}, expected a number above 0`)
  return (scores, ids) => {
    const out = Float64Array.from(scores)
    for (const id of new Set(ids)) out[id] = scores[id] < 0 ? scores[id] * penalty : scores[id] / penalty
    return out
  }
}

/** Probabilities of one row; −∞ has none. */
export function softmax(scores: ArrayLike<number>): Float64Array {
  let top = Number.NEGATIVE_INFINITY
  for (let i = 0; i < scores.length; i++) top = Math.max(top, scores[i])
  const out = new Float64Array(scores.length)
  let total = 0
  for (let i = 0; i < out.length; i++) total += out[i] = Math.exp(scores[i] - top)
  return out.map((v) => v / total)
}

/** The first of the largest. */
export function argMaxOf(scores: ArrayLike<number>): number {
  let best = 0
  for (let i = 1; i < scores.length; i++) if (scores[i] > scores[best]) best = i
  return best
}

/** Uniform in [0, 1) of 24 bits: the numbers of the threefry stream of `seed`, by step and row. */
export function uniformAt(seed: number, step: number, row: number): number {
  const [bits] = threefry2x32(Math.floor(seed / 2 ** 32) | 0, seed | 0, step | 0, row | 0)
  return (bits >>> 8) * 2 ** -24
}

/** The token at quantile u of the distribution, tokens in order of their ids. */
export function drawFrom(scores: ArrayLike<number>, u: number): number {
  const probability = softmax(scores)
  let mass = 0
  let last = 0
  for (let i = 0; i < probability.length; i++) {
    if (probability[i] === 0) continue
    last = i
    mass += probability[i]
    if (u < mass) return i
  }
  return last
}

/** Scores and ids so far → the next id. */
export type Chooser = (logits: ArrayLike<number>, ids: readonly number[], step: number, row: number) => number

/** The chain in Hugging Face's order: repetition penalty, temperature, top-k, top-p, min-p; then the largest or a draw. */
export function chooser(options: SamplingOptions & { seed?: number }): Chooser {
  const t = options.temperature ?? 0
  if (typeof t !== 'number' || !(t >= 0))
    throw new OptionError(`temperature is ${t}, expected a number from 0 (greedy) on`)
  const seed = options.seed ?? Math.floor(Math.random() * 2 ** 32)
  if (!Number.isSafeInteger(seed) || seed < 0)
    throw new OptionError(`seed is ${seed}, expected a non-negative integer`)
  const chain: Processor[] = []
  if (options.repetitionPenalty !== undefined) chain.push(repetitionPenalty(options.repetitionPenalty))
  const isGreedy = t === 0
  if (!isGreedy && t !== 1) chain.push(temperature(t))
  const warpers = { topK: options.topK, topP: options.topP, minP: options.minP }
  if (isGreedy)
    for (const [name, value] of Object.entries(warpers))
      if (value !== undefined)
        throw new OptionError(
          `${name} without a temperature changes nothing; add temperature: 1, or leave it out`,
        )
  if (warpers.topK !== undefined) chain.push(topK(warpers.topK))
  if (warpers.topP !== undefined) chain.push(topP(warpers.topP))
  if (warpers.minP !== undefined) chain.push(minP(warpers.minP))
  return (logits, ids, step, row) => {
    const scores = chain.reduce<Float64Array>((s, p) => p(s, ids), Float64Array.from(logits))
    return isGreedy ? argMaxOf(scores) : drawFrom(scores, uniformAt(seed, step, row))
  }
}
