/** Matrix products: squares, and the shapes of GPT-2 small and MiniLM at 128 and 512 tokens. */
import { matmulExpected } from '../oracle.js'
import { noise } from '../random.js'
import type { Case, WorkOf } from '../work.js'

/** b is known beforehand, as weights are. Named by m×k×n. */
export function gemm(name: string, m: number, k: number, n: number, more: Partial<Case> = {}): Case {
  const work: WorkOf<'matmul'> = { kind: 'matmul', m, n, k }
  return {
    name,
    work,
    flops: 2 * m * n * k,
    inputs: () => ({ a: noise(m * k, 1), b: noise(k * n, 2) }),
    expected: (inputs) => matmulExpected(work, inputs as { a: Float32Array; b: Float32Array }),
    ...more,
  }
}

export const gemmCases: readonly Case[] = [
  gemm('gemm/128', 128, 128, 128),
  gemm('gemm/256', 256, 256, 256),
  gemm('gemm/512', 512, 512, 512),
  gemm('gemm/1024', 1024, 1024, 1024),
  gemm('gemm/gpt2/128x768x768', 128, 768, 768),
  gemm('gemm/gpt2/128x768x3072', 128, 768, 3072),
  gemm('gemm/gpt2/128x3072x768', 128, 3072, 768, { slow: true }),
  gemm('gemm/gpt2/512x768x2304', 512, 768, 2304),
  gemm('gemm/minilm/128x384x384', 128, 384, 384),
  gemm('gemm/minilm/128x384x1536', 128, 384, 1536, { slow: true }),
  // one row: bound by the memory that the weights stream from
  gemm('gemv/768x3072', 1, 768, 3072),
  gemm('gemv/768x50257', 1, 768, 50257),
]
