// `pnpm new-backend NAME` makes packages/backend-NAME of apps/backend-template and enters it where packages are listed: a first
// kernel, the conformance test that is green, and a README with the next steps.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const TEMPLATE = 'apps/backend-template'
const FILES = ['README.md', 'src/index.ts', 'test/template.test.ts']

/** `my-gpu` as a name in code: myGpu. */
const camel = (name) => name.replace(/-([a-z0-9])/g, (_, letter) => letter.toUpperCase())

/** Puts `line` before the first line that begins with `before`. */
function insert(path, text, before, line) {
  const at = text.indexOf(before)
  if (at < 0) throw new Error(`new-backend: ${path} has no ${before.trim()}; enter the package by hand`)
  return `${text.slice(0, at)}${line}\n${text.slice(at)}`
}

/** Whether JavaScript lets a function have this name. */
function isFree(name) {
  try {
    new Function(`'use strict'; let ${name}`)
    return name !== 'await'
  } catch {
    return false
  }
}

/**
 * Every file to write, path from the root → text. `read` gives the text of a path from the root.
 * @throws Error for a name that cannot be a package, or that its code cannot have
 */
export function newBackend(name, read) {
  if (!/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/.test(name))
    throw new Error(`new-backend: '${name}' is no package name; use small letters, digits and dashes`)
  const words = new Set(FILES.flatMap((file) => read(`${TEMPLATE}/${file}`).match(/\w+/g)))
  if (name === 'template' || !isFree(camel(name)) || words.has(camel(name)))
    throw new Error(`new-backend: '${name}' means something else in the code; use another name`)
  const files = {}
  for (const file of FILES) {
    const path = `packages/backend-${name}/${file.replace('template', name)}`
    files[path] = read(`${TEMPLATE}/${file}`)
      .replace(/`pnpm new-backend NAME` copies[\s\S]*?comes along\.\n/, 'Made by `pnpm new-backend`.\n')
      .replaceAll('backend-template', `backend-${name}`)
      .replaceAll(/'template/g, `'${name}`)
      .replaceAll(/`template /g, `\`${name} `)
      .replaceAll(/\btemplate\b/g, camel(name))
  }
  const edit = (path, before, line) => {
    files[path] = insert(path, read(path), before, line)
  }
  edit(
    'scripts/packages.mjs',
    '  conformance: {',
    `  'backend-${name}': { description: 'Kernels of ${name} for @heed/tensor', imports: ['tensor'] },`,
  )
  edit('scripts/sizes.json', '    "conformance":', `    "backend-${name}": 10,`)
  edit('docs/architecture.md', '| `conformance` |', `| \`backend-${name}\` | kernels of ${name} | tensor |`)
  files[`.changeset/backend-${name}.md`] =
    `---\n'@heed/backend-${name}': patch\n---\n\nThe first kernel of \`@heed/backend-${name}\`.\n`
  return files
}

if (resolve(process.argv[1] ?? '') === fileURLToPath(import.meta.url)) {
  const [name, ...more] = process.argv.slice(2)
  if (!name || more.length > 0) {
    console.error('usage: pnpm new-backend NAME')
    process.exit(1)
  }
  const fail = (message) => {
    console.error(message)
    process.exit(1)
  }
  if (existsSync(`${root}packages/backend-${name}`))
    fail(`new-backend: packages/backend-${name} is there already; use another name`)
  let files = {}
  try {
    files = newBackend(name, (p) => readFileSync(root + p, 'utf8'))
  } catch (error) {
    fail(error.message)
  }
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(root + path), { recursive: true })
    writeFileSync(root + path, text)
  }
  const { generated } = await import('./packages.mjs')
  for (const [path, text] of generated())
    if (path.startsWith(`packages/backend-${name}/`)) writeFileSync(root + path, text)
  console.log(`packages/backend-${name} is there. Next:
  npx -y pnpm@12.21.0 install
  npx -y pnpm@12.21.0 exec vitest packages/backend-${name}
then read packages/backend-${name}/README.md`)
}
