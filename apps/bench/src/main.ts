/** `pnpm bench`: what was asked for, measured case by case, printed as it comes, written at the end. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { dirname, resolve } from 'node:path'
import { backends } from './backends.js'
import { cases } from './cases/index.js'
import { oneLine, UsageError } from './errors.js'
import { machine } from './machine.js'
import { type CaseResult, fullPace, measureCases, quickPace } from './measure.js'
import { watched } from './memory.js'
import { HELP, type Options, parseOptions } from './options.js'
import { page } from './page.js'
import { peers } from './peers/index.js'
import { ensurePeers } from './peers/load.js'
import { chooseCases, chooseMakers, groupsOf, threadCounts } from './plan.js'
import { makeProbe } from './probe.js'
import { type ResultFile, resultFile } from './result.js'
import { serve } from './serve.js'
import { settled } from './settled.js'
import { summary } from './statistics.js'
import { aboutLines, caseLines, markdown } from './table.js'
import type { Maker, Runner } from './work.js'

export interface Io {
  readonly cwd: string
  out(text: string): void
  err(text: string): void
}

/** The exit code: 0, or 1 after one line. */
export async function main(argv: readonly string[], io: Io): Promise<number> {
  try {
    await bench(parseOptions(argv), argv, io)
    return 0
  } catch (error) {
    io.err(`bench: ${error instanceof UsageError ? error.message : oneLine(error)}\n`)
    if (process.env.HEED_DEBUG && error instanceof Error) io.err(`${error.stack}\n`)
    return 1
  }
}

async function bench(options: Options, argv: readonly string[], io: Io): Promise<void> {
  const line = (text: string): void => io.out(`${text}\n`)
  if (options.help) return io.out(HELP)
  if (options.list) {
    const mark = (m: Maker): string => `${m.name}${m.byDefault ? '*' : ''}`
    line(`backends: ${backends.map(mark).join(', ')}\npeers: ${peers.map(mark).join(', ')}\ncases:`)
    for (const c of cases) line(`  ${c.name}${c.slow ? '  (not with --quick)' : ''}`)
    return
  }
  if (options.weights) process.env.HEED_WEIGHTS = resolve(io.cwd, options.weights)
  if (options.page) {
    const { url } = await serve({ port: options.port })
    line(`${url} measures in a browser; end with Ctrl-C`)
    return new Promise(() => {})
  }
  const chosen = chooseCases(cases, options.pattern, options.quick)
  const left = chooseCases(cases, options.pattern, false).length - chosen.length
  const ours = chooseMakers('backend', backends, options.backends)
  const theirs = chooseMakers('peer', peers, options.peers)
  if (ours.length + theirs.length === 0) throw new UsageError('no backend and no peer is left to measure')
  ensurePeers(theirs, (text) => io.err(`${text}\n`))
  const cores = availableParallelism()
  const threads = options.threads ?? [1, cores]

  const tooMany = threads.filter((n) => n > cores)
  if (tooMany.length > 0)
    line(`--threads ${tooMany.join(',')}: there are ${cores} cores here, so these threads share them`)

  if (left > 0 && options.quick) line(`--quick leaves out ${left} of the cases asked for; --list marks them`)

  const about = machine()
  const probe = makeProbe()
  line(`${about.cpu}, ${about.cores} cores, ${about.engine}, load ${about.load}, probe: ${probe.form}`)
  const makers = [...ours, ...theirs]
  const runners: Runner[] = []
  for (const maker of makers)
    for (const count of threadCounts(maker, options.threads, cores))
      runners.push(watched(await makeRunner(maker, count)))

  const started = performance.now()
  const results: CaseResult[] = []
  const reads: number[] = []
  for (const group of groupsOf(chosen)) {
    reads.push(probe.gigabytes())
    const measured = await measureCases(group, runners, options.quick ? quickPace : fullPace, probe, {
      step: async () => {},
      settle: settled,
    })
    results.push(...measured)
    for (const result of measured) line(`\n${caseLines(result).join('\n')}`)
  }
  // nothing is written then: the files of an earlier run stay
  if (results.every((r) => r.measured.length === 0))
    throw new UsageError('nothing was measured; the reasons stand above')
  const peaks = results.flatMap((r) => r.measured.map((m) => m.peak.median))
  const file: ResultFile = resultFile(
    {
      ...about,
      probe: probe.form,
      peak_gflops: summary(peaks.length ? peaks : [probe.gflops()]),
      read_gb_per_s: summary(reads),
    },
    { node: process.versions.node, ...Object.assign({}, ...makers.map((m) => m.versions())) },
    results,
  )
  const command = ['pnpm bench', ...argv].join(' ')
  line(`\n${aboutLines(file, command).join('\n')}`)
  const write = (path: string, text: string): void => {
    const full = resolve(io.cwd, path)
    mkdirSync(dirname(full), { recursive: true })
    writeFileSync(full, text)
    line(`wrote ${path}`)
  }
  if (options.json) write(options.json, `${JSON.stringify(file, null, 1)}\n`)
  write(options.html ?? '.bench/result.html', page(file, results, command))
  write('.bench/result.md', `${markdown(results, file, command)}\n`)
  line(`${((performance.now() - started) / 1000).toFixed(0)} s`)
}

/** A runner that cannot be made has one reason for every case. */
async function makeRunner(maker: Maker, threads: number): Promise<Runner> {
  try {
    return await maker.make(threads)
  } catch (error) {
    const reason = oneLine(error)
    const refuse = (): never => {
      throw new Error(reason)
    }
    const kinds = new Set(cases.map((c) => c.work.kind))
    return { name: maker.name, threads, can: Object.fromEntries([...kinds].map((kind) => [kind, refuse])) }
  }
}
