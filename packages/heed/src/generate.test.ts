import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { loadModel } from '@heed/models'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { gpt2Files, newFolder, writeFiles } from '../test/make-models.js'
import { run } from '../test/run-main.js'

const folder = newFolder()
const prompt = 'the keys to'
const generate = (...argv: string[]) => run(['generate', prompt, '--model', join(folder, 'gpt2'), ...argv])
beforeAll(() => {
  writeFiles(join(folder, 'gpt2'), gpt2Files())
})
afterAll(() => rmSync(folder, { recursive: true }))

test('greedy: the text, then the likeliest tokens one by one', async () => {
  const { code, out, err } = await generate('--max', '6')
  expect([code, err]).toEqual([0, ''])
  // the oracle: one whole run a token, no cache
  const model = await loadModel(join(folder, 'gpt2'))
  const ids = [...model.encode(prompt)]
  for (let i = 0; i < 6; i++) ids.push((await model.run([ids])).top(1)[0].id)
  expect(out).toBe(`${model.decode(ids)}\n`)
  expect((await generate('--max', '6')).out).toBe(out)
})
test('sampling: the seed decides, and top-k 1 is greedy', async () => {
  const sample = async (seed: string) =>
    (await generate('--max', '8', '--temperature', '1', '--seed', seed)).out
  const seeds = await Promise.all(['1', '2', '3'].map(sample))
  expect(await sample('1')).toBe(seeds[0])
  expect(new Set(seeds).size).toBeGreaterThan(1)
  const one = await generate('--max', '8', '--temperature', '1', '--top-k', '1', '--seed', '5')
  expect(one.out).toBe((await generate('--max', '8')).out)
  const narrow = await generate('--max', '8', '--temperature', '1', '--top-p', '0.000001')
  expect(narrow.out).toBe((await generate('--max', '8')).out)
})
test('stop ends before its text, max and the context end it too', async () => {
  const whole = (await generate('--max', '8')).out.trimEnd()
  const stop = whole.slice(prompt.length + 2, prompt.length + 4)
  const cut = (await generate('--max', '8', '--stop', stop)).out
  expect(cut).toBe(`${whole.slice(0, whole.indexOf(stop, prompt.length))}\n`)
  const model = await loadModel(join(folder, 'gpt2'))
  const room = model.config.nCtx - model.encode(prompt).length
  expect((await generate()).out).toBe((await generate('--max', `${room}`)).out)
})
test('reads standard input and files; --help', async () => {
  const argv = ['--model', join(folder, 'gpt2'), '--max', '3']
  writeFiles(folder, { 'text.txt': `${prompt}\n` })
  const direct = (await run(['generate', prompt, ...argv])).out
  expect((await run(['generate', '-', ...argv], { stdin: `${prompt}\n` })).out).toBe(direct)
  expect((await run(['generate', '--file', join(folder, 'text.txt'), ...argv])).out).toBe(direct)
  expect((await run(['generate', '--help'])).out).toMatch(/^Usage: heed generate[\s\S]*--temperature T/)
})
