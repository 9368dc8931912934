/** Results as aligned text: a block a case, our row first, the others with their time in ours. */
import type { CaseResult, Measured } from './measure.js'

const number = (x: number): string => (x >= 100 ? x.toFixed(0) : x.toPrecision(3))

/** Milliseconds, readable: 12.3 ms, 4.56 µs. */
export function duration(ms: number): string {
  if (ms >= 1000) return `${number(ms / 1000)} s`
  return ms >= 0.1 ? `${number(ms)} ms` : `${number(ms * 1000)} µs`
}

/** Whose times the others are compared with: our first row of as many threads, else our first row. */
export function yardstick(rows: readonly Measured[], of: Measured): Measured | null {
  const ours = rows.filter((r) => r.runner.startsWith('heed/'))
  return ours.find((r) => r.threads === of.threads) ?? ours[0] ?? null
}

/** How many times as long as our row it takes; null for our own rows. */
export function ratio(rows: readonly Measured[], of: Measured): number | null {
  const ours = yardstick(rows, of)
  return ours && !of.runner.startsWith('heed/') ? of.time.median / ours.time.median : null
}

/** GFLOP/s as part of what the probe reached on as many cores; null where operations are not what counts. */
export const ofPeak = (m: Measured): number | null =>
  m.flops > 0 ? m.flops / (m.time.median * 1e6) / (m.peak.median * m.threads) : null

const HEAD = ['', 'threads', 'median', 'p10 – p90', '÷ heed', 'GFLOP/s', 'of peak', 'memory', 'error']

function cells(rows: readonly Measured[], m: Measured): string[] {
  const times = ratio(rows, m)
  const part = ofPeak(m)
  return [
    m.runner,
    `${m.threads}`,
    duration(m.time.median),
    `${duration(m.time.p10)} – ${duration(m.time.p90)}`,
    times === null ? '' : `${times.toFixed(2)}×`,
    m.flops > 0 ? number(m.flops / (m.time.median * 1e6)) : '',
    part === null ? '' : `${Math.round(100 * part)} %`,
    m.memoryMb === null ? '' : `${number(m.memoryMb)} MB`,
    m.maxError > 0 ? m.maxError.toExponential(0) : '',
  ]
}

/** Lines of one case; what is missing stands below it with its reason. */
export function caseLines(result: CaseResult): string[] {
  const body = result.measured.map((m) => cells(result.measured, m))
  // a column that has nothing to say is left out
  const used = HEAD.flatMap((_, c) => (body.some((r) => r[c] !== '') ? [c] : []))
  const rows = [HEAD, ...body].map((r) => used.map((c) => r[c]))
  const widths = used.map((_, c) => Math.max(...rows.map((r) => r[c].length), c === 0 ? 18 : 0))
  const line = (r: readonly string[]): string =>
    r
      .map((cell, c) => (c === 0 ? cell.padEnd(widths[c]) : cell.padStart(widths[c])))
      .join('  ')
      .trimEnd()
  return [
    result.case,
    ...(result.gap === null ? [] : [`  not measured: ${result.gap}`]),
    ...(result.measured.length ? rows.map((r) => `  ${line(r)}`) : []),
    ...missingLines(result).map((line) => `  ${line}`),
  ]
}

/** Runners that were not measured, those with one reason in one line. */
export function missingLines({ missing }: CaseResult): string[] {
  const reasons = [...new Set(missing.map((m) => m.reason))]
  return reasons.map((reason) => {
    const who = missing.filter((m) => m.reason === reason).map((m) => `${m.runner} ×${m.threads}`)
    return `${who.join(', ')}: not measured: ${reason}`
  })
}

/** The same as Markdown, a row a case and a column a runner: for a README. */
export function markdown(results: readonly CaseResult[]): string {
  const all = results.flatMap((r) => r.measured)
  const runners = [...new Set(all.map((m) => `${m.runner} ×${m.threads}`))]
  const row = (c: readonly string[]): string => `| ${c.join(' | ')} |`
  const body = results
    .filter((r) => r.measured.length > 0)
    .map((r) =>
      row([
        r.case,
        ...runners.map((name) => {
          const m = r.measured.find((x) => `${x.runner} ×${x.threads}` === name)
          if (!m) return '–'
          const times = ratio(r.measured, m)
          return `${m.memoryMb === null ? '' : `${number(m.memoryMb)} MB, `}${duration(m.time.median)}${times === null ? '' : ` (${times.toFixed(2)}×)`}`
        }),
      ]),
    )
  return [row(['case', ...runners]), row(['---', ...runners.map(() => '---:')]), ...body].join('\n')
}
