/**
 * Interleaved measurement of a case, or of several that are compared: every runner is checked, warmed up and then sampled round by round, a peak probe before
 * each sample, so that a noisy minute hits everybody. It prints nothing.
 */
import { oneLine } from './errors.js'
import { greatestError } from './oracle.js'
import type { Probe } from './probe.js'
import { type Summary, summary } from './statistics.js'
import type { Case, Prepare, Prepared, Runner } from './work.js'

export interface Pace {
  readonly warmUpMs: number
  /** A sample is as many runs as fill this. */
  readonly sampleMs: number
  readonly rounds: number
  readonly leastRounds: number
  /** Rounds end when a case has used this. */
  readonly budgetMs: number
}
export const quickPace: Pace = { warmUpMs: 60, sampleMs: 4, rounds: 15, leastRounds: 3, budgetMs: 3000 }
export const fullPace: Pace = { warmUpMs: 150, sampleMs: 10, rounds: 41, leastRounds: 5, budgetMs: 20000 }

export interface Measured {
  readonly case: string
  readonly runner: string
  readonly threads: number
  /** Milliseconds. */
  readonly time: Summary
  readonly samples: number
  readonly maxError: number
  readonly flops: number
  /** The probe's GFLOP/s of one core beside these samples. */
  readonly peak: Summary
  /** Its time in that of the case it is compared with; null without one. */
  readonly ofBase: number | null
  /** Peak of a process of its own above where it began; null where nobody looked. */
  readonly memoryMb: number | null
  readonly note: string | null
}
/** A place in the table that stays empty, and why. */
export interface Missing {
  readonly case: string
  readonly runner: string
  readonly threads: number
  readonly reason: string
}
export interface CaseResult {
  readonly case: string
  /** The case that its times are compared with. */
  readonly base: string | null
  /** Why nobody was measured: files that are not here. */
  readonly gap: string | null
  readonly measured: readonly Measured[]
  readonly missing: readonly Missing[]
}

interface Entry {
  readonly case: Case
  readonly runner: Runner
  readonly prepared: Prepared
  readonly maxError: number
  repeats: number
  readonly times: number[]
  readonly peaks: number[]
}

/** What slows the others down is sampled as often as it must be, or once where the time is used up. */
const MUCH_SLOWER = 10
/** Rounds end when a case has used so many budgets and there were so many of them. */
const PATIENCE = { budgets: 3, rounds: 3 }

/** For a page, which must stay alive meanwhile and may be told to stop. */
export interface Watcher {
  /** Called before every step, with its name; throwing ends the measurement. */
  step(what: string): Promise<void>
  /** Called before every sample of a runner of several threads: may wait until the threads of the others sleep. */
  settle?(): Promise<void>
}

