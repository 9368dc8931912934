/**
 * What one training step sees. A batch is a function of (seed, step) alone, so that a resumed run stands where it
 * stopped; nothing here knows the model.
 */
import { pairRow, repeatRow } from './repeats.js'
import { mixSeed, rng } from './rng.js'

/** A stretch of the run with one row length and one mixture; the shares from `text` to `pairs` add to one. */
export interface Phase {
  steps: number
  rows: number
  length: number
  text: number
  stories: number
  gives: number
  plain: number
  direct: number
  repeats: number
  pairs: number
  maxPeriod: number
}

export interface Sources {
  /** Documents and stories as token streams, `endOfText` before each. */
  text: ArrayLike<number>
  stories: ArrayLike<number>
  /** Chains of giving sentences, likewise. */
  gives: ArrayLike<number>
  /** Single giving sentences, likewise: few and half of them in the direct form. */
  plain: ArrayLike<number>
  direct: ArrayLike<number>
  vocabSize: number
  endOfText: number
}

export interface Batch {
  rows: number
  length: number
  /** [rows, length] */
  ids: Int32Array
  /** [rows, length]: the token after each of `ids`. */
  targets: Int32Array
}

/** Which phase a step falls into; the last one goes on for ever. */
export function phaseAt(phases: readonly Phase[], step: number): Phase {
  let from = 0
  for (const phase of phases) {
    from += phase.steps
    if (step < from) return phase
  }
  const last = phases[phases.length - 1]
  if (!last) throw new RangeError('phaseAt: no phases')
  return last
}

/** Where each story begins, just after its end-of-text token. */
function beginnings(stream: ArrayLike<number>, endOfText: number): Int32Array {
  const at: number[] = []
  for (let i = 0; i < stream.length; i++) if (stream[i] === endOfText) at.push(i + 1)
  return Int32Array.from(at)
}

/**
 * `batches(step)`: rows of text first, then stories and giving sentences (half of them from a first word on), then
 * repeats and pairs.
 */
export function makeBatches(
  sources: Sources,
  phases: readonly Phase[],
  seed: number,
): (step: number) => Batch {
  for (const p of phases) {
    const shares = [p.text, p.stories, p.gives, p.plain, p.direct, p.repeats, p.pairs]
    if (Math.abs(shares.reduce((a, b) => a + b) - 1) > 1e-9)
      throw new RangeError(`makeBatches: shares ${shares.join(' + ')} are not 1`)
    for (const name of ['text', 'stories', 'gives', 'plain', 'direct'] as const)
      if (sources[name].length < p.length + 2)
        throw new RangeError(
          `makeBatches: a row of ${p.length} tokens needs longer sources; ${name} has ${sources[name].length}`,
        )
  }
  const storyStarts = beginnings(sources.stories, sources.endOfText)
  const giveStarts = beginnings(sources.gives, sources.endOfText)
  const plainStarts = beginnings(sources.plain, sources.endOfText)
  const directStarts = beginnings(sources.direct, sources.endOfText)
  return (step) => {
    const phase = phaseAt(phases, step)
    const { rows, length } = phase
    const ids = new Int32Array(rows * length)
    const targets = new Int32Array(rows * length)
    const textRows = Math.round(rows * phase.text)
    const pairsFrom = rows - Math.round(rows * phase.pairs)
    const repeatsFrom = pairsFrom - Math.round(rows * phase.repeats)
    const directFrom = repeatsFrom - Math.round(rows * phase.direct)
    const plainFrom = directFrom - Math.round(rows * phase.plain)
    const givesFrom = plainFrom - Math.round(rows * phase.gives)
    for (let row = 0; row < rows; row++) {
      const r = rng(mixSeed(seed, step, row))
      const fromFirstWord = (stream: ArrayLike<number>, starts: Int32Array): number => {
        const last = stream.length - length - 1
        const at =
          r.next() < 0.5 && starts.length > 0 ? (starts[r.below(starts.length)] as number) : r.below(last)
        return Math.min(at, last)
      }
      let tokens: ArrayLike<number>
      let from = 0
      if (row < textRows) {
        tokens = sources.text
        from = r.below(tokens.length - length - 1)
      } else if (row < givesFrom) {
        tokens = sources.stories
        from = fromFirstWord(tokens, storyStarts)
      } else if (row < plainFrom) {
        tokens = sources.gives
        from = fromFirstWord(tokens, giveStarts)
      } else if (row < directFrom) {
        tokens = sources.plain
        from = fromFirstWord(tokens, plainStarts)
      } else if (row < repeatsFrom) {
        tokens = sources.direct
        from = fromFirstWord(tokens, directStarts)
      } else if (row >= pairsFrom)
        tokens = pairRow(r, { length: length + 1, vocabSize: sources.vocabSize, skip: [sources.endOfText] })
      else
        tokens = repeatRow(r, sources.text, {
          length: length + 1,
          vocabSize: sources.vocabSize,
          skip: [sources.endOfText],
          maxPeriod: phase.maxPeriod,
        })
      for (let i = 0; i < length; i++) {
        ids[row * length + i] = tokens[from + i] as number
        targets[row * length + i] = tokens[from + i + 1] as number
      }
    }
    return { rows, length, ids, targets }
  }
}
