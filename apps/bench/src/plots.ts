/** Results as HTML and SVG, for the file that a run leaves and for the page that measures: bars, the roofline, time and memory over length. */
import type { CaseResult, Measured } from './measure.js'
import type { ResultFile } from './result.js'
import { amount, duration, missingLines, ratio } from './table.js'

export const safe = (s: string): string => s.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`)

/** Colours of Okabe and Ito (2008), told apart by most eyes; and a shape, for those that do not. */
const LOOKS: Readonly<Record<string, { colour: string; shape: (x: number, y: number) => string }>> = {
  'heed/cpu': { colour: '#0072b2', shape: (x, y) => `M${x - 4} ${y}a4 4 0 1 0 8 0a4 4 0 1 0 -8 0Z` },
  'ort-web': { colour: '#d55e00', shape: (x, y) => `M${x - 4} ${y - 4}h8v8h-8Z` },
  tfjs: { colour: '#009e73', shape: (x, y) => `M${x} ${y - 5}l5 9h-10Z` },
  'jax-js': { colour: '#cc79a7', shape: (x, y) => `M${x} ${y - 5}l5 5l-5 5l-5 -5Z` },
  'onnxruntime-node': { colour: '#6b6b6b', shape: (x, y) => `M${x} ${y + 5}l5 -9h-10Z` },
}
const OTHER = { colour: '#8a7000', shape: (x: number, y: number) => `M${x - 5} ${y - 2}h10v4h-10Z` }
const looks = (runner: string) => LOOKS[runner] ?? LOOKS[runner.split('/')[0]] ?? OTHER
const isOurs = (m: Measured): boolean => m.runner.startsWith('heed/')

/** The medians of one case as bars from zero, a line from p10 to p90. */
export function bars(rows: readonly Measured[]): string {
  if (rows.length === 0) return ''
  // one interrupted sample does not make all bars short: its line ends at the edge
  const longest = Math.min(
    Math.max(...rows.map((m) => m.time.p90)),
    1.5 * Math.max(...rows.map((m) => m.time.median)),
  )
  const part = (ms: number): string => `${((100 * Math.min(Math.max(ms, 0), longest)) / longest).toFixed(1)}%`
  const hasBase = rows.some((m) => m.ofBase !== null)
  const lines = rows.map((m) => {
    const { median, p10, p90 } = m.time
    const times = ratio(rows, m)
    return `<tr${isOurs(m) ? ' class="ours"' : ''}><th scope="row">${safe(m.runner)} ×${m.threads}</th>
<td class="bar" aria-hidden="true"><div><i style="width:${part(median)}"></i><b style="left:${part(p10)};width:${part(Math.min(p90, longest) - p10)}"></b></div></td>
<td>${amount(m)}</td><td>${times === null ? '' : `${times.toFixed(2)}×`}</td>${hasBase ? `<td>${m.ofBase === null ? '' : `${m.ofBase.toFixed(2)}×`}</td>` : ''}<td class="spread">${duration(p10)} – ${duration(p90)}</td></tr>`
  })
  return `<table class="bars"><thead><tr><th scope="col">runner</th><th></th><th scope="col">median</th><th scope="col">÷ heed</th>${hasBase ? '<th scope="col">÷ base</th>' : ''}<th scope="col" class="spread">p10 – p90</th></tr></thead>
