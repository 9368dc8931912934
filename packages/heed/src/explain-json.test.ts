/** docs/explain-json.md is the contract: what is printed has every field it promises, and none that it does not name. */
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type BertHead, bertFiles, gpt2Files, newFolder, writeFiles } from '../test/make-models.js'
import { run } from '../test/run-main.js'

const folder = newFolder()
const heads: BertHead[] = [
  'BertModel',
  'BertForMaskedLM',
  'BertForSequenceClassification',
  'BertForTokenClassification',
  'BertForQuestionAnswering',
]
beforeAll(() => {
  writeFiles(join(folder, 'gpt2'), gpt2Files())
  for (const head of heads) writeFiles(join(folder, head), bertFiles(head))
  writeFiles(folder, { 'lines.txt': 'the man\nthe girl is eating\nparis\n' })
})
afterAll(() => rmSync(folder, { recursive: true }))

interface Field {
  readonly types: readonly string[]
  readonly isAlways: boolean
}
const documented = new Map<string, Field>()
for (const line of readFileSync(new URL('../../../docs/explain-json.md', import.meta.url), 'utf8').split(
  '\n',
)) {
  const row = /^\| `([^`]+)` \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$/.exec(line)
  if (row) documented.set(row[1], { types: row[2].split(' or '), isAlways: row[3] === 'always' })
}

function fits(value: unknown, type: string): boolean {
  if (type.startsWith('"')) return value === JSON.parse(type)
  if (/^\d+$/.test(type)) return value === Number(type)
  if (type === 'array') return Array.isArray(value)
  if (type === 'null') return value === null
  if (type === 'integer') return Number.isInteger(value)
  if (type === 'object') return typeof value === 'object' && value !== null && !Array.isArray(value)
  return typeof value === type
}

/** Every complaint about a value at a path; `seen` collects the paths that were there. */
function complaints(path: string, value: unknown, seen: Set<string>): string[] {
  const out: string[] = []
  if (path !== '') {
    const field = documented.get(path)
    seen.add(path)
    if (!field) {
      // elements of arrays of objects have no row of their own
      if (!path.endsWith('[]') || !fits(value, 'object')) return [`${path} is not documented`]
    } else if (!field.types.some((t) => fits(value, t)))
      out.push(`${path} is ${JSON.stringify(value)?.slice(0, 60)}, documented as ${field.types.join(' or ')}`)
  }
  if (Array.isArray(value)) return [...out, ...value.flatMap((v) => complaints(`${path}[]`, v, seen))]
  if (typeof value !== 'object' || value === null) return out
  const below = path === '' ? '' : `${path}.`
  for (const [key, v] of Object.entries(value)) out.push(...complaints(below + key, v, seen))
  for (const [name, { isAlways }] of documented) {
    const rest = name.startsWith(below) ? name.slice(below.length) : ''
    if (isAlways && /^\w+$/.test(rest) && !Object.hasOwn(value, rest)) out.push(`${name} is missing`)
  }
  return out
}

const seen = new Set<string>()
const runs: [string, string[]][] = [
  ['gpt2', ['the keys é', '--layer', '1', '--head', '0']],
  ['BertModel', ['the man']],
  ['BertModel', ['the man', '--with', 'lines.txt']],
  ['BertForMaskedLM', ['paris is the [MASK] of france.']],
  ['BertForMaskedLM', ['no mask here']],
  ['BertForSequenceClassification', ['the man is eating']],
  ['BertForTokenClassification', ['the man is eating']],
  ['BertForQuestionAnswering', ['where are the keys? [SEP] the keys are on the table.']],
  ['BertForQuestionAnswering', ['where are the keys?']],
]
test.each(runs)('%s %j', async (model, argv) => {
  const args = argv.map((a) => (a === 'lines.txt' ? join(folder, a) : a))
  const ran = await run(['explain', '--json', '--model', join(folder, model), ...args])
  expect(ran.err).toBe('')
  expect(ran.code).toBe(0)
  expect(ran.out).toMatch(/^\{.*\}\n$/)
  expect(complaints('', JSON.parse(ran.out), seen)).toEqual([])
  expect(ran.out).not.toContain(folder)
})

test('every documented field was printed by one of them', () => {
  expect(documented.size).toBeGreaterThan(90)
  const rare =
    /^masked\[\]\.top\[\]\.bytes$|^predictions\.top\[\]\.bytes$|\.cells\[\]\.bytes$|^provenance\.fallbacks\[\]$/
  expect([...documented.keys()].filter((path) => !seen.has(path) && !rare.test(path))).toEqual([])
})

test('the pattern is the head that was asked for, row by row', async () => {
  const ask = async (...argv: string[]) =>
    JSON.parse(
      (await run(['explain', 'the keys to', '--json', '--model', join(folder, 'gpt2'), ...argv])).out,
    ) as { tokens: object[]; pattern?: { layer: number; head: number; weights: number[][] } }
  const { tokens, pattern } = await ask('--layer', '1', '--head', '0')
  expect(pattern).toMatchObject({ layer: 1, head: 0 })
  const weights = pattern?.weights ?? []
  expect(weights.map((row) => row.length)).toEqual(tokens.map(() => tokens.length))
  for (const [q, row] of weights.entries()) {
    expect(row.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 5)
    // a decoder looks at nothing to its right
    expect(row.slice(q + 1).every((w) => w === 0)).toBe(true)
  }
  expect((await ask('--layer', '1', '--head', '1')).pattern?.weights).not.toEqual(weights)
  expect((await ask()).pattern).toBeUndefined()
})
