// The page: choose cases, runners and threads, watch the bars grow, save the numbers. The measuring is the same code as in Node.
import { everywhereCases } from '../cases/everywhere.js'
import { oneLine } from '../errors.js'
import { type CaseResult, fullPace, measureCases, quickPace } from '../measure.js'
import { matches } from '../options.js'
import { groupsOf } from '../plan.js'
import { caseSection, lengths, roofline, STYLE, safe } from '../plots.js'
import { makeProbe } from '../probe.js'
import { type ResultFile, resultFile } from '../result.js'
import { summary } from '../statistics.js'
import { aboutLines } from '../table.js'
import type { Runner } from '../work.js'
import { pageMakers } from './runners.js'

const PAGE_STYLE = `
form { display: grid; gap: .8em; margin: 1em 0 } fieldset { border: 1px solid var(--line); border-radius: 6px; padding: .5em .8em; min-width: 0 }
fieldset div { display: flex; flex-wrap: wrap; gap: .2em 1.2em } label { display: inline-flex; align-items: center; gap: .4em; min-height: 1.9em }
input[type=text] { font: inherit; padding: .3em .5em; width: 16em; max-width: 100%; border: 1px solid #767676; border-radius: 4px }
button { font: inherit; padding: .45em 1.1em; border: 1px solid #767676; border-radius: 5px; background: #f4f4f4; cursor: pointer }
button.main { background: var(--ours); border-color: var(--ours); color: #fff } button:disabled { background: #eee; border-color: #ccc; color: #767676; cursor: default }
.buttons { display: flex; flex-wrap: wrap; gap: .6em; align-items: center } .note { border-left: 4px solid #d55e00; padding-left: .7em; color: var(--ink) }
#status { min-height: 1.45em; color: var(--ink); font-variant-numeric: tabular-nums } .off { color: #6b6b6b }
`

class Stopped extends Error {}

const parameters = new URLSearchParams(location.search)
const cores = navigator.hardwareConcurrency || 1
const isIsolated = globalThis.crossOriginIsolated
const counts = isIsolated && cores > 1 ? [1, cores] : [1]
const groups = [...new Set(everywhereCases.map((c) => c.name.split('/')[0]))]
const SMALL = ['gemm', 'attention', 'softmax', 'layerNorm']
const HEAVY: Readonly<Record<string, string>> = {
  prefill: 'GPT-2 small, 0.5 GB',
  decode: 'GPT-2 small, 0.5 GB',
}

const peers: Record<string, string> = await fetch('/peers.json').then(
  (r) => (r.ok ? r.json() : {}),
  () => ({}),
)
const isThere = (m: (typeof pageMakers)[number]): boolean => m.packages.every((p) => p in peers)
const absent = pageMakers.filter((m) => !isThere(m))

const wanted = (name: string, byDefault: readonly string[]): readonly string[] =>
  parameters.get(name)?.split(',') ?? byDefault
const box = (name: string, value: string, text: string, isOn: boolean, isOff = false): string =>
  `<label${isOff ? ' class="off"' : ''}><input type="checkbox" name="${name}" value="${safe(value)}"${isOn && !isOff ? ' checked' : ''}${isOff ? ' disabled' : ''}>${safe(text)}</label>`
const chosenGroups = wanted('group', SMALL)
const chosenRunners = wanted(
  'runner',
  pageMakers.filter((m) => m.byDefault !== false).map((m) => m.name),
)
const chosenThreads = Number(parameters.get('threads') ?? counts[counts.length - 1])

const main = document.querySelector('main') as HTMLElement
const style = document.createElement('style')
style.textContent = STYLE + PAGE_STYLE
document.head.append(style)
main.innerHTML = `<h1>Heed benchmark in this browser</h1>
${isIsolated ? '' : '<p class="note">This page is not cross-origin isolated, so everything has one thread: serve it with the headers Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp, as pnpm bench --page does.</p>'}
${absent.length === 0 ? '' : `<p class="note">Not installed beside the server, so not measured: ${safe(absent.map((m) => m.name).join(', '))}. Run npm ci --ignore-scripts in apps/bench/peers, then load this page again.</p>`}
<form>
<fieldset><legend>Cases</legend><div>${groups.map((g) => box('group', g, HEAVY[g] ? `${g} (${HEAVY[g]})` : g, chosenGroups.includes(g))).join('')}</div>
<label>or by name <input type="text" name="case" placeholder="attention/causal/*" value="${safe(parameters.get('case') ?? '')}"></label></fieldset>
<fieldset><legend>Runners</legend><div>${pageMakers.map((m) => box('runner', m.name, isThere(m) ? m.name : `${m.name} (not installed)`, chosenRunners.includes(m.name), !isThere(m))).join('')}</div></fieldset>
<fieldset><legend>Threads</legend><div>${counts.map((n) => `<label><input type="radio" name="threads" value="${n}"${n === chosenThreads || counts.length === 1 ? ' checked' : ''}>${n}</label>`).join('')}</div></fieldset>
<label><input type="checkbox" name="quick"${parameters.get('quick') === '0' ? '' : ' checked'}>quick: few samples, no slow cases</label>
<div class="buttons"><button type="submit" class="main">Start</button><button type="button" id="stop" disabled>Stop</button><button type="button" id="save" disabled>Save as JSON</button></div>
</form>
<p id="status" role="status"></p>
<div id="about"></div><div id="results"></div><div id="plots"></div>`

const find = <E extends HTMLElement>(selector: string): E => main.querySelector(selector) as E
const form = find<HTMLFormElement>('form')
const status = find('#status')
const [start, stop, save] = [
  find<HTMLButtonElement>('button.main'),
  find<HTMLButtonElement>('#stop'),
  find<HTMLButtonElement>('#save'),
]

