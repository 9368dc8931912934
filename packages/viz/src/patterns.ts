// Attention patterns small enough for a file: 8 bits a value on its row's own scale, and above a budget only the largest of each row, with
// the mass they carry. Heads come one at a time, so nobody ever holds layer · head · query · key floats. What was
// left out is counted (`mass`), what was rounded is bounded (`bound`), and what is no number stays visible as a state.
import { fromBase64, toBase64 } from './base64.js'
import { VizError } from './errors.js'

/** Rows of a pattern that are not an ordinary distribution. */
export const rowStates = ['ok', 'no key allowed', 'not a number', 'not computed'] as const
export type RowState = (typeof rowStates)[number]

/**
 * Patterns of all heads, quantised and JSON-serialisable. Rows run over layer, then head, then query.
 *
 * - `dense-u8`: one byte for every key of every row.
 * - `top-u8`: per row the `top` largest keys in descending order as u16 (little endian) in `index` and their bytes in
 *   `value`; 0xffff marks an unused place. Ties go to the earlier key.
 *
 * A shown value is byte / 255 · scale / 65535, where `scale` is the row's largest value rounded up; so it is off by at
 * most the row's scale / 510. What rounds to byte 0 (below that bound) is not shown and not part of `mass`.
 */
export interface PackedPatterns {
  encoding: 'dense-u8' | 'top-u8'
  layers: number
  heads: number
  /** Query positions (rows). */
  queries: number
  /** Key positions (columns). */
  keys: number
  /** True when key > query is never allowed: such cells are drawn as "not allowed", not as small. */
  causal: boolean
  /** Entries kept per row; equals `keys` for dense-u8. */
  top: number
  /** No shown value of any row differs from the real one by more than this. */
  bound: number
  /** base64 of u16 [layer, head, query, top]; empty for dense-u8. */
  index: string
  /** base64 of u8 [layer, head, query, top], dense: [layer, head, query, key]. */
  value: string
  /** base64 of u16 (little endian) [layer, head, query]: the row's largest value, rounded up, in 1/65535. */
  scale: string
  /** base64 of u8 [layer, head, query]: the sum of the real values of the shown entries, in 1/255. */
  mass: string
  /** base64 of u8 [layer, head, query], an index into `rowStates`; empty when every row is ok. */
  state: string
}

export interface PackShape {
  layers: number
  heads: number
  queries: number
  keys: number
  /** Default false. */
  causal?: boolean
}

export interface PackOptions {
  /** Base64 characters that all rows together may take. Default 3,200,000 (a report stays below 5 MB). */
  budget?: number
  /** Force top-u8 with this many entries per row. Default: dense while it fits, then as many as fit, at most 32. */
  top?: number
}

const unused = 0xffff
/** A weight may exceed 1 by float rounding; more than this is refused, and so is anything below 0. */
const slack = 1e-3

const littleEndian = (words: Uint16Array): Uint8Array => {
  const bytes = new Uint8Array(words.length * 2)
  for (let i = 0; i < words.length; i++) {
    bytes[2 * i] = words[i] & 0xff
    bytes[2 * i + 1] = words[i] >> 8
  }
  return bytes
}
const words = (bytes: Uint8Array): Uint16Array => {
  const out = new Uint16Array(bytes.length >> 1)
  for (let i = 0; i < out.length; i++) out[i] = bytes[2 * i] | (bytes[2 * i + 1] << 8)
  return out
}

export interface PatternPacker {
  readonly encoding: PackedPatterns['encoding']
  readonly top: number
  /** One head, `[query, key]` row by row; null says "not computed". Each (layer, head) exactly once, any order. */
  add(layer: number, head: number, pattern: ArrayLike<number> | null): void
  /** Throws when a head is missing. */
  done(): PackedPatterns
}

/**
 * Packs patterns head by head. Memory: the packed bytes, never the floats of more than the head in hand.
 * A row of zeros becomes "no key allowed", a row with NaN or ±∞ "not a number".
 *
 * @throws VizError for wrong lengths, values outside [0, 1], a head given twice or missing, and for sizes where fewer
 * than four entries per row would fit the budget.
 */
