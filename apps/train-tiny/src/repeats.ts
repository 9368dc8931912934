/**
 * Rows that repeat: a stretch of tokens, again and again, so that after one period everything can be looked up.
 * This is what previous-token and induction heads are made of; it teaches no language.
 */
import type { Rng } from './rng.js'

export interface RepeatOptions {
  /** Tokens a row. */
  length: number
  /** Ids are drawn from 0…vocabSize − 1, without `skip`. */
  vocabSize: number
  /** Ids that never occur inside a repeat (the end-of-text token). */
  skip?: readonly number[]
  minPeriod?: number
  maxPeriod?: number
}

/**
 * One row. A third each: random tokens of the whole vocabulary, random tokens of a small alphabet (4 to 64),
 * a stretch of `text`. The row starts anywhere inside the first period.
 */
export function repeatRow(r: Rng, text: ArrayLike<number>, options: RepeatOptions): number[] {
  const { length, vocabSize, skip = [], minPeriod = 6, maxPeriod = Math.min(32, length >> 1) } = options
  if (maxPeriod < minPeriod)
    throw new RangeError(`repeatRow: maxPeriod ${maxPeriod} is below minPeriod ${minPeriod}`)
  const period = r.between(minPeriod, maxPeriod)
  const draw = (): number => {
    for (;;) {
      const id = r.below(vocabSize)
      if (!skip.includes(id)) return id
    }
  }
  let stretch: number[]
  const kind = r.below(3)
  if (kind === 0) stretch = Array.from({ length: period }, draw)
  else if (kind === 1) {
    const alphabet = Array.from({ length: r.between(4, 64) }, draw)
    stretch = Array.from({ length: period }, () => r.pick(alphabet))
  } else {
    const from = r.below(text.length - period)
    stretch = Array.from({ length: period }, (_, i) => text[from + i] as number)
  }
  return Array.from({ length }, (_, i) => stretch[i % period] as number)
}

/**
 * One row of pairs that come two to five times each: a b a b a b c d c d … What follows is two back, so the shortest way
 * to it is a head that attends to the token before; nothing else in the data asks for that head so directly.
 */
export function pairRow(r: Rng, options: Pick<RepeatOptions, 'length' | 'vocabSize' | 'skip'>): number[] {
  const { length, vocabSize, skip = [] } = options
  const draw = (): number => {
    for (;;) {
      const id = r.below(vocabSize)
      if (!skip.includes(id)) return id
    }
  }
  const row: number[] = []
  while (row.length < length) {
    const pair = [draw(), draw()]
    for (let times = r.between(2, 5); times > 0; times--) row.push(...pair)
  }
  return row.slice(0, length)
}
