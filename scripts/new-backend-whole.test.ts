// What a stranger does: `pnpm new-backend NAME` in a copy of the workspace, then what it says comes next, then what CI asks of
// every package. It needs what `pnpm build` makes.
import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { root } from './gates/workspace.js'

const LEFT = /^(node_modules|\.git|\.turbo|\.bench|\.readmes-.*|run)$/
const pnpm = ['npx', '-y', 'pnpm@12.21.0']

describe('a new backend in a workspace', { timeout: 300_000 }, () => {
  let copy: string
  const said: Record<string, string> = {}
  /** @throws Error with what the command printed */
  const run = (...[command, ...args]: string[]): string => {
    const { CI: _, ...env } = process.env
    for (const name of Object.keys(env)) if (/^(VITEST|npm_)/.test(name)) delete env[name]
    try {
      return execFileSync(command, args, { cwd: copy, encoding: 'utf8', env, stdio: 'pipe' })
    } catch (error) {
      const { stdout, stderr } = error as { stdout: string; stderr: string }
      throw new Error(`${[command, ...args].join(' ')}\n${stdout}\n${stderr}`)
    }
  }

  beforeAll(() => {
    if (!existsSync(join(root, 'packages/tensor/dist'))) throw new Error('nothing is built: run pnpm build')
    copy = mkdtempSync(join(tmpdir(), 'heed-new-backend-'))
    cpSync(root, copy, { recursive: true, filter: (path) => path === root || !LEFT.test(basename(path)) })
    said.made = run(...pnpm, '-s', 'new-backend', 'my-gpu')
    said.installed = run(...pnpm, 'install', '--prefer-offline', '--no-frozen-lockfile')
  }, 300_000)
  afterAll(() => {
    if (copy) rmSync(copy, { recursive: true })
  })

  it('says what to do next', () => {
    expect(said.made).toBe(`packages/backend-my-gpu is there. Next:
  npx -y pnpm@12.21.0 install
  npx -y pnpm@12.21.0 exec vitest packages/backend-my-gpu
then read packages/backend-my-gpu/README.md
`)
  })
  it('has a first op that passes every case, and a test that is red when it is wrong', () => {
    const test = [...pnpm, 'exec', 'vitest', 'run', 'packages/backend-my-gpu']
    expect(run(...test)).toMatch(/\n1\d\d\d passed, 0 failed, 0 skipped\n/)
    const source = join(copy, 'packages/backend-my-gpu/src/index.ts')
    const text = readFileSync(source, 'utf8')
    writeFileSync(source, text.replace('as number) + (', 'as number) - ('))
    try {
      expect(readFileSync(source, 'utf8')).not.toBe(text)
      expect(() => run(...test, '-t', 'add')).toThrow(/\d+ passed, [1-9]\d* failed/)
    } finally {
      writeFileSync(source, text)
    }
  })
  it('passes what CI asks of a package', () => {
    run(...pnpm, '--filter', '@heed/backend-my-gpu', 'build')
    run(...pnpm, 'lint')
    run(...pnpm, 'typecheck')
    let gates = ''
    try {
      gates = run(...pnpm, 'exec', 'tsx', 'scripts/gates.ts')
    } catch (error) {
      // another package may be red, which CI says elsewhere
      gates = (error as Error).message
    }
    expect(gates.match(/✗.*my-gpu.*/g)).toBeNull()
    expect(gates).toMatch(/backend-my-gpu: 0\.\d kB of 10 kB/)
  })
  it('refuses a name that is taken, or cannot be one, in one line', () => {
    for (const [name, message] of [
      ['my-gpu', 'new-backend: packages/backend-my-gpu is there already; use another name'],
      ['GPU', "new-backend: 'GPU' is no package name; use small letters, digits and dashes"],
      ['new', "new-backend: 'new' means something else in the code; use another name"],
    ])
      expect(() => run('node', 'scripts/new-backend.mjs', name)).toThrow(new RegExp(`\\n\\n${message}\\n$`))
  })
})
