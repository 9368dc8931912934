// Every package looks alike: README, index, a test beside the source, the same few fields in package.json, and an
// index that names what it exports. Whether the names are good is for a reader to judge.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { stale } from '../packages.mjs'
import { filesBelow, type Gate, packageTable, readJson, root } from './workspace.js'

/** What is wrong with one package folder (an absolute path); `home` is how messages name it. */
export function structureErrors(folder: string, home: string): string[] {
  const errors: string[] = []
  const index = join(folder, 'src/index.ts')
  if (!existsSync(join(folder, 'README.md'))) errors.push(`${home} has no README.md`)
  if (!existsSync(index)) errors.push(`${home} has no src/index.ts`)
  else {
    const text = readFileSync(index, 'utf8')
    if (/^\s*export\s+\*/m.test(text))
      errors.push(`${home}/src/index.ts has an \`export *\`: name what it exports`)
    if (/^\s*export\s+default\b/m.test(text))
      errors.push(`${home}/src/index.ts has a default export: use a name`)
    if (/^\s*export\s*\{\s*\}\s*$/.test(text)) errors.push(`${home}/src/index.ts exports nothing`)
  }
  if (
    ![...filesBelow(join(folder, 'src')), ...filesBelow(join(folder, 'test'))].some((file) =>
      file.endsWith('.test.ts'),
    )
  )
    errors.push(`${home} has no test`)
  const manifest = readJson(join(folder, 'package.json'))
  if (manifest.sideEffects !== false) errors.push(`${home}/package.json does not say "sideEffects": false`)
  if (manifest.type !== 'module') errors.push(`${home}/package.json does not say "type": "module"`)
  for (const [entry, target] of Object.entries(manifest.exports ?? {}))
    if (entry !== './package.json' && Object.keys(target as object)[0] !== 'types')
      errors.push(`${home}/package.json: exports["${entry}"] does not start with "types"`)
  if (manifest.exports?.['./package.json'] !== './package.json')
    errors.push(`${home}/package.json does not export ./package.json`)
  return errors
}

export const structure: Gate = (notes) => {
  const lines = { source: 0, tests: 0 }
  for (const name of Object.keys(packageTable))
    for (const file of filesBelow(join(root, 'packages', name)).filter(
      (file) => /\.ts$/.test(file) && !file.includes('/generated/'),
    ))
      lines[/\.test\.ts$|\/test\//.test(file) ? 'tests' : 'source'] +=
        readFileSync(file, 'utf8').split('\n').length - 1
  notes.push(
    `${Object.keys(packageTable).length} packages, ${lines.source} lines of source, ${lines.tests} lines of tests`,
  )
  return Object.keys(packageTable).flatMap((name) =>
    structureErrors(join(root, 'packages', name), `packages/${name}`),
  )
}

export const generated: Gate = () =>
  (stale() as string[]).map(
    (path) => `${path} is not what scripts/packages.mjs writes: run node scripts/packages.mjs`,
  )