<tbody>${lines.join('\n')}</tbody></table>`
}

/** One case: its name, its bars, and what is missing with the reason. */
export const caseSection = (r: CaseResult): string =>
  `<section><h3>${safe(r.case)}</h3>${r.base && r.measured.length ? `<p>base: ${safe(r.base)}, measured in the same rounds</p>` : ''}${bars(r.measured)}${[
    ...(r.gap === null ? [] : [`not measured: ${r.gap}`]),
    ...missingLines(r),
  ]
    .map((line) => `<p>${safe(line)}</p>`)
    .join('')}</section>`

const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [780, 340, 74, 156, 12, 40]

interface Series {
  readonly name: string
  /** x, y and what stands in the tooltip. */
  readonly points: readonly (readonly [number, number, string])[]
  readonly joined: boolean
}

/** Points on two logarithmic axes, and lines that stand behind them. */
function plot(o: {
  title: string
  x: string
  y: string
  xTicks: readonly number[]
  yTicks: readonly number[]
  tick: (value: number) => string
  series: readonly Series[]
  roof?: readonly (readonly [number, number])[]
}): string {
  const all = o.series.flatMap((s) => s.points)
  if (all.length === 0) return ''
  const range = (values: readonly number[]): [number, number] => [
    Math.log2(Math.min(...values)) - 0.3,
    Math.log2(Math.max(...values)) + 0.3,
  ]
  const roof = o.roof ?? []
  const [x0, x1] = range([...all, ...roof].map((p) => p[0]))
  const [y0, y1] = range([...all, ...roof].map((p) => p[1]))
  const px = (v: number): number => round(LEFT + ((Math.log2(v) - x0) / (x1 - x0)) * (WIDTH - LEFT - RIGHT))
  const py = (v: number): number =>
    round(HEIGHT - BOTTOM - ((Math.log2(v) - y0) / (y1 - y0)) * (HEIGHT - BOTTOM - TOP))
  const within = (v: number, low: number, high: number): boolean =>
    Math.log2(v) >= low && Math.log2(v) <= high
  const path = (points: readonly (readonly [number, number, ...unknown[]])[]): string =>
    points.map(([x, y], i) => `${i ? 'L' : 'M'}${px(x)} ${py(y)}`).join('')
  const grid = [
    ...o.yTicks
      .filter((v) => within(v, y0, y1))
      .map(
        (v) =>
          `<path d="M${LEFT} ${py(v)}H${WIDTH - RIGHT}" class="grid"/><text x="${LEFT - 6}" y="${py(v) + 4}" text-anchor="end">${o.tick(v)}</text>`,
      ),
    ...o.xTicks
      .filter((v) => within(v, x0, x1))
      .map((v) => `<text x="${px(v)}" y="${HEIGHT - BOTTOM + 16}" text-anchor="middle">${v}</text>`),
  ]
  const drawn = o.series.map((s, i) => {
    const { colour, shape } = looks(s.name.split(' ')[0])
    const marks = s.points
      .map(
        ([x, y, tip]) =>
          `<path d="${shape(px(x), py(y))}" fill="${colour}"><title>${safe(tip)}</title></path>`,
      )
      .join('')
    const at = TOP + 8 + i * 20
    return `<g>${s.joined ? `<path d="${path(s.points)}" fill="none" stroke="${colour}" stroke-width="1.5"/>` : ''}${marks}
<path d="${shape(WIDTH - RIGHT + 18, at)}" fill="${colour}"/><text x="${WIDTH - RIGHT + 30}" y="${at + 4}">${safe(s.name)}</text></g>`
  })
  return `<section><h3>${safe(o.title)}</h3><div class="scroll" tabindex="0" role="group" aria-label="${safe(o.title)}"><svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${safe(`${o.title}: ${o.series.map((s) => s.name).join(', ')}`)}">
