// The files of a collection in Node.
import { readdir, readFile, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import type { Files } from './files.js'

export const diskFiles: Files = {
  at: (folder, path) => join(folder, path),
  nameOf: (place) => basename(place),
  async list(folder) {
    const entries = await readdir(folder, { withFileTypes: true })
    return entries
      .map((e) => ({ name: e.name, isFolder: e.isDirectory() }))
      .sort((a, b) => (a.name < b.name ? -1 : 1))
  },
  exists: (place) =>
    stat(place).then(
      () => true,
      () => false,
    ),
  read: async (place) => new Uint8Array(await readFile(place)),
}
