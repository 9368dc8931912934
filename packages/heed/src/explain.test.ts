/** What explanations say, in text and as data, on tiny models whose numbers are the same everywhere. */
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { loadModel, type TextModel } from '@heed/models'
import { readReport } from '@heed/viz'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  type BertHead,
  bertFiles,
  type Files,
  gpt2Files,
  newFolder,
  writeFiles,
} from '../test/make-models.js'
import { run } from '../test/run-main.js'
import { type Explanation, explain } from './explain.js'
import { printExplanation } from './print-explanation.js'

const folder = newFolder()
const at = (name: string): string => join(folder, name)
afterAll(() => rmSync(folder, { recursive: true }))
beforeAll(() => {
  writeFiles(at('gpt2'), gpt2Files())
  writeFiles(folder, { 'lines.txt': '\nparis\n\nthe girl is eating bread\nthe man is eating\n' })
})
const models = new Map<string, TextModel>()
const load = async (files: Files): Promise<TextModel> => loadModel(files as Record<string, Uint8Array>)
async function bert(head: BertHead, config = {}): Promise<TextModel> {
  const key = head + JSON.stringify(config)
  const found = models.get(key) ?? (await load(bytesOf(bertFiles(head, config))))
  models.set(key, found)
  return found
}
const bytesOf = (files: Files): Record<string, Uint8Array> =>
  Object.fromEntries(
    Object.entries(files).map(([k, v]) => [k, typeof v === 'string' ? new TextEncoder().encode(v) : v]),
  )
const text = (data: Explanation): string =>
  printExplanation(data, { color: false, width: 100, top: 5, isDemo: false })
const sum = (v: readonly (number | null)[]): number => v.reduce<number>((a, b) => a + (b ?? Number.NaN), 0)

describe('a decoder', () => {
  let data: Explanation
  beforeAll(async () => {
    data = await explain(await load(bytesOf(gpt2Files())), 'the keys to the')
  })
  test('predicts, attributes, ranks heads and reads its layers', () => {
    const top = data.predictions?.top ?? []
    expect(top).toHaveLength(5)
    expect(top.map((t) => t.probability)).toEqual([...top.map((t) => t.probability)].sort((a, b) => b - a))
    const [rollout, gradient] = data.attributions ?? []
    expect(sum(rollout.values)).toBeCloseTo(1, 5)
    expect(rollout.values.every((v) => v !== null && v >= 0)).toBe(true)
    expect(gradient.values.some((v) => (v ?? 0) < 0)).toBe(true)
    expect(data.headTable?.rows).toHaveLength(4)
    const effects = data.headTable?.rows.map((r) => Math.abs(r.value ?? 0)) ?? []
    expect(effects).toEqual([...effects].sort((a, b) => b - a))
    expect(data.logitLens?.rows.map((r) => r.name)).toEqual(['embedding', 'layer 0', 'layer 1'])
    // the last layer is the model
    const last = data.logitLens?.rows.at(-1)?.cells.at(-1)
    expect(last?.token).toBe(top[0].token)
    expect(last?.probability).toBeCloseTo(top[0].probability, 6)
    expect(last?.final).toBeCloseTo(top[0].probability, 6)
  })
  test('both deletion checks have the same 20 random orders, and the sentence counts what the numbers say', () => {
    const checks = (data.attributions ?? []).map((a) => a.deletion)
    expect(checks[0]?.random).toHaveLength(20)
    expect(checks[1]?.random).toEqual(checks[0]?.random)
    for (const c of checks) {
      const beaten = c?.random.filter((r) => r > (c?.auc ?? 0)).length
      expect(c?.sentence).toContain(`faster than ${beaten} of 20 random orders`)
      expect(c?.sentence).toContain('lowers the probability of “')
      expect(c?.curve?.[0].value).toBeCloseTo(data.predictions?.top[0].probability ?? 0, 6)
    }
  })
  test('proves itself: every self-check has a tolerance and keeps it', () => {
    const { selfChecks } = data.provenance
    expect(selfChecks.map((c) => c.name)).toEqual([
      'parts add up to the logit',
      'last layer of the logit lens is the model',
      'residual stream is the sum of its parts',
      'pattern · v is z',
    ])
    for (const c of selfChecks) expect(c.error).toBeLessThanOrEqual(c.tolerance ?? 0)
    expect(text(data)).toContain('4 self-checks passed')
  })
  test('a self-check above its tolerance is said first and in capitals', () => {
    const { provenance } = data
    for (const error of [0.5, Number.NaN]) {
      const selfChecks = [...provenance.selfChecks, { name: 'sums', error, tolerance: 1e-3 }]
      const said = text({ ...data, provenance: { ...provenance, selfChecks } })
      expect(said.indexOf('SELF-CHECK FAILED: sums is off by')).toBeGreaterThan(0)
      expect(said.indexOf('SELF-CHECK FAILED')).toBeLessThan(said.indexOf('Next token'))
      expect(said).toContain('4 self-checks passed')
    }
  })
  test('is the same twice, and other with another seed', async () => {
    const model = await load(bytesOf(gpt2Files()))
    const again = await explain(model, 'the keys to the')
    const dated = (d: Explanation) => ({ ...d, provenance: { ...d.provenance, date: '' } })
    expect(dated(again)).toEqual(dated({ ...data, provenance: { ...data.provenance } }))
    const other = await explain(model, 'the keys to the', { seed: 1 })
    expect(other.attributions?.[0].deletion?.random).not.toEqual(data.attributions?.[0].deletion?.random)
    expect(other.headTable?.rows[0].previous).not.toBe(data.headTable?.rows[0].previous)
  })
  test('one token has nothing to delete, and that is said', async () => {
    const one = await explain(await load(bytesOf(gpt2Files())), 'a')
    expect(one.tokens).toHaveLength(1)
    expect(one.attributions?.map((a) => a.deletion)).toEqual([undefined, undefined])
    expect(one.attributions?.[0].note).toMatch(/nothing to delete/)
    expect(text(one)).toContain('1 token; the tokenizer added no special token')
    expect(text(one)).not.toMatch(/NaN|undefined|null/)
  })
  test('parts of characters are shown as bytes', async () => {
    const half = await explain(await load(bytesOf(gpt2Files())), 'é!')
    expect(half.tokens.map((t) => t.bytes)).toEqual(['c3', 'a9', undefined])
    expect(half.tokens.map((t) => t.text)).toEqual(['\ufffd', '\ufffd', '!'])
    expect(half.tokens.map((t) => [t.start, t.end])).toEqual([
      [0, 1],
      [0, 1],
      [1, 2],
    ])
    expect(text(half)).toContain('⟨C3⟩ ⟨A9⟩ !')
  })
  test('options that cannot be are refused', async () => {
    const model = await load(bytesOf(gpt2Files()))
    const ask = (o: object) => explain(model, 'the', o)
    await expect(ask({ layers: 1 })).rejects.toThrow(/option 'layers' is unknown/)
    await expect(ask({ layer: 2, head: 0 })).rejects.toThrow(/--layer is 2; the model has layers 0 to 1/)
    await expect(ask({ layer: 1 })).rejects.toThrow(/give both/)
    await expect(ask({ top: 0 })).rejects.toThrow(/--top is 0/)
    await expect(ask({ lines: ['a'] })).rejects.toThrow(/--with needs an encoder/)
  })
})

