/**
 * The losses before and after one training step in float64. The first is computed here, from plain loops. The second, which sees every
 * gradient, was computed once by Heed's reference kernels in float64 (`heedTrainer(reference({ precision: 'f64' }), …)`, minutes of
 * plain loops) and stands here as a number; the gradients of those kernels are held to finite differences and to PyTorch elsewhere.
 */
import { gptLogits } from './gpt.js'
import { trainingBatch } from './training-batch.js'
import type { Expected, Inputs, WorkOf } from './work.js'

/** Of `train/gpt-tiny`: 8 rows of 64 tokens, Adam at 1e-3 with ε = 1e-7. */
const AFTER_ONE_STEP = 5.294415846625095

export function trainExpected(work: WorkOf<'train'>, weights: Inputs): Expected {
  const { input, target } = trainingBatch(work)
  const { nVocab } = work.shape
  let loss = 0
  input.forEach((ids, row) => {
    const positions = ids.map((_, i) => i)
    const logits = gptLogits(work.shape, weights, ids, positions)
    for (const p of positions) {
      const at = logits.subarray(p * nVocab, (p + 1) * nVocab)
      const greatest = at.reduce((a, b) => Math.max(a, b))
      const total = at.reduce((sum, x) => sum + Math.exp(x - greatest), 0)
      loss += greatest + Math.log(total) - at[target[row][p]]
    }
  })
  const values = [loss / (work.batch * work.length), AFTER_ONE_STEP]
  return { chunks: [{ at: 0, values }], size: 2, tolerance: 1e-4 }
}
