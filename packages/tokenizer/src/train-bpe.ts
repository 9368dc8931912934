/**
 * Learning the merges of a byte-pair encoding from text: the most frequent pair of neighbours is joined, again and again.
 * Gives what the trainer of the Rust library gives, ties and corner cases included. It refuses to encode (bpe.ts).
 */
import { AlignedText } from './aligned-text.js'
import { byteChars } from './byte-alphabet.js'
import { checkOptions, type Json, type JsonObject } from './json.js'
import { readNormalizer } from './normalizers.js'
import { PairTable } from './pair-table.js'
import { readPreTokenizer } from './pre-tokenizers.js'
import { Tokenizer } from './tokenizer.js'

export interface TrainBpeOptions {
  /** Pieces in all: special tokens, alphabet and merges. Fewer come out if the text has no more pairs. */
  vocabSize: number
  /** A pair must be seen so often to be joined. Default 0. */
  minFrequency?: number
  /** They get the first ids. Default none. */
  specialTokens?: readonly string[]
  /** Characters that are in the vocabulary even if never seen. Default: the 256 bytes; [] for none. */
  initialAlphabet?: readonly string[]
  /** Keeps only so many of the most frequent characters; the others vanish from the text. */
  limitAlphabet?: number
  /** No merge reaches this many characters (the library's `max_token_length`: its test is `<`, but for first pairs). */
  maxTokenLength?: number
  /** The rest of the tokenizer.json. Default: byte-level as GPT-2's, without prefix space. */
  pipeline?: {
    normalizer?: Json
    pre_tokenizer?: Json
    post_processor?: Json
    decoder?: Json
    unkToken?: string
  }
  /** Told while texts are read (done, null) and while merges are learned (done, total). */
  onProgress?: (phase: 'read' | 'merge', done: number, total: number | null) => void
}

const byteLevel = (prefix: boolean, trim: boolean): JsonObject => ({
  type: 'ByteLevel',
  add_prefix_space: prefix,
  trim_offsets: trim,
  use_regex: true,
})

/** Trains a byte-level BPE tokenizer. `texts` is walked once; give lines or documents, they are never joined. */
export function trainBpe(texts: Iterable<string>, options: TrainBpeOptions): Tokenizer {
  checkOptions('trainBpe', options, [
    'vocabSize',
    'minFrequency',
    'specialTokens',
    'initialAlphabet',
    'limitAlphabet',
    'maxTokenLength',
    'pipeline',
    'onProgress',
  ])
  const { vocabSize, pipeline } = options
  if (!Number.isInteger(vocabSize) || vocabSize < 1)
    throw new RangeError(`trainBpe: vocabSize is ${vocabSize}, expected a whole number of at least 1`)
  if (typeof texts === 'string')
    throw new TypeError('trainBpe: expected an iterable of texts, got one string; wrap it in [ ]')
  const specials = [...(options.specialTokens ?? [])]
  const shell: JsonObject = {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [],
    normalizer: pipeline?.normalizer ?? null,
    pre_tokenizer: pipeline ? (pipeline.pre_tokenizer ?? null) : byteLevel(false, true),
    post_processor: pipeline ? (pipeline.post_processor ?? null) : byteLevel(true, false),
    decoder: pipeline ? (pipeline.decoder ?? null) : byteLevel(true, true),
  }
  const words = countWords(texts, shell, options.onProgress)
  const alphabet = chooseAlphabet(words, options.initialAlphabet ?? byteChars, options.limitAlphabet)
  const vocab = new Map<string, number>()
  for (const token of [...specials, ...alphabet]) if (!vocab.has(token)) vocab.set(token, vocab.size)
  const merges = learn(words, vocab, options)
  shell.added_tokens = [...new Set(specials)].map((content) => ({
    id: vocab.get(content) as number,
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  }))
  shell.model = {
    type: 'BPE',
    dropout: null,
    unk_token: pipeline?.unkToken ?? null,
    continuing_subword_prefix: null,
    end_of_word_suffix: null,
    fuse_unk: false,
    byte_fallback: false,
    ignore_merges: false,
    vocab: Object.fromEntries(vocab),
    merges: merges,
  }
  return new Tokenizer(shell)
}

