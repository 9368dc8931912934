/** Cases of the functions that are plain compositions of primitives and composites, without a node of their own. */
import type { Tensor } from '@heed/tensor'
import * as t from '@heed/tensor'
import {
  away0,
  bools,
  type CaseSpec,
  distinct,
  given,
  ids,
  integers,
  normals,
  positives,
  probabilities,
  wholes,
} from './case.js'
import { activation, type Entry } from './composite-cases.js'
import type { Family } from './tolerances.js'

const one = (family: Family, name: string, inputs: CaseSpec['inputs'], run: CaseSpec['run']): Entry => ({
  family,
  cases: [{ name, inputs, run }],
})
const matrix = (family: Family, f: (x: Tensor) => Tensor, input = normals): Entry =>
  one(family, 'matrix', [input(5, 7)], f)
/** Of what has steps and no slope. */
const steps = ({ family, cases }: Entry): Entry => ({
  family,
  cases: cases.map((c) => ({ ...c, gradient: false })),
})
const pair = (family: Family, f: (x: Tensor, y: Tensor) => Tensor, input = normals): Entry =>
  one(family, 'matrix and row', [input(5, 7), input(7)], f)

/** Functions without a node of their own. */
export const functionCases: Readonly<Record<string, Entry>> = {
  mean: {
    family: 'reduction',
    cases: [{ name: 'axis', inputs: [normals(4, 9)], run: (x) => t.mean(x, { axes: 1 }) }],
  },
  variance: {
    family: 'norm',
    cases: [{ name: 'axis', inputs: [normals(4, 9)], run: (x) => t.variance(x, { axes: 1 }) }],
  },
  logSumExp: {
    family: 'softmax',
    cases: [
      { name: 'axis', inputs: [normals(4, 9)], run: (x) => t.logSumExp(x, { axes: 1 }) },
      { name: 'empty', inputs: [normals(3, 0)], run: (x) => t.logSumExp(x, { axes: 1 }) },
    ],
  },
  topK: {
    family: 'exact',
    cases: [
      { name: 'axis', inputs: [distinct(4, 9)], run: (x) => Object.values(t.topK(x, { k: 3, axis: 1 })) },
    ],
  },
  groupNorm: {
    family: 'norm',
    cases: [
      {
        name: 'images',
        inputs: [normals(2, 6, 3, 3), normals(6), normals(6)],
        run: (x, w, b) => t.groupNorm(x, w, b, { groups: 3 }),
      },
    ],
  },
  batchNorm: {
    family: 'norm',
    cases: [
      {
        name: 'training',
        inputs: [normals(5, 3, 4), normals(3), normals(3)],
        run: (x, w, b) => t.batchNorm(x, w, b, { training: true }),
      },
      {
        name: 'running',
        inputs: [normals(5, 3, 4), normals(3), normals(3), normals(3), positives(3)],
        run: (x, w, b, m, v) => t.batchNorm(x, w, b, { training: false, runningMean: m, runningVar: v }),
      },
    ],
  },
  maxPool2d: {
    family: 'exact',
    cases: [
      {
        name: 'overlapping',
        inputs: [distinct(2, 3, 7, 6)],
        run: (x) => t.maxPool2d(x, { kernel: 3, stride: 2, padding: 1 }),
      },
    ],
  },
  avgPool2d: {
    family: 'reduction',
    cases: [
      {
        name: 'without padding',
        inputs: [normals(2, 3, 7, 6)],
        run: (x) => t.avgPool2d(x, { kernel: 3, stride: 2, padding: 1, countPad: false }),
      },
    ],
  },
  crossEntropy: {
    family: 'loss',
    cases: [
      {
        name: 'smoothing and weights',
        inputs: [normals(6, 5), ids(5, 6), positives(5)],
        run: (x, y, w) => t.crossEntropy(x, y, { labelSmoothing: 0.1, weight: w }),
      },
      {
        name: 'probabilities',
        inputs: [normals(6, 5), probabilities(6, 5)],
        run: (x, y) => t.crossEntropy(x, y),
      },
    ],
  },
  klDiv: {
    family: 'loss',
    cases: [
      {
        name: 'batch mean',
        inputs: [normals(4, 6), probabilities(4, 6)],
        run: (q, p) => t.klDiv(q, p, { reduction: 'batchmean' }),
      },
    ],
  },
  bceWithLogits: {
    family: 'loss',
    cases: [
      { name: 'mean', inputs: [normals(5, 6), probabilities(5, 6)], run: (x, y) => t.bceWithLogits(x, y) },
    ],
  },
  huber: {
    family: 'loss',
    cases: [{ name: 'mean', inputs: [normals(5, 6), normals(5, 6)], run: (x, y) => t.huber(x, y) }],
  },
  cosineSimilarity: {
    family: 'norm',
    cases: [
      { name: 'rows', inputs: [normals(5, 6), normals(5, 6)], run: (x, y) => t.cosineSimilarity(x, y) },
    ],
  },
  l2Normalize: {
    family: 'norm',
    cases: [{ name: 'rows', inputs: [normals(5, 6)], run: (x) => t.l2Normalize(x) }],
  },
  softplus: { family: 'transcendental', cases: activation((x) => t.softplus(x, { beta: 2 })) },
  mish: { family: 'transcendental', cases: activation(t.mish) },
  glu: {
    family: 'transcendental',
    cases: [{ name: 'silu', inputs: [normals(5, 6), normals(5, 6)], run: (g, u) => t.glu(g, u) }],
  },
  round: {
    family: 'exact',
    cases: [
      {
        name: 'ties to even',
        inputs: [given('f32', [7], [0.5, 1.5, 2.5, -0.5, -1.5, 0.49999997, 3.7])],
        run: t.round,
      },
    ],
  },
  tril: {
    family: 'exact',
    cases: [{ name: 'below the diagonal', inputs: [normals(2, 4, 5)], run: (x) => t.tril(x, -1) }],
  },
  oneHot: { family: 'exact', cases: [{ name: 'ids', inputs: [ids(6, 2, 4)], run: (i) => t.oneHot(i, 6) }] },
  randomNormal: {
    family: 'transcendental',
    cases: [
      {
        name: 'odd count',
        inputs: [given('i32', [2], [5, 9])],
        run: (k) => t.randomNormal(k, [3, 5]),
        layouts: false,
      },
    ],
  },
  abs: matrix('arithmetic', t.abs, away0),
  ceil: matrix('exact', t.ceil),
  trunc: matrix('exact', t.trunc),
  sign: matrix('exact', t.sign, away0),
  reciprocal: matrix('arithmetic', t.reciprocal, away0),
  square: matrix('arithmetic', t.square),
  rsqrt: matrix('arithmetic', t.rsqrt, positives),
  exp2: matrix('transcendental', t.exp2),
  log2: matrix('transcendental', t.log2, positives),
  tan: matrix('transcendental', (x) => t.tan(t.mul(x, 0.3))),
  clamp: matrix('exact', (x) => t.clamp(x, { lo: -0.5, hi: 0.75 })),
  minimum: pair('arithmetic', t.minimum),
  greater: steps(pair('exact', t.greater, wholes)),
  greaterEqual: steps(pair('exact', t.greaterEqual, wholes)),
  notEqual: steps(pair('exact', t.notEqual, wholes)),
  logicalAnd: pair('exact', t.logicalAnd, bools),
  logicalOr: pair('exact', t.logicalOr, bools),
  logicalNot: matrix('exact', t.logicalNot, bools),
  elu: matrix('transcendental', (x) => t.elu(x, { alpha: 0.5 })),
  leakyRelu: matrix('arithmetic', (x) => t.leakyRelu(x, { slope: 0.1 })),
  reluSquared: matrix('arithmetic', t.reluSquared),
  hardSwish: matrix('arithmetic', (x) => t.hardSwish(t.mul(x, 2))),
  logSigmoid: matrix('transcendental', t.logSigmoid),
  min: matrix('exact', (x) => t.min(x, { axes: 1 }), distinct),
  any: matrix('exact', (x) => t.any(x, { axes: 1 }), bools),
  all: matrix('exact', (x) => t.all(x, { axes: 0 }), bools),
  argMin: steps(matrix('exact', (x) => t.argMin(x, { axis: 0 }), wholes)),
  triu: one('exact', 'above the diagonal', [normals(2, 4, 5)], (x) => t.triu(x, 1)),
  flip: one('exact', 'two axes', [normals(2, 3, 4)], (x) => t.flip(x, [0, 2])),
  expandDims: matrix('exact', (x) => t.expandDims(x, 1)),
  squeeze: one('exact', 'middle', [normals(3, 1, 4)], (x) => t.squeeze(x, 1)),
  swapLast: one('exact', 'batch', [normals(2, 3, 4)], t.swapLast),
  sliceAxis: matrix('exact', (x) => t.sliceAxis(x, 1, 2, 6)),
  stack: pair('exact', (x, y) => t.stack([x, t.broadcastTo(y, x.shape)], 1)),
  split: one('exact', 'unequal', [normals(3, 7)], (x) => t.split(x, [2, 4, 1], 1)),
  full: one('exact', 'with a matrix', [normals(3, 2)], (x) => t.mul(x, t.full([3, 2], 2))),
  zeros: one('exact', 'with a matrix', [normals(3, 2)], (x) => t.maximum(x, t.zeros([3, 2]))),
  ones: one('exact', 'with a matrix', [normals(3, 2)], (x) => t.mul(x, t.ones([3, 2]))),
  eye: one('exact', 'with a matrix', [normals(3, 5)], (x) => t.mul(x, t.eye(3, 5))),
  embedding: one('exact', 'table', [normals(9, 4), ids(9, 2, 3)], t.embedding),
  mse: one('loss', 'mean', [normals(5, 6), normals(5, 6)], (x, y) => t.mse(x, y)),
  l1: one('loss', 'sum', [normals(5, 6), normals(5, 6)], (x, y) => t.l1(x, y, { reduction: 'sum' })),
  conv1d: one('matmul', 'padded', [normals(2, 3, 9), normals(4, 3, 3), normals(4)], (x, w, b) =>
    t.conv1d(x, w, b, { padding: 1, stride: 2 }),
  ),
  maxPool1d: one('exact', 'overlapping', [distinct(2, 3, 9)], (x) =>
    t.maxPool1d(x, { kernel: 3, stride: 2 }),
  ),
  avgPool1d: one('reduction', 'overlapping', [normals(2, 3, 9)], (x) =>
    t.avgPool1d(x, { kernel: 3, stride: 2 }),
  ),
  dropoutMask: one('arithmetic', 'given', [normals(5, 7), bools(5, 7)], (x, keep) =>
    t.dropoutMask(x, keep, { p: 0.25 }),
  ),
  randomKey: one('exact', 'with whole numbers', [integers(2)], (x) => t.add(x, t.randomKey(7))),
  foldIn: one('exact', 'a name', [given('i32', [2], [5, 9])], (key) => t.foldIn(key, 'dropout')),
  splitKey: one('exact', 'three', [given('i32', [2], [5, 9])], (key) => t.splitKey(key, 3)),
  gumbel: one('transcendental', 'odd count', [given('i32', [2], [5, 9])], (key) => t.gumbel(key, [3, 5])),
}
