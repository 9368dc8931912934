// How adapters reach the files of a collection: on disk in Node, over HTTP in a page. A place is a path there and a URL
// here; openWeights and loadModel take either.

export interface Entry {
  name: string
  isFolder: boolean
}

export interface Files {
  /** The place of something below a folder; `path` has forward slashes. */
  at(folder: string, path: string): string
  /** The last part of a place. */
  nameOf(place: string): string
  /** What lies in a folder, in the order of names. */
  list(folder: string): Promise<Entry[]>
  exists(place: string): Promise<boolean>
  read(place: string): Promise<Uint8Array<ArrayBuffer>>
}

export async function readJson<T>(files: Files, place: string): Promise<T> {
  return JSON.parse(new TextDecoder().decode(await files.read(place))) as T
}

/** Files behind the server of serve.ts. */
export const httpFiles: Files = {
  at: (folder, path) => `${folder}/${path.split('/').map(encodeURIComponent).join('/')}`,
  nameOf: (place) => decodeURIComponent(place.slice(place.lastIndexOf('/') + 1)),
  list: async (folder) => (await ask(`${folder}?list`)).json() as Promise<Entry[]>,
  exists: async (place) => (await fetch(place, { method: 'HEAD' })).ok,
  read: async (place) => new Uint8Array(await (await ask(place)).arrayBuffer()),
}

async function ask(url: string): Promise<Response> {
  const response = await fetch(url)
  if (!response.ok) throw new Error(`${url}: the server answers ${response.status}`)
  return response
}
