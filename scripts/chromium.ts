// Finds a Chromium for tests and opens it. It downloads nothing: the system's browser, else the one that the npm
// package @sparticuz/chromium carries (linux-x64). Software rendering only: good for correctness, not for timing.
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import type { Browser } from 'playwright'

export const chromiumArgs = [
  '--no-sandbox',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--enable-unsafe-webgpu',
  '--use-webgpu-adapter=swiftshader',
  '--enable-unsafe-swiftshader',
  '--ignore-gpu-blocklist',
]

const systemPaths = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
]

/** Path of a Chromium that starts, or undefined. `CHROMIUM_PATH` wins; `CHROMIUM_PATH=npm` forces npm's. */
export async function findChromium(): Promise<string | undefined> {
  const asked = process.env.CHROMIUM_PATH
  if (asked === 'none') return undefined
  if (asked && asked !== 'npm') {
    if (!existsSync(asked)) throw new Error(`CHROMIUM_PATH is ${asked}, which does not exist`)
    return asked
  }
  const system = asked === 'npm' ? undefined : systemPaths.find((path) => existsSync(path))
  if (system) return system
  if (process.platform !== 'linux' || process.arch !== 'x64') return undefined
  try {
    const { default: chromium } = await import('@sparticuz/chromium')
    const path = await chromium.executablePath() // unpacks once to the temporary folder
    // it needs a few system libraries (libnss3 …) that a bare machine may lack
    return spawnSync(path, ['--version'], { stdio: 'ignore', timeout: 20_000 }).status === 0
      ? path
      : undefined
  } catch {
    return undefined
  }
}

/** Opens a headless Chromium through playwright; the caller closes it. Tests ask `findChromium` first and skip without it. */
export async function launchChromium(path?: string): Promise<Browser> {
  const executablePath = path ?? (await findChromium())
  if (!executablePath) throw new Error('no Chromium: apt-get install -y --no-install-recommends chromium')
  const { chromium } = await import('playwright')
  return chromium.launch({ executablePath, headless: true, args: chromiumArgs })
}
