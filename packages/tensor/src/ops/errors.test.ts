import { describe, expect, it } from 'vitest'
import { tensor } from '../create.js'
import { DTypeError, HeedError, isHeedError, nearestNames, ShapeError, ValueError } from '../errors.js'
import { scope, type Tensor } from '../graph.js'
import { activation, gelu } from './activation.js'
import { type AttentionOptions, attention } from './attention.js'
import { conv1d, conv2d } from './conv.js'
import { add, cast, exp, less, mul, where } from './elementwise.js'
import { dynamicSlice, embedding, gather, scatterAdd, take, update } from './indexing.js'
import { crossEntropy, mse } from './loss.js'
import { linear, matmul } from './matmul.js'
import { batchNorm, layerNorm, logSoftmax, rmsNorm, softmax } from './normalize.js'
import { dropout, randomKey, randomUniform } from './random.js'
import { argMax, logSumExp, mean, sum, topK } from './reduce.js'
import { rope } from './rope.js'
import { scan } from './scan.js'
import {
  broadcastTo,
  concat,
  iota,
  ones,
  pad,
  reshape,
  slice,
  sliceAxis,
  split,
  squeeze,
  stack,
  transpose,
  zeros,
} from './shape.js'

const f = (...shape: number[]): Tensor => zeros(shape)
const i32 = (...shape: number[]): Tensor => zeros(shape, 'i32')

