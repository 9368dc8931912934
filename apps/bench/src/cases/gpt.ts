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

let known: { shape: GptShape; tokens: number; rows: ReadonlyMap<number, Float64Array> } | null = null
/**
 * True logits at some positions of the prompt of so many tokens. A prompt is the beginning of every longer one and the model is
 * causal, so one computation (seconds for GPT-2 small) serves reading a prompt and every form of the step after it.
 */
function trueLogits(shape: GptShape, weights: Inputs, tokens: number): ReadonlyMap<number, Float64Array> {
  if (known?.shape === shape && known.tokens === tokens) return known.rows
  const positions = [...new Set([0, (tokens - 1) >> 1, tokens - 2, tokens - 1])]
  const y = gptLogits(shape, weights, promptIds(shape, tokens), positions)
  const rows = new Map(positions.map((p, i) => [p, y.subarray(i * shape.nVocab, (i + 1) * shape.nVocab)]))
  known = { shape, tokens, rows }
  return rows
}

/** Logits of all positions; those of the first, the middle and the last are checked. */
function logitsExpected(shape: GptShape, inputs: Inputs, length: number): Expected {
  // of one token more where there is room: the step after the prompt comes next
  const rows = trueLogits(shape, inputs, Math.min(length + 1, shape.nCtx))
  return {
    chunks: [...rows]
      .filter(([position]) => position < length)
      .map(([position, values]) => ({ at: position * shape.nVocab, values })),
    size: length * shape.nVocab,
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

/**
 * What each form of the weights may cost the logits. Random weights are the worst case: nothing in them is redundant, so errors of
 * the 74 products of a token (0.5 % each in int8, 6 to 7 % in q4) only add up, in squares, against sums of random signs.
 */
const FORMATS = { f32: 1e-4, int8: 0.05, q4: 0.6 } as const
const decode = (name: string, shape: GptShape, length: number, weights: keyof typeof FORMATS): Case => ({
  name: `decode/${name}/${weights}`,
  work: { kind: 'decode', shape, length, weights },
  flops: gptFlops(shape, 1, length + 1),
  ...(weights === 'f32'
    ? {}
    : {
        without: {
          'ort-web': `its graph is not written with ${weights} weights`,
          'onnxruntime-node': `its graph is not written with ${weights} weights`,
        },
      }),
  inputs: () => weightsOf(shape),
  expected: (inputs) => ({
    // the logits of the token after the prompt
    chunks: [{ at: 0, values: trueLogits(shape, inputs, length + 1).get(length) as Float64Array }],
    size: shape.nVocab,
    tolerance: FORMATS[weights],
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

/** Measured in one go, the others in times of the first. */
const compared = (first: Case, ...others: Case[]): Case[] => [
  first,
  ...others.map((c) => ({ ...c, base: first.name })),
]

export const gptCases: readonly Case[] = [
  train,
  ...compared(keep('none'), keep('all')),
  prefill('gpt2-small', gpt2Small, 128),
  ...compared(
    decode('gpt2-small', gpt2Small, 128, 'f32'),
    decode('gpt2-small', gpt2Small, 128, 'int8'),
    decode('gpt2-small', gpt2Small, 128, 'q4'),
  ),
  prefill('gpt2-small', gpt2Small, 512, { slow: true }),
]
