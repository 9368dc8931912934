/**
 * Cases of composites, which a backend may claim whole.
 * Fully masked rows, causal with offset, grouped heads and cross lengths are here.
 */

import type { AttentionOptions, Tensor } from '@heed/tensor'
import * as t from '@heed/tensor'
import { bools, type CaseSpec, given, ids, normals } from './case.js'
import { normal, stream } from './draw.js'
import { layerNormSizes, productSizes, softmaxSizes } from './sizes.js'
import type { Family } from './tolerances.js'

export interface Entry {
  readonly family: Family
  readonly cases: readonly CaseSpec[]
}

/** Names of the composite ops of @heed/tensor; a test compares this with what is defined. */
export const compositeNames = [
  'softmax',
  'logSoftmax',
  'layerNorm',
  'rmsNorm',
  'gelu',
  'relu',
  'sigmoid',
  'silu',
  'dropout',
  'linear',
  'dequantize',
  'quantizedLinear',
  'conv2d',
  'crossEntropyPerToken',
  'rope',
  'attention',
] as const
export type CompositeName = (typeof compositeNames)[number]

export const activation = (f: (x: Tensor) => Tensor): CaseSpec[] => [
  { name: 'matrix', inputs: [normals(13, 17)], run: f },
  { name: 'scalar', inputs: [normals()], run: f },
  { name: 'empty', inputs: [normals(0, 4)], run: f },
  { name: 'far out', inputs: [given('f32', [8], [-200, -30, -1e-6, 0, 1e-6, 30, 90, 200])], run: f },
]

const softmaxes = (f: (x: Tensor, axis: number) => Tensor): CaseSpec[] => [
  { name: 'last', inputs: [normals(5, 33)], run: (x) => f(x, -1) },
  { name: 'first', inputs: [normals(9, 4)], run: (x) => f(x, 0) },
  { name: 'middle', inputs: [normals(2, 5, 3)], run: (x) => f(x, 1) },
  { name: 'one element', inputs: [normals(4, 1)], run: (x) => f(x, -1) },
  { name: 'no rows', inputs: [normals(0, 4)], run: (x) => f(x, -1) },
  ...[2, 3, 4, 5, 6, 7, 8, 9].map((n) => ({
    name: `rows of ${n}`,
    inputs: [normals(3, n)],
    run: (x: Tensor) => f(x, -1),
  })),
  { name: 'columns', inputs: [normals(9, 5)], run: (x) => f(t.transpose(x), -1) },
  { name: 'large', inputs: [given('f32', [2, 3], [1000, 999, -1000, -88, -89, -90])], run: (x) => f(x, -1) },
]

/**
 * A quantised weight of drawn values, [in, out] unless rows are the outputs. The first value of an output is its largest,
 * 127 times a number of few bits: scales of int8 are exact in half precision, on a backend that stores halves too.
 */
function quantized(format: t.WeightFormat, shape: [number, number], outAxis: 0 | 1 = 1): Tensor {
  const next = stream(`weight/${format}/${shape}`)
  const values = Float32Array.from({ length: shape[0] * shape[1] }, (_, i) => {
    const [row, column] = [Math.floor(i / shape[1]), i % shape[1]]
    const [output, place] = outAxis === 1 ? [column, row] : [row, column]
    const largest = (127 * (16 + (output % 16))) / 1024
    return place === 0 ? largest : Math.max(-largest, Math.min(largest, normal(next)))
  })
  return t.quantizeWeight(values, shape, { format, outAxis }).weight
}
const dequantized: CaseSpec[] = t.weightFormats.flatMap((format) =>
  ([1, 0] as const).map((outAxis) => ({
    name: `${format}, outputs are axis ${outAxis}`,
    inputs: [],
    run: () => t.alias(quantized(format, [45, 37], outAxis)),
  })),
)
const quantizedProducts: CaseSpec[] = t.weightFormats.flatMap((format) => {
  const product = (x: Tensor, b: Tensor | undefined, n: number) =>
    t.linear(x, quantized(format, [x.shape[x.rank - 1], n]), b)
  return [
    {
      name: `${format}, rows`,
      inputs: [normals(5, 70), normals(37)],
      run: (x, b) => product(x, b, 37),
    },
    { name: `${format}, a vector`, inputs: [normals(96)], run: (x) => product(x, undefined, 48) },
    {
      name: `${format}, batch`,
      inputs: [normals(2, 3, 9), normals(1)],
      run: (x, b) => product(x, b, 1),
    },
    { name: `${format}, no rows`, inputs: [normals(0, 9)], run: (x) => product(x, undefined, 4) },
    {
      name: `${format}, no inputs`,
      inputs: [normals(2, 0), normals(5)],
      run: (x, b) => product(x, b, 5),
    },
    {
      name: `${format}, a table's rows`,
      inputs: [normals(3, 33)],
      run: (x) => t.matmul(x, quantized(format, [50, 33], 0), { transposeY: true }),
    },
    {
      name: `${format}, large, small and no activations`,
      inputs: [given('f32', [3, 4], [3e30, -1e28, 0, 8, 1e-20, -3e-20, 2e-20, 0, 0, 0, 0, 0])],
      gradient: false,
      layouts: false,
      run: (x) => product(x, undefined, 6),
    },
  ] satisfies CaseSpec[]
})