${grid.join('')}${roof.length ? `<path d="${path(roof)}" class="roof"/>` : ''}${drawn.join('\n')}
<text x="${(LEFT + WIDTH - RIGHT) / 2}" y="${HEIGHT - 6}" text-anchor="middle">${safe(o.x)}</text>
<text x="14" y="${(HEIGHT - BOTTOM) / 2}" text-anchor="middle" transform="rotate(-90 14 ${(HEIGHT - BOTTOM) / 2})">${safe(o.y)}</text></svg></div></section>`
}
const round = (x: number): number => Math.round(x * 10) / 10

/** The rows of each runner on one thread, or on the fewest that it has. A GPU has no number of threads: nobody gives way to it. */
function ofFewestThreads(results: readonly CaseResult[], pattern: RegExp): Map<string, Measured[]> {
  const rows = results.flatMap((r) => r.measured).filter((m) => pattern.test(m.case))
  const byRunner = new Map<string, Measured[]>()
  for (const m of rows) {
    const others = byRunner.get(m.runner) ?? []
    const fewest = others[0]?.threads ?? Number.POSITIVE_INFINITY
    if (m.threads <= fewest) byRunner.set(m.runner, m.threads === fewest ? [...others, m] : [m])
  }
  return byRunner
}
/** Where there are several, how many threads a series has. */
const label = ([m]: readonly Measured[]): string => `${m.runner}${m.threads > 1 ? ` ×${m.threads}` : ''}`

/** GFLOP/s over work per byte, below the peak and the slope of memory (Williams et al. 2009). */
export function roofline(results: readonly CaseResult[], machine: ResultFile['machine']): string {
  const rows = ofFewestThreads(results, /^gem[mv]\//)
  // the roof is a core's
  for (const name of rows.keys()) if (name.endsWith('/webgl')) rows.delete(name)
  const [peak, bandwidth] = [machine.peak_gflops.median, machine.read_gb_per_s.median]
  const series = [...rows.values()].map((list) => ({
    name: label(list),
    joined: false,
    points: list.map((m) => {
      const gflops = m.flops / (m.time.median * 1e6)
      return [intensityOf(m), gflops, `${m.case}, ${label(list)}: ${gflops.toFixed(1)} GFLOP/s`] as const
    }),
  }))
  return plot({
    title: 'Roofline of matrix products',
    x: `operations per byte of a, b and c; line: ${peak.toFixed(0)} GFLOP/s and ${bandwidth.toFixed(0)} GB/s of one core, measured beside`,
    y: 'GFLOP/s',
    xTicks: [0.5, 1, 2, 4, 8, 16, 32, 64, 128],
    yTicks: [1, 2, 4, 8, 16, 32, 64, 128, 256],
    tick: String,
    series,
    roof: [
      [0.4, 0.4 * bandwidth],
      [peak / bandwidth, peak],
      [200, peak],
    ],
  })
}

const SIDES = /(\d+)(?:x(\d+))?(?:x(\d+))?$/
/** From the sizes in the name: gemm/512, gemm/…/128x768x3072 (m×k×n), gemv/768x3072 (k×n). */
function intensityOf(m: Measured): number {
  const [, a, b, c] = SIDES.exec(m.case) ?? []
  const [M, K, N] = c ? [a, b, c].map(Number) : b ? [1, Number(a), Number(b)] : [a, a, a].map(Number)
  return (2 * M * N * K) / (4 * (M * K + K * N + M * N))
}

const LENGTHS = [128, 256, 512, 1024, 2048, 4096, 8192]
const overLength = (
  results: readonly CaseResult[],
  pattern: RegExp,
  value: (m: Measured) => number,
  show: (m: Measured) => string,
): Series[] =>
  [...ofFewestThreads(results, pattern).values()].map((list) => ({
    name: label(list),
    joined: true,
    points: list
      .filter((m) => value(m) > 0)
      .map(
        (m) => [Number(/\d+$/.exec(m.case)?.[0]), value(m), `${m.case}, ${label(list)}: ${show(m)}`] as const,
      ),
  }))

/** Time and memory of causal attention over the length of the sequence. */
export const lengths = (results: readonly CaseResult[]): string =>
  plot({
    title: 'Causal attention, 12 heads of 64: time over length',
    x: 'length',
    y: 'time',
    xTicks: LENGTHS,
    yTicks: [0.1, 1, 10, 100, 1000, 10_000],
    tick: (v) => (v < 1000 ? `${v} ms` : `${v / 1000} s`),
    series: overLength(
      results,
      /^attention\/causal\//,
      (m) => m.time.median,
      (m) => duration(m.time.median),
    ),
  }) +
  plot({
    title: 'Causal attention, 12 heads of 64: memory over length',
    x: 'length',
    y: 'peak above the start',
    xTicks: LENGTHS,
    yTicks: [1, 10, 100, 1000, 10_000],
    tick: (v) => `${v} MB`,
    series: overLength(
      results,
      /^memory\/attention\//,
      (m) => m.memoryMb ?? 0,
      (m) => `${(m.memoryMb ?? 0).toFixed(0)} MB`,
    ),
  })

export const STYLE = `
:root { color-scheme: light; --ink: #1a1a1a; --soft: #565656; --ours: #0072b2; --peer: #b6b6b6; --line: #dcdcdc }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 860px; margin: 1.5em auto; padding: 0 1em; color: var(--ink); background: #fff }
h1 { font-size: 1.5em; margin: 0 0 .3em } h3 { margin: 1.5em 0 .3em; font-size: 1.05em } p { margin: .25em 0; color: var(--soft); overflow-wrap: anywhere }
table.bars { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
.bars th, .bars td { font-weight: normal; padding: 2px 0 2px 10px; text-align: right; white-space: nowrap }
.bars th:first-child { text-align: left; padding-left: 0 } .bars thead th { color: var(--soft); font-size: .85em }
.bars td:nth-child(3) { min-width: 5.6em } .bars td:nth-child(4) { min-width: 3.8em } .bars td.spread { min-width: 10.5em }
.bars .ours th { font-weight: 600 } .bars .bar { width: 100%; min-width: 48px }
.bar div { position: relative } .bar i { display: block; height: 16px; min-width: 1px; background: var(--peer) } .ours .bar i { background: var(--ours) }
.bar b { position: absolute; top: 7px; min-width: 1px; height: 2px; background: var(--ink) }
.spread { color: var(--soft) } .scroll { overflow-x: auto } .scroll svg { min-width: 620px; width: 100%; font-size: 12px; display: block }
.grid { stroke: var(--line) } .roof { fill: none; stroke: #777; stroke-width: 1.5 } svg text { fill: var(--ink) }
:focus-visible { outline: 3px solid var(--ours); outline-offset: 2px }
@media (max-width: 640px) { .bars .spread { display: none } }
@media (max-width: 430px) { body { font-size: 14px; padding: 0 .7em } .bars { font-size: 13px } .bars td, .bars th { padding-left: 6px } }
`
