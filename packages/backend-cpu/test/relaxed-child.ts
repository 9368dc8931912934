/** Runs every kernel check on the relaxed build in a process of its own, which may have been given an engine flag. */
import { instantiate } from '../src/wasm.js'
import { checks as general, runCheck } from './checks.js'
import { quantizedChecks } from './quantized-checks.js'
import { rowChecks } from './row-checks.js'

const checks = [...general, ...rowChecks, ...quantizedChecks]

async function main(): Promise<void> {
  const kernels = await instantiate({ build: 'relaxed' })
  for (const check of checks)
    try {
      runCheck(check, kernels)
    } catch (error) {
      console.error(`${check.name}: ${(error as Error).message}`)
      process.exitCode = 1
    }
  console.log(`relaxed build: ${checks.length} checks`)
}

void main()
