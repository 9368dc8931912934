// Adapter of the format 'tokenizers': expected outputs of the Rust tokenizers library. A case is one row of a .jsonl file
// (one row and one tokenizer in lone_surrogates.jsonl), or the training of one tokenizer; all comparisons are exact.
import { createHash } from 'node:crypto'
import { access, readdir, readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import {
  charToToken,
  charToWord,
  type Encoding,
  loadTokenizer,
  type Tokenizer,
  TokenizerError,
  tokenizerFromJson,
  trainBpe,
  UnsupportedComponentError,
  wordToChars,
  wordToTokens,
} from '@heed/tokenizer'
import type { Collection, GoldenCase, Outcome } from './case.js'

type Row = Record<string, unknown>

/** What cannot be run, and why. */
class Unsupported extends Error {}

export async function* cases({
  dir,
  golden,
}: Pick<Collection, 'dir' | 'golden'>): AsyncGenerator<GoldenCase> {
  const files = await Files.open(dir, golden)
  for (const path of await jsonlFiles(dir)) {
    const rows = await readRows(join(dir, path))
    const name = path.replace(/\.jsonl$/, '')
    const check = checkOf(name)
    for (let i = 0; i < rows.length; i++) {
      const row = rows[i]
      for (const [id, run] of check(row, i, files)) yield { id: `${name}/${id}`, run: () => outcomeOf(run) }
    }
  }
  const training = await readJson(join(dir, 'trained', 'training.json'))
  for (const [name, spec] of Object.entries((training?.trained ?? {}) as Record<string, Row>))
    yield {
      id: `trained/training/${name}`,
      run: () => outcomeOf(() => checkTraining(training as Row, spec, name, files)),
    }
}

async function outcomeOf(run: () => Promise<void>): Promise<Outcome> {
  try {
    await run()
    return { status: 'pass', error: 0, tolerance: 0 }
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    if (error instanceof Unsupported || error instanceof UnsupportedComponentError)
      return { status: 'unsupported', reason }
    return { status: 'fail', reason }
  }
}

/** Runs of one row: the part of the id behind the file's name, and the check, which throws. */
type Check = (row: Row, index: number, files: Files) => [string, () => Promise<void>][]

function checkOf(name: string): Check {
  const [folder, file] = name.includes('/') ? name.split('/') : ['', name]
  const one =
    (check: (row: Row, files: Files) => Promise<void>): Check =>
    (row, index, files) => [[String(row.id ?? index), () => check(row, files)]]
  const ofTokenizer =
    (check: (tok: Tokenizer, row: Row, files: Files) => Promise<void> | void): Check =>
    (row, index, files) => [
      [
        `${row.tokenizer}/${index}`,
        async () => check(await files.tokenizer(String(row.tokenizer)), row, files),
      ],
    ]
  const not = (what: string): Check => one(() => Promise.reject(new Unsupported(what)))
  if (folder === 'encode')
    return one(async (row, files) => checkEncode(await files.tokenizer(file), row, files))
  if (folder === 'sentencepiece') return not('.model files of SentencePiece are not read')
  if (folder === 'tiktoken') return not('.tiktoken files are not read')
  if (name === 'trained/encodings')
    return (row, _, files) => [[`${row.trained}/${row.text_id}`, () => checkTrainedEncoding(row, files)]]
  const checks: Record<string, Check> = {
    texts: () => [],
    lone_surrogates: checkLoneSurrogates,
    decode_ids: ofTokenizer(checkDecodeIds),
    decode_stream: ofTokenizer(checkDecodeStream),
    maps: ofTokenizer(checkMaps),
    pairs: ofTokenizer(checkPair),
    truncation_padding: (row, index, files) => [[String(index), () => checkLimits(row, files)]],
    defaults: ofTokenizer(checkDefaults),
    normalizers: one((row, files) => checkNormalizer(row, files)),
    pretokenizers: one(checkPreTokenizer),
    decoders: one(checkDecoder),
    postprocessors: one((row, files) => checkPostProcessor(row, files)),
    models: one(checkWhole),
    added_tokens: one(checkWhole),
    chat_templates: not('chat templates are not rendered'),
  }
  return checks[name] ?? not(`${name}.jsonl is of no known kind`)
}

// ---- where things are

/** The collection's texts and the tokenizer files that it names. */
class Files {
  private readonly loaded = new Map<string, Promise<Tokenizer>>()

  private constructor(
    private readonly roots: Record<string, string>,
    private readonly places: Record<string, [string, string]>,
    readonly base: [string, string],
    readonly prose: string,
    private readonly texts: Map<string, string>,
  ) {}

  static async open(dir: string, golden: Record<string, unknown>): Promise<Files> {
    const config = await readJson(join(dir, 'configs.json'))
    const root = (key: string, fallback: string) => resolve(dir, String(golden[key] ?? fallback))
    const roots = {
      data: root('data', '../../data/tokenizers'),
      fetched: root('fetched', 'fetched'),
      own: root('own', '.'),
      beside: dir,
    }
    const rows = await readRows(join(dir, 'texts.jsonl')).catch(() => [] as Row[])
    return new Files(
      roots,
      (config?.tokenizers ?? {}) as Record<string, [string, string]>,
      (config?.postprocessor_base ?? ['own', 'trained/bpe_bytes_600.json']) as [string, string],
      root('prose', '../../data/text/alice.txt'),
      new Map(rows.map((row) => [String(row.id), String(row.text)])),
    )
  }

  text(id: unknown): string {
    const text = this.texts.get(String(id))
    if (text === undefined) throw new Error(`texts.jsonl has no text "${id}"`)
    return text
  }

  at([root, path]: [string, string]): string {
    return join(this.roots[root] ?? root, path)
  }

  /** The path of a named tokenizer.json: where the configuration says, else where such files usually are. */
  async find(name: string): Promise<string> {
    const given = this.places[name]
    const usual: [string, string][] = [
      ['data', `${name}/tokenizer.json`],
      ['own', `files/${name}/tokenizer.json`],
      ['fetched', `${name}/tokenizer.json`],
    ]
    const places = (given ? [given, ...usual] : usual).map((place) => this.at(place))
    for (const place of places) if (await exists(place)) return place
    throw new Unsupported(
      `no tokenizer.json of ${name} at ${places[0]}; fetch it with: sh fetch.sh (in the collection's folder)`,
    )
  }

  tokenizer(name: string): Promise<Tokenizer> {
    return this.once(name, async () => loadTokenizer(await this.find(name)))
  }

  once(key: string, load: () => Promise<Tokenizer>): Promise<Tokenizer> {
    let made = this.loaded.get(key)
    if (!made) this.loaded.set(key, (made = load()))
    return made
  }
}

const exists = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  ) // prettier-ignore

