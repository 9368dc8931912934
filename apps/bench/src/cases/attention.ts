/** Attention of 12 heads of 64, as in GPT-2 small, q, k and v new in every run. */
import { attentionExpected } from '../oracle.js'
import { noise } from '../random.js'
import type { Case, WorkOf } from '../work.js'

const HEADS = 12
const DIM = 64

export function attention(length: number, causal: boolean, more: Partial<Case> = {}): Case {
  const work: WorkOf<'attention'> = { kind: 'attention', heads: HEADS, length, dim: DIM, causal }
  const size = HEADS * length * DIM
  return {
    name: `attention/${causal ? 'causal' : 'full'}/${length}`,
    work,
    // what is above the diagonal is not work, whoever computes it
    flops: (4 * HEADS * DIM * length * (causal ? length + 1 : 2 * length)) / 2,
    inputs: () => ({ q: noise(size, 1), k: noise(size, 2), v: noise(size, 3) }),
    expected: (inputs) =>
      attentionExpected(work, inputs as { q: Float32Array; k: Float32Array; v: Float32Array }),
    ...more,
  }
}

// 12 patterns of 8192 × 8192 are 3.2 GB, more than 32-bit memory takes; the others are asked and say so themselves, at once
const wholePattern = { tfjs: "fails with 'memory access out of bounds', after a minute" }

export const attentionCases: readonly Case[] = [true, false].flatMap((causal) => [
  attention(128, causal),
  attention(512, causal),
  attention(1024, causal, { slow: true }),
  attention(2048, causal, {
    ...(causal ? {} : { slow: true }),
    without: { tfjs: 'takes 10 s and more for one run' },
  }),
  attention(8192, causal, { slow: true, without: wholePattern }),
])

const memory = (length: number, more: Partial<Case> = {}): Case => ({
  name: `memory/attention/${length}`,
  work: { kind: 'memory', length },
  flops: 0,
  rounds: 1,
  inputs: () => ({}),
  // the process checks its result itself
  expected: () => null,
  ...more,
})
export const memoryCases: readonly Case[] = [
  memory(512, { slow: true }),
  memory(2048, { without: { tfjs: 'takes 10 s and more for one run' } }),
  memory(8192, { slow: true, without: wholePattern }),
]