const turn = (x: Tensor): Tensor => t.transpose(x, [0, 2, 1, 3])

interface AttentionShape {
  batch?: number
  heads?: number
  kvHeads?: number
  queries?: number
  keys?: number
  dHead?: number
  dValue?: number
}
/** q, k and v [batch, position, head, dHead], turned: the strides that models really have. */
function attentions(
  name: string,
  shape: AttentionShape,
  options: AttentionOptions = {},
  more: {
    inputs?: CaseSpec['inputs']
    use?: (extra: readonly Tensor[]) => AttentionOptions
    lse?: boolean
  } = {},
): CaseSpec {
  const {
    batch = 2,
    heads = 2,
    kvHeads = heads,
    queries = 5,
    keys = queries,
    dHead = 4,
    dValue = dHead,
  } = shape
  return {
    name,
    inputs: [
      normals(batch, queries, heads, dHead),
      normals(batch, keys, kvHeads, dHead),
      normals(batch, keys, kvHeads, dValue),
      ...(more.inputs ?? []),
    ],
    run: (q, k, v, ...extra) => {
      const { z, lse } = t.attention(turn(q), turn(k), turn(v), { ...options, ...more.use?.(extra) })
      return more.lse ? [z, lse] : z
    },
  }
}
const mask = { use: ([m]: readonly Tensor[]) => ({ mask: m }) }
const rows = (...widths: number[]): number[] => {
  const K = Math.max(...widths)
  return widths.flatMap((w) => Array.from({ length: K }, (_, j) => (j < w ? 1 : 0)))
}

