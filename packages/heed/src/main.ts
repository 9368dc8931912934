/** `heed`: which command, its help, and how errors end. Commands hold no arithmetic on tensors. */

import { nearestNames } from '@heed/tensor'
import { oneLine, UsageError } from './errors.js'
import { versions } from './versions.js'

interface Command {
  readonly summary: string
  run(argv: readonly string[]): Promise<void>
}
const commands: Readonly<Record<string, Command>> = {
  explain: {
    summary: 'see why a model answers as it does: predictions, tokens and heads that matter, a report page',
    run: async (argv) => (await import('./explain-command.js')).explainCommand(argv),
  },
  generate: {
    summary: 'continue a text',
    run: async (argv) => (await import('./generate-command.js')).generateCommand(argv),
  },
}

const help = (): string => `heed ${versions().heed}: run attention models and see inside them

Usage: heed <command> [options]

${Object.entries(commands)
  .map(([name, c]) => `  ${name.padEnd(10)} ${c.summary}`)
  .join('\n')}

heed <command> --help says more. Without a model folder the built-in small English model runs:
  heed explain "When Mary and John went to the store, John gave a drink to"
  heed explain "…" --model ./gpt2 --out report.html`

/** Runs the command line; resolves to the exit code. */
export async function main(argv: readonly string[]): Promise<number> {
  try {
    const [name, ...rest] = argv
    if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
      console.log(help())
      return name === undefined ? 1 : 0
    }
    if (name === '--version' || name === '-v') {
      console.log(versions().heed)
      return 0
    }
    const command = Object.hasOwn(commands, name) ? commands[name] : undefined
    if (!command)
      throw new UsageError(
        `unknown command '${name}'; did you mean ${nearestNames(name, Object.keys(commands), 1)[0]}? See heed --help`,
      )
    await command.run(rest)
    return 0
  } catch (error) {
    // a reader that closed the pipe early (head, less) is no error
    if ((error as { code?: string }).code === 'EPIPE') return 0
    process.stderr.write(`heed: ${oneLine(error)}\n`)
    if (process.env.HEED_DEBUG && error instanceof Error) process.stderr.write(`${error.stack}\n`)
    return 1
  }
}
