/** The command line as data. Unknown options are errors that name the nearest known one. */
import { nearestNames } from '@heed/tensor'
import { UsageError } from './errors.js'

export interface Option {
  readonly value?: string
  readonly help: string
}
export type Options = Readonly<Record<string, Option>>

export interface Parsed {
  readonly words: readonly string[]
  readonly values: Readonly<Record<string, string | true>>
}

/** `--name value`, `--name=value`, `--flag`, words; after `--` everything is a word. A lone `-` is a word. */
export function parseArgs(argv: readonly string[], options: Options, command: string): Parsed {
  const words: string[] = []
  const values: Record<string, string | true> = {}
  for (let i = 0; i < argv.length; i++) {
    const arg = argv[i]
    if (arg === '--') {
      words.push(...argv.slice(i + 1))
      break
    }
    if (arg === '-' || !arg.startsWith('-')) {
      words.push(arg)
      continue
    }
    const equals = arg.indexOf('=')
    const name = (equals < 0 ? arg : arg.slice(0, equals)).replace(/^--?/, '')
    const option = Object.hasOwn(options, name) ? options[name] : undefined
    if (arg === '-h' && Object.hasOwn(options, 'help')) {
      values.help = true
      continue
    }
    if (!option || !arg.startsWith('--'))
      throw new UsageError(
        `unknown option '${equals < 0 ? arg : arg.slice(0, equals)}' of heed ${command}${hintOf(name, options)}; see heed ${command} --help`,
      )
    if (Object.hasOwn(values, name)) throw new UsageError(`--${name} is given twice; give it once`)
    if (option.value === undefined) {
      if (equals >= 0) throw new UsageError(`--${name} takes no value; leave '${arg.slice(equals)}' out`)
      values[name] = true
      continue
    }
    const value = equals >= 0 ? arg.slice(equals + 1) : argv[++i]
    if (value === undefined || value === '' || (equals < 0 && value.startsWith('--')))
      throw new UsageError(`--${name} needs a value: --${name} ${option.value}`)
    values[name] = value
  }
  return { words, values }
}

/** The option that was meant, when one is near. */
function hintOf(name: string, options: Options): string {
  const [near] = nearestNames(name, Object.keys(options), 1)
  return name.length > 1 && near?.[0] === name[0] ? `; did you mean --${near}?` : ''
}

export function stringOf(p: Parsed, name: string): string | undefined {
  const v = p.values[name]
  return typeof v === 'string' ? v : undefined
}
/** A whole number within bounds. */
export function integerOf(
  p: Parsed,
  name: string,
  lo: number,
  hi = Number.MAX_SAFE_INTEGER,
): number | undefined {
  const text = stringOf(p, name)
  if (text === undefined) return undefined
  const n = Number(text)
  if (text.trim() === '' || !Number.isInteger(n) || n < lo || n > hi)
    throw new UsageError(
      `--${name} is '${text}'; give a whole number ${hi === Number.MAX_SAFE_INTEGER ? `of at least ${lo}` : `from ${lo} to ${hi}`}`,
    )
  return n
}
/** A number above or at `lo`. */
export function numberOf(
  p: Parsed,
  name: string,
  lo: number,
  hi = Number.POSITIVE_INFINITY,
): number | undefined {
  const text = stringOf(p, name)
  if (text === undefined) return undefined
  const n = Number(text)
  if (text.trim() === '' || !Number.isFinite(n) || n < lo || n > hi)
    throw new UsageError(
      `--${name} is '${text}'; give a number ${hi === Number.POSITIVE_INFINITY ? `of at least ${lo}` : `from ${lo} to ${hi}`}`,
    )
  return n
}

/** Options as aligned help lines. */
export function optionHelp(options: Options): string {
  const rows = Object.entries(options).map(([name, o]) => [
    `--${name}${o.value ? ` ${o.value}` : ''}`,
    o.help,
  ])
  const width = Math.max(...rows.map(([left]) => left.length))
  return rows.map(([left, help]) => `  ${left.padEnd(width)}  ${help}`).join('\n')
}
