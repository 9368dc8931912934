// Whom a picture shows: everybody who was measured.
import { expect, it } from 'vitest'
import type { CaseResult, Measured } from './measure.js'
import { lengths, roofline } from './plots.js'
import { summary } from './statistics.js'

const row = (name: string, runner: string, threads: number): Measured => ({
  ...{
    case: name,
    runner,
    threads,
    time: summary([2]),
    samples: 1,
    maxError: 0,
    flops: 1e6,
    peak: summary([50]),
  },
  ...{ ofBase: null, memoryMb: null, note: null },
})
const result = (name: string, ...runners: [string, number][]): CaseResult =>
  ({ case: name, base: null, gap: null, missing: [], measured: runners.map((r) => row(name, ...r)) }) as never
const machine = { peak_gflops: summary([50]), read_gb_per_s: summary([20]) } as never

it('a runner of several threads stands beside one of a single thread', () => {
  const picture = lengths([result('attention/causal/128', ['heed/cpu', 2], ['heed/webgl', 1])])
  expect(picture).toContain('heed/cpu ×2</text>')
  expect(picture).toContain('heed/webgl</text>')
})
it('a runner that was measured with one thread and with two is shown with one', () => {
  const picture = lengths([result('attention/causal/128', ['heed/cpu', 2], ['heed/cpu', 1])])
  expect(picture).toContain('heed/cpu</text>')
  expect(picture).not.toContain('×2')
})
it("a GPU is not below a core's roof", () => {
  const picture = roofline([result('gemm/128', ['heed/cpu', 2], ['heed/webgl', 1])], machine)
  expect(picture).toContain('heed/cpu ×2')
  expect(picture).not.toContain('webgl')
})
