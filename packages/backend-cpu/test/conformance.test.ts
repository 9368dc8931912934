// Every case, property and promise of the contract: on both builds, alone and shared. Where relaxed SIMD is behind a flag of the
// engine, a child process that has it runs the same cases.
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { testBackend } from '@heed/conformance'
import { afterAll, describe, expect, it } from 'vitest'
import { cpu } from '../src/index.js'
import { bestBuild } from '../src/wasm.js'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const child = fileURLToPath(new URL('conformance-child.ts', import.meta.url))

describe.each([1, 2])('baseline, %i threads', (threads) =>
  testBackend(() => cpu({ build: 'baseline', threads }), { describe, it, afterAll }),
)
if (bestBuild() === 'relaxed')
  describe.each([1, 2])('relaxed, %i threads', (threads) =>
    testBackend(() => cpu({ build: 'relaxed', threads }), { describe, it, afterAll }),
  )
else
  it.each([1, 2])('relaxed in a process that has it, %i threads', (threads) => {
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      ['--experimental-wasm-relaxed-simd', '--import', 'tsx', child, String(threads)],
      { cwd: root, encoding: 'utf8' },
    )
    expect(stderr).toBe('')
    expect(Number(/^(\d+) passed$/m.exec(stdout)?.[1])).toBeGreaterThan(1000)
    expect(status).toBe(0)
  })
