import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { transform } from 'esbuild'
import { describe, expect, it } from 'vitest'
import { programOf } from './gates/readmes.js'
import { root } from './gates/workspace.js'
import { newBackend } from './new-backend.mjs'

const read = (path: string): string => readFileSync(join(root, path), 'utf8')

describe('a new backend', () => {
  it('is a package with a kernel, a conformance test and a program, and knows nothing of the template', async () => {
    const files = newBackend('my-gpu', read) as Record<string, string>
    const own = Object.keys(files).filter((path) => path.startsWith('packages/'))
    expect(own).toEqual([
      'packages/backend-my-gpu/README.md',
      'packages/backend-my-gpu/src/index.ts',
      'packages/backend-my-gpu/test/my-gpu.test.ts',
    ])
    for (const path of own) expect(files[path]).not.toMatch(/template/i)
    const source = files['packages/backend-my-gpu/src/index.ts']
    expect(source).toContain('export function myGpu(): Backend')
    expect(source).toContain("name: 'my-gpu'")
    for (const path of own.filter((p) => p.endsWith('.ts')))
      await expect(transform(files[path], { loader: 'ts' })).resolves.toBeDefined()
    expect(files[own[2]]).toContain('testBackend(\n  myGpu')
    const program = programOf(files[own[0]])
    expect(program).toMatchObject({ expected: 'add native\nsum reference\n66' })
    expect((program as { code: string }).code).toContain("from '@heed/backend-my-gpu'")
  })
  it('is entered where packages are listed, before conformance', () => {
    const files = newBackend('ane', read) as Record<string, string>
    expect(files['scripts/packages.mjs']).toMatch(/'backend-ane': \{.*\},\n {2}conformance: \{/)
    expect(JSON.parse(files['scripts/sizes.json']).packages['backend-ane']).toBe(10)
    expect(files['docs/architecture.md']).toMatch(/\| `backend-ane` \| .* \| tensor \|\n\| `conformance` \|/)
    expect(files['.changeset/backend-ane.md']).toContain("'@heed/backend-ane': patch")
  })
  it('needs a name that a package can have', () => {
    for (const name of ['', 'GPU', '-x', 'a b', '../x'])
      expect(() => newBackend(name, read)).toThrow(/no package name/)
    for (const name of ['new', 'class', 'await', 'add', 'kernels', 'template', 'tensor'])
      expect(() => newBackend(name, read)).toThrow(`'${name}' means something else in the code; use another`)
  })
  it('takes one name', () => {
    // none that a package could have: a mistake here must make no package
    for (const names of [[], ['GPU', 'x']]) {
      const { status, stderr } = spawnSync('node', ['scripts/new-backend.mjs', ...names], {
        cwd: root,
        encoding: 'utf8',
      })
      expect([status, stderr]).toEqual([1, 'usage: pnpm new-backend NAME\n'])
    }
  })
})
