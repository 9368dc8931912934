// Reads the command line of `pnpm goldens`. Unknown options are errors: nothing is silently ignored.
import { UsageError } from './errors.js'

export interface Arguments {
  dirs: string[]
  only: string[]
  backend: string
  json: boolean
  help: boolean
}

/** Names that --backend takes; the first is the default. */
export const backends = ['cpu', 'reference', 'reference-f64', 'webgl'] as const
/** Whether a backend runs in a page of Chromium, and the collections with it. */
export const inBrowser = (backend: string): boolean => backend === 'webgl'
const CPU = /^cpu(?:-(baseline|relaxed))?(?:\/([1-9]\d{0,2}))?$/

/** Build and threads that a name of the CPU backend asks for, or null when it is another backend's. */
export function cpuOptions(name: string): { build?: 'baseline' | 'relaxed'; threads?: number } | null {
  const [found, build, threads] = CPU.exec(name) ?? []
  if (!found) return null
  return {
    ...(build ? { build: build as 'baseline' | 'relaxed' } : {}),
    ...(threads ? { threads: Number(threads) } : {}),
  }
}

export const usage = `pnpm goldens DIR… [--only PATTERN]… [--backend NAME] [--json]

Runs the reference collections (folders with a golden.json) at, below or above each DIR and
prints one line a case: status, id, worst error, tolerance, reason. Exit code 1 when a case fails.

  --only PATTERN   cases whose id, or collection/id, matches; only * and ? are special; repeatable
  --backend NAME   ${backends.join(', ')} (default ${backends[0]}); cpu-baseline and cpu-relaxed name the build,
                   and cpu/2 or cpu-baseline/2 the threads; webgl runs the collections in a headless Chromium
  --json           [{ collection, case, status, error, tolerance, reason }] and nothing else
  --help           this text`

export function parseArguments(argv: readonly string[]): Arguments {
  const parsed: Arguments = { dirs: [], only: [], backend: backends[0], json: false, help: false }
  let optionsEnded = false
  for (let i = 0; i < argv.length; i++) {
    const argument = argv[i]
    if (optionsEnded || !argument.startsWith('-')) {
      parsed.dirs.push(argument)
      continue
    }
    const equals = argument.indexOf('=')
    const name = equals < 0 ? argument : argument.slice(0, equals)
    const value = () => {
      const text = equals < 0 ? argv[++i] : argument.slice(equals + 1)
      if (text === undefined || text === '') throw new UsageError(`${name} needs a value; see --help`)
      return text
    }
    const flag = () => {
      if (equals >= 0) throw new UsageError(`${name} takes no value`)
      return true
    }
    // `pnpm goldens -- DIR --json` hands the first -- on; only a later one ends the options
    if (argument === '--') optionsEnded = i > 0
    else if (name === '--only') parsed.only.push(value())
    else if (name === '--backend') parsed.backend = value()
    else if (name === '--json') parsed.json = flag()
    else if (name === '--help' || name === '-h') parsed.help = flag()
    else throw new UsageError(`unknown option ${name}; see --help`)
  }
  if (parsed.help) return parsed
  if (parsed.dirs.length === 0) throw new UsageError('give at least one DIR; see --help')
  if (!cpuOptions(parsed.backend) && !backends.some((b) => b === parsed.backend))
    throw new UsageError(`unknown backend '${parsed.backend}'; known: ${backends.join(', ')}`)
  return parsed
}
