/**
 * Byte-pair encoding: a piece starts as characters, and the pair that was learned first is joined first, leftmost first,
 * until none is left. A heap keeps that at O(n log n), so a run of 10,000 letters is no trap. It refuses to train
 * (train-bpe.ts) and to know what a byte is (byte-alphabet.ts). Source: Sennrich et al. 2016.
 */
import { widthAt } from './aligned-text.js'
import { TokenizerError, TokenizerFormatError, UnsupportedComponentError } from './errors.js'
import type { Fields } from './json.js'
import { PairTable } from './pair-table.js'
import { cached, type Model, type PieceTokens, readVocab, reverse } from './vocab.js'

export function readBpe(fields: Fields): Model {
  const optional = (key: string) => (fields.has(key) ? fields.string(key) : undefined)
  const dropout = fields.value.dropout ?? 0
  if (dropout !== 0 && dropout !== 1)
    throw new UnsupportedComponentError(
      `BPE dropout ${dropout}`,
      fields.at('dropout'),
      'is random and not supported; 0 and 1 are',
    )
  return new Bpe(
    readVocab(fields),
    fields.array('merges').map((merge, rank) => readMerge(merge, `${fields.at('merges')}[${rank}]`)),
    {
      unkToken: optional('unk_token'),
      prefix: optional('continuing_subword_prefix') ?? '',
      suffix: optional('end_of_word_suffix') ?? '',
      fuseUnk: fields.boolean('fuse_unk', false),
      byteFallback: fields.boolean('byte_fallback', false),
      ignoreMerges: fields.boolean('ignore_merges', false),
      neverMerge: dropout === 1,
    },
    fields.at('merges'),
  )
}

/** 'a b' or ['a', 'b']. */
export function readMerge(merge: unknown, path: string): [string, string] {
  const parts = typeof merge === 'string' ? merge.split(' ') : merge
  if (
    !Array.isArray(parts) ||
    parts.length !== 2 ||
    typeof parts[0] !== 'string' ||
    typeof parts[1] !== 'string'
  )
    throw new TokenizerFormatError(
      path,
      `expected "left right" or ["left", "right"], found ${JSON.stringify(merge)}`,
    )
  return [parts[0], parts[1]]
}

interface BpeOptions {
  unkToken: string | undefined
  prefix: string
  suffix: string
  fuseUnk: boolean
  byteFallback: boolean
  ignoreMerges: boolean
  neverMerge: boolean
}

const encoder = new TextEncoder()

class Bpe implements Model {
  readonly unkToken: string | undefined
  private readonly tokens: (string | undefined)[]
  private readonly ranks: PairTable
  /** Id that the merge of each rank makes. */
  private readonly made: Int32Array
  readonly tokenize = cached((piece) => this.pieces(piece))

  constructor(
    readonly vocab: ReadonlyMap<string, number>,
    merges: [string, string][],
    private readonly options: BpeOptions,
    path: string,
  ) {
    this.unkToken = options.unkToken
    this.tokens = reverse(vocab)
    this.ranks = new PairTable(merges.length)
    this.made = new Int32Array(merges.length)
    const id = (token: string, rank: number) => {
      const found = vocab.get(token)
      if (found === undefined)
        throw new TokenizerFormatError(`${path}[${rank}]`, `"${token}" is not in the vocabulary`)
      return found
    }
    merges.forEach(([left, right], rank) => {
      const joined = left + right.slice(options.prefix.length)
      this.ranks.set(id(left, rank), id(right, rank), rank)
      this.made[rank] = id(joined, rank)
    })
  }

  idToToken(id: number): string | undefined {
    return this.tokens[id]
  }

  private pieces(piece: string): PieceTokens {
    const whole = this.options.ignoreMerges ? this.vocab.get(piece) : undefined
    if (whole !== undefined) return { ids: [whole], starts: [0], ends: [piece.length] }
    return this.merge(this.symbols(piece))
  }

