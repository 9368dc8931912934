/** Who measured: the machine and the versions, as far as they can be known. */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { arch, cpus, loadavg, platform, release, totalmem } from 'node:os'
import { app } from './folders.js'

export interface Machine {
  readonly cpu: string
  readonly cores: number
  /** Null where nobody can know. */
  readonly memory_gb: number | null
  readonly os: string
  /** Node and V8, or the browser. */
  readonly engine: string
  /** Load of the last minute when the run began: above 0.3 somebody else was there. */
  readonly load: number | null
}
export const machine = (): Machine => ({
  cpu: cpus()[0]?.model.trim() ?? 'unknown',
  cores: cpus().length,
  memory_gb: Math.round(totalmem() / 2 ** 30),
  os: `${platform()} ${release()} ${arch()}`,
  engine: `Node ${[process.versions.node, ...process.execArgv].join(' ')} (V8 ${process.versions.v8})`,
  load: Number(loadavg()[0].toFixed(2)),
})

/** The workspace's version and commit. */
export function workspaceVersion(): string {
  const { version } = JSON.parse(readFileSync(`${app}/package.json`, 'utf8')) as { version: string }
  try {
    const git = (...args: string[]): string =>
      execFileSync('git', args, { cwd: app, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
    const changed = git('status', '--porcelain', '--untracked-files=no') ? ' with changes' : ''
    return `${version} (${git('rev-parse', '--short', 'HEAD')}${changed})`
  } catch {
    return version
  }
}
