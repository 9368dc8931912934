// The page in which the collections run on a browser's backend. browser.ts asks it for one row after the other.
import { adapters } from './adapters.js'
import { openBackend } from './backend.js'
import { httpFiles } from './files.js'
import type { Found } from './find.js'
import { type Row, runCollection } from './run.js'

export interface Task {
  backend: string
  /** The collection, and the folder of real weights, as URLs of the server. */
  found: Found
  weights: string
  only: readonly string[]
}

const goldens = {
  /** What renders. Throws where the backend cannot be made. */
  async renderer(name: string): Promise<string> {
    const backend = await openBackend(name)
    backend.dispose()
    return String((backend as { renderer?: string }).renderer)
  },
  begin({ found, ...options }: Task): void {
    rows = runCollection(found, { ...options, files: httpFiles, adapters })
  },
  /** The next row; null after the last. */
  async next(): Promise<Row | null> {
    return (await rows?.next())?.value ?? null
  },
}
let rows: AsyncGenerator<Row, undefined> | undefined

declare global {
  var heedGoldens: typeof goldens | undefined
}
globalThis.heedGoldens = goldens
