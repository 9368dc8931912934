/** The built-in model: an optional package whose files are URLs beside its code, in Node and in browsers. */
import { type Folder, openFolder, type Source, urlSource } from '@heed/weights'
import { ModelError } from './errors.js'

/** What `@heed/model-tiny` exports: the URL of every file of the model's folder. */
interface BuiltIn {
  readonly files?: Readonly<Record<string, URL>>
}

export async function builtInFolder(): Promise<Folder> {
  const found = (await import('@heed/model-tiny').catch((cause: unknown) => {
    throw new ModelError(NAME, 'is not installed; npm install @heed/model-tiny, or give a folder', { cause })
  })) as BuiltIn
  if (!found.files) throw new ModelError(NAME, '@heed/model-tiny has no files; install a matching version')
  return folderOfUrls(found.files)
}

const NAME = 'built-in model'

/** Files that may lie anywhere, under hashed names: bundlers move them. */
async function folderOfUrls(files: Readonly<Record<string, URL>>): Promise<Folder> {
  const source = async (file: string): Promise<Source> => {
    if (!Object.hasOwn(files, file)) throw new ModelError(NAME, `has no ${file}`)
    const url = files[file]
    if (url.protocol !== 'file:') return urlSource(url)
    const slash = url.pathname.lastIndexOf('/') + 1
    return (await openFolder(new URL('./', url))).source(decodeURIComponent(url.pathname.slice(slash)))
  }
  const text = async (file: string): Promise<string> => {
    const from = await source(file)
    try {
      return new TextDecoder('utf-8', { fatal: true }).decode(await from.read(0, from.size))
    } finally {
      await from.close()
    }
  }
  return {
    name: NAME,
    has: async (file) => Object.hasOwn(files, file),
    list: async () => Object.keys(files).sort(),
    source,
    text,
    json: async (file) => JSON.parse(await text(file)) as unknown,
  }
}
