/** The results as one HTML file: bars of time in ours for every case, and the roofline of the matrix products. */
import type { CaseResult, Measured } from './measure.js'
import type { ResultFile } from './result.js'
import { duration, missingLines, ratio } from './table.js'

const safe = (s: string): string => s.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`)

const WIDTH = 760
const LABEL = 190
const BAR = 18

/** Bars of the medians of one case; whiskers from p10 to p90. */
function bars(rows: readonly Measured[]): string {
  const longest = Math.max(...rows.map((m) => m.time.p90))
  const x = (ms: number): number => LABEL + (ms / longest) * (WIDTH - LABEL - 150)
  const lines = rows.map((m, i) => {
    const y = i * (BAR + 4)
    const mid = y + BAR / 2
    const times = ratio(rows, m)
    const text = `${duration(m.time.median)}${times === null ? '' : ` (${times.toFixed(2)}×)`}`
    return `<text x="${LABEL - 6}" y="${mid + 4}" text-anchor="end">${safe(m.runner)} ×${m.threads}</text>
<rect x="${LABEL}" y="${y}" width="${(x(m.time.median) - LABEL).toFixed(1)}" height="${BAR}" class="${m.runner.startsWith('heed/') ? 'ours' : 'peer'}"/>
<path d="M${x(m.time.p10).toFixed(1)} ${mid}H${x(m.time.p90).toFixed(1)}" class="spread"/>
<text x="${(x(m.time.p90) + 6).toFixed(1)}" y="${mid + 4}">${text}</text>`
  })
  return `<svg viewBox="0 0 ${WIDTH} ${rows.length * (BAR + 4)}" role="img">${lines.join('\n')}</svg>`
}

/** GFLOP/s over work per byte, below the peak and the slope of memory (Williams et al. 2009). */
function roofline(results: readonly CaseResult[], machine: ResultFile['machine']): string {
  const points = results
    .flatMap((r) => r.measured)
    .filter((m) => m.threads === 1 && /^gem[mv]\//.test(m.case))
    .map((m) => ({ m, gflops: m.flops / (m.time.median * 1e6), intensity: intensityOf(m) }))
    .filter((p) => p.intensity > 0)
  if (points.length === 0) return ''
  const [peak, bandwidth] = [machine.peak_gflops.median, machine.read_gb_per_s.median]
  const [H, left, bottom] = [320, 50, 30]
  const [x0, x1] = [Math.log2(0.25), Math.log2(512)]
  const top = Math.log2(Math.max(peak * 1.5, ...points.map((p) => p.gflops * 1.2)))
  const low = Math.log2(1)
  const px = (i: number): number => left + ((Math.log2(i) - x0) / (x1 - x0)) * (WIDTH - left - 10)
  const py = (g: number): number => H - bottom - ((Math.log2(g) - low) / (top - low)) * (H - bottom - 10)
  const knee = peak / bandwidth
  const dots = points.map(
    ({ m, gflops, intensity }) =>
      `<circle cx="${px(intensity).toFixed(1)}" cy="${py(gflops).toFixed(1)}" r="4" class="${m.runner.startsWith('heed/') ? 'ours' : 'peer'}"><title>${safe(m.case)}, ${safe(m.runner)}: ${gflops.toFixed(1)} GFLOP/s</title></circle>`,
  )
  const ticks = [1, 4, 16, 64, 256].filter((g) => Math.log2(g) < top)
  return `<h2>Roofline, one thread</h2><svg viewBox="0 0 ${WIDTH} ${H}" role="img">
<path d="M${px(0.25)} ${py(Math.max(1, 0.25 * bandwidth))}L${px(knee).toFixed(1)} ${py(peak).toFixed(1)}H${WIDTH - 10}" class="roof"/>
${ticks.map((g) => `<text x="${left - 6}" y="${(py(g) + 4).toFixed(1)}" text-anchor="end">${g}</text>`).join('')}
<text x="${left}" y="${H - 6}">operations per byte of a, b and c →, GFLOP/s ↑; line: ${peak.toFixed(0)} GFLOP/s and ${bandwidth.toFixed(0)} GB/s, measured beside</text>
${dots.join('\n')}</svg>`
}

const SIDES = /(\d+)(?:x(\d+))?(?:x(\d+))?$/
/** From the sizes in the name: gemm/512, gemm/…/128x768x3072 (m×k×n), gemv/768x3072 (k×n). */
function intensityOf(m: Measured): number {
  const [, a, b, c] = SIDES.exec(m.case) ?? []
  const [M, K, N] = c ? [a, b, c].map(Number) : b ? [1, Number(a), Number(b)] : [a, a, a].map(Number)
  return (2 * M * N * K) / (4 * (M * K + K * N + M * N))
}

export function page(file: ResultFile, results: readonly CaseResult[]): string {
  const { machine: m } = file
  const cases = results.map((r) => {
    const missing = missingLines(r)
    return `<h3>${safe(r.case)}</h3>${r.gap === null ? '' : `<p>not measured: ${safe(r.gap)}</p>`}${r.measured.length ? bars(r.measured) : ''}${missing.map((t) => `<p>${safe(t)}</p>`).join('')}`
  })
  return `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Heed benchmark</title>
<style>
body { font: 14px/1.4 system-ui, sans-serif; max-width: 800px; margin: 2em auto; padding: 0 1em; color: #1a1a1a; background: #fff }
svg { width: 100%; font-size: 12px; overflow: visible } h3 { margin: 1.4em 0 .3em } p { margin: .2em 0; color: #555 }
.ours { fill: #1668b8 } .peer { fill: #b3b8bf } .spread { stroke: #1a1a1a; stroke-width: 1.5 } .roof { fill: none; stroke: #888; stroke-width: 1.5 }
</style>
<h1>Heed benchmark</h1>
<p>${safe(`${m.cpu}, ${m.cores} cores, ${m.memory_gb} GB, ${m.os}, Node ${m.node} (V8 ${m.v8}), load ${m.load} when it began`)}</p>
<p>${safe(`One core beside the samples: ${m.peak_gflops.median.toFixed(1)} GFLOP/s (${m.probe}; p10 ${m.peak_gflops.p10.toFixed(1)}, p90 ${m.peak_gflops.p90.toFixed(1)}), reading ${m.read_gb_per_s.median.toFixed(1)} GB/s`)}</p>
<p>${safe(
    Object.entries(file.versions)
      .map(([name, v]) => `${name} ${v}`)
      .join(', '),
  )}</p>
<p>Medians, bars from zero, lines from p10 to p90; in brackets the time in ours of as many threads: above 1 we are faster.</p>
${cases.join('\n')}
${roofline(results, m)}
</html>
`
}
