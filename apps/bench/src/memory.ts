/** Memory that attention takes: each runner in a process of its own, whose resident set is read before and at its peak. */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Prepare, Runner } from './work.js'

/** What the process is asked for, and what it prints after RESULT. */
export interface MemoryRequest {
  readonly runner: string
  readonly threads: number
  readonly work: Parameters<Prepare<'memory'>>[0]
}
export interface MemoryResult {
  /** Peak of the resident set above what it was with library and inputs in place, MB. */
  readonly extraMb: number
  /** Of a run after the first. */
  readonly ms: number
  readonly error?: string
}

const MB = 2 ** 20

/** Gives a runner that has attention the ability to be watched at it. */
export function watched(runner: Runner): Runner {
  if (!runner.can.attention) return runner
  const memory: Prepare<'memory'> = (work) => {
    const request: MemoryRequest = { runner: runner.name, threads: runner.threads, work }
    let extraMb = 0
    const time = async (): Promise<number> => {
      const { stdout, stderr } = spawnSync(
        process.execPath,
        [
          ...process.execArgv.filter((a) => a.includes('wasm')),
          fileURLToPath(new URL('./memory-process.js', import.meta.url)),
          JSON.stringify(request),
        ],
        { encoding: 'utf8', timeout: 300_000 },
      )
      const found = /^RESULT (.*)$/m.exec(stdout)
      if (!found)
        throw new Error(`the new process failed: ${/\w*(Error|rror:).*/.exec(stderr)?.[0] ?? 'no result'}`)
      const result = JSON.parse(found[1]) as MemoryResult
      if (result.error) throw new Error(result.error)
      extraMb = Math.max(extraMb, result.extraMb)
      return result.ms
    }
    return { time, run: time, output: async () => [], memory: () => extraMb }
  }
  return { ...runner, can: { ...runner.can, memory } }
}

export const megabytes = (bytes: number): number => bytes / MB
