/** `heed`: which command, its help, and how errors end. Commands hold no arithmetic on tensors. */
import { oneLine, UsageError } from './errors.js'
import { type Io, processIo } from './io.js'
import { versions } from './versions.js'

interface Command {
  readonly summary: string
  run(argv: readonly string[], io: Io): Promise<void>
}
const commands: Readonly<Record<string, Command>> = {
  explain: {
    summary: 'see why a model answers as it does: predictions, tokens and heads that matter, a report page',
    run: async (argv, io) => (await import('./explain-command.js')).explainCommand(argv, io),
  },
  generate: {
    summary: 'continue a text',
    run: async (argv, io) => (await import('./generate-command.js')).generateCommand(argv, io),
  },
}

const help = (): string => `heed ${versions().heed}: run attention models and see inside them

Usage: heed <command> [options]

${Object.entries(commands)
  .map(([name, c]) => `  ${name.padEnd(10)} ${c.summary}`)
  .join('\n')}

heed <command> --help says more; heed --version prints the version. Without --model a small English model that comes
with heed runs:
  heed explain "When Mary and John went to the store, John gave a drink to"
  heed explain "When Mary and John went to the store, John gave a drink to" --model ./gpt2 --out report.html
`

/** Runs the command line; resolves to the exit code: 0, or 1 after one line on standard error. */
export async function main(argv: readonly string[], io: Io = processIo()): Promise<number> {
  try {
    const [name, ...rest] = argv
    if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
      io.stdout.write(help())
      return 0
    }
    if (name === '--version' || name === '-v') {
      io.stdout.write(`${versions().heed}\n`)
      return 0
    }
    const command = Object.hasOwn(commands, name) ? commands[name] : undefined
    if (!command)
      throw new UsageError(
        `unknown command '${name}'; commands are ${Object.keys(commands).join(', ')}, see heed --help`,
      )
    await command.run(rest, io)
    return 0
  } catch (error) {
    if ((error as { code?: string }).code === 'EPIPE') return 0
    io.stderr.write(`heed: ${oneLine(error)}\n`)
    if (io.env.HEED_DEBUG && error instanceof Error) io.stderr.write(`${error.stack}\n`)
    return 1
  }
}
