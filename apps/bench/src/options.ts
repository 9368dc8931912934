/** The command line as data. Names of cases, backends and peers are checked by `plan`, which knows them. */
import { UsageError } from './errors.js'

export interface Options {
  /** Few samples and no slow cases: within five minutes on two cores. */
  readonly quick: boolean
  /** Part of a case's name, or a glob with `*`; null runs all. */
  readonly pattern: string | null
  /** Names, or null for those that run by default. */
  readonly backends: readonly string[] | null
  readonly peers: readonly string[] | null
  /** Thread counts, null for one and as many as there are cores. */
  readonly threads: readonly number[] | null
  /** Where to write the numbers. */
  readonly json: string | null
  readonly html: string | null
  /** Folder of fetched weights, minilm/ in it. */
  readonly weights: string | null
  /** Serve the page that measures in a browser. */
  readonly page: boolean
  readonly port: number
  readonly list: boolean
  readonly help: boolean
}

export const HELP = `pnpm bench [--quick] [--case PATTERN] [--backend NAME,…] [--peer NAME,…] [--threads N,…] [--json FILE] [--html FILE] [--weights FOLDER]
pnpm bench --page [--port N]
pnpm bench --list

  --quick         within five minutes on two cores
  --case PATTERN  cases whose name contains PATTERN; with a star, cases that match it whole: --case 'gemm/*'
  --backend …     names, or none; default: those marked * in --list
  --peer …        names, or none
  --threads N,…   default: 1 and the number of cores
  --json FILE     { machine, versions, rows }
  --html FILE     a page of bars, roofline and curves, default .bench/result.html; the table goes to .bench/result.md
  --weights FOLDER  where minilm/ is (all-MiniLM-L6-v2), default $HEED_WEIGHTS or ~/.cache/heed-weights
  --page          serve a page that measures in your browser, at --port N, default 4173
  --list          what there is
`

const VALUES = [
  '--case',
  '--backend',
  '--peer',
  '--threads',
  '--json',
  '--html',
  '--weights',
  '--port',
] as const
const FLAGS = ['--quick', '--page', '--list', '--help', '-h'] as const

/** @throws UsageError for an unknown option, a missing value or a thread count that is none. */
export function parseOptions(argv: readonly string[]): Options {
  const values = new Map<string, string>()
  const flags = new Set<string>()
  for (let i = 0; i < argv.length; i++) {
    const [name, inline] = split(argv[i])
    if (i === 0 && name === '--' && inline === null) continue // pnpm passes it on
    if ((FLAGS as readonly string[]).includes(name)) {
      if (inline !== null) throw new UsageError(`${name} takes no value, got '${inline}'`)
      flags.add(name)
    } else if ((VALUES as readonly string[]).includes(name)) {
      const value = inline ?? argv[++i]
      if (value === undefined || value === '' || (inline === null && value.startsWith('--')))
        throw new UsageError(`${name} needs a value`)
      values.set(name, value)
    } else
      throw new UsageError(`unknown option '${argv[i]}'; options are ${[...FLAGS, ...VALUES].join(', ')}`)
  }
  const list = (name: string): string[] | null =>
    values
      .get(name)
      ?.split(',')
      .filter((s) => s !== '') ?? null
  return {
    quick: flags.has('--quick'),
    pattern: values.get('--case') ?? null,
    backends: none(list('--backend')),
    peers: none(list('--peer')),
    threads: list('--threads')?.map(threadCount) ?? null,
    json: values.get('--json') ?? null,
    html: values.get('--html') ?? null,
    weights: values.get('--weights') ?? null,
    page: flags.has('--page'),
    port: portNumber(values.get('--port') ?? '4173'),
    list: flags.has('--list'),
    help: flags.has('--help') || flags.has('-h'),
  }
}

function split(argument: string): [string, string | null] {
  const at = argument.indexOf('=')
  return argument.startsWith('--') && at > 0
    ? [argument.slice(0, at), argument.slice(at + 1)]
    : [argument, null]
}
const none = (names: readonly string[] | null): readonly string[] | null =>
  names?.length === 1 && names[0] === 'none' ? [] : names

function threadCount(text: string): number {
  const n = Number(text)
  if (!Number.isInteger(n) || n < 1 || n > 256)
    throw new UsageError(`--threads ${text}: expected counts from 1 to 256, such as --threads 1,2`)
  return n
}

function portNumber(text: string): number {
  const n = Number(text)
  if (!Number.isInteger(n) || n < 0 || n > 65535)
    throw new UsageError(`--port ${text}: expected a number from 0 to 65535`)
  return n
}

/** Whether a name is meant by a pattern: contained in it, or, with stars, matched whole. */
export function matches(name: string, pattern: string): boolean {
  if (!pattern.includes('*')) return name.includes(pattern)
  const parts = pattern.split('*').map((s) => s.replace(/[.+?^${}()|[\]\\]/g, '\\$&'))
  return new RegExp(`^${parts.join('.*')}$`).test(name)
}
