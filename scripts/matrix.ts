// `pnpm matrix`: runs the conformance cases on every backend, those of browsers in Chromium; matrix/command.ts says what
// becomes of the results.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { cpu } from '@heed/backend-cpu'
import { type ConformanceResult, runConformance } from '@heed/conformance'
import { createServer } from 'vite'
import { launchChromium } from './chromium.js'
import { root } from './gates/workspace.js'
import { matrix } from './matrix/command.js'

/** In Node, on the build that every engine has, so that errors are the same on every machine. */
async function onCpu(): Promise<ConformanceResult[]> {
  const backend = await cpu({ build: 'baseline', threads: 1 })
  try {
    return await runConformance(backend)
  } finally {
    backend.dispose()
  }
}
/** In a page: sources served as they are, Chromium's WebGL. */
async function onWebgl(): Promise<ConformanceResult[]> {
  // first: without a browser there must be nothing left that keeps the process alive
  const browser = await launchChromium()
  const server = await createServer({
    root: join(root, 'scripts/matrix'),
    configFile: false,
    logLevel: 'error',
    server: { host: '127.0.0.1', fs: { allow: [root] } },
    resolve: { alias: [{ find: /^@heed\/([a-z-]+)$/, replacement: `${root}packages/$1/src/index.ts` }] },
    optimizeDeps: { include: ['fast-check', '@tensorflow/tfjs-core', '@tensorflow/tfjs-backend-webgl'] },
  })
  try {
    await server.listen()
    const page = await browser.newPage()
    await page.goto(server.resolvedUrls?.local[0] ?? '')
    await page.waitForFunction(() => globalThis.conformance !== undefined, undefined, { timeout: 600_000 })
    const { results, renderer, error } = (await page.evaluate(() => globalThis.conformance)) ?? {}
    if (!results) throw new Error(`webgl: ${error}`)
    console.error(`webgl: ${renderer}`)
    return results
  } finally {
    await browser.close()
    await server.close()
  }
}

const whole = (path: string): string => join(root, path)
matrix(process.argv.slice(2), {
  makers: { cpu: onCpu, webgl: onWebgl },
  read: (path) => readFileSync(whole(path), 'utf8'),
  write: (path, text) => writeFileSync(whole(path), text),
  out: console.log,
  err: console.error,
}).then(
  (code) => {
    process.exitCode = code
  },
  (error: unknown) => {
    console.error(error instanceof Error ? error.message : error)
    process.exitCode = 1
  },
)
