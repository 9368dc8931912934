// The front door: names, shapes and data of the tensors of one safetensors file or of the shards of one model. A tensor
// is read when it is asked for; nothing else of a file is held but its header.
import { toFloat32, viewAs, type WeightData, type WeightDType } from './dtypes.js'
import { WeightsError } from './errors.js'
import { type FilesInMemory, type Folder, locate, openFolder } from './folder.js'
import { sha256 } from './hash.js'
import { type Header, readHeader } from './header.js'
import { fsPromises, nodePath } from './node.js'
import { blobSource, bytesSource, fileSource, type Source, urlSource } from './source.js'
import { isObject, JsonError, parseStrict } from './strict-json.js'

export interface TensorInfo {
  readonly dtype: WeightDType
  readonly shape: readonly number[]
}

export interface ReadTensor extends TensorInfo {
  /** An array of its own. F16, BF16 and the 8-bit floats are bits; `readF32` gives their values. */
  readonly data: WeightData
}

export interface Weights {
  /** File, folder or URL, for messages. */
  readonly name: string
  /** Every tensor, in the order of the files and of the data in them. */
  readonly names: readonly string[]
  /** The strings under `__metadata__`; of shards the first one's. */
  readonly metadata: Readonly<Record<string, string>>
  has(name: string): boolean
  /** Throws WeightsError for an unknown name and lists the nearest ones. */
  info(name: string): TensorInfo
  read(name: string): Promise<ReadTensor>
  /** Values as float32: exact for F32, F16, BF16, 8-bit floats, BOOL and integers up to 16 bits; F64 is rounded. */
  readF32(name: string): Promise<Float32Array<ArrayBuffer>>
  /** SHA-256 of the file; of shards that of their `sha256sum` lines in order of file name. Reads everything once. */
  hash(): Promise<string>
  close(): Promise<void>
}

export type WeightsInput = string | URL | Uint8Array | ArrayBuffer | Blob | Source | Folder | FilesInMemory

const single = 'model.safetensors'
const index = 'model.safetensors.index.json'

const isSource = (x: object): x is Source => 'read' in x && typeof x.read === 'function'
const isFolder = (x: object): x is Folder => 'source' in x && typeof x.source === 'function'

/**
 * Opens a safetensors file, or a folder with `model.safetensors` or `model.safetensors.index.json` and its shards. A
 * string is a path in Node, and a URL when it begins like one or in browsers. Headers are checked here; throws
 * WeightsError naming file, tensor and fix. Close it to release file handles.
 */
export async function openWeights(from: WeightsInput): Promise<Weights> {
  if (typeof from === 'string' || from instanceof URL) return openPlace(await locate(from))
  if (from instanceof Uint8Array || from instanceof ArrayBuffer) return openFile(bytesSource(from))
  if (from instanceof Blob) return openFile(blobSource(from))
  if (isSource(from)) return openFile(from)
  if (isFolder(from)) return openInFolder(from)
  return openInFolder(await openFolder(from))
}

async function openPlace(place: { path: string } | { url: string }): Promise<Weights> {
  if ('url' in place) {
    const { pathname } = new URL(place.url)
    const slash = place.url.lastIndexOf('/')
    if (pathname.endsWith('.index.json'))
      return openShards(
        await openFolder(place.url.slice(0, slash)),
        pathname.slice(pathname.lastIndexOf('/') + 1),
      )
    const isFile = pathname.endsWith('.safetensors') || !/^https?:/i.test(place.url)
    return isFile ? openFile(await urlSource(place.url)) : openInFolder(await openFolder(place.url))
  }
  const { path } = place
  const { stat } = await fsPromises()
  const info = await stat(path).catch(() => undefined)
  if (!info)
    throw new WeightsError('missing file', {
      file: path,
      message: 'no such file or folder',
      fix: 'check the path',
    })
  if (info.isDirectory()) return openInFolder(await openFolder(path))
  if (!path.endsWith('.index.json')) return openFile(await fileSource(path))
  const { dirname, basename } = await nodePath()
  return openShards(await openFolder(dirname(path)), basename(path))
}

async function openInFolder(folder: Folder): Promise<Weights> {
  if (await folder.has(single)) return openFile(await folder.source(single))
  if (await folder.has(index)) return openShards(folder, index)
  const others =
    (await folder.list?.())?.filter((f) => /\.(safetensors|bin|gguf|pt|pth|onnx|h5)$/.test(f)) ?? []
  throw new WeightsError('missing file', {
    file: folder.name,
    message: `has neither ${single} nor ${index}`,
    fix: `${others.length > 0 ? `it has ${others.slice(0, 8).join(', ')}; ` : ''}save the model as safetensors`,
  })
}

interface Part {
  /** File name inside the folder, or the source's own. */
  file: string
  source: Source
  header: Header
}

async function openPart(file: string, source: Source): Promise<Part> {
  try {
    return { file, source, header: await readHeader(source) }
  } catch (error) {
    await source.close()
    throw error
  }
}

const openFile = async (source: Source) => weightsOf(source.name, [await openPart(source.name, source)])

