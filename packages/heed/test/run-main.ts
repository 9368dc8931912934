/** `main` with its streams in memory: what a command prints, where, and its exit code. */
import { main } from '../src/main.js'

export interface Ran {
  readonly code: number
  readonly out: string
  readonly err: string
}
export interface RunOptions {
  readonly stdin?: string | Uint8Array
  /** Both streams are terminals. */
  readonly isTTY?: boolean
  readonly columns?: number
  readonly env?: Readonly<Record<string, string | undefined>>
}

export async function run(argv: readonly string[], options: RunOptions = {}): Promise<Ran> {
  const { stdin = '', isTTY = false, columns = 100, env = {} } = options
  let [out, err] = ['', '']
  const code = await main(argv, {
    stdout: {
      isTTY,
      columns,
      write: (text) => {
        out += text
      },
    },
    stderr: {
      isTTY,
      columns,
      write: (text) => {
        err += text
      },
    },
    stdin: (async function* () {
      yield typeof stdin === 'string' ? new TextEncoder().encode(stdin) : stdin
    })(),
    env,
  })
  return { code, out, err }
}
