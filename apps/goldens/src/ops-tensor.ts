// Ops of @heed/tensor: one row each, named as in ops.json.
import * as t from '@heed/tensor'
import { type Args, attend, attentionOptions, type Inputs, NotSupported, type Row } from './ops-row.js'

type Tensor = t.Tensor

const y = (tensor: Tensor) => ({ outputs: { y: tensor } })
const out = (tensor: Tensor) => ({ outputs: { out: tensor } })
const loss = (tensor: Tensor) => ({ outputs: { loss: tensor } })
/** Every argument of the case goes into the options under its own name. */
const options = <T>(args: Args): T => args as T

const unary =
  (f: (x: Tensor) => Tensor): Row =>
  ({ x }) =>
    y(f(x))
const unaryWith =
  <O>(f: (x: Tensor, o: O) => Tensor): Row =>
  ({ x }, args) =>
    y(f(x, options<O>(args)))
const binary =
  (f: (x: Tensor, y: Tensor) => Tensor): Row =>
  (inputs) =>
    out(f(inputs.x, inputs.y))

/** [out, in] as PyTorch stores a weight → [in, out]. */
const matrix = (w: Tensor) => t.transpose(w)
const words = (hex: unknown): number[] => (hex as string[]).map((w) => Number.parseInt(w, 16) | 0)

/** Key and stream of a random row. */
function stream(args: Args): { key: Tensor; n: number; counter: [number, number] } {
  if (args.generator !== 'threefry2x32-20')
    throw new NotSupported(`the generator ${args.generator} is not built; Heed's is threefry2x32-20`)
  const [low, high] = words(args.counter)
  const key = t.tensor(Int32Array.from(words(args.key)), { shape: [2] })
  return { key, n: args.n as number, counter: [low, high] }
}

const casts: Row = ({ x }, args) => {
  const to = args.to as t.DType
  const cast = t.cast(x, to)
  // storage dtypes hold bits: the value is what comes back from them
  if (to === 'f16' || to === 'bf16') return { outputs: { y: t.cast(cast, 'f32'), bits: cast } }
  return y(cast)
}

const poolOptions = (args: Args) => options<t.PoolOptions>(args)