async function readJson(path: string): Promise<Row | null> {
  return (await exists(path)) ? (JSON.parse(await readFile(path, 'utf8')) as Row) : null
}

async function readRows(path: string): Promise<Row[]> {
  const lines = (await readFile(path, 'utf8')).split('\n')
  return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as Row)
}

async function jsonlFiles(dir: string): Promise<string[]> {
  const out: string[] = []
  for (const entry of await readdir(dir, { withFileTypes: true })) {
    if (entry.isFile() && entry.name.endsWith('.jsonl')) out.push(entry.name)
    if (!entry.isDirectory() || entry.name === 'files' || entry.name === 'fetched') continue
    for (const name of await readdir(join(dir, entry.name)))
      if (name.endsWith('.jsonl')) out.push(`${entry.name}/${name}`)
  }
  return out.sort()
}

// ---- comparing

function same(what: string, got: unknown, want: unknown): void {
  const place = difference(got, want, what)
  if (place) throw new Error(place)
}

/** The first place where two JSON values differ. */
function difference(got: unknown, want: unknown, at: string): string | null {
  if (Array.isArray(got) && Array.isArray(want)) {
    for (let i = 0; i < Math.max(got.length, want.length); i++) {
      const found = difference(got[i], want[i], `${at}[${i}]`)
      if (found) return found
    }
    return null
  }
  if (Object.is(got, want)) return null
  const short = (value: unknown) => (JSON.stringify(value) ?? 'nothing').slice(0, 120)
  return `${at}: got ${short(got)} instead of ${short(want)}`
}

const sha = (text: string) => createHash('sha256').update(text).digest('hex')
const codePoints = (e: Encoding) => e.offsetsCodePoints.flat()

/** Fields of a golden that an encoding has too; those that the row does not have are not compared. */
function sameEncoding(e: Encoding, row: Row, skip: readonly string[] = []): void {
  const got: Record<string, unknown> = {
    ids: e.ids,
    tokens: e.tokens,
    offsets: codePoints(e),
    offsets16: e.offsets.flat(),
    special: e.specialTokensMask,
    type_ids: e.typeIds,
    words: e.words,
    attention: e.attentionMask,
    sequences: e.sequences,
  }
  for (const [key, value] of Object.entries(got))
    if (row[key] !== undefined && row[key] !== null && !skip.includes(key)) same(key, value, row[key])
}

