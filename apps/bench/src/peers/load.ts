/** Peers live in a folder with a lockfile of their own, installed by the first run that wants one. */
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'
import { UsageError } from '../errors.js'
import { peersFolder } from '../folders.js'

const require = createRequire(`${peersFolder}/package.json`)

/** A CommonJS package; `fresh` gives another copy with another state. */
export function requirePeer<T>(name: string, fresh?: RegExp): T {
  if (fresh) for (const file of Object.keys(require.cache)) if (fresh.test(file)) delete require.cache[file]
  return require(name) as T
}
/** A module; each `copy` has a state of its own. */
export const importPeer = async <T>(file: string, copy = ''): Promise<T> =>
  (await import(`${pathToFileURL(`${peersFolder}/node_modules/${file}`).href}${copy && `?${copy}`}`)) as T

/** Package → installed version. */
export const versionsOf = (...names: string[]): Record<string, string> =>
  Object.fromEntries(
    names.map((name) => [
      name,
      (
        JSON.parse(readFileSync(`${peersFolder}/node_modules/${name}/package.json`, 'utf8')) as {
          version: string
        }
      ).version,
    ]),
  )

/**
 * Installs all peers if none is there.
 * @throws UsageError when that fails, or when a package is missing.
 */
export function ensurePeers(
  wanted: readonly { name: string; packages: readonly string[] }[],
  say: (line: string) => void,
  folder = peersFolder,
): void {
  if (wanted.length === 0) return
  if (!existsSync(`${folder}/node_modules`)) {
    say('installing the peers into apps/bench/peers, once (about 900 MB): npm ci --ignore-scripts')
    const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm'
    const { status } = spawnSync(npm, ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], {
      cwd: folder,
      stdio: ['ignore', 2, 2],
      shell: process.platform === 'win32',
    })
    if (status !== 0)
      throw new UsageError(
        'the peers could not be installed: run npm ci --ignore-scripts in apps/bench/peers, or measure without them: --peer none',
      )
  }
  for (const { name, packages } of wanted)
    for (const p of packages)
      if (!existsSync(`${folder}/node_modules/${p}/package.json`))
        throw new UsageError(
          `peer ${name} is not installed (${p} is missing): run npm ci --ignore-scripts in apps/bench/peers, or leave it out`,
        )
}
