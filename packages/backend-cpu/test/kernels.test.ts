import { execFileSync, spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { bestBuild, instantiate, type Kernels } from '../src/wasm.js'
import { checks as general, runCheck } from './checks.js'
import { type Attention, attention, attentionBackward, uniform } from './oracle.js'
import { quantizedChecks } from './quantized-checks.js'
import { rowChecks } from './row-checks.js'

const checks = [...general, ...rowChecks, ...quantizedChecks]

const root = fileURLToPath(new URL('../../..', import.meta.url))
const here = fileURLToPath(new URL('..', import.meta.url))

describe.each(['baseline', 'relaxed'] as const)('the %s kernels against float64', (build) => {
  if (build === 'relaxed' && bestBuild() !== 'relaxed') {
    it('run in a child process that has relaxed SIMD switched on', () => {
      console.log(
        `this engine (Node ${process.version}) has relaxed SIMD behind a flag: testing it in a child process`,
      )
      const child = spawnSync(
        process.execPath,
        ['--experimental-wasm-relaxed-simd', '--import', 'tsx', `${here}test/relaxed-child.ts`],
        { cwd: root, encoding: 'utf8' },
      )
      expect(child.status === 0 ? '' : child.stderr).toBe('')
      expect(child.stdout).toContain(`relaxed build: ${checks.length} checks`)
      expect(child.status).toBe(0)
    })
    return
  }
  let kernels: Kernels
  beforeAll(async () => {
    kernels = await instantiate({ build })
  })
  it.each(checks)('$name', (check) => {
    runCheck(check, kernels)
    expect(kernels.memory.stats.used).toBe(0)
  })
})

describe('shared by two threads, in chunks that do not come out even', () => {
  let kernels: Kernels
  beforeAll(async () => {
    kernels = await instantiate({ threads: 2 })
  })
  afterAll(() => kernels.stop())
  it.each(checks.filter((c) => c.isShared))('$name', (check) => {
    const run = vi.spyOn(kernels, 'run')
    runCheck(check, kernels)
    expect(Math.max(...run.mock.calls.map(([, , chunks]) => chunks))).toBeGreaterThan(1)
    run.mockRestore()
  })
})

it('the oracle’s gradients are those of finite differences', () => {
  const random = uniform(99)
  const fill = (n: number) => Float64Array.from({ length: n }, random)
  const a = {
    batch: 1,
    heads: 2,
    kvHeads: 1,
    queries: 4,
    keys: 5,
    dim: 3,
    valueDim: 2,
    scale: 0.6,
    offset: 0,
  }
  const inputs = { query: fill(24), key: fill(15), value: fill(10), bias: fill(40), sink: fill(2) }
  const { bias, ...others } = inputs
  const problem: Attention = {
    ...{ ...a, ...others, softcap: 0.8 },
    bias: (_b, h, q, k) => bias[(h * 4 + q) * 5 + k],
    allowed: (_b, h, _q, k) => k !== 1 || h === 0,
  }
  const dz = fill(16)
  const dlse = fill(8)
  const loss = () => {
    const { z, lse } = attention(problem)
    return z.reduce((s, x, i) => s + x * dz[i], 0) + lse.reduce((s, x, i) => s + x * dlse[i], 0)
  }
  const got = attentionBackward(problem, dz, dlse)
  for (const name of ['query', 'key', 'value', 'bias', 'sink'] as const)
    for (let i = 0; i < inputs[name].length; i++) {
      const x = inputs[name][i]
      const step = 1e-5
      inputs[name][i] = x + step
      const up = loss()
      inputs[name][i] = x - step
      const down = loss()
      inputs[name][i] = x
      expect(got[`d${name}`][i]).toBeCloseTo((up - down) / (2 * step), 8)
    }
})

it('the embedded kernels were built from the sources beside them', () => {
  expect(
    execFileSync(process.execPath, [`${here}build-kernels.mjs`, '--check'], { encoding: 'utf8' }),
  ).toMatch(/up to date/)
})
