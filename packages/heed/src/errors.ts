/** What the user did or gave that cannot work: one line on standard error, exit code 1, no stack. */
export class UsageError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'UsageError'
  }
}

/** The one line shown for any error; unexpected ones keep their stack for a bug report behind HEED_DEBUG. */
export function oneLine(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error)
  return message.replace(/\s*\n\s*/g, ' ').trim() || 'unknown error'
}
