// Everything against what the Rust library gave for the same files and texts: ids, tokens, offsets, decoding, limits.
import { describe, expect, it } from 'vitest'
import { fileOf, fixture, names, shell, small } from '../test/fixtures.js'
import { type Encoding, TokenizerError, tokenizerFromJson } from './index.js'

interface Row {
  tokenizer: string
  text: string
  pair?: string
  ids: number[]
  tokens: string[]
  offsets: number[]
  points?: number[]
  special?: number[]
  typeIds?: number[]
  sequences?: (number | null)[]
  words: (number | null)[]
  plain?: number[]
  decoded?: string
  decodedAll?: string
}
const rows = fixture<Row[]>('encodings')

describe('encode and decode', () => {
  for (const name of names)
    it(`${name}: as the Rust library`, () => {
      const tok = small(name)
      const mine = rows.filter((row) => row.tokenizer === name)
      expect(mine.length).toBeGreaterThan(10)
      for (const row of mine) {
        const pair = row.pair === undefined ? {} : { pair: row.pair }
        const e = tok.encode(row.text, pair)
        const zeros = row.ids.map(() => 0)
        expect({
          text: row.text,
          ids: e.ids,
          tokens: e.tokens,
          offsets: e.offsets.flat(),
          points: e.offsetsCodePoints.flat(),
          special: e.specialTokensMask,
          typeIds: e.typeIds,
          sequences: e.sequences,
          words: e.words,
          attention: e.attentionMask,
        }).toEqual({
          text: row.text,
          ids: row.ids,
          tokens: row.tokens,
          offsets: row.offsets,
          points: row.points ?? row.offsets,
          special: row.special ?? zeros,
          typeIds: row.typeIds ?? zeros,
          sequences: row.sequences ?? zeros,
          words: row.words,
          attention: row.ids.map(() => 1),
        })
        if (row.plain)
          expect(tok.encode(row.text, { ...pair, addSpecialTokens: false }).ids).toEqual(row.plain)
        if (row.decoded !== undefined) {
          expect(tok.decode(row.ids)).toBe(row.decoded)
          expect(tok.decode(row.ids, { skipSpecialTokens: false })).toBe(row.decodedAll)
        }
      }
    })

  it('takes lone surrogates for U+FFFD, one unit wide', () => {
    const tok = small('byte')
    const e = tok.encode('a\ud800b😀\udc00')
    expect(e.ids).toEqual(tok.encode('a\ufffdb😀\ufffd').ids)
    expect(e.offsets.at(-1)).toEqual([5, 6])
    expect(e.offsetsCodePoints.at(-1)).toEqual([4, 5])
  })

  it('takes given words: word numbers are theirs, offsets begin anew in each', () => {
    const e = small('bert').encode(['the', 'Rabbits!'], { pair: ['the'] })
    const inner = e.ids.map((_, i) => i).filter((i) => e.specialTokensMask[i] === 0)
    expect(inner.map((i) => e.words[i])).toEqual([0, ...Array(inner.length - 2).fill(1), 0])
    expect(e.offsets[inner[0]]).toEqual([0, 3])
    expect(e.offsets[inner[1]][0]).toBe(0)
    expect(e.offsets[inner[inner.length - 2]][1]).toBe(8)
    expect(e.sequences[inner[inner.length - 1]]).toBe(1)
  })

  it('leaves special tokens of the text as text when asked', () => {
    const tok = small('byte')
    expect(tok.encode('<|endoftext|>').ids).toEqual([0])
    const plain = tok.encode('<|endoftext|>', { splitSpecialTokens: true })
    expect(plain.ids).not.toContain(0)
    expect(tok.decode(plain.ids)).toBe('<|endoftext|>')
  })

  it('stays fast on one long word', () => {
    const start = performance.now()
    const e = small('byte').encode('a'.repeat(100_000))
    expect(e.offsets.at(-1)?.[1]).toBe(100_000)
    expect(performance.now() - start).toBeLessThan(5000) // quadratic merging would take minutes
  })

  it('ignores ids that stand for nothing', () => {
    const tok = small('byte')
    expect(tok.decode([...tok.encode('ok').ids, 99_999])).toBe('ok')
    expect(tok.idToToken(99_999)).toBeUndefined()
  })

  it('shows the bytes of tokens that are part of a character, and of no others', () => {
    const tok = small('byte')
    const bytes = tok.encode('👧', { addSpecialTokens: false }).ids.map((id) => tok.tokenBytes(id))
    expect(bytes.every((b) => b !== null)).toBe(true)
    expect(bytes.flatMap((b) => [...(b ?? [])])).toEqual([0xf0, 0x9f, 0x91, 0xa7])
    for (const id of [...tok.encode('ok é').ids, 0]) {
      const whole = tok.decode([id], { skipSpecialTokens: false })
      expect(tok.tokenBytes(id) === null).toBe(!whole.includes('\ufffd'))
    }
    expect(tok.tokenBytes(0)).toBeNull()
    expect(tok.tokenBytes(99_999)).toBeNull()
  })
})

