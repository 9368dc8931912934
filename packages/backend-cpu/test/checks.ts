/**
 * Kernel-level checks against the float64 oracle, as a list, so that one set runs in the test process and in a child process
 * with other engine flags. A check throws when a kernel is wrong.
 */
import assert from 'node:assert/strict'
import {
  type AttentionArguments,
  type AttentionSize,
  attentionBackwardScratch,
  attentionForward,
  attentionScratch,
  attentionBackward as backwardOn,
} from '../src/attention-job.js'
import type { WasmMemory } from '../src/memory.js'
import { packedBytes, packPanels, productScratch, runProduct } from '../src/product.js'
import type { Kernels } from '../src/wasm.js'
import { type Attention, attention, attentionBackward, type Sizes, uniform } from './oracle.js'

export function runCheck(check: Check, kernels: Kernels): void {
  const desk = new Desk(kernels)
  const restore = guard(kernels.memory)
  try {
    check.run(desk)
    desk.clear()
  } finally {
    restore()
  }
}

/** Puts a canary behind every allocation, scratch included, and looks at it when the bytes are freed. */
export function guard(memory: WasmMemory): () => void {
  const sizes = new Map<number, number>()
  const { alloc, free } = memory
  memory.alloc = (bytes) => {
    const at = alloc.call(memory, bytes + 64)
    memory.u8().fill(0xa5, at, at + bytes + 64)
    sizes.set(at, bytes)
    return at
  }
  memory.free = (at) => {
    const bytes = sizes.get(at) as number
    const tail = memory.u8().subarray(at + bytes, at + bytes + 64)
    free.call(memory, at)
    assert.ok(
      tail.every((x) => x === 0xa5),
      `a kernel wrote past an allocation of ${bytes} bytes`,
    )
  }
  return () => Object.assign(memory, { alloc, free })
}

export interface Check {
  name: string
  /** Large enough for several threads, and no whole number of their chunks. */
  isShared?: boolean
  run(desk: Desk): void
}

/** Allocates and fills, and frees everything at the end. */
export class Desk {
  private readonly owned: number[] = []
  constructor(readonly kernels: Kernels) {}
  put(values: ArrayLike<number>): number {
    const at = this.take(values.length)
    this.kernels.memory.f32().set(values as ArrayLike<number>, at / 4)
    return at
  }
  bytes(n: number): number {
    const at = this.kernels.memory.alloc(n)
    this.owned.push(at)
    return at
  }
  putBytes(values: ArrayLike<number>): number {
    const at = this.bytes(values.length)
    this.kernels.memory.u8().set(values, at)
    return at
  }
  forward(words: AttentionArguments & AttentionSize): void {
    attentionForward(this.kernels, words, this.bytes(attentionScratch(this.kernels, words)))
  }
  backward(words: AttentionArguments & AttentionSize, bias?: readonly number[]): void {
    const bytes = attentionBackwardScratch(this.kernels, words, bias)
    backwardOn(this.kernels, words, this.bytes(bytes), bias)
  }
  /** n floats that a kernel will write. */
  take(n: number): number {
    const at = this.kernels.memory.alloc(n * 4)
    this.owned.push(at)
    return at
  }
  get(at: number, n: number): Float32Array {
    return this.kernels.memory.f32().slice(at / 4, at / 4 + n)
  }
  clear(): void {
    for (const at of this.owned) this.kernels.memory.free(at)
  }
}

export function close(
  what: string,
  got: ArrayLike<number>,
  want: ArrayLike<number>,
  tolerance: number,
): void {
  assert.equal(got.length, want.length, `${what}: length`)
  for (let i = 0; i < want.length; i++) {
    if (got[i] === want[i]) continue
    const error = Math.abs(got[i] - want[i])
    // written so that a NaN fails, and so does whatever is not an infinity that is wanted
    if (!(Number.isFinite(want[i]) && error <= tolerance * Math.max(1, Math.abs(want[i]))))
      assert.fail(`${what}[${i}]: got ${got[i]}, want ${want[i]} (error ${error}, tolerance ${tolerance})`)
  }
}

type Layout = 'rows' | 'columns' | 'spread'
const LAYOUTS: Layout[] = ['rows', 'columns', 'spread']

/** Element strides of a [rows, columns] matrix in that layout, and how many elements it spans. */
function strides(
  layout: Layout,
  rows: number,
  columns: number,
): { row: number; column: number; size: number } {
  if (layout === 'rows') return { row: columns, column: 1, size: rows * columns }
  if (layout === 'columns') return { row: 1, column: rows, size: rows * columns }
  return { row: 2 * columns + 3, column: 2, size: rows * (2 * columns + 3) }
}