/** [what is done, class, message] */
const table: [string, () => unknown, typeof HeedError, string][] = [
  [
    'broadcast',
    () => add(f(2, 3), f(4, 3)),
    ShapeError,
    'add([2, 3], [4, 3]): [2, 3] and [4, 3] do not broadcast: axis -2 is 2 and 4',
  ],
  [
    'no promotion',
    () => mul(f(2), i32(2)),
    DTypeError,
    'mul([2], [2] i32): operands are f32 and i32; cast one of them, there is no promotion',
  ],
  [
    'a fraction beside whole numbers',
    () => less(i32(2), 2.5),
    DTypeError,
    "2.5 beside an i32 tensor: no whole number of 32 bits; cast(x, 'f32') first",
  ],
  [
    'storage',
    () => add(cast(f(2), 'f16'), cast(f(2), 'f16')),
    DTypeError,
    "add([2] f16, [2] f16): f16 is a storage dtype; cast(x, 'f32') first",
  ],
  [
    'bool arithmetic',
    () => add(less(f(2), 0), less(f(2), 0)),
    DTypeError,
    "add([2] bool, [2] bool): bool operands have no arithmetic; cast(x, 'f32') or use logicalAnd, logicalOr",
  ],
  ['unary', () => exp(i32(3)), DTypeError, "exp([3] i32): takes f32, got i32; cast(x, 'f32') first"],
  [
    'condition',
    () => where(f(2), 1, 2),
    DTypeError,
    'where([2], [], []): the condition is f32, expected bool; compare it first, as in less(0, c)',
  ],
  [
    'choices',
    () => where(less(f(2), 0), f(2), i32(2)),
    DTypeError,
    'where([2] bool, [2], [2] i32): the choices are f32 and i32; cast one of them',
  ],
  ['operand', () => add('1' as unknown as number, f(2)), DTypeError, 'expected a tensor, got string'],
  [
    'operand that is not there yet',
    () => matmul(f(2, 2), Promise.resolve(f(2, 2)) as never),
    DTypeError,
    'expected a tensor, got a promise; await it',
  ],
  [
    'operand of a second copy of the package',
    () =>
      matmul(f(2, 2), {
        [Symbol.for('heed.tensor')]: true,
        rank: 2,
        shape: [2, 2],
        dtype: 'f32',
        node: f(2).node,
      } as never),
    HeedError,
    'this tensor belongs to a second copy of @heed/tensor; find it with `npm ls @heed/tensor` and keep one version',
  ],
  ['an array that is no tensor', () => exp([1, 2] as never), DTypeError, 'expected a tensor, got object'],
  ...(
    [
      ['sum', { axis: 0 }, () => sum(f(2, 3), { axis: 0 } as never), 'axes, keepDims'],
      ['sum', 0, () => sum(f(2, 3), 0 as never), 'axes, keepDims'],
      ['mean', { dim: 0 }, () => mean(f(2, 3), { dim: 0 } as never), 'axes, keepDims'],
      ['logSumExp', null, () => logSumExp(f(2, 3), null as never), 'axes, keepDims'],
      ['softmax', { dim: 0 }, () => softmax(f(2, 3), { dim: 0 } as never), 'axis, mask'],
      ['logSoftmax', { dim: 0 }, () => logSoftmax(f(2, 3), { dim: 0 } as never), 'axis'],
      ['take', { dim: 1 }, () => take(f(2, 3), i32(1), { dim: 1 } as never), 'axis'],
      ['tensor', { shpe: 1 }, () => tensor([1, 2], { shpe: [2] } as never), 'shape, dtype'],
      [
        'crossEntropy',
        { ignore_index: 0 },
        () => crossEntropy(f(2, 3), i32(2), { ignore_index: 0 } as never),
        'reduction, ignoreIndex, labelSmoothing, weight',
      ],
    ] as const
  ).map(([op, given, act, known]): (typeof table)[number] => [
    `${op} with ${JSON.stringify(given)}`,
    act,
    ValueError,
    `${op}: option '${Object.keys(Object(given))[0] ?? given}' is unknown; use one of ${known}`,
  ]),
  [
    'dtype of another library',
    () => tensor([1, 2], { dtype: 'float32' as never }),
    DTypeError,
    "tensor: dtype 'float32' is unknown; use one of f32, i32, bool, f16, bf16, i8, u8, i64",
  ],
  ['axis', () => sum(f(2, 3), { axes: 2 }), ShapeError, 'axis 2 does not exist in a tensor of rank 2'],
  ['axis twice', () => sum(f(2, 3), { axes: [0, -2] }), ShapeError, 'axes [0, 0] name an axis twice'],
  ['mean', () => mean(i32(3)), DTypeError, "mean: takes f32, got i32; cast(x, 'f32') first"],
  [
    'bool reduction',
    () => argMax(less(f(2), 0), { axis: 0 }),
    DTypeError,
    'argMax([2] bool): takes f32 or i32, got bool; cast it, or use any and all',
  ],
  [
    'topK',
    () => topK(f(2, 3), { k: 4, axis: 1 }),
    ShapeError,
    'topK: k = 4 of an axis of 3 elements; choose 0 ≤ k ≤ 3',
  ],
  [
    'matmul',
    () => matmul(f(2, 3), f(4, 5)),
    ShapeError,
    'matmul([2, 3], [4, 5]): inner sizes differ: 3 columns against 4 rows',
  ],
  [
    'matmul scalar',
    () => matmul(f(), f(2, 2)),
    ShapeError,
    'matmul: operands [] and [2, 2]: a scalar is no matrix; use mul',
  ],
  [
    'matmul dtype',
    () => matmul(i32(2, 2), f(2, 2)),
    DTypeError,
    'matmul([2, 2] i32, [2, 2]): operands are i32 and f32, expected f32',
  ],
  [
    'linear',
    () => linear(f(2, 3), f(4, 5)),
    ShapeError,
    'linear([2, 3], [4, 5]): the last axis of x is 3, the weight takes 4',
  ],
  [
    'linear bias',
    () => linear(f(2, 3), f(3, 5), f(4)),
    ShapeError,
    'linear([2, 3], [3, 5], [4]): the bias is [4], expected [5]',
  ],
  [
    'reshape',
    () => reshape(f(2, 3), [4, -1]),
    ShapeError,
    'reshape: [2, 3] has 6 elements and cannot become [4, -1]',
  ],
  [
    'reshape',
    () => reshape(f(2, 3), [7]),
    ShapeError,
    'reshape: [2, 3] has 6 elements and cannot become [7]',
  ],
  [
    'transpose',
    () => transpose(f(2, 3), [0, 0]),
    ShapeError,
    'transpose([2, 3]): perm [0, 0] is no permutation of the 2 axes',
  ],
  ['broadcastTo', () => broadcastTo(f(2, 3), [2, 4]), ShapeError, 'do not broadcast'],
  [
    'broadcastTo',
    () => broadcastTo(f(2, 3), [3]),
    ShapeError,
    'broadcastTo([2, 3]): does not broadcast to [3]',
  ],
  ['slice', () => slice(f(2), [null, null]), ShapeError, 'slice: 2 ranges for a tensor [2]'],
  ['slice step', () => slice(f(2), [[0, 1, 0]]), ShapeError, 'slice: a step of 0 never ends'],
  [
    'sliceAxis',
    () => sliceAxis(f(2, 5), 1, 3, 6),
    ShapeError,
    'slice: range 3..6 does not lie in axis 1 of [2, 5]',
  ],
  ['split', () => split(f(2, 5), [2, 2], 1), ShapeError, 'split: sizes [2, 2] add up to 4, axis 1 has 5'],
  [
    'concat',
    () => concat([f(2, 3), f(2, 4)], 0),
    ShapeError,
    'concat([2, 3], [2, 4]): parts [2, 3] and [2, 4] differ outside axis 0',
  ],
  [
    'concat dtype',
    () => concat([f(2), i32(2)]),
    DTypeError,
    'concat([2], [2] i32): parts are f32 and i32; cast one of them',
  ],
  ['concat nothing', () => concat([]), ShapeError, 'concat: no parts'],
  ['stack nothing', () => stack([]), ShapeError, 'stack: no parts'],
  ['pad', () => pad(f(2, 3), [[1, 1]]), ShapeError, 'pad: 1 pairs for a tensor [2, 3]; give one per axis'],
  ['pad', () => pad(f(2), [[-1, 0]]), ShapeError, 'pad: negative padding; use slice'],
  ['squeeze', () => squeeze(f(2, 1), 0), ShapeError, 'squeeze: an axis of [0] in [2, 1] is not 1'],
  ['iota', () => iota(-1), ShapeError, 'iota: n = -1 is no count'],
  [
    'take',
    () => take(f(3), f(2)),
    DTypeError,
    "take([3], [2]): index is f32, expected i32; pass tensor(ids, { dtype: 'i32' })",
  ],
  [
    'embedding',
    () => embedding(f(3), i32(2)),
    ShapeError,
    'embedding: the table is [3], expected [vocabulary, dModel]',
  ],
  [
    'gather',
    () => gather(f(2, 3), i32(3, 3), { axis: 1 }),
    ShapeError,
    'gather([2, 3], [3, 3] i32): index [3, 3] does not fit [2, 3] outside axis 1',
  ],
  [
    'scatterAdd',
    () => scatterAdd(f(2, 3), i32(2, 4), f(2, 3), { axis: 1 }),
    ShapeError,
    'scatterAdd([2, 3], [2, 4] i32, [2, 3]): source [2, 3] is smaller than index [2, 4]',
  ],
  [
    'update batch',
    () => update(f(2, 4, 3), f(1, 1, 3), 0, { axis: 1 }),
    ShapeError,
    'update([2, 4, 3], [1, 1, 3], [] i32): patch [1, 1, 3] does not fit the cache [2, 4, 3] along axis 1: the batch differs; make the cache for this batch',
  ],
  [
    'dynamicSlice',
    () => dynamicSlice(f(4), 0, { axis: 0, size: 5 }),
    ShapeError,
    'dynamicSlice([4], [] i32): 5 elements of an axis of 4',
  ],
  [
    'layerNorm',
    () => layerNorm(f(2, 3), f(2)),
    ShapeError,
    'layerNorm([2, 3], [2]): weight or bias is [2], expected [3]',
  ],
  [
    'rmsNorm',
    () => rmsNorm(f(2, 3), f(2)),
    ShapeError,
    'rmsNorm([2, 3], [2]): the weight is [2], expected [3]',
  ],
  [
    'batchNorm',
    () => batchNorm(f(2, 3), null, null, { training: false }),
    ValueError,
    'batchNorm: outside training it needs runningMean and runningVar',
  ],
  [
    'crossEntropy',
    () => crossEntropy(f(2, 3), i32(3)),
    ShapeError,
    'crossEntropy: targets [3] against logits [2, 3]; expected [2]',
  ],
  [
    'crossEntropy target',
    () => crossEntropy(f(2, 3), less(f(2), 0)),
    DTypeError,
    'the target is bool, expected i32 ids',
  ],
  [
    'reduction',
    () => mse(f(2), f(2), { reduction: 'average' as 'mean' }),
    ValueError,
    "reduction 'average' is unknown; use 'mean', 'sum' or 'none'",
  ],
  [
    'gelu',
    () => gelu(f(2), { approximate: 'erf' as 'none' }),
    ValueError,
    "gelu: approximate 'erf' is unknown; use 'none', 'tanh' or 'quick'",
  ],
  [
    'activation',
    () => activation('swish' as 'silu'),
    ValueError,
    "activation 'swish' is unknown; use one of relu, gelu, geluTanh, quickGelu, silu, sigmoid, tanh, reluSquared, mish, hardSwish, identity",
  ],
  [
    'conv2d',
    () => conv2d(f(1, 3, 4, 4), f(2, 2, 3, 3)),
    ShapeError,
    'conv2d([1, 3, 4, 4], [2, 2, 3, 3]): 3 channels in 1 groups do not fit the weight [2, 2, 3, 3]',
  ],
  [
    'conv2d window',
    () => conv2d(f(1, 1, 2, 2), f(1, 1, 3, 3)),
    ShapeError,
    'a window of 3 does not fit an axis of 2 (padding included)',
  ],
  [
    'conv1d',
    () => conv1d(f(3, 4), f(2, 3, 3)),
    ShapeError,
    'conv1d([3, 4], [2, 3, 3]): x is [batch, channels, length], weight [channelsOut, channelsIn/groups, kernel]',
  ],
  [
    'rope',
    () => rope(f(1, 1, 2, 5), f(2, 2), f(2, 2)),
    ShapeError,
    'rotaryDim 5 of dHead 5: it must be even and no larger',
  ],
  [
    'rope tables',
    () => rope(f(1, 1, 2, 4), f(2, 3), f(2, 3)),
    ShapeError,
    'cos and sin are [2, 3], expected [.., position, 2]',
  ],
  [
    'random key',
    () => randomUniform(f(2), [3]),
    DTypeError,
    'randomUniform([2]): the key is f32 [2], expected i32 [2]; make it with randomKey(seed)',
  ],
  [
    'random seed',
    () => randomKey(-1),
    ValueError,
    'randomKey: the seed is -1, expected a non-negative integer',
  ],
  ['dropout', () => dropout(f(2), 1.5, null), ValueError, 'dropout: p = 1.5, expected 0 ≤ p ≤ 1'],
  [
    'scan carry',
    () => scan(() => ({ carry: [f(3)], ys: [] }), { init: [f(2)], xs: [f(4, 1)] }),
    ShapeError,
    'scan: carry 0 begins as [2] f32 and comes back as [3] f32',
  ],
  [
    'scan count',
    () => scan(() => ({ carry: [], ys: [] }), { init: [f(2)], xs: [f(4, 1)] }),
    ValueError,
    'scan: the step returned 0 carries, expected 1',
  ],
  [
    'scan length',
    () => scan((c) => ({ carry: c, ys: [] }), { init: [f(2)], xs: [] }),
    ValueError,
    'scan: give xs or length',
  ],
  [
    'scan lengths',
    () => scan((c) => ({ carry: c, ys: [] }), { init: [f(2)], xs: [f(3, 1), f(4, 1)] }),
    ShapeError,
    'scan: xs [4, 1] does not have 3 steps along axis 0',
  ],
  [
    'tensor ragged',
    () => tensor([[1, 2], [3]]),
    ShapeError,
    'tensor: the nested array is ragged: 1 entries beside 2',
  ],
  ['tensor size', () => tensor([1, 2, 3], [2, 2]), ShapeError, 'tensor: 3 values for shape [2, 2]'],
  ['tensor half', () => tensor([1, 2], [0.5, 4]), ShapeError, 'tensor: 2 values for shape [0.5, 4]'],
  ['tensor below 0', () => tensor(new Float32Array(2), [-1, -2]), ShapeError, 'for shape [-1, -2]'],
  ['zeros below 0', () => zeros([-2]), ShapeError, 'broadcastTo([]): does not broadcast to [-2]'],
  [
    'tensor value',
    () => tensor(['1'] as unknown as number[]),
    DTypeError,
    'tensor: a value is string, expected a number or a boolean',
  ],
]

