/**
 * Cases of every primitive. The type insists: a primitive without a case does not compile. Shapes hold 0 and 1,
 * broadcasting, and sizes that no tile divides.
 */

import type { PrimitiveName, Tensor } from '@heed/tensor'
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
  wholes,
} from './case.js'
import type { Input } from './draw.js'
import type { Family } from './tolerances.js'

interface Primitive {
  readonly family: Family
  readonly cases: readonly CaseSpec[]
}

type Make = (...shape: number[]) => Input

const binary = (f: (a: Tensor, b: Tensor) => Tensor, left: Make = normals, right: Make = left): CaseSpec[] =>
  (
    [
      ['matrices', [13, 17], [13, 17]],
      ['broadcast both', [3, 1, 5], [4, 1]],
      ['row', [9, 6], [6]],
      ['column', [9, 6], [9, 1]],
      ['scalar', [], [7]],
      ['scalars', [], []],
      ['empty', [0, 3], [1, 3]],
      ['ones', [1, 1], [1]],
      ['rank 5', [2, 1, 3, 1, 2], [3, 1, 4, 1]],
    ] as const
  ).map(([name, a, b]) => ({ name, inputs: [left(...a), right(...b)], run: f }))

const unary = (f: (x: Tensor) => Tensor, draw: Make = normals): CaseSpec[] =>
  (
    [
      ['matrix', [13, 17]],
      ['scalar', []],
      ['one', [1]],
      ['empty', [0, 4]],
      ['rank 4', [2, 3, 1, 5]],
    ] as const
  ).map(([name, shape]) => ({ name, inputs: [draw(...shape)], run: f }))

const withoutGradient = (cases: readonly CaseSpec[]): CaseSpec[] =>
  cases.map((c) => ({ ...c, gradient: false }))
const comparison = (f: (a: Tensor, b: Tensor) => Tensor): CaseSpec[] => [
  ...withoutGradient(binary(f, wholes)),
  { name: 'i32', inputs: [integers(5, 6), integers(6)], run: f },
  {
    name: 'nan and infinity',
    inputs: [
      given('f32', [6], [Number.NaN, Infinity, -Infinity, 0, -0, 1]),
      given('f32', [6], [Number.NaN, Infinity, Infinity, -0, 0, Number.NaN]),
    ],
    run: f,
    gradient: false,
  },
]

const reductions = (f: typeof t.sum, draw: Make = normals): CaseSpec[] => [
  { name: 'all', inputs: [draw(5, 7)], run: (x) => f(x) },
  { name: 'last', inputs: [draw(6, 33)], run: (x) => f(x, { axes: -1 }) },
  { name: 'first', inputs: [draw(33, 6)], run: (x) => f(x, { axes: 0 }) },
  { name: 'middle, kept', inputs: [draw(3, 5, 4)], run: (x) => f(x, { axes: 1, keepDims: true }) },
  { name: 'two', inputs: [draw(3, 4, 5)], run: (x) => f(x, { axes: [0, 2] }) },
  { name: 'none', inputs: [draw(3, 4)], run: (x) => f(x, { axes: [] }) },
  { name: 'one element', inputs: [draw(2, 1, 3)], run: (x) => f(x, { axes: 1 }) },
  { name: 'scalar', inputs: [draw()], run: (x) => f(x) },
  { name: 'empty axis', inputs: [draw(0, 3)], run: (x) => f(x, { axes: 0 }) },
  { name: 'empty rest', inputs: [draw(0, 3)], run: (x) => f(x, { axes: 1 }) },
]

const whole = { dtype: 'i32' } as const