/**
 * Whether a character of the text is in no vocabulary and vanishes: the library's offsets behind it are then too small
 * (the README's `fault` in models.jsonl, met in encode/ where a vocabulary lacks bytes), ours are right.
 */
function vanishes(tok: Tokenizer, text: string): boolean {
  if (tok.unkToken) return false
  return tok
    .preTokenize(text)
    .pieces.some((piece) => Array.from(piece).some((char) => tok.tokenToId(char) === undefined))
}
const offsetFields = [
  'offsets',
  'offsets16',
  'offsets_first',
  'offsets_last',
  'offsets_sha256',
  'offsets16_sha256',
]

/** A row with an error: what it describes must not succeed. */
async function mustFail(run: () => unknown): Promise<void> {
  try {
    await run()
  } catch (error) {
    if (error instanceof UnsupportedComponentError || !(error instanceof TokenizerError)) throw error
    return
  }
  throw new Error('succeeded where an error was expected')
}

// ---- one function per kind of row

const asIs = { truncation: false, padding: false } as const

function checkEncode(tok: Tokenizer, row: Row, files: Files): void {
  const text = files.text(row.id)
  const e = tok.encode(text, asIs)
  const plain = tok.encode(text, { ...asIs, addSpecialTokens: false }).ids
  const decoded = tok.decode(e.ids)
  const all = tok.decode(e.ids, { skipSpecialTokens: false })
  const skip = vanishes(tok, text) ? offsetFields : []
  if (row.ids !== undefined) {
    sameEncoding(e, row, skip)
    same('plain', plain, row.plain)
    same('decoded', decoded, row.decoded)
    same('decoded_all', all, row.decoded_all)
    return
  }
  const offsets = codePoints(e)
  const ends = (row.ids_first as unknown[]).length
  const got: Row = {
    count: e.ids.length,
    ids_first: e.ids.slice(0, ends),
    ids_last: e.ids.slice(-ends),
    ids_sha256: sha(e.ids.join()),
    offsets_first: offsets.slice(0, 2 * ends),
    offsets_last: offsets.slice(-2 * ends),
    offsets_sha256: sha(offsets.join()),
    offsets16_sha256: sha(e.offsets.flat().join()),
    plain_count: plain.length,
    plain_sha256: sha(plain.join()),
    decoded_sha256: sha(decoded),
    decoded_all_sha256: sha(all),
  }
  for (const [key, value] of Object.entries(got))
    if (row[key] !== undefined && !skip.includes(key)) same(key, value, row[key])
}

function checkLoneSurrogates(row: Row, index: number, files: Files): [string, () => Promise<void>][] {
  return Object.entries(row.expected as Record<string, Row>).map(([name, want]) => [
    `${row.id ?? index}/${name}`,
    async () => {
      const tok = await files.tokenizer(name)
      sameEncoding(tok.encode(String(row.text), asIs), want)
      sameEncoding(tok.encode(String(row.as), asIs), want)
    },
  ])
}

function checkDecodeIds(tok: Tokenizer, row: Row): void {
  same('decoded', tok.decode(row.ids as number[]), row.decoded)
  same('decoded_all', tok.decode(row.ids as number[], { skipSpecialTokens: false }), row.decoded_all)
}

async function checkDecodeStream(tok: Tokenizer, row: Row): Promise<void> {
  const options = { skipSpecialTokens: row.skip_special_tokens as boolean }
  const run = () => {
    const stream = tok.decodeStream(options)
    return (row.ids as number[]).map((id) => stream.push(id))
  }
  if (row.error !== undefined) return mustFail(run)
  same('chunks', run(), row.chunks)
}

function checkMaps(tok: Tokenizer, row: Row, files: Files): void {
  const text = files.text(row.text_id)
  const e = tok.encode(text, asIs)
  const units: number[] = [] // of every code point
  for (let i = 0; i < text.length; i += (text.codePointAt(i) as number) > 0xffff ? 2 : 1) units.push(i)
  const pointOf = new Map([...units, text.length].map((unit, point) => [unit, point]))
  const words = [...new Set(e.words.filter((w) => w !== null))].sort((a, b) => a - b)
  same(
    'char_to_token',
    units.map((u) => charToToken(e, u)),
    row.char_to_token,
  )
  same(
    'char_to_word',
    units.map((u) => charToWord(e, u)),
    row.char_to_word,
  )
  same(
    'char16_to_token',
    Array.from({ length: text.length }, (_, u) => charToToken(e, u)),
    row.char16_to_token,
  )
  same(
    'word_to_tokens',
    words.map((w) => wordToTokens(e, w)),
    row.word_to_tokens,
  )
  same(
    'word_to_chars',
    words.map((w) => wordToChars(e, w)?.map((u) => pointOf.get(u))),
    row.word_to_chars,
  )
}