/** Cases that are measured in one go, so that a noisy minute hits all of them: see `Case.base`. */
export async function measureCases(
  cases: readonly Case[],
  runners: readonly Runner[],
  pace: Pace,
  probe: Probe,
  watcher: Watcher = { step: async () => {} },
): Promise<CaseResult[]> {
  const missing: Missing[] = []
  const miss = (c: Case, r: Runner, reason: string): void => {
    missing.push({ case: c.name, runner: r.name, threads: r.threads, reason })
  }
  const gaps = new Map(cases.map((c) => [c, c.missing?.() ?? null]))
  const entries: Entry[] = []
  const drop = (e: Entry, error: unknown): void => {
    miss(e.case, e.runner, oneLine(error))
    entries.splice(entries.indexOf(e), 1)
    e.prepared.free?.()
  }
  const who = (e: Pick<Entry, 'case' | 'runner'>): string =>
    `${cases.length > 1 ? `${e.case.name}, ` : ''}${e.runner.name} ×${e.runner.threads}`
  const prepare = async (c: Case): Promise<void> => {
    const able = runners.filter((r) => {
      const refusal = c.without?.[r.name] ?? c.without?.[r.name.split('/')[0]]
      if (r.only && r.only !== c.work.kind) return false
      if (refusal) miss(c, r, refusal)
      else if (!r.can[c.work.kind]) miss(c, r, `has no '${c.work.kind}' here`)
      else return true
      return false
    })
    if (able.length === 0) return
    await watcher.step('true values in float64')
    const inputs = c.inputs()
    const expected = await c.expected(inputs)
    for (const runner of able) {
      await watcher.step(`${who({ case: c, runner })}: checked`)
      try {
        await runner.enter?.()
        const make = runner.can[c.work.kind] as Prepare<typeof c.work.kind>
        const prepared = await make(c.work as never, inputs)
        const maxError = expected ? greatestError(await prepared.output(), expected) : 0
        if (expected && !(maxError <= expected.tolerance)) {
          prepared.free?.()
          miss(c, runner, `wrong result: error ${maxError.toExponential(1)}, at most ${expected.tolerance}`)
        } else entries.push({ case: c, runner, prepared, maxError, repeats: 1, times: [], peaks: [] })
      } catch (error) {
        miss(c, runner, oneLine(error))
      }
    }
  }
  const sampleInTurn = async (): Promise<void> => {
    const start = performance.now()
    const rounds = Math.min(pace.rounds, ...cases.map((c) => c.rounds ?? Number.POSITIVE_INFINITY))
    const budget = pace.budgetMs * cases.length
    for (let round = 0; round < rounds; round++) {
      const used = performance.now() - start
      const isOver = used > budget
      if (round >= pace.leastRounds && isOver) return
      if (round >= PATIENCE.rounds && used > PATIENCE.budgets * budget) return
      const fastest = Math.min(...entries.map((e) => Math.min(...e.times)))
      const turn = [...entries.slice(round % entries.length), ...entries.slice(0, round % entries.length)]
      for (const e of turn) {
        if ((round >= pace.leastRounds || isOver) && Math.min(...e.times) > MUCH_SLOWER * fastest) continue
        await watcher.step(`${who(e)}: round ${round + 1}`)
        try {
          await e.runner.enter?.()
          if (e.runner.threads > 1) await watcher.settle?.()
          e.peaks.push(probe.gflops())
          e.times.push(await sample(e, pace))
        } catch (error) {
          drop(e, error)
        }
      }
    }
  }
  try {
    for (const c of cases) if (gaps.get(c) === null) await prepare(c)
    for (const e of [...entries]) {
      await watcher.step(`${who(e)}: warmed up`)
      await warmUp(e, pace).catch((error) => drop(e, error))
    }
    await sampleInTurn()
  } finally {
    for (const e of entries) e.prepared.free?.()
  }
  return cases.map((c) => ({
    case: c.name,
    base: cases.find((o) => o.name === c.base)?.name ?? null,
    gap: gaps.get(c) ?? null,
    missing: missing.filter((m) => m.case === c.name),
    measured: entries.filter((e) => e.case === c).map((e) => measuredOf(e, baseOf(e, entries))),
  }))
}

/** The same runner's entry of the case that this one is compared with. */
const baseOf = (e: Entry, all: readonly Entry[]): Entry | undefined =>
  e.case.base === undefined
    ? undefined
    : all.find((o) => o.case.name === e.case.base && o.runner === e.runner)

const measuredOf = (e: Entry, base: Entry | undefined): Measured => ({
  case: e.case.name,
  runner: e.runner.name,
  threads: e.runner.threads,
  time: summary(e.times),
  samples: e.times.length,
  maxError: e.maxError,
  flops: e.case.flops,
  peak: summary(e.peaks),
  // medians of pairs: both times of a pair come from one round
  ofBase: base ? summary(e.times.slice(0, base.times.length).map((t, i) => t / base.times[i])).median : null,
  memoryMb: e.prepared.memory?.() ?? null,
  note: e.prepared.note ?? null,
})

/** A sample that takes so many times what it was meant to take is cut short. */
const OVERDUE = 10

/** Milliseconds of one run, over `repeats` of them, or as many as there was time for. */
async function sample({ prepared, repeats }: Entry, pace: Pace): Promise<number> {
  if (prepared.time) return prepared.time()
  const start = performance.now()
  let done = 0
  do {
    const running = prepared.run()
    // work that is done when it returns is not made to wait for a turn of the queue
    if (running instanceof Promise) await running
    done++
  } while (done < repeats && performance.now() - start < OVERDUE * pace.sampleMs)
  return (performance.now() - start) / done
}

async function warmUp(e: Entry, pace: Pace): Promise<void> {
  if (e.prepared.time) return
  await e.runner.enter?.()
  const start = performance.now()
  let runs = 0
  let last = 0
  do {
    const before = performance.now()
    const running = e.prepared.run()
    if (running instanceof Promise) await running
    last = performance.now() - before
    runs++
    // what takes a second has been warm since it was checked
  } while ((runs < 2 && last < 1000) || performance.now() - start < pace.warmUpMs)
  const typical = Math.min(last, (performance.now() - start) / runs)
  e.repeats = Math.max(1, Math.min(10000, Math.ceil(pace.sampleMs / Math.max(typical, 1e-4))))
}
