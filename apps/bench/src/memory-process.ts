// The process behind a memory case: one runner, one attention. It prints what it took.
import { readFileSync, writeFileSync } from 'node:fs'
import { sizes } from '@heed/conformance'
import { backends } from './backends.js'
import { attention } from './cases/attention.js'
import { oneLine } from './errors.js'
import { type MemoryRequest, type MemoryResult, megabytes } from './memory.js'
import { greatestError } from './oracle.js'
import { peers } from './peers/index.js'
import type { WorkOf } from './work.js'

/** Lets the kernel count the peak anew; false where that is not Linux, and the peak of the whole process must do. */
function forgetPeak(): boolean {
  try {
    writeFileSync('/proc/self/clear_refs', '5')
    return true
  } catch {
    return false
  }
}
function peak(isFresh: boolean): number {
  const found = isFresh && /^VmHWM:\s+(\d+) kB/m.exec(readFileSync('/proc/self/status', 'utf8'))
  return found ? Number(found[1]) * 1024 : process.resourceUsage().maxRSS * 1024
}

async function measure({ runner: name, threads, work }: MemoryRequest): Promise<MemoryResult> {
  const maker = [...backends, ...peers].find((m) => m.name === name)
  if (!maker) throw new Error(`no runner ${name}`)
  const runner = await maker.make(threads)
  const [size] = sizes.attention
  const asked = attention({ ...size, length: work.length, causal: true })
  const inputs = asked.inputs()
  const small = attention({ ...size, length: 16 })
  const prepare = runner.can.attention
  if (!prepare) throw new Error('has no attention')
  await runner.enter?.()
  // once at a small size: code is compiled, threads are there
  const warm = await prepare(small.work as WorkOf<'attention'>, small.inputs())
  await warm.run()
  warm.free?.()
  const before = process.memoryUsage().rss
  const isFresh = forgetPeak()
  const prepared = await prepare(asked.work as WorkOf<'attention'>, inputs)
  await prepared.run()
  const extraMb = megabytes(Math.max(0, peak(isFresh) - before))
  const start = performance.now()
  await prepared.run()
  const ms = performance.now() - start
  const expected = await asked.expected(inputs)
  const error = expected ? greatestError(await prepared.output(), expected) : 0
  if (expected && !(error <= expected.tolerance))
    throw new Error(`wrong result: error ${error.toExponential(1)}`)
  return { extraMb, ms }
}

const result = await measure(JSON.parse(process.argv[2]) as MemoryRequest).catch((error) => ({
  extraMb: 0,
  ms: 0,
  error: oneLine(error),
}))
process.stdout.write(`\nRESULT ${JSON.stringify(result)}\n`, () => process.exit(0))
