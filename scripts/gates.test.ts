import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { announced, unannounced } from './gates/changesets.js'
import { archiveBudget, archiveFiles, tarballErrors } from './gates/published.js'
import { bundledBytes, judge } from './gates/sizes.js'
import { structureErrors } from './gates/structure.js'
import { unusedErrors } from './gates/unused.js'

const temporary = mkdtempSync(join(tmpdir(), 'heed-gates-'))
afterAll(() => rmSync(temporary, { recursive: true }))
let count = 0
/** Writes files (path → text) into a new folder. */
function folderOf(files: Record<string, string>): string {
  const folder = join(temporary, String(count++))
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(join(folder, path, '..'), { recursive: true })
    writeFileSync(join(folder, path), text)
  }
  return folder
}

const manifest = {
  name: 'fixture',
  version: '1.0.0',
  license: 'MIT',
  type: 'module',
  sideEffects: false,
  files: ['dist'],
  exports: {
    '.': { types: './dist/index.d.ts', default: './dist/index.js' },
    './package.json': './package.json',
  },
}
const good = {
  'package.json': JSON.stringify(manifest),
  'README.md': '# fixture\n',
  'src/index.ts': `export { one } from './one.js'\n`,
  'src/one.test.ts': '',
  'dist/index.js': 'export const one = 1\n',
  'dist/index.d.ts': 'export declare const one = 1\n',
}
const withManifest = (change: object) => ({
  ...good,
  'package.json': JSON.stringify({ ...manifest, ...change }),
})

describe('structure', () => {
  const errors = (files: Record<string, string>) => structureErrors(folderOf(files), 'packages/fixture')
  const without = (path: string) => Object.fromEntries(Object.entries(good).filter(([key]) => key !== path))
  test('a good package is green', () => expect(errors(good)).toEqual([]))
  test('names a missing README, index and test', () => {
    expect(errors(without('README.md'))).toEqual(['packages/fixture has no README.md'])
    expect(errors(without('src/index.ts'))).toEqual(['packages/fixture has no src/index.ts'])
    expect(errors(without('src/one.test.ts'))).toEqual(['packages/fixture has no test'])
  })
  test('refuses an index that does not name what it exports', () => {
    expect(errors({ ...good, 'src/index.ts': `export * from './one.js'\n` })).toHaveLength(1)
    expect(errors({ ...good, 'src/index.ts': 'export {}\n' })).toHaveLength(1)
    expect(errors({ ...good, 'src/index.ts': 'export default 1\n' })).toHaveLength(1)
  })
  test('refuses side effects and types that are not first', () => {
    expect(errors(withManifest({ sideEffects: true }))[0]).toMatch(/sideEffects/)
    const exports = {
      '.': { default: './dist/index.js', types: './dist/index.d.ts' },
      './package.json': './package.json',
    }
    expect(errors(withManifest({ exports }))[0]).toMatch(/does not start with "types"/)
  })
})

describe('published', () => {
  const pack = (files: Record<string, string>): Uint8Array => {
    const folder = folderOf(files)
    execFileSync('npm', ['pack', '--silent', '--ignore-scripts'], {
      cwd: folder,
      stdio: ['ignore', 'ignore', 'ignore'],
    })
    return new Uint8Array(readFileSync(join(folder, 'fixture-1.0.0.tgz')))
  }
  test('a good archive is green and lists its files', async () => {
    const tarball = pack(good)
    expect(archiveFiles(tarball).sort()).toEqual([
      'README.md',
      'dist/index.d.ts',
      'dist/index.js',
      'package.json',
    ])
    expect(await tarballErrors('packages/fixture', tarball)).toEqual([])
  })
  test('publint sees an export whose file is missing', async () => {
    const exports = {
      '.': { types: './dist/index.d.ts', default: './dist/gone.js' },
      './package.json': './package.json',
    }
    expect((await tarballErrors('packages/fixture', pack(withManifest({ exports })))).join()).toMatch(
      /publint.*gone\.js/,
    )
  })
  test('Are The Types Wrong sees an import without its ending', async () => {
    const files = {
      ...good,
      'dist/index.d.ts': `export { one } from './one'\n`,
      'dist/one.d.ts': 'export declare const one = 1\n',
    }
    expect((await tarballErrors('packages/fixture', pack(files))).join()).toMatch(
      /Are The Types Wrong.*InternalResolutionError/,
    )
  })
  test('refuses tests in the archive', async () => {
    const files = { ...good, 'dist/one.test.js': '' }
    expect(await tarballErrors('packages/fixture', pack(files))).toEqual([
      'packages/fixture: the archive has dist/one.test.js',
    ])
  })
})

describe('sizes', () => {
  test('a budget is kB of 1000 bytes and is needed', () => {
    expect(judge('a', 1999, 2)).toEqual({ note: 'a: 2.0 kB of 2 kB' })
    expect(judge('a', 2001, 2).error).toMatch(/over its budget/)
    expect(judge('a', 1, undefined).error).toMatch(/has no limit/)
  })
  test('what is bundled is minified and gzipped', async () => {
    const small = await bundledBytes('export const one = 1')
    expect(small).toBeLessThan(60)
    const noise = Array.from({ length: 2000 }, (_, i) => ((i * 2654435761) >>> 0).toString(36)).join('')
    expect(await bundledBytes(`export const noise = '${noise}' // a comment that goes away`)).toBeGreaterThan(
      5000,
    )
  })
})

test('an archive over its budget is red', () => {
  expect(archiveBudget('model-tiny', 4_000_001, { 'model-tiny': 4000 })).toEqual([
    'packages/model-tiny: the archive has 4000.0 kB of 4000 kB',
  ])
  expect(archiveBudget('model-tiny', 4_000_000, { 'model-tiny': 4000 })).toEqual([])
  expect(archiveBudget('nn', 9e9, { 'model-tiny': 4000 })).toEqual([])
})

test('an unused file or export is red', () => {
  const issues = [
    { file: 'a.ts', files: [{}] },
    { file: 'b.ts', exports: [{ name: 'two', line: 3 }] },
    { file: 'c.ts' },
  ]
  expect(unusedErrors({ issues })).toEqual([
    'a.ts is imported by nothing',
    'b.ts:3 exports two, which nothing imports: drop the export or the code',
  ])
})

describe('changesets', () => {
  test('reads the front matter only', () => {
    const text = `---\n'@heed/tensor': patch\n"heed": minor\n---\n\n'@heed/nn': patch is not announced here\n`
    expect([...announced([text])]).toEqual(['@heed/tensor', 'heed'])
  })
  test('goes red on a package that nobody announced', () => {
    expect(unannounced(['@heed/nn', 'heed'], new Set(['heed']))).toEqual([
      '@heed/nn changed since its last release, but no changeset names it: run pnpm changeset',
    ])
  })
})
