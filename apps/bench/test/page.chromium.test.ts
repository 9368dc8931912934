// The page that measures, in Chromium, without any peer: with and without isolation, by keyboard, on a narrow screen.
import { mkdtempSync, rmSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Browser, Page } from 'playwright'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { findChromium, launchChromium } from '../../../scripts/chromium.js'
import type { ResultFile } from '../src/result.js'
import { type Served, serve } from '../src/serve.js'

describe.skipIf(!(await findChromium()))('the page that measures', () => {
  let browser: Browser
  let isolated: Served
  let plain: Served
  let noPeers: string
  const complaints: string[] = []

  beforeAll(async () => {
    browser = await launchChromium()
    noPeers = mkdtempSync(join(tmpdir(), 'heed-bench-page-'))
    isolated = await serve({ port: 0, peersFolder: noPeers })
    plain = await serve({ port: 0, peersFolder: noPeers, isolated: false })
  })
  afterAll(async () => {
    await browser?.close()
    isolated?.close()
    plain?.close()
    if (noPeers) rmSync(noPeers, { recursive: true })
    expect(complaints).toEqual([])
  })

  const open = async (url: string, width = 1000): Promise<Page> => {
    const page = await browser.newPage({ viewport: { width, height: 800 } })
    page.on('console', (m) => ['error', 'warning'].includes(m.type()) && complaints.push(m.text()))
    page.on('pageerror', (e) => complaints.push(e.message))
    page.on('request', (r) => {
      const { protocol, hostname } = new URL(r.url())
      if (protocol === 'http:' && hostname !== '127.0.0.1') complaints.push(`request to ${r.url()}`)
    })
    await page.goto(url)
    await page.waitForSelector('#status', { state: 'attached' })
    return page
  }
  const ended = (page: Page, text: RegExp): Promise<void> =>
    expect.poll(() => page.textContent('#status'), { timeout: 50_000 }).toMatch(text)
  const rows = (page: Page): Promise<string[]> => page.locator('#results tbody th').allTextContents()

  test('by keyboard: a case, its bars, its numbers as a file', async () => {
    const page = await open(isolated.url)
    const notes = await page.locator('.note').allTextContents()
    expect(notes).toHaveLength(1)
    expect(notes[0]).toMatch(
      /not measured: ort-web\/wasm, tfjs\/wasm, tfjs\/webgl, jax-js\/wasm\. Run npm ci/,
    )
    expect(await page.locator('input[name=runner]:disabled').count()).toBe(4)
    await page.focus('input[name=case]')
    await page.keyboard.type('gemm/128')
    await page.keyboard.press('Enter')
    await ended(page, /^Done: 1 case in \d+ s\.$/)
    const threads = await page.evaluate('navigator.hardwareConcurrency')
    expect(await rows(page)).toEqual([`heed/cpu ×${threads}`])
    expect(await page.locator('#about').textContent()).toMatch(
      /One core beside the samples: \d+\.\d GFLOP\/s/,
    )
    expect(await page.locator('#plots svg').count()).toBe(1) // the roofline; no lengths were measured
    const [download] = await Promise.all([page.waitForEvent('download'), page.click('#save')])
    const file = JSON.parse(await readFile(await download.path(), 'utf8')) as ResultFile
    expect(Object.keys(file)).toEqual(['machine', 'versions', 'rows'])
    expect(file.rows).toHaveLength(1)
    expect(file.rows[0]).toMatchObject({ case: 'gemm/128', runner: 'heed/cpu', threads })
    expect(file.rows[0].median_ms).toBeGreaterThan(0)
    expect(file.rows[0].max_error).toBeLessThan(1e-5)
    // another number of threads is another page, which goes on by itself
    await page.check('input[name=threads][value="1"]')
    await page.click('button.main')
    await page.waitForURL(/threads=1/)
    await ended(page, /^Done/)
    expect(await rows(page)).toEqual(['heed/cpu ×1'])
    await page.close()
  })

  test('WebGL is measured when it is chosen, to the end of what the GPU does', async () => {
    const page = await open(`${isolated.url}?case=gemm/128&runner=heed/webgl&threads=1&start=1`)
    await ended(page, /^Done: 1 case in \d+ s\.$/)
    expect(await rows(page)).toEqual(['heed/webgl ×1'])
    await page.close()
  })

  test('stops when it is told to, and begins anew', async () => {
    const page = await open(`${isolated.url}?case=attention/*&threads=1&start=1`)
    await expect.poll(() => page.textContent('#status')).toMatch(/attention/)
    await page.focus('#stop')
    await page.keyboard.press('Enter')
    await ended(page, /^Stopped\.$/)
    expect(await page.evaluate('document.activeElement.textContent')).toBe('Start')
    await page.fill('input[name=case]', 'softmax/1536x128')
    await page.keyboard.press('Enter')
    await ended(page, /^Done: 1 case/)
    await page.close()
  })

  test('without isolation it has one thread and says why', async () => {
    const page = await open(`${plain.url}?case=gemm/128&start=1`)
    expect(await page.locator('.note').first().textContent()).toMatch(
      /not cross-origin isolated, so everything has one thread: serve it with the headers/,
    )
    expect(await page.locator('input[name=threads]').count()).toBe(1)
    await ended(page, /^Done/)
    expect(await rows(page)).toEqual(['heed/cpu ×1'])
    await page.close()
  })

  test('what cannot be meant is said in one line', async () => {
    const page = await open(`${isolated.url}?case=nothing-like-it&start=1`)
    await ended(page, /^No case matches nothing-like-it/)
    await page.fill('input[name=case]', '')
    const checked = page.locator('input[name=group]:checked')
    while (await checked.count()) await checked.first().uncheck()
    await page.click('button.main')
    await ended(page, /^Choose some cases\.$/)
    await page.uncheck('input[name=runner]:checked')
    await page.click('button.main')
    await ended(page, /^Choose a runner\.$/)
    await page.close()
  })

  test('fits a screen of 320 pixels, every control has a name', async () => {
    const page = await open(`${isolated.url}?case=gemm/128&threads=1&start=1`, 320)
    await ended(page, /^Done/)
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(320)
    expect(
      await page.evaluate(
        `[...document.querySelectorAll('input')].filter((i) => !i.labels.length || !i.labels[0].textContent.trim()).length`,
      ),
    ).toBe(0)
    await page.close()
  })
})
