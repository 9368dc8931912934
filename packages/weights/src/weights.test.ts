// Where weights come from (folder, file, URL, blob, memory) and how shards are held together.
import { createHash } from 'node:crypto'
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { openFolder } from './folder.js'
import { sha256 } from './hash.js'
import { bytesSource, type Source } from './source.js'
import { openWeights } from './weights.js'
import { writeSafetensors } from './write.js'

const fixtures = fileURLToPath(new URL('../test/fixtures/', import.meta.url))
const sharded = `${fixtures}sharded`
const indexFile = 'model.safetensors.index.json'
const one = `${fixtures}all-dtypes.safetensors`
const index = JSON.parse(await readFile(`${sharded}/${indexFile}`, 'utf8')) as {
  weight_map: Record<string, string>
}

let folder = ''
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'heed-weights-'))
})
afterEach(() => rm(folder, { recursive: true }))

describe('shards', () => {
  it('are one set of tensors, read from a folder or from the index', async () => {
    for (const path of [sharded, `${sharded}/${indexFile}`, pathToFileURL(sharded)]) {
      const weights = await openWeights(path)
      expect([...weights.names].sort()).toEqual(Object.keys(index.weight_map).sort())
      expect(weights.info('model.layers.1.self_attn.k_proj.weight')).toEqual({ dtype: 'F32', shape: [8, 24] })
      const whole = await weights.readF32('model.norm.weight')
      const shard = await openWeights(`${sharded}/${index.weight_map['model.norm.weight']}`)
      expect(whole).toEqual(await shard.readF32('model.norm.weight'))
      await weights.close()
      await shard.close()
    }
  })

  it('hash like the lines of sha256sum', async () => {
    const weights = await openWeights(sharded)
    const files = [...new Set(Object.values(index.weight_map))].sort()
    const sum = (data: Uint8Array | string) => createHash('sha256').update(data).digest('hex')
    const lines = await Promise.all(
      files.map(async (f) => `${sum(await readFile(join(sharded, f)))}  ${f}\n`),
    )
    expect(await weights.hash()).toBe(sum(lines.join('')))
    await weights.close()
  })

  const broken = async (change: (map: Record<string, string>) => Promise<void> | void) => {
    await cp(sharded, folder, { recursive: true })
    const map = { ...index.weight_map }
    await change(map)
    await writeFile(join(folder, indexFile), JSON.stringify({ weight_map: map }))
    return openWeights(folder)
  }
  const norm = 'model.norm.weight'

  it('refuse a missing shard', async () => {
    const opening = broken((map) => rm(join(folder, map[norm])))
    await expect(opening).rejects.toMatchObject({ problem: 'missing file' })
    await expect(openWeights(folder)).rejects.toThrow(
      /shard model-0000\d-of-00006\.safetensors is missing.*download/,
    )
  })

  it('refuse a tensor that is not in its shard', async () => {
    const opening = broken((map) => {
      map[norm] = 'model-00001-of-00006.safetensors'
    })
    await expect(opening).rejects.toMatchObject({ problem: 'wrong shard', tensor: norm })
    await expect(openWeights(folder)).rejects.toThrow(/model-00001.*not in this shard.*\(it is in model-0000/)
  })

  it('refuse a tensor that is nowhere', async () => {
    const opening = broken((map) => {
      map.extra = map[norm]
    })
    await expect(opening).rejects.toMatchObject({ problem: 'wrong shard', tensor: 'extra' })
  })

  it('refuse a tensor that the index does not know', async () => {
    const opening = broken((map) => {
      delete map[norm]
    })
    await expect(opening).rejects.toMatchObject({ problem: 'wrong shard', tensor: norm })
    await expect(openWeights(folder)).rejects.toThrow(
      /is in this shard and not in model\.safetensors\.index\.json/,
    )
  })

  it('refuse a tensor in two shards', async () => {
    const copy = writeSafetensors({ [norm]: { dtype: 'F32', shape: [1], data: Float32Array.of(1) } })
    const opening = broken(async (map) => {
      map[norm] = 'model-00007.safetensors'
      await writeFile(join(folder, 'model-00007.safetensors'), copy)
    })
    await expect(opening).rejects.toMatchObject({ problem: 'duplicate tensor', tensor: norm })
  })

  it.each([
    ['no JSON', 'nothing', /is not JSON/],
    ['no weight_map', '{}', /has no weight_map/],
    ['a way out of the folder', '{"weight_map":{"a":"../x.safetensors"}}', /not a file inside the folder/],
    ['an absolute path', '{"weight_map":{"a":"/etc/passwd"}}', /not a file inside the folder/],
    ['a URL', '{"weight_map":{"a":"http://x/y"}}', /not a file inside the folder/],
    ['a number', '{"weight_map":{"a":1}}', /gives no file name for tensor "a"/],
    ['one tensor twice', '{"weight_map":{"a":"x","a":"y"}}', /puts tensor "a" into both x and y/],
  ])('refuse an index with %s', async (_, text, message) => {
    await expect(openWeights({ [indexFile]: text })).rejects.toThrow(message)
  })
})

describe('openWeights', () => {
  it('takes paths, bytes, buffers, blobs, sources and files in memory', async () => {
    const bytes = await readFile(one) // a Buffer of Node: a view into a pool at any offset
    const odd = new Uint8Array(bytes.length + 3)
    odd.set(bytes, 3)
    const inputs = [
      one,
      pathToFileURL(one),
      odd.subarray(3),
      new Uint8Array(bytes).buffer,
      new Blob([new Uint8Array(bytes)]),
      bytesSource(bytes, 'x'),
      { 'model.safetensors': bytes },
      await openFolder({ 'model.safetensors': new Blob([new Uint8Array(bytes)]) }),
    ]
    for (const input of inputs) {
      const weights = await openWeights(input)
      expect((await weights.read('i32')).data).toEqual(Int32Array.of(2 ** 31 - 1, -(2 ** 31)))
      expect(await weights.hash()).toBe(createHash('sha256').update(bytes).digest('hex'))
      await weights.close()
    }
  })

  it('reads the header and the tensor asked for, nothing else', async () => {
    const tensors = Object.fromEntries(
      ['a', 'b', 'c'].map((n) => [n, { dtype: 'F32' as const, shape: [1000], data: new Float32Array(1000) }]),
    )
    const inner = bytesSource(writeSafetensors(tensors))
    const reads: [number, number][] = []
    const source: Source = {
      ...inner,
      read: (offset, length) => {
        reads.push([offset, length])
        return inner.read(offset, length)
      },
    }
    const weights = await openWeights(source)
    await weights.read('b')
    const headerEnd = inner.size - 12000
    expect(reads.slice(0, -1).every(([offset, length]) => offset + length <= Math.max(512, headerEnd))).toBe(
      true,
    )
    expect(reads.at(-1)).toEqual([headerEnd + 4000, 4000])
  })

  it('gives each reader an array of its own', async () => {
    const weights = await openWeights({ 'model.safetensors': await readFile(one) })
    const first = await weights.readF32('scalar')
    first[0] = 9
    expect((await weights.readF32('scalar'))[0]).toBe(2.5)
  })

  it('says what a folder without weights has', async () => {
    await writeFile(join(folder, 'pytorch_model.bin'), 'x')
    await expect(openWeights(folder)).rejects.toThrow(
      /has neither model\.safetensors nor model\.safetensors\.index\.json; it has pytorch_model\.bin; save the model as safetensors/,
    )
    await expect(openWeights(join(folder, 'none'))).rejects.toThrow(
      /none: no such file or folder; check the path/,
    )
  })
})

describe('openFolder', () => {
  const files = {
    'config.json': '{"n":1}',
    'broken.json': '{"n":',
    'pointer.json': 'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n',
    'page.json': '<!DOCTYPE html><html>404</html>',
    'latin.json': Uint8Array.of(0x22, 0xe9, 0x22),
  }

  it.each(['memory', 'disk'])('reads text and JSON from %s and says what is wrong', async (where) => {
    for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), content)
    const f = await openFolder(where === 'disk' ? folder : files)
    expect(await f.has('config.json')).toBe(true)
    expect(await f.has('nothing.json')).toBe(false)
    expect(await f.has('toString')).toBe(false)
    expect(await f.json('config.json')).toEqual({ n: 1 })
    expect(await f.text('config.json')).toBe('{"n":1}')
    expect(await f.list?.()).toEqual(Object.keys(files).sort())
    await expect(f.json('broken.json')).rejects.toThrow(/broken\.json: is not JSON/)
    await expect(f.text('pointer.json')).rejects.toThrow(/git-lfs pointer/)
    await expect(f.json('page.json')).rejects.toThrow(/HTML page/)
    await expect(f.text('latin.json')).rejects.toThrow(/latin\.json: is not UTF-8/)
    await expect(f.text('nothing.json')).rejects.toMatchObject({ problem: 'missing file' })
    await expect(f.text('nothing.json')).rejects.toThrow(
      /has no nothing\.json; it has broken\.json, config\.json/,
    )
  })

  it('says that a folder does not exist or is a file', async () => {
    await expect(openFolder(join(folder, 'no'))).rejects.toThrow(/no: no such folder; check the path/)
    await writeFile(join(folder, 'f'), '')
    await expect(openFolder(join(folder, 'f'))).rejects.toThrow(/f: is a file, not a folder; give its folder/)
  })
})

