// Attention against the textbook, written as loops over positions: nothing of the library is used for what is expected.
import { describe, expect, it } from 'vitest'
import { tensor } from '../create.js'
import { grad } from '../grad.js'
import type { Tensor } from '../graph.js'
import { realize } from '../realize.js'
import { reference } from '../reference/index.js'
import { traceLazy } from '../trace.js'
import { type AttentionOptions, attention } from './attention.js'
import { mul } from './elementwise.js'
import { sum } from './reduce.js'
import { concat } from './shape.js'

const backend = reference({ precision: 'f64' })
const numbers = (n: number, from: number): Float64Array =>
  Float64Array.from({ length: n }, (_, i) => Math.sin(1.3 * (i + from)) + 0.4 * Math.cos(0.7 * i * from))

interface Size {
  batch: number
  heads: number
  groups: number
  queries: number
  keys: number
  dHead: number
}
interface Loops {
  scale: number
  softcap: number
  offset: number
  sees: (query: number, key: number, batch: number, head: number) => boolean
  bias: (head: number, query: number, key: number) => number
  sink: readonly number[] | null
}

/** z, pattern and log-sum-exp by loops. */
function byLoops(s: Size, q: Float64Array, k: Float64Array, v: Float64Array, o: Loops) {
  const z: number[] = []
  const pattern: number[] = []
  const lse: number[] = []
  for (let b = 0; b < s.batch; b++)
    for (let h = 0; h < s.heads; h++) {
      const g = Math.floor(h / (s.heads / s.groups))
      for (let i = 0; i < s.queries; i++) {
        const weights = Array.from({ length: s.keys }, (_, j) => {
          let dot = 0
          for (let d = 0; d < s.dHead; d++)
            dot +=
              q[((b * s.heads + h) * s.queries + i) * s.dHead + d] *
              k[((b * s.groups + g) * s.keys + j) * s.dHead + d]
          let score = dot * o.scale
          if (o.softcap) score = o.softcap * Math.tanh(score / o.softcap)
          return o.sees(i + o.offset, j, b, h) ? Math.exp(score + o.bias(h, i, j)) : 0
        })
        const total = weights.reduce((a, w) => a + w, o.sink ? Math.exp(o.sink[h]) : 0)
        const p = weights.map((w) => (total === 0 ? 0 : w / total))
        pattern.push(...p)
        lse.push(Math.log(total))
        for (let d = 0; d < s.dHead; d++)
          z.push(p.reduce((a, w, j) => a + w * v[((b * s.groups + g) * s.keys + j) * s.dHead + d], 0))
      }
    }
  return { z, pattern, lse }
}

const size: Size = { batch: 2, heads: 4, groups: 2, queries: 5, keys: 7, dHead: 3 }
const plain: Loops = {
  scale: 1 / Math.sqrt(3),
  softcap: 0,
  offset: 0,
  sees: () => true,
  bias: () => 0,
  sink: null,
}
const maskBits = Uint8Array.from({ length: 2 * 7 }, (_, i) => ((i * 5) % 3 === 0 ? 0 : 1))
const biasValues = numbers(4 * 7, 3)
const sinkValues = [0.3, -1, 2, 0]
const block = (p: number): number => Math.floor(p / 3)

const cases: [string, AttentionOptions, Partial<Loops>, Partial<Size>?][] = [
  ['nothing hidden, grouped heads', {}, {}],
  ['one key head for all', {}, {}, { groups: 1 }],
  ['scale', { scale: -0.3 }, { scale: -0.3 }],
  ['causal', { causal: true }, { sees: (i, j) => j <= i }],
  ['causal with offset', { causal: true, offset: 2 }, { offset: 2, sees: (i, j) => j <= i }],
  ['rows that see nothing', { causal: true, offset: -2 }, { offset: -2, sees: (i, j) => j <= i }],
  ['window', { window: [1, 2] }, { sees: (i, j) => j >= i - 1 && j <= i + 2 }],
  ['window, open to the left', { window: [null, 1], offset: 1 }, { offset: 1, sees: (i, j) => j <= i + 1 }],
  ['window, open to the right', { window: [0, null] }, { sees: (i, j) => j >= i }],
  ['window and causal', { window: [2, 3], causal: true }, { sees: (i, j) => j >= i - 2 && j <= i }],
  [
    'window that spares the first keys',
    { window: [1, 0], sinkTokens: 2, offset: 2 },
    { offset: 2, sees: (i, j) => (j >= i - 1 && j <= i) || j < 2 },
  ],
  [
    'the first keys, still causal',
    { window: [1, 0], sinkTokens: 3, causal: true },
    { sees: (i, j) => j <= i && (j >= i - 1 || j < 3) },
  ],
  ['blocks', { block: 3 }, { sees: (i, j) => block(i) === block(j) }],
  [
    'blocks and their neighbours',
    { block: 3, back: 1 },
    { sees: (i, j) => Math.abs(block(i) - block(j)) <= 1 },
  ],
  [
    'blocks behind, causal',
    { block: 3, back: 1, causal: true, offset: 2 },
    { offset: 2, sees: (i, j) => j <= i && block(i) - block(j) <= 1 },
  ],
  [
    'blocks before the first',
    { block: 3, offset: -2 },
    { offset: -2, sees: (i, j) => block(i) === block(j) },
  ],
  ['softcap', { softcap: 0.8 }, { softcap: 0.8 }],
  [
    'mask',
    { mask: tensor(maskBits, { shape: [2, 1, 1, 7], dtype: 'bool' }) },
    { sees: (_, j, b) => maskBits[b * 7 + j] === 1 },
  ],
  [
    'mask and causal',
    { mask: tensor(maskBits, { shape: [2, 1, 1, 7], dtype: 'bool' }), causal: true },
    { sees: (i, j, b) => j <= i && maskBits[b * 7 + j] === 1 },
  ],
  [
    'bias by head, softcap before it',
    { bias: tensor(biasValues, [4, 1, 7]), softcap: 1 },
    { softcap: 1, bias: (h, _, j) => biasValues[h * 7 + j] },
  ],
  ['sink logit', { sink: tensor(sinkValues), causal: true }, { sink: sinkValues, sees: (i, j) => j <= i }],
  [
    'sink logit of rows that see nothing',
    { sink: tensor(sinkValues), causal: true, offset: -1 },
    { sink: sinkValues, offset: -1, sees: (i, j) => j <= i },
  ],
]

