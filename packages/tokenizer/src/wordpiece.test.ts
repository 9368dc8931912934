// How long a word may be, in characters and not in units; and that pieces inside a word are looked up with the prefix only.
import { expect, it } from 'vitest'
import { shell } from '../test/fixtures.js'

const pieces = (vocab: string[], more: Record<string, unknown> = {}) =>
  shell({
    model: {
      type: 'WordPiece',
      unk_token: '?',
      vocab: Object.fromEntries(['?', ...vocab].map((token, id) => [token, id])),
      ...more,
    },
  })

it('a word of the limit is split, one of a character more is unknown', () => {
  const tok = pieces(['a', '##a', '𝒳', '##𝒳'], { max_input_chars_per_word: 3 })
  expect(tok.encode('aaa').ids).toEqual([1, 2, 2])
  expect(tok.encode('aaaa').ids).toEqual([0])
  expect(tok.encode('𝒳𝒳𝒳').ids).toEqual([3, 4, 4])
  expect(tok.encode('𝒳𝒳𝒳𝒳').ids).toEqual([0])
  const usual = pieces(['a', '##a'])
  expect(usual.encode('a'.repeat(100)).ids).toHaveLength(100)
  expect(usual.encode('a'.repeat(101)).ids).toEqual([0])
})
it('a word’s beginning is no piece inside it', () => {
  expect(pieces(['a', 'b', '##c']).encode('ab').ids).toEqual([0])
  expect(pieces(['a', 'b', '##b']).encode('ab').ids).toEqual([1, 3])
  expect(pieces(['a', 'b', '@b'], { continuing_subword_prefix: '@' }).encode('ab').ids).toEqual([1, 3])
})
