// `pnpm matrix [--json] [--backend NAME]… [--write | --check]`: every op on every backend, forward and gradient: native, fused,
// inlined or on the reference kernels, and the largest error against float64. --write puts it into docs/ and the backends'
// READMEs; --check ends with exit code 1 when a cell is worse than what is written there, or what is written is no longer so.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { cpu } from '@heed/backend-cpu'
import { type ConformanceResult, runConformance } from '@heed/conformance'
import { createServer } from 'vite'
import { launchChromium } from './chromium.js'
import { root } from './gates/workspace.js'
import { type Cell, cellsOf, stale, summary, table, worse } from './matrix/cells.js'
import { outdated, pagesOf } from './matrix/pages.js'

/** In Node, on the build that every engine has, so that errors are the same on every machine. */
async function onCpu(): Promise<ConformanceResult[]> {
  const backend = await cpu({ build: 'baseline', threads: 1 })
  try {
    return await runConformance(backend)
  } finally {
    backend.dispose()
  }
}
/** In a page: sources served as they are, Chromium's WebGL. */
async function onWebgl(): Promise<ConformanceResult[]> {
  // first: without a browser there must be nothing left that keeps the process alive
  const browser = await launchChromium()
  const server = await createServer({
    root: join(root, 'scripts/matrix'),
    configFile: false,
    logLevel: 'error',
    server: { host: '127.0.0.1', fs: { allow: [root] } },
    resolve: { alias: [{ find: /^@heed\/([a-z-]+)$/, replacement: `${root}packages/$1/src/index.ts` }] },
    optimizeDeps: { include: ['fast-check', '@tensorflow/tfjs-core', '@tensorflow/tfjs-backend-webgl'] },
  })
  try {
    await server.listen()
    const page = await browser.newPage()
    await page.goto(server.resolvedUrls?.local[0] ?? '')
    await page.waitForFunction(() => globalThis.conformance !== undefined, undefined, { timeout: 600_000 })
    const { results, renderer, error } = (await page.evaluate(() => globalThis.conformance)) ?? {}
    if (!results) throw new Error(`webgl: ${error}`)
    console.error(`webgl: ${renderer}`)
    return results
  } finally {
    await browser.close()
    await server.close()
  }
}

const makers: Readonly<Record<string, () => Promise<ConformanceResult[]>>> = { cpu: onCpu, webgl: onWebgl }
const data = join(root, 'docs/matrix.json')
const written = (): Cell[] => JSON.parse(readFileSync(data, 'utf8')) as Cell[]

async function main(args: readonly string[]): Promise<void> {
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
    console.error(`${name}: ${((performance.now() - started) / 1000).toFixed(0)} s`)
  }
  if (args.includes('--json')) console.log(JSON.stringify(cells, null, 1))
  else console.log([...table(cells), '', ...summary(cells)].join('\n'))
  if (args.includes('--write')) write(cells)
  if (args.includes('--check')) {
    const before = written()
    const bad = worse(before, cells, asked.length > 0 ? asked : undefined)
    const old = [
      ...stale(before, cells),
      ...outdated(before).map((path) => `${path}: does not say what docs/matrix.json and the cases do`),
    ]
    for (const line of [...bad, ...old]) console.error(`✗ ${line}`)
    if (bad.length > 0)
      console.error('cells are worse than docs/matrix.json says; if that is meant: pnpm matrix --write')
    else if (old.length > 0) console.error('what is written is no longer so: pnpm matrix --write')
    if (bad.length + old.length > 0) process.exitCode = 1
  }
}

/** A line a cell, so that differences read well. */
const line = (c: Cell): string =>
  `  { ${Object.entries(c)
    .map(([name, value]) => `${JSON.stringify(name)}: ${JSON.stringify(value)}`)
    .join(', ')} }`

function write(cells: readonly Cell[]): void {
  const all = [...written().filter((old) => !cells.some((c) => c.backend === old.backend)), ...cells]
  writeFileSync(data, `[\n${all.map(line).join(',\n')}\n]\n`)
  for (const [path, text] of pagesOf(all)) writeFileSync(join(root, path), text)
}

main(process.argv.slice(2)).catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
})
