import { getBackend, planCount } from '@heed/tensor'
import { describe, expect, it } from 'vitest'
import { expectClose, expected, fixture, load, want } from '../test/fixtures.js'
import {
  createModel,
  type GenerateOptions,
  generate,
  generateIds,
  loadModel,
  startDecoding,
  type TextModel,
} from './index.js'

const model = await load('gpt2')
const golden = await expected('gpt2')

async function pieces(m: TextModel, prompt: string | number[], options: GenerateOptions = {}) {
  const out = []
  for await (const piece of generate(m, prompt, options)) out.push(piece)
  return out
}
const ids = async (prompt: string | number[], options: GenerateOptions = {}) =>
  (await pieces(model, prompt, options)).map((p) => p.id)

describe('decoding through the cache', () => {
  it('equals the full forward, position by position, padded or not', async () => {
    const rows = [
      [3, 3, 10, 11, 12, 13, 14],
      [5, 6, 7, 8, 9, 10, 11],
    ]
    const mask = [
      [0, 0, 1],
      [1, 1, 1],
    ]
    const decoding = await startDecoding(model, { ids: rows.map((r) => r.slice(0, 3)), mask }, 4)
    for (let t = 3; t <= 7; t++) {
      const whole = await model.run({
        ids: rows.map((r) => r.slice(0, t)),
        mask: mask.map((m) => [...m, ...Array.from({ length: t - 3 }, () => 1)]),
        positions: [[0, 0, 0, 1, 2, 3, 4].slice(0, t), [0, 1, 2, 3, 4, 5, 6].slice(0, t)],
      })
      const last = ((await whole.output.array()) as number[][][]).flatMap((r) => r[t - 1])
      await expectClose(decoding.logits, last, 1e-4)
      expect(decoding.length).toBe(t)
      if (t < 7) await decoding.step(rows.map((r) => r[t]))
    }
  })
  it('equals Hugging Face’s step', async () => {
    const { input_ids, attention_mask, position_ids } = golden.batches.left.inputs
    const decoding = await startDecoding(
      model,
      { ids: input_ids, mask: attention_mask ?? null, positions: position_ids ?? null },
      1,
    )
    const got = await decoding.step(golden.step.left.input_ids.map((r) => r[0]))
    await expectClose(got, await want('gpt2', 'left.step.logits'), 1e-4)
  })
  it('runs one plan for every step and every length', async () => {
    const fresh = await createModel({ family: 'gpt2', nLayer: 1, nHead: 2, dModel: 8, nCtx: 64, nVocab: 31 })
    await pieces(fresh, [1, 2, 3], { maxNewTokens: 3 })
    const before = planCount(getBackend())
    await pieces(fresh, [4, 5, 6], { maxNewTokens: 30 })
    expect(planCount(getBackend())).toBe(before)
  })
  it('refuses what does not fit', async () => {
    await expect(startDecoding(model, { ids: [[1, 2]] }, 39)).rejects.toThrow(
      "the prompt's 2 tokens and 39 new ones are more than the model's context of 40; ask for at most 38 new tokens",
    )
    await expect(startDecoding(model, { ids: [[1, 2]], mask: [[1, 0]] }, 1)).rejects.toThrow(
      'padded on the right; pad it on the left',
    )
    await expect(startDecoding(await load('bert-mlm'), { ids: [[1]] }, 1)).rejects.toThrow(
      'this encoder does not generate',
    )
  })
})

describe('generateIds', () => {
  it.each(golden.generation.map((g) => [g.name, g] as const))(
    'continues as Hugging Face does: %s',
    async (_, g) => {
      const { settings, prompt, sequences } = g
      const got = await generateIds(
        model,
        { ids: prompt.input_ids, mask: prompt.attention_mask },
        { maxNewTokens: settings.max_new_tokens, eosId: settings.eos_token_id, padId: settings.pad_token_id },
      )
      expect(got).toEqual(sequences)
    },
  )
  it('needs something to go on with after the end of a row', async () => {
    const [first] = await ids([1, 2], { maxNewTokens: 1, eosToken: null })
    const rows = [
      [1, 2],
      [9, 9],
    ]
    await expect(generateIds(model, { ids: rows }, { maxNewTokens: 5, eosId: first })).rejects.toThrow(
      'there is no padId',
    )
  })
})