export function patternPacker(shape: PackShape, options: PackOptions = {}): PatternPacker {
  const { layers, heads, queries, keys, causal = false } = shape
  for (const [name, n] of Object.entries({ layers, heads, queries, keys }))
    if (!Number.isInteger(n) || n < 1)
      throw new VizError(`packPatterns: ${name} must be a whole number ≥ 1, got ${n}`)
  for (const name of Object.keys(options))
    if (name !== 'budget' && name !== 'top')
      throw new VizError(`packPatterns: unknown option '${name}'; there are: budget, top`)
  if (keys >= unused)
    throw new VizError(`packPatterns: ${keys} keys; at most ${unused - 1} fit a 16-bit index`)
  const { budget = 3_200_000 } = options
  if (options.top !== undefined && (!Number.isInteger(options.top) || options.top < 1))
    throw new VizError(`packPatterns: top must be a whole number ≥ 1, got ${options.top}`)
  const rows = layers * heads * queries
  const fit = Math.floor((budget * 3) / 4 / rows) - 4
  const dense = options.top === undefined && keys <= fit
  const top = Math.min(keys, dense ? keys : (options.top ?? Math.min(32, Math.floor(fit / 3))))
  if (options.top === undefined && top < Math.min(4, keys))
    throw new VizError(
      `packPatterns: ${layers} layers × ${heads} heads × ${queries} tokens leave ${top} entries per row within ${budget} characters; pack fewer layers, heads or tokens, or raise budget`,
    )
  const index = new Uint16Array(dense ? 0 : rows * top)
  const value = new Uint8Array(rows * top)
  const scale = new Uint16Array(rows)
  const mass = new Uint8Array(rows)
  const state = new Uint8Array(rows)
  const seen = new Uint8Array(layers * heads)
  const bestKey = new Int32Array(top)
  const bestValue = new Float64Array(top)

  const packRow = (pattern: ArrayLike<number>, from: number, row: number, where: string): void => {
    let sum = 0
    let largest = 0
    for (let k = 0; k < keys; k++) {
      const v = pattern[from + k]
      if (!Number.isFinite(v)) {
        state[row] = 2
        if (!dense) index.fill(unused, row * top, (row + 1) * top)
        return
      }
      if (v < 0 || v > 1 + slack)
        throw new VizError(
          `packPatterns: ${where}, key ${k}: ${v} is outside [0, 1]; only probabilities can be packed`,
        )
      sum += v
      if (v > largest) largest = v
    }
    if (sum === 0) state[row] = 1
    // Rounded up, so that no byte exceeds 255; 1e-9 keeps a value that is exactly on a step from being pushed one up.
    scale[row] = Math.min(65535, Math.ceil(largest * 65535 - 1e-9))
    const steps = scale[row] === 0 ? 0 : (255 * 65535) / scale[row]
    const byteOf = (v: number): number => Math.min(255, Math.max(0, Math.round(v * steps)))
    let shown = 0
    if (dense) {
      for (let k = 0; k < keys; k++) {
        const v = pattern[from + k]
        const byte = byteOf(v)
        value[row * top + k] = byte
        if (byte > 0) shown += v
      }
    } else {
      let kept = 0
      for (let k = 0; k < keys; k++) {
        const v = pattern[from + k]
        if (kept === top && v <= bestValue[top - 1]) continue
        let i = kept < top ? kept++ : top - 1
        for (; i > 0 && bestValue[i - 1] < v; i--) {
          bestValue[i] = bestValue[i - 1]
          bestKey[i] = bestKey[i - 1]
        }
        bestValue[i] = v
        bestKey[i] = k
      }
      for (let i = 0; i < top; i++) {
        const byte = i < kept ? byteOf(bestValue[i]) : 0
        index[row * top + i] = byte > 0 ? bestKey[i] : unused
        value[row * top + i] = byte
        if (byte > 0) shown += bestValue[i]
      }
    }
    mass[row] = Math.round(Math.min(1, shown) * 255)
  }

  return {
    encoding: dense ? 'dense-u8' : 'top-u8',
    top,
    add(layer, head, pattern) {
      if (!(layer >= 0 && layer < layers && head >= 0 && head < heads))
        throw new VizError(
          `packPatterns: layer ${layer} head ${head} is outside ${layers} layers × ${heads} heads`,
        )
      const at = layer * heads + head
      if (seen[at]) throw new VizError(`packPatterns: layer ${layer} head ${head} was given twice`)
      seen[at] = 1
      if (pattern === null) {
        state.fill(3, at * queries, (at + 1) * queries)
        if (!dense) index.fill(unused, at * queries * top, (at + 1) * queries * top)
        return
      }
      if (pattern.length !== queries * keys)
        throw new VizError(
          `packPatterns: layer ${layer} head ${head} has ${pattern.length} values, expected ${queries} queries × ${keys} keys = ${queries * keys}`,
        )
      for (let q = 0; q < queries; q++)
        packRow(pattern, q * keys, at * queries + q, `layer ${layer} head ${head}, query ${q}`)
    },
    done() {
      const missing = seen.indexOf(0)
      if (missing >= 0)
        throw new VizError(
          `packPatterns: layer ${Math.floor(missing / heads)} head ${missing % heads} was never given; pass null for "not computed"`,
        )
      let largest = 0
      for (const s of scale) if (s > largest) largest = s
      return {
        encoding: dense ? 'dense-u8' : 'top-u8',
        layers,
        heads,
        queries,
        keys,
        causal,
        top,
        // Half a step of the widest row, rounded up at the sixth decimal; `slack` is smaller than that.
        bound: Math.ceil((largest / 65535 / 510) * 1e6) / 1e6,
        index: toBase64(littleEndian(index)),
        value: toBase64(value),
        scale: toBase64(littleEndian(scale)),
        mass: toBase64(mass),
        state: state.some((s) => s !== 0) ? toBase64(state) : '',
      }
    },
  }
}

/**
 * Packs all heads, asking `get(layer, head)` for one `[query, key]` array at a time, layer after layer, so that a
 * caller may compute a layer when its head 0 is asked for and forget it after the last head.
 */
