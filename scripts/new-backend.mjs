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

/**
 * Every file to write, path from the root → text. `read` gives the text of a path from the root.
 * @throws Error for a name that cannot be a package
 */
export function newBackend(name, read) {
  if (!/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/.test(name))
    throw new Error(`new-backend: '${name}' is no package name; use small letters, digits and dashes`)
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
  if (existsSync(`${root}packages/backend-${name}`)) {
    console.error(`packages/backend-${name} is there already`)
    process.exit(1)
  }
  for (const [path, text] of Object.entries(newBackend(name, (p) => readFileSync(root + p, 'utf8')))) {
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
