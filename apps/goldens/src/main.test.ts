// The runner on tiny made-up collections: finding, filtering, printing, exit codes.
import { mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { hasBackend, setBackend } from '@heed/tensor'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { AdapterTable } from './adapters.js'
import type { Collection, GoldenCase, Options, Outcome } from './case.js'
import { main } from './main.js'
import type { Row } from './run.js'

let root = ''
beforeEach(async () => {
  root = await realpath(await mkdtemp(join(tmpdir(), 'heed-goldens-')))
})
afterEach(() => rm(root, { recursive: true }))

const put = async (path: string, content: unknown) => {
  const file = join(root, path)
  await mkdir(dirname(file), { recursive: true })
  await writeFile(file, typeof content === 'string' ? content : JSON.stringify(content))
}

const outcomes: Record<string, Outcome> = {
  'x/good': { status: 'pass', error: 1e-7, tolerance: 1e-6 },
  'x/wide[0,2]': { status: 'pass', error: 1e-3, tolerance: 2e-3, reason: 'widened: why' },
  'y/bad': { status: 'fail', error: Infinity, tolerance: 1, reason: 'got 2' },
  'y/later': { status: 'unsupported', reason: 'not built' },
}
const disposals = vi.fn()
const adapters: AdapterTable = {
  setter: async () => ({
    async *cases(_: Collection, options: Options): AsyncGenerator<GoldenCase> {
      const backend = await options.backend()
      backend.dispose = disposals
      setBackend(backend)
      yield { id: 'one', run: async () => ({ status: hasBackend() ? 'pass' : 'fail' }) }
    },
  }),
  toy: async () => ({
    async *cases({ golden }: Collection, options: Options): AsyncGenerator<GoldenCase> {
      for (const id of (golden.cases as string[] | undefined) ?? Object.keys(outcomes))
        yield { id, run: async () => outcomes[id] ?? Promise.reject(new Error(`no ${id}\nat line 2`)) }
      if (golden.asks)
        yield {
          id: 'backend',
          run: async () => ({ status: 'pass', reason: (await options.backend()).name }),
        }
    },
  }),
  broken: async () => {
    throw new Error('cannot be imported')
  },
  halfway: async () => ({
    async *cases(): AsyncGenerator<GoldenCase> {
      yield { id: 'first', run: async () => ({ status: 'pass' }) }
      throw new Error('file is gone')
    },
  }),
}

async function run(...argv: string[]) {
  let stdout = ''
  let stderr = ''
  const code = await main(argv, {
    cwd: root,
    out: (text) => {
      stdout += text
    },
    err: (text) => {
      stderr += text
    },
    adapters,
  })
  return { code, stdout, stderr, rows: () => JSON.parse(stdout) as Row[] }
}
const ids = (rows: Row[]) => rows.map((r) => `${r.collection} ${r.case} ${r.status}`)

describe('pnpm goldens', () => {
  it('prints the rows as JSON and nothing else, and exits 1 on a failure', async () => {
    await put('a/golden.json', { format: 'toy', version: 1 })
    const { code, stdout, stderr, rows } = await run('.', '--json')
    expect(code).toBe(1)
    expect(stderr).toBe('')
    expect(stdout.startsWith('[')).toBe(true)
    expect(rows()).toEqual([
      { collection: 'a', case: 'x/good', status: 'pass', error: 1e-7, tolerance: 1e-6, reason: null },
      {
        collection: 'a',
        case: 'x/wide[0,2]',
        status: 'pass',
        error: 1e-3,
        tolerance: 2e-3,
        reason: 'widened: why',
      },
      { collection: 'a', case: 'y/bad', status: 'fail', error: null, tolerance: 1, reason: 'got 2' },
      {
        collection: 'a',
        case: 'y/later',
        status: 'unsupported',
        error: null,
        tolerance: null,
        reason: 'not built',
      },
    ])
    expect(Object.keys(rows()[0])).toEqual(['collection', 'case', 'status', 'error', 'tolerance', 'reason'])
  })

  it('prints a line a case, a count per collection and in all, and failures again at the end', async () => {
    await put('a/golden.json', { format: 'toy', version: 1 })
    await put('b/c/golden.json', { format: 'toy', version: 1, cases: ['x/good'] })
    const { stdout } = await run('.')
    const bad = 'fail        a/y/bad  error –, tolerance 1.00e+0  (got 2)'
    expect(stdout.split('\n')).toEqual([
      'pass        a/x/good  error 1.00e-7, tolerance 1.00e-6',
      'pass        a/x/wide[0,2]  error 1.00e-3, tolerance 2.00e-3  (widened: why)',
      bad,
      'unsupported a/y/later  (not built)',
      'pass        b/c/x/good  error 1.00e-7, tolerance 1.00e-6',
      '',
      'Failures:',
      bad,
      '',
      'a: 2 pass, 1 fail, 1 unsupported',
      'b/c: 1 pass, 0 fail, 0 unsupported',
      'backend: cpu',
      'total: 3 pass, 1 fail, 1 unsupported',
      '',
    ])
  })

  it('exits 0 when nothing fails, unsupported or not, and hands the backend on', async () => {
    await put('a/golden.json', { format: 'toy', version: 1, cases: ['x/good', 'y/later'], asks: true })
    for (const name of ['reference', 'cpu']) {
      const { code, rows } = await run('a', '--backend', name, '--json')
      expect(code).toBe(0)
      expect(rows().at(-1)?.reason).toMatch(new RegExp(`^${name}`))
    }
  })

  it('disposes of the backend of a collection, and leaves none behind as the one in use', async () => {
    await put('a/golden.json', { format: 'setter', version: 1 })
    const { code } = await run('a', '--backend', 'reference', '--json')
    expect(code).toBe(0)
    expect(disposals).toHaveBeenCalledTimes(1)
    expect(hasBackend()).toBe(false)
  })

  it('filters by id and by collection/id', async () => {
    await put('a/golden.json', { format: 'toy', version: 1 })
    await put('b/golden.json', { format: 'toy', version: 1 })
    const of = async (...only: string[]) => ids((await run('.', '--json', ...only)).rows())
    expect(await of('--only', 'x/wide[0,2]')).toEqual(['a x/wide[0,2] pass', 'b x/wide[0,2] pass'])
    expect(await of('--only', 'b/x/*')).toEqual(['b x/good pass', 'b x/wide[0,2] pass'])
    expect(await of('--only', 'b/x/good', '--only=a/y/later')).toEqual([
      'a y/later unsupported',
      'b x/good pass',
    ])
    expect(await of('--only', '?/y/bad')).toEqual(['a y/bad fail', 'b y/bad fail'])
  })

  it('says when no case matches, with [] as JSON', async () => {
    await put('a/golden.json', { format: 'toy', version: 1 })
    const { code, stdout, stderr } = await run('.', '--json', '--only', 'z')
    expect([code, stdout]).toEqual([1, '[]\n'])
    expect(stderr).toBe('no case in . matches --only z\n')
  })

  it('looks upward from a folder inside a collection and runs only its cases', async () => {
    await put('c/golden.json', { format: 'toy', version: 1, cases: ['x/good', 'x', 'xy/good', 'y/later'] })
    await put('c/x/deep/file', '')
    const { rows, code } = await run('c/x', '--json')
    expect(ids(rows())).toEqual(['.. x/good pass', '.. x fail'])
    expect(code).toBe(1)
    expect((await run('c/x/deep', '--json')).code).toBe(1)
    expect(ids((await run('c', '--json')).rows())).toHaveLength(4)
  })

  it('finds collections at, below and in several folders, follows links once, and names them relative', async () => {
    await put('a/golden.json', { format: 'toy', version: 1, cases: ['x/good'] })
    await put('a/inner/golden.json', { format: 'toy', version: 1, cases: ['x/good'] })
    await put('b/node_modules/golden.json', { format: 'toy', version: 1 })
    await put('b/deep/er/golden.json', { format: 'toy', version: 1, cases: ['x/good'] })
    await symlink(root, join(root, 'b/loop'))
    const { rows } = await run('a', 'b/deep', '--json')
    expect(ids(rows())).toEqual(['. x/good pass', 'inner x/good pass', 'er x/good pass'])
    const all = await run('.', '--json')
    expect(ids(all.rows())).toEqual(['a x/good pass', 'a/inner x/good pass', 'b/deep/er x/good pass'])
  })

  it('lists formats and versions that nobody reads as unsupported', async () => {
    await put('a/golden.json', { format: 'new', version: 1 })
    await put('b/golden.json', { format: 'toy', version: 2 })
    await put('c/golden.json', { format: 'onnx', version: 1 })
    await put('d/golden.json', { format: 'constructor', version: 1 })
    const { rows, code } = await run('.', '--json')
    expect(ids(rows())).toEqual(['a', 'b', 'c', 'd'].map((c) => `${c} . unsupported`))
    expect(rows().map((r) => r.reason)).toEqual([
      "format 'new': no adapter reads it",
      "format 'toy' has version 2; version 1 is read",
      "format 'onnx': ONNX files are not read yet",
      "format 'constructor': no adapter reads it",
    ])
    expect(code).toBe(0)
  })

  it('makes a failing row of whatever crashes and goes on', async () => {
    await put('a/golden.json', { format: 'broken', version: 1 })
    await put('b/golden.json', { format: 'halfway', version: 1 })
    await put('c/golden.json', '{')
    await put('d/golden.json', { format: 'toy', version: 1, cases: ['nothing', 'x/good', 'x/good'] })
    const { rows, code } = await run('.', '--json')
    expect(code).toBe(1)
    expect(rows().map((r) => [r.collection, r.case, r.status, r.reason])).toEqual([
      ['a', '.', 'fail', 'cannot be imported'],
      ['b', 'first', 'pass', null],
      ['b', '.', 'fail', 'file is gone'],
      ['c', '.', 'fail', expect.stringMatching(/JSON/)],
      ['d', 'nothing', 'fail', 'no nothing'],
      ['d', 'x/good', 'pass', null],
      ['d', '.', 'fail', "the adapter yields the case 'x/good' twice"],
    ])
    const filtered = await run('.', '--json', '--only', 'first')
    expect(ids(filtered.rows())).toContain('a . fail')
  })

  it.each([
    [[], /^goldens: give at least one DIR/],
    [['.', '--jsn'], /^goldens: unknown option --jsn/],
    [['.', '--only'], /^goldens: --only needs a value/],
    [['.', '--json=1'], /^goldens: --json takes no value/],
    [['.', '--backend', 'cpu/0'], /^goldens: unknown backend 'cpu\/0'/],
    [['.', '--backend', 'gpu'], /^goldens: unknown backend 'gpu'; known: cpu, reference/],
    [['none'], /none: no such folder/],
    [['.'], /no golden\.json at, below or above this folder/],
    [['file'], /file: is a file; give the folder/],
  ])('refuses %o in one line, exit code 2', async (argv, message) => {
    await put('file', '')
    const { code, stdout, stderr } = await run(...argv)
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr).toMatch(message)
    expect(stderr.trimEnd().split('\n')).toHaveLength(1)
  })

  it('takes a -- that pnpm hands on, and prints its usage', async () => {
    await put('a/golden.json', { format: 'toy', version: 1, cases: ['x/good'] })
    expect(ids((await run('--', 'a', '--json')).rows())).toEqual(['. x/good pass'])
    expect(await run('--help')).toMatchObject({ code: 0, stdout: expect.stringMatching(/--only PATTERN/) })
  })
})