export const compositeCases: Readonly<Record<CompositeName, Entry>> = {
  softmax: {
    family: 'softmax',
    cases: [
      ...softmaxes((x, axis) => t.softmax(x, { axis })),
      ...softmaxSizes,
      { name: 'mask', inputs: [normals(4, 9), bools(4, 9)], run: (x, m) => t.softmax(x, { mask: m }) },
      {
        name: 'fully masked row',
        inputs: [normals(3, 4), given('bool', [3, 4], [1, 0, 1, 1, 0, 0, 0, 0, 0, 0, 1, 0])],
        run: (x, m) => t.softmax(x, { mask: m }),
      },
      {
        name: 'rows of -infinity',
        inputs: [given('f32', [2, 3], [-Infinity, -Infinity, -Infinity, 1, -Infinity, 2])],
        run: (x) => t.softmax(x),
      },
      {
        name: 'second order',
        inputs: [normals(3, 5)],
        run: (x) => {
          const y = t.softmax(x)
          return t.grad(t.sum(t.mul(y, t.mul(y, y))), [x])
        },
      },
    ],
  },
  logSoftmax: { family: 'softmax', cases: softmaxes((x, axis) => t.logSoftmax(x, { axis })) },
  layerNorm: {
    family: 'norm',
    cases: [
      ...layerNormSizes,
      {
        name: 'rows',
        inputs: [normals(5, 33), normals(33), normals(33)],
        run: (x, w, b) => t.layerNorm(x, w, b),
      },
      {
        name: 'no weight',
        inputs: [normals(2, 3, 7)],
        run: (x) => t.layerNorm(x, null, null, { eps: 1e-3 }),
      },
      { name: 'weight alone', inputs: [normals(4, 6), normals(6)], run: (x, w) => t.layerNorm(x, w) },
      { name: 'bias alone', inputs: [normals(4, 6), normals(6)], run: (x, b) => t.layerNorm(x, null, b) },
      {
        name: 'two axes',
        inputs: [normals(3, 4, 5), normals(4, 5), normals(4, 5)],
        run: (x, w, b) => t.layerNorm(x, w, b, { nAxes: 2 }),
      },
      {
        name: 'one element',
        inputs: [normals(3, 1), normals(1), normals(1)],
        run: (x, w, b) => t.layerNorm(x, w, b),
      },
      {
        name: 'no rows',
        inputs: [normals(0, 4), normals(4), normals(4)],
        run: (x, w, b) => t.layerNorm(x, w, b),
      },
      ...[3, 4, 5, 6, 7, 8, 9, 16, 17].map((n) => ({
        name: `rows of ${n}`,
        inputs: [normals(5, n), normals(n), normals(n)],
        run: (x: Tensor, w: Tensor, b: Tensor) => t.layerNorm(x, w, b),
      })),
      {
        name: 'columns, its result read transposed',
        inputs: [normals(9, 5), normals(9), normals(9)],
        run: (x, w, b) => t.transpose(t.layerNorm(t.transpose(x), w, b)),
      },
      {
        name: 'second order',
        inputs: [normals(3, 5), normals(5), normals(5)],
        run: (x, w, b) => {
          const y = t.layerNorm(x, w, b)
          return t.grad(t.sum(t.mul(y, t.mul(y, y))), [x, w])
        },
      },
    ],
  },
  rmsNorm: {
    family: 'norm',
    cases: [
      { name: 'rows', inputs: [normals(5, 33), normals(33)], run: (x, w) => t.rmsNorm(x, w) },
      { name: 'no weight', inputs: [normals(2, 3, 7)], run: (x) => t.rmsNorm(x) },
      {
        name: 'unit offset',
        inputs: [normals(4, 6), normals(6)],
        run: (x, w) => t.rmsNorm(x, w, { unitOffset: true, eps: 1e-5 }),
      },
      {
        name: 'columns',
        inputs: [normals(7, 20), normals(7)],
        run: (x, w) => t.rmsNorm(t.transpose(x), w),
      },
      { name: 'no rows', inputs: [normals(0, 4), normals(4)], run: (x, w) => t.rmsNorm(x, w) },
    ],
  },
  gelu: {
    family: 'transcendental',
    cases: [
      ...activation((x) => t.gelu(x)),
      { name: 'tanh', inputs: [normals(7, 5)], run: (x) => t.gelu(x, { approximate: 'tanh' }) },
      { name: 'quick', inputs: [normals(7, 5)], run: (x) => t.gelu(x, { approximate: 'quick' }) },
    ],
  },
  relu: { family: 'exact', cases: activation(t.relu) },
  sigmoid: { family: 'transcendental', cases: activation(t.sigmoid) },
  silu: { family: 'transcendental', cases: activation(t.silu) },
  dropout: {
    family: 'arithmetic',
    cases: [
      {
        name: 'a third',
        inputs: [normals(6, 7), bools(6, 7)],
        run: (x, m) => t.dropoutMask(x, m, { p: 1 / 3 }),
      },
      { name: 'by key', inputs: [normals(6, 7)], run: (x) => t.dropout(x, 0.5, t.randomKey(3)) },
    ],
  },
  linear: {
    family: 'matmul',
    cases: [
      { name: 'rows', inputs: [normals(5, 9), normals(9, 7), normals(7)], run: t.linear },
      { name: 'batch', inputs: [normals(2, 3, 9), normals(9, 7), normals(7)], run: t.linear },
      { name: 'no bias', inputs: [normals(5, 9), normals(9, 7)], run: (x, w) => t.linear(x, w) },
      { name: 'a vector', inputs: [normals(9), normals(9, 7), normals(7)], run: t.linear },
      {
        name: 'transposed weight',
        inputs: [normals(5, 9), normals(7, 9), normals(7)],
        run: (x, w, b) => t.linear(x, t.transpose(w), b),
      },
      ...productSizes,
    ],
  },
  dequantize: { family: 'arithmetic', cases: dequantized },
  quantizedLinear: { family: 'matmul', cases: quantizedProducts },
  conv2d: {
    family: 'matmul',
    cases: [
      {
        name: 'plain',
        inputs: [normals(2, 3, 6, 5), normals(4, 3, 3, 2), normals(4)],
        run: (x, w, b) => t.conv2d(x, w, b),
      },
      {
        name: 'stride, padding, dilation',
        inputs: [normals(1, 2, 8, 9), normals(3, 2, 3, 2)],
        run: (x, w) => t.conv2d(x, w, null, { stride: [2, 1], padding: [1, 2], dilation: [1, 2] }),
      },
      {
        name: 'groups',
        inputs: [normals(2, 4, 5, 5), normals(6, 2, 2, 2), normals(6)],
        run: (x, w, b) => t.conv2d(x, w, b, { groups: 2 }),
      },
      {
        name: 'pointwise',
        inputs: [normals(2, 4, 5, 3), normals(6, 2, 1, 1), normals(6)],
        run: (x, w, b) => t.conv2d(x, w, b, { groups: 2, padding: [1, 0] }),
      },
      {
        name: 'a line',
        inputs: [normals(2, 3, 9), normals(4, 3, 3), normals(4)],
        run: (x, w, b) => t.conv1d(x, w, b, { padding: 1 }),
      },
    ],
  },
  crossEntropyPerToken: {
    family: 'loss',
    cases: [
      { name: 'mean', inputs: [normals(6, 11), ids(11, 6)], run: (x, y) => t.crossEntropy(x, y) },
      {
        name: 'sequences',
        inputs: [normals(2, 4, 7), ids(7, 2, 4)],
        run: (x, y) => t.crossEntropy(x, y, { reduction: 'none' }),
      },
      {
        name: 'ignored',
        inputs: [normals(5, 7), given('i32', [5], [1, -100, 6, -100, 0])],
        run: (x, y) => t.crossEntropy(x, y),
      },
      {
        name: 'all ignored',
        inputs: [normals(2, 7), given('i32', [2], [-100, -100])],
        run: (x, y) => t.crossEntropy(x, y),
      },
      {
        name: 'a class ignored, classes first',
        inputs: [normals(5, 9), given('i32', [9], [4, 0, 1, 2, 2, 3, 0, 4, 1])],
        run: (x, y) => t.crossEntropy(t.transpose(x), y, { ignoreIndex: 2, reduction: 'sum' }),
      },
      {
        name: 'far apart',
        inputs: [given('f32', [2, 3], [1000, -1000, 0, 90, 0, -90]), given('i32', [2], [1, 0])],
        run: (x, y) => t.crossEntropy(x, y),
      },
    ],
  },
  rope: {
    family: 'arithmetic',
    cases: [
      {
        name: 'half',
        inputs: [normals(2, 3, 5, 8), normals(5, 4), normals(5, 4)],
        run: (x, c, s) => t.rope(x, c, s),
      },
      {
        name: 'interleaved',
        inputs: [normals(2, 3, 5, 8), normals(5, 4), normals(5, 4)],
        run: (x, c, s) => t.rope(x, c, s, { layout: 'interleaved' }),
      },
      {
        name: 'part of a head',
        inputs: [normals(2, 3, 5, 8), normals(5, 2), normals(5, 2)],
        run: (x, c, s) => t.rope(x, c, s, { rotaryDim: 4 }),
      },
      {
        name: 'positions by batch',
        inputs: [normals(2, 3, 5, 8), normals(2, 1, 5, 4), normals(2, 1, 5, 4)],
        run: (x, c, s) => t.rope(x, c, s),
      },
      {
        name: 'heads behind positions',
        inputs: [normals(2, 5, 3, 10), normals(5, 4), normals(5, 4)],
        run: (x, c, s) => t.rope(turn(x), c, s, { rotaryDim: 8 }),
      },
      {
        name: 'interleaved part of a head, a vector of positions',
        inputs: [normals(7, 9), normals(7, 3), normals(7, 3)],
        run: (x, c, s) => t.rope(x, c, s, { layout: 'interleaved', rotaryDim: 6 }),
      },
      {
        name: 'one angle for all, columns first',
        inputs: [normals(6, 4), normals(1, 3), normals(3)],
        run: (x, c, s) => t.rope(t.transpose(x), c, s, { rotaryDim: 6 }),
      },
    ],
  },
  attention: {
    family: 'attention',
    cases: [
      attentions('full', {}),
      attentions('causal', { queries: 7 }, { causal: true }),
      attentions('causal, beyond a tile', { batch: 1, queries: 37, dHead: 9, dValue: 5 }, { causal: true }),
      attentions('causal with offset', { queries: 3, keys: 9 }, { causal: true, offset: 6 }),
      attentions('one query of a cache', { queries: 1, keys: 9 }, { causal: true, offset: 4 }),
      attentions(
        'offset as a tensor',
        { queries: 3, keys: 9 },
        {},
        {
          inputs: [given('i32', [], [5])],
          use: ([offset]) => ({ causal: true, offset }),
        },
      ),
      attentions('rows before the first key', { queries: 5, keys: 4 }, { causal: true, offset: -2 }),
      attentions('grouped heads', { heads: 6, kvHeads: 2 }, { causal: true }),
      attentions('one key head', { heads: 4, kvHeads: 1 }),
      attentions('cross lengths', { queries: 4, keys: 11, dValue: 6 }),
      attentions('one of everything', { batch: 1, heads: 1, queries: 1, dHead: 1 }),
      attentions('no queries', { queries: 0, keys: 3 }),
      attentions('scale', { queries: 6 }, { scale: 0.7 }),
      attentions(
        'padding',
        { batch: 2, queries: 4, keys: 6 },
        {},
        { ...mask, inputs: [given('bool', [2, 1, 1, 6], rows(6, 3))] },
      ),
      attentions(
        'fully masked rows',
        { batch: 2, queries: 4, keys: 4 },
        { causal: true },
        {
          ...mask,
          inputs: [given('bool', [2, 1, 1, 4], [1, 1, 1, 1, 0, 0, 0, 0])],
        },
      ),
      attentions(
        'left padding',
        { batch: 2, queries: 5 },
        { causal: true },
        {
          ...mask,
          inputs: [given('bool', [2, 1, 1, 5], [0, 0, 1, 1, 1, 1, 1, 1, 1, 1])],
        },
      ),
      attentions('mask by head', { heads: 3, queries: 4 }, {}, { ...mask, inputs: [bools(3, 4, 4)] }),
      attentions(
        'bias',
        { heads: 3, queries: 4 },
        { causal: true },
        {
          inputs: [normals(1, 3, 4, 4)],
          use: ([bias]) => ({ bias }),
        },
      ),
      ...(
        [
          ['by key', [1, 1, 1, 6]],
          ['by query', [4, 1]],
          ['by head', [3, 1, 1]],
          ['by batch and distance', [2, 1, 4, 6]],
          ['for all batches and heads', [4, 6]],
          ['as one number', []],
        ] as const
      ).map(([name, dims]) =>
        attentions(
          `bias ${name}`,
          { heads: 3, queries: 4, keys: 6 },
          { causal: true, offset: 1, softcap: 3 },
          // by the log-sum-exp too: a bias that is equal for all keys does not move the pattern
          { inputs: [normals(...dims)], use: ([bias]) => ({ bias }), lse: true },
        ),
      ),
      attentions('window', { queries: 9 }, { causal: true, window: [2, 0] }),
      attentions(
        'window of a cache with sink tokens and sink logits',
        { heads: 4, kvHeads: 2, queries: 3, keys: 12 },
        { causal: true, offset: 7, window: [3, 0], sinkTokens: 2 },
        { inputs: [normals(4)], use: ([sink]) => ({ sink }) },
      ),
      attentions('window past the keys', { queries: 4, keys: 5 }, { offset: 6, window: [2, 0] }),
      attentions('two-sided window', { queries: 9 }, { window: [2, 1] }),
      attentions(
        'window with sink tokens',
        { queries: 9 },
        { causal: true, window: [2, null], sinkTokens: 1 },
      ),
      attentions('blocks', { queries: 8 }, { block: 3, back: 1 }),
      attentions(
        'causal blocks with offset',
        { queries: 4, keys: 9 },
        { causal: true, offset: 4, block: 3, back: 1 },
      ),
      attentions('blocks before the first key', { queries: 6 }, { offset: -4, block: 2, back: 1 }),
      attentions('softcap', { queries: 6 }, { causal: true, softcap: 2 }),
      attentions(
        'sink logit',
        { heads: 3, queries: 5 },
        { causal: true },
        {
          inputs: [normals(3)],
          use: ([sink]) => ({ sink }),
        },
      ),
      attentions(
        'sink logit of rows that see nothing',
        { heads: 2, queries: 4 },
        { causal: true, offset: -2 },
        { inputs: [normals(2)], use: ([sink]) => ({ sink }), lse: true },
      ),
      attentions('log-sum-exp', { queries: 5 }, { causal: true }, { lse: true }),
      attentions(
        'log-sum-exp of masked rows',
        { batch: 1, queries: 3, keys: 3 },
        { causal: true, offset: -1 },
        { lse: true },
      ),
      {
        name: 'one tensor for all',
        inputs: [normals(2, 2, 5, 4)],
        run: (x) => t.attention(x, x, x, { causal: true }).z,
      },
      {
        name: 'second order',
        inputs: [normals(1, 2, 4, 3), normals(1, 2, 4, 3), normals(1, 2, 4, 3)],
        run: (q, k, v) => {
          const { z } = t.attention(q, k, v, { causal: true })
          return t.grad(t.sum(t.mul(z, z)), [q, k, v])
        },
      },
    ],
  },
}
