/** Results as aligned text: a block a case, our row first, the others with their time in ours. */
import type { CaseResult, Measured } from './measure.js'
import type { ResultFile } from './result.js'

const number = (x: number): string => (x >= 100 ? x.toFixed(0) : x.toPrecision(3))

/** Milliseconds, readable: 12.3 ms, 4.56 µs. */
export function duration(ms: number): string {
  if (ms >= 1000) return `${number(ms / 1000)} s`
  return ms >= 0.1 ? `${number(ms)} ms` : `${number(ms * 1000)} µs`
}

/** Whose times the others are compared with: our first row of as many threads, else our first row. */
export function yardstick(rows: readonly Measured[], of: Measured): Measured | null {
  const ours = rows.filter(isOurs)
  return ours.find((r) => r.threads === of.threads) ?? ours[0] ?? null
}

/** How many times as long as our row it takes; null for that row itself. */
export function ratio(rows: readonly Measured[], of: Measured): number | null {
  const ours = yardstick(rows, of)
  return ours && ours !== of && !(isOurs(of) && ours.runner === of.runner)
    ? of.time.median / ours.time.median
    : null
}
const isOurs = (m: Measured): boolean => m.runner.startsWith('heed/')

/** What a row says first: its time, or the memory that was looked at and its time. */
export const amount = (m: Measured): string =>
  `${m.memoryMb === null ? '' : `${number(m.memoryMb)} MB, `}${duration(m.time.median)}`

/** GFLOP/s as part of the probe's best on as many cores (a probe that was interrupted says nothing); null where operations are not what counts. */
export const ofPeak = (m: Measured): number | null =>
  m.flops > 0 ? m.flops / (m.time.median * 1e6) / (m.peak.p90 * m.threads) : null

const HEAD = [
  '',
  'threads',
  'median',
  'p10 – p90',
  '÷ heed',
  '÷ base',
  'GFLOP/s',
  'of peak',
  'memory',
  'error',
]

function cells(rows: readonly Measured[], m: Measured): string[] {
  const times = ratio(rows, m)
  const part = ofPeak(m)
  return [
    m.runner,
    `${m.threads}`,
    duration(m.time.median),
    `${duration(m.time.p10)} – ${duration(m.time.p90)}`,
    times === null ? '' : `${times.toFixed(2)}×`,
    m.ofBase === null ? '' : `${m.ofBase.toFixed(2)}×`,
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
    `${result.case}${result.base && result.measured.length ? `, base: ${result.base}` : ''}`,
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

/** Who measured, and how: a line each. */
export function aboutLines({ machine: m, versions }: ResultFile, command: string): string[] {
  const { peak_gflops: peak, read_gb_per_s: read } = m
  return [
    [
      `${m.cpu}, ${m.cores} cores`,
      ...(m.memory_gb === null ? [] : [`${m.memory_gb} GB`]),
      m.os,
      m.engine,
      ...(m.load === null ? [] : [`load ${m.load} when it began`]),
    ].join(', '),
    `One core beside the samples: ${peak.median.toFixed(1)} GFLOP/s (${m.probe}; p10 ${peak.p10.toFixed(1)}, p90 ${peak.p90.toFixed(1)}), reading ${read.median.toFixed(1)} GB/s (p10 ${read.p10.toFixed(1)}, p90 ${read.p90.toFixed(1)})`,
    Object.entries(versions)
      .map(([name, v]) => `${name} ${v}`)
      .join(', '),
    command,
  ]
}

/**
 * For a README: about the run, then a table for each thread count, a row a case and a column a runner, each cell with median, p10–p90
 * and time in ours.
 */
export function markdown(results: readonly CaseResult[], file: ResultFile, command: string): string {
  const [machine, peak, versions] = aboutLines(file, command)
  const all = results.flatMap((r) => r.measured)
  const counts = [...new Set(all.map((m) => m.threads))].sort((a, b) => a - b)
  const row = (c: readonly string[]): string => `| ${c.join(' | ')} |`
  const tables = counts.map((threads) => {
    const rows = all.filter((m) => m.threads === threads)
    const runners = [...new Set(rows.map((m) => m.runner))]
    const body = results
      .filter((r) => r.measured.some((m) => m.threads === threads))
      .map((r) => row([r.case, ...runners.map((name) => cell(r, name, threads))]))
    return [
      `${threads} thread${threads === 1 ? '' : 's'}:`,
      '',
      row(['case', ...runners]),
      row(['---', ...runners.map(() => '---:')]),
      ...body,
    ].join('\n')
  })
  const gaps = results.flatMap((r) => [
    ...(r.gap === null ? [] : [`- ${r.case}: not measured: ${r.gap}`]),
    ...missingLines(r)
      .filter((line) => !/has no '\w+' here$/.test(line))
      .map((line) => `- ${r.case}: ${line}`),
  ])
  return [
    `${machine}. ${peak}. ${versions}. \`${command}\`.`,
    'Medians, in small the 10th and 90th percentile, in brackets the time in Heed’s: above 1 Heed is faster. A dash: the library has no such thing, or it stands below.',
    ...tables,
    ...(gaps.length ? [gaps.join('\n')] : []),
  ].join('\n\n')
}

function cell(r: CaseResult, runner: string, threads: number): string {
  const m = r.measured.find((x) => x.runner === runner && x.threads === threads)
  if (!m) return '–'
  const times = ratio(r.measured, m)
  const base = m.ofBase === null ? '' : `, ${m.ofBase.toFixed(2)}× of ${r.base?.replace(/\/.*\//, '/…/')}`
  return `${amount(m)}${times === null ? '' : ` (**${times.toFixed(2)}×**)`}${base}<br><small>${duration(m.time.p10)}–${duration(m.time.p90)}</small>`
}
