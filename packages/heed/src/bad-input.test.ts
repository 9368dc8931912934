/**
 * What cannot work ends in one line on standard error that names the file or the option and what to do, with exit code 1,
 * nothing on standard output and no half report.
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { bertFiles, type Files, gpt2Files, newFolder, writeFiles } from '../test/make-models.js'
import { run } from '../test/run-main.js'

const folder = newFolder()
afterAll(() => rmSync(folder, { recursive: true }))
const at = (name: string): string => join(folder, name)

const gpt2 = gpt2Files()
const config = JSON.parse(gpt2['config.json'] as string) as Record<string, unknown>
const weights = gpt2['model.safetensors'] as Uint8Array
const variant = (name: string, change: Readonly<Record<string, string | Uint8Array | null>>): string =>
  writeFiles(at(name), { ...gpt2, ...change } as Files)
const withConfig = (name: string, change: Readonly<Record<string, unknown>>): string =>
  variant(name, { 'config.json': JSON.stringify({ ...config, ...change }) })

beforeAll(() => {
  writeFiles(at('gpt2'), gpt2)
  writeFiles(at('bert'), bertFiles('BertModel'))
  writeFiles(at('mlm'), bertFiles('BertForMaskedLM'))
  variant('no-config', { 'config.json': null })
  variant('no-weights', { 'model.safetensors': null })
  variant('no-tokenizer', { 'tokenizer.json': null })
  variant('bad-json', { 'config.json': '{ "model_type": "gpt2", ' })
  variant('bad-tokenizer', { 'tokenizer.json': '{"model": {"type": "Magic"}}' })
  variant('truncated', { 'model.safetensors': weights.slice(0, weights.length - 100) })
  const corrupt = weights.slice()
  corrupt.set(new TextEncoder().encode('{"a":oops'), 8)
  variant('corrupt', { 'model.safetensors': corrupt })
  variant('page', { 'model.safetensors': '<!doctype html><p>Not found</p>' })
  withConfig('wrong-shape', { n_embd: 32 })
  withConfig('changed', { rope_theta: 10000 })
  withConfig('other-position', { scale_attn_by_inverse_layer_idx: 'often' })
  withConfig('other-type', { model_type: 'mamba' })
  // all bits set is NaN: the first numbers behind the header
  const damaged = weights.slice()
  const header = Number(new DataView(damaged.buffer).getBigUint64(0, true))
  damaged.fill(0xff, 8 + header, 8 + header + 64)
  variant('nan', { 'model.safetensors': damaged })
  // one number of the last layer: all others of every position stay sound
  const one = weights.slice()
  const table = JSON.parse(new TextDecoder().decode(one.subarray(8, 8 + header))) as Record<
    string,
    { data_offsets: [number, number] }
  >
  const bias = 8 + header + table['h.1.mlp.c_proj.bias'].data_offsets[0]
  one.fill(0xff, bias, bias + 4)
  variant('nan-one', { 'model.safetensors': one })
  writeFileSync(at('latin1.txt'), Uint8Array.of(0x63, 0x61, 0x66, 0xe9))
  writeFileSync(at('empty.txt'), '')
  writeFileSync(at('blank.txt'), ' \n\t\n')
  writeFileSync(at('lines.txt'), 'the man is eating\nthe girl is eating bread\n')
  writeFileSync(at('long-line.txt'), `the man\n${'the man is eating '.repeat(10)}\n`)
  writeFileSync(at('report.html'), 'an earlier report')
})

/** [what, arguments, what the line says, standard input] */
type Case = readonly [string, readonly string[], RegExp, (string | Uint8Array)?]
const hi = 'the keys'
const on = (name: string): string[] => [hi, '--model', at(name)]
const cases: readonly Case[] = [
  ['unknown model', [hi, '--model', 'no-such-model'], /no-such-model/],
  ['model is a file', [hi, '--model', at('lines.txt')], /lines\.txt/],
  ['no config.json', on('no-config'), /no-config.*has no config\.json/],
  ['no weights', on('no-weights'), /no-weights.*model\.safetensors.*save/],
  ['no tokenizer.json', on('no-tokenizer'), /no-tokenizer.*has no tokenizer\.json.*add the file/],
  ['config.json is no JSON', on('bad-json'), /bad-json\/config\.json: is not JSON/],
  ['tokenizer of an unknown kind', on('bad-tokenizer'), /bad-tokenizer\/tokenizer\.json.*Magic/],
  ['truncated safetensors', on('truncated'), /truncated\/model\.safetensors.*(truncated|bytes)/],
  ['corrupt safetensors', on('corrupt'), /corrupt\/model\.safetensors.*download it again/],
  ['a page instead of weights', on('page'), /page\/model\.safetensors/],
  ['a weight of a wrong shape', on('wrong-shape'), /wrong-shape.*wte\.weight.*16.*expected.*32/],
  ['a key that changes the computation', on('changed'), /changed\/config\.json.*rope_theta.*not supported/],
  ['a key of a wrong type', on('other-position'), /config\.json.*scale_attn_by_inverse_layer_idx/],
  ['unsupported model_type', on('other-type'), /other-type\/config\.json.*mamba.*supported are gpt2, bert/],
  ['weights of NaN', on('nan'), /nan: the model computes NaN.*layer 0/],
  ['one NaN among the weights', on('nan-one'), /nan-one: the model computes NaN.*layer 1/],
  [
    'text longer than the context',
    ['the keys '.repeat(20), '--model', at('gpt2')],
    /\d+ tokens.*context of 24.*shorten/,
  ],
  ['text longer than the built-in context', ['the keys '.repeat(300)], /tokens.*context of \d+.*shorten/],
  ['empty text', [''], /the text is empty/],
  ['blank text', [' \n\t '], /the text is empty/],
  ['empty file', ['--file', at('empty.txt')], /--file .*empty\.txt is empty/],
  ['blank file', ['--file', at('blank.txt')], /--file .*blank\.txt is empty/],
  ['empty standard input', ['-'], /standard input is empty/],
  ['standard input that is not UTF-8', ['-'], /standard input is not UTF-8/, Uint8Array.of(0xff, 0xfe, 0x41)],
  ['file that is not UTF-8', ['--file', at('latin1.txt')], /--file .*latin1\.txt is not UTF-8.*iconv/],
  ['missing file', ['--file', at('missing.txt')], /--file .*missing\.txt.*does not exist/],
  ['file is a folder', ['--file', folder], /is a folder/],
  ['text and file', [hi, '--file', at('lines.txt')], /--file.*give one/],
  ['two texts', [hi, 'again'], /2 texts.*quotes/],
  ['unknown option', [hi, '--modle', 'x'], /unknown option '--modle'.*--model/],
  ['unknown short option', [hi, '-x'], /unknown option '-x'/],
  ['option without a value', [hi, '--model'], /--model needs a value/],
  ['option with an empty value', [hi, '--model='], /--model needs a value/],
  ['flag with a value', [hi, '--json=yes'], /--json takes no value/],
  ['option given twice', [hi, '--top', '2', '--top', '3'], /--top is given twice/],
  ['layer out of range', [...on('gpt2'), '--layer', '2', '--head', '0'], /--layer is 2.*0 to 1/],
  ['head out of range', [...on('gpt2'), '--layer', '0', '--head', '9'], /--head is 9.*0 to 1/],
  [
    'layer that is no number',
    [...on('gpt2'), '--layer', 'two', '--head', '0'],
    /--layer is 'two'.*whole number/,
  ],
  ['negative head', [...on('gpt2'), '--layer', '0', '--head', '-1'], /--head is '-1'.*whole number/],
  ['layer without head', [...on('gpt2'), '--layer', '1'], /--layer alone.*--layer and --head together/],
  ['head without layer', [...on('gpt2'), '--head', '1'], /--head alone/],
  ['unknown backend', [hi, '--backend', 'gpu'], /--backend 'gpu' is unknown.*cpu, reference/],
  ['backend of a page', [hi, '--backend', 'webgl'], /--backend 'webgl' is unknown.*in a page only/],
  ['--with on a decoder', [...on('gpt2'), '--with', at('lines.txt')], /--with needs an encoder/],
  ['--with an empty file', [...on('bert'), '--with', at('blank.txt')], /--with .*blank\.txt has no lines/],
  [
    '--with a missing file',
    [...on('bert'), '--with', at('missing.txt')],
    /--with .*missing\.txt.*does not exist/,
  ],
  ['--with not UTF-8', [...on('bert'), '--with', at('latin1.txt')], /--with .*latin1\.txt is not UTF-8/],
  [
    '--with a line that is too long',
    [...on('bert'), '--with', at('long-line.txt')],
    /--with .*long-line\.txt line 2.*42 tokens.*24/,
  ],
  [
    '--out into a missing folder',
    [...on('gpt2'), '--out', at('nowhere/r.html')],
    /--out .*no folder .*nowhere; make it/,
  ],
  ['--out is a folder', [...on('gpt2'), '--out', folder], /--out .*is a folder/],
  ['--top 0', [hi, '--top', '0'], /--top is '0'.*from 1 to 1000/],
  ['--top without a number', [hi, '--top', 'many'], /--top is 'many'/],
  ['--seed with a fraction', [hi, '--seed', '1.5'], /--seed is '1\.5'.*whole number/],
]