function matmulCheck(
  [m, n, k]: [number, number, number],
  left: Layout,
  right: Layout,
  batch = 1,
  repeatLeft = false,
  repeatRight = false,
  gap = 0,
): Check {
  const note = `${repeatLeft ? ', left repeated' : ''}${repeatRight ? ', right repeated' : ''}${gap ? ', gaps in c' : ''}`
  return {
    name: `matmul ${batch} × ${m}×${n}×${k}, ${left} · ${right}${note}`,
    run(desk) {
      const kernels = desk.kernels
      const random = uniform(m * 7919 + n * 104729 + k + batch)
      const ls = strides(left, m, k)
      const rs = strides(right, k, n)
      const a = Float32Array.from({ length: ls.size * (repeatLeft ? 1 : batch) }, random)
      const b = Float32Array.from({ length: rs.size * (repeatRight ? 1 : batch) }, random)
      const cRow = n + gap
      // gaps between the rows of c keep what was there
      const c = desk.put(new Float32Array(batch * m * cRow).fill(777))
      runProduct(
        kernels,
        {
          ...{ m, n, k, inner: batch },
          a: { at: desk.put(a), inner: repeatLeft ? 0 : ls.size, row: ls.row, column: ls.column },
          b: { at: desk.put(b), inner: repeatRight ? 0 : rs.size, row: rs.row, column: rs.column },
          c: { at: c, row: cRow },
        },
        desk.bytes(productScratch(kernels, m, n, k)),
      )
      const want = new Float64Array(batch * m * cRow).fill(777)
      for (let x = 0; x < batch; x++)
        for (let i = 0; i < m; i++)
          for (let j = 0; j < n; j++) {
            let sum = 0
            for (let d = 0; d < k; d++)
              sum +=
                a[(repeatLeft ? 0 : x * ls.size) + i * ls.row + d * ls.column] *
                b[(repeatRight ? 0 : x * rs.size) + d * rs.row + j * rs.column]
            want[(x * m + i) * cRow + j] = sum
          }
      close('c', desk.get(c, batch * m * cRow), want, 1e-5 * Math.max(1, k / 300))
    },
  }
}

const matmuls: Check[] = []
for (const m of [0, 1, 2, 5, 6, 7, 13, 29])
  for (const n of [0, 1, 3, 8, 9, 37])
    for (const k of [0, 1, 5, 16])
      matmuls.push(matmulCheck([m, n, k], LAYOUTS[(m + n + k) % 3], LAYOUTS[(m + k) % 3]))
for (const left of LAYOUTS)
  for (const right of LAYOUTS) {
    matmuls.push(matmulCheck([17, 22, 9], left, right), matmulCheck([1, 35, 18], left, right))
    matmuls.push(matmulCheck([4, 21, 530], left, right, 2), matmulCheck([21, 1, 12], left, right, 3))
    matmuls.push(matmulCheck([1, 170, 7], left, right), matmulCheck([14, 11, 6], left, right, 3, false, true))
    matmuls.push(
      matmulCheck([7, 9, 5], left, right, 2, true, false),
      matmulCheck([7, 9, 5], left, right, 2, false, false, 3),
    )
  }
// across the block sizes of rows, columns and depth
matmuls.push(
  matmulCheck([183, 520, 33], 'rows', 'rows'),
  matmulCheck([14, 515, 515], 'columns', 'columns'),
  matmulCheck([191, 13, 1030], 'rows', 'columns'),
  matmulCheck([185, 19, 600], 'columns', 'rows'),
)

