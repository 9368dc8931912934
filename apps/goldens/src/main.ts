// The command itself, free of process and globals: arguments in, text out, exit code back.
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { type AdapterTable, adapters } from './adapters.js'
import { inBrowser, parseArguments, usage } from './arguments.js'
import { openBrowser, type Runner } from './browser.js'
import { diskFiles } from './disk.js'
import { UsageError } from './errors.js'
import { type Found, findCollections } from './find.js'
import { type Row, runCollection } from './run.js'

export interface World {
  /** Folder against which DIRs are resolved. */
  cwd: string
  out(text: string): void
  err(text: string): void
  adapters?: AdapterTable
}

const everyAdapter: AdapterTable = { ...adapters, tokenizers: () => import('./tokenizers.js') }
/** Where the fetch script puts real weights. */
const weightsFolder = () => process.env.HEED_WEIGHTS ?? join(homedir(), '.cache', 'heed-weights')

/** Collections in this process. */
const inNode = (backend: string, table = everyAdapter): Runner => ({
  about: backend,
  rows: (found, only) =>
    runCollection(found, { backend, only, files: diskFiles, weights: weightsFolder(), adapters: table }),
  close: async () => {},
})

const count = (rows: readonly Row[]) => {
  const of = (status: Row['status']) => rows.filter((r) => r.status === status).length
  return `${of('pass')} pass, ${of('fail')} fail, ${of('unsupported')} unsupported`
}

const figures = ({ error, tolerance }: Row) => {
  if (error === null && tolerance === null) return ''
  const show = (x: number | null) => (x === null ? '–' : x === 0 ? '0' : x.toExponential(2))
  return `  error ${show(error)}, tolerance ${show(tolerance)}`
}

const line = (r: Row) => {
  const id = r.collection === '.' ? r.case : `${r.collection}/${r.case}`
  return `${r.status.padEnd(11)} ${id}${figures(r)}${r.reason === null ? '' : `  (${r.reason})`}`
}

/** Exit code: 0 when no case failed, 1 when one did or none was found, 2 for bad arguments or where a browser is missing. */
export async function main(argv: readonly string[], world: World): Promise<number> {
  const { out, err } = world
  try {
    const { dirs, only, backend, json, help } = parseArguments(argv)
    if (help) {
      out(`${usage}\n`)
      return 0
    }
    const found: Found[] = []
    for (const dir of dirs) {
      const absolute = resolve(world.cwd, dir)
      found.push(...(await findCollections(absolute)))
    }
    const rows: Row[] = []
    const summaries: string[] = []
    const runner = inBrowser(backend)
      ? await openBrowser(backend, weightsFolder(), err)
      : inNode(backend, world.adapters)
    try {
      for (const collection of found) {
        const own: Row[] = []
        for await (const row of runner.rows(collection, only)) {
          own.push(row)
          if (!json) out(`${line(row)}\n`)
        }
        // with --only, collections in which nothing matches are not worth a line
        if (own.length > 0)
          summaries.push(
            `${/^[./]+$/.test(collection.name) ? collection.dir : collection.name}: ${count(own)}`,
          )
        rows.push(...own)
      }
    } finally {
      await runner.close()
    }
    if (json) {
      out(`${JSON.stringify(rows, null, 1)}\n`)
      if (inBrowser(backend)) err(`backend: ${runner.about}\n`)
    } else {
      const failures = rows.filter((r) => r.status === 'fail')
      const blocks = [
        failures.length > 0 ? `Failures:\n${failures.map(line).join('\n')}\n` : '',
        `${[...summaries, `backend: ${runner.about}`].join('\n')}\ntotal: ${count(rows)}\n`,
      ]
      out(`\n${blocks.filter(Boolean).join('\n')}`)
    }
    if (rows.length === 0) {
      const where = dirs.join(' ')
      err(
        only.length > 0 ? `no case in ${where} matches --only ${only.join(' ')}\n` : `no case in ${where}\n`,
      )
      return 1
    }
    return rows.some((r) => r.status === 'fail') ? 1 : 0
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    err(`goldens: ${error.message}\n`)
    return 2
  }
}