describe('the adapter of weights', () => {
  it('passes on the fixtures of @heed/weights and fails on a wrong verdict and a wrong value', async () => {
    const fixtures = fileURLToPath(new URL('../../../packages/weights/test/fixtures', import.meta.url))
    const real: AdapterTable = { weights: () => import('./weights.js') }
    await put('w/golden.json', { format: 'weights', version: 1 })
    await symlink(fixtures, join(root, 'w/safetensors'))
    const rowsOf = async (dir: string) => {
      let stdout = ''
      const out = (text: string) => {
        stdout += text
      }
      await main([dir, '--json'], { cwd: root, out, err: () => {}, adapters: real })
      return JSON.parse(stdout) as Row[]
    }
    const rows = await rowsOf('w')
    expect(rows.filter((r) => r.status !== 'pass')).toEqual([])
    expect(rows).toHaveLength(61 + 19)

    await put('v/golden.json', { format: 'weights', version: 1 })
    await mkdir(join(root, 'v/safetensors'))
    const { readFile } = await import('node:fs/promises')
    const edited = async (file: string, from: string, to: string) => {
      const text = await readFile(join(fixtures, file), 'utf8')
      expect(text).toContain(from)
      await writeFile(join(root, 'v/safetensors', file), text.replace(from, to))
    }
    await symlink(join(fixtures, 'malformed'), join(root, 'v/safetensors/malformed'))
    await symlink(
      join(fixtures, 'all-dtypes.safetensors'),
      join(root, 'v/safetensors/all-dtypes.safetensors'),
    )
    await edited('malformed.json', '"accepted": true', '"accepted": false')
    await edited('all-dtypes.json', '"85.3125"', '"85.25"')
    const failed = (await rowsOf('v')).filter((r) => r.status === 'fail')
    expect(failed.map((r) => r.case)).toEqual(['safetensors/all-dtypes/f16', 'safetensors/malformed/ok'])
    expect(failed[0]).toMatchObject({ error: 0.0625, tolerance: 0 })
  })
})
