/** A first result in a new process: from before the first import to the end of a matrix product of ones [64, 64]. */
import { spawnSync } from 'node:child_process'
import { app, peersFolder } from './folders.js'
import type { Prepared } from './work.js'

/**
 * `code` imports a library (by `await import`, so that the clock runs already) and leaves 64 × 64 numbers in `y`, each of which must be 64. 'here' are Heed's packages.
 * The process itself (Node's start) is not counted, loading and compiling the library is.
 */
export function coldStart(code: string, where: 'here' | 'peers'): Prepared {
  // not as a module: the flag for that would be inherited by workers, which refuse it
  const source = `(async () => {
    const start = performance.now()
    ${code}
    const ms = performance.now() - start
    if (y.length !== 4096 || y.some((v) => v !== 64)) throw new Error('wrong result')
    console.log('MS ' + ms)
    process.exit(0)
  })().catch((error) => { console.error(error); process.exit(1) })`
  const time = async (): Promise<number> => {
    const { stdout, stderr } = spawnSync(
      process.execPath,
      [...process.execArgv.filter((a) => a.includes('wasm')), '-e', source],
      { cwd: where === 'here' ? app : peersFolder, encoding: 'utf8', timeout: 60_000 },
    )
    const found = /^MS ([\d.]+)$/m.exec(stdout)
    if (!found) throw new Error(`the new process failed: ${/\w*Error.*/.exec(stderr)?.[0] ?? 'no result'}`)
    return Number(found[1])
  }
  return { time, run: time, output: async () => [] }
}