describe('URLs', () => {
  let server: Server
  let base = ''
  let ranges: (string | undefined)[] = []
  let honoursRanges = true

  const answer: RequestListener = async (request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://x')
    ranges.push(request.headers.range)
    if (pathname.startsWith('/spa/') && !pathname.endsWith('config.json')) {
      response.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html>')
      return
    }
    const bytes = await readFile(join(fixtures, decodeURIComponent(pathname.replace('/spa/', '/')))).catch(
      () => undefined,
    )
    if (!bytes) {
      response.writeHead(404).end()
      return
    }
    const match = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '')
    if (!match || !honoursRanges) {
      response.writeHead(200).end(bytes)
      return
    }
    const [from, to] = [Number(match[1]), Math.min(Number(match[2]), bytes.length - 1)]
    response.writeHead(206, { 'content-range': `bytes ${from}-${to}/${bytes.length}` })
    // a proxy that cuts long answers
    response.end(bytes.subarray(from, searchParams.has('cut') ? Math.min(to + 1, from + 600) : to + 1))
  }
  beforeAll(async () => {
    server = createServer((request, response) => void answer(request, response))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  })
  afterAll(() => {
    server.closeAllConnections()
    server.close()
  })
  beforeEach(() => {
    ranges = []
    honoursRanges = true
  })

  it('are read by range', async () => {
    const weights = await openWeights(`${base}/all-dtypes.safetensors`)
    expect((await weights.read('u8')).data).toEqual(Uint8Array.of(0, 255))
    expect(await weights.readF32('empty')).toEqual(new Float32Array(0))
    expect(ranges.every((range) => range !== undefined)).toBe(true)
  })

  it('are read whole, once, when the server knows no ranges', async () => {
    honoursRanges = false
    const weights = await openWeights(`${base}/all-dtypes.safetensors`)
    expect((await weights.read('u8')).data).toEqual(Uint8Array.of(0, 255))
    expect(ranges).toHaveLength(1)
  })

  it('hold folders with shards', async () => {
    const weights = await openWeights(`${base}/sharded`)
    expect(weights.names).toHaveLength(Object.keys(index.weight_map).length)
    expect((await weights.readF32('model.norm.weight')).length).toBe(24)
    const byIndex = await openWeights(new URL(`${base}/sharded/${indexFile}`))
    expect(byIndex.names).toEqual(weights.names)
  })

  it('have files or not, also behind a server that answers everything with a page', async () => {
    const f = await openFolder(`${base}/sharded/`)
    expect([await f.has('config.json'), await f.has('nothing.json')]).toEqual([true, false])
    await expect(f.text('nothing.json')).rejects.toThrow(/nothing\.json: the server answers 404/)
    const spa = await openFolder(`${base}/spa/sharded`)
    expect([await spa.has('config.json'), await spa.has('model.safetensors')]).toEqual([true, false])
    await expect(openWeights(`${base}/spa/model.safetensors`)).rejects.toThrow(/HTML page/)
  })

  it('keep the query of a folder for each of its files', async () => {
    const f = await openFolder(`${base}/sharded?cut=1`)
    expect((await f.source('config.json')).name).toBe(`${base}/sharded/config.json?cut=1`)
  })

  it('are refused when the answer is shorter than what was asked for', async () => {
    await expect(openWeights(`${base}/f16/model.safetensors?cut=1`)).rejects.toThrow(
      /asked for \d+ bytes at 8, the server sent 600/,
    )
  })

  it('say when nobody answers', async () => {
    await expect(openWeights('http://127.0.0.1:9/model.safetensors')).rejects.toThrow(/cannot be fetched/)
  })
})

it('sha256 is the known one of "abc"', async () => {
  expect(await sha256(new TextEncoder().encode('abc'))).toBe(
    'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad',
  )
})

it('sha256 reads long sources in pieces and gets the same', async () => {
  const bytes = Uint8Array.from({ length: 2 ** 23 + 5 }, (_, i) => (i * 7919) >> 8)
  expect(await sha256(bytes)).toBe(createHash('sha256').update(bytes).digest('hex'))
})
