/**
 * What one training step sees. A batch is a function of (seed, step) alone, so that a resumed run stands where it
 * stopped; nothing here knows the model.
 */
import { repeatRow } from './repeats.js'
import { mixSeed, rng } from './rng.js'

/** A stretch of the run with one row length and one mixture; the shares of text, stories and repeats add to one. */
export interface Phase {
  steps: number
  rows: number
  length: number
  text: number
  stories: number
  repeats: number
  maxPeriod: number
}

export interface Sources {
  /** Documents and stories as token streams, `endOfText` before each. */
  text: ArrayLike<number>
  stories: ArrayLike<number>
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

/** `batches(step)`: rows of text first, then stories (half of them from a story's first word), then repeats. */
export function makeBatches(
  sources: Sources,
  phases: readonly Phase[],
  seed: number,
): (step: number) => Batch {
  for (const p of phases) {
    if (Math.abs(p.text + p.stories + p.repeats - 1) > 1e-9)
      throw new RangeError(`makeBatches: shares ${p.text} + ${p.stories} + ${p.repeats} are not 1`)
    if (sources.text.length < p.length + 2 || sources.stories.length < p.length + 2)
      throw new RangeError(
        `makeBatches: a row of ${p.length} tokens needs longer sources (${sources.text.length} text, ${sources.stories.length} stories)`,
      )
  }
  const starts = beginnings(sources.stories, sources.endOfText)
  return (step) => {
    const phase = phaseAt(phases, step)
    const { rows, length } = phase
    const ids = new Int32Array(rows * length)
    const targets = new Int32Array(rows * length)
    const textRows = Math.round(rows * phase.text)
    const repeatRows = Math.round(rows * phase.repeats)
    for (let row = 0; row < rows; row++) {
      const r = rng(mixSeed(seed, step, row))
      let tokens: ArrayLike<number>
      let from = 0
      if (row < textRows) {
        tokens = sources.text
        from = r.below(tokens.length - length - 1)
      } else if (row < rows - repeatRows) {
        tokens = sources.stories
        from =
          r.next() < 0.5 && starts.length > 0
            ? r.pick(starts as unknown as number[])
            : r.below(tokens.length - length - 1)
        from = Math.min(from, tokens.length - length - 1)
      } else
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