describe('an encoder', () => {
  const undefinedForIt = /Direct logit attribution and the logit lens are not defined for a post-norm encoder/
  test('fills every [MASK] and explains the first', async () => {
    const data = await explain(await bert('BertForMaskedLM'), 'paris is [MASK] [MASK] of france.')
    expect(data.masked?.map((m) => m.position)).toEqual([3, 4])
    expect(data.attributions?.map((a) => a.name)).toEqual(['Attention rollout', 'Gradient × input'])
    expect(data.attributions?.[0].target).toMatch(
      /^what reaches \[MASK\] \(token 3\), where “.*” is predicted$/,
    )
    expect(data.logitLens).toBeUndefined()
    expect(data.headTable?.target).toBeNull()
    expect(data.notes.filter((n) => undefinedForIt.test(n))).toHaveLength(1)
    expect(data.notes).toContain('Explained is the first [MASK], token 3.')
    expect(data.provenance.specialTokensAdded).toEqual(['[CLS]', '[SEP]'])
    expect(text(data)).toContain('the tokenizer added [CLS] [SEP]')
    expect(text(data)).toMatch(/\nAt \[MASK\] \(token 4\)\n/)
    // special tokens and the explained [MASK] are never deleted: 6 of 9 are left
    expect(data.attributions?.[0].deletion?.curve?.map((p) => p.deleted)).toEqual(
      [0, 1, 2, 3, 4, 5, 6].map((n) => n / 6),
    )
  })
  test('without a [MASK] asks for one and makes no gradient × input', async () => {
    const data = await explain(await bert('BertForMaskedLM'), 'paris is the capital')
    expect(data.masked).toBeUndefined()
    expect(data.attributions?.map((a) => a.name)).toEqual(['Attention rollout'])
    expect(data.notes[0]).toMatch(/no \[MASK\].*put one/)
  })
  test('names a class and its probability', async () => {
    const data = await explain(await bert('BertForSequenceClassification'), 'the man is eating')
    expect(data.classes?.map((c) => c.label).sort()).toEqual(['O', 'PERSON', 'PLACE'])
    expect(sum(data.classes?.map((c) => c.probability) ?? [])).toBeCloseTo(1, 6)
    expect(data.attributions?.[1].target).toBe(`the logit of class ${data.classes?.[0].label}`)
  })
  test('a single output is a score, not a class of probability 1', async () => {
    const data = await explain(
      await bert('BertForSequenceClassification', { id2label: { 0: 'SIMILARITY' } }),
      'the man is eating',
    )
    expect(data.classes).toBeUndefined()
    expect(data.attributions?.[1].target).toBe('the score SIMILARITY')
    expect(data.notes[0]).toMatch(/single output/)
  })
  test('classes every token and explains one that stands out', async () => {
    const data = await explain(await bert('BertForTokenClassification'), 'the man is eating')
    expect(data.tokenClasses?.map((c) => c.position)).toEqual([0, 1, 2, 3, 4, 5])
    expect(data.notes[0]).toMatch(/^Explained is the class \w+ of \w+ \(token [1-4]\): the surest one/)
    expect(text(data)).toContain('Class of each token')
  })
  test('answers from the passage behind [SEP]', async () => {
    const whole = 'where are the keys? [SEP] the keys are on the table.'
    const model = await bert('BertForQuestionAnswering')
    const data = await explain(model, whole)
    const second = data.tokens.findIndex((_, i) => data.tokens[i - 1]?.text === '[SEP]')
    expect(data.provenance.specialTokensAdded).toEqual(['[CLS]', '[SEP]', '[SEP]'])
    // places count in the whole text
    for (const t of data.tokens)
      if (t.start !== null && t.end !== null) expect(whole.slice(t.start, t.end)).toBe(t.text)
    const { answer } = data
    if (answer) {
      expect(answer.start).toBeGreaterThanOrEqual(second)
      expect(whole.slice(data.tokens[answer.start].start ?? 0, data.tokens[answer.end].end ?? 0)).toBe(
        answer.text,
      )
    }
    // the run saw two texts, as the model wants them
    const pair = await model.run('where are the keys? ', { pair: ' the keys are on the table.' })
    expect(data.tokens.map((t) => t.id)).toEqual(pair.ids[0])
    const alone = await explain(model, 'where are the keys?')
    expect(alone.notes.join(' ')).toMatch(/write the question, then \[SEP\], then the passage/)
  })
  test('with lines finds the nearest and explains the similarity', async () => {
    const ran = await run([
      'explain',
      'the man is eating',
      '--model',
      writeFiles(at('bert'), bertFiles('BertModel')),
      '--with',
      at('lines.txt'),
      '--json',
    ])
    const data = JSON.parse(ran.out) as Explanation
    expect(data.nearest?.lines).toHaveLength(3)
    expect(data.nearest?.lines[0].text).toBe('the man is eating')
    expect(data.nearest?.lines[0].score).toBeCloseTo(1, 5)
    expect(data.attributions?.[1].target).toBe('the similarity to “the man is eating”')
    expect(data.attributions?.[1].deletion?.curve?.[0].value).toBeCloseTo(1, 5)
    expect(sum(data.attributions?.[0].values ?? [])).toBeCloseTo(1, 5)
  })
  test('a sentence vector that is its first token is explained there', async () => {
    const pooling = {
      'modules.json': JSON.stringify([
        { idx: 0, name: '0', path: '', type: 'sentence_transformers.models.Transformer' },
        { idx: 1, name: '1', path: '1_Pooling', type: 'sentence_transformers.models.Pooling' },
      ]),
      '1_Pooling/config.json': JSON.stringify({
        word_embedding_dimension: 16,
        pooling_mode_cls_token: true,
        pooling_mode_mean_tokens: false,
      }),
    }
    const model = await load(bytesOf({ ...bertFiles('BertModel'), ...pooling }))
    const data = await explain(model, 'the man is eating', { lines: ['paris'] })
    expect(data.attributions?.[0].target).toBe('what reaches the sentence vector, [CLS] (token 0)')
    expect(data.initial?.token).toBe(0)
  })
  test('without lines and head names --with', async () => {
    const data = await explain(await bert('BertModel'), 'the man')
    expect(data.attributions?.map((a) => a.name)).toEqual(['Attention rollout'])
    expect(data.attributions?.[0].target).toMatch(/mean of all positions/)
    expect(data.notes.join('\n')).toMatch(/no gradient × input: name lines .*--with FILE/)
  })
})

