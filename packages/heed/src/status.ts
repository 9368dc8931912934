/** One line on standard error that says what is going on: redrawn in a terminal, silent when piped. */
import type { Io } from './io.js'

export interface Status {
  show(line: string): void
  clear(): void
}

export function statusLine(io: Io, isOn: boolean): Status {
  const stream = io.stderr
  if (!isOn || stream.isTTY !== true) return { show: () => undefined, clear: () => undefined }
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