/** Libraries keep the number of threads that they were loaded with: another one is another page. */
let made: { threads: number; runners: Map<string, Runner> } | null = null
let file: ResultFile | null = null
let isStopped = false

async function runnersOf(names: readonly string[], threads: number): Promise<Runner[]> {
  made ??= { threads, runners: new Map() }
  const out: Runner[] = []
  for (const maker of pageMakers.filter((m) => names.includes(m.name))) {
    status.textContent = `loading ${maker.name}`
    await breathe()
    const runner =
      made.runners.get(maker.name) ?? (await maker.make(threads).catch(refusing(maker.name, threads)))
    made.runners.set(maker.name, runner)
    out.push(runner)
  }
  return out
}
const refusing =
  (name: string, threads: number) =>
  (error: unknown): Runner => {
    const refuse = (): never => {
      throw new Error(oneLine(error))
    }
    const kinds = new Set(everywhereCases.map((c) => c.work.kind))
    return { name, threads, can: Object.fromEntries([...kinds].map((kind) => [kind, refuse])) }
  }

/** Lets the page be drawn and clicks arrive. */
const breathe = (): Promise<void> => new Promise((ready) => setTimeout(ready))

async function measure(): Promise<void> {
  const data = new FormData(form)
  const threads = Number(data.get('threads'))
  const pattern = String(data.get('case')).trim()
  const names = data.getAll('runner').map(String)
  const isQuick = data.get('quick') !== null
  if (made && made.threads !== threads) {
    const next = new URLSearchParams({
      ...{ group: data.getAll('group').join(','), case: pattern, runner: names.join(',') },
      ...{ threads: String(threads), quick: isQuick ? '1' : '0', start: '1' },
    })
    location.search = String(next)
    return
  }
  const cases = everywhereCases.filter(
    (c) =>
      (pattern === '' ? data.getAll('group').includes(c.name.split('/')[0]) : matches(c.name, pattern)) &&
      (!isQuick || !c.slow || c.name === pattern),
  )
  if (names.length === 0) return say('Choose a runner.')
  if (cases.length === 0)
    return say(
      pattern === ''
        ? 'Choose some cases.'
        : `No case matches ${pattern}${isQuick ? ', or only slow ones do' : ''}.`,
    )
  const results: CaseResult[] = []
  const reads: number[] = []
  for (const id of ['#about', '#results', '#plots']) find(id).replaceChildren()
  const began = performance.now()
  const probe = makeProbe()
  const runners = await runnersOf(names, threads)
  let drawn = performance.now()
  for (const group of groupsOf(cases)) {
    reads.push(probe.gigabytes())
    const name = `${group.map((c) => c.name).join(', ')} (${results.length + group.length} of ${cases.length})`
    const step = async (what: string): Promise<void> => {
      status.textContent = `${name}: ${what}`
      if (performance.now() - drawn > 40) {
        await breathe()
        drawn = performance.now()
      }
      if (isStopped) throw new Stopped()
    }
    const measured = await measureCases(group, runners, isQuick ? quickPace : fullPace, probe, { step })
    results.push(...measured)
    find('#results').insertAdjacentHTML('beforeend', measured.map(caseSection).join(''))
    file = fileOf(results, runners, probe.form, reads)
    save.disabled = false
  }
  if (file) {
    find('#about').innerHTML = `${aboutLines(file, `${threads} thread${threads === 1 ? '' : 's'}`)
      .map((line) => `<p>${safe(line)}</p>`)
      .join(
        '',
      )}<p>Medians, bars from zero, dark lines from p10 to p90; ÷ heed is the time in ours: above 1 we are faster.</p>`
    find('#plots').innerHTML = lengths(results) + roofline(results, file.machine)
  }
  say(
    `Done: ${cases.length} case${cases.length === 1 ? '' : 's'} in ${((performance.now() - began) / 1000).toFixed(0)} s.`,
  )
}

function fileOf(
  results: readonly CaseResult[],
  runners: readonly Runner[],
  probe: string,
  reads: readonly number[],
): ResultFile {
  const renderers = runners.flatMap((r) => (r.renderer ? [`; ${r.name} on ${r.renderer}`] : []))
  const peaks = results.flatMap((r) => r.measured.map((m) => m.peak.median))
  return resultFile(
    {
      ...{ cpu: 'processor unknown to a page', cores, memory_gb: null, os: navigator.platform, load: null },
      engine: [navigator.userAgent, ...renderers].join(''),
      probe,
      peak_gflops: summary(peaks.length ? peaks : [0]),
      read_gb_per_s: summary(reads),
    },
    { heed: HEED_VERSION, ...peers },
    results,
  )
}

const say = (text: string): void => {
  status.textContent = text
}

async function run(): Promise<void> {
  isStopped = false
  start.disabled = true
  stop.disabled = false
  try {
    await measure()
  } catch (error) {
    say(error instanceof Stopped ? 'Stopped.' : oneLine(error))
  }
  // who pressed Stop by keyboard is put where the next key makes sense
  const hadFocus = document.activeElement === stop
  start.disabled = false
  stop.disabled = true
  if (hadFocus) start.focus()
}

form.addEventListener('submit', (event) => {
  event.preventDefault()
  void run()
})
stop.addEventListener('click', () => {
  isStopped = true
})
save.addEventListener('click', () => {
  const link = document.createElement('a')
  link.href = URL.createObjectURL(new Blob([JSON.stringify(file, null, 1)], { type: 'application/json' }))
  link.download = 'heed-bench.json'
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 1000)
})
if (parameters.get('start')) void run()

declare global {
  /** Put in by the bundler. */
  const HEED_VERSION: string
}
