// Finds collections: folders with a golden.json at, below or (when there is none) above a folder.
import { readdir, realpath, stat } from 'node:fs/promises'
import { dirname, join, relative, resolve, sep } from 'node:path'
import { UsageError } from './errors.js'

/** A folder with a golden.json, seen from the folder that was asked for. */
export interface Found {
  /** Absolute folder of the collection. */
  dir: string
  /** The same, relative to the folder that was asked for; '.' when they are one. Always with forward slashes. */
  name: string
  /** When a folder inside the collection was asked for: its path below the collection. Only its cases count. */
  under?: string
}

const manifest = 'golden.json'
const slashes = (path: string) => path.split(sep).join('/')

/** Collections at or below `asked`, in the order of their names; else the one that contains it. */
export async function findCollections(asked: string): Promise<Found[]> {
  const root = resolve(asked)
  const info = await stat(root).catch(() => undefined)
  if (!info) throw new UsageError(`${asked}: no such folder`)
  if (!info.isDirectory()) throw new UsageError(`${asked}: is a file; give the folder of a collection`)

  const found: Found[] = []
  const seen = new Set<string>() // real paths: a link that leads back up must not loop
  const walk = async (dir: string) => {
    const real = await realpath(dir)
    if (seen.has(real)) return
    seen.add(real)
    const entries = (await readdir(dir, { withFileTypes: true })).sort((a, b) => (a.name < b.name ? -1 : 1))
    if (entries.some((e) => e.name === manifest)) {
      found.push({ dir, name: slashes(relative(root, dir)) || '.' })
    }
    for (const entry of entries) {
      if (entry.name === 'node_modules' || entry.name.startsWith('.')) continue
      const path = join(dir, entry.name)
      const isFolder = entry.isSymbolicLink()
        ? ((await stat(path).catch(() => undefined))?.isDirectory() ?? false)
        : entry.isDirectory()
      if (isFolder) await walk(path)
    }
  }
  await walk(root)
  if (found.length > 0) return found

  for (let dir = dirname(root); ; dir = dirname(dir)) {
    const isFile = (await stat(join(dir, manifest)).catch(() => undefined))?.isFile()
    if (isFile) {
      return [{ dir, name: slashes(relative(root, dir)), under: slashes(relative(dir, root)) }]
    }
    if (dir === dirname(dir)) break
  }
  throw new UsageError(`${asked}: no ${manifest} at, below or above this folder`)
}
