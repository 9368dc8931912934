/** Where checkpoints and metrics go: an interface with two implementations, memory and a folder of Node's. */
export interface Storage {
  /** Replaces a file as a whole: a reader sees the old one or the new one, never half of it. */
  write(name: string, bytes: Uint8Array): Promise<void>
  append(name: string, text: string): Promise<void>
  /** Undefined when there is none. */
  read(name: string): Promise<Uint8Array | undefined>
  list(): Promise<string[]>
  remove(name: string): Promise<void>
}

export function memoryStorage(): Storage {
  const files = new Map<string, Uint8Array>()
  return {
    write: async (name, bytes) => void files.set(name, bytes.slice()),
    append: async (name, text) => {
      const old = files.get(name) ?? new Uint8Array(0)
      const more = new TextEncoder().encode(text)
      const all = new Uint8Array(old.length + more.length)
      all.set(old)
      all.set(more, old.length)
      files.set(name, all)
    },
    read: async (name) => files.get(name)?.slice(),
    list: async () => [...files.keys()],
    remove: async (name) => void files.delete(name),
  }
}

/** A folder on disk, made when something is written. Node only. */
export async function folderStorage(folder: string): Promise<Storage> {
  // named at run time, so that no bundler for browsers looks for them
  const load = (name: string) => import(/* @vite-ignore */ /* webpackIgnore: true */ `node:${name}`)
  const fs = (await load('fs/promises')) as typeof import('node:fs/promises')
  const { join } = (await load('path')) as typeof import('node:path')
  const at = (name: string): string => join(folder, name)
  const missing = (error: unknown): boolean => (error as { code?: string }).code === 'ENOENT'
  return {
    write: async (name, bytes) => {
      await fs.mkdir(folder, { recursive: true })
      const aside = at(`.${name}.${process.pid}.part`)
      const file = await fs.open(aside, 'w')
      try {
        await file.writeFile(bytes)
        // the data must be on disk before the name is
        await file.sync()
      } finally {
        await file.close()
      }
      await fs.rename(aside, at(name))
    },
    append: async (name, text) => {
      await fs.mkdir(folder, { recursive: true })
      await fs.appendFile(at(name), text)
    },
    read: async (name) => {
      try {
        return new Uint8Array(await fs.readFile(at(name)))
      } catch (error) {
        if (missing(error)) return undefined
        throw error
      }
    },
    list: async () => {
      try {
        return await fs.readdir(folder)
      } catch (error) {
        if (missing(error)) return []
        throw error
      }
    },
    remove: async (name) => {
      await fs.rm(at(name), { force: true })
    },
  }
}
