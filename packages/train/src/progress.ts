/** The progress line of a training run: step, loss, tokens per second, time left. */
export interface Progress {
  readonly step: number
  readonly steps: number
  readonly loss: number
  readonly lr: number
  readonly gradNorm: number
  readonly tokensPerSecond: number
  /** Seconds left at the present speed. */
  readonly eta: number
}

export function duration(seconds: number): string {
  if (!Number.isFinite(seconds)) return '–'
  const s = Math.round(seconds)
  if (s < 60) return `${s} s`
  if (s < 3600) return `${Math.floor(s / 60)} min ${String(s % 60).padStart(2, '0')} s`
  return `${Math.floor(s / 3600)} h ${String(Math.floor((s % 3600) / 60)).padStart(2, '0')} min`
}

export function progressLine(p: Progress, width = 24): string {
  const done = Math.round((p.step / p.steps) * width)
  const bar = `${'█'.repeat(done)}${'░'.repeat(width - done)}`
  return `${bar} ${p.step}/${p.steps}  loss ${p.loss.toFixed(4)}  ${Math.round(p.tokensPerSecond)} tokens/s  ${duration(p.eta)} left`
}

/** Draws over one line in a terminal; elsewhere a line at each tenth of the run. */
export function progressPrinter(stream: {
  isTTY?: boolean
  write(text: string): unknown
}): (p: Progress) => void {
  let shown = -1
  return (p) => {
    if (stream.isTTY) {
      stream.write(`\r${progressLine(p)}\u001b[K${p.step === p.steps ? '\n' : ''}`)
      return
    }
    const tenth = Math.floor((10 * p.step) / p.steps)
    if (tenth === shown) return
    shown = tenth
    stream.write(`${progressLine(p)}\n`)
  }
}
