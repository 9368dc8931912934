// The conformance matrix as data: cells from results, what is worse than before, and how it reads.
import type { ConformanceResult } from '@heed/conformance'

export type Status = 'native' | 'fused' | 'inlined' | 'reference'
/** One op on one backend in one direction, over all of its cases. */
export interface Cell {
  readonly op: string
  readonly backend: string
  readonly pass: 'forward' | 'gradient'
  /** The least good of its cases: of those in float32, where there are any. */
  readonly status: Status
  /** Largest error against float64: absolute, and relative to the largest value of a tensor where that is above 1. */
  readonly max_error: number
}

/** From good to bad; native and fused are as good. */
const RANK: Readonly<Record<Status, number>> = { native: 0, fused: 0, inlined: 1, reference: 2 }

/** @throws when a case fails: a matrix of wrong numbers says nothing */
export function cellsOf(backend: string, results: readonly ConformanceResult[]): Cell[] {
  const failed = results.filter((r) => !r.pass)
  if (failed.length > 0)
    throw new Error(
      `${backend}: ${failed.length} cases fail:\n${failed.map((r) => `  ${r.name}, ${r.direction}: ${r.reason}`).join('\n')}`,
    )
  const cells = new Map<string, Cell>()
  const floats = new Set(results.filter((r) => r.inFloats).map((r) => `${r.op} ${r.direction}`))
  // float32 first: what is left to plain loops for whole numbers does not change a status
  for (const r of [...results].sort((a, b) => Number(b.inFloats) - Number(a.inFloats))) {
    const { op, direction, scaledError } = r
    const key = `${op} ${direction}`
    const seen = cells.get(key)
    const how = seen && floats.has(key) && !r.inFloats ? seen.status : r.how
    const status = seen && RANK[seen.status] > RANK[how] ? seen.status : how
    // one kernel that takes everything, even where other cases were already native
    const kept = seen && RANK[seen.status] === RANK[status] ? seen.status : status
    const max_error = Math.max(seen?.max_error ?? 0, Number(scaledError.toPrecision(2)))
    cells.set(key, { op, backend, pass: direction, status: kept, max_error })
  }
  // in the order of the cases
  const order = new Set(results.map((r) => `${r.op} ${r.direction}`))
  return [...order].map((key) => cells.get(key) as Cell)
}

const nameOf = (c: Cell): string => `${c.op}, ${c.pass}, on ${c.backend}`
/**
 * An error may grow by this, since machines round differently (a GPU may fuse a·b + c), and below 1.2e-7, one rounding, it says
 * nothing. The tolerances of the cases hold in any case.
 */
const GROWTH = 3
const ROUNDING = 4e-8

/** What got worse from `before` to `now`, a line each; `only`: the backends that were asked, all of them without it. */
export function worse(before: readonly Cell[], now: readonly Cell[], only?: readonly string[]): string[] {
  const byName = new Map(now.map((c) => [nameOf(c), c]))
  return before
    .filter((c) => !only || only.includes(c.backend))
    .flatMap((old) => {
      const cell = byName.get(nameOf(old))
      if (!cell) return [`${nameOf(old)}: is not there any more`]
      if (RANK[cell.status] > RANK[old.status])
        return [`${nameOf(old)}: was ${old.status}, is ${cell.status}`]
      if (!(cell.max_error <= GROWTH * Math.max(old.max_error, ROUNDING)))
        return [`${nameOf(old)}: the error was ${old.max_error}, is ${cell.max_error}`]
      return []
    })
}
/** Cells whose status `written` does not show: it must be written anew. */
export const stale = (written: readonly Cell[], now: readonly Cell[]): string[] => {
  const shown = new Map(written.map((c) => [nameOf(c), c.status]))
  return now
    .filter((c) => shown.get(nameOf(c)) !== c.status)
    .map((c) => `${nameOf(c)}: is ${c.status}, docs/matrix.json says ${shown.get(nameOf(c)) ?? 'nothing'}`)
}

const count = (cells: readonly Cell[]): string =>
  (['native', 'fused', 'inlined', 'reference'] as const)
    .map((s) => `${cells.filter((c) => c.status === s).length} ${s}`)
    .join(', ')

/** A line for each backend: how many cells are what, and the largest error. */
export const summary = (cells: readonly Cell[]): string[] =>
  [...new Set(cells.map((c) => c.backend))].map((backend) => {
    const own = cells.filter((c) => c.backend === backend)
    return `${backend}: ${count(own)}; largest error ${Math.max(...own.map((c) => c.max_error))}`
  })

/** How many cases stand behind each op, on every backend: one that goes away changes the page. */
export function caseLine(cases: readonly { readonly op: string }[]): string {
  const counts = new Map<string, number>()
  for (const { op } of cases) counts.set(op, (counts.get(op) ?? 0) + 1)
  return `cases: ${[...counts].map(([op, n]) => `${op} ${n}`).join(', ')}`
}

/** op × backend × pass as a table. */
export function table(cells: readonly Cell[]): string[] {
  const backends = [...new Set(cells.map((c) => c.backend))]
  const ops = [...new Set(cells.map((c) => c.op))]
  const at = new Map(cells.map((c) => [nameOf(c), c]))
  const cell = (op: string, backend: string, pass: Cell['pass']): string => {
    const c = at.get(nameOf({ op, backend, pass, status: 'native', max_error: 0 }))
    return c ? `${c.status}, ${c.max_error}` : ''
  }
  const heads = backends.flatMap((b) => [`${b} forward`, `${b} gradient`])
  return [
    `| op | ${heads.join(' | ')} |`,
    `|---|${heads.map(() => '---|').join('')}`,
    ...ops.map(
      (op) =>
        `| ${op} | ${backends.flatMap((b) => [cell(op, b, 'forward'), cell(op, b, 'gradient')]).join(' | ')} |`,
    ),
  ]
}

/** Which ops of one backend run how: the table of its README. */
export function supportTable(backend: string, cells: readonly Cell[]): string[] {
  const own = cells.filter((c) => c.backend === backend)
  const rows = (['native', 'fused', 'inlined', 'reference'] as const).flatMap((status) =>
    (['forward', 'gradient'] as const).flatMap((pass) => {
      const those = own.filter((c) => c.status === status && c.pass === pass)
      if (those.length === 0) return []
      const error = Math.max(...those.map((c) => c.max_error))
      return [`| ${status} | ${pass} | ${those.map((c) => c.op).join(', ')} | ${error} |`]
    }),
  )
  return ['| how | | ops | largest error |', '|---|---|---|---|', ...rows]
}

/** The text with what stands between `<!-- matrix -->` and `<!-- /matrix -->` replaced. */
export function between(text: string, lines: readonly string[], path: string): string {
  const [start, end] = ['<!-- matrix -->', '<!-- /matrix -->']
  const from = text.indexOf(start)
  const to = text.indexOf(end)
  if (from < 0 || to < from)
    throw new Error(`${path} has no place for the table: write ${start} and ${end} where it is to stand`)
  return `${text.slice(0, from + start.length)}\n${lines.join('\n')}\n${text.slice(to)}`
}