async function read(...tensors: Tensor[]): Promise<number[][]> {
  await realize(tensors, { backend })
  return Promise.all(tensors.map(async (t) => Array.from((await t.data()) as Float64Array)))
}
const near = (got: readonly number[], want: readonly number[], what: string): void => {
  expect(got.length, what).toBe(want.length)
  got.forEach((g, i) => {
    if (g !== want[i])
      expect(Math.abs(g - want[i]), `${what} ${i}: ${g} instead of ${want[i]}`).toBeLessThan(1e-13)
  })
}

describe('attention equals the loops', () => {
  it.each(cases)('%s', async (_, options, loops, other = {}) => {
    const s = { ...size, ...other }
    const q = numbers(s.batch * s.heads * s.queries * s.dHead, 1)
    const k = numbers(s.batch * s.groups * s.keys * s.dHead, 2)
    const v = numbers(s.batch * s.groups * s.keys * s.dHead, 5)
    const tensors = [
      tensor(q, [s.batch, s.heads, s.queries, s.dHead]),
      tensor(k, [s.batch, s.groups, s.keys, s.dHead]),
      tensor(v, [s.batch, s.groups, s.keys, s.dHead]),
    ] as const
    let lse: Tensor | undefined
    const run = traceLazy(() => {
      const r = attention(...tensors, options)
      lse = r.lse
      return r.z
    }, null)
    const want = byLoops(s, q, k, v, { ...plain, ...loops })
    const [z, pattern, logs] = await read(run.output, run.get('pattern'), lse as Tensor)
    near(z, want.z, 'z')
    near(pattern, want.pattern, 'pattern')
    near(logs, want.lse, 'log-sum-exp')
  })
  it('by gradients too, against finite differences of the loops', async () => {
    const s = { ...size, batch: 1, queries: 3, keys: 4 }
    const options: AttentionOptions = { causal: true, offset: 1, softcap: 1.5 }
    const loops: Loops = { ...plain, offset: 1, softcap: 1.5, sees: (i, j) => j <= i }
    const data = [
      numbers(s.heads * s.queries * s.dHead, 1),
      numbers(s.groups * s.keys * s.dHead, 2),
      numbers(s.groups * s.keys * s.dHead, 5),
    ]
    const weights = numbers(s.heads * s.queries * s.dHead, 9)
    const loss = (d: Float64Array[]): number =>
      byLoops(s, d[0], d[1], d[2], loops).z.reduce((a, z, i) => a + z * weights[i], 0)
    const shapes = [
      [1, s.heads, s.queries, s.dHead],
      [1, s.groups, s.keys, s.dHead],
      [1, s.groups, s.keys, s.dHead],
    ]
    const [q, k, v] = data.map((d, i) => tensor(d, shapes[i]))
    const { z } = attention(q, k, v, options)
    const gradients = await read(...grad(sum(mul(z, tensor(weights, z.shape))), [q, k, v]))
    const h = 1e-6
    gradients.forEach((g, which) =>
      g.forEach((got, at) => {
        const moved = (by: number): number =>
          loss(data.map((d, i) => (i === which ? d.map((x, j) => (j === at ? x + by : x)) : d)))
        expect(got).toBeCloseTo((moved(h) - moved(-h)) / (2 * h), 7)
      }),
    )
  })
  it('where a batch of one stands for all', async () => {
    const shared = tensor(numbers(2 * 3 * 2, 1), [1, 2, 3, 2])
    const q = tensor(numbers(3 * 2 * 4 * 2, 4), [3, 2, 4, 2])
    const { z } = attention(q, shared, shared)
    const whole = tensor(
      Float64Array.from({ length: 36 }, (_, i) => numbers(12, 1)[i % 12]),
      [3, 2, 3, 2],
    )
    const [got, want] = await read(z, attention(q, whole, whole).z)
    near(got, want, 'z')
  })
  it('where mask or bias are of a batch and q, k and v of one', async () => {
    const x = tensor(numbers(2 * 3 * 2, 1), [1, 2, 3, 2])
    const bias = tensor(numbers(2 * 3, 2), [2, 1, 1, 3])
    const wide = concat([x, x], 0)
    const [got, want] = await read(attention(x, x, x, { bias }).z, attention(wide, wide, wide, { bias }).z)
    near(got, want, 'z')
  })
})
