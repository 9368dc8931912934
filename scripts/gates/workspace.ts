// What the gates know of the workspace: where packages lie and how files are listed and read. No gate logic here.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { apps, packages, scoped } from '../packages.mjs'

/** A row of the table in scripts/packages.mjs, as far as the gates read it. */
export interface Row {
  description: string
  imports: string[]
  optionalPeers?: string[]
  /** Packages from outside that it may load with `import()`, if they are installed. */
  peers?: Record<string, string>
  dependencies?: Record<string, string>
  exports?: Record<string, unknown>
  /** May use Node's modules statically. */
  node?: boolean
}
/** A gate returns one line per thing that is wrong; `[]` is green. `notes` collects figures worth printing. */
export type Gate = (notes: string[]) => string[] | Promise<string[]>

export const root = fileURLToPath(new URL('../..', import.meta.url))
export const packageTable: Record<string, Row> = packages
export const appTable: Record<string, Row> = apps
export const publishedName: (name: string) => string = scoped

/** Files below `dir` (recursively, sorted, absolute), without node_modules and dist. */
export function filesBelow(dir: string): string[] {
  if (!existsSync(dir)) return []
  return readdirSync(dir, { withFileTypes: true })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => {
      if (entry.name === 'node_modules' || entry.name === 'dist') return []
      const path = join(dir, entry.name)
      return entry.isDirectory() ? filesBelow(path) : [path]
    })
}

export const readJson = (path: string) => JSON.parse(readFileSync(path, 'utf8'))
