/**
 * Serves the page that measures in a browser: the built page at /, the peers' packages at /peers/, and at /peers.json the versions of those
 * that are installed. The two headers give it shared memory, without which there are no threads.
 */
import { existsSync, readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { extname, join, normalize, sep } from 'node:path'
import { UsageError } from './errors.js'
import { app, peersFolder } from './folders.js'

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.mjs': 'text/javascript',
  '.css': 'text/css',
  '.json': 'application/json',
  '.wasm': 'application/wasm',
}
const ISOLATION = {
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-embedder-policy': 'require-corp',
}
/** What the page can load. */
const PACKAGES = ['onnxruntime-web', '@tensorflow/tfjs', '@tensorflow/tfjs-backend-wasm', '@jax-js/jax']

export interface Served {
  readonly url: string
  close(): void
}
export interface ServeOptions {
  /** 0 takes any that is free. */
  port: number
  /** False leaves the headers out: to see what a page without them has. */
  isolated?: boolean
  pageFolder?: string
  peersFolder?: string
}

/** @throws UsageError when the page is not built or the port is taken. */
export async function serve(options: ServeOptions): Promise<Served> {
  const { port, isolated = true, pageFolder = `${app}/dist/page` } = options
  const packages = join(options.peersFolder ?? peersFolder, 'node_modules')
  if (!existsSync(join(pageFolder, 'index.html')))
    throw new UsageError('the page is not built: run pnpm build')
  const versions = (): Record<string, string> =>
    Object.fromEntries(
      PACKAGES.filter((name) => existsSync(join(packages, name, 'package.json'))).map((name) => [
        name,
        (JSON.parse(readFileSync(join(packages, name, 'package.json'), 'utf8')) as { version: string })
          .version,
      ]),
    )
  const server = createServer(async (request, response) => {
    const headers = { 'cache-control': 'no-store', ...(isolated ? ISOLATION : {}) }
    const send = (status: number, type: string, body: string | Buffer): void =>
      void response.writeHead(status, { ...headers, 'content-type': type }).end(body)
    try {
      const path = decodeURIComponent(new URL(request.url ?? '/', 'http://x').pathname)
      if (path === '/peers.json') return send(200, TYPES['.json'], JSON.stringify(versions()))
      const [root, rest] = path.startsWith('/peers/')
        ? [packages, path.slice('/peers'.length)]
        : [pageFolder, path === '/' ? '/index.html' : path]
      const file = normalize(join(root, rest))
      if (!file.startsWith(normalize(root) + sep)) return send(403, 'text/plain', 'outside')
      send(200, TYPES[extname(file)] ?? 'application/octet-stream', await readFile(file))
    } catch {
      send(404, 'text/plain', 'not found')
    }
  })
  await new Promise<void>((ready, fail) => {
    server.once('error', (error: NodeJS.ErrnoException) =>
      fail(
        error.code === 'EADDRINUSE'
          ? new UsageError(`port ${port} is taken: choose another, --port N`)
          : error,
      ),
    )
    server.listen(port, '127.0.0.1', ready)
  })
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    close: () => void server.close(),
  }
}
