// The header of a safetensors file: bounds first, then text, then meaning. Accepts and refuses what the Rust library
// (safetensors 0.8) accepts and refuses. It reads no tensor data.
import { bitsOf, isDType, type WeightDType } from './dtypes.js'
import { WeightsError, type WeightsProblem } from './errors.js'
import type { Source } from './source.js'
import { isObject, type Json, JsonError, type JsonObject, parseStrict } from './strict-json.js'

export interface TensorEntry {
  readonly dtype: WeightDType
  readonly shape: readonly number[]
  /** First byte in the file, and bytes in all. */
  readonly offset: number
  readonly length: number
}

export interface Header {
  /** In file order of the data. */
  readonly tensors: ReadonlyMap<string, TensorEntry>
  readonly metadata: Readonly<Record<string, string>>
}

/** The format's limit: a longer header is refused before anything is allocated for it. */
export const maxHeaderBytes = 100_000_000

const usizeMax = 2n ** 64n - 1n
const lengthBytes = 8

const ending = (source: Source) => `the file has ${source.size} bytes; download it again`

/** What is often found under the name of a weights file and is not one; undefined when it looks like none of them. */
export function disguise(start: Uint8Array): string | undefined {
  const text = new TextDecoder('latin1').decode(start.subarray(0, 512)).trimStart().toLowerCase()
  if (text.startsWith('version https://git-lfs'))
    return 'is a git-lfs pointer, not the file; run `git lfs pull`, or download the file itself'
  if (text.startsWith('<!doctype html') || text.startsWith('<html'))
    return 'is an HTML page, not the file (an error or login page saved under its name); download it again'
  return undefined
}

/** Reads and checks the header of a source. Throws WeightsError. */
export async function readHeader(source: Source): Promise<Header> {
  const file = source.name
  const fail = (problem: WeightsProblem, message: string, tensor?: string): never => {
    throw new WeightsError(problem, { file, tensor, message })
  }
  const start = await source.read(0, Math.min(source.size, 512))
  const hidden = disguise(start)
  if (hidden) return fail('not weights', hidden)
  if (source.size < lengthBytes)
    return fail('header too small', `too short for safetensors: ${ending(source)}`)
  const declared = new DataView(start.buffer).getBigUint64(0, true)
  if (declared > BigInt(maxHeaderBytes))
    return fail(
      'header too large',
      `not a safetensors file: its first 8 bytes announce a header of ${declared} bytes, the limit is ${maxHeaderBytes}`,
    )
  const headerBytes = Number(declared)
  if (lengthBytes + headerBytes > source.size)
    return fail(
      'invalid header length',
      `cut off inside its header of ${headerBytes} bytes: ${ending(source)}`,
    )

  const bytes =
    lengthBytes + headerBytes <= start.length
      ? start.subarray(lengthBytes, lengthBytes + headerBytes)
      : await source.read(lengthBytes, headerBytes)
  const { tensors, metadata, dataBytes } = parseHeader(bytes, file, lengthBytes + headerBytes)
  const expected = lengthBytes + headerBytes + dataBytes
  if (source.size < expected)
    return fail(
      'file not fully covered',
      `cut off: its header describes ${expected} bytes, ${ending(source)}`,
    )
  if (source.size > expected)
    return fail(
      'file not fully covered',
      `has ${source.size - expected} bytes more than its header describes (${expected})`,
    )
  return { tensors, metadata }
}

function parseHeader(bytes: Uint8Array, file: string, dataStart: number): Header & { dataBytes: number } {
  const invalid = (message: string, tensor?: string): never => {
    throw new WeightsError('invalid header', {
      file,
      tensor,
      message: `${message} in the header`,
      fix: 'the file is damaged or no safetensors file, download it again',
    })
  }
  const parse = (): Json => {
    let text: string
    try {
      text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
    } catch {
      return invalid('text that is not UTF-8')
    }
    try {
      return parseStrict(text)
    } catch (error) {
      return invalid(`JSON that cannot be read (${error instanceof JsonError ? error.message : error})`)
    }
  }
  const root = parse()
  if (!isObject(root)) return invalid('no JSON object')

  const raw = new Map<string, RawEntry>() // of two equal names the last one counts
  let metadata: Record<string, string> | undefined
  for (const [name, value] of root.entries) {
    if (name === '__metadata__') {
      if (metadata) return invalid('two __metadata__')
      metadata = readMetadata(value, invalid)
    } else raw.set(name, readEntry(name, value, invalid))
  }
  return { ...layOut(raw, file, dataStart), metadata: metadata ?? {} }
}

