// Runs the cases of collections and makes one row of each. A crash is a failing row; nothing here prints, and nothing
// is of Node: a page runs it too.
import { type Backend, setBackend } from '@heed/tensor'
import { type AdapterTable, planned } from './adapters.js'
import { openBackend } from './backend.js'
import { type GoldenCase, type Options, type Outcome, unsupported, wholeCollection } from './case.js'
import { type Files, readJson } from './files.js'
import type { Found } from './find.js'
import { matcher } from './pattern.js'

/** One line of the result, as --json prints it. */
export interface Row {
  collection: string
  case: string
  status: Outcome['status']
  error: number | null
  tolerance: number | null
  reason: string | null
}

export interface RunOptions extends Omit<Options, 'backend'> {
  /** Name of the backend. */
  backend: string
  adapters: AdapterTable
  /** Patterns; none means every case. */
  only?: readonly string[]
}

const version = 1

const message = (error: unknown) => {
  const text = error instanceof Error ? error.message || error.name : String(error)
  return text.split('\n')[0]
}

/** JSON has no infinity: an error without a size is null, and the reason says what happened. */
const number = (x: number | undefined) => (x !== undefined && Number.isFinite(x) ? x : null)

const row = (collection: string, id: string, o: Outcome): Row => ({
  collection,
  case: id,
  status: o.status,
  error: number(o.error),
  tolerance: number(o.tolerance),
  reason: o.reason ?? null,
})

/** The parsed golden.json, checked for what the runner itself needs. */
async function readManifest(
  files: Files,
  dir: string,
): Promise<Record<string, unknown> & { format: string }> {
  const place = files.at(dir, 'golden.json')
  const golden = await readJson<Record<string, unknown>>(files, place)
  if (typeof golden !== 'object' || golden === null || Array.isArray(golden))
    throw new Error(`${place}: not an object`)
  const { format } = golden
  if (typeof format !== 'string') throw new Error(`${place}: 'format' is not a string`)
  return { ...golden, format }
}

async function* casesOf(found: Found, adapters: AdapterTable, options: Options) {
  const golden = await readManifest(options.files, found.dir)
  const { format } = golden
  const load = Object.hasOwn(adapters, format) ? adapters[format] : undefined
  if (!load) {
    const why = Object.hasOwn(planned, format) ? planned[format] : 'no adapter reads it'
    yield unsupported(wholeCollection, `format '${format}': ${why}`)
  } else if (golden.version !== version) {
    const got = JSON.stringify(golden.version)
    yield unsupported(wholeCollection, `format '${format}' has version ${got}; version ${version} is read`)
  } else {
    const adapter = await load()
    yield* adapter.cases({ dir: found.dir, golden }, options)
  }
}

const run = (one: GoldenCase): Promise<Outcome> =>
  Promise.resolve()
    .then(() => one.run())
    .catch((error: unknown) => ({ status: 'fail', reason: message(error) }))

/** Rows of one collection, in the order of the adapter. */
export async function* runCollection(found: Found, options: RunOptions): AsyncGenerator<Row> {
  const { name, under } = found
  const { files, weights, adapters, only = [] } = options
  let opened: Promise<Backend> | undefined
  const backend = () => (opened ??= openBackend(options.backend))
  const patterns = only.map(matcher)
  const wanted = (id: string) =>
    patterns.length === 0 || patterns.some((matches) => matches(id) || matches(`${name}/${id}`))
  const inside = (id: string) =>
    under === undefined || id === wholeCollection || id === under || id.startsWith(`${under}/`)
  const ids = new Set<string>()
  try {
    for await (const one of casesOf(found, adapters, { backend, files, weights })) {
      if (!inside(one.id) || !wanted(one.id)) continue
      // two rows under one name would hide each other from whoever reads the result by id
      if (ids.has(one.id)) throw new Error(`the adapter yields the case '${one.id}' twice`)
      ids.add(one.id)
      yield row(name, one.id, await run(one))
    }
  } catch (error) {
    // never filtered: with a pattern, cases that should have matched may be missing because of it
    yield row(name, wholeCollection, { status: 'fail', reason: message(error) })
  } finally {
    setBackend(null)
    await opened?.then(
      (b) => b.dispose(),
      () => undefined, // it is a failing row already
    )
  }
}
