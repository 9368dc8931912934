/** Whole models with random weights: reading a prompt, one more token, one training step, everything kept. */
import {
  type GptShape,
  gpt2Small,
  gptFlops,
  gptLogits,
  gptMedium,
  gptTiny,
  gptWeights,
  promptIds,
} from '../gpt.js'
import { trainExpected } from '../train-oracle.js'
import type { Case, Expected, Inputs } from '../work.js'

let last: { shape: GptShape; weights: Inputs } | null = null
/** Half a gigabyte for GPT-2 small: made once for the cases that follow each other. */
function weightsOf(shape: GptShape): Inputs {
  if (last?.shape !== shape) last = { shape, weights: gptWeights(shape) }
  return last.weights
}

/** Logits of all positions; those of the first, the middle and the last are checked. */
async function logitsExpected(shape: GptShape, inputs: Inputs, length: number): Promise<Expected> {
  const rows = [0, length >> 1, length - 1]
  const y = gptLogits(shape, inputs, promptIds(shape, length), rows)
  const { nVocab } = shape
  return {
    chunks: rows.map((r, i) => ({ at: r * nVocab, values: y.subarray(i * nVocab, (i + 1) * nVocab) })),
    size: length * nVocab,
    tolerance: 1e-4,
  }
}

const prefill = (name: string, shape: GptShape, length: number, more: Partial<Case> = {}): Case => ({
  name: `prefill/${name}/${length}`,
  work: { kind: 'prefill', shape, length },
  flops: gptFlops(shape, length, (length + 1) / 2),
  inputs: () => weightsOf(shape),
  expected: (inputs) => logitsExpected(shape, inputs, length),
  ...more,
})

const decode = (name: string, shape: GptShape, length: number): Case => ({
  name: `decode/${name}/f32`,
  work: { kind: 'decode', shape, length },
  flops: gptFlops(shape, 1, length + 1),
  inputs: () => weightsOf(shape),
  expected: (inputs) => ({
    // the logits of the token after the prompt
    chunks: [{ at: 0, values: gptLogits(shape, inputs, promptIds(shape, length + 1), [length]) }],
    size: shape.nVocab,
    tolerance: 1e-4,
  }),
})

const BATCH = 8
const RATE = 1e-3
const train: Case = {
  name: 'train/gpt-tiny',
  work: { kind: 'train', shape: gptTiny, batch: BATCH, length: gptTiny.nCtx, lr: RATE },
  flops: 3 * BATCH * gptFlops(gptTiny, gptTiny.nCtx, (gptTiny.nCtx + 1) / 2),
  inputs: () => weightsOf(gptTiny),
  expected: (inputs) =>
    trainExpected({ kind: 'train', shape: gptTiny, batch: BATCH, length: gptTiny.nCtx, lr: RATE }, inputs),
}

const keep = (what: 'all' | 'none'): Case => ({
  name: `keep/${what}/gpt-medium`,
  work: { kind: 'keep', shape: gptMedium, length: gptMedium.nCtx, keep: what },
  flops: gptFlops(gptMedium, gptMedium.nCtx, (gptMedium.nCtx + 1) / 2),
  inputs: () => weightsOf(gptMedium),
  expected: (inputs) => logitsExpected(gptMedium, inputs, gptMedium.nCtx),
})

export const gptCases: readonly Case[] = [
  train,
  keep('none'),
  keep('all'),
  prefill('gpt2-small', gpt2Small, 128),
  prefill('gpt2-small', gpt2Small, 512, { slow: true }),
  decode('gpt2-small', gpt2Small, 128),
]
