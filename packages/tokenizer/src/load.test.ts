// Where tokenizers come from, and what is said when something is wrong with them.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { fileOf, shell } from '../test/fixtures.js'
import { loadTokenizer, TokenizerFormatError, tokenizerFromJson, UnsupportedComponentError } from './index.js'

const json = JSON.stringify(fileOf('words'))
let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'heed-tokenizer-'))
  await writeFile(join(folder, 'tokenizer.json'), json)
  await writeFile(join(folder, 'broken.json'), json.slice(0, 40))
  await writeFile(join(folder, 'latin1.json'), Uint8Array.from([0x22, 0xe9, 0x22]))
})
afterAll(() => rm(folder, { recursive: true }))

describe('loadTokenizer', () => {
  it('reads folders, files, file URLs and bytes', async () => {
    const bytes = new TextEncoder().encode(json)
    for (const from of [
      folder,
      `${folder}/`,
      join(folder, 'tokenizer.json'),
      pathToFileURL(folder),
      pathToFileURL(folder).href,
      bytes,
      bytes.slice().buffer,
    ])
      expect((await loadTokenizer(from)).encode('The rabbit').ids).toEqual([1, 2])
  })
  it('fetches URLs', async () => {
    const asked: string[] = []
    vi.stubGlobal('fetch', async (url: string) => {
      asked.push(url)
      return url.includes('missing')
        ? new Response('', { status: 404, statusText: 'Not Found' })
        : new Response(json)
    })
    try {
      expect((await loadTokenizer('https://example.com/m/')).vocabSize).toBe(5)
      expect((await loadTokenizer(new URL('https://example.com/t.json?x=1'))).vocabSize).toBe(5)
      expect(asked).toEqual(['https://example.com/m/tokenizer.json', 'https://example.com/t.json?x=1'])
      await expect(loadTokenizer('https://example.com/missing')).rejects.toThrow(
        'missing/tokenizer.json: answered 404 Not Found',
      )
    } finally {
      vi.unstubAllGlobals()
    }
  })
  it('names the file in every error', async () => {
    await expect(loadTokenizer(join(folder, 'none'))).rejects.toThrow(
      /none\/tokenizer\.json: cannot be read \(ENOENT\)/,
    )
    await expect(loadTokenizer(join(folder, 'broken.json'))).rejects.toThrow(/broken\.json: .*is not JSON/)
    await expect(loadTokenizer(join(folder, 'latin1.json'))).rejects.toThrow(/latin1\.json: is not UTF-8/)
  })
})

