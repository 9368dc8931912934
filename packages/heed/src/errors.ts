/** What the user did or gave that cannot work: one line on standard error, exit code 1, no stack. */
export class UsageError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'UsageError'
  }
}

/** The one line shown for any error; HEED_DEBUG shows the stack too, for a bug report. */
export function oneLine(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error)
  return harmless(message).trim() || 'unknown error'
}

/** Foreign text on one line that cannot steer a terminal: runs of white space become one space, controls U+FFFD. */
export const harmless = (text: string): string =>
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this line is about
  text.replace(/\s+/g, ' ').replace(/[\u0000-\u001f\u007f-\u009f]/g, '\ufffd')