export async function packPatterns(
  get: (layer: number, head: number) => ArrayLike<number> | null | Promise<ArrayLike<number> | null>,
  shape: PackShape,
  options: PackOptions = {},
): Promise<PackedPatterns> {
  const packer = patternPacker(shape, options)
  for (let layer = 0; layer < shape.layers; layer++)
    for (let head = 0; head < shape.heads; head++) packer.add(layer, head, await get(layer, head))
  return packer.done()
}

/** One row as stored: keys in descending order of value for top-u8, in order of position for dense-u8; zeros left out. */
export interface PatternRow {
  keys: number[]
  values: number[]
  /** Sum of the real values of the shown entries, within 1/510. */
  mass: number
  state: RowState
}

export interface OpenedPatterns extends Omit<PackedPatterns, 'index' | 'value' | 'scale' | 'mass' | 'state'> {
  row(layer: number, head: number, query: number): PatternRow
  /** Calls `each(query, key, value)` for every stored entry of a head. No allocation: this is the drawing loop. */
  forEach(layer: number, head: number, each: (query: number, key: number, value: number) => void): void
  /** Stored value; 0 for what is not stored. */
  at(layer: number, head: number, query: number, key: number): number
  /** All queries' values at one key `[query]`: who looks at it. */
  column(layer: number, head: number, key: number): Float32Array
  state(layer: number, head: number, query: number): RowState
  massOf(layer: number, head: number, query: number): number
}

/** Reads packed patterns back. @throws VizError when a field's length does not fit the shape. */
export function openPatterns(packed: PackedPatterns): OpenedPatterns {
  const { layers, heads, queries, keys, top, encoding } = packed
  const dense = encoding === 'dense-u8'
  if (!dense && encoding !== 'top-u8')
    throw new VizError(`patterns: unknown encoding '${encoding}'; there are: dense-u8, top-u8`)
  const rows = layers * heads * queries
  const value = fromBase64(packed.value)
  const mass = fromBase64(packed.mass)
  const states = packed.state ? fromBase64(packed.state) : new Uint8Array(rows)
  const index = words(fromBase64(packed.index))
  const scale = words(fromBase64(packed.scale))
  for (const [name, length, expected] of [
    ['value', value.length, rows * top],
    ['scale', scale.length, rows],
    ['mass', mass.length, rows],
    ['state', states.length, rows],
    ['index', index.length, dense ? 0 : rows * top],
  ] as const)
    if (length !== expected)
      throw new VizError(
        `patterns: ${name} holds ${length} entries, the shape needs ${expected}; the file is damaged`,
      )
  if (dense && top !== keys)
    throw new VizError(`patterns: dense-u8 with top ${top} and ${keys} keys; they must be equal`)

  const rowOf = (layer: number, head: number, query: number): number => {
    if (!(layer >= 0 && layer < layers && head >= 0 && head < heads && query >= 0 && query < queries))
      throw new VizError(
        `patterns: layer ${layer} head ${head} query ${query} is outside [${layers}, ${heads}, ${queries}]`,
      )
    return (layer * heads + head) * queries + query
  }
  const eachOf = (row: number, each: (key: number, value: number) => void): void => {
    const unit = scale[row] / (65535 * 255)
    for (let i = row * top, end = i + top, k = 0; i < end; i++, k++) {
      if (value[i] === 0) continue
      each(dense ? k : index[i], value[i] * unit)
    }
  }
  return {
    encoding,
    layers,
    heads,
    queries,
    keys,
    top,
    causal: packed.causal,
    bound: packed.bound,
    row(layer, head, query) {
      const row = rowOf(layer, head, query)
      const out: PatternRow = { keys: [], values: [], mass: mass[row] / 255, state: rowStates[states[row]] }
      eachOf(row, (key, v) => {
        out.keys.push(key)
        out.values.push(v)
      })
      return out
    },
    forEach(layer, head, each) {
      const first = rowOf(layer, head, 0)
      for (let q = 0; q < queries; q++) eachOf(first + q, (key, v) => each(q, key, v))
    },
    at(layer, head, query, key) {
      const row = rowOf(layer, head, query)
      const unit = scale[row] / (65535 * 255)
      if (dense) return value[row * top + key] * unit
      for (let i = row * top; i < (row + 1) * top; i++) if (index[i] === key) return value[i] * unit
      return 0
    },
    column(layer, head, key) {
      const out = new Float32Array(queries)
      const first = rowOf(layer, head, 0)
      for (let q = 0; q < queries; q++) {
        const unit = scale[first + q] / (65535 * 255)
        if (dense) out[q] = value[(first + q) * top + key] * unit
        else
          for (let i = (first + q) * top, end = i + top; i < end; i++)
            if (index[i] === key && value[i] > 0) {
              out[q] = value[i] * unit
              break
            }
      }
      return out
    },
    state: (layer, head, query) => rowStates[states[rowOf(layer, head, query)]],
    massOf: (layer, head, query) => mass[rowOf(layer, head, query)] / 255,
  }
}
