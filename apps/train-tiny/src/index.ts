export { type Batch, makeBatches, type Phase, phaseAt, type Sources } from './batches.js'
export { clean, type Document, HELD_OUT, loadCorpus, readRdb, stripGutenberg } from './corpus.js'
export {
  best,
  demoTop,
  type HeadScore,
  type HeldOutLoss,
  headScores,
  heldOutLoss,
  heldOutLossOf,
  type Measured,
  nameTest,
} from './measure.js'
export { kneserNey, type NgramModel } from './ngram.js'
export { type RepeatOptions, repeatRow } from './repeats.js'
export { DEMO, type GiveDraw, isHeldOut, namePrompt, nameTestDraws, stories } from './stories.js'
