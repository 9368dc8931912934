/** One line on standard error that says what is going on: redrawn in a terminal, silent when piped. */
export interface Status {
  show(line: string): void
  clear(): void
}

export function statusLine(on: boolean): Status {
  const stream = process.stderr
  if (!on || !stream.isTTY) return { show: () => undefined, clear: () => undefined }
  let shown = false
  return {
    show(line) {
      stream.write(`\r\u001b[K${line.slice(0, (stream.columns ?? 80) - 1)}`)
      shown = true
    },
    clear() {
      if (shown) stream.write('\r\u001b[K')
      shown = false
    },
  }
}
