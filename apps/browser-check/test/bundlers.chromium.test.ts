// One attention on the CPU and on WebGL through a Vite build, a webpack build, and a page without any bundler whose files are
// served as they are; with the headers that give shared memory and without; with TensorFlow.js installed and without. All of
// them get the numbers of Node.
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { availableParallelism, tmpdir } from 'node:os'
import { dirname, extname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Browser } from 'playwright'
import { build as vite } from 'vite'
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
  sent: (path: string, body: Buffer) => void,
): Promise<Server> =>
  new Promise((ready) => {
    const server = createServer(async (request, response) => {
      const path = normalize(new URL(request.url ?? '/', 'http://x').pathname)
      try {
        const body = await readFile(join(folder, path.endsWith('/') ? `${path}index.html` : path))
        const type = types[extname(path)] ?? (path.endsWith('/') ? 'text/html' : 'application/octet-stream')
        sent(path, body)
        response.writeHead(200, { ...headers, 'content-type': type }).end(body)
      } catch {
        response.writeHead(404).end()
      }
    })
    server.listen(0, '127.0.0.1', () => ready(server))
  })

/** The entry through webpack with no settings but a mode, as a stranger's project would have it; returns its warnings. */
const build = (entry: string, folder: string): Promise<string> =>
  new Promise((ready, fail) => {
    webpack(
      {
        mode: 'production',
        context: dirname(entry),
        entry,
        output: { path: folder, filename: 'main.js' },
        performance: { hints: false },
      },
      (error, stats) => {
        if (error) fail(error)
        else if (stats?.hasErrors()) fail(new Error(stats.toString('errors-warnings')))
        else ready(stats?.hasWarnings() ? stats.toString('errors-warnings') : '')
      },
    )
    mkdirSync(folder, { recursive: true })
    writeFileSync(
      join(folder, 'index.html'),
      '<!doctype html><title>Heed through webpack</title><script src="main.js"></script>',
    )
  })