function checkPair(tok: Tokenizer, row: Row): void {
  const [text, pair] = row.is_pretokenized
    ? [row.words_a as string[], row.words_b as string[]]
    : [String(row.a), String(row.b)]
  const addSpecialTokens = (row.add_special_tokens as boolean | undefined) ?? true
  sameEncoding(tok.encode(text, { pair, addSpecialTokens, ...asIs }), row)
}

async function checkLimits(row: Row, files: Files): Promise<void> {
  const raw = await readJson(await files.find(String(row.tokenizer)))
  const inputs = row.inputs as string[][]
  const run = () =>
    tokenizerFromJson({ ...raw, truncation: row.truncation, padding: row.padding }).encodeBatch(
      inputs.map((i) => i[0]),
      {
        pairs: inputs.map((i) => i[1]),
        addSpecialTokens: (row.add_special_tokens as boolean | undefined) ?? true,
      },
    )
  if (row.error !== undefined) return mustFail(run)
  const want = row.encodings as Row[]
  run().forEach((e, i) => {
    sameEncoding(e, want[i])
    const overflowing = want[i].overflowing as Row[]
    same('overflowing', e.overflowing.length, overflowing.length)
    e.overflowing.forEach((o, k) => sameEncoding(o, overflowing[k]))
  })
}

function checkDefaults(tok: Tokenizer, row: Row, files: Files): void {
  const e = tok.encode(files.text(row.text_id))
  same('count', e.ids.length, row.count)
  sameEncoding(e, row)
  same('overflowing', e.overflowing.length, row.overflowing)
}

const shell = (parts: Row) =>
  tokenizerFromJson({
    version: '1.0',
    added_tokens: [],
    model: { type: 'BPE', unk_token: '?', vocab: { '?': 0 }, merges: [] },
    ...parts,
  })

/** A component may borrow a table from a named tokenizer. */
async function component(value: unknown, files: Files): Promise<unknown> {
  if (Array.isArray(value)) return Promise.all(value.map((v) => component(v, files)))
  if (value === null || typeof value !== 'object') return value
  const c = value as Row
  if (c.$charsmap_from_model !== undefined)
    throw new Unsupported('normalizer Precompiled is not supported yet')
  if (c.$from !== undefined) {
    let part: unknown = await readJson(await files.find(String(c.$from)))
    for (const key of c.path as string[]) part = (part as Row)[key]
    return part
  }
  const entries = await Promise.all(
    Object.entries(c).map(async ([key, v]) => [key, await component(v, files)]),
  )
  return Object.fromEntries(entries)
}

async function checkNormalizer(row: Row, files: Files): Promise<void> {
  const normalizer = await component(row.component, files)
  const run = () => shell({ normalizer }).normalize(String(row.input))
  if (row.error !== undefined) return mustFail(run)
  const out = run()
  same('output', out.text, row.output)
  same('offsets', out.offsetsCodePoints.flat(), row.offsets)
}

async function checkPreTokenizer(row: Row): Promise<void> {
  const run = () => shell({ pre_tokenizer: row.component }).preTokenize(String(row.input ?? ''))
  if (row.error !== undefined) return mustFail(run)
  const out = run()
  same('output', out.pieces, row.output)
  same('offsets', out.offsetsCodePoints.flat(), row.offsets)
  same('offsets16', out.offsets.flat(), row.offsets16)
}

async function checkDecoder(row: Row): Promise<void> {
  const input = (row.input ?? []) as string[]
  const vocab = Object.fromEntries([...new Set(input)].map((token, id) => [token, id]))
  const run = () => {
    const tok = shell({ decoder: row.component, model: { type: 'BPE', vocab, merges: [] } })
    return tok.decode(input.map((token) => vocab[token]))
  }
  // The library panics where Strip is asked for more than a token has: an empty string is right as well.
  if (row.error !== undefined) return (row.component as Row).type === 'Strip' ? void run() : mustFail(run)
  same('output', run(), row.output)
}

async function checkPostProcessor(row: Row, files: Files): Promise<void> {
  const base = await readJson(files.at(files.base))
  if (!base) throw new Unsupported(`no file at ${files.at(files.base)}, which the row was made with`)
  const run = async () => {
    const tok = await files.once(JSON.stringify(row.component), async () =>
      tokenizerFromJson({ ...base, post_processor: row.component }),
    )
    return tok.encode(String(row.a), {
      ...(row.b === null || row.b === undefined ? {} : { pair: String(row.b) }),
      addSpecialTokens: row.add_special_tokens as boolean,
      ...asIs,
    })
  }
  if (row.error !== undefined) return mustFail(run)
  sameEncoding(await run(), row.output as Row)
}

