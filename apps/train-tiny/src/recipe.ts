/** The numbers of the run that made the built-in model, in one place; the README says where they come from. */
import type { Phase } from './batches.js'
import type { GrowOptions } from './grow.js'
import type { InitOptions, Shape } from './model.js'
import { VOCAB_SIZE } from './tokens.js'

/** The model is trained small first, then grown to the shape that is shipped. */
export const smallShape: Shape = { layers: 3, heads: 4, dModel: 128, context: 256, vocabSize: VOCAB_SIZE }
export const shape: Shape = { ...smallShape, layers: 4, heads: 6, dModel: 192 }
export const growth: GrowOptions = { seed: 10, matrix: 0.06 }
export const init: InitOptions = {
  seed: 0,
  embed: 0.1,
  position: 0.25,
  matrix: 0.08,
  shiftedHeads: 2,
  shiftGain: 4,
}
export const SEED = 0

const phase = (
  steps: number,
  [rows, length]: readonly [number, number],
  counts: {
    text: number
    stories: number
    gives?: number
    plain?: number
    direct?: number
    repeats: number
    pairs?: number
  },
): Phase => {
  const share = (n = 0): number => n / rows
  return {
    steps,
    rows,
    length,
    text: share(counts.text),
    stories: share(counts.stories),
    gives: share(counts.gives),
    plain: share(counts.plain),
    direct: share(counts.direct),
    repeats: share(counts.repeats),
    pairs: share(counts.pairs),
    maxPeriod: length / 2,
  }
}

/**
 * Rows of each kind by phase. Short rows full of repeats first, until an induction head begins; then longer rows with
 * more text, giving sentences for the name test, pairs for the previous-token head; the whole context last.
 */
export const phases: readonly Phase[] = [
  phase(600, [32, 32], { text: 5, stories: 5, repeats: 22 }),
  phase(700, [32, 64], { text: 16, stories: 10, repeats: 6 }),
  phase(700, [16, 128], { text: 9, stories: 2, gives: 3, repeats: 2 }),
  phase(300, [16, 128], { text: 9, stories: 1, gives: 3, repeats: 2, pairs: 1 }),
  phase(400, [32, 64], { text: 15, stories: 2, gives: 2, plain: 8, repeats: 3, pairs: 2 }),
  phase(400, [32, 64], { text: 10, stories: 1, direct: 17, repeats: 2, pairs: 2 }),
  // the second part
  phase(150, [32, 64], { text: 10, stories: 2, direct: 16, repeats: 2, pairs: 2 }),
  phase(200, [16, 128], { text: 9, stories: 1, direct: 3, repeats: 2, pairs: 1 }),
  phase(300, [8, 256], { text: 5, stories: 0, direct: 1, repeats: 2 }),
  // mostly text from here on
  phase(700, [16, 128], { text: 13, stories: 1, direct: 1, repeats: 1 }),
  phase(400, [8, 256], { text: 6, stories: 0, direct: 1, repeats: 1 }),
  // positions beyond 128, which have seen little so far
  phase(450, [8, 256], { text: 6, stories: 1, direct: 0, repeats: 1 }),
]
export const steps = phases.reduce((sum, p) => sum + p.steps, 0)
/** Where the second part begins: the attention of the last layer starts again, turned round, with a fresh optimiser. */
export const SECOND_PART = 3100

const WARM = 50
const LOW = 7e-4
const HIGH = 3.5e-3
const RISE_FROM = 650
const RISE = 150
const FALL_TO = 3500
const AGAIN_FROM = 2700
const AGAIN = 1.2e-3
const LAST = 2e-3
const WARM_AGAIN = 20
const TEXT_FROM = 3750
const TEXT = 2e-3
const LONG_FROM = 4850
const LONG = 2e-3
const END = 0.05
const fall = (done: number): number => END + (1 - END) * 0.5 * (1 + Math.cos(Math.PI * Math.min(1, done)))

/**
 * First part: 50 steps of warm-up to 7e-4 while the heads form, then up to 3.5e-3 and down along a cosine; at step 2700,
 * where the giving sentences become many, once more down from 1.2e-3. Second part: a warm-up to 2e-3 and a cosine to a
 * twentieth of it, and the same again for the text from step 3750 and for the long rows from 4850 on.
 */
export function rate(step: number): number {
  if (step < RISE_FROM) return LOW * Math.min(1, (step + 1) / WARM)
  if (step < RISE_FROM + RISE) return LOW + ((HIGH - LOW) * (step - RISE_FROM)) / RISE
  if (step < AGAIN_FROM) return HIGH * fall((step - RISE_FROM - RISE) / (FALL_TO - RISE_FROM - RISE))
  if (step < SECOND_PART) return AGAIN * fall((step - AGAIN_FROM) / (FALL_TO - AGAIN_FROM))
  if (step < TEXT_FROM) {
    const since = step - SECOND_PART
    return LAST * Math.min(1, (since + 1) / WARM_AGAIN) * fall(since / (TEXT_FROM - SECOND_PART))
  }
  if (step < LONG_FROM) {
    const since = step - TEXT_FROM
    return TEXT * Math.min(1, (since + 1) / WARM) * fall(since / (LONG_FROM - TEXT_FROM))
  }
  const since = step - LONG_FROM
  return LONG * Math.min(1, (since + 1) / WARM_AGAIN) * fall(since / (steps - LONG_FROM))
}
/** After growing: mostly text, and enough of the rest that no head forgets what it does. */
export const grownPhases: readonly Phase[] = [
  phase(1500, [16, 128], { text: 13, stories: 1, direct: 1, repeats: 1 }),
  phase(1000, [8, 256], { text: 6, stories: 0, direct: 1, repeats: 1 }),
]
export const grownSteps = grownPhases.reduce((sum, p) => sum + p.steps, 0)
const GROWN = 1.5e-3
const GROWN_WARM = 100
/** A warm-up of 100 steps to 1.5e-3, then a cosine to a twentieth of it. */
export const grownRate = (step: number): number =>
  GROWN * Math.min(1, (step + 1) / GROWN_WARM) * fall(step / grownSteps)

export const betas: readonly [number, number] = [0.9, 0.95]
export const weightDecay = 0.1
export const clip = 1
