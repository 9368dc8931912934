// `pnpm matrix [--json] [--backend NAME]… [--write | --check]`: every op on every backend, forward and gradient: native, fused,
// inlined or on the reference kernels, and the largest error against float64. --write puts it into docs/ and the backends'
// READMEs; --check ends with exit code 1 when a cell is worse than what is written there, or what is written is no longer so.
import type { ConformanceResult } from '@heed/conformance'
import { type Cell, cellsOf, stale, summary, table, worse } from './cells.js'
import { outdated, pagesOf } from './pages.js'

export interface World {
  /** Runs the cases on a backend, by its name. */
  readonly makers: Readonly<Record<string, () => Promise<ConformanceResult[]>>>
  /** A file by its path from the root. */
  read(path: string): string
  write(path: string, text: string): void
  /** A line each. */
  out(text: string): void
  err(text: string): void
}

const DATA = 'docs/matrix.json'

/**
 * The exit code.
 * @throws Error for arguments that nobody knows, and where cases fail
 */
export async function matrix(args: readonly string[], world: World): Promise<number> {
  const { makers, out, err } = world
  const asked = args.flatMap((a, i) => (a === '--backend' ? [args[i + 1] ?? ''] : []))
  const known = ['--json', '--write', '--check', '--backend', ...asked]
  const odd = [...args.filter((a) => !known.includes(a)), ...asked.filter((name) => !(name in makers))]
  if (odd.length > 0)
    throw new Error(
      `matrix: ${odd.join(', ')}? Use [--json] [--backend ${Object.keys(makers).join(' | ')}] [--write | --check]`,
    )
  const cells: Cell[] = []
  for (const [name, run] of Object.entries(makers)) {
    if (asked.length > 0 && !asked.includes(name)) continue
    const started = performance.now()
    cells.push(...cellsOf(name, await run()))
    err(`${name}: ${((performance.now() - started) / 1000).toFixed(0)} s`)
  }
  if (args.includes('--json')) out(JSON.stringify(cells, null, 1))
  else out([...table(cells), '', ...summary(cells)].join('\n'))
  const written = JSON.parse(world.read(DATA)) as Cell[]
  if (args.includes('--write')) write(written, cells, world)
  if (!args.includes('--check')) return 0
  const bad = worse(written, cells, asked.length > 0 ? asked : undefined)
  const old = [
    ...stale(written, cells),
    ...outdated(written, world.read).map((path) => `${path}: does not say what ${DATA} and the cases do`),
  ]
  for (const line of [...bad, ...old]) err(`✗ ${line}`)
  if (bad.length > 0) err(`cells are worse than ${DATA} says; if that is meant: pnpm matrix --write`)
  else if (old.length > 0) err('what is written is no longer so: pnpm matrix --write')
  return bad.length + old.length > 0 ? 1 : 0
}

/** A line a cell, so that differences read well. */
const line = (c: Cell): string =>
  `  { ${Object.entries(c)
    .map(([name, value]) => `${JSON.stringify(name)}: ${JSON.stringify(value)}`)
    .join(', ')} }`

function write(written: readonly Cell[], cells: readonly Cell[], world: World): void {
  const all = [...written.filter((old) => !cells.some((c) => c.backend === old.backend)), ...cells]
  world.write(DATA, `[\n${all.map(line).join(',\n')}\n]\n`)
  for (const [path, text] of pagesOf(all, world.read)) world.write(path, text)
}
