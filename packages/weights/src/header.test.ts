// What is accepted and what is refused: the verdicts of the Rust library (safetensors 0.8.0) over hand-made files.
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { WeightsError } from './errors.js'
import { openWeights } from './weights.js'

const fixtures = fileURLToPath(new URL('../test/fixtures/', import.meta.url))
interface Verdict {
  what: string
  accepted: boolean
  kind?: string
  tensors?: Record<string, { dtype: string; shape: number[] }>
}
const verdicts: Record<string, Verdict> = JSON.parse(await readFile(`${fixtures}malformed.json`, 'utf8'))

/** Their kinds of error in our words. */
const problems: Record<string, string[]> = {
  'header too small': ['header too small'],
  'header too large': ['header too large', 'not weights'],
  'invalid header length': ['invalid header length'],
  'invalid UTF-8 in header': ['invalid header'],
  'invalid JSON in header': ['invalid header'],
  'invalid offset for tensor': ['invalid offset'],
  'invalid shape, data type, or offset for tensor': ['invalid size'],
  'overflow computing buffer size from shape and/or element type': ['invalid size'],
  'incomplete metadata, file not fully covered': ['file not fully covered'],
}

const failure = (promise: Promise<unknown>): Promise<WeightsError> =>
  promise.then(
    () => expect.fail('nothing was thrown'),
    (error: unknown) => {
      expect(error).toBeInstanceOf(WeightsError)
      return error as WeightsError
    },
  )

/** A file from header text and data; the header is not padded unless the text is. */
function container(header: string | Uint8Array, dataBytes = 0): Uint8Array {
  const text = typeof header === 'string' ? new TextEncoder().encode(header) : header
  const out = new Uint8Array(8 + text.length + dataBytes)
  new DataView(out.buffer).setBigUint64(0, BigInt(text.length), true)
  out.set(text, 8)
  return out
}

describe('malformed files', () => {
  expect(Object.keys(verdicts)).toHaveLength(61)
  for (const [name, { what, accepted, kind, tensors = {} }] of Object.entries(verdicts)) {
    const path = `${fixtures}malformed/${name}.safetensors`
    for (const way of ['bytes', 'file'] as const) {
      it(`${name} (${what}) from ${way}: ${accepted ? 'accepted' : kind}`, async () => {
        const opening = openWeights(way === 'file' ? path : await readFile(path))
        if (accepted) {
          const weights = await opening
          const seen = weights.names.map((n) => [n, weights.info(n)] as const)
          expect(new Map(seen)).toEqual(new Map(Object.entries(tensors)))
          for (const n of weights.names) await weights.read(n)
          await weights.close()
          return
        }
        const { problem, message, file } = await failure(opening)
        expect(problems[kind as string]).toContain(problem)
        expect(message).not.toContain('\n')
        expect(message.startsWith(way === 'file' ? path : 'bytes')).toBe(true)
        expect(file).toBe(way === 'file' ? path : 'bytes')
      })
    }
  }
})

