import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type ConformanceResult, conformanceCases } from '@heed/conformance'
import { describe, expect, it } from 'vitest'
import { root } from './gates/workspace.js'
import {
  between,
  type Cell,
  caseLine,
  cellsOf,
  stale,
  summary,
  supportTable,
  table,
  worse,
} from './matrix/cells.js'
import { matrix } from './matrix/command.js'
import { outdated, pagesOf } from './matrix/pages.js'

const result = (more: Partial<ConformanceResult>): ConformanceResult => ({
  name: 'add/matrices',
  op: 'add',
  kind: 'primitive',
  direction: 'forward',
  pass: true,
  how: 'native',
  inFloats: true,
  maxError: 1.234e-7,
  scaledError: 1.0e-7,
  ratio: 0.1,
  ...more,
})
const cell = (more: Partial<Cell> = {}): Cell => ({
  op: 'add',
  backend: 'cpu',
  pass: 'forward',
  status: 'native',
  max_error: 1e-7,
  ...more,
})

describe('the conformance matrix', () => {
  it('takes the least good case of an op and its largest error', () => {
    const results = [
      result({}),
      result({ how: 'inlined', scaledError: 3e-7 }),
      result({ how: 'fused' }),
      result({ direction: 'gradient', how: 'reference', scaledError: 0 }),
    ]
    expect(cellsOf('cpu', results)).toEqual([
      cell({ status: 'inlined', max_error: 3e-7 }),
      cell({ pass: 'gradient', status: 'reference', max_error: 0 }),
    ])
  })
  it('takes the status from cases in float32, where there are any', () => {
    const whole = { how: 'reference', inFloats: false, scaledError: 2e-7 } as const
    expect(cellsOf('cpu', [result(whole), result({}), result({ ...whole, op: 'argMax' })])).toEqual([
      cell({ max_error: 2e-7 }),
      cell({ op: 'argMax', status: 'reference', max_error: 2e-7 }),
    ])
  })
  it('is not made of failing cases', () => {
    expect(() => cellsOf('cpu', [result({ pass: false, reason: 'got 1 instead of 2' })])).toThrow(
      /1 cases fail[\s\S]*got 1 instead of 2/,
    )
  })
  it('finds a cell that fell back, grew its error or went away, and none that got better', () => {
    const before = [cell(), cell({ op: 'mul' }), cell({ op: 'sub' }), cell({ op: 'neg', status: 'inlined' })]
    const now = [
      cell({ status: 'reference' }),
      cell({ op: 'mul', max_error: 4e-7 }),
      cell({ op: 'neg', status: 'fused', max_error: 0 }),
    ]
    expect(worse(before, now)).toEqual([
      'add, forward, on cpu: was native, is reference',
      'mul, forward, on cpu: the error was 1e-7, is 4e-7',
      'sub, forward, on cpu: is not there any more',
    ])
    expect(worse(before, before)).toEqual([])
    // one rounding more where there was none
    expect(worse([cell({ max_error: 0 })], [cell({ max_error: 1.1e-7 })])).toEqual([])
    expect(worse([cell({ max_error: 0 })], [cell({ max_error: 1.3e-7 })])).toHaveLength(1)
    expect(worse([cell()], [cell({ max_error: Number.NaN })])).toHaveLength(1)
  })
  it('misses a backend that was not run, unless it was not asked for', () => {
    const before = [cell(), cell({ backend: 'webgl' })]
    expect(worse(before, [cell()])).toEqual(['add, forward, on webgl: is not there any more'])
    expect(worse(before, [cell()], ['cpu'])).toEqual([])
    expect(worse(before, [], ['webgl'])).toEqual(['add, forward, on webgl: is not there any more'])
  })
  it('ends red where a backend cannot run', () => {
    const { status, stderr } = spawnSync(
      process.execPath,
      ['--import', 'tsx', 'scripts/matrix.ts', '--backend', 'webgl', '--check'],
      { cwd: root, encoding: 'utf8', env: { ...process.env, CHROMIUM_PATH: 'none' }, timeout: 50_000 },
    )
    expect(stderr).toMatch(/no Chromium/)
    expect(status).toBe(1)
  })
  it('is written down as cells of five fields, for every op in every direction that it has', () => {
    const cells = JSON.parse(readFileSync(join(root, 'docs/matrix.json'), 'utf8')) as Cell[]
    for (const c of cells) {
      expect(Object.keys(c)).toEqual(['op', 'backend', 'pass', 'status', 'max_error'])
      expect(['native', 'fused', 'inlined', 'reference']).toContain(c.status)
      expect(c.max_error).toBeGreaterThanOrEqual(0)
    }
    const cases = conformanceCases()
    for (const backend of ['cpu', 'webgl'])
      for (const pass of ['forward', 'gradient'] as const)
        expect(cells.filter((c) => c.backend === backend && c.pass === pass).map((c) => c.op)).toEqual([
          ...new Set(cases.filter((c) => pass === 'forward' || c.hasGradient).map((c) => c.op)),
        ])
  })
  it('stands in every page as it is written down, with the number of cases of each op', () => {
    const cells = JSON.parse(readFileSync(join(root, 'docs/matrix.json'), 'utf8')) as Cell[]
    expect(outdated(cells)).toEqual([])
    const pages = pagesOf(cells)
    const read = (path: string): string => pages.get(path) as string
    const without = (what: RegExp, path: string) => (p: string) =>
      p === path ? read(p).replace(what, '') : read(p)
    expect(outdated(cells, without(/, mul \d+/, 'docs/matrix.md'))).toEqual(['docs/matrix.md'])
    expect(outdated(cells, without(/cumsum, /, 'packages/backend-webgl/README.md'))).toEqual([
      'packages/backend-webgl/README.md',
    ])
    expect(caseLine([{ op: 'add' }, { op: 'mul' }, { op: 'add' }])).toBe('cases: add 2, mul 1')
  })
  it('finds cells that are written down otherwise', () => {
    expect(stale([cell({ status: 'inlined' })], [cell(), cell({ op: 'mul' })])).toEqual([
      'add, forward, on cpu: is native, docs/matrix.json says inlined',
      'mul, forward, on cpu: is native, docs/matrix.json says nothing',
    ])
  })
  it('reads as a table, as a line and as the part of a README', () => {
    const cells = [cell(), cell({ pass: 'gradient', status: 'inlined' }), cell({ backend: 'webgl' })]
    expect(table(cells)[2]).toBe('| add | native, 1e-7 | inlined, 1e-7 | native, 1e-7 |  |')
    expect(summary(cells)[0]).toBe('cpu: 1 native, 0 fused, 1 inlined, 0 reference; largest error 1e-7')
    expect(supportTable('cpu', cells).slice(2)).toEqual([
      '| native | forward | add | 1e-7 |',
      '| inlined | gradient | add | 1e-7 |',
    ])
    const text = 'a\n<!-- matrix -->\nold\n<!-- /matrix -->\nb'
    expect(between(text, ['new'], 'README.md')).toBe('a\n<!-- matrix -->\nnew\n<!-- /matrix -->\nb')
    expect(() => between('a', [], 'README.md')).toThrow(/^README\.md has no place .*<!-- matrix -->/)
  })
})

