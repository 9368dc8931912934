// What must hold for every text: nothing is lost, offsets are slices, a stream is the whole, batches are singles.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { small } from '../test/fixtures.js'
import { charToToken, charToWord, wordToChars, wordToTokens } from './index.js'

const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.string({ unit: 'grapheme', maxLength: 20 }),
  fc
    .array(
      fc.constantFrom(
        'the ',
        ' Rabbit',
        '  ',
        '\n',
        "it's",
        'é',
        '👩‍👧',
        '中',
        '12',
        '<|endoftext|>',
        '[MASK]',
      ),
      { maxLength: 12 },
    )
    .map((a) => a.join('')),
)
const wellFormed = (s: string) => s.replace(/\p{Surrogate}/gu, '\ufffd')
const seed = Number(process.env.SEED ?? 20_240_611)
const check = (property: fc.IRawProperty<unknown>) =>
  fc.assert(property as fc.IRawProperty<unknown>, { numRuns: 300, seed })

describe(`properties, seed ${seed}`, () => {
  it('byte level: decode(encode(x)) = x', () => {
    check(
      fc.property(text, (x) => {
        for (const name of ['byte', 'byteSplit']) {
          const tok = small(name)
          expect(tok.decode(tok.encode(x).ids, { skipSpecialTokens: false })).toBe(wellFormed(x))
        }
      }),
    )
  })

  it('byte level: offsets slice the text that the token stands for', () => {
    const tok = small('byte')
    check(
      fc.property(text, (x) => {
        const e = tok.encode(x)
        const points = Array.from(wellFormed(x))
        let covered = 0
        e.ids.forEach((id, i) => {
          const [start, end] = e.offsets[i]
          const slice = wellFormed(x).slice(start, end)
          const [from, to] = e.offsetsCodePoints[i]
          expect(points.slice(from, to).join('')).toBe(slice)
          const own = tok.decode([id], { skipSpecialTokens: false })
          if (!own.includes('\ufffd')) expect(slice).toBe(own)
          expect(start).toBeLessThanOrEqual(covered)
          covered = Math.max(covered, end)
        })
        expect(covered).toBe(x.length)
      }),
    )
  })

  it('a stream gives what decode gives', () => {
    const tok = small('byte')
    check(
      fc.property(fc.array(fc.nat(430), { maxLength: 30 }), text, (ids, x) => {
        for (const some of [ids, tok.encode(x).ids]) {
          const stream = tok.decodeStream({ skipSpecialTokens: false })
          const out = some.map((id) => stream.push(id) ?? '').join('') + stream.flush()
          expect(out).toBe(tok.decode(some, { skipSpecialTokens: false }))
        }
      }),
    )
  })

  it('WordPiece: tokens are slices of the text, but for case and accents', () => {
    const tok = small('bert')
    check(
      fc.property(fc.string({ unit: fc.constantFrom(...'abcThe Rit.,!é  '), maxLength: 40 }), (x) => {
        const e = tok.encode(x, { addSpecialTokens: false })
        e.tokens.forEach((token, i) => {
          if (token === '[UNK]') return
          const slice = x.slice(...e.offsets[i])
          expect(slice.normalize('NFD').replace(/\p{M}/gu, '').toLowerCase()).toBe(token.replace(/^##/, ''))
        })
      }),
    )
  })

  it('a batch is its texts one by one, padded', () => {
    const tok = small('bert')
    check(
      fc.property(fc.array(text, { minLength: 1, maxLength: 4 }), (texts) => {
        const batch = tok.encodeBatch(texts, { padding: true })
        const length = Math.max(...texts.map((x) => tok.encode(x).ids.length))
        batch.forEach((e, i) => {
          const alone = tok.encode(texts[i]).ids
          expect(e.ids).toEqual([...alone, ...Array(length - alone.length).fill(0)])
          expect(e.attentionMask.reduce((a, b) => a + b, 0)).toBe(alone.length)
        })
      }),
    )
  })

  it('characters, tokens and words find each other', () => {
    const tok = small('bert')
    check(
      fc.property(text, text, (x, y) => {
        const e = tok.encode(x, { pair: y })
        e.ids.forEach((_, i) => {
          const sequence = e.sequences[i]
          if (sequence === null) return
          const [start, end] = e.offsets[i]
          const found = charToToken(e, start, sequence)
          if (start < end) expect(found).not.toBeNull()
          const word = e.words[i] as number
          const tokens = wordToTokens(e, word, sequence) as [number, number]
          expect(tokens[0] <= i && i < tokens[1]).toBe(true)
          expect(wordToChars(e, word, sequence)).toEqual([
            e.offsets[tokens[0]][0],
            e.offsets[tokens[1] - 1][1],
          ])
          if (found === i) expect(charToWord(e, start, sequence)).toBe(word)
        })
        expect(charToToken(e, x.length)).toBeNull()
        expect(wordToTokens(e, 10_000)).toBeNull()
      }),
    )
  })
})
