import { grad, type Model, mul, sub, type Tensor, tensor } from '@heed/tensor'
import { describe, expect, it } from 'vitest'
import { expectClose, fixture, load } from '../test/fixtures.js'
import { InputError, loadModel, sentenceVector } from './index.js'

const gpt2 = await load('gpt2')
const bert = await load('bert-mlm')
const TEXT = 'see the time'

describe('a run on text', () => {
  it('tells its tokens as they read, and adds none of its own', async () => {
    const run = await gpt2.run(TEXT)
    expect(run.tokens).toEqual(['s', 'e', 'e', ' t', 'he', ' t', 'i', 'm', 'e'])
    expect(run.tokens.join('')).toBe(TEXT)
    expect(run.text).toBe(TEXT)
    expect(run.specialTokensAdded).toBe(0)
    expect(gpt2.encode(TEXT)).toEqual(run.ids[0])
    expect(gpt2.decode(run.ids[0])).toBe(TEXT)
  })
  it('gives the likeliest next tokens with their probabilities', async () => {
    const run = await gpt2.run(TEXT)
    const logits = ((await run.output.array()) as number[][][])[0]
    const last = logits.at(-1) as number[]
    const total = last.reduce((s, v) => s + Math.exp(v), 0)
    const best = last.map((v, id) => ({ id, p: Math.exp(v) / total })).sort((a, b) => b.p - a.p)
    const top = run.top(3)
    expect(top.map((t) => t.id)).toEqual(best.slice(0, 3).map((b) => b.id))
    top.forEach((t, i) => {
      expect(t.probability).toBeCloseTo(best[i].p, 6)
      expect(t.token).toBe(gpt2.tokenText(t.id))
    })
    const first = logits[0].indexOf(Math.max(...logits[0]))
    expect(run.top(1, 0)[0].id).toBe(first)
    expect(run.top(1, -9)[0].id).toBe(first)
    expect(run.top(97)).toHaveLength(97)
    expect(() => run.top(1, 9)).toThrow('position 9 is outside 0..8')
    expect(() => run.top(0)).toThrow('n is 0')
  })
  it('gives logits and probabilities of tokens by name, differentiable', async () => {
    const run = await gpt2.run(TEXT, { keep: ['blocks.*.attn.z', 'logits'] })
    const last = ((await run.output.array()) as number[][][])[0].at(-1) as number[]
    expect(await run.logit(' t').item()).toBeCloseTo(last[95], 5)
    expect(await run.logit('he', { position: 0 }).item()).toBeCloseTo(
      ((await run.output.array()) as number[][][])[0][0][96],
      5,
    )
    const [best] = run.top(1)
    expect(await run.probability(best.id).item()).toBeCloseTo(best.probability, 5)
    expect(await run.logProbability(best.token).item()).toBeCloseTo(Math.log(best.probability), 5)

    // the gradient at z says what a small step of it does
    const [dz] = grad(sub(run.logit(' t'), run.logit('he')), [run.get('blocks.1.attn.z')])
    expect(dz.shape).toEqual(run.get('blocks.1.attn.z').shape)
    const slopes = (await dz.data()) as Float32Array
    const at = slopes.reduce((b, v, i) => (Math.abs(v) > Math.abs(slopes[b]) ? i : b), 0)
    const step = 1e-2
    const difference = async (h: number): Promise<number> => {
      const bump = new Float32Array(slopes.length)
      bump[at] = h
      const r = await gpt2.run(TEXT, {
        edit: { 'blocks.1.attn.z': (z) => sub(z, mul(tensor(bump, z.shape), -1)) },
      })
      return sub(r.logit(' t'), r.logit('he')).item()
    }
    expect(((await difference(step)) - (await difference(-step))) / (2 * step)).toBeCloseTo(slopes[at], 2)
  })
  it('refuses tokens that are several pieces, and names them', async () => {
    const run = await gpt2.run(TEXT)
    expect(() => run.logit(' the')).toThrow(
      '" the" is 2 tokens (" t" "he"), expected one; choose one of them, or give an id',
    )
    expect(() => run.logit(97)).toThrow('token id 97 is outside 0..96')
    expect(() => run.logit('')).toThrow('"" is 0 tokens')
  })
  it('changes with edits, as data and as functions', async () => {
    const zero = await gpt2.run(TEXT, { edit: [{ at: 'blocks.1.attn.z', head: 3, op: 'scale', value: 0 }] })
    const mask = tensor(Float32Array.from([1, 1, 1, 0, 1]), [1, 5, 1, 1])
    const same = await gpt2.run(TEXT, { edit: { 'blocks.1.attn.z': (z) => mul(z, mask) } })
    const plain = await gpt2.run(TEXT)
    expect(zero.top(97)).toEqual(same.top(97))
    expect(zero.top(97)).not.toEqual(plain.top(97))
    await expect(gpt2.run(TEXT, { edit: { 'blocks.9.attn.z': (z) => z } })).rejects.toThrow(
      "edit 'blocks.9.attn.z' never fired",
    )
  })
  it('recomputes what was not kept', async () => {
    const kept = await gpt2.run(TEXT, { keep: ['blocks.1.attn.pattern'] })
    const asked = await gpt2.run(TEXT)
    const a = (await kept.get('blocks.1.attn.pattern').array()) as number[][][][]
    const b = (await asked.get('blocks.1.attn.pattern').array()) as number[][][][]
    expect(a).toEqual(b)
    a[0].flat().forEach((row) => {
      expect(row.reduce((s, v) => s + v, 0)).toBeCloseTo(1, 5)
    })
    expect(a[0][0][0].slice(1)).toEqual([0, 0, 0, 0, 0, 0, 0, 0])
  })
  it('runs on ids and batches too', async () => {
    const alone = await gpt2.run(TEXT)
    const batch = gpt2.batchOf(['she', TEXT], { padSide: 'left' })
    const both = await gpt2.run(batch)
    expect(both.ids).toHaveLength(2)
    alone.top(3).forEach((t, i) => {
      expect(both.top(3, undefined, 1)[i].id).toBe(t.id)
      expect(both.top(3, undefined, 1)[i].probability).toBeCloseTo(t.probability, 5)
    })
    const short = (await gpt2.run('she')).top(2)
    const padded = both.top(2, -1, 0)
    expect(padded.map((t) => t.id)).toEqual(short.map((t) => t.id))
    expect(padded[0].probability).toBeCloseTo(short[0].probability, 5)
    expect(() => both.top(1, 0, 2)).toThrow('row 2 is outside 0..1')
    // padding on the right: the last token, not the last position
    const right = await gpt2.run(gpt2.batchOf(['she', TEXT]))
    expect(right.top(2).map((t) => t.id)).toEqual(short.map((t) => t.id))
    expect(right.top(2)[0].probability).toBeCloseTo(short[0].probability, 5)
    await expect(gpt2.run([[1, 2]], { pair: 'x' })).rejects.toThrow(
      'pair and addSpecialTokens belong to a text',
    )
  })
})