/** A project beside the workspace that has Heed's packages as they are published, and no TensorFlow.js. */
function withoutTfjs(): string {
  const folder = mkdtempSync(join(tmpdir(), 'heed-without-tfjs-'))
  for (const name of ['tensor', 'backend-cpu', 'backend-webgl'])
    for (const part of ['package.json', 'dist'])
      cpSync(join(workspace, 'packages', name, part), join(folder, 'node_modules/@heed', name, part), {
        recursive: true,
      })
  mkdirSync(join(folder, 'src'))
  for (const name of ['one-attention.js', 'webpack-entry.js'])
    cpSync(join(app, 'src', name), join(folder, 'src', name))
  writeFileSync(
    join(folder, 'index.html'),
    '<!doctype html><title>Vite</title><script type="module" src="/src/webpack-entry.js"></script>',
  )
  const page = readFileSync(join(workspace, BARE), 'utf8')
    .replaceAll('/packages/', '/node_modules/@heed/')
    .replace('/apps/browser-check/src/', '/src/')
    .replace(/,\s*"@tensorflow[^}]*/, '')
  if (page.includes('@tensorflow')) throw new Error('the import map still has TensorFlow.js')
  writeFileSync(join(folder, 'bare.html'), page)
  return folder
}
/** A flag that TensorFlow.js sets when it is loaded, and nobody else's text has. */
const TFJS = 'WEBGL_DELETE_TEXTURE_THRESHOLD'

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
    expect(await build(join(app, 'src/webpack-entry.js'), bundled)).toBe('')
    browser = await launchChromium()
    node = (await oneAttention('')).cpu
  })
  afterAll(async () => {
    await browser?.close()
    for (const s of servers) s.close()
    if (bundled) rmSync(bundled, { recursive: true })
  })

  /** What a page leaves behind, and whether it took TensorFlow.js. */
  async function visit(folder: string, path: string, headers: Record<string, string> = {}) {
    let tookTfjs = false
    const server = await serve(folder, headers, (name, body) => {
      if (name.endsWith('.js')) tookTfjs ||= body.includes(TFJS)
    })
    servers.push(server)
    const page = await browser.newPage()
    const complaints: string[] = []
    const { port } = server.address() as AddressInfo
    page.on('pageerror', (error) => complaints.push(error.message))
    page.on('console', (message) => {
      if (message.type() === 'error' && !/favicon/.test(message.location().url))
        complaints.push(message.text())
    })
    page.on('request', (request) => {
      const { protocol, host } = new URL(request.url())
      if (protocol.startsWith('http') && host !== `127.0.0.1:${port}`)
        complaints.push(`request to ${request.url()}`)
    })
    await page.goto(`http://127.0.0.1:${port}${path}`)
    await page.waitForFunction(() => globalThis.outcome !== undefined, undefined, { timeout: 50_000 })
    const outcome = (await page.evaluate(() => globalThis.outcome)) as Outcome
    expect(complaints).toEqual([])
    await page.close()
    return { ...outcome, tookTfjs }
  }
  async function open(folder: string, path: string, headers: Record<string, string> = {}) {
    const { numbers, error, tookTfjs } = await visit(folder, path, headers)
    expect(error).toBeUndefined()
    return { ...(numbers as NonNullable<Outcome['numbers']>), tookTfjs }
  }

  describe('load TensorFlow.js for WebGL, and never for the CPU alone', () => {
    test('through Vite', async () => {
      const both = await open(join(app, 'dist'), '/?webgl')
      expect(apart(both.cpu, node)).toBeLessThan(1e-5)
      expect(apart(both.webgl, node)).toBeLessThan(1e-5)
      expect(both.tookTfjs).toBe(true)
      expect((await open(join(app, 'dist'), '/')).tookTfjs).toBe(false)
    })
    test('through webpack', async () => {
      const both = await open(bundled, '/?webgl')
      expect(apart(both.cpu, node)).toBeLessThan(1e-5)
      expect(apart(both.webgl, node)).toBeLessThan(1e-5)
      expect(both.tookTfjs).toBe(true)
      const alone = await open(bundled, '/')
      expect(alone.cpu).toEqual(both.cpu)
      expect(alone.tookTfjs).toBe(false)
    })
    test('without a bundler: an import map and the files as they are', async () => {
      const both = await open(workspace, `${BARE}?webgl`)
      expect(apart(both.cpu, node)).toBeLessThan(1e-5)
      expect(apart(both.webgl, node)).toBeLessThan(1e-5)
      expect(both.tookTfjs).toBe(true)
      const alone = await open(workspace, BARE)
      expect(alone.cpu).toEqual(both.cpu)
      expect(alone.tookTfjs).toBe(false)
    })
  })

  describe('without TensorFlow.js the CPU computes, and WebGL says what to install', () => {
    let folder: string
    beforeAll(() => {
      folder = withoutTfjs()
    })
    afterAll(() => {
      if (folder) rmSync(folder, { recursive: true })
    })
    async function holds(root: string, path: string): Promise<void> {
      const { cpu } = await open(root, path)
      expect(apart(cpu, node)).toBeLessThan(1e-5)
      const { error, tookTfjs } = await visit(root, `${path}?webgl`)
      expect(error).toMatch(
        /^\w+: webgl: TensorFlow\.js cannot be loaded; npm install @tensorflow\/tfjs-core @tensorflow\/tfjs-backend-webgl\n/,
      )
      expect(tookTfjs).toBe(false)
    }
    test('through Vite', async () => {
      await vite({
        root: folder,
        configFile: false,
        logLevel: 'silent',
        build: { outDir: 'vite' },
      })
      await holds(join(folder, 'vite'), '/')
    })
    test('through webpack', async () => {
      await build(join(folder, 'src/webpack-entry.js'), join(folder, 'webpack'))
      await holds(join(folder, 'webpack'), '/')
    })
    test('without a bundler', async () => {
      await holds(folder, '/bare.html')
    })
  })

  test('threads where the page is isolated, one where it is not, the same bits', async () => {
    const alone = await open(workspace, BARE)
    const shared = await open(workspace, `${BARE}?threads=3`, isolation)
    const byDefault = await open(workspace, BARE, isolation)
    expect([alone.threads, shared.threads]).toEqual([1, 3])
    if (availableParallelism() > 1) expect(byDefault.threads).toBeGreaterThan(1)
    expect(shared.cpu).toEqual(alone.cpu)
    expect(byDefault.cpu).toEqual(alone.cpu)
  })
  test('threads that a page cannot have are refused, with the headers that give them', async () => {
    const { error } = await visit(workspace, `${BARE}?threads=2`)
    expect(error).toMatch(
      /^BackendError: cpu: 2 threads were asked for, but this page is not cross-origin isolated: serve it with the headers Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp; or leave threads out\n/,
    )
    const many = await visit(workspace, `${BARE}?threads=999`, isolation)
    expect(many.error).toMatch(/^BackendError: cpu: threads is 999, expected a count from 1 to 256\n/)
  })
})