type Invalid = (message: string, tensor?: string) => never

function readMetadata(value: Json, invalid: Invalid): Record<string, string> {
  const metadata: Record<string, string> = Object.create(null)
  if (value === null) return metadata
  if (!isObject(value)) return invalid('a __metadata__ that is not an object')
  for (const [key, text] of value.entries) {
    if (typeof text !== 'string')
      return invalid(`a __metadata__ value (${JSON.stringify(key)}) that is not a string`)
    metadata[key] = text
  }
  return metadata
}

interface RawEntry {
  dtype: WeightDType
  shape: readonly bigint[]
  begin: bigint
  end: bigint
}

function readEntry(name: string, value: Json, invalid: Invalid): RawEntry {
  if (!isObject(value)) return invalid('an entry that is not an object', name)
  const size = (x: Json, what: string): bigint =>
    typeof x === 'bigint' && x >= 0n && x <= usizeMax
      ? x
      : invalid(`${what} that is not a whole number of at most 64 bits`, name)
  const sizes = (field: string): readonly bigint[] => {
    const list = one(value, field)
    if (!Array.isArray(list))
      return invalid(list === undefined ? `no ${field}` : `a ${field} that is no list`, name)
    return list.map((x: Json) => size(x, `a number in ${field}`))
  }
  const one = (object: JsonObject, field: string): Json | undefined => {
    const found = object.entries.filter(([key]) => key === field)
    if (found.length > 1) return invalid(`two ${field}`, name)
    return found[0]?.[1]
  }
  const dtype = one(value, 'dtype')
  if (typeof dtype !== 'string') return invalid('no dtype', name)
  if (!isDType(dtype)) return invalid(`an unknown dtype ${JSON.stringify(dtype)}`, name)
  const shape = sizes('shape')
  const offsets = sizes('data_offsets')
  if (offsets.length !== 2) return invalid(`${offsets.length} data_offsets instead of 2`, name)
  return { dtype, shape, begin: offsets[0], end: offsets[1] }
}

/** Every byte of the data belongs to exactly one tensor, and each has the bytes that its shape and dtype need. */
function layOut(raw: ReadonlyMap<string, RawEntry>, file: string, dataStart: number) {
  const compare = (a: bigint, b: bigint) => (a < b ? -1 : a > b ? 1 : 0)
  const sorted = [...raw].sort(([, a], [, b]) => compare(a.begin, b.begin) || compare(a.end, b.end))
  const tensors = new Map<string, TensorEntry>()
  let next = 0n
  for (const [name, { dtype, shape, begin, end }] of sorted) {
    const fail = (problem: WeightsProblem, message: string): never => {
      throw new WeightsError(problem, { file, tensor: name, message })
    }
    if (end < begin) fail('invalid offset', `ends (at ${end}) before it begins (at ${begin})`)
    if (begin !== next)
      fail(
        'invalid offset',
        `begins at byte ${begin} of the data where ${next} is next: tensors may neither overlap nor leave holes`,
      )
    next = end
    let bits = BigInt(bitsOf(dtype))
    let count = 1n
    for (const size of shape) {
      count *= size
      if (count > usizeMax) fail('invalid size', `its shape [${shape}] has more than 2^64 elements`)
    }
    bits *= count
    if (bits > usizeMax) fail('invalid size', `its shape [${shape}] needs more than 2^64 bits`)
    if (bits % 8n !== 0n) fail('invalid size', `${dtype} of shape [${shape}] does not end at a whole byte`)
    if (end - begin !== bits / 8n)
      fail(
        'invalid size',
        `${dtype} of shape [${shape}] needs ${bits / 8n} bytes, its data_offsets give ${end - begin}`,
      )
    tensors.set(name, {
      dtype,
      shape: shape.map(Number),
      offset: dataStart + Number(begin),
      length: Number(end - begin),
    })
  }
  return { tensors, dataBytes: Number(next) }
}