describe('decodeStream', () => {
  const streams = fixture<{ tokenizer: string; ids: number[]; chunks: (string | null)[] }[]>('streams')
  for (const { tokenizer, ids, chunks } of streams)
    it(`${tokenizer}: ${JSON.stringify(chunks.join(''))}`, () => {
      const stream = small(tokenizer).decodeStream()
      expect(ids.map((id) => stream.push(id))).toEqual(chunks)
      expect(stream.flush()).toBe('')
    })

  it('gives an open character as U+FFFD at the end, then starts afresh', () => {
    const tok = small('byte')
    const ids = tok.encode('a👧').ids
    const stream = tok.decodeStream()
    const out = ids.slice(0, -1).map((id) => stream.push(id))
    expect(out).toEqual(['a', null, null, null])
    expect(stream.flush()).toBe('\ufffd')
    expect(ids.map((id) => stream.push(id)).at(-1)).toBe('👧')
  })
})

describe('truncation and padding', () => {
  interface Lite {
    ids: number[]
    typeIds: number[]
    special: number[]
    attention: number[]
    points: number[]
    sequences: (number | null)[]
    overflowing?: Lite[]
  }
  interface Limit {
    tokenizer: string
    truncation: object | null
    padding: object | null
    inputs: string[][]
    encodings?: Lite[]
    error?: boolean
  }
  const lite = (e: Encoding): Lite => ({
    ids: e.ids,
    typeIds: e.typeIds,
    special: e.specialTokensMask,
    attention: e.attentionMask,
    points: e.offsetsCodePoints.flat(),
    sequences: e.sequences,
  })
  fixture<Limit[]>('limits').forEach(({ tokenizer, truncation, padding, inputs, encodings, error }, i) => {
    it(`${i} ${tokenizer} ${JSON.stringify(truncation)} ${JSON.stringify(padding)}`.slice(0, 110), () => {
      const tok = tokenizerFromJson({ ...fileOf(tokenizer), truncation, padding })
      const run = () =>
        tok.encodeBatch(
          inputs.map((i) => i[0]),
          { pairs: inputs.map((i) => i[1]) },
        )
      if (error) return expect(run).toThrow(TokenizerError)
      expect(run().map((e) => ({ ...lite(e), overflowing: e.overflowing.map(lite) }))).toEqual(encodings)
    })
  })

  it('puts the settings of a call over those of the file', () => {
    const fixed = { strategy: { Fixed: 9 }, direction: 'Right', pad_id: 0, pad_token: '[PAD]' }
    const tok = tokenizerFromJson({ ...fileOf('bert'), truncation: { max_length: 5 }, padding: fixed })
    const typed = tokenizerFromJson({
      ...fileOf('bert'),
      padding: { ...fixed, pad_type_id: 4, pad_to_multiple_of: 5 },
    })
    expect(typed.encode('the', { padding: { side: 'left' } }).typeIds).toEqual([4, 4, 0, 0, 0])
    expect(tok.encode('the', { padding: { length: 4 } }).typeIds).toEqual([0, 0, 0, 0])
    const text = 'the Rabbit took a watch'
    expect(tok.encode(text).attentionMask).toEqual([1, 1, 1, 1, 1, 0, 0, 0, 0])
    expect(tok.encode(text, { padding: false }).ids.length).toBe(5)
    expect(tok.encode(text, { truncation: false, padding: false }).overflowing).toEqual([])
    const short = tok.encode(text, {
      truncation: { maxLength: 4 },
      padding: { length: 6, side: 'left', padId: 7 },
    })
    expect(short.ids.slice(0, 2)).toEqual([7, 7])
    expect(short.attentionMask).toEqual([0, 0, 1, 1, 1, 1])
    expect(small('bert').encodeBatch(['the', text], { padding: true, padSide: 'left' })[0].ids[0]).toBe(0)
    expect(() => small('byte').encode('a', { padding: { length: 9 } })).toThrow(/no padding token/)
    expect(() => tok.encode('a', { padding: { lenght: 6 } as object })).toThrow(/unknown option "lenght"/)
    expect(() => tok.encode('a', { truncation: { maxLength: 1.5 } })).toThrow(/maxLength is 1.5/)
    expect(() => tok.encode('a', { maxLength: 6 } as object)).toThrow(/unknown option "maxLength"/)
  })
})