export const tensorRows: Readonly<Record<string, Row>> = {
  neg: unary(t.neg),
  abs: unary(t.abs),
  exp: unary(t.exp),
  expm1: unary(t.expm1),
  exp2: unary(t.exp2),
  log: unary(t.log),
  log1p: unary(t.log1p),
  log2: unary(t.log2),
  sqrt: unary(t.sqrt),
  rsqrt: unary(t.rsqrt),
  reciprocal: unary(t.reciprocal),
  square: unary(t.square),
  sin: unary(t.sin),
  cos: unary(t.cos),
  tan: unary(t.tan),
  tanh: unary(t.tanh),
  erf: unary(t.erf),
  sign: unary(t.sign),
  floor: unary(t.floor),
  ceil: unary(t.ceil),
  trunc: unary(t.trunc),
  round: unary(t.round),
  clamp: unaryWith(t.clamp),
  logicalNot: unary(t.logicalNot),

  add: binary(t.add),
  sub: binary(t.sub),
  mul: binary(t.mul),
  div: binary(t.div),
  pow: binary(t.pow),
  maximum: binary(t.maximum),
  minimum: binary(t.minimum),
  equal: binary(t.equal),
  notEqual: binary(t.notEqual),
  less: binary(t.less),
  lessEqual: binary(t.lessEqual),
  greater: binary(t.greater),
  greaterEqual: binary(t.greaterEqual),
  logicalAnd: binary(t.logicalAnd),
  logicalOr: binary(t.logicalOr),
  where: (i) => out(t.where(i.cond, i.x, i.y)),

  sum: unaryWith(t.sum),
  mean: unaryWith(t.mean),
  max: unaryWith(t.max),
  min: unaryWith(t.min),
  prod: unaryWith(t.prod),
  logSumExp: unaryWith(t.logSumExp),
  variance: unaryWith(t.variance),
  any: unaryWith(t.any),
  all: unaryWith(t.all),
  argMax: unaryWith(t.argMax),
  argMin: unaryWith(t.argMin),
  cumsum: unaryWith(t.cumsum),
  sort: ({ x }, args) => ({ outputs: { ...t.sort(x, options(args)) } }),
  topK: ({ x }, args) => ({ outputs: { ...t.topK(x, options(args)) } }),

  matmul: (i, args) => out(t.matmul(i.x, i.y, options(args))),
  reshape: ({ x }, args) => y(t.reshape(x, args.shape as number[])),
  transpose: ({ x }, args) => y(t.transpose(x, args.perm as number[])),
  broadcastTo: ({ x }, args) => y(t.broadcastTo(x, args.shape as number[])),
  slice: ({ x }, args) => y(t.slice(x, args.slices as t.SliceRange[])),
  flip: ({ x }, args) => y(t.flip(x, args.axes as number[])),
  pad: ({ x }, args) => y(t.pad(x, args.pads as [number, number][], args.value as number)),
  concat: (inputs, args) => y(t.concat(Object.values(inputs), args.axis as number)),
  stack: (inputs, args) => y(t.stack(Object.values(inputs), args.axis as number)),
  split: ({ x }, args) => {
    const parts = t.split(x, args.sizes as number[], args.axis as number)
    return { outputs: Object.fromEntries(parts.map((p, i) => [`y${i}`, p])) }
  },
  triu: ({ x }, args) => y(t.triu(x, args.k as number)),
  tril: ({ x }, args) => y(t.tril(x, args.k as number)),
  iota: (_, { n, ...args }) => y(t.iota(n as number, options(args))),
  eye: (_, args) => y(t.eye(args.n as number, args.m as number | undefined)),

  update: (i, args) => y(t.update(i.cache, i.patch, i.offset, options(args))),
  take: (i, args) => y(t.take(i.x, i.index, options(args))),
  gather: (i, args) => y(t.gather(i.x, i.index, options(args))),
  scatterAdd: (i, args) => y(t.scatterAdd(i.x, i.index, i.src, options(args))),
  embedding: (i) => y(t.embedding(i.table, i.ids)),
  oneHot: (i, args) => y(t.oneHot(i.ids, args.depth as number)),

  conv1d: (i, args) => y(t.conv1d(i.x, i.weight, i.bias, options(args))),
  conv2d: (i, args) => y(t.conv2d(i.x, i.weight, i.bias, options(args))),
  maxPool1d: ({ x }, args) => y(t.maxPool1d(x, options(args))),
  maxPool2d: ({ x }, args) => y(t.maxPool2d(x, poolOptions(args))),
  avgPool1d: ({ x }, args) => y(t.avgPool1d(x, options(args))),
  avgPool2d: ({ x }, args) => y(t.avgPool2d(x, poolOptions(args))),
  cast: casts,

  softmax: ({ x, mask }, args) => y(t.softmax(x, { ...args, mask })),
  logSoftmax: unaryWith(t.logSoftmax),
  layerNorm: (i, args) => y(t.layerNorm(i.x, i.weight, i.bias, options(args))),
  rmsNorm: (i, args) => y(t.rmsNorm(i.x, i.weight, options(args))),
  groupNorm: (i, args) => y(t.groupNorm(i.x, i.weight, i.bias, options(args))),
  batchNorm: ({ x, weight, bias, runningMean, runningVar }, args) =>
    y(t.batchNorm(x, weight, bias, { ...options<{ training: boolean }>(args), runningMean, runningVar })),
  l2Normalize: unaryWith(t.l2Normalize),
  cosineSimilarity: (i, args) => out(t.cosineSimilarity(i.x, i.y, options(args))),

  gelu: unaryWith(t.gelu),
  relu: unary(t.relu),
  reluSquared: unary(t.reluSquared),
  sigmoid: unary(t.sigmoid),
  silu: unary(t.silu),
  mish: unary(t.mish),
  hardSwish: unary(t.hardSwish),
  logSigmoid: unary(t.logSigmoid),
  softplus: unaryWith(t.softplus),
  elu: unaryWith(t.elu),
  leakyRelu: unaryWith(t.leakyRelu),
  glu: (i, args) => y(t.glu(i.gate, i.up, options(args))),
  linear: (i) => y(t.linear(i.x, matrix(i.weight), i.bias)),
  dropout: (i, args) => y(t.dropoutMask(i.x, i.mask, options(args))),

  crossEntropy: (i, args) => loss(t.crossEntropy(i.logits, i.target, { ...args, weight: i.weight })),
  bceWithLogits: ({ logits, target, weight, posWeight }, args) =>
    loss(t.bceWithLogits(logits, target, { ...args, weight, posWeight })),
  mse: (i, args) => loss(t.mse(i.x, i.target, args)),
  l1: (i, args) => loss(t.l1(i.x, i.target, args)),
  huber: (i, args) => loss(t.huber(i.x, i.target, args)),
  klDiv: (i, args) => loss(t.klDiv(i.logQ, i.p, args)),

  attention: (i, args) => attend(i.q, i.k, i.v, attentionOptions(i, args)),
  attentionSinkLogit: (i, args) => attend(i.q, i.k, i.v, attentionOptions(i, args)),
  attentionQkNorm: (i, args) =>
    attend(
      t.rmsNorm(i.q, i.qNorm, { eps: args.eps as number }),
      t.rmsNorm(i.k, i.kNorm, { eps: args.eps as number }),
      i.v,
      attentionOptions(i, args),
    ),

  randomBits: (_, args) => {
    const { key, n, counter } = stream(args)
    return { outputs: { bits: t.randomBits(key, n, { counter }) } }
  },
  randomUniform: (_, args) => {
    const { key, n, counter } = stream(args)
    return { outputs: { u: t.randomUniform(key, [n], { counter }) } }
  },
  randomUniform23: () => {
    throw new NotSupported('Heed draws uniforms of 24 bits, not of 23')
  },
  randomNormal: (_, args) => {
    const { key, n, counter } = stream(args)
    return { outputs: { z: t.randomNormal(key, [n], { counter }) } }
  },
}

/** Inputs of a row, for those that take any names. */
export type { Inputs }