describe('the command', () => {
  const ask = ['explain', 'the keys to', '--model', at('gpt2')]
  test('is plain when piped, coloured in a terminal, plain again with NO_COLOR', async () => {
    const plain = await run(ask)
    expect(plain.out).not.toContain('\u001b')
    expect(plain.err).toBe('')
    const colored = await run(ask, { isTTY: true })
    expect(colored.out).toContain('\u001b[1mNext token\u001b[0m')
    for (const env of [{ NO_COLOR: '1' }, { TERM: 'dumb' }])
      expect((await run(ask, { isTTY: true, env })).out).not.toContain('\u001b')
    expect((await run(ask, { isTTY: true, env: { NO_COLOR: '' } })).out).toContain('\u001b')
  })
  test('says what it is doing on a terminal, and nothing with --quiet', async () => {
    const { err } = await run(ask, { isTTY: true })
    for (const step of ['loading the model', 'attention rollout', 'deletion check of gradient × input: 0 of'])
      expect(err).toContain(step)
    expect(err.endsWith('\r\u001b[K')).toBe(true)
    expect((await run([...ask, '--quiet'], { isTTY: true })).err).toBe('')
  })
  test('fits the width of the terminal', async () => {
    const { out } = await run([...ask, '--layer', '0', '--head', '1'], { columns: 60 })
    for (const line of out.split('\n').filter((l) => !l.includes('SELF')))
      expect(line.length).toBeLessThanOrEqual(60)
    expect(out).toContain('Layer 0 head 1')
  })
  test('reads files and standard input, without their last line break and byte order mark', async () => {
    writeFiles(folder, { 'text.txt': '\ufeffthe keys to\n' })
    const direct = await run(ask)
    expect((await run(['explain', '--file', at('text.txt'), '--model', at('gpt2')])).out).toBe(direct.out)
    expect((await run(['explain', '-', '--model', at('gpt2')], { stdin: 'the keys to\r\n' })).out).toBe(
      direct.out,
    )
  })
  test('writes the report, and --json leaves standard output to the JSON', async () => {
    const out = at('r.html')
    const ran = await run([...ask, '--out', out, '--json', '--layer', '1', '--head', '1'])
    expect(JSON.parse(ran.out)).toMatchObject({ format: 'heed-explain', version: 1 })
    expect(ran.err).toBe(`\nReport: ${out}\n`)
    const page = readReport(readFileSync(out, 'utf8'))
    expect(page?.tokens.map((t) => t.text).join('')).toBe('the keys to')
    expect(page?.initial).toMatchObject({ layer: 1, head: 1 })
    expect(page && 'pattern' in page).toBe(false)
    expect((await run([...ask, '--out', out])).out).toMatch(/\nReport: .*r\.html\n$/)
  })
  test('no local path is in what it makes', async () => {
    const ran = await run([...ask, '--out', at('r.html'), '--json'])
    expect(ran.out).not.toContain(folder)
    expect(readFileSync(at('r.html'), 'utf8')).not.toContain(folder)
    expect(JSON.parse(ran.out).provenance.model).toBe('gpt2')
  })
  test('provenance has the command that makes it again', async () => {
    const commandOf = async (...argv: string[]) =>
      (JSON.parse((await run(['explain', ...argv, '--model', at('gpt2'), '--json'])).out) as Explanation)
        .provenance.command
    expect(await commandOf('the keys to', '--seed', '3')).toBe(
      'heed explain "the keys to" --model gpt2 --seed 3 --out report.html',
    )
    expect(await commandOf("it's $5", '--layer', '0', '--head', '1')).toBe(
      "heed explain 'it'\\''s $5' --model gpt2 --layer 0 --head 1 --out report.html",
    )
  })
  test('odd text: control characters, directions and tags reach no terminal and no markup', async () => {
    const odd = 'the \u001b[2J\u0007 \u202e <script>'
    const ran = await run(['explain', odd, '--model', at('gpt2'), '--out', at('odd.html')])
    expect(ran.code).toBe(0)
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what this line is about
    expect(ran.out).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u202e]/)
    expect(readFileSync(at('odd.html'), 'utf8').match(/<script/g)).toHaveLength(2)
  })
  test('--top counts predictions', async () => {
    const lines = (await run([...ask, '--top', '2'])).out.split('\n')
    const from = lines.indexOf('Next token')
    expect(lines[from + 3]).toBe('')
    expect(lines[from + 2]).toContain('%')
  })
  test('computes the same on the reference kernels', async () => {
    const top = async (backend: string) => {
      const { out } = await run([...ask, '--json', '--backend', backend])
      return (JSON.parse(out) as Explanation).predictions?.top ?? []
    }
    const [cpu, double] = [await top('cpu'), await top('reference-f64')]
    expect(double.map((t) => t.id)).toEqual(cpu.map((t) => t.id))
    for (const [i, t] of double.entries()) expect(t.probability).toBeCloseTo(cpu[i].probability, 5)
  })
})