/** One line, nothing that looks like a stack, nothing on standard output. */
function expectOneLine(ran: { code: number; out: string; err: string }, says: RegExp): void {
  expect(ran.err).toMatch(says)
  expect(ran.err).toMatch(/^heed: [^\n]+\n$/)
  expect(ran.err).not.toMatch(/\n\s+at |undefined|\[object|NaN is not|Error:/)
  expect(ran.err.length).toBeLessThan(400)
  expect(ran.out).toBe('')
  expect(ran.code).toBe(1)
}

describe('heed explain', () => {
  test.each(cases.map((c) => [c[0], c] as const))('%s', async (_, [, argv, says, stdin]) => {
    const args = argv.includes('--out') ? argv : [...argv, '--out', at('report.html')]
    expectOneLine(await run(['explain', ...args], stdin === undefined ? {} : { stdin }), says)
    expect(readFileSync(at('report.html'), 'utf8')).toBe('an earlier report')
  })
  test('a report that cannot be written leaves nothing behind', async () => {
    const ran = await run(['explain', ...on('gpt2'), '--out', `${at('lines.txt')}/r.html`])
    expectOneLine(ran, /--out .*lines\.txt\/r\.html/)
  })
})

describe('heed', () => {
  test('unknown command', async () => {
    expectOneLine(await run(['explan', hi]), /unknown command 'explan'.*explain, generate/)
    expectOneLine(await run(['--frobnicate']), /unknown command '--frobnicate'/)
  })
  test('foreign text cannot steer the terminal', async () => {
    const ran = await run(['explain', hi, '--model', 'a\u001b[2Jb\nc'])
    expect(ran.code).toBe(1)
    expect(ran.err).not.toContain('\u001b')
    expect(ran.err.trimEnd()).not.toContain('\n')
  })
  test('HEED_DEBUG adds the stack', async () => {
    const ran = await run(['explain', hi, '--top', '0'], { env: { HEED_DEBUG: '1' } })
    expect(ran.err).toMatch(/^heed: .*\n.*UsageError[\s\S]*\n\s+at /)
  })
})

describe('heed generate', () => {
  const bad: readonly Case[] = [
    ['--max 0', [hi, '--max', '0'], /--max is '0'.*at least 1/],
    ['--max beyond the context', [...on('gpt2'), '--max', '100'], /context|room|24/],
    ['--temperature below 0', [hi, '--temperature', '-1'], /--temperature is '-1'/],
    ['--temperature without a number', [hi, '--temperature', 'hot'], /--temperature is 'hot'/],
    ['--top-k without sampling', [hi, '--top-k', '5'], /--top-k needs.*--temperature/],
    ['--top-k 0', [hi, '--temperature', '1', '--top-k', '0'], /--top-k is '0'/],
    ['--top-p above 1', [hi, '--temperature', '1', '--top-p', '1.5'], /--top-p is '1\.5'/],
    ['--top-p 0', [hi, '--temperature', '1', '--top-p', '0'], /--top-p is '0'/],
    ['--seed without sampling', [hi, '--seed', '3'], /--seed needs.*--temperature/],
    ['an encoder', [hi, '--model', at('mlm')], /mlm is an encoder.*heed explain/],
    ['empty text', [''], /the text is empty/],
    ['text longer than the context', ['the keys '.repeat(20), '--model', at('gpt2')], /context of 24/],
    ['unknown option', [hi, '--tempreature', '1'], /unknown option '--tempreature'.*--temperature/],
    ['unknown backend', [hi, '--backend', 'gpu'], /--backend 'gpu'/],
    ['empty stop', [hi, '--stop', ''], /--stop needs a value/],
  ]
  test.each(bad.map((c) => [c[0], c] as const))('%s', async (_, [, argv, says]) =>
    expectOneLine(await run(['generate', ...argv]), says),
  )
})