/** How often every piece of the pre-tokenizer occurs. */
function countWords(
  texts: Iterable<string>,
  shell: JsonObject,
  onProgress: TrainBpeOptions['onProgress'],
): Map<string, number> {
  const normalize = readNormalizer(shell.normalizer, '$.normalizer')
  const preTokenize = readPreTokenizer(shell.pre_tokenizer, '$.pre_tokenizer')
  const counts = new Map<string, number>()
  let done = 0
  for (const text of texts) {
    const clean = /[\ud800-\udfff]/.test(text) ? text.replace(/\p{Surrogate}/gu, '\ufffd') : text
    for (const piece of preTokenize(normalize(AlignedText.from(clean)))) {
      const count = counts.get(piece.text)
      if (count !== undefined) counts.set(piece.text, count + 1)
      else counts.set(flat(piece.text), 1)
    }
    if (++done % 1000 === 0) onProgress?.('read', done, null)
  }
  onProgress?.('read', done, null)
  return counts
}

/** A copy that does not keep the whole text alive, as slices of it do. */
function flat(text: string): string {
  const codes: number[] = []
  for (let i = 0; i < text.length; i++) codes.push(text.charCodeAt(i))
  return codes.length < 1000 ? String.fromCharCode(...codes) : text
}

/** In code point order. */
function chooseAlphabet(
  words: Map<string, number>,
  initial: readonly string[],
  limit: number | undefined,
): string[] {
  const counts = new Map<string, number>()
  for (const [word, count] of words)
    for (const char of word) counts.set(char, (counts.get(char) ?? 0) + count)
  for (const char of initial) counts.set(char, Number.POSITIVE_INFINITY)
  let kept = [...counts]
  if (limit !== undefined && kept.length > limit)
    kept = kept.sort((a, b) => a[1] - b[1]).slice(kept.length - limit)
  const point = (char: string) => char.codePointAt(0) as number
  return kept.map(([char]) => char).sort((a, b) => point(a) - point(b))
}

/** Adds joined tokens to `vocab` and returns the merges in order. */
function learn(
  words: Map<string, number>,
  vocab: Map<string, number>,
  options: TrainBpeOptions,
): [string, string][] {
  const { vocabSize, minFrequency = 0, maxTokenLength = Number.POSITIVE_INFINITY, onProgress } = options
  const tokens = [...vocab.keys()]
  const pairs = new Pairs()
  const corpus = new Corpus(words, vocab)
  for (let word = 0; word < corpus.counts.length; word++) {
    const [from, to] = corpus.span(word)
    for (let i = from + 1; i < to; i++)
      pairs.change(corpus.symbols[i - 1], corpus.symbols[i], corpus.counts[word], word)
  }
  const queue = new Queue()
  for (const pair of pairs.takeSeen()) queue.push(pair)

  const merges: [string, string][] = []
  const total = vocabSize - tokens.length
  while (tokens.length < vocabSize) {
    const top = queue.pop()
    if (!top) break
    const count = pairs.counts[top.pair]
    if (top.count !== count) {
      queue.push({ ...top, count }) // its count fell since it was queued
      continue
    }
    if (count < 1 || count < minFrequency) break
    const joined = tokens[top.left] + tokens[top.right]
    let id = vocab.get(joined)
    if (id === undefined) {
      id = tokens.length
      tokens.push(joined)
      vocab.set(joined, id)
    }
    merges.push([tokens[top.left], tokens[top.right]])
    for (const word of top.words) corpus.merge(word, top.left, top.right, id, maxTokenLength, pairs)
    for (const pair of pairs.takeSeen()) queue.push(pair)
    onProgress?.('merge', merges.length, total)
  }
  return merges
}

/** Every different word as a run of ids in one array; a word shrinks in place. */
class Corpus {
  readonly symbols: Int32Array
  private readonly lengths: Int32Array // characters of every symbol
  private readonly firsts: Int32Array
  private readonly sizes: Int32Array
  readonly counts: Float64Array