export const primitiveCases: Readonly<Record<PrimitiveName, Primitive>> = {
  add: {
    family: 'arithmetic',
    cases: [
      ...binary(t.add),
      { name: 'i32', inputs: [integers(5, 6), integers(6)], run: t.add },
      { name: 'same operand twice', inputs: [normals(4, 5)], run: (x) => t.add(x, x) },
    ],
  },
  sub: { family: 'arithmetic', cases: binary(t.sub) },
  mul: {
    family: 'arithmetic',
    cases: [
      ...binary(t.mul),
      { name: 'square', inputs: [normals(4, 5)], run: (x) => t.mul(x, x) },
      {
        name: 'i32 wraps at 32 bits',
        inputs: [
          given('i32', [3], [0x12345679, -2147483648, 65537]),
          given('i32', [3], [0x7fffffff, 3, 65537]),
        ],
        run: t.mul,
      },
    ],
  },
  div: {
    family: 'arithmetic',
    cases: [
      ...binary(t.div, normals, away0),
      {
        name: 'i32 truncates',
        inputs: [given('i32', [6], [7, -7, 7, -7, 0, 5]), given('i32', [6], [2, 2, -2, -2, 3, 5])],
        run: t.div,
      },
    ],
  },
  pow: {
    family: 'transcendental',
    cases: [
      ...binary(t.pow, positives, normals),
      { name: 'whole exponents', inputs: [away0(5, 6)], run: (x) => t.pow(x, 3) },
      {
        name: 'IEEE corners',
        inputs: [
          given('f32', [7], [1, -1, -1, 0, 0, 2, Number.NaN]),
          given('f32', [7], [Number.NaN, Infinity, -Infinity, 0, 2, 0, 0]),
        ],
        run: t.pow,
        gradient: false,
      },
    ],
  },
  maximum: {
    family: 'exact',
    cases: [
      ...binary(t.maximum),
      { name: 'ties halve the gradient', inputs: [wholes(6, 7), wholes(6, 7)], run: t.maximum },
      {
        name: 'nan wins',
        inputs: [
          given('f32', [4], [Number.NaN, 1, Number.NaN, -Infinity]),
          given('f32', [4], [1, Number.NaN, Number.NaN, 0]),
        ],
        run: t.maximum,
        gradient: false,
      },
    ],
  },
  less: { family: 'exact', cases: comparison(t.less) },
  lessEqual: { family: 'exact', cases: comparison(t.lessEqual) },
  equal: {
    family: 'exact',
    cases: [...comparison(t.equal), { name: 'bool', inputs: [bools(4, 5), bools(5)], run: t.equal }],
  },

  neg: { family: 'exact', cases: [...unary(t.neg), { name: 'i32', inputs: [integers(5)], run: t.neg }] },
  exp: { family: 'transcendental', cases: unary(t.exp) },
  expm1: {
    family: 'transcendental',
    cases: [
      ...unary(t.expm1),
      { name: 'near 0', inputs: [given('f32', [4], [1e-6, -1e-7, 1e-4, 0])], run: t.expm1 },
    ],
  },
  log: { family: 'transcendental', cases: unary(t.log, positives) },
  log1p: {
    family: 'transcendental',
    cases: [
      ...unary(t.log1p, positives),
      { name: 'near 0', inputs: [given('f32', [4], [1e-6, -1e-7, 1e-4, 0])], run: t.log1p },
    ],
  },
  sqrt: { family: 'arithmetic', cases: unary(t.sqrt, positives) },
  sin: { family: 'transcendental', cases: unary(t.sin) },
  cos: { family: 'transcendental', cases: unary(t.cos) },
  tanh: { family: 'transcendental', cases: unary(t.tanh) },
  erf: { family: 'transcendental', cases: unary(t.erf) },
  floor: {
    family: 'exact',
    cases: [
      ...unary(t.floor),
      { name: 'halves', inputs: [given('f32', [6], [-1.5, -0.5, 0.5, 1, -1, 2.999])], run: t.floor },
    ],
  },
  cast: {
    family: 'exact',
    cases: [
      ...withoutGradient(unary((x) => t.cast(t.mul(x, 10), 'i32'))),
      { name: 'to bool', inputs: [wholes(4, 5)], run: (x) => t.cast(x, 'bool'), gradient: false },
      {
        name: 'to f16 and back',
        inputs: [normals(5, 7)],
        run: (x) => t.cast(t.cast(x, 'f16'), 'f32'),
        gradient: false,
      },
      {
        name: 'to bf16 and back',
        inputs: [normals(5, 7)],
        run: (x) => t.cast(t.cast(x, 'bf16'), 'f32'),
        gradient: false,
      },
      { name: 'i32 to f32', inputs: [integers(5, 7)], run: (x) => t.cast(x, 'f32') },
      { name: 'bool to f32', inputs: [bools(5, 7)], run: (x) => t.cast(x, 'f32') },
    ],
  },
  where: {
    family: 'exact',
    cases: [
      { name: 'matrices', inputs: [bools(13, 17), normals(13, 17), normals(13, 17)], run: t.where },
      { name: 'all broadcast', inputs: [bools(3, 1, 1), normals(4, 1), normals(5)], run: t.where },
      { name: 'empty', inputs: [bools(0, 3), normals(1, 3), normals()], run: t.where },
      {
        name: 'nothing leaks',
        inputs: [
          given('bool', [4], [1, 1, 0, 0]),
          normals(4),
          given('f32', [4], [Number.NaN, Infinity, 1, 2]),
        ],
        run: t.where,
      },
      { name: 'i32', inputs: [bools(5), integers(5), integers(5)], run: t.where },
      { name: 'bool', inputs: [bools(5), bools(5), bools(5)], run: (c, a, b) => t.where(c, a, b) },
    ],
  },

  sum: {
    family: 'reduction',
    cases: [
      ...reductions(t.sum),
      { name: 'long', inputs: [normals(3, 4099)], run: (x) => t.sum(x, { axes: -1 }) },
      { name: 'bool counts', inputs: [bools(5, 7)], run: (x) => t.sum(x, { axes: 0 }) },
    ],
  },
  max: {
    family: 'exact',
    cases: [
      ...reductions(t.max, distinct),
      { name: 'ties share', inputs: [wholes(4, 9)], run: (x) => t.max(x, { axes: 1 }) },
      { name: 'i32', inputs: [integers(4, 9)], run: (x) => t.max(x, { axes: 1 }) },
    ],
  },
  prod: {
    family: 'reduction',
    cases: [
      ...reductions(t.prod, away0).filter((c) => c.name !== 'last' && c.name !== 'first' && c.name !== 'all'),
      { name: 'row', inputs: [away0(4, 7)], run: (x) => t.prod(x, { axes: 1 }) },
      {
        name: 'zeros',
        inputs: [given('f32', [3, 3], [1, 0, 2, 0, 0, 3, 1, 2, 3])],
        run: (x) => t.prod(x, { axes: 1 }),
      },
    ],
  },
  argMax: {
    family: 'exact',
    cases: withoutGradient([
      { name: 'last', inputs: [distinct(6, 33)], run: (x) => t.argMax(x, { axis: -1 }) },
      { name: 'first, kept', inputs: [distinct(5, 4)], run: (x) => t.argMax(x, { axis: 0, keepDims: true }) },
      { name: 'ties take the first', inputs: [wholes(6, 9)], run: (x) => t.argMax(x, { axis: 1 }) },
      { name: 'one element', inputs: [normals(3, 1)], run: (x) => t.argMax(x, { axis: 1 }) },
    ]),
  },
  cumsum: {
    family: 'reduction',
    cases: [
      { name: 'last', inputs: [normals(4, 33)], run: (x) => t.cumsum(x, { axis: -1 }) },
      { name: 'first', inputs: [normals(9, 4)], run: (x) => t.cumsum(x, { axis: 0 }) },
      { name: 'reverse', inputs: [normals(3, 5, 2)], run: (x) => t.cumsum(x, { axis: 1, reverse: true }) },
      { name: 'exclusive', inputs: [normals(3, 5)], run: (x) => t.cumsum(x, { axis: 1, exclusive: true }) },
      {
        name: 'reverse and exclusive',
        inputs: [normals(3, 5)],
        run: (x) => t.cumsum(x, { axis: 1, reverse: true, exclusive: true }),
      },
      { name: 'one element', inputs: [normals(3, 1)], run: (x) => t.cumsum(x, { axis: 1 }) },
      { name: 'empty', inputs: [normals(0, 3)], run: (x) => t.cumsum(x, { axis: 0 }) },
    ],
  },
  sort: {
    family: 'exact',
    cases: [
      { name: 'last', inputs: [distinct(5, 13)], run: (x) => Object.values(t.sort(x, { axis: -1 })) },
      {
        name: 'first, descending',
        inputs: [distinct(9, 4)],
        run: (x) => Object.values(t.sort(x, { axis: 0, descending: true })),
      },
      {
        name: 'ties keep their order',
        inputs: [wholes(3, 17)],
        run: (x) => Object.values(t.sort(x, { axis: 1 })),
      },
      {
        name: 'descending ties keep their order',
        inputs: [wholes(3, 17)],
        run: (x) => Object.values(t.sort(x, { axis: 1, descending: true })),
      },
      {
        name: 'nan is largest',
        inputs: [given('f32', [5], [1, Number.NaN, -1, Infinity, 0])],
        run: (x) => Object.values(t.sort(x, { axis: 0 })),
        gradient: false,
      },
      { name: 'one element', inputs: [normals(3, 1)], run: (x) => Object.values(t.sort(x, { axis: 1 })) },
    ],
  },
  matmul: {
    family: 'matmul',
    cases: [
      { name: 'no tile', inputs: [normals(5, 7), normals(7, 3)], run: (a, b) => t.matmul(a, b) },
      { name: 'beyond a tile', inputs: [normals(13, 33), normals(33, 19)], run: (a, b) => t.matmul(a, b) },
      { name: 'whole tiles', inputs: [normals(12, 32), normals(32, 16)], run: (a, b) => t.matmul(a, b) },
      { name: 'long rows', inputs: [normals(3, 1031), normals(1031, 2)], run: (a, b) => t.matmul(a, b) },
      { name: 'one row', inputs: [normals(1, 9), normals(9, 11)], run: (a, b) => t.matmul(a, b) },
      { name: 'one column', inputs: [normals(9, 11), normals(11, 1)], run: (a, b) => t.matmul(a, b) },
      { name: 'one inner', inputs: [normals(5, 1), normals(1, 6)], run: (a, b) => t.matmul(a, b) },
      { name: 'no inner', inputs: [normals(3, 0), normals(0, 4)], run: (a, b) => t.matmul(a, b) },
      { name: 'no rows', inputs: [normals(0, 3), normals(3, 4)], run: (a, b) => t.matmul(a, b) },
      { name: 'batch', inputs: [normals(3, 4, 5), normals(3, 5, 6)], run: (a, b) => t.matmul(a, b) },
      {
        name: 'broadcast batch',
        inputs: [normals(2, 1, 3, 4), normals(5, 4, 2)],
        run: (a, b) => t.matmul(a, b),
      },
      { name: 'shared matrix', inputs: [normals(2, 3, 5), normals(5, 4)], run: (a, b) => t.matmul(a, b) },
      { name: 'shared rows', inputs: [normals(3, 5), normals(2, 5, 4)], run: (a, b) => t.matmul(a, b) },
      { name: 'vectors', inputs: [normals(9), normals(9)], run: (a, b) => t.matmul(a, b) },
      {
        name: 'transposed left',
        inputs: [normals(7, 5), normals(7, 3)],
        run: (a, b) => t.matmul(a, b, { transposeX: true }),
      },
      {
        name: 'transposed right',
        inputs: [normals(2, 5, 7), normals(2, 3, 7)],
        run: (a, b) => t.matmul(a, b, { transposeY: true }),
      },
      {
        name: 'second order',
        inputs: [normals(3, 4), normals(4, 2)],
        run: (a, b) => {
          const y = t.matmul(a, b)
          return t.grad(t.sum(t.mul(y, t.mul(y, y))), [a, b])
        },
      },
    ],
  },

  reshape: {
    family: 'exact',
    cases: [
      { name: 'flatten', inputs: [normals(3, 4, 5)], run: (x) => t.reshape(x, [-1]) },
      {
        name: 'split an axis',
        inputs: [normals(6, 10)],
        run: (x) => t.exp(t.reshape(x, [2, 3, 5, 2])),
        family: 'transcendental',
      },
      { name: 'scalar', inputs: [normals(1, 1)], run: (x) => t.reshape(x, []) },
      { name: 'empty', inputs: [normals(0, 3)], run: (x) => t.reshape(x, [3, 0, 2]) },
    ],
  },
  transpose: {
    family: 'exact',
    cases: [
      { name: 'matrix', inputs: [normals(13, 17)], run: (x) => t.transpose(x) },
      { name: 'heads', inputs: [normals(2, 3, 4, 5)], run: (x) => t.transpose(x, [0, 2, 1, 3]) },
      {
        name: 'rotate',
        inputs: [normals(2, 3, 4)],
        run: (x) => t.exp(t.transpose(x, [1, 2, 0])),
        family: 'transcendental',
      },
      { name: 'empty', inputs: [normals(0, 3)], run: (x) => t.transpose(x) },
      { name: 'i32', inputs: [integers(3, 4)], run: (x) => t.transpose(x) },
    ],
  },
  broadcastTo: {
    family: 'exact',
    cases: [
      { name: 'rows', inputs: [normals(7)], run: (x) => t.broadcastTo(x, [5, 7]), family: 'reduction' },
      {
        name: 'columns',
        inputs: [normals(5, 1)],
        run: (x) => t.broadcastTo(x, [2, 5, 7]),
        family: 'reduction',
      },
      { name: 'scalar', inputs: [normals()], run: (x) => t.broadcastTo(x, [3, 2]), family: 'reduction' },
      { name: 'to nothing', inputs: [normals(1, 3)], run: (x) => t.broadcastTo(x, [0, 3]) },
    ],
  },
  slice: {
    family: 'exact',
    cases: [
      {
        name: 'middle',
        inputs: [normals(5, 7)],
        run: (x) =>
          t.slice(x, [
            [1, 4],
            [2, -1],
          ]),
      },
      {
        name: 'steps',
        inputs: [normals(9, 7)],
        run: (x) =>
          t.slice(x, [
            [1, null, 3],
            [null, null, 2],
          ]),
      },
      {
        name: 'backwards',
        inputs: [normals(5, 6)],
        run: (x) =>
          t.slice(x, [
            [null, null, -1],
            [4, 0, -2],
          ]),
      },
      { name: 'empty', inputs: [normals(5, 6)], run: (x) => t.slice(x, [[3, 3]]) },
      {
        name: 'used by a kernel',
        inputs: [normals(8, 9)],
        run: (x) =>
          t.exp(
            t.slice(x, [
              [2, 7],
              [null, null, -3],
            ]),
          ),
        family: 'transcendental',
      },
    ],
  },

  pad: {
    family: 'exact',
    cases: [
      {
        name: 'both sides',
        inputs: [normals(3, 4)],
        run: (x) =>
          t.pad(
            x,
            [
              [1, 2],
              [0, 3],
            ],
            -1.5,
          ),
      },
      {
        name: 'empty',
        inputs: [normals(0, 2)],
        run: (x) =>
          t.pad(x, [
            [1, 1],
            [0, 0],
          ]),
      },
      {
        name: 'rank 4',
        inputs: [normals(2, 1, 3, 3)],
        run: (x) =>
          t.pad(x, [
            [0, 0],
            [0, 0],
            [1, 1],
            [1, 1],
          ]),
      },
    ],
  },
  concat: {
    family: 'exact',
    cases: [
      { name: 'rows', inputs: [normals(2, 5), normals(3, 5)], run: (a, b) => t.concat([a, b], 0) },
      {
        name: 'columns',
        inputs: [normals(4, 1), normals(4, 6), normals(4, 2)],
        run: (...p) => t.concat(p, -1),
      },
      { name: 'an empty part', inputs: [normals(2, 3), normals(0, 3)], run: (a, b) => t.concat([a, b], 0) },
      { name: 'one tensor twice', inputs: [normals(2, 3)], run: (a) => t.concat([a, a], 1) },
    ],
  },
  take: {
    family: 'exact',
    cases: [
      { name: 'rows', inputs: [normals(7, 5), ids(7, 4)], run: (x, i) => t.take(x, i) },
      { name: 'index of rank 2', inputs: [normals(7, 5), ids(7, 3, 2)], run: (x, i) => t.take(x, i) },
      { name: 'last axis', inputs: [normals(2, 3, 5), ids(5, 6)], run: (x, i) => t.take(x, i, { axis: -1 }) },
      { name: 'scalar index', inputs: [normals(7, 5), ids(7)], run: (x, i) => t.take(x, i) },
      { name: 'no ids', inputs: [normals(7, 5), ids(7, 0)], run: (x, i) => t.take(x, i) },
      { name: 'i32', inputs: [integers(7, 5), ids(7, 4)], run: (x, i) => t.take(x, i) },
    ],
  },
  takeAdd: {
    family: 'arithmetic',
    cases: [
      {
        name: 'repeated ids',
        inputs: [normals(4, 5), ids(4, 9), normals(9, 5)],
        run: (x, i, s) => t.takeAdd(x, i, s, 0),
      },
      {
        name: 'last axis',
        inputs: [normals(2, 4), ids(4, 3, 2), normals(2, 3, 2)],
        run: (x, i, s) => t.takeAdd(x, i, s, 1),
      },
      {
        name: 'no ids',
        inputs: [normals(4, 5), ids(4, 0), normals(0, 5)],
        run: (x, i, s) => t.takeAdd(x, i, s, 0),
      },
    ],
  },
  gather: {
    family: 'exact',
    cases: [
      { name: 'rows', inputs: [normals(4, 7), ids(7, 4, 3)], run: (x, i) => t.gather(x, i, { axis: 1 }) },
      {
        name: 'first axis',
        inputs: [normals(5, 3), ids(5, 8, 3)],
        run: (x, i) => t.gather(x, i, { axis: 0 }),
      },
      {
        name: 'smaller index',
        inputs: [normals(4, 7), ids(7, 2, 9)],
        run: (x, i) => t.gather(x, i, { axis: 1 }),
      },
    ],
  },
  scatterAdd: {
    family: 'arithmetic',
    cases: [
      {
        name: 'repeated ids',
        inputs: [normals(4, 3), ids(3, 4, 8), normals(4, 8)],
        run: (x, i, s) => t.scatterAdd(x, i, s, { axis: 1 }),
      },
      {
        name: 'larger source',
        inputs: [normals(5, 3), ids(5, 2, 3), normals(4, 3)],
        run: (x, i, s) => t.scatterAdd(x, i, s, { axis: 0 }),
      },
    ],
  },
  update: {
    family: 'exact',
    cases: [
      {
        name: 'a cache',
        inputs: [normals(2, 3, 8, 4), normals(2, 3, 2, 4), given('i32', [], [5])],
        run: (c, p, o) => t.update(c, p, o, { axis: 2 }),
      },
      {
        name: 'the whole',
        inputs: [normals(5, 3), normals(5, 3), given('i32', [], [0])],
        run: (c, p, o) => t.update(c, p, o, { axis: 0 }),
      },
    ],
  },
  dynamicSlice: {
    family: 'exact',
    cases: [
      {
        name: 'middle',
        inputs: [normals(3, 9), given('i32', [], [4])],
        run: (x, o) => t.dynamicSlice(x, o, { axis: 1, size: 3 }),
      },
      {
        name: 'one',
        inputs: [normals(9, 2), given('i32', [], [8])],
        run: (x, o) => t.dynamicSlice(x, o, { axis: 0, size: 1 }),
      },
    ],
  },

  iota: {
    family: 'exact',
    cases: [
      { name: 'i32', inputs: [], run: () => t.iota(9, { start: -3, step: 2, ...whole }) },
      { name: 'f32', inputs: [], run: () => t.iota(5, { start: 0.5, step: 0.25 }) },
      { name: 'nothing', inputs: [], run: () => t.iota(0) },
    ],
  },
  randomBits: {
    family: 'exact',
    cases: [
      {
        name: 'stream',
        inputs: [given('i32', [2], [0x13198a2e, 0x03707344])],
        run: (k) => t.randomBits(k, 17),
        layouts: false,
      },
      {
        name: 'counter carries',
        inputs: [given('i32', [2], [1, -1])],
        run: (k) => t.randomBits(k, 8, { counter: [-2, 5] }),
        layouts: false,
      },
    ],
  },
  randomUniform: {
    family: 'exact',
    cases: [
      {
        name: 'stream',
        inputs: [given('i32', [2], [7, 11])],
        run: (k) => t.randomUniform(k, [5, 7]),
        layouts: false,
      },
      {
        name: 'one',
        inputs: [given('i32', [2], [7, 11])],
        run: (k) => t.randomUniform(k, []),
        layouts: false,
      },
      {
        name: 'nothing',
        inputs: [given('i32', [2], [7, 11])],
        run: (k) => t.randomUniform(k, [0]),
        layouts: false,
      },
    ],
  },

  scan: {
    family: 'loop',
    cases: [
      {
        name: 'recurrence with a captured matrix',
        inputs: [normals(3), normals(6, 3), normals(3, 3)],
        run: (h, x, w) => {
          const { carry, ys } = t.scan(
            ([c], [v]) => {
              const next = t.tanh(t.add(t.matmul(c, w), v))
              return { carry: [next], ys: [t.mul(next, v)] }
            },
            { init: [h], xs: [x] },
          )
          return [...carry, ...ys]
        },
      },
      {
        name: 'reverse, two carries',
        inputs: [normals(2, 3), normals(3), normals(5, 2, 3)],
        run: (a, b, x) => {
          const { carry, ys } = t.scan(
            ([p, q], [v]) => ({ carry: [t.add(t.mul(p, 0.5), v), t.add(q, t.sum(p, { axes: 0 }))], ys: [p] }),
            { init: [a, b], xs: [x], reverse: true },
          )
          return [...carry, ...ys]
        },
      },
      {
        name: 'i32 counter',
        inputs: [normals(4, 2)],
        run: (x) => {
          const { carry, ys } = t.scan(
            ([n], [v]) => ({ carry: [t.add(n, 2)], ys: [t.mul(v, t.cast(n, 'f32'))] }),
            { init: [t.constant(1, 'i32')], xs: [x] },
          )
          return [...carry, ...ys]
        },
      },
      {
        name: 'no steps',
        inputs: [normals(3), normals(0, 3)],
        run: (h, x) => {
          const { carry, ys } = t.scan(([c], [v]) => ({ carry: [t.add(c, v)], ys: [c] }), {
            init: [h],
            xs: [x],
          })
          return [...carry, ...ys]
        },
      },
      {
        name: 'without xs',
        inputs: [normals(3)],
        run: (h) => t.scan(([c]) => ({ carry: [t.sin(c)], ys: [] }), { init: [h], xs: [], length: 4 }).carry,
      },
      {
        name: 'second order',
        inputs: [normals(2), normals(4, 2), normals(2, 2)],
        run: (h, x, w) => {
          const { carry, ys } = t.scan(
            ([c], [v]) => {
              const next = t.tanh(t.add(t.matmul(c, w), v))
              return { carry: [next], ys: [t.mul(next, next)] }
            },
            { init: [h], xs: [x] },
          )
          return t.grad(t.add(t.sum(carry[0]), t.sum(ys[0])), [h, x, w])
        },
      },
    ],
  },
}
