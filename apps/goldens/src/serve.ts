// Serves the page and, under names of their own, folders with the files of collections: whole, by range, or as a list.
import { open, readFile, stat } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { basename, extname, join, resolve, sep } from 'node:path'
import { diskFiles } from './disk.js'

export interface Served {
  url: string
  /** The URL of a folder; below it the server gives every file. */
  share(folder: string): string
  close(): void
}

const types: Readonly<Record<string, string>> = { '.html': 'text/html', '.js': 'text/javascript' }
// an isolated page may share memory between threads
const isolation = {
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-embedder-policy': 'require-corp',
  'cache-control': 'no-store',
}

export async function serve(pageFolder: string): Promise<Served> {
  const shared: string[] = []
  const server = createServer((request, response) => {
    for (const [name, value] of Object.entries(isolation)) response.setHeader(name, value)
    answer(request, response, pageFolder, shared).catch(() => response.writeHead(404).end())
  })
  await new Promise<void>((ready, fail) => server.once('error', fail).listen(0, '127.0.0.1', ready))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    url,
    // the name comes along: some collections are told apart by it
    share: (folder) => `${url}/files/${shared.push(folder) - 1}/${encodeURIComponent(basename(folder))}`,
    close: () => server.close(),
  }
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  pageFolder: string,
  shared: readonly string[],
): Promise<void> {
  const { pathname, search } = new URL(request.url ?? '/', 'http://x')
  const [, top, index, , ...rest] = pathname.split('/').map(decodeURIComponent)
  const isPage = top !== 'files'
  const root = resolve(isPage ? pageFolder : shared[Number(index)])
  const file = join(root, ...(isPage ? [pathname === '/' ? 'index.html' : pathname] : rest))
  if (file !== root && !file.startsWith(root + sep)) throw new Error('outside')
  if (search === '?list') {
    response.end(JSON.stringify(await diskFiles.list(file)))
    return
  }
  const info = await stat(file)
  if (request.method === 'HEAD') {
    response.end()
    return
  }
  if (isPage) response.setHeader('content-type', types[extname(file)] ?? 'application/octet-stream')
  const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? []
  if (from === undefined) {
    response.end(await readFile(file))
    return
  }
  const start = Number(from)
  const length = Math.min(Number(to) + 1, info.size) - start
  if (length <= 0) {
    response.writeHead(416, { 'content-range': `bytes */${info.size}` }).end()
    return
  }
  const handle = await open(file)
  try {
    const { buffer } = await handle.read(Buffer.alloc(length), 0, length, start)
    response
      .writeHead(206, { 'content-range': `bytes ${start}-${start + length - 1}/${info.size}` })
      .end(buffer)
  } finally {
    await handle.close()
  }
}