const sigma = (x: number): number => 1 / (1 + Math.exp(-x))
/** Activations by number, written from their formulas; erf by its series. */
const activations: ((x: number) => number)[] = [
  (x) => x,
  (x) => {
    // beyond 6, erf(x / √2) is ±1 to nine digits
    let term = Math.max(-6, Math.min(6, x)) / Math.SQRT2
    const square = term * term
    let sum = 0
    for (let i = 0; i < 100; i++, term *= -square / i) sum += term / (2 * i + 1)
    return 0.5 * x * (1 + (2 / Math.sqrt(Math.PI)) * sum)
  },
  (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  (x) => x * sigma(1.702 * x),
  (x) => x * sigma(x),
  (x) => Math.max(x, 0),
  Math.tanh,
  sigma,
]

/** f(a · b + bias) + residual on top of what c holds or not, b as it lies and packed, which must give the same bits. */
function endCheck(
  [m, n, k]: [number, number, number],
  form: number,
  more: { bias?: boolean; residual?: boolean; add?: boolean; right?: Layout; outer?: number } = {},
): Check {
  const { right = 'rows', outer = 1 } = more
  return {
    name: `product ${outer} × ${m}×${n}×${k}, ${right}, activation ${form}${Object.keys(more).join(' ')}`,
    run(desk) {
      const { kernels } = desk
      const random = uniform(form + m + n * 31 + k * 17)
      const fill = (length: number): Float32Array => Float32Array.from({ length }, random)
      const rs = strides(right, k, n)
      // the inner axis of the batch repeats a
      const inner = outer > 1 ? 2 : 1
      const count = outer * inner
      const a = fill(outer * m * k)
      const b = fill(rs.size)
      const bias = more.bias ? fill(n) : null
      const residual = more.residual ? fill(count * m * n) : null
      const before = fill(count * m * n)
      const atA = desk.put(a)
      const atB = desk.put(b)
      const matrix = { at: atB, row: rs.row, column: rs.column }
      const packed = desk.bytes(packedBytes(kernels, k, n))
      packPanels(kernels, k, n, matrix, packed)
      const results = [0, packed].map((panels) => {
        const c = desk.put(before)
        runProduct(
          kernels,
          {
            ...{ m, n, k, outer, inner, form, add: more.add, packed: panels, b: matrix },
            a: { at: atA, row: k, column: 1, outer: m * k },
            c: { at: c, row: n },
            bias: bias ? desk.put(bias) : 0,
            residual: residual ? desk.put(residual) : 0,
          },
          desk.bytes(productScratch(kernels, m, n, k)),
        )
        return desk.get(c, count * m * n)
      })
      const want = before.map((old, at) => {
        const j = at % n
        const i = Math.floor(at / n) % m
        const z = Math.floor(at / n / m / inner)
        let sum = more.add ? old : 0
        for (let d = 0; d < k; d++) sum += a[(z * m + i) * k + d] * b[d * rs.row + j * rs.column]
        return activations[form](sum + (bias ? bias[j] : 0)) + (residual ? residual[at] : 0)
      })
      for (const got of results) close('c', got, want, 1e-5 * Math.max(1, k / 300))
      // one row is summed in another order where dot products of neighbours are not to be had
      if (m > 1 || right === 'columns') assert.deepEqual(results[1], results[0])
    },
  }
}

const ends: Check[] = []
for (let form = 0; form < activations.length; form++)
  for (const [m, n, k] of [
    [1, 7, 9],
    [5, 13, 6],
    [23, 41, 12],
  ] as [number, number, number][])
    ends.push(endCheck([m, n, k], form, { bias: true, residual: form % 2 === 0 }))
for (const right of LAYOUTS)
  for (const m of [1, 2, 3, 4, 11, 12, 13, 26])
    for (const n of [1, 4, 11, 12, 13, 24, 47, 48])
      ends.push(endCheck([m, n, 7 + (n % 5)], (m + n) % 8, { right, bias: n % 2 === 0 }))
for (const right of LAYOUTS)
  ends.push(
    endCheck([14, 530, 520], 0, { right, bias: true, residual: true }),
    endCheck([190, 20, 515], 1, { right, bias: true }),
    endCheck([9, 11, 5], 0, { right, add: true }),
    endCheck([1, 11, 5], 4, { right, add: true, bias: true, residual: true }),
    endCheck([6, 17, 30], 2, { right, outer: 3, residual: true }),
    endCheck([3, 5, 0], 2, { right, bias: true, residual: true }),
    endCheck([3, 5, 0], 0, { right, add: true }),
  )

/** How the tensors lie in memory: [batch, head, position, dim], [batch, position, head, dim] or [batch, head, dim, position] seen through strides. */
type Order = 'heads first' | 'positions first' | 'columns first'

interface Case
  extends Sizes,
    Pick<Attention, 'causal' | 'window' | 'sinkTokens' | 'block' | 'back' | 'softcap'> {
  scale?: number
  offset?: number
  /** Strides 0 where a dimension of the mask is 1. */
  mask?: {
    shape: [number, number, number, number]
    allowed: (b: number, h: number, q: number, k: number) => boolean
  }
  /** Shape of a bias of random numbers; where it has 1, it repeats. */
  bias?: readonly [number, number, number, number]
  /** Random logits, or these. */
  sink?: true | readonly number[]
  order?: Order
  spread?: number
}

/** Strides of a contiguous array that repeats along axes of 1. */
function repeating(shape: readonly number[]): number[] {
  let step = 1
  return shape
    .map((n, i) => [n, i])
    .reverse()
    .map(([n]) => {
      const own = n > 1 ? step : 0
      step *= n
      return own
    })
    .reverse()
}
const AXES = ['Batch', 'Head', 'Query', 'Key']

/** The geometry of a case as the kernels read it. */
function geometry(c: Case): Record<string, number> {
  const causal = c.causal ?? c.offset !== undefined
  const [left, right] = c.window ?? [null, null]
  const words: Record<string, number> = {
    offset: c.offset ?? 0,
    sinkTokens: c.window ? (c.sinkTokens ?? 0) : 0,
  }
  if (causal) words.ahead = 0
  if (left !== null) words.left = left
  if (right !== null) words.right = right
  return {
    ...words,
    block: c.block ?? 0,
    back: c.back ?? 0,
    forth: causal ? 0 : (c.back ?? 0),
    softcap: c.softcap ?? 0,
  }
}

function attentionCheck(note: string, c: Case): Check {
  const size = `[${c.batch}, ${c.heads}/${c.kvHeads}, ${c.queries}×${c.keys}, ${c.dim}→${c.valueDim}]`
  return {
    name: `attention ${note} ${size}${c.offset === undefined ? '' : ` offset ${c.offset}`}`,
    run(desk) {
      const random = uniform(c.queries * 31 + c.keys * 17 + c.dim + c.heads * 1009)
      const fill = (n: number, by = 1) => Float32Array.from({ length: n }, () => by * random())
      const { batch, heads, kvHeads, queries, keys, dim, valueDim } = c
      const query = fill(batch * heads * queries * dim, c.spread)
      const key = fill(batch * kvHeads * keys * dim, c.spread)
      const value = fill(batch * kvHeads * keys * valueDim)
      const dz = fill(batch * heads * queries * valueDim)
      const dlse = fill(batch * heads * queries)
      const a: Attention = {
        ...c,
        scale: c.scale ?? 1 / Math.sqrt(Math.max(1, dim)),
        query,
        key,
        value,
        allowed: undefined,
        bias: undefined,
        sink: c.sink === true ? fill(heads, 2) : c.sink,
      }
      const bias = c.bias
        ? fill(
            c.bias.reduce((x, y) => x * y, 1),
            2,
          )
        : undefined
      const biasSteps = repeating(c.bias ?? [])
      if (bias)
        a.bias = (b, h, q, k) =>
          bias[b * biasSteps[0] + h * biasSteps[1] + q * biasSteps[2] + k * biasSteps[3]]
      if (c.mask) {
        const [mb, mh, mq, mk] = c.mask.shape
        const allowed = c.mask.allowed
        a.allowed = (b, h, q, k) => allowed(mb > 1 ? b : 0, mh > 1 ? h : 0, mq > 1 ? q : 0, mk > 1 ? k : 0)
      }
      const forward = attention(a)

      const words: Record<string, number> & Sizes = {
        ...{ batch, heads, kvHeads, queries, keys, dim, valueDim, scale: a.scale },
        ...geometry(c),
      }
      if (bias) {
        words.bias = desk.put(bias)
        AXES.forEach((axis, i) => {
          words[`bias${axis}`] = biasSteps[i]
          words[`dbias${axis}`] = biasSteps[i]
        })
      }
      if (a.sink) Object.assign(words, { sink: desk.put(a.sink), sinkHead: 1 })
      const place = (name: string, at: number, h: number, t: number, d: number) => {
        words[name] = at
        words[`${name}Batch`] = h * t * d
        words[`${name}Head`] = c.order === 'positions first' ? d : t * d
        words[`${name}Row`] = c.order === 'positions first' ? h * d : c.order === 'columns first' ? 1 : d
        words[`${name}Column`] = c.order === 'columns first' ? t : 1
      }
      const lay = (values: Float32Array, h: number, t: number, d: number) =>
        c.order === 'positions first'
          ? swap(values, batch, h, t, d)
          : c.order === 'columns first'
            ? swap(values, batch * h, t, d, 1)
            : values
      place('query', desk.put(lay(query, heads, queries, dim)), heads, queries, dim)
      place('key', desk.put(lay(key, kvHeads, keys, dim)), kvHeads, keys, dim)
      place('value', desk.put(lay(value, kvHeads, keys, valueDim)), kvHeads, keys, valueDim)
      place('dz', desk.put(lay(dz, heads, queries, valueDim)), heads, queries, valueDim)
      const nz = batch * heads * queries * valueDim
      // the forward kernel writes z with neighbouring columns
      const order = c.order === 'positions first' ? c.order : 'heads first'
      place('z', desk.take(nz), heads, queries, valueDim)
      Object.assign(
        words,
        order === 'heads first' ? { zHead: queries * valueDim, zRow: valueDim, zColumn: 1 } : {},
      )
      const rows = { Batch: heads * queries, Head: queries, Row: 1 }
      words.lse = desk.take(batch * heads * queries)
      for (const [k, v] of Object.entries(rows)) Object.assign(words, { [`lse${k}`]: v, [`dlse${k}`]: v })
      if (c.mask) {
        const [mb, mh, mq, mk] = c.mask.shape
        const bytes: number[] = []
        for (let b = 0; b < mb; b++)
          for (let h = 0; h < mh; h++)
            for (let q = 0; q < mq; q++)
              for (let k = 0; k < mk; k++) bytes.push(c.mask.allowed(b, h, q, k) ? 1 : 0)
        words.mask = desk.putBytes(bytes)
        words.maskBatch = mb > 1 ? mh * mq * mk : 0
        words.maskHead = mh > 1 ? mq * mk : 0
        words.maskQuery = mq > 1 ? mk : 0
        words.maskKey = mk > 1 ? 1 : 0
      }
      desk.forward(words)
      const z = desk.get(words.z, nz)
      // scores of size 100 carry errors of 1e-5, and so do the probabilities
      const by = Math.max(1, c.spread ?? 1)
      close(
        'z',
        c.order === 'positions first' ? swap(z, batch, queries, heads, valueDim) : z,
        forward.z,
        2e-6 * by,
      )
      close('lse', desk.get(words.lse, batch * heads * queries), forward.lse, 2e-6)

      if (c.order === 'columns first')
        place('z', desk.put(swap(z, batch * heads, queries, valueDim, 1)), heads, queries, valueDim)
      words.dquery = desk.take(query.length)
      words.dkey = desk.take(key.length)
      words.dvalue = desk.take(value.length)
      words.dsink = a.sink ? desk.take(heads) : 0
      for (const withLse of [false, true]) {
        words.dlse = withLse ? desk.put(dlse) : 0
        const seen = withLse
          ? Array.from(dlse, (x, i) => (forward.lse[i] === Number.NEGATIVE_INFINITY ? 0 : x))
          : undefined
        const want = attentionBackward(a, dz, seen)
        words.dbias = bias ? desk.put(new Float32Array(bias.length)) : 0
        desk.backward(words, c.bias)
        if (bias) {
          const sums = new Float64Array(bias.length)
          want.dbias.forEach((x, i) => {
            const [k, q, h] = [
              i % keys,
              Math.floor(i / keys) % queries,
              Math.floor(i / keys / queries) % heads,
            ]
            const b = Math.floor(i / keys / queries / heads)
            sums[b * biasSteps[0] + h * biasSteps[1] + q * biasSteps[2] + k * biasSteps[3]] += x
          })
          close('dbias', desk.get(words.dbias, bias.length), sums, 1e-5 * by)
        }
        if (a.sink) close('dsink', desk.get(words.dsink, heads), want.dsink, 1e-5 * by)
        close('dquery', desk.get(words.dquery, query.length), want.dquery, 1e-5 * by)
        close('dkey', desk.get(words.dkey, key.length), want.dkey, 1e-5 * by)
        close('dvalue', desk.get(words.dvalue, value.length), want.dvalue, 1e-5 * by)
      }
    },
  }
}

const shared = (check: Check): Check => ({ ...check, isShared: true })

/** [batch, x, y, d] → [batch, y, x, d]. */
function swap(values: Float32Array, batch: number, x: number, y: number, d: number): Float32Array {
  const out = new Float32Array(values.length)
  for (let b = 0; b < batch; b++)
    for (let i = 0; i < x; i++)
      for (let j = 0; j < y; j++)
        for (let e = 0; e < d; e++) out[((b * y + j) * x + i) * d + e] = values[((b * x + i) * y + j) * d + e]
  return out
}

const one = { batch: 1, heads: 1, kvHeads: 1 }
const base = { ...one, queries: 11, keys: 11, dim: 8, valueDim: 8 }
const attentions: Check[] = [
  attentionCheck('plain', base),
  attentionCheck('scale 2', { ...base, scale: 2 }),
  attentionCheck('negative scale', { ...base, scale: -0.7 }),
  attentionCheck('tiny', { ...base, queries: 1, keys: 1, dim: 1, valueDim: 1 }),
  attentionCheck('no keys', { ...base, keys: 0 }),
  attentionCheck('no keys, one query', { ...base, queries: 1, keys: 0, offset: 0 }),
  attentionCheck('no queries', { ...base, queries: 0 }),
  attentionCheck('odd widths', { ...base, dim: 13, valueDim: 5 }),
  attentionCheck('odd widths, few queries', { ...base, queries: 3, dim: 7, valueDim: 37 }),
  attentionCheck('wide values', { ...base, queries: 2, dim: 3, valueDim: 165 }),
  attentionCheck('grouped', { ...base, batch: 2, heads: 6, kvHeads: 2, offset: 0 }),
  attentionCheck('multi-query, decoding', {
    ...base,
    batch: 2,
    heads: 4,
    kvHeads: 1,
    queries: 1,
    keys: 19,
    offset: 12,
  }),
  attentionCheck('cross', { ...base, queries: 9, keys: 30, heads: 2, kvHeads: 2 }),
  attentionCheck('cross', { ...base, queries: 100, keys: 7, heads: 2, kvHeads: 2 }),
  attentionCheck('positions first', {
    ...base,
    batch: 2,
    heads: 4,
    kvHeads: 2,
    dim: 6,
    order: 'positions first',
    offset: 0,
  }),
  attentionCheck('positions first, few', {
    ...{ ...base, batch: 2, heads: 4, kvHeads: 2, dim: 6, queries: 2, order: 'positions first', offset: 9 },
  }),
  attentionCheck('columns first', {
    ...base,
    batch: 2,
    heads: 4,
    kvHeads: 2,
    dim: 6,
    order: 'columns first',
    offset: 0,
  }),
  attentionCheck('columns first, few', {
    ...{ ...base, batch: 2, heads: 4, kvHeads: 2, dim: 6, queries: 2, order: 'columns first', offset: 9 },
  }),
  // far-apart scores: the running maximum grows from block to block and most probabilities vanish
  attentionCheck('large scores', { ...base, queries: 7, keys: 500, spread: 12, scale: 1 }),
  attentionCheck('large scores, few', { ...base, queries: 2, keys: 500, spread: 12, scale: 1 }),
  // across the blocks of queries and keys
  attentionCheck('blocks', { ...base, queries: 97, keys: 250, dim: 16, valueDim: 24 }),
  attentionCheck('blocks', { ...base, queries: 260, keys: 260, dim: 9, valueDim: 8, offset: 0 }),
  attentionCheck('blocks', { ...base, queries: 95, keys: 490, dim: 4, valueDim: 10, offset: 395 }),
  attentionCheck('padding', {
    ...{ ...base, batch: 2, heads: 2, kvHeads: 2, queries: 13, keys: 13 },
    mask: { shape: [2, 1, 1, 13], allowed: (b, _h, _q, k) => k >= b * 5 },
  }),
  attentionCheck('padding and causal', {
    ...{ ...base, batch: 2, heads: 2, kvHeads: 1, queries: 13, keys: 13, offset: 0 },
    mask: { shape: [2, 1, 1, 13], allowed: (b, _h, _q, k) => k >= b * 5 },
  }),
  attentionCheck('full mask', {
    ...{ ...base, batch: 2, heads: 2, kvHeads: 2, queries: 12, keys: 270 },
    mask: { shape: [2, 2, 12, 270], allowed: (b, h, q, k) => (q + k * 7 + h * 3 + b) % 5 !== 0 && q !== 4 },
  }),
  attentionCheck('mask of queries', {
    ...{ ...base, queries: 10, keys: 9 },
    mask: { shape: [1, 1, 10, 1], allowed: (_b, _h, q) => q % 3 !== 1 },
  }),
  attentionCheck('mask of queries, few', {
    ...{ ...base, queries: 3, keys: 9 },
    mask: { shape: [1, 1, 3, 1], allowed: (_b, _h, q) => q !== 1 },
  }),
  attentionCheck('mask, first key block hidden', {
    ...{ ...base, queries: 8, keys: 300, offset: 292 },
    mask: { shape: [1, 1, 1, 300], allowed: (_b, _h, _q, k) => k > 250 },
  }),
  attentionCheck('mask, first key block hidden, few', {
    ...{ ...base, queries: 2, keys: 300, offset: 292 },
    mask: { shape: [1, 1, 2, 300], allowed: (_b, _h, q, k) => k > 250 && q === 0 },
  }),
  attentionCheck('everything masked', { ...base, mask: { shape: [1, 1, 1, 1], allowed: () => false } }),
  attentionCheck('nothing masked', { ...base, mask: { shape: [1, 1, 1, 1], allowed: () => true } }),
]
for (const offset of [-20, -11, -3, -1, 0, 1, 4, 30])
  for (const queries of [3, 14])
    attentions.push(attentionCheck('causal', { ...base, queries, keys: 12, offset }))

const long = { ...one, queries: 300, keys: 300, dim: 8, valueDim: 8 }
attentions.push(
  attentionCheck('window', { ...base, causal: true, window: [2, 0] }),
  attentionCheck('window, few', { ...base, queries: 2, causal: true, offset: 9, window: [2, 0] }),
  attentionCheck('two-sided window', { ...base, window: [2, 3] }),
  attentionCheck('left-open window', { ...base, window: [null, 1] }),
  attentionCheck('right-open window', { ...base, window: [1, null], offset: 3, causal: false }),
  attentionCheck('window past the keys', { ...base, window: [2, 0], offset: 9, causal: false }),
  attentionCheck('window past the keys with sink tokens', {
    ...base,
    window: [2, 0],
    offset: 30,
    sinkTokens: 2,
    causal: false,
  }),
  attentionCheck('window behind the position', { ...base, window: [5, -2], causal: true, sinkTokens: 1 }),
  attentionCheck('window across blocks', { ...long, causal: true, window: [40, 0] }),
  attentionCheck('two-sided window across blocks', {
    ...long,
    queries: 200,
    window: [7, 90],
    offset: 60,
    causal: false,
  }),
  attentionCheck('window and sink tokens in one block', {
    ...base,
    causal: true,
    window: [2, 0],
    sinkTokens: 3,
  }),
  attentionCheck('window and sink tokens across blocks', {
    ...long,
    keys: 600,
    offset: 290,
    window: [30, 0],
    sinkTokens: 5,
  }),
  attentionCheck('window and sink tokens, few', {
    ...base,
    queries: 3,
    keys: 600,
    offset: 580,
    window: [30, 0],
    sinkTokens: 5,
  }),
  attentionCheck('two-sided window and sink tokens', { ...base, window: [1, 1], sinkTokens: 5 }),
  attentionCheck('sink tokens without a window change nothing', { ...base, sinkTokens: 5, offset: 0 }),
  attentionCheck('blocks of keys', { ...base, block: 4 }),
  attentionCheck('blocks of keys and neighbours', { ...base, block: 3, back: 1 }),
  attentionCheck('causal blocks of keys', { ...base, block: 3, back: 1, causal: true }),
  attentionCheck('blocks of keys, negative positions', {
    ...base,
    block: 3,
    back: 1,
    offset: -5,
    causal: false,
  }),
  attentionCheck('blocks of keys, far along', {
    ...long,
    block: 16,
    back: 2,
    causal: true,
    queries: 120,
    offset: 170,
  }),
  attentionCheck('blocks, window and sink tokens', {
    ...base,
    block: 4,
    back: 1,
    window: [3, 2],
    sinkTokens: 2,
  }),
  attentionCheck('softcap', { ...base, softcap: 0.5, scale: 1 }),
  attentionCheck('softcap, few', { ...base, queries: 2, softcap: 0.5, scale: 1 }),
  attentionCheck('softcap, bias and causal', {
    ...base,
    softcap: 0.7,
    scale: 1,
    offset: 2,
    bias: [1, 1, 11, 11],
  }),
  attentionCheck('softcap across blocks', { ...long, softcap: 1.5, scale: 1, causal: true, window: [50, 0] }),
  attentionCheck('sink logits', { ...base, heads: 4, kvHeads: 2, sink: true, causal: true }),
  attentionCheck('sink logits, few', {
    ...base,
    batch: 2,
    heads: 2,
    kvHeads: 2,
    queries: 1,
    sink: true,
    offset: 5,
  }),
  attentionCheck('sink logits where nothing is seen', { ...base, sink: true, offset: -4 }),
  attentionCheck('a sink logit of −∞ where nothing is seen', {
    ...{ ...base, heads: 2, kvHeads: 2, sink: [Number.NEGATIVE_INFINITY, 0.5], offset: -4 },
  }),
  attentionCheck('sink logits, window, sink tokens and offset', {
    ...{
      ...base,
      batch: 2,
      heads: 4,
      kvHeads: 2,
      keys: 30,
      offset: 17,
      sink: true,
      window: [4, 0],
      sinkTokens: 2,
    },
  }),
  attentionCheck('bias and mask of every query, several items of one head', {
    ...{ ...long, dim: 4, valueDim: 4, causal: true, window: [250, 0], bias: [1, 1, 300, 300] },
    mask: { shape: [1, 1, 300, 300], allowed: (_b, _h, q, k) => (q * 3 + k * 7) % 11 > 2 },
  }),
  attentionCheck('everything at once', {
    ...{ ...long, batch: 2, heads: 4, kvHeads: 2, queries: 93, keys: 280, dim: 12, valueDim: 5, offset: 180 },
    ...{ sink: true, window: [100, 0], sinkTokens: 3, softcap: 2, scale: 1, bias: [1, 4, 93, 280] },
    mask: { shape: [2, 1, 1, 280], allowed: (b, _h, _q, k) => k >= b * 2 && k % 7 !== 3 },
  }),
)
const fiveHeads = { ...base, heads: 5, kvHeads: 5, queries: 90 }
attentions.push(
  shared(attentionCheck('uneven chunks of the forward', { ...fiveHeads, keys: 200 })),
  shared(attentionCheck('uneven chunks of the backward', { ...fiveHeads, keys: 60 })),
)
// a bias of every shape that broadcasts, whose gradient adds up over the axes where it repeats
for (const b of [1, 2])
  for (const h of [1, 4])
    for (const q of [1, 13])
      for (const k of [1, 270])
        attentions.push(
          attentionCheck(`bias [${[b, h, q, k]}]`, {
            ...{ ...base, batch: 2, heads: 4, kvHeads: 2, queries: 13, keys: 270, dim: 4, valueDim: 4 },
            ...{ bias: [b, h, q, k], offset: 259 },
          }),
        )

export const checks: Check[] = [
  ...matmuls,
  ...ends,
  ...attentions,
  {
    name: 'fully masked rows give exact zeros and no gradient, and hidden keys get none',
    run(desk) {
      const n = 14
      const random = uniform(5)
      const data = Float32Array.from({ length: n * 8 }, random)
      const at = desk.put(data)
      const words: Record<string, number> & Sizes = {
        ...base,
        ...{ queries: n, keys: n, scale: 1, ahead: 0, offset: -4 },
      }
      for (const name of ['query', 'key', 'value', 'dz'])
        Object.assign(words, { [name]: at, [`${name}Row`]: 8, [`${name}Column`]: 1 })
      Object.assign(words, { z: desk.take(n * 8), zRow: 8, zColumn: 1, lse: desk.take(n), lseRow: 1 })
      for (const name of ['dquery', 'dkey', 'dvalue']) words[name] = desk.take(n * 8)
      desk.forward(words)
      desk.backward(words)
      const zero = new Float32Array(32)
      assert.deepEqual(desk.get(words.z, n * 8).subarray(0, 32), zero)
      assert.deepEqual([...desk.get(words.lse, n).subarray(0, 4)], Array(4).fill(Number.NEGATIVE_INFINITY))
      assert.deepEqual(desk.get(words.dquery, n * 8).subarray(0, 32), zero)
      for (const name of ['dkey', 'dvalue'])
        assert.deepEqual(desk.get(words[name], n * 8).subarray(10 * 8), zero)
      assert.notDeepEqual(desk.get(words.dkey, n * 8).subarray(0, 32), zero)
    },
  },
  {
    name: 'cotangents may be absent or one repeated number',
    run(desk) {
      const n = 9
      const fill = (seed: number) => Float32Array.from({ length: n * 8 }, uniform(seed))
      const a: Attention = {
        ...base,
        queries: n,
        keys: n,
        scale: 0.5,
        query: fill(1),
        key: fill(2),
        value: fill(3),
      }
      const words: Record<string, number> & Sizes = {
        ...base,
        queries: n,
        keys: n,
        scale: 0.5,
        lse: desk.take(n),
        lseRow: 1,
      }
      for (const name of ['query', 'key', 'value'] as const)
        Object.assign(words, { [name]: desk.put(a[name]), [`${name}Row`]: 8, [`${name}Column`]: 1 })
      Object.assign(words, { z: desk.take(n * 8), zRow: 8, zColumn: 1 })
      for (const name of ['dquery', 'dkey', 'dvalue']) words[name] = desk.take(n * 8)
      desk.forward(words)
      for (const [dz, dlse] of [
        [0, 0],
        [2, 0],
        [0, 3],
        [2, 3],
      ]) {
        words.dz = dz ? desk.put([dz]) : 0
        words.dlse = dlse ? desk.put([dlse]) : 0
        desk.backward(words)
        const want = attentionBackward(a, new Float32Array(n * 8).fill(dz), new Float32Array(n).fill(dlse))
        for (const name of ['dquery', 'dkey', 'dvalue'] as const)
          close(name, desk.get(words[name], n * 8), want[name], 1e-5)
      }
    },
  },
  {
    name: 'keys that no query sees are never read: the rest of a cache, what a window left behind',
    run(desk) {
      const cases: [Case, from: number, to: number][] = [
        [{ ...base, queries: 1, keys: 900, offset: 300 }, 308, 900],
        [{ ...base, queries: 9, keys: 900, offset: 300 }, 320, 900],
        [{ ...base, queries: 1, keys: 900, offset: 890, window: [20, 0], sinkTokens: 3 }, 8, 860],
        [{ ...base, queries: 40, keys: 600, offset: 560, window: [63, 0], sinkTokens: 3 }, 16, 480],
        [{ ...base, queries: 40, keys: 600, offset: 300, window: [3, 3], causal: false }, 360, 600],
        [{ ...base, queries: 40, keys: 600, offset: 320, block: 64, back: 1 }, 0, 248],
      ]
      for (const [c, from, to] of cases) {
        const random = uniform(c.queries + from)
        const fill = (rows: number) => Float32Array.from({ length: rows * 8 }, random)
        const words: Record<string, number> & Sizes = {
          ...{ ...one, queries: c.queries, keys: c.keys, dim: 8, valueDim: 8 },
          ...{ scale: 1, ...geometry(c) },
        }
        const key = fill(c.keys)
        const value = fill(c.keys)
        for (const x of [key, value]) x.fill(Number.NaN, from * 8, to * 8)
        Object.assign(words, { key: desk.put(key), value: desk.put(value), query: desk.put(fill(c.queries)) })
        Object.assign(words, { dz: desk.put(fill(c.queries)), z: desk.take(c.queries * 8) })
        for (const name of ['query', 'key', 'value', 'z', 'dz'])
          Object.assign(words, { [`${name}Row`]: 8, [`${name}Column`]: 1 })
        Object.assign(words, { lse: desk.take(c.queries), lseRow: 1 })
        const sizes = { dquery: c.queries * 8, dkey: c.keys * 8, dvalue: c.keys * 8 }
        for (const [name, n] of Object.entries(sizes)) words[name] = desk.take(n)
        desk.forward(words)
        desk.backward(words)
        assert.ok(desk.get(words.z, c.queries * 8).every(Number.isFinite), `z of ${JSON.stringify(c)}`)
        for (const [name, n] of Object.entries(sizes))
          assert.ok(desk.get(words[name], n).every(Number.isFinite), `${name} of ${JSON.stringify(c)}`)
        for (const name of ['dkey', 'dvalue'])
          assert.ok(
            desk
              .get(words[name], sizes.dkey)
              .subarray(from * 8, to * 8)
              .every((x) => x === 0),
            name,
          )
      }
    },
  },
  {
    name: 'a NaN in the input is seen in the output',
    run(desk) {
      for (const queries of [1, 9]) {
        const data = Float32Array.from({ length: 9 * 8 }, uniform(6))
        const bad = data.slice()
        bad[8 * 3 + 2] = Number.NaN
        const words: Record<string, number> & Sizes = {
          ...base,
          queries,
          keys: 9,
          scale: 1,
          query: desk.put(data),
          key: desk.put(bad),
        }
        Object.assign(words, { value: desk.put(data), queryRow: 8, keyRow: 8, valueRow: 8, zRow: 8 })
        for (const name of ['query', 'key', 'value', 'z']) words[`${name}Column`] = 1
        words.lseRow = 1
        Object.assign(words, { z: desk.take(queries * 8), lse: desk.take(queries) })
        desk.forward(words)
        assert.ok(desk.get(words.z, queries * 8).every(Number.isNaN))
      }
    },
  },
  {
    name: 'scratch of attention does not hold a pattern: forward constant, backward linear in the lengths',
    run({ kernels }) {
      const size = (n: number) => ({
        batch: 1,
        heads: 1,
        kvHeads: 1,
        queries: n,
        keys: n,
        dim: 64,
        valueDim: 64,
      })
      const forward = (n: number) => attentionScratch(kernels, size(n))
      const backward = (n: number) => attentionBackwardScratch(kernels, size(n))
      assert.equal(forward(1 << 20), forward(1 << 14))
      // equal steps cost equal bytes
      assert.equal(backward(16384) - backward(8192), 2 * (backward(8192) - backward(4096)))
      // one head's [4096, 4096] pattern would be 64 MiB
      assert.ok(forward(4096) < kernels.threads * 2 ** 20, `${forward(4096)} bytes`)
      assert.ok(backward(4096) < 13 * 2 ** 20 + kernels.threads * 2 ** 20, `${backward(4096)} bytes`)
      assert.ok(productScratch(kernels, 1 << 16, 1 << 16, 1 << 16) < 2 * 2 ** 20 * kernels.threads)
    },
  },
]
