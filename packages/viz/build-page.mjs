// Bundles the report page's script (src/page) and style sheet into src/generated/page.ts, with the hashes that the
// page's content policy names. Run `node build-page.mjs` after a change; a test fails while the file is out of date.
import { createHash } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const here = fileURLToPath(new URL('.', import.meta.url))

/** @returns {Promise<string>} the text of src/generated/page.ts */
export async function buildPage() {
  const bundle = async (options) =>
    (
      await build({
        bundle: true,
        write: false,
        target: 'es2022',
        charset: 'ascii',
        legalComments: 'none',
        logLevel: 'error',
        absWorkingDir: here,
        ...options,
      })
    ).outputFiles[0].text
  const script = (await bundle({ entryPoints: ['src/page/main.ts'], minify: true, format: 'iife' })).trim()
  const sheet = await bundle({ entryPoints: ['src/page/style.ts'], format: 'esm' })
  const { style } = await import(`data:text/javascript;base64,${Buffer.from(sheet).toString('base64')}`)
  const css = (
    await bundle({ stdin: { contents: style(), loader: 'css' }, minify: true, charset: 'utf8' })
  ).trim()
  if (/<\/script|<!--/i.test(script) || /<\/style/i.test(css))
    throw new Error('build-page: the bundle would end its own element')
  const hash = (text) => `sha256-${createHash('sha256').update(text, 'utf8').digest('base64')}`
  return `// biome-ignore-all format lint: made by build-page.mjs from src/page; do not edit.
export const pageScript = ${JSON.stringify(script)}
export const pageScriptHash = '${hash(script)}'
export const pageStyle = ${JSON.stringify(css)}
export const pageStyleHash = '${hash(css)}'
`
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  mkdirSync(`${here}src/generated`, { recursive: true })
  writeFileSync(`${here}src/generated/page.ts`, await buildPage())
}
