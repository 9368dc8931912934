// Where the tests find a Chromium: $CHROMIUM_PATH, the system's, Chrome, else the one inside npm's @sparticuz/chromium
// (linux-x64). A browser that does not start (missing libraries) counts as absent. Tests without one skip with one loud
// line, and fail where CI is set.
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import type { Browser } from 'playwright'

/** Flags for headless test runs: no sandbox (containers), no background traffic. */
export const chromiumArgs = [
  '--no-sandbox',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

const starts = (path: string): boolean => {
  try {
    execFileSync(path, ['--version'], { stdio: 'ignore', timeout: 30_000 })
    return true
  } catch {
    return false
  }
}

/** Path of a Chromium that starts. `CHROMIUM_PATH=npm` asks for npm's own, `CHROMIUM_PATH=none` for none. */
export async function findChromium(): Promise<string | undefined> {
  const asked = process.env.CHROMIUM_PATH
  if (asked === 'none') return undefined
  const system = [
    asked,
    '/usr/bin/chromium',
    '/usr/bin/chromium-browser',
    '/usr/bin/google-chrome',
    '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
  ]
  if (asked !== 'npm') for (const path of system) if (path && existsSync(path) && starts(path)) return path
  if (process.platform !== 'linux' || process.arch !== 'x64') return undefined
  try {
    const { default: chromium } = await import('@sparticuz/chromium')
    const path = await chromium.executablePath() // unpacks once to the temporary folder
    return starts(path) ? path : undefined
  } catch {
    return undefined
  }
}

/**
 * The browser for `what`, or undefined after one loud line.
 * @throws Error where CI is set: a CI run without browser tests is no CI run.
 */
export async function chromiumOrSkip(what: string): Promise<string | undefined> {
  const path = await findChromium()
  if (path) return path
  const line = `no Chromium: ${what} did NOT run (apt-get install -y --no-install-recommends chromium, or set CHROMIUM_PATH)`
  if (process.env.CI) throw new Error(line)
  console.warn(`\n*** ${line} ***\n`)
  return undefined
}

/** Opens a headless Chromium; the caller closes it. */
export async function launchChromium(path?: string): Promise<Browser> {
  const executablePath = path ?? (await findChromium())
  if (!executablePath) throw new Error('no Chromium: apt-get install -y --no-install-recommends chromium')
  const { chromium } = await import('playwright')
  return chromium.launch({ executablePath, headless: true, args: chromiumArgs })
}