  constructor(words: Map<string, number>, vocab: ReadonlyMap<string, number>) {
    let total = 0
    for (const word of words.keys()) total += word.length
    this.symbols = new Int32Array(total)
    this.lengths = new Int32Array(total).fill(1)
    this.firsts = new Int32Array(words.size)
    this.sizes = new Int32Array(words.size)
    this.counts = new Float64Array(words.size)
    let at = 0
    let index = 0
    for (const [word, count] of words) {
      this.firsts[index] = at
      for (const char of word) {
        const id = vocab.get(char)
        if (id !== undefined) this.symbols[at++] = id // characters outside the alphabet vanish
      }
      this.sizes[index] = at - this.firsts[index]
      this.counts[index++] = count
    }
  }

  span(word: number): [number, number] {
    return [this.firsts[word], this.firsts[word] + this.sizes[word]]
  }

  /** Joins every `left right` of a word, left to right, and reports which pairs came and went. */
  merge(word: number, left: number, right: number, id: number, maxLength: number, pairs: Pairs): void {
    const { symbols, lengths } = this
    const count = this.counts[word]
    const [from, to] = this.span(word)
    let write = from
    for (let read = from; read < to; read++) {
      if (symbols[read] !== left || read + 1 >= to || symbols[read + 1] !== right) {
        symbols[write] = symbols[read]
        lengths[write++] = lengths[read]
        continue
      }
      const length = lengths[read] + lengths[read + 1]
      if (write > from) {
        const before = symbols[write - 1]
        pairs.change(before, left, -count, word)
        if (lengths[write - 1] + length < maxLength) pairs.change(before, id, count, word)
      }
      if (read + 2 < to) {
        const after = symbols[read + 2]
        pairs.change(right, after, -count, word)
        if (lengths[read + 2] + length < maxLength) pairs.change(id, after, count, word)
      }
      symbols[write] = id
      lengths[write++] = length
      read++
    }
    this.sizes[word] = write - from
  }
}

interface Candidate {
  left: number
  right: number
  pair: number
  count: number
  /** Words in which it came up since it was last queued. */
  words: number[]
}

/** Counts of all pairs, and where those that came up lately are. */
class Pairs {
  private readonly index = new PairTable(1 << 12)
  private readonly lefts: number[] = []
  private readonly rights: number[] = []
  readonly counts: number[] = []
  private seen = new Map<number, number[]>()

  change(left: number, right: number, by: number, word: number): void {
    let pair = this.index.get(left, right)
    if (pair < 0) {
      pair = this.counts.length
      this.index.set(left, right, pair)
      this.counts.push(0)
      this.lefts.push(left)
      this.rights.push(right)
    }
    this.counts[pair] += by
    if (by < 0) return
    const words = this.seen.get(pair)
    if (!words) this.seen.set(pair, [word])
    else if (words[words.length - 1] !== word) words.push(word)
  }

  *takeSeen(): Generator<Candidate> {
    const seen = this.seen
    this.seen = new Map()
    for (const [pair, words] of seen)
      if (this.counts[pair] > 0)
        yield { left: this.lefts[pair], right: this.rights[pair], pair, count: this.counts[pair], words }
  }
}

/** The most frequent first; among equals the smallest left id, then the smallest right id. */
class Queue {
  private readonly heap: Candidate[] = []

  private before(a: Candidate, b: Candidate): boolean {
    if (a.count !== b.count) return a.count > b.count
    return a.left !== b.left ? a.left < b.left : a.right < b.right
  }

  push(candidate: Candidate): void {
    const { heap } = this
    let at = heap.length
    heap.push(candidate)
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!this.before(candidate, heap[parent])) break
      heap[at] = heap[parent]
      at = parent
    }
    heap[at] = candidate
  }

  pop(): Candidate | undefined {
    const { heap } = this
    const top = heap[0]
    const last = heap.pop()
    if (!last || heap.length === 0) return top
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && this.before(heap[child + 1], heap[child])) child++
      if (!this.before(heap[child], last)) break
      heap[at] = heap[child]
      at = child
    }
    heap[at] = last
    return top
  }
}
