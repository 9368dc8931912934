/** Attention of the sizes that conformance names, q, k and v new in every run; and the memory that it takes. */
import { type AttentionSize, sizes } from '@heed/conformance'
import { attentionExpected } from '../oracle.js'
import { noise } from '../random.js'
import type { Case, WorkOf } from '../work.js'

export function attention(o: AttentionSize, more: Partial<Case> = {}): Case {
  const { name, heads, length, dim, causal, slow } = o
  const work: WorkOf<'attention'> = { kind: 'attention', heads, length, dim, causal }
  const size = heads * length * dim
  return {
    ...{ name, slow, work },
    // what is above the diagonal is not work, whoever computes it
    flops: (4 * heads * dim * length * (causal ? length + 1 : 2 * length)) / 2,
    inputs: () => ({ q: noise(size, 1), k: noise(size, 2), v: noise(size, 3) }),
    expected: (inputs) =>
      attentionExpected(work, inputs as { q: Float32Array; k: Float32Array; v: Float32Array }),
    ...more,
  }
}

const tooSlow = { tfjs: 'takes 10 s and more for one run' }
// 12 patterns of 8192 × 8192 are 3.2 GB, more than 32-bit memory takes; the others are asked and say so themselves, at once
const wholePattern = { tfjs: "fails with 'memory access out of bounds', after a minute" }

export const attentionCases: readonly Case[] = sizes.attention.map((size) =>
  attention(size, { without: withoutAt(size.length) }),
)
function withoutAt(length: number): Case['without'] {
  if (length >= 8192) return wholePattern
  return length >= 2048 ? tooSlow : undefined
}

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
  memory(2048, { without: tooSlow }),
  memory(8192, { slow: true, without: wholePattern }),
]
