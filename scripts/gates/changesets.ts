// Every published package that changed since its last release is named in a changeset. Before the first release
// every package counts as changed.
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Gate, packageTable, publishedName, readJson, root } from './workspace.js'

/** The packages that changesets announce: changeset texts → names. */
export function announced(texts: string[]): Set<string> {
  const names = new Set<string>()
  for (const text of texts) {
    const front = /^---\n([\s\S]*?)\n---/.exec(text)?.[1] ?? ''
    for (const [, name] of front.matchAll(/^\s*['"]?([@\w/-]+)['"]?\s*:\s*(?:patch|minor|major)\s*$/gm))
      names.add(name ?? '')
  }
  return names
}

/** Errors for the packages that changed without being announced. */
export const unannounced = (changed: string[], names: Set<string>): string[] =>
  changed
    .filter((name) => !names.has(name))
    .map((name) => `${name} changed since its last release, but no changeset names it: run pnpm changeset`)

const git = (...args: string[]) =>
  execFileSync('git', args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })

function changedSinceRelease(folder: string, name: string, version: string): boolean {
  try {
    const tag = `${name}@${version}`
    if (!git('tag', '--list', tag).trim()) return true
    return git('diff', '--name-only', tag, '--', folder, `:!${folder}/CHANGELOG.md`).trim() !== ''
  } catch {
    return true // no repository or no git: nothing is known to be released
  }
}

export const changesets: Gate = () => {
  const folder = join(root, '.changeset')
  const texts = readdirSync(folder)
    .filter((file) => file.endsWith('.md') && file !== 'README.md')
    .map((file) => readFileSync(join(folder, file), 'utf8'))
  const changed = Object.keys(packageTable)
    .filter((name) => {
      const home = `packages/${name}`
      return changedSinceRelease(
        home,
        publishedName(name),
        readJson(join(root, home, 'package.json')).version,
      )
    })
    .map(publishedName)
  return unannounced(changed, announced(texts))
}
