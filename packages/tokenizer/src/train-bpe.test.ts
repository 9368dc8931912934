// Training against merges that the Rust trainer learned from the same texts, and at a size where slowness shows.
import { describe, expect, it } from 'vitest'
import { fileOf, fixture } from '../test/fixtures.js'
import { trainBpe } from './index.js'

interface Model {
  vocab: Record<string, number>
  merges: [string, string][]
}
const modelOf = (file: object) => (file as { model: Model }).model

describe('trainBpe', () => {
  const rows =
    fixture<
      {
        texts: string[]
        args: {
          vocab_size: number
          min_frequency: number
          special_tokens: string[]
          max_token_length?: number
        }
        merges: [string, string][]
        last: string[]
      }[]
    >('training')
  it('learns the merges of the Rust trainer, ties and repeats included', () => {
    for (const { texts, args, merges, last } of rows) {
      const tok = trainBpe(texts, {
        vocabSize: args.vocab_size,
        minFrequency: args.min_frequency,
        specialTokens: args.special_tokens,
        ...(args.max_token_length ? { maxTokenLength: args.max_token_length } : {}),
      })
      const { vocab, merges: got } = modelOf(tok.toJson())
      expect({ texts, args, merges: got }).toEqual({ texts, args, merges })
      expect(
        Object.keys(vocab)
          .sort((a, b) => vocab[a] - vocab[b])
          .slice(256),
      ).toEqual(last)
    }
  })

  it('gives the whole file that the Rust library writes', () => {
    const lines = fixture<string>('prose').split(/(?<=\n)/)
    const tok = trainBpe(lines, { vocabSize: 420, specialTokens: ['<|endoftext|>'] })
    expect(tok.toJson()).toEqual(fileOf('byte'))
  })

  it('reads its texts once, and copes with a generator, empty texts and lone surrogates', () => {
    let walks = 0
    function* texts() {
      walks++
      for (let i = 0; i < 200; i++) yield i % 3 === 0 ? '' : `low lower lowest ${i} \ud800`
    }
    const tok = trainBpe(texts(), { vocabSize: 300 })
    expect(walks).toBe(1)
    expect(tok.vocabSize).toBe(300)
    expect(tok.decode(tok.encode('lowest low').ids)).toBe('lowest low')
    expect(tok.encode('lowest').ids.length).toBeLessThan(4)
  })

  it('stops when no pair is left, and honours other alphabets and pipelines', () => {
    const tok = trainBpe(['abab'], {
      vocabSize: 1000,
      initialAlphabet: ['z'],
      pipeline: { pre_tokenizer: { type: 'WhitespaceSplit' }, unkToken: 'z' },
    })
    expect(modelOf(tok.toJson()).vocab).toEqual({ a: 0, b: 1, z: 2, ab: 3, abab: 4 })
    expect(tok.unkToken).toEqual({ id: 2, token: 'z' })
    const limited = trainBpe(['aaab aac'], { vocabSize: 3, initialAlphabet: [], limitAlphabet: 1 })
    expect(modelOf(limited.toJson()).vocab).toEqual({ a: 0, aa: 1, aaa: 2 })
  })

  it('tells how far it is', () => {
    const told: [string, number, number | null][] = []
    trainBpe(['ab ab', 'ab'], { vocabSize: 258, onProgress: (...args) => told.push(args) })
    expect(told).toEqual([
      ['read', 2, null],
      ['merge', 1, 2],
      ['merge', 2, 2],
    ])
  })

  it('refuses what it cannot do', () => {
    expect(() => trainBpe(['a'], { vocabSize: 0 })).toThrow(/vocabSize is 0/)
    expect(() => trainBpe(['a'], { vocabSize: 9, vocabsize: 9 } as never)).toThrow(
      /unknown option "vocabsize"/,
    )
    expect(() => trainBpe('a text', { vocabSize: 300 })).toThrow(/wrap it in \[ \]/)
  })
})