describe('what is wrong with a file', () => {
  const refused = (
    parts: object,
    path: string,
    words: RegExp,
    kind: typeof TokenizerFormatError | typeof UnsupportedComponentError,
  ) => {
    try {
      shell(parts as Record<string, unknown>)
    } catch (error) {
      expect(error).toBeInstanceOf(kind)
      expect((error as { path: string }).path).toBe(path)
      expect((error as Error).message).toMatch(words)
      return
    }
    expect.unreachable(`${JSON.stringify(parts)} was taken`)
  }

  it('components that are not there yet: UnsupportedComponentError with name and path', () => {
    const no = UnsupportedComponentError
    refused({ model: { type: 'Unigram', vocab: [] } }, '$.model', /model Unigram is not supported/, no)
    refused({ model: { vocab: [['a', 0]] } }, '$.model', /model Unigram/, no)
    refused(
      { normalizer: { type: 'Sequence', normalizers: [{ type: 'NFC' }, { type: 'Precompiled' }] } },
      '$.normalizer.normalizers[1]',
      /Precompiled/,
      no,
    )
    refused({ pre_tokenizer: { type: 'UnicodeScripts' } }, '$.pre_tokenizer', /UnicodeScripts/, no)
    refused(
      { post_processor: { type: 'Sequence', processors: [{ type: 'New' }] } },
      '$.post_processor.processors[0]',
      /New/,
      no,
    )
    refused(
      { decoder: { type: 'Sequence', decoders: [{ type: 'New' }] } },
      '$.decoder.decoders[0]',
      /New/,
      no,
    )
    refused({ model: { type: 'BPE', dropout: 0.1, vocab: {}, merges: [] } }, '$.model.dropout', /random/, no)
    const pattern = (Regex: string) => ({
      pre_tokenizer: { type: 'Split', behavior: 'Isolated', pattern: { Regex } },
    })
    for (const regex of ['(a)\\1', '(?m)a', '\\p{Nonsense}', '(?<n', 'a)', '[a', '*'])
      refused(pattern(regex), '$.pre_tokenizer.pattern.Regex', /regex/, no)
  })
  it('malformed fields: TokenizerFormatError with the path', () => {
    const no = TokenizerFormatError
    refused({ model: null }, '$.model', /expected an object, found null/, no)
    refused({ model: { type: 'BPE', vocab: { a: 0 }, merges: ['a'] } }, '$.model.merges[0]', /left right/, no)
    refused(
      { model: { type: 'BPE', vocab: { a: 0 }, merges: ['a b'] } },
      '$.model.merges[0]',
      /"b" is not in the vocabulary/,
      no,
    )
    refused(
      { model: { type: 'BPE', vocab: { a: 0, b: 1 }, merges: [['a', 'b']] } },
      '$.model.merges[0]',
      /"ab" is not/,
      no,
    )
    refused(
      { model: { type: 'BPE', vocab: { a: 'x' }, merges: [] } },
      '$.model.vocab["a"]',
      /no whole number/,
      no,
    )
    refused(
      { model: { type: 'BPE', vocab: { a: 0.5 }, merges: [] } },
      '$.model.vocab["a"]',
      /no whole number/,
      no,
    )
    refused(
      { post_processor: { type: 'BertProcessing', sep: ['x', 1], cls: ['x', 'y'] } },
      '$.post_processor.cls',
      /token/,
      no,
    )
    refused({ added_tokens: [{ content: 'x' }] }, '$.added_tokens[0]', /"id" is missing/, no)
    refused({ truncation: { max_length: -1 } }, '$.truncation.max_length', /whole number/, no)
    refused(
      { padding: { strategy: 'BatchLongest', direction: 'Up', pad_id: 0, pad_token: '' } },
      '$.padding.direction',
      /Up/,
      no,
    )
    refused(
      { pre_tokenizer: { type: 'Punctuation', behavior: 'Lost' } },
      '$.pre_tokenizer.behavior',
      /Lost/,
      no,
    )
    refused({ decoder: { type: 'ByteLevel' } }, '$.decoder', /add_prefix_space/, no)
  })
  it('other input', () => {
    expect(() => tokenizerFromJson('{')).toThrow(/tokenizer\.json \$: is not JSON/)
    expect(() => tokenizerFromJson(3 as never)).toThrow(/expected JSON text or an object/)
    expect(() => shell({}).encode(3 as never)).toThrow(/expected a string/)
    const template = {
      type: 'TemplateProcessing',
      single: [{ SpecialToken: { id: 'X', type_id: 0 } }],
      pair: [],
      special_tokens: {},
    }
    expect(() => shell({ post_processor: template }).encode('a')).toThrow(/"X" is not in special_tokens/)
    expect(shell({ post_processor: template }).encode('a', { addSpecialTokens: false }).ids).toEqual([])
  })
  it('guesses a missing model.type from the fields', () => {
    const ids = (model: object) =>
      tokenizerFromJson({ model, pre_tokenizer: { type: 'WhitespaceSplit' } }).encode('ab b').ids
    expect(ids({ vocab: { a: 0, b: 1, ab: 2 }, merges: ['a b'] })).toEqual([2, 1])
    expect(ids({ vocab: { a: 0, b: 1, '##b': 2, '[UNK]': 3 }, max_input_chars_per_word: 9 })).toEqual([
      0, 2, 1,
    ])
    expect(ids({ vocab: { b: 1, '[UNK]': 3 }, unk_token: '[UNK]' })).toEqual([3, 1])
  })
})
