// Opens the Vite build of the published entry points in Chromium and compares its numbers with Node's, which come from
// the same modules run from source. A package that works in Node only by accident is found here.
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { extname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Browser } from 'playwright'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { findChromium, launchChromium } from '../../../scripts/chromium.js'
import { compute, type Numbers } from '../src/compute.js'

const dist = fileURLToPath(new URL('../dist/', import.meta.url))
const types: Record<string, string> = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.json': 'application/json',
}

const serve = (): Promise<Server> =>
  new Promise((ready) => {
    const server = createServer(async (request, response) => {
      const path = normalize(new URL(request.url ?? '/', 'http://x').pathname)
      const file = join(dist, path === '/' ? 'index.html' : path)
      try {
        const body = await readFile(file)
        response
          .writeHead(200, { 'content-type': types[extname(file)] ?? 'application/octet-stream' })
          .end(body)
      } catch {
        response.writeHead(404).end()
      }
    })
    server.listen(0, '127.0.0.1', () => ready(server))
  })

/** Worst |a − b| / (largest |b| of the array): one scale for an array, so that zeros do not blow it up. */
const relativeError = (a: number[], b: number[]): number => {
  const scale = b.reduce((worst, x) => Math.max(worst, Math.abs(x)), Number.MIN_VALUE)
  return a.reduce((worst, x, i) => Math.max(worst, Math.abs(x - (b[i] ?? Number.NaN)) / scale), 0)
}

describe.skipIf(!(await findChromium()))('the published packages in Chromium', () => {
  let server: Server
  let browser: Browser
  let page: { numbers?: Numbers; error?: string }
  let node: Numbers
  const complaints: string[] = []
  let notices = 0

  beforeAll(async () => {
    if (!existsSync(join(dist, 'index.html')))
      throw new Error('apps/browser-check is not built: run pnpm build')
    server = await serve()
    browser = await launchChromium()
    const { port } = server.address() as AddressInfo
    const tab = await browser.newPage()
    tab.on('pageerror', (error) => complaints.push(`page error: ${error.message}`))
    tab.on('console', (message) => {
      // this server does not isolate the page, which the CPU backend says once
      if (/^heed: the CPU backend runs on one thread: this page is not/.test(message.text())) notices++
      else if (['error', 'warning'].includes(message.type()) && !/favicon/.test(message.location().url))
        complaints.push(`${message.type()}: ${message.text()}`)
    })
    tab.on('request', (request) => {
      const { protocol, host } = new URL(request.url())
      if (protocol === 'http:' && host !== `127.0.0.1:${port}`) complaints.push(`request to ${request.url()}`)
    })
    await tab.goto(`http://127.0.0.1:${port}/`)
    await tab.waitForFunction(() => globalThis.outcome !== undefined, undefined, { timeout: 50_000 })
    page = (await tab.evaluate(() => globalThis.outcome)) as typeof page
    node = await compute()
  })
  afterAll(async () => {
    await browser?.close()
    server?.close()
  })

  test('the page computes, without an error, a warning or a request elsewhere', () => {
    expect(page.error).toBeUndefined()
    expect(complaints).toEqual([])
    expect(notices).toBe(1)
  })
  test('gets the numbers of Node', () => {
    const names = Object.keys(node)
    expect(names.length).toBeGreaterThan(0)
    expect(Object.keys(page.numbers ?? {})).toEqual(names)
    for (const name of names) {
      const [inPage, inNode] = [page.numbers?.[name] ?? [], node[name] ?? []]
      expect(inPage.length, name).toBe(inNode.length)
      expect(inNode.every(Number.isFinite), name).toBe(true)
      // one side may fuse multiply and add, the other not: the engines differ in relaxed SIMD
      expect(relativeError(inPage, inNode), name).toBeLessThanOrEqual(1e-5)
    }
  })
})
