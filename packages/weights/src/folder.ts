// A folder of model files (config.json, tokenizer.json, weights) on disk, behind a URL or in memory: one small interface,
// so that loading a model does not know where it comes from. No cache, no hub, no writing.
import { WeightsError } from './errors.js'
import { disguise } from './header.js'
import { fsPromises, hasFiles, nodePath, nodeUrl } from './node.js'
import { blobSource, bytesSource, fileSource, type Source, urlSource } from './source.js'

export interface Folder {
  /** Path or URL, for messages. */
  readonly name: string
  has(file: string): Promise<boolean>
  /** The file as text; throws WeightsError when it is missing, not UTF-8, a git-lfs pointer or an HTML page. */
  text(file: string): Promise<string>
  /** The file parsed as JSON; throws WeightsError when it is not. */
  json(file: string): Promise<unknown>
  /** The file for range reads; close it. */
  source(file: string): Promise<Source>
  /** Names of the files, sorted; undefined for a URL, which cannot be listed. */
  list?(): Promise<string[]>
}

/** File name → content; a string is the text of the file. */
export type FilesInMemory = Readonly<Record<string, Uint8Array | ArrayBuffer | Blob | string>>

const isUrl = (text: string) => /^(?:https?|blob|data):/i.test(text)

/** A path stays one; file: URLs become paths in Node; in browsers a relative URL is made absolute. */
export async function locate(place: string | URL): Promise<{ path: string } | { url: string }> {
  const text = String(place)
  if (isUrl(text)) return { url: text }
  if (/^file:/i.test(text)) {
    if (hasFiles) return { path: (await nodeUrl()).fileURLToPath(text) }
    return { url: text }
  }
  if (hasFiles) return { path: text }
  return { url: new URL(text, globalThis.location?.href).href }
}

const missing = (folder: string, file: string, files?: readonly string[]) =>
  new WeightsError('missing file', {
    file: folder,
    message: `has no ${file}`,
    fix: files ? (files.length > 0 ? `it has ${files.slice(0, 12).join(', ')}` : 'it is empty') : undefined,
  })

/** Adds what every kind of folder shares to what each has of its own. */
function folderOf(own: Pick<Folder, 'name' | 'has' | 'source' | 'list'>): Folder {
  const text = async (file: string) => {
    const source = await own.source(file)
    try {
      const bytes = await source.read(0, source.size)
      const hidden = disguise(bytes)
      if (hidden) throw new WeightsError('invalid text', { file: source.name, message: hidden })
      return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
    } catch (cause) {
      if (cause instanceof WeightsError) throw cause
      throw new WeightsError('invalid text', { file: source.name, message: 'is not UTF-8', cause })
    } finally {
      await source.close()
    }
  }
  return {
    ...own,
    text,
    async json(file) {
      const content = await text(file)
      try {
        return JSON.parse(content) as unknown
      } catch (cause) {
        const why = cause instanceof Error ? cause.message : String(cause)
        const name = own.name.endsWith('/') ? `${own.name}${file}` : `${own.name}/${file}`
        throw new WeightsError('invalid text', { file: name, message: `is not JSON (${why})`, cause })
      }
    },
  }
}

function memoryFolder(files: FilesInMemory): Folder {
  const name = 'files in memory'
  const list = async () => Object.keys(files).sort()
  return folderOf({
    name,
    list,
    has: async (file) => Object.hasOwn(files, file),
    async source(file) {
      if (!Object.hasOwn(files, file)) throw missing(name, file, await list())
      const content = files[file]
      if (typeof content === 'string') return bytesSource(new TextEncoder().encode(content), file)
      return content instanceof Uint8Array || content instanceof ArrayBuffer
        ? bytesSource(content, file)
        : blobSource(content, file)
    },
  })
}

async function diskFolder(path: string): Promise<Folder> {
  const { stat, readdir } = await fsPromises()
  const { join } = await nodePath()
  const info = await stat(path).catch(() => undefined)
  if (!info)
    throw new WeightsError('missing file', { file: path, message: 'no such folder', fix: 'check the path' })
  if (!info.isDirectory())
    throw new WeightsError('unreadable', {
      file: path,
      message: 'is a file, not a folder',
      fix: 'give its folder',
    })
  const isFile = (file: string) =>
    stat(join(path, file)).then(
      (s) => s.isFile(),
      () => false,
    )
  const list = async () => {
    const names = (await readdir(path)).sort()
    const files = await Promise.all(names.map(isFile))
    return names.filter((_, i) => files[i])
  }
  return folderOf({
    name: path,
    list,
    has: isFile,
    async source(file) {
      if (!(await isFile(file))) throw missing(path, file, await list())
      return fileSource(join(path, file))
    },
  })
}

function urlFolder(place: string): Folder {
  const base = new URL(place)
  if (!base.pathname.endsWith('/')) base.pathname += '/'
  const at = (file: string) => {
    const url = new URL(file.split('/').map(encodeURIComponent).join('/'), base)
    url.search = base.search // a token in the query belongs to every file
    return url.href
  }
  return folderOf({
    name: base.href,
    async has(file) {
      const response = await fetch(at(file), { headers: { range: 'bytes=0-0' } }).catch((cause: unknown) => {
        const why = cause instanceof Error ? cause.message : String(cause)
        throw new WeightsError('unreadable', { file: at(file), message: `cannot be fetched (${why})`, cause })
      })
      await response.body?.cancel()
      // development servers answer every unknown path with their index.html
      const isPage = /^text\/html/.test(response.headers.get('content-type') ?? '')
      return response.status === 416 || (response.ok && !isPage)
    },
    source: (file) => urlSource(at(file)),
  })
}

/** Opens a folder on disk (Node), behind a URL, or in memory. Throws WeightsError when there is none. */
export async function openFolder(from: string | URL | FilesInMemory): Promise<Folder> {
  if (typeof from !== 'string' && !(from instanceof URL)) return memoryFolder(from)
  const place = await locate(from)
  return 'path' in place ? diskFolder(place.path) : urlFolder(place.url)
}
