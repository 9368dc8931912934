/** The numbers as a file: machine, versions, rows; nothing else, so that other programs can rely on it. */
import type { Machine } from './machine.js'
import type { CaseResult } from './measure.js'
import type { Summary } from './statistics.js'

export interface ResultFile {
  readonly machine: Machine & {
    /** What the probe was, and what one core reached beside all samples. */
    readonly probe: string
    readonly peak_gflops: Summary
    readonly read_gb_per_s: Summary
  }
  readonly versions: Readonly<Record<string, string>>
  readonly rows: readonly {
    readonly case: string
    readonly runner: string
    readonly threads: number
    readonly median_ms: number
    readonly p10_ms: number
    readonly p90_ms: number
    /** Relative to the greatest true value. */
    readonly max_error: number
    /** Memory cases only: peak of the resident set above where it stood with library and inputs. */
    readonly extra_mb?: number
  }[]
}

const digits = (x: number): number => Number(x.toPrecision(6))

export const resultFile = (
  machine: ResultFile['machine'],
  versions: ResultFile['versions'],
  results: readonly CaseResult[],
): ResultFile => ({
  machine,
  versions,
  rows: results.flatMap((r) =>
    r.measured.map((m) => ({
      case: m.case,
      runner: m.runner,
      threads: m.threads,
      median_ms: digits(m.time.median),
      p10_ms: digits(m.time.p10),
      p90_ms: digits(m.time.p90),
      max_error: Number(m.maxError.toPrecision(3)),
      ...(m.memoryMb === null ? {} : { extra_mb: digits(m.memoryMb) }),
    })),
  ),
})