describe('the bounds', () => {
  it('takes a header of exactly 100,000,000 bytes and refuses one more', async () => {
    const header = new Uint8Array(100_000_000).fill(0x20)
    header.set(new TextEncoder().encode('{}'))
    const weights = await openWeights(container(header))
    expect(weights.names).toEqual([])
    const longer = new Uint8Array(16)
    new DataView(longer.buffer).setBigUint64(0, 100_000_001n, true)
    const { problem, message } = await failure(openWeights(longer))
    expect(problem).toBe('header too large')
    expect(message).toContain('100000001')
  })

  it('counts sizes in 64 bits, in the order of the shape', async () => {
    const entry = (shape: string, end = 0) =>
      container(`{"a":{"dtype":"U8","shape":${shape},"data_offsets":[0,${end}]}}`, end)
    const shapeOf = async (shape: string) => (await openWeights(entry(shape))).info('a').shape
    expect(await shapeOf('[0,4611686018427387904]')).toEqual([0, 2 ** 62])
    expect((await failure(openWeights(entry('[4294967296,4294967296,0]')))).problem).toBe('invalid size')
    expect((await failure(openWeights(entry('[18446744073709551616]')))).problem).toBe('invalid header')
    expect((await failure(openWeights(entry('[2305843009213693952]')))).message).toMatch(
      /more than 2\^64 bits/,
    )
  })

  it('sizes packed dtypes by bits and refuses a rest of less than a byte', async () => {
    const f4 = (n: number, bytes: number) =>
      container(`{"a":{"dtype":"F4","shape":[${n}],"data_offsets":[0,${bytes}]}}`, bytes)
    const weights = await openWeights(f4(6, 3))
    expect((await weights.read('a')).data).toEqual(new Uint8Array(3))
    expect((await failure(openWeights(f4(5, 3)))).message).toMatch(/whole byte/)
    expect((await failure(weights.readF32('a'))).problem).toBe('wrong dtype')
  })

  it('covers the file to the last byte', async () => {
    const entry = (bytes: number) => container('{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}', bytes)
    expect((await openWeights(entry(4))).names).toEqual(['a'])
    expect((await failure(openWeights(entry(5)))).message).toMatch(/has 1 bytes more/)
    expect((await failure(openWeights(entry(3)))).problem).toBe('file not fully covered')
  })

  it('takes an empty tensor between and after others, whatever its place in the header', async () => {
    const empty = (at: number) => `{"dtype":"U8","shape":[0],"data_offsets":[${at},${at}]}`
    const full = '{"dtype":"U8","shape":[4],"data_offsets":[0,4]}'
    const { names } = await openWeights(container(`{"end":${empty(4)},"x":${full},"start":${empty(0)}}`, 4))
    expect(names).toEqual(['start', 'x', 'end'])
  })

  const refused: Record<string, string> = {
    'a comma after the last entry': '{"__metadata__":{},}',
    'a number that begins with 0': '{"a":{"dtype":"U8","shape":[00],"data_offsets":[0,0]}}',
    'minus zero': '{"a":{"dtype":"U8","shape":[-0],"data_offsets":[0,0]}}',
    'a size with an exponent': '{"a":{"dtype":"U8","shape":[0e0],"data_offsets":[0,0]}}',
    'a byte order mark': '\ufeff{}',
    'a lone surrogate': '{"\\ud800":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}',
    'a raw control character in a name': '{"a\u0001":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}',
    'an unknown escape': '{"\\x":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}',
    'a string without end': '{"a',
    'a backslash at the end': '{"a\\',
    'two __metadata__': '{"__metadata__":{},"__metadata__":{}}',
    'two dtypes in one entry': '{"a":{"dtype":"U8","dtype":"U8","shape":[0],"data_offsets":[0,0]}}',
    'a number out of range in a field that is not used':
      '{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0],"x":1e400}}',
    '128 nested arrays in a field that is not used': `{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0],"x":${'['.repeat(126)}${']'.repeat(126)}}}`,
  }
  for (const [what, header] of Object.entries(refused)) {
    it(`refuses ${what}`, async () => {
      expect((await failure(openWeights(container(header)))).problem).toBe('invalid header')
    })
  }

  const accepted: Record<string, string> = {
    'escapes in names': '{"\\u0061\\n\\ud83d\\ude42\\/":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}',
    'metadata that is null': '{"__metadata__":null}',
    '125 nested arrays in a field that is not used': `{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0],"x":${'['.repeat(125)}${']'.repeat(125)}}}`,
    'all JSON values in a field that is not used':
      '{"a":{"dtype":"U8","shape":[ 0 ] , "data_offsets":[0,0],"x":[null,true,false,-1.5e-3,"",{}]}}\n',
  }
  for (const [what, header] of Object.entries(accepted)) {
    it(`accepts ${what}`, async () => {
      await openWeights(container(header))
    })
  }

  it('unescapes names', async () => {
    const { names } = await openWeights(container(accepted['escapes in names']))
    expect(names).toEqual(['a\n🙂/'])
  })
})

describe('messages', () => {
  let folder = ''
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'heed-weights-'))
  })
  afterAll(() => rm(folder, { recursive: true }))

  it('say what lies there instead of weights', async () => {
    const message = async (name: string) =>
      (await failure(openWeights(`${fixtures}malformed/${name}.safetensors`))).message
    expect(await message('git-lfs-pointer')).toMatch(/git-lfs pointer.*git lfs pull/)
    expect(await message('html-page')).toMatch(/HTML page/)
    expect(await message('truncated-data')).toMatch(
      /cut off: its header describes 176 bytes, the file has 171/,
    )
    expect(await message('size-too-small')).toMatch(
      /tensor "a": F32 of shape \[2,4\] needs 32 bytes, its data_offsets give 24/,
    )
  })

  it('stay on one line and short whatever the name of a tensor is', async () => {
    const name = `${'x'.repeat(5000)}\\n\\r`
    const { message } = await failure(openWeights(container(`{"${name}":{"dtype":"U8"}}`)))
    expect(message).not.toMatch(/[\r\n]/)
    expect(message.length).toBeLessThan(400)
  })

  it('name a file that is not there and one that became shorter', async () => {
    expect((await failure(openWeights(join(folder, 'nothing.safetensors')))).message).toMatch(
      /nothing\.safetensors: no such file/,
    )
    const path = join(folder, 'x.safetensors')
    await writeFile(path, container('{"a":{"dtype":"U8","shape":[4096],"data_offsets":[0,4096]}}', 4096))
    const weights = await openWeights(path)
    await writeFile(path, new Uint8Array(600))
    expect((await failure(weights.read('a'))).message).toMatch(/became shorter/)
    await weights.close()
    expect((await failure(weights.read('a'))).problem).toBe('closed')
  })
})
