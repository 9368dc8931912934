// One attention on the CPU and on WebGL through a Vite build, a webpack build, and a page without any bundler whose files are
// served as they are; with the headers that give shared memory and without. All of them get the numbers of Node.
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { availableParallelism, tmpdir } from 'node:os'
import { extname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Browser } from 'playwright'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import webpack from 'webpack'
import { findChromium, launchChromium } from '../../../scripts/chromium.js'
import { oneAttention } from '../src/one-attention.js'

const app = fileURLToPath(new URL('../', import.meta.url))
const workspace = fileURLToPath(new URL('../../../', import.meta.url))
const types: Record<string, string> = { '.html': 'text/html', '.js': 'text/javascript' }
const isolation = {
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-embedder-policy': 'require-corp',
}

/** Serves a folder, and says what it sent. */
const serve = (
  folder: string,
  headers: Record<string, string>,
  sent: (path: string, bytes: number) => void,
): Promise<Server> =>
  new Promise((ready) => {
    const server = createServer(async (request, response) => {
      const path = normalize(new URL(request.url ?? '/', 'http://x').pathname)
      try {
        const body = await readFile(join(folder, path.endsWith('/') ? `${path}index.html` : path))
        const type = types[extname(path)] ?? (path.endsWith('/') ? 'text/html' : 'application/octet-stream')
        sent(path, body.length)
        response.writeHead(200, { ...headers, 'content-type': type }).end(body)
      } catch {
        response.writeHead(404).end()
      }
    })
    server.listen(0, '127.0.0.1', () => ready(server))
  })

/** The entry through webpack with no settings but a mode, as a stranger's project would have it. */
const build = (folder: string): Promise<void> =>
  new Promise((ready, fail) => {
    webpack(
      {
        mode: 'production',
        entry: join(app, 'src/webpack-entry.js'),
        output: { path: folder, filename: 'main.js' },
        performance: { hints: false },
      },
      (error, stats) => {
        if (error) fail(error)
        else if (stats?.hasErrors() || stats?.hasWarnings())
          fail(new Error(stats.toString('errors-warnings')))
        else ready()
      },
    )
    writeFileSync(
      join(folder, 'index.html'),
      '<!doctype html><title>Heed through webpack</title><script src="main.js"></script>',
    )
  })

/** The page without a bundler; /node_modules of the workspace has TensorFlow.js. */
const BARE = '/apps/browser-check/src/bare.html'

interface Outcome {
  numbers?: { threads: number; cpu: number[]; webgl: number[] }
  error?: string
}
const apart = (a: readonly number[], b: readonly number[]): number => {
  expect(a.length).toBe(b.length)
  const scale = Math.max(...b.map(Math.abs))
  return Math.max(...a.map((x, i) => Math.abs(x - b[i]))) / scale
}

describe.skipIf(!(await findChromium()))('one attention on CPU and WebGL', () => {
  const servers: Server[] = []
  let browser: Browser
  let bundled: string
  let node: number[]

  beforeAll(async () => {
    if (!existsSync(join(app, 'dist/index.html')))
      throw new Error('apps/browser-check is not built: run pnpm build')
    bundled = mkdtempSync(join(tmpdir(), 'heed-webpack-'))
    await build(bundled)
    browser = await launchChromium()
    node = (await oneAttention({ isWebglWanted: false })).cpu
  })
  afterAll(async () => {
    await browser?.close()
    for (const s of servers) s.close()
    if (bundled) rmSync(bundled, { recursive: true })
  })

  /** What a page leaves behind, and how many bytes of scripts it took. */
  async function open(folder: string, path: string, headers: Record<string, string> = {}) {
    let bytes = 0
    const server = await serve(folder, headers, (name, n) => {
      if (name.endsWith('.js')) bytes += n
    })
    servers.push(server)
    const page = await browser.newPage()
    const complaints: string[] = []
    page.on('pageerror', (error) => complaints.push(error.message))
    page.on('console', (message) => {
      if (message.type() === 'error' && !/favicon/.test(message.location().url))
        complaints.push(message.text())
    })
    await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`)
    await page.waitForFunction(() => globalThis.outcome !== undefined, undefined, { timeout: 50_000 })
    const { numbers, error } = (await page.evaluate(() => globalThis.outcome)) as Outcome
    expect(error).toBeUndefined()
    expect(complaints).toEqual([])
    await page.close()
    return { ...(numbers as NonNullable<Outcome['numbers']>), bytes }
  }

  test('a Vite build', async () => {
    const { cpu, webgl } = await open(join(app, 'dist'), '/?webgl')
    expect(apart(cpu, node)).toBeLessThan(1e-5)
    expect(apart(webgl, node)).toBeLessThan(1e-5)
  })
  test('a webpack build, which loads TensorFlow.js for WebGL only', async () => {
    const both = await open(bundled, '/?webgl')
    expect(apart(both.cpu, node)).toBeLessThan(1e-5)
    expect(apart(both.webgl, node)).toBeLessThan(1e-5)
    const alone = await open(bundled, '/')
    expect(alone.cpu).toEqual(both.cpu)
    expect(both.bytes - alone.bytes).toBeGreaterThan(300_000)
    expect(alone.bytes).toBeLessThan(400_000)
  })
  test('no bundler: an import map and the files as they are', async () => {
    const { cpu, webgl } = await open(workspace, `${BARE}?webgl`)
    expect(apart(cpu, node)).toBeLessThan(1e-5)
    expect(apart(webgl, node)).toBeLessThan(1e-5)
  })
  test('threads where the page is isolated, one where it is not, the same bits', async () => {
    const alone = await open(workspace, BARE)
    const shared = await open(workspace, BARE, isolation)
    expect(alone.threads).toBe(1)
    expect(shared.threads).toBeGreaterThanOrEqual(1)
    if (availableParallelism() > 1) expect(shared.threads).toBeGreaterThan(1)
    expect(shared.cpu).toEqual(alone.cpu)
  })
})