describe('worlds', () => {
  it('one edit makes many rows of one text, each with its predictions', async () => {
    const heads = tensor(
      Float32Array.from({ length: 25 }, (_, i) => (i % 6 === 0 ? 0 : 1)),
      [5, 5, 1, 1],
    )
    const run = await gpt2.run(TEXT, { edit: { 'blocks.1.attn.z': (z) => mul(z, heads) } })
    expect(run.output.shape[0]).toBe(5)
    for (const head of [0, 3]) {
      const alone = await gpt2.run(TEXT, { edit: [{ at: 'blocks.1.attn.z', head, op: 'scale', value: 0 }] })
      expect(run.top(1, undefined, head)[0].id).toBe(alone.top(1)[0].id)
      expect(run.top(1, undefined, head)[0].probability).toBeCloseTo(alone.top(1)[0].probability, 5)
    }
    expect(run.tokensOf(3)).toEqual(run.tokens)
  })
  it('is a model for every tool that takes one', () => {
    const model: Model = gpt2
    expect(model.encode?.('see')).toHaveLength(3)
    expect(gpt2.encode('x'.repeat(100))).toHaveLength(100)
  })
})

describe('an encoder’s run', () => {
  it('adds the special tokens of tokenizer.json and neither its padding nor its truncation', async () => {
    const run = await bert.run('The cat sat on the mat')
    expect(run.tokens).toEqual(['[CLS]', 'the', 'cat', 'sat', 'on', 'the', 'mat', '[SEP]'])
    expect(run.specialTokensAdded).toBe(2)
    expect((await bert.run('The cat', { addSpecialTokens: false })).tokens).toEqual(['the', 'cat'])
  })
  it('predicts at the mask', async () => {
    const run = await bert.run('the [MASK] sat')
    const logits = ((await run.output.array()) as number[][][])[0][2]
    expect(run.top(1)[0].id).toBe(logits.indexOf(Math.max(...logits)))
    expect(await run.logit('cat').item()).toBeCloseTo(logits[6], 5)
    const plain = await bert.run('the cat')
    expect(() => plain.top(1)).toThrow(
      'the text has no [MASK]; put one where a word is to be predicted, or give a position',
    )
    expect(plain.top(1, 1)).toHaveLength(1)
  })
  it('reads a second text with type 1', async () => {
    const run = await bert.run('a cat', { pair: 'a dog' })
    expect(run.encoding?.typeIds).toEqual([0, 0, 0, 0, 1, 1, 1])
    const types = (await run.get('type_embed').array()) as number[][][]
    expect(types[0][3]).toEqual(types[0][0])
    expect(types[0][4]).not.toEqual(types[0][0])
  })
  it('embeds nothing that it was not asked to cut', async () => {
    const long = Array.from({ length: 60 }, () => 'cat').join(' ')
    await expect(bert.embed(['a cat', long])).rejects.toThrow(
      "the text has 62 tokens, more than the model's context of 40",
    )
    const cut = (await bert.embed(['a cat', long], { truncate: true, batchSize: 1 })) as Tensor
    expect(cut.shape).toEqual([2, 24])
    const ids = [...bert.encode(long).slice(0, 39), 3]
    const alone = (await sentenceVector(await bert.run([ids])).data()) as Float32Array
    await expectClose(((await cut.data()) as Float32Array).slice(24), alone, 1e-6)
    await expect(gpt2.embed(['a'])).rejects.toThrow('this decoder makes no sentence vectors')
  })
})