describe('errors', () => {
  it.each(table)('%s', (_, act, kind, message) => {
    let caught: unknown
    try {
      act()
    } catch (error) {
      caught = error
    }
    expect(caught).toBeInstanceOf(kind)
    expect((caught as Error).message).toContain(message)
    expect((caught as Error).message).not.toContain('\n')
    expect((caught as Error).name).toBe(kind.name)
    expect(isHeedError(caught)).toBe(true)
  })
  it('name the scope, and the stack the line that built', () => {
    const build = () => scope('blocks', () => scope('3', () => scope('mlp', () => matmul(f(2, 3), f(2, 3)))))
    expect(build).toThrow('blocks.3.mlp: matmul([2, 3], [2, 3]): inner sizes differ')
    let stack = ''
    try {
      build()
    } catch (error) {
      stack = (error as Error).stack ?? ''
    }
    expect(stack).toContain('errors.test.ts')
    // the scope is left behind, whatever was thrown
    expect(() => matmul(f(2, 3), f(2, 3))).toThrow(/^matmul/)
  })
})

describe('attention', () => {
  const q = f(2, 4, 5, 8)
  const refuse = (message: string, options: AttentionOptions, k = q, v = k): void =>
    expect(() => attention(q, k, v, options)).toThrow(message)
  it('names what does not fit', () => {
    refuse("attention: option 'dropout' is unknown; use one of scale, causal, offset", {
      dropout: 0.1,
    } as AttentionOptions)
    refuse('q has dHead 8, k has 7', {}, f(2, 4, 5, 7))
    refuse('k has 5 positions, v has 6', {}, q, f(2, 4, 6, 8))
    refuse('4 query heads are no multiple of 3 key and 3 value heads', {}, f(2, 3, 5, 8))
    refuse('q, k and v have batches 2, 3 and 3', {}, f(3, 4, 5, 8))
    refuse('the mask is f32, expected bool (true = may attend)', { mask: ones([5, 5]) })
    refuse('the mask [2, 1, 5, 6] does not broadcast', { mask: zeros([2, 1, 5, 6], 'bool') })
    refuse('sink is [3], expected [4]', { sink: f(3) })
    refuse('offset is f32 [], expected an i32 scalar', { offset: f() })
    expect(() => attention(f(5, 8), f(5, 8), f(5, 8))).toThrow(
      'q is [5, 8], expected [batch, head, position, dHead]',
    )
  })
})

describe('nearestNames', () => {
  it('finds a typo', () => {
    expect(nearestNames('patern', ['scores', 'pattern', 'z', 'q'], 1)).toEqual(['pattern'])
  })
})
