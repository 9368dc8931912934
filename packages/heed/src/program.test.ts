/** The program as a person starts it: a real process, its streams and its exit code. */
import { spawn } from 'node:child_process'
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { gpt2Files, newFolder, writeFiles } from '../test/make-models.js'
import { run } from '../test/run-main.js'
import { main } from './main.js'

const here = fileURLToPath(new URL('.', import.meta.url))
const require = createRequire(import.meta.url)
const tsx = join(require.resolve('tsx/package.json'), '../dist/cli.mjs')
const folder = newFolder()
beforeAll(() => {
  writeFiles(join(folder, 'gpt2'), gpt2Files())
})
afterAll(() => rmSync(folder, { recursive: true }))

interface Ended {
  readonly code: number | null
  readonly out: string
  readonly err: string
}
/** `close`: how many characters are read before the pipe is closed. */
function program(argv: readonly string[], o: { stdin?: Uint8Array; close?: number } = {}): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(
      process.execPath,
      [tsx, '--tsconfig', join(here, '../../../tsconfig.json'), join(here, 'bin.ts'), ...argv],
      {
        cwd: folder,
        env: { ...process.env, NODE_OPTIONS: '' },
      },
    )
    let [out, err] = ['', '']
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      out += text
      if (o.close !== undefined && out.length >= o.close) child.stdout.destroy()
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      err += text
    })
    child.on('error', reject)
    child.on('close', (code) => resolve({ code, out, err }))
    child.stdin.end(o.stdin ?? '')
  })
}

test('explains, writes the report, and prints what main prints', async () => {
  const argv = ['explain', 'the keys to', '--model', join(folder, 'gpt2'), '--out', join(folder, 'r.html')]
  const [real, inProcess] = await Promise.all([program(argv), run(argv)])
  // the program has fused multiply-add on every Node, this process only from 22 on
  const words = (out: string): string =>
    out
      .replace(/cpu \(\w+/, 'cpu (relaxed')
      .replace(/\(to [\d.]+e-\d\)/g, '(rounding)')
      .replace(/\s+/g, ' ')
  expect(real.out).toContain('on cpu (relaxed')
  expect({ ...real, out: words(real.out) }).toEqual({ code: 0, out: words(inProcess.out), err: '' })
  expect(readFileSync(join(folder, 'r.html'), 'utf8')).toMatch(/^<!doctype html>/)
})
test('ends with one line and exit code 1, without a report', async () => {
  const model = writeFiles(join(folder, 'cut'), {
    ...gpt2Files(),
    'model.safetensors': (gpt2Files()['model.safetensors'] as Uint8Array).slice(0, 5000),
  })
  const ended = await program(['explain', 'the', '--model', model, '--out', 'cut.html'])
  expect(ended.code).toBe(1)
  expect(ended.out).toBe('')
  expect(ended.err).toMatch(/^heed: .*cut\/model\.safetensors: .*\n$/)
  expect(ended.err.trimEnd()).not.toContain('\n')
  expect(existsSync(join(folder, 'cut.html'))).toBe(false)
})
test('standard input that is not UTF-8 is refused', async () => {
  const ended = await program(['explain', '-'], { stdin: Uint8Array.of(0x63, 0xe9, 0x0a) })
  expect(ended).toEqual({
    code: 1,
    out: '',
    err: expect.stringMatching(/^heed: standard input is not UTF-8.*\n$/),
  })
})
test('a reader that stops early is no error', async () => {
  // more than any pipe holds, so that the writer meets the closed end
  const model = writeFiles(join(folder, 'long'), gpt2Files({ layers: 1, heads: 1, dModel: 8, nCtx: 200 }))
  const argv = ['explain', 'the '.repeat(180), '--model', model, '--json', '--layer', '0', '--head', '0']
  const ended = await program(argv, { close: 1 })
  expect(ended).toMatchObject({ code: 0, err: '' })
  expect(ended.out).not.toContain('\n')
})
test('nor is a write into a closed pipe that throws at once', async () => {
  let err = ''
  const closed = (code: string) => ({
    stdout: {
      write: (): never => {
        throw Object.assign(new Error(`write ${code}`), { code })
      },
    },
    stderr: { write: (text: string) => void (err += text) },
    stdin: (async function* () {})(),
    env: {},
  })
  expect(await main(['--help'], closed('EPIPE'))).toBe(0)
  expect(err).toBe('')
  expect(await main(['--help'], closed('ENOSPC'))).toBe(1)
  expect(err).toBe('heed: write ENOSPC\n')
})
test('--version is the package’s, --help and no argument explain the commands', async () => {
  const { version } = JSON.parse(readFileSync(join(here, '../package.json'), 'utf8')) as { version: string }
  expect(await program(['--version'])).toEqual({ code: 0, out: `${version}\n`, err: '' })
  for (const argv of [['--help'], ['-h'], ['help'], []]) {
    const { code, out } = await run(argv)
    expect(code).toBe(0)
    expect(out).toMatch(/Usage: heed <command>[\s\S]*explain[\s\S]*generate/)
  }
  for (const argv of [
    ['explain', '--help'],
    ['explain', '-h'],
  ]) {
    const { code, out } = await run(argv)
    expect(code).toBe(0)
    for (const option of [
      '--file',
      '--model',
      '--with',
      '--layer',
      '--head',
      '--top',
      '--out',
      '--json',
      '--backend',
      '--seed',
      '--quiet',
    ])
      expect(out).toContain(`\n  ${option}`)
    expect(Math.max(...out.split('\n').map((l) => l.length))).toBeLessThanOrEqual(120)
  }
})