describe('pnpm matrix', () => {
  const page = 'a\n<!-- matrix -->\n<!-- /matrix -->\nb'
  const webgl = cell({ backend: 'webgl', max_error: 3e-7 })
  /** Two backends, of which the pages say `written`. */
  async function run(args: string[], written: readonly Cell[], more: Partial<ConformanceResult> = {}) {
    const files = new Map([['docs/matrix.json', JSON.stringify(written)]])
    const read = (path: string): string => files.get(path) ?? page
    for (const [path, text] of pagesOf(written, read)) files.set(path, text)
    const [said, complaints, ran]: string[][] = [[], [], []]
    const maker = (name: string) => async () => {
      ran.push(name)
      return [result(name === 'cpu' ? more : { scaledError: 3e-7 })]
    }
    const code = await matrix(args, {
      makers: { cpu: maker('cpu'), webgl: maker('webgl') },
      read,
      write: (path, text) => void files.set(path, text),
      out: (text) => void said.push(text),
      err: (text) => void complaints.push(text),
    })
    return { code, said, complaints: complaints.filter((line) => !/ s$/.test(line)), ran, files }
  }
  it('ends red with --check where a cell is worse, and green where none is', async () => {
    expect(await run(['--check'], [cell(), webgl])).toMatchObject({
      code: 0,
      complaints: [],
      ran: ['cpu', 'webgl'],
    })
    const bad = await run(['--check'], [cell(), webgl], { how: 'reference' })
    expect(bad.code).toBe(1)
    expect(bad.complaints).toEqual([
      '✗ add, forward, on cpu: was native, is reference',
      '✗ add, forward, on cpu: is reference, docs/matrix.json says native',
      expect.stringMatching(/worse than docs\/matrix\.json/),
    ])
    expect((await run([], [cell(), webgl], { how: 'reference' })).code).toBe(0)
    // what got better is to be written down
    expect(await run(['--check'], [cell({ status: 'inlined' }), webgl])).toMatchObject({
      code: 1,
      complaints: [/json says inlined/, /no longer so/].map((text) => expect.stringMatching(text)),
    })
    await expect(run(['--check'], [], { pass: false, reason: 'got 1' })).rejects.toThrow(/got 1/)
  })
  it('runs the backends that are asked for, and leaves the cells of others', async () => {
    const { ran, files } = await run(['--backend', 'cpu', '--write'], [cell({ status: 'reference' }), webgl])
    expect(ran).toEqual(['cpu'])
    expect(JSON.parse(files.get('docs/matrix.json') ?? '')).toEqual([webgl, cell()])
    expect(files.get('docs/matrix.md')).toMatch(/\| add \| native, 3e-7 \|\s+\| native, 1e-7 \|/)
    expect(files.get('packages/backend-cpu/README.md')).toContain('| native | forward | add | 1e-7 |')
    expect(files.get('packages/backend-webgl/README.md')).toContain('| native | forward | add | 3e-7 |')
    expect((await run(['--backend', 'cpu', '--check'], [cell(), webgl])).code).toBe(0)
    expect((await run(['--backend', 'cpu', '--json'], [])).said.map((text) => JSON.parse(text))).toEqual([
      [cell()],
    ])
  })
  it('writes nothing unless it is told to', async () => {
    const { files } = await run(['--check', '--json'], [cell(), webgl], { how: 'fused' })
    expect(files.get('docs/matrix.md')).toMatch(/\| add \| native, 1e-7 \|/)
    expect(JSON.parse(files.get('docs/matrix.json') ?? '')).toEqual([cell(), webgl])
  })
  it.each([['--wirte'], ['--backend', 'gpu'], ['--backend'], ['cpu']])('refuses %s %s', async (...args) => {
    await expect(run(args, [])).rejects.toThrow(/^matrix: .*\? Use .*cpu \| webgl/)
  })
})
