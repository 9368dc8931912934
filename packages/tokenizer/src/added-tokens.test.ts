// Where an added token begins and ends in a text: neighbours, white space, words, and the longest of several.
import { describe, expect, it } from 'vitest'
import { shell } from '../test/fixtures.js'

const tok = (...added: Record<string, unknown>[]) =>
  shell({
    added_tokens: added.map((t, i) => ({ id: i + 1, normalized: false, ...t })),
    model: {
      type: 'BPE',
      unk_token: '?',
      vocab: { '?': 0, ...Object.fromEntries(added.map((t, i) => [t.content, i + 1])) },
      merges: [],
    },
  })

describe('added tokens', () => {
  it('share the white space between them: the left one takes it', () => {
    const { ids, offsets } = tok({ content: '<l>', rstrip: true }, { content: '<r>', lstrip: true }).encode(
      '<l>  <r>',
    )
    expect(ids).toEqual([1, 2])
    expect(offsets).toEqual([
      [0, 5],
      [5, 8],
    ])
  })
  it('take white space on the sides they say, all of it, and no letter', () => {
    expect(tok({ content: '<r>', lstrip: true }).encode('a \t<r> b').offsets).toEqual([
      [0, 1],
      [1, 6],
      [6, 7],
      [7, 8],
    ])
    expect(tok({ content: '<l>', rstrip: true }).encode('a <l> \tb').offsets).toEqual([
      [0, 1],
      [1, 2],
      [2, 7],
      [7, 8],
    ])
  })
  it('as single words stand between no letters, on either side', () => {
    const single = tok({ content: 'ab', single_word: true })
    const found = (text: string) => single.encode(text).ids.includes(1)
    expect(['ab', ' ab ', '-ab-', 'x ab'].map(found)).toEqual([true, true, true, true])
    expect(['xab', 'abx', 'xabx', '_ab', 'ab1', '𝒳ab', 'ab𝒳'].map(found)).toEqual(Array(7).fill(false))
  })
  it('are the longest that begins here, whatever the order of the file', () => {
    const short = { content: '<a' }
    const long = { content: '<a>' }
    expect(tok(short, long).encode('<a><a').tokens).toEqual(['<a>', '<a'])
    expect(tok(long, short).encode('<a><a').tokens).toEqual(['<a>', '<a'])
  })
})
