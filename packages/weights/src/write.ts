// Writes safetensors the way the Rust library lays them out: dtypes with the largest alignment first, then by name, the
// header padded with spaces so that the data begins at a multiple of 8. Saving to disk is all or nothing.
import { arrayOf, bitsOf, dtypes, isDType, type WeightData, type WeightDType } from './dtypes.js'
import { WeightsError } from './errors.js'
import { fsPromises, nodePath } from './node.js'

export interface TensorToWrite {
  dtype: WeightDType
  shape: readonly number[]
  /** The array of the dtype (`toF16` and `toBF16` make those of F16 and BF16), or its bytes as Uint8Array. */
  data: WeightData | ArrayBufferView
}

export type TensorsToWrite = ReadonlyMap<string, TensorToWrite> | Readonly<Record<string, TensorToWrite>>

const bytesOf = (view: ArrayBufferView) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength)

/** Order of UTF-8 bytes, which is that of code points; JavaScript's < compares UTF-16 units. */
function byCodePoint(a: string, b: string): number {
  const left = Array.from(a, (c) => c.codePointAt(0) as number)
  const right = Array.from(b, (c) => c.codePointAt(0) as number)
  for (let i = 0; i < left.length && i < right.length; i++) {
    if (left[i] !== right[i]) return left[i] - right[i]
  }
  return left.length - right.length
}

const entriesOf = (tensors: TensorsToWrite): [string, TensorToWrite][] =>
  tensors instanceof Map ? [...tensors] : Object.entries(tensors as Readonly<Record<string, TensorToWrite>>)

function check(name: string, { dtype, shape, data }: TensorToWrite, file: string): void {
  const fail = (message: string, fix?: string): never => {
    throw new WeightsError('invalid tensor', { file, tensor: name, message, fix })
  }
  if (name === '__metadata__') fail('the format keeps this name for itself', 'rename the tensor')
  if (/\p{Surrogate}/u.test(name)) fail('its name holds half a character (a lone surrogate)')
  if (!isDType(dtype)) fail(`unknown dtype ${JSON.stringify(dtype)}`, `use one of ${dtypes.join(' ')}`)
  if (!shape.every((n) => Number.isSafeInteger(n) && n >= 0)) fail(`[${shape}] is not a shape`)
  const ArrayClass = arrayOf(dtype)
  // a Float64Array under the name F32 may have the right number of bytes and the wrong ones
  if (!(data instanceof ArrayClass) && !(data instanceof Uint8Array))
    fail(`${dtype} needs a ${ArrayClass.name}, not a ${data?.constructor?.name ?? typeof data}`)
  const bits = shape.reduce((product, n) => product * n, bitsOf(dtype))
  if (bits % 8 !== 0 || data.byteLength !== bits / 8)
    fail(`${dtype} of shape [${shape}] needs ${bits / 8} bytes, its data has ${data.byteLength}`)
}

/** Header and data as pieces in file order; the data is not copied. */
function layOut(
  tensors: TensorsToWrite,
  metadata: Readonly<Record<string, string>>,
  file: string,
): Uint8Array[] {
  const rank = (t: TensorToWrite) => dtypes.indexOf(t.dtype)
  const entries = entriesOf(tensors)
  for (const [name, tensor] of entries) check(name, tensor, file)
  entries.sort(([a, x], [b, y]) => rank(y) - rank(x) || byCodePoint(a, b))

  const parts: string[] = []
  const notes = Object.entries(metadata)
  for (const [key, value] of notes) {
    if (typeof value !== 'string')
      throw new WeightsError('invalid tensor', {
        file,
        message: `metadata ${JSON.stringify(key)} is not a string`,
        fix: 'write it as JSON text',
      })
  }
  const pair = ([key, value]: readonly [string, unknown]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`
  if (notes.length > 0) parts.push(`"__metadata__":{${notes.map(pair).join()}}`)
  let offset = 0
  for (const [name, { dtype, shape, data }] of entries) {
    const end = offset + data.byteLength
    parts.push(pair([name, { dtype, shape, data_offsets: [offset, end] }]))
    offset = end
  }
  const header = new TextEncoder().encode(`{${parts.join()}}`)
  const padded = Math.ceil(header.length / 8) * 8
  const start = new Uint8Array(8 + padded).fill(0x20)
  new DataView(start.buffer).setBigUint64(0, BigInt(padded), true)
  start.set(header, 8)
  return [start, ...entries.map(([, { data }]) => bytesOf(data))]
}

/** The bytes of a safetensors file. Throws WeightsError for a tensor whose data does not fit its dtype and shape. */
export function writeSafetensors(
  tensors: TensorsToWrite,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array<ArrayBuffer> {
  const pieces = layOut(tensors, metadata, 'writeSafetensors')
  const out = new Uint8Array(pieces.reduce((n, piece) => n + piece.length, 0))
  let offset = 0
  for (const piece of pieces) {
    out.set(piece, offset)
    offset += piece.length
  }
  return out
}

/** Writes a safetensors file tensor by tensor, without a copy of the whole. Node only; see `saveFile`. */
export function saveSafetensors(
  path: string,
  tensors: TensorsToWrite,
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  return saveFile(path, layOut(tensors, metadata, path))
}

/**
 * Writes a file whole or not at all: into a new file beside it, flushed to the disk, then renamed over `path`. Whoever
 * reads `path` meanwhile, or after a crash, finds the old file or the new one. The folder must exist. Node only.
 */
export async function saveFile(
  path: string,
  content: string | Uint8Array | Iterable<Uint8Array>,
): Promise<void> {
  const { open, rename, rm } = await fsPromises()
  const { basename, dirname, join } = await nodePath()
  const random = Array.from(crypto.getRandomValues(new Uint8Array(6)), (b) => b.toString(16).padStart(2, '0'))
  const aside = join(dirname(path), `.${basename(path)}.${random.join('')}.tmp`)
  const pieces =
    typeof content === 'string'
      ? [new TextEncoder().encode(content)]
      : content instanceof Uint8Array
        ? [content]
        : content
  try {
    const handle = await open(aside, 'wx')
    try {
      for (const piece of pieces) {
        for (let done = 0; done < piece.length; ) {
          done += (await handle.write(piece, done, Math.min(piece.length - done, 2 ** 30))).bytesWritten
        }
      }
      await handle.sync()
    } finally {
      await handle.close()
    }
    await rename(aside, path)
  } catch (cause) {
    await rm(aside, { force: true }).catch(() => {}) // the first error is the one to tell
    const message = `cannot be written (${cause instanceof Error ? cause.message : cause})`
    throw new WeightsError('unreadable', { file: path, message, cause })
  }
}