async function checkWhole(row: Row): Promise<void> {
  if (row.error !== undefined) return mustFail(() => tokenizerFromJson(row.tokenizer as Row))
  const tok = tokenizerFromJson(row.tokenizer as Row)
  // `fault` says what the library does wrong there: those offsets are not compared.
  const skip = row.fault === undefined ? [] : offsetFields
  for (const one of row.cases as Row[]) {
    const options = { splitSpecialTokens: row.encode_special_tokens === true }
    if (one.error !== undefined) {
      await mustFail(() => tok.encode(String(one.text), options))
      continue
    }
    try {
      const e = tok.encode(String(one.text), options)
      sameEncoding(e, one, skip)
      same('decoded', tok.decode(e.ids), one.decoded)
      same('decoded_all', tok.decode(e.ids, { skipSpecialTokens: false }), one.decoded_all)
    } catch (error) {
      throw error instanceof UnsupportedComponentError
        ? error
        : new Error(`${JSON.stringify(one.text).slice(0, 60)}: ${(error as Error).message}`)
    }
  }
}

async function checkTrainedEncoding(row: Row, files: Files): Promise<void> {
  const path = files.at(['own', `trained/${row.trained}.json`])
  if (!(await exists(path))) throw new Unsupported(`no file at ${path}`)
  const tok = await files.once(path, () => loadTokenizer(path))
  const e = tok.encode(files.text(row.text_id))
  sameEncoding(e, row)
  same('decoded', tok.decode(e.ids), row.decoded)
}

async function checkTraining(training: Row, spec: Row, name: string, files: Files): Promise<void> {
  if (spec.trainer !== 'BpeTrainer') throw new Unsupported(`${spec.trainer} is not supported yet`)
  const {
    vocab_size,
    min_frequency,
    special_tokens,
    byte_alphabet,
    initial_alphabet,
    limit_alphabet,
    max_token_length,
    ...others
  } = spec.args as Row
  if (Object.keys(others).length > 0)
    throw new Unsupported(`BpeTrainer with ${Object.keys(others).join(', ')}`)
  if (!(await exists(files.prose))) throw new Unsupported(`no training text at ${files.prose}`)
  const [first, last] = training.bytes as [number, number]
  const used = (await readFile(files.prose)).subarray(first, last)
  const digest = createHash('sha256').update(used).digest('hex')
  if (digest !== training.sha256)
    throw new Unsupported(`${files.prose} is not the text that was trained on (its sha256 is ${digest})`)
  const lines = used
    .toString('utf8')
    .split(/(?<=\n)/)
    .filter((line) => line !== '')
  const skeleton = spec.tokenizer as Record<string, never>
  const unk = (skeleton.model as Row).unk_token as string | null
  const tok = trainBpe(lines, {
    vocabSize: vocab_size as number,
    minFrequency: (min_frequency as number | undefined) ?? 0,
    specialTokens: (special_tokens as string[] | undefined) ?? [],
    ...(byte_alphabet ? {} : { initialAlphabet: (initial_alphabet as string[] | undefined) ?? [] }),
    ...(limit_alphabet === undefined ? {} : { limitAlphabet: limit_alphabet as number }),
    ...(max_token_length === undefined ? {} : { maxTokenLength: max_token_length as number }),
    pipeline: {
      normalizer: skeleton.normalizer,
      pre_tokenizer: skeleton.pre_tokenizer,
      post_processor: skeleton.post_processor,
      decoder: skeleton.decoder,
      ...(unk ? { unkToken: unk } : {}),
    },
  })
  const want = await readJson(files.at(['own', `trained/${name}.json`]))
  const got = tok.toJson() as Row
  const model = (json: Row | null) =>
    json?.model as { vocab: Record<string, number>; merges: (string | string[])[] }
  const pairs = (merges: (string | string[])[]) =>
    merges.map((m) => (typeof m === 'string' ? m.split(' ') : m))
  const byId = (vocab: Record<string, number>) => Object.entries(vocab).sort((a, b) => a[1] - b[1])
  same('merges', pairs(model(got).merges), pairs(model(want).merges))
  same('vocab', byId(model(got).vocab), byId(model(want).vocab))
  same('added_tokens', JSON.stringify(got.added_tokens), JSON.stringify(want?.added_tokens))
}