describe('generate', () => {
  it('takes the likeliest token again and again', async () => {
    const greedy = await ids('see the', { maxNewTokens: 5, eosToken: null })
    const text = [...model.encode('see the')]
    for (const id of greedy) {
      expect((await model.run([text])).top(1)[0].id).toBe(id)
      text.push(id)
    }
    expect(greedy).toHaveLength(5)
    expect(await ids(text.slice(0, -5), { maxNewTokens: 5, eosToken: null })).toEqual(greedy)
  })
  it('draws the same with the same seed, other with another', async () => {
    const options = { maxNewTokens: 12, temperature: 1.5, eosToken: null }
    const a = await ids('see', { ...options, seed: 3 })
    expect(await ids('see', { ...options, seed: 3 })).toEqual(a)
    expect(await ids('see', { ...options, seed: 4 })).not.toEqual(a)
    expect(await ids('see', { ...options, seed: 3, topK: 1 })).toEqual(
      await ids('see', { maxNewTokens: 12, eosToken: null }),
    )
  })
  it('gives text that together is the decoded whole, and ends before a stop text', async () => {
    const all = await pieces(model, 'see', { maxNewTokens: 12, eosToken: null })
    const text = all.map((p) => p.text).join('')
    expect(text).toBe(model.decode(all.map((p) => p.id)))
    // a stop text over two pieces, the first of which must be held back
    const stop = text.slice(4, 7)
    const cut = await pieces(model, 'see', { maxNewTokens: 12, eosToken: null, stop: ['never\u0000', stop] })
    expect(cut.map((p) => p.text).join('')).toBe(text.slice(0, text.indexOf(stop)))
    expect(cut.length).toBeLessThan(all.length)
  })
  it('holds back all of a stop text but its last character, wherever it stands', async () => {
    const all = await pieces(model, 'see', { maxNewTokens: 8, eosToken: null })
    const parts = all.map((p) => p.text)
    const text = parts.join('')
    let single = 0
    for (let i = 0; i + 3 <= parts.length; i++) {
      const stop = parts.slice(i, i + 3).join('')
      if (parts[i + 2].length === 1) single++
      const cut = await pieces(model, 'see', { maxNewTokens: 8, eosToken: null, stop })
      expect(cut.map((p) => p.text).join('')).toBe(text.slice(0, text.indexOf(stop)))
    }
    // the last character came alone, when two pieces waited for it
    expect(single).toBeGreaterThan(2)
  })
  it('gives back at the end what it held for a stop text that did not come', async () => {
    const all = await pieces(model, 'see', { maxNewTokens: 6, eosToken: null })
    const text = all.map((p) => p.text).join('')
    const held = await pieces(model, 'see', {
      maxNewTokens: 6,
      eosToken: null,
      stop: `${text.slice(-2)}~~never`,
    })
    expect(held.map((p) => p.text).join('')).toBe(text)
  })
  it('ends with the end token, whose text is not given', async () => {
    const all = await ids('see', { maxNewTokens: 6, eosToken: null })
    const end = all[3]
    const cut = await pieces(model, 'see', { maxNewTokens: 6, eosToken: end })
    expect(cut.map((p) => p.id)).toEqual(all.slice(0, all.indexOf(end) + 1))
    expect(cut.at(-1)?.text).toBe('')
    expect((await pieces(model, 'see', { maxNewTokens: 6, eosToken: model.tokenText(end) })).length).toBe(
      cut.length,
    )
  })
  it('ends with the end token of config.json by default', async () => {
    const all = await ids('see', { maxNewTokens: 6, eosToken: null })
    const own = await load('gpt2', { config: { eos_token_id: all[2], pad_token_id: 7 } })
    expect((await pieces(own, 'see', { maxNewTokens: 6 })).length).toBe(all.indexOf(all[2]) + 1)
    const rows = await generateIds(own, { ids: [[...own.encode('see')], [9, 9, 9]] }, { maxNewTokens: 6 })
    expect(rows[0].slice(3 + all.indexOf(all[2]) + 1)).toEqual(
      rows[0].slice(3 + all.indexOf(all[2]) + 1).map(() => 7),
    )
    expect(rows[0].length).toBe(rows[1].length)
  })
  it('begins with BOS where the prompt is empty, and stops at the end of the context', async () => {
    expect(await ids('', { maxNewTokens: 3, eosToken: null })).toEqual(
      await ids([1], { maxNewTokens: 3, eosToken: null }),
    )
    expect(await ids('x'.repeat(38), { eosToken: null })).toHaveLength(2)
    await expect(ids('x'.repeat(40))).rejects.toThrow('the prompt has 40 tokens, which leaves nothing')
    await expect(ids(new Array(40).fill(1))).rejects.toThrow('the prompt has 40 tokens, which leaves nothing')
    const bare = await load('gpt2', { config: { bos_token_id: null } })
    await expect(pieces(bare, '')).rejects.toThrow(
      'the prompt is empty and this model has no token to begin with',
    )
  })
  it('stops when it is aborted', async () => {
    const controller = new AbortController()
    const seen: number[] = []
    await expect(
      (async () => {
        for await (const p of generate(model, 'see', { eosToken: null, signal: controller.signal })) {
          seen.push(p.id)
          if (seen.length === 2) controller.abort()
        }
      })(),
    ).rejects.toThrow(/abort/i)
    expect(seen).toHaveLength(2)
    await expect(ids('see', { signal: AbortSignal.abort() })).rejects.toThrow(/abort/i)
  })
  it.each([
    [{ numBeams: 4 }, "generate: option 'numBeams' is unknown; options are maxNewTokens"],
    [{ temperature: -1 }, 'temperature is -1'],
    [{ temperature: 1, topK: 0 }, 'topK is 0, expected a positive integer'],
    [{ temperature: 1, topP: 1.5 }, 'topP is 1.5'],
    [{ topK: 5 }, 'topK without a temperature changes nothing'],
    [{ seed: -1 }, 'seed is -1'],
    [{ stop: '' }, 'stop is "", expected a text'],
    [{ maxNewTokens: 0 }, 'maxNewTokens is 0'],
    [{ maxNewTokens: 100 }, "more than the model's context of 40; ask for at most 37 new tokens"],
    [{ eosToken: 'zzz' }, 'eosToken "zzz" is no token of this model'],
  ])('refuses %j', async (options, message) => {
    await expect(ids('see', options as GenerateOptions)).rejects.toThrow(message)
  })
  it('generates from ids without a tokenizer', async () => {
    const bare = await loadModel(fixture('gpt2'))
    const out = await pieces(bare, [1, 2], { maxNewTokens: 2, eosToken: null })
    expect(out.map((p) => p.text)).toEqual(['', ''])
    await expect(pieces(bare, 'see')).rejects.toThrow('has no tokenizer.json')
  })
})
