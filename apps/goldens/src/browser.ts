// Runs collections in a headless Chromium: a page of its own for each, so that what one holds or breaks is gone with it.
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Page } from 'playwright'
import { findChromium, launchChromium } from '../../../scripts/chromium.js'
import { wholeCollection } from './case.js'
import { UsageError } from './errors.js'
import type { Found } from './find.js'
import type { Task } from './page.js'
import type { Row } from './run.js'
import { serve } from './serve.js'

export interface Runner {
  /** What ran: the backend, and in a browser what renders. */
  readonly about: string
  rows(found: Found, only: readonly string[]): AsyncIterable<Row>
  close(): Promise<void>
}

// this module runs from src in tests and from dist else
const pageFolder = fileURLToPath(new URL('../dist/page/', import.meta.url))

/**
 * @param err what the page complains of
 * @throws UsageError without a Chromium, or where the backend cannot be made in it
 */
export async function openBrowser(
  backend: string,
  weights: string,
  err: (text: string) => void,
): Promise<Runner> {
  const path = await findChromium()
  if (!path)
    throw new UsageError(
      `--backend ${backend} runs in Chromium, and none was found: apt-get install -y --no-install-recommends chromium, or set CHROMIUM_PATH to one`,
    )
  if (!existsSync(`${pageFolder}index.html`)) throw new UsageError('the page is not built: run pnpm build')
  const [server, browser] = await Promise.all([serve(pageFolder), launchChromium(path)])
  const close = async (): Promise<void> => {
    await browser.close()
    server.close()
  }
  const newPage = async (): Promise<Page> => {
    const page = await browser.newPage()
    page.on('pageerror', (error) => err(`in the page: ${error.message}\n`))
    page.on('console', (said) => {
      // whether a file is there is found out by asking for it, and nobody measures here
      const isUsual = /^Failed to load resource|GL Driver Message \(OpenGL, Performance/.test(said.text())
      if (['warning', 'error'].includes(said.type()) && !isUsual) err(`in the page: ${said.text()}\n`)
    })
    await page.goto(server.url)
    await page.waitForFunction(() => globalThis.heedGoldens !== undefined)
    return page
  }
  let renderer: string
  try {
    const page = await newPage()
    const answer = await page.evaluate(
      (name) =>
        globalThis.heedGoldens?.renderer(name).then(
          (renderer) => ({ renderer }),
          (error) => ({ error: String(error?.message ?? error) }),
        ),
      backend,
    )
    if (!answer || 'error' in answer) throw new UsageError(`--backend ${backend}: ${answer?.error}`)
    renderer = answer.renderer
    await page.close()
  } catch (error) {
    await close()
    throw error
  }
  return {
    about: `${backend}, ${renderer}, Chromium ${browser.version()}`,
    close,
    async *rows(found, only) {
      const page = await newPage()
      const task: Task = {
        backend,
        found: { ...found, dir: server.share(found.dir) },
        weights: server.share(weights),
        only,
      }
      // a page that runs out of memory answers nothing more
      const crashed = new Promise<never>((_, fail) =>
        page.on('crash', () => fail(new Error('the page crashed'))),
      )
      crashed.catch(() => undefined)
      try {
        await page.evaluate((t) => globalThis.heedGoldens?.begin(t), task)
        for (;;) {
          const row = await Promise.race([page.evaluate(() => globalThis.heedGoldens?.next()), crashed])
          if (!row) break
          yield row
        }
      } catch (error) {
        const reason = error instanceof Error ? error.message.split('\n')[0] : String(error)
        yield {
          collection: found.name,
          case: wholeCollection,
          status: 'fail',
          error: null,
          tolerance: null,
          reason,
        }
      } finally {
        await page.close()
      }
    },
  }
}
