/**
 * Corpus and stories as token ids, with the tokenizer that is trained on them: made once from the seed and kept in the
 * cache folder under a name that holds everything it depends on.
 */
import { createHash } from 'node:crypto'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Tokenizer, tokenizerFromJson, trainBpe } from '@heed/tokenizer'
import { cacheFolder, type Document, loadCorpus } from './corpus.js'
import { giveChains, plainGives, stories } from './stories.js'

export const END_OF_TEXT = '<|endoftext|>'
export const VOCAB_SIZE = 2048
const STORY_COUNT = 40000
/** Enough for every name and thing of the stories to become one piece, without crowding out the text. */
const STORIES_FOR_TOKENIZER = 8000
const STORY_SEED = 1
const CHAIN_COUNT = 15000
const CHAIN_SEED = 2
const PLAIN_COUNT = 30000
const PLAIN_SEED = 3
const DIRECT_SEED = 4

export interface HeldOutDocument {
  name: string
  ids: Int32Array
  /** UTF-8 bytes of the text that `ids` after the first (end-of-text) spell. */
  bytes: number
}

export interface TokenData {
  tokenizer: Tokenizer
  tokenizerJson: string
  vocabSize: number
  endOfText: number
  /** Training documents, `endOfText` before each. */
  text: Int32Array
  textBytes: number
  stories: Int32Array
  gives: Int32Array
  plain: Int32Array
  direct: Int32Array
  heldOut: HeldOutDocument[]
}

const toBytes = (ids: Int32Array): Uint8Array => new Uint8Array(ids.buffer, ids.byteOffset, ids.byteLength)

/** Ids of documents in one stream. Paragraph by paragraph, which gives the same ids: a piece never crosses a line's end. */
export function encodeDocuments(
  tokenizer: Tokenizer,
  texts: Iterable<string>,
  endOfText: number,
): Int32Array {
  const ids: number[] = []
  for (const text of texts) {
    ids.push(endOfText)
    for (const line of text.split(/(?<=\n)/))
      for (const id of tokenizer.encode(line, { addSpecialTokens: false }).ids) ids.push(id)
  }
  return Int32Array.from(ids)
}

/** All that training and evaluation read. The first call takes a minute, the next ones a second. */
export async function loadTokens(say: (line: string) => void = () => {}): Promise<TokenData> {
  const cache = cacheFolder()
  const corpus = await loadCorpus(cache)
  const tales = stories(STORY_SEED, STORY_COUNT)
  const hash = createHash('sha256')
  hash.update(JSON.stringify([VOCAB_SIZE, STORIES_FOR_TOKENIZER]))
  const digest = (d: Document): void => void hash.update(`${d.name}\0${d.text}\0`)
  corpus.train.forEach(digest)
  corpus.heldOut.forEach(digest)
  const chains = giveChains(CHAIN_SEED, CHAIN_COUNT)
  const plain = plainGives(PLAIN_SEED, PLAIN_COUNT, 0.1)
  const direct = plainGives(DIRECT_SEED, PLAIN_COUNT, 0.5)
  for (const tale of [...tales, ...chains, ...plain, ...direct]) hash.update(`${tale}\0`)
  const folder = join(cache, `tokens-${hash.digest('hex').slice(0, 16)}`)
  await mkdir(folder, { recursive: true })

  const tokenizerPath = join(folder, 'tokenizer.json')
  let tokenizerJson = await readFile(tokenizerPath, 'utf8').catch(() => '')
  if (!tokenizerJson) {
    say(`training the ${VOCAB_SIZE}-piece tokenizer`)
    const lines = function* (): Generator<string> {
      for (const d of corpus.train) yield* d.text.split(/(?<=\n)/)
      yield* tales.slice(0, STORIES_FOR_TOKENIZER)
    }
    const trained = trainBpe(lines(), { vocabSize: VOCAB_SIZE, specialTokens: [END_OF_TEXT] })
    tokenizerJson = JSON.stringify(trained.toJson())
    await writeFile(tokenizerPath, tokenizerJson)
  }
  const tokenizer = tokenizerFromJson(tokenizerJson)
  const endOfText = tokenizer.tokenToId(END_OF_TEXT)
  if (endOfText === undefined || endOfText === null)
    throw new Error(`tokens: ${tokenizerPath} has no ${END_OF_TEXT}; delete it and run again`)

  const stream = async (name: string, texts: () => Iterable<string>): Promise<Int32Array> => {
    const path = join(folder, `${name}.i32`)
    const there = await readFile(path).catch(() => undefined)
    if (there)
      return new Int32Array(there.buffer.slice(there.byteOffset, there.byteOffset + there.byteLength))
    say(`encoding ${name}`)
    const ids = encodeDocuments(tokenizer, texts(), endOfText)
    await writeFile(path, toBytes(ids))
    return ids
  }
  const heldOut: HeldOutDocument[] = []
  for (const [i, d] of corpus.heldOut.entries())
    heldOut.push({
      name: d.name,
      ids: await stream(`held-out-${i}`, () => [d.text]),
      bytes: Buffer.byteLength(d.text),
    })
  return {
    tokenizer,
    tokenizerJson,
    vocabSize: VOCAB_SIZE,
    endOfText,
    text: await stream('text', () => corpus.train.map((d) => d.text)),
    textBytes: corpus.train.reduce((sum, d) => sum + Buffer.byteLength(d.text), 0),
    stories: await stream('stories', () => tales),
    gives: await stream('gives', () => chains),
    plain: await stream('plain', () => plain),
    direct: await stream('direct', () => direct),
    heldOut,
  }
}