/** Tensor name → shard, from the `weight_map` of an index. */
async function readIndex(folder: Folder, file: string): Promise<Map<string, string>> {
  const name = `${folder.name.replace(/\/$/, '')}/${file}`
  const fail = (message: string): never => {
    throw new WeightsError('invalid index', { file: name, message })
  }
  const text = await folder.text(file)
  const parse = () => {
    try {
      return parseStrict(text)
    } catch (error) {
      return fail(`is not JSON (${error instanceof JsonError ? error.message : error})`)
    }
  }
  const root = parse()
  const map = isObject(root) ? root.entries.find(([key]) => key === 'weight_map')?.[1] : undefined
  if (map === undefined || !isObject(map))
    return fail('has no weight_map (an object: tensor name → shard file)')
  const shards = new Map<string, string>()
  for (const [tensor, shard] of map.entries) {
    if (typeof shard !== 'string')
      return fail(`weight_map gives no file name for tensor ${JSON.stringify(tensor)}`)
    // an index from elsewhere must not reach outside its folder
    if (shard === '' || /^[/\\]|^[a-z]+:|(^|[/\\])\.\.([/\\]|$)/i.test(shard))
      return fail(`weight_map names ${JSON.stringify(shard)}, which is not a file inside the folder`)
    const before = shards.get(tensor)
    if (before !== undefined && before !== shard)
      return fail(`weight_map puts tensor ${JSON.stringify(tensor)} into both ${before} and ${shard}`)
    shards.set(tensor, shard)
  }
  return shards
}

async function openShards(folder: Folder, indexFile: string): Promise<Weights> {
  const map = await readIndex(folder, indexFile)
  const parts: Part[] = []
  try {
    for (const file of [...new Set(map.values())].sort()) {
      if (!(await folder.has(file))) {
        const tensors = [...map].filter(([, shard]) => shard === file).length
        throw new WeightsError('missing file', {
          file: folder.name,
          message: `shard ${file} is missing (${indexFile} puts ${tensors} tensors into it)`,
          fix: 'download it too',
        })
      }
      parts.push(await openPart(file, await folder.source(file)))
    }
    checkShards(map, parts, indexFile)
  } catch (error) {
    await Promise.all(parts.map((part) => part.source.close()))
    throw error
  }
  return weightsOf(folder.name, parts)
}

function checkShards(map: ReadonlyMap<string, string>, parts: readonly Part[], indexFile: string): void {
  const home = new Map<string, string>()
  for (const { file, source, header } of parts) {
    for (const tensor of header.tensors.keys()) {
      const other = home.get(tensor)
      if (other !== undefined)
        throw new WeightsError('duplicate tensor', {
          file: source.name,
          tensor,
          message: `is also in ${other}`,
          fix: 'the shards belong to different saves; download them again',
        })
      home.set(tensor, file)
    }
  }
  const nameOf = (file: string) => parts.find((part) => part.file === file)?.source.name ?? file
  for (const [tensor, shard] of map) {
    const actual = home.get(tensor)
    if (actual === shard) continue
    throw new WeightsError('wrong shard', {
      file: nameOf(shard),
      tensor,
      message: `is not in this shard, where ${indexFile} puts it${actual ? ` (it is in ${actual})` : ''}`,
      fix: 'index and shards belong to different saves; download them again',
    })
  }
  for (const [tensor, file] of home) {
    if (map.has(tensor)) continue
    throw new WeightsError('wrong shard', {
      file: nameOf(file),
      tensor,
      message: `is in this shard and not in ${indexFile}`,
      fix: 'index and shards belong to different saves; download them again',
    })
  }
}

/** Names that share the most with a wrong one: same length of common beginning plus common end. */
function nearest(wrong: string, names: readonly string[]): string[] {
  const score = (name: string) => {
    let start = 0
    while (start < name.length && name[start] === wrong[start]) start++
    let end = 0
    while (end < name.length - start && name[name.length - 1 - end] === wrong[wrong.length - 1 - end]) end++
    return start + end
  }
  const scored = names.map((name) => ({ name, points: score(name) }))
  return scored
    .sort((a, b) => b.points - a.points)
    .slice(0, 3)
    .map(({ name }) => name)
}

function weightsOf(name: string, parts: readonly Part[]): Weights {
  const homes = new Map<string, Part>()
  for (const part of parts) for (const tensor of part.header.tensors.keys()) homes.set(tensor, part)
  const names = [...homes.keys()]
  let open = true
  let digest: Promise<string> | undefined

  const find = (tensor: string) => {
    const part = homes.get(tensor)
    const entry = part?.header.tensors.get(tensor)
    if (part && entry) return { part, entry }
    const message = `not in this file, which has ${names.length} tensors`
    const fix = names.length > 0 ? `nearest: ${nearest(tensor, names).join(', ')}` : undefined
    throw new WeightsError('missing tensor', { file: name, tensor, message, fix })
  }
  const read = async (tensor: string): Promise<ReadTensor> => {
    if (!open) throw new WeightsError('closed', { file: name, tensor, message: 'read after close' })
    const { part, entry } = find(tensor)
    const { dtype, shape, offset, length } = entry
    return { dtype, shape, data: viewAs(dtype, await part.source.read(offset, length)) }
  }
  const hashAll = async () => {
    const lines: string[] = []
    for (const { file, source } of parts) lines.push(`${await sha256(source)}  ${file}\n`)
    return parts.length === 1 ? lines[0].slice(0, 64) : sha256(new TextEncoder().encode(lines.join('')))
  }
  return {
    name,
    names,
    metadata: parts[0]?.header.metadata ?? {},
    has: (tensor) => homes.has(tensor),
    info(tensor) {
      const { dtype, shape } = find(tensor).entry
      return { dtype, shape }
    },
    read,
    async readF32(tensor) {
      const { dtype, data } = await read(tensor)
      const values = toFloat32(dtype, data)
      if (values) return values
      throw new WeightsError('wrong dtype', {
        file: name,
        tensor,
        message: `${dtype} cannot be held by float32`,
        fix: 'use read()',
      })
    },
    hash() {
      digest ??= hashAll()
      return digest
    },
    async close() {
      open = false
      await Promise.all(parts.map((part) => part.source.close()))
    },
  }
}
