/** What a command talks to: streams and the environment. `main` gets the process's own; tests give theirs. */
export interface OutputStream {
  write(text: string): unknown
  readonly isTTY?: boolean
  readonly columns?: number
}
export interface Io {
  readonly stdout: OutputStream
  readonly stderr: OutputStream
  readonly stdin: AsyncIterable<Uint8Array | string>
  readonly env: Readonly<Record<string, string | undefined>>
}

export const processIo = (): Io => ({
  stdout: process.stdout,
  stderr: process.stderr,
  stdin: process.stdin,
  env: process.env,
})

/** Colours for a terminal that has not refused them (https://no-color.org); plain text for pipes and files. */
export const isColorful = (io: Io): boolean =>
  io.stdout.isTTY === true && (io.env.NO_COLOR ?? '') === '' && io.env.TERM !== 'dumb'

/** Columns to write in. */
export const widthOf = (io: Io): number => Math.max(40, Math.min(120, io.stdout.columns ?? 100))