describe('components alone', () => {
  interface Part {
    component: object
    input: string
    output: string
    points: number[]
  }
  const parts = fixture<{
    normalizers: Part[]
    preTokenizers: (Omit<Part, 'output'> & { output: string[] })[]
    decoders: { component: object; input: string[]; output: string }[]
  }>('components')

  it('normalizers: text and alignment', () => {
    for (const { component, input, output, points } of parts.normalizers) {
      const got = shell({ normalizer: component }).normalize(input)
      expect({ component, input, output: got.text, points: got.offsetsCodePoints.flat() }).toEqual({
        component,
        input,
        output,
        points,
      })
    }
  })
  it('pre-tokenizers: pieces and where they are', () => {
    for (const { component, input, output, points } of parts.preTokenizers) {
      const got = shell({ pre_tokenizer: component }).preTokenize(input)
      expect({ component, input, output: got.pieces, points: got.offsetsCodePoints.flat() }).toEqual({
        component,
        input,
        output,
        points,
      })
    }
  })
  it('decoders: token strings to text', () => {
    for (const { component, input, output } of parts.decoders) {
      const vocab = Object.fromEntries(input.map((token, i) => [token, i]))
      const tok = shell({ decoder: component, model: { type: 'BPE', vocab, merges: [] } })
      expect({ component, input, output: tok.decode(input.map((t) => vocab[t])) }).toEqual({
        component,
        input,
        output,
      })
    }
  })
})

describe('what a tokenizer says of itself', () => {
  it('vocabulary, special tokens, helpers', () => {
    const bert = small('bert')
    expect(bert.specialTokens.map((t) => t.token)).toEqual(['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'])
    expect(bert.padToken).toEqual({ id: 0, token: '[PAD]' })
    expect(bert.maskToken).toEqual({ id: 4, token: '[MASK]' })
    expect(bert.unkToken).toEqual({ id: 1, token: '[UNK]' })
    expect(bert.tokenToId('[SEP]')).toBe(3)
    expect(bert.idToToken(3)).toBe('[SEP]')
    expect(bert.vocabSize).toBe(359)
    const byte = small('byteTrim')
    expect([byte.padToken, byte.unkToken]).toEqual([null, null])
    expect(byte.vocabSize).toBe(423)
    expect(byte.tokenToId('never seen')).toBeUndefined()
  })
  it('gives its file back', () => {
    expect(small('llama').toJson()).toEqual(fileOf('llama'))
    expect(tokenizerFromJson(JSON.stringify(small('bert').toJson())).encode('the').ids).toEqual(
      small('bert').encode('the').ids,
    )
  })
})
