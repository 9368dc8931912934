// The writer against files the Rust library wrote, the reader against the writer, and saving that is all or nothing.
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { arrayOf, bitsOf, dtypes } from './dtypes.js'
import { WeightsError } from './errors.js'
import { openWeights } from './weights.js'
import { saveFile, saveSafetensors, type TensorToWrite, writeSafetensors } from './write.js'

const fixtures = fileURLToPath(new URL('../test/fixtures/', import.meta.url))

const readAll = async (from: Uint8Array) => {
  const weights = await openWeights(from)
  const tensors = new Map<string, TensorToWrite>()
  for (const name of weights.names) tensors.set(name, await weights.read(name))
  return { tensors, metadata: weights.metadata }
}

describe('writeSafetensors', () => {
  it.each(['f16/model', 'sharded/model-00001-of-00006'])('writes %s byte for byte again', async (name) => {
    const original = new Uint8Array(await readFile(`${fixtures}${name}.safetensors`))
    const { tensors, metadata } = await readAll(original)
    const shuffled = new Map([...tensors].reverse())
    expect(writeSafetensors(shuffled, metadata)).toEqual(original)
  })

  it('puts wide dtypes first, then sorts by code point, and pads the header with spaces', () => {
    const bytes = writeSafetensors(
      {
        '\uffff': { dtype: 'U8', shape: [1], data: Uint8Array.of(1) },
        '😀': { dtype: 'U8', shape: [], data: Uint8Array.of(2) },
        b: { dtype: 'F32', shape: [1], data: Float32Array.of(1) },
        a: { dtype: 'I64', shape: [1], data: BigInt64Array.of(-1n) },
      },
      { step: '3' },
    )
    const length = Number(new DataView(bytes.buffer).getBigUint64(0, true))
    const header = new TextDecoder().decode(bytes.subarray(8, 8 + length))
    expect(header.trimEnd()).toBe(
      '{"__metadata__":{"step":"3"},"a":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]},"\uffff":{"dtype":"U8","shape":[1],"data_offsets":[12,13]},"😀":{"dtype":"U8","shape":[],"data_offsets":[13,14]}}',
    )
    expect(length % 8).toBe(0)
    expect(header.endsWith(' ') || header.trimEnd().length === header.length).toBe(true)
    expect([...bytes.subarray(8 + length + 12)]).toEqual([1, 2])
  })

  it('reads back whatever it wrote', async () => {
    const tensor = fc
      .record({
        dtype: fc.constantFrom(...dtypes.filter((d) => bitsOf(d) >= 8)),
        shape: fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 4 }),
        seed: fc.integer(),
      })
      .map(({ dtype, shape, seed }) => {
        const bytes = new Uint8Array((shape.reduce((a, b) => a * b, 1) * bitsOf(dtype)) / 8)
        for (let i = 0; i < bytes.length; i++) bytes[i] = (seed * 31 + i * 7) & 255
        return { dtype, shape, data: new (arrayOf(dtype))(bytes.buffer) }
      })
    const name = fc.string({ unit: 'grapheme', maxLength: 8 }).filter((n) => n !== '__metadata__')
    const entries = fc.uniqueArray(fc.tuple(name, tensor), { selector: ([n]) => n, maxLength: 6 })
    const metadata = fc.dictionary(name, fc.string({ unit: 'grapheme' }), {
      maxKeys: 3,
      noNullPrototype: true,
    })
    await fc.assert(
      fc.asyncProperty(entries, metadata, async (list, notes) => {
        const back = await readAll(writeSafetensors(new Map(list), notes))
        const bits = ({ dtype, shape, data }: TensorToWrite) => ({
          dtype,
          shape,
          bytes: [...new Uint8Array(data.buffer, data.byteOffset, data.byteLength)],
        })
        expect(new Map([...back.tensors].map(([n, t]) => [n, bits(t)]))).toEqual(
          new Map(list.map(([n, t]) => [n, bits(t)])),
        )
        expect(Object.entries(back.metadata).sort()).toEqual(Object.entries(notes).sort())
      }),
      { seed: 20, numRuns: 200 },
    )
  })

  it('writes only the viewed part of a buffer', async () => {
    const data = Float32Array.of(9, 1, 2, 9).subarray(1, 3)
    const { tensors } = await readAll(writeSafetensors({ a: { dtype: 'F32', shape: [2], data } }))
    expect(tensors.get('a')?.data).toEqual(Float32Array.of(1, 2))
  })

  it.each<[string, Record<string, TensorToWrite>, RegExp]>([
    [
      'too little data',
      { a: { dtype: 'F32', shape: [3], data: new Float32Array(2) } },
      /"a": F32 of shape \[3\] needs 12 bytes, its data has 8/,
    ],
    [
      'the array of another dtype',
      { a: { dtype: 'F32', shape: [2], data: new Int32Array(2) } },
      /F32 needs a Float32Array, not a Int32Array/,
    ],
    [
      'the reserved name',
      { __metadata__: { dtype: 'U8', shape: [0], data: new Uint8Array(0) } },
      /keeps this name/,
    ],
    [
      'a negative size',
      { a: { dtype: 'U8', shape: [-1], data: new Uint8Array(0) } },
      /\[-1\] is not a shape/,
    ],
    [
      'an unknown dtype',
      { a: { dtype: 'F33' as 'F32', shape: [0], data: new Uint8Array(0) } },
      /unknown dtype "F33"; use one of/,
    ],
    [
      'half a character',
      { '\ud800': { dtype: 'U8', shape: [0], data: new Uint8Array(0) } },
      /lone surrogate/,
    ],
  ])('refuses %s', (_, tensors, message) => {
    expect(() => writeSafetensors(tensors)).toThrow(WeightsError)
    expect(() => writeSafetensors(tensors)).toThrow(message)
  })

  it('refuses metadata that is not text', () => {
    expect(() => writeSafetensors({}, { step: 3 as unknown as string })).toThrow(/"step" is not a string/)
  })
})

describe('saving', () => {
  let folder = ''
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'heed-weights-'))
  })
  afterAll(() => rm(folder, { recursive: true }))
  const tensors = { a: { dtype: 'F32', shape: [2], data: Float32Array.of(1, 2) } } as const

  it('writes the same bytes as writeSafetensors, and replaces a file', async () => {
    const path = join(folder, 'model.safetensors')
    await writeFile(path, 'something older')
    await saveSafetensors(path, tensors, { format: 'pt' })
    expect(new Uint8Array(await readFile(path))).toEqual(writeSafetensors(tensors, { format: 'pt' }))
    expect(await readdir(folder)).toEqual(['model.safetensors'])
  })

  it('leaves the old file and nothing else when it is interrupted', async () => {
    const path = join(folder, 'kept.json')
    await saveFile(path, 'old')
    function* pieces() {
      yield new TextEncoder().encode('half of the n')
      throw new Error('killed')
    }
    await expect(saveFile(path, pieces())).rejects.toThrow(/kept\.json: cannot be written \(killed\)/)
    expect(await readFile(path, 'utf8')).toBe('old')
    expect((await readdir(folder)).filter((f) => f.endsWith('.tmp'))).toEqual([])
  })

  it('names the path when the folder is missing or the path is a folder', async () => {
    await expect(saveFile(join(folder, 'no', 'x'), 'a')).rejects.toThrow(/no\/x: cannot be written \(ENOENT/)
    await mkdir(join(folder, 'sub'))
    await expect(saveFile(join(folder, 'sub'), 'a')).rejects.toThrow(WeightsError)
    expect((await readdir(folder)).filter((f) => f.endsWith('.tmp'))).toEqual([])
  })
})