  /** The piece as characters of the vocabulary, bytes or unknown tokens; what none of these covers vanishes. */
  private symbols(piece: string): PieceTokens {
    const { prefix, suffix, byteFallback, fuseUnk } = this.options
    const out: PieceTokens = { ids: [], starts: [], ends: [] }
    const add = (id: number, start: number, end: number) => {
      out.ids.push(id)
      out.starts.push(start)
      out.ends.push(end)
    }
    // An unknown token waits until a known character comes, behind byte tokens too: ids then come in the library's order.
    let unknown: [start: number, end: number] | null = null
    const flush = () => {
      if (unknown) add(this.unkId(), unknown[0], unknown[1])
      unknown = null
    }
    for (let i = 0; i < piece.length; ) {
      const end = i + widthAt(piece, i)
      const char = (i > 0 ? prefix : '') + piece.slice(i, end) + (end === piece.length ? suffix : '')
      const id = this.vocab.get(char)
      if (id !== undefined) {
        flush()
        add(id, i, end)
      } else {
        const bytes = byteFallback ? this.bytes(char) : null
        if (bytes) for (const byte of bytes) add(byte, i, end)
        else if (this.unkToken !== undefined) {
          if (unknown && !fuseUnk) flush()
          unknown = [(unknown as [number, number] | null)?.[0] ?? i, end]
        }
      }
      i = end
    }
    flush()
    return out
  }

  private bytes(char: string): number[] | null {
    const out: number[] = []
    for (const byte of encoder.encode(char)) {
      const id = this.vocab.get(`<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`)
      if (id === undefined) return null
      out.push(id)
    }
    return out
  }

  private unkId(): number {
    const id = this.vocab.get(this.unkToken as string)
    if (id === undefined)
      throw new TokenizerError(`the unknown token "${this.unkToken}" is not in the vocabulary`)
    return id
  }

  private merge(symbols: PieceTokens): PieceTokens {
    const { ids, starts, ends } = symbols
    const n = ids.length
    if (n < 2 || this.options.neverMerge) return symbols
    const next = new Int32Array(n)
    const previous = new Int32Array(n)
    const heap = new MergeHeap(n)
    const offer = (left: number, right: number) => {
      const rank = this.ranks.get(ids[left], ids[right])
      if (rank >= 0) heap.push(rank, left)
    }
    for (let i = 0; i < n; i++) {
      next[i] = i + 1 < n ? i + 1 : -1
      previous[i] = i - 1
      if (i + 1 < n) offer(i, i + 1)
    }
    while (heap.size > 0) {
      const key = heap.pop()
      const rank = Math.floor(key / positions)
      const left = key - rank * positions
      const right = next[left]
      if (right < 0) continue // also of symbols that were joined to their left neighbour
      const now = this.ranks.get(ids[left], ids[right])
      if (now < 0 || this.made[now] !== this.made[rank]) continue // the pair is not what it was
      ids[left] = this.made[rank]
      ends[left] = ends[right]
      next[left] = next[right]
      next[right] = -1
      ids[right] = -1
      if (next[left] >= 0) previous[next[left]] = left
      if (previous[left] >= 0) offer(previous[left], left)
      if (next[left] >= 0) offer(left, next[left])
    }
    const out: PieceTokens = { ids: [], starts: [], ends: [] }
    for (let i = 0; i >= 0; i = next[i]) {
      out.ids.push(ids[i])
      out.starts.push(starts[i])
      out.ends.push(ends[i])
    }
    return out
  }
}

/** A rank and a place in one float: rank · 2^32 + place. */
const positions = 2 ** 32

/** Smallest rank first, then leftmost. */
class MergeHeap {
  private keys: Float64Array
  size = 0

  constructor(capacity: number) {
    this.keys = new Float64Array(capacity)
  }

  push(rank: number, place: number): void {
    if (this.size === this.keys.length) {
      const grown = new Float64Array(this.size * 2)
      grown.set(this.keys)
      this.keys = grown
    }
    const key = rank * positions + place
    let at = this.size++
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (this.keys[parent] <= key) break
      this.keys[at] = this.keys[parent]
      at = parent
    }
    this.keys[at] = key
  }

  pop(): number {
    const top = this.keys[0]
    const key = this.keys[--this.size]
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= this.size) break
      if (child + 1 < this.size && this.keys[child + 1] < this.keys[child]) child++
      if (this.keys[child] >= key) break
      this.keys[at] = this.keys[child]
      at = child
    }
    this.keys[at] = key
    return top
  }
}
