/** Matrix products of the sizes that conformance names; b is known beforehand, as weights are. */
import { sizes } from '@heed/conformance'
import { matmulExpected } from '../oracle.js'
import { noise } from '../random.js'
import type { Case, WorkOf } from '../work.js'

export const gemmCases: readonly Case[] = sizes.linear.map(({ name, slow, m, k, n }) => {
  const work: WorkOf<'matmul'> = { kind: 'matmul', m, n, k }
  return {
    name,
    slow,
    work,
    flops: 2 * m * n * k,
    inputs: () => ({ a: noise(m * k, 1), b: noise(k * n, 2) }),
    expected: (inputs) => matmulExpected(work, inputs as { a: Float32Array; b: Float32Array }),
  }
})
