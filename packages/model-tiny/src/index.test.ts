import { readFile, stat } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { files } from './index.js'

const json = async (name: keyof typeof files) => JSON.parse(await readFile(files[name], 'utf8'))

test('every file is there, beside the package and not inside src or dist', async () => {
  for (const [name, url] of Object.entries(files)) {
    expect(url.pathname).toMatch(/\/data\/[^/]+$/)
    expect(url.pathname).not.toMatch(/\/(?:src|dist)\//)
    expect(url.pathname.endsWith(`/${name}`)).toBe(true)
    expect((await stat(url)).size).toBeGreaterThan(0)
  }
})

test('the weights are float16, whole, of the shapes that the config says, and at most 4.5 MB', async () => {
  const bytes = await readFile(files['model.safetensors'])
  expect(bytes.length).toBeLessThanOrEqual(4_500_000)
  const length = Number(bytes.readBigUInt64LE(0))
  const header = JSON.parse(bytes.toString('utf8', 8, 8 + length))
  const { n_embd, n_layer, n_positions, vocab_size } = await json('config.json')
  expect(header['wte.weight']).toMatchObject({ dtype: 'F16', shape: [vocab_size, n_embd] })
  expect(header['wpe.weight'].shape).toEqual([n_positions, n_embd])
  expect(header[`h.${n_layer - 1}.mlp.c_proj.weight`].shape).toEqual([4 * n_embd, n_embd])
  expect(header[`h.${n_layer}.ln_1.weight`]).toBeUndefined()
  const ends = Object.entries(header).flatMap(([name, t]) =>
    name === '__metadata__' ? [] : [(t as { data_offsets: number[] }).data_offsets[1] as number],
  )
  expect(Math.max(...ends)).toBe(bytes.length - 8 - length)
})

test('the tokenizer has as many pieces as the config says', async () => {
  const tokenizer = await json('tokenizer.json')
  const { vocab_size, eos_token_id } = await json('config.json')
  expect(Object.keys(tokenizer.model.vocab)).toHaveLength(vocab_size)
  expect(tokenizer.model.vocab['<|endoftext|>']).toBe(eos_token_id)
})

test('the card keeps the promises of the README', async () => {
  const card = await json('card.json')
  expect(card.heldOut.bitsPerByte).toBeLessThan(card.kneserNey.trigram.bitsPerByte)
  expect(card.heads.previous.score).toBeGreaterThanOrEqual(0.6)
  expect(card.heads.induction.score).toBeGreaterThanOrEqual(0.7)
  for (const test of [card.nameTest, card.nameTest.firstGives])
    expect(test.accuracy).toBeGreaterThanOrEqual(0.9)
  expect(card.bytes).toBe((await stat(files['model.safetensors'])).size)
})
