// Holds the arrows of docs/architecture.md: which package may import which, as scripts/packages.mjs says.
// It looks at what ships (src without tests) strictly; a test may import any package, but only its entry points.
import { readFileSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'
import { type ImportSite, importsOf } from './imports.js'
import { appTable, filesBelow, type Gate, packageTable, publishedName, type Row, root } from './workspace.js'

export interface Module {
  /** Path from the root of the workspace, e.g. packages/nn/src/linear.ts. */
  path: string
  imports: ImportSite[]
}

const isTest = (path: string) => /\.test\.ts$|\/test\//.test(path)

/** What is wrong with the imports of one package or app. `home` is its folder, e.g. packages/nn. */
export function arrowErrors(
  home: string,
  name: string,
  row: Row,
  modules: Module[],
  table: Record<string, Row>,
): string[] {
  const errors: string[] = []
  const isApp = home.startsWith('apps/')
  const entryPoints = new Map<string, string>()
  for (const [target, targetRow] of Object.entries(table))
    for (const entry of ['.', ...Object.keys(targetRow.exports ?? {})])
      entryPoints.set(publishedName(target) + entry.slice(1), target)
  const used = new Set<string>()

  for (const module of modules)
    for (const { specifier, kind, line } of module.imports) {
      const at = `${module.path}:${line}`
      const test = isTest(module.path)
      if (specifier.startsWith('.')) {
        const target = relative('/', resolve('/', module.path, '..', specifier))
        if ((test || isApp) && target.startsWith('scripts/')) continue // shared helpers of what is not published
        if (!target.startsWith(`${home}/`))
          errors.push(`${at} reaches out of ${home} with '${specifier}': import the package by its name`)
        else if (!test && isTest(target.replace(/\.js$/, '.ts')))
          errors.push(`${at} imports the test file '${specifier}' from code that ships`)
        continue
      }
      if (specifier.startsWith('node:')) {
        if (kind === 'value' && !test && !row.node && !isApp)
          errors.push(
            `${at} imports '${specifier}' statically, but ${name} must load in a browser: use await import()`,
          )
        continue
      }
      if (specifier === 'heed' || specifier.startsWith('heed/') || specifier.startsWith('@heed/')) {
        const target = entryPoints.get(specifier)
        if (target === undefined)
          errors.push(`${at} imports '${specifier}', which is not a published entry point (no deep imports)`)
        else if (target === name && !test)
          errors.push(`${at} imports its own package by name: use a relative path`)
        else if (target !== undefined && !test) {
          used.add(target)
          if (row.imports.includes(target)) continue
          if (!row.optionalPeers?.includes(target))
            errors.push(
              `${at} imports '${specifier}', but scripts/packages.mjs gives ${name} no arrow to ${target}`,
            )
          else if (kind === 'value')
            errors.push(
              `${at} imports the optional peer '${specifier}' statically: use import type or await import()`,
            )
        }
        continue
      }
      const dependency = specifier
        .split('/')
        .slice(0, specifier.startsWith('@') ? 2 : 1)
        .join('/')
      if (dependency in (row.peers ?? {})) {
        if (kind === 'value' && !test)
          errors.push(
            `${at} imports the optional peer '${specifier}' statically: use import type or await import()`,
          )
        continue
      }
      if (!test && !isApp && !(dependency in (row.dependencies ?? {})))
        errors.push(`${at} imports '${specifier}', which is not among the dependencies of ${name}`)
    }

  for (const target of [...row.imports, ...(row.optionalPeers ?? [])])
    if (!used.has(target)) errors.push(`${home} lists ${target} in scripts/packages.mjs but never imports it`)
  return errors
}

/** Packages that import each other in a circle, as one line per circle found. */
export function cycleErrors(table: Record<string, Row>): string[] {
  const errors: string[] = []
  const done = new Set<string>()
  const walk = (name: string, path: string[]): void => {
    if (path.includes(name)) {
      errors.push(
        `packages import each other in a circle: ${[...path.slice(path.indexOf(name)), name].join(' → ')}`,
      )
      return
    }
    if (done.has(name)) return
    for (const next of table[name]?.imports ?? []) walk(next, [...path, name])
    done.add(name)
  }
  for (const name of Object.keys(table)) walk(name, [])
  return errors
}

const modulesOf = (home: string): Module[] =>
  ['src', 'test']
    .flatMap((folder) => filesBelow(join(root, home, folder)))
    .filter((file) => /(?<!\.d)\.(tsx?|js)$/.test(file))
    .map((file) => ({ path: relative(root, file), imports: importsOf(file, readFileSync(file, 'utf8')) }))

export const arrows: Gate = () => [
  ...cycleErrors(packageTable),
  ...Object.entries(packageTable).flatMap(([name, row]) =>
    arrowErrors(`packages/${name}`, name, row, modulesOf(`packages/${name}`), packageTable),
  ),
  ...Object.entries(appTable).flatMap(([name, row]) =>
    arrowErrors(`apps/${name}`, name, row, modulesOf(`apps/${name}`), packageTable),
  ),
]