describe('a run refuses', () => {
  it('texts that are too long or empty', async () => {
    await expect(gpt2.run('x'.repeat(41))).rejects.toThrow(
      "the text has 41 tokens, more than the model's context of 40; shorten it by 1 tokens",
    )
    await expect(gpt2.run('')).rejects.toThrow('the text is empty, and this decoder adds no token of its own')
    await expect(gpt2.run('')).rejects.toBeInstanceOf(InputError)
    expect((await bert.run('')).tokens).toEqual(['[CLS]', '[SEP]'])
  })
  it('ids outside the vocabulary, ragged rows, unknown inputs and options', async () => {
    await expect(gpt2.run([[1, 97]])).rejects.toThrow('ids hold 97, which is outside 0..96')
    await expect(gpt2.run([[1, -1]])).rejects.toThrow('ids hold -1')
    await expect(gpt2.run([[1, 2], [3]])).rejects.toThrow('row 1 of ids has 1 entries, the first has 2')
    await expect(gpt2.run([])).rejects.toThrow('there are no ids')
    await expect(gpt2.run({ ids: [[1]], attention_mask: [[1]] } as never)).rejects.toThrow(
      "'attention_mask' is unknown; an input has ids, typeIds, mask, positions",
    )
    await expect(bert.run({ ids: [[1]], typeIds: [[2]] })).rejects.toThrow(
      'typeIds hold 2, which is outside 0..1',
    )
    await expect(gpt2.run('a', { keeep: [] } as never)).rejects.toThrow(
      "run: option 'keeep' is unknown; options are keep, edit, pair, addSpecialTokens",
    )
    await expect(gpt2.run([Array.from({ length: 41 }, () => 1)])).rejects.toThrow(
      "41 tokens are more than the model's context of 40",
    )
    expect(() => gpt2.batchOf(['a'], { padSide: 'middle' as never })).toThrow("padSide is 'middle'")
  })
  it('text without a tokenizer', async () => {
    const bare = await loadModel(fixture('gpt2'))
    await expect(bare.run('a')).rejects.toThrow(
      'has no tokenizer.json, so it reads no text; pass ids, or add the file',
    )
    expect((await bare.run([[1, 2]])).top(1)[0].token).toMatch(/^<\d+>$/)
  })
})
