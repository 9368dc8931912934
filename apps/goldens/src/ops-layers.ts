// Ops that are layers and training steps: rows over @heed/nn, @heed/attention and @heed/train. PyTorch stores weights
// as [out, in] and joins q, k and v; Heed's are [in, out] and apart: the rows translate, so gradients flow back through.
import * as a from '@heed/attention'
import * as nn from '@heed/nn'
import {
  add,
  type Context,
  concat,
  constant,
  type HasParts,
  logicalAnd,
  reshape,
  setParameters,
  sliceAxis,
  split,
  stack,
  type Tensor,
  tensor,
  traceLazy,
  transpose,
} from '@heed/tensor'
import * as train from '@heed/train'
import { type Args, attend, attentionOptions, type Inputs, NotSupported, type Row } from './ops-row.js'

/** [out, in] → [in, out]. */
const matrix = (w: Tensor) => transpose(w)
type Weights = Record<string, Tensor>

/** Gives a module the weights of a case under Heed's names. */
function filled<M extends HasParts>(module: M, weights: Weights): M {
  setParameters(module, weights)
  return module
}
/** Entries whose tensor is there, under another prefix. */
function renamed(inputs: Inputs, names: Readonly<Record<string, string>>, turn = true): Weights {
  const found: Weights = {}
  for (const [from, to] of Object.entries(names)) {
    const w = inputs[from]
    if (w) found[to] = turn && w.rank === 2 ? matrix(w) : w
  }
  return found
}

/** q, k, v and output projection of nn.MultiheadAttention under `from`, as parameters of a layer under `to`. */
function projections(inputs: Inputs, from: string, to: string, dModel: number): Weights {
  const weights: Weights = renamed(inputs, {
    [`${from}q_proj_weight`]: `${to}w_q`,
    [`${from}k_proj_weight`]: `${to}w_k`,
    [`${from}v_proj_weight`]: `${to}w_v`,
    [`${from}out_proj.weight`]: `${to}w_o`,
    [`${from}out_proj.bias`]: `${to}b_o`,
  })
  const thirds = (t: Tensor) => split(t, [dModel, dModel, dModel], 0)
  const joined = inputs[`${from}in_proj_weight`]
  const biases = inputs[`${from}in_proj_bias`]
  ;['q', 'k', 'v'].forEach((part, i) => {
    if (joined) weights[`${to}w_${part}`] = matrix(thirds(joined)[i])
    if (biases) weights[`${to}b_${part}`] = thirds(biases)[i]
  })
  for (const part of ['k', 'v']) {
    const extra = inputs[`${from}bias_${part}`] // [1, 1, dModel]
    if (extra) weights[`${to}${part}_extra`] = reshape(extra, [dModel])
  }
  return weights
}

/** keep [batch, key] and mask [query, key] as one bool tensor. */
function maskOf(keep: Tensor | undefined, mask: Tensor | undefined): Tensor | null {
  const padding = keep && a.padding(keep)
  return padding && mask ? logicalAnd(padding, mask) : (padding ?? mask ?? null)
}

interface LayerArgs {
  dModel: number
  nHead: number
  dMlp: number
  activation: 'relu' | 'gelu'
  normFirst: boolean
  eps?: number
  bias?: boolean
}
function block(o: LayerArgs, decoder: boolean): a.Block {
  const { dModel, nHead, dMlp, activation, eps, bias = true } = o
  const make = o.normFirst ? a.preNormBlock : a.postNormBlock
  return make({
    norm: () => nn.layerNorm({ dModel, eps, bias }),
    attn: a.attention({ dModel, nHead, bias }),
    ...(decoder ? { crossAttn: a.crossAttention({ dModel, nHead, bias }) } : {}),
    mlp: nn.mlp({ dModel, dMlp, activation, bias }),
  })
}
/** Weights of an encoder or decoder layer of PyTorch under `from`, for a block under `to`. */
function blockWeights(inputs: Inputs, from: string, to: string, dModel: number, decoder: boolean): Weights {
  const norms = decoder ? { norm1: 'ln1', norm2: 'ln_cross', norm3: 'ln2' } : { norm1: 'ln1', norm2: 'ln2' }
  const names: Record<string, string> = {
    [`${from}linear1.weight`]: `${to}mlp.w_in`,
    [`${from}linear1.bias`]: `${to}mlp.b_in`,
    [`${from}linear2.weight`]: `${to}mlp.w_out`,
    [`${from}linear2.bias`]: `${to}mlp.b_out`,
  }
  for (const [norm, ln] of Object.entries(norms)) {
    names[`${from}${norm}.weight`] = `${to}${ln}.w`
    names[`${from}${norm}.bias`] = `${to}${ln}.b`
  }
  return {
    ...projections(inputs, `${from}self_attn.`, `${to}attn.`, dModel),
    ...(decoder ? projections(inputs, `${from}multihead_attn.`, `${to}cross_attn.`, dModel) : {}),
    ...renamed(inputs, names),
  }
}

const multiHeadAttention: Row = (i, args) => {
  const o = args as {
    dModel: number
    nHead: number
    bias?: boolean
    kDim?: number
    vDim?: number
    addBiasKv?: boolean
  }
  const layer = filled(
    a.multiHeadAttention({
      dModel: o.dModel,
      nHead: o.nHead,
      bias: o.bias,
      dKey: o.kDim,
      dValue: o.vDim,
      extraKey: o.addBiasKv,
    }),
    projections(i, '', '', o.dModel),
  )
  const run = traceLazy(() => layer(i.query, i.key, i.value, { mask: maskOf(i.keep, i.mask) }), null)
  return { outputs: { out: run.output, pattern: run.get('pattern') } }
}
const encoderLayer: Row = (i, args) => {
  const o = args as unknown as LayerArgs
  const layer = filled(block(o, false), blockWeights(i, '', '', o.dModel, false))
  return { outputs: { y: layer(i.x, { mask: maskOf(i.keep, i.mask) }) } }
}
const decoderLayer: Row = (i, args) => {
  const o = args as unknown as LayerArgs
  const layer = filled(block(o, true), blockWeights(i, '', '', o.dModel, true))
  const ctx: Context = {
    mask: maskOf(i.keep, i.mask),
    memory: i.memory,
    memoryMask: maskOf(i.memoryKeep, undefined),
  }
  return { outputs: { y: layer(i.x, ctx) } }
}
const transformer: Row = (i, args) => {
  const o = args as unknown as LayerArgs & { encoderLayers: number; decoderLayers: number }
  const side = (n: number, decoder: boolean) =>
    a.stack({
      blocks: Array.from({ length: n }, () => block(o, decoder)),
      norm: nn.layerNorm({ dModel: o.dModel, eps: o.eps, bias: o.bias }),
    })
  const weights: Weights = {}
  for (const [name, n] of [
    ['encoder', o.encoderLayers],
    ['decoder', o.decoderLayers],
  ] as const) {
    for (let l = 0; l < n; l++)
      Object.assign(
        weights,
        blockWeights(i, `${name}.layers.${l}.`, `${name}.blocks.${l}.`, o.dModel, name === 'decoder'),
      )
    Object.assign(
      weights,
      renamed(i, {
        [`${name}.norm.weight`]: `${name}.ln_final.w`,
        [`${name}.norm.bias`]: `${name}.ln_final.b`,
      }),
    )
  }
  const model = filled(
    a.encoderDecoder({ encoder: side(o.encoderLayers, false), decoder: side(o.decoderLayers, true) }),
    weights,
  )
  const ctx: Context = { mask: maskOf(undefined, i.tgtMask), memoryMask: maskOf(i.srcKeep, undefined) }
  return { outputs: { y: model(i.src, i.tgt, ctx) } }
}

/** weight_ih_l0_reverse → layers.0.backward.w_ih. */
function recurrentWeights(inputs: Inputs): Weights {
  const weights: Weights = {}
  for (const [name, t] of Object.entries(inputs)) {
    const match = /^(weight|bias)_(ih|hh)_l(\d+)(_reverse)?$/.exec(name)
    if (!match) continue
    const [, kind, side, layer, reverse] = match
    const path = `layers.${layer}.${reverse ? 'backward' : 'forward'}`
    weights[`${path}.${kind === 'weight' ? 'w' : 'b'}_${side}`] = kind === 'weight' ? matrix(t) : t
  }
  return weights
}
const given = (inputs: Inputs, names: readonly string[]) =>
  Object.fromEntries(names.filter((n) => inputs[n]).map((n) => [n, inputs[n]]))
const rnn: Row = (i, args) => {
  const layer = filled(nn.rnn(args as unknown as Parameters<typeof nn.rnn>[0]), recurrentWeights(i))
  return { outputs: { ...layer(i.x, given(i, ['h0', 'lengths'])) } }
}
const gru: Row = (i, args) => {
  const layer = filled(nn.gru(args as unknown as nn.RecurrentOptions), recurrentWeights(i))
  return { outputs: { ...layer(i.x, given(i, ['h0', 'lengths'])) } }
}
const lstm: Row = (i, args) => {
  const layer = filled(nn.lstm(args as unknown as nn.RecurrentOptions), recurrentWeights(i))
  return { outputs: { ...layer(i.x, given(i, ['h0', 'c0', 'lengths'])) } }
}
const gruWeights = (i: Inputs): nn.CellWeights => ({
  w_ih: matrix(i.wi),
  w_hh: matrix(i.wh),
  b_ih: i.bi,
  b_hh: i.bh,
})
const bahdanauWeights = (i: Inputs): a.BahdanauWeights => ({ w_q: matrix(i.wQ), w_k: matrix(i.wK), v: i.v })

/** Fields that a kind of scaling reads; a case may carry others. */
const scalingFields: Readonly<Record<string, readonly string[]>> = {
  default: [],
  linear: ['factor'],
  ntk: ['factor'],
  dynamic: ['factor', 'maxPositions', 'seqLen'],
  llama3: ['factor', 'originalMaxPositions', 'lowFreqFactor', 'highFreqFactor'],
  yarn: [
    'factor',
    'originalMaxPositions',
    'betaFast',
    'betaSlow',
    'truncate',
    'mscale',
    'mscaleAllDim',
    'attentionFactor',
  ],
  longrope: ['factor', 'originalMaxPositions', 'shortFactor', 'longFactor', 'seqLen'],
}
function scalingOf(args: Args): a.RopeScaling | undefined {
  const s = args.scaling as { type: string } & Record<string, unknown>
  if (!s) return undefined
  const fields = scalingFields[s.type]
  if (!fields) throw new NotSupported(`rope scaling '${s.type}' is not built`)
  const kept = Object.fromEntries(fields.filter((f) => s[f] !== undefined).map((f) => [f, s[f]]))
  // here a missing length means the short factors, whatever the positions
  if (s.type === 'longrope') kept.seqLen ??= 0
  return { type: s.type, ...kept } as a.RopeScaling
}
const ropeOptions = (args: Args): a.RopeOptions => ({
  base: args.base as number,
  layout: args.layout as 'half' | 'interleaved',
  ...(args.rotaryDim === undefined ? {} : { rotaryDim: args.rotaryDim as number }),
  ...(args.scaling === undefined ? {} : { scaling: scalingOf(args) }),
})
type Rotate = NonNullable<a.Position['rotate']>

const rope: Row = ({ x, positions }, args) => {
  const o = ropeOptions(args)
  const n = x.shape[2]
  const rotate = a.rope(o).rotate as Rotate
  const angles = a.ropeAngles(positions, o.rotaryDim ?? x.shape[3], o)
  return { outputs: { y: rotate(x, { offset: undefined, positions, queries: n, keys: n }), ...angles } }
}
const attentionRope: Row = (i, args) => {
  const rotate = a.rope(ropeOptions(args)).rotate as Rotate
  const keys = i.k.shape[2]
  const rot_q = rotate(i.q, { offset: args.offset as number, positions: null, queries: i.q.shape[2], keys })
  const rot_k = rotate(i.k, { offset: undefined, positions: null, queries: keys, keys })
  return attend(rot_q, rot_k, i.v, attentionOptions(i, args), { rot_q, rot_k })
}
const placeOf = (i: Inputs, args: Args): a.Place => ({
  offset: args.offset as number,
  positions: null,
  queries: i.q.shape[2],
  keys: i.k.shape[2],
})
const biased = (i: Inputs, args: Args, bias: Tensor) =>
  attend(i.q, i.k, i.v, attentionOptions({ ...i, bias }, args), { bias })

const attentionChunks: Row = ({ q, k, v }, args) => {
  const { sizes, scale, offset, softcap, ...rest } = args as {
    sizes: number[]
    scale?: number
    offset?: number
    softcap?: number
  }
  if (softcap) throw new NotSupported('attentionChunks has no softcap')
  const { chunks, ...merged } = a.attentionChunks(q, k, v, {
    sizes,
    offset,
    mask: rest as a.Mask,
    ...(scale === undefined ? {} : { scale }),
  })
  const each = chunks.flatMap((c, i) => (['m', 'l', 'o'] as const).map((part) => [`${part}${i}`, c[part]]))
  return { outputs: { ...merged, ...Object.fromEntries(each) } }
}

interface OptimizerArgs {
  lr: number
  noDecay?: string[]
  schedule?: { kind: string } & Record<string, unknown>
  clipNorm?: number
  weightDecay?: number
}
const stateNames: Readonly<Record<string, string>> = {
  momentum: 'momentum_buffer',
  m: 'exp_avg',
  v: 'exp_avg_sq',
  vMax: 'max_exp_avg_sq',
}
/** All steps as one graph: gradients are given, nothing is differentiated. */
function optimizer(make: (o: Record<string, unknown> & { lr: train.Schedule }) => train.Optimizer): Row {
  return (inputs, args) => {
    const { lr, noDecay = [], schedule, clipNorm, ...own } = args as unknown as OptimizerArgs
    const rate: train.Schedule = schedule
      ? train.scheduleNamed(schedule.kind, { warmup: 0, ...schedule, lr })
      : () => lr
    const rule = make({ ...own, lr: rate, decay: (path: string) => !noDecay.includes(path) })
    const names = Object.keys(inputs).filter((n) => /^p\d+$/.test(n))
    const params = Object.fromEntries(names.map((n) => [n, inputs[n]]))
    const slots = Object.fromEntries(names.map((n) => [n, train.initialSlots(rule, inputs[n])]))
    const path: Record<string, Tensor[]> = Object.fromEntries(names.map((n) => [n, []]))
    const steps = inputs.g0.shape[0]
    for (let t = 0; t < steps; t++) {
      let grads = Object.fromEntries(
        names.map((n) => {
          const g = inputs[n.replace('p', 'g')]
          return [n, reshape(sliceAxis(g, 0, t, t + 1), g.shape.slice(1))]
        }),
      )
      if (clipNorm !== undefined) grads = train.clipGradNorm(grads, clipNorm).grads
      const scalars = Object.fromEntries(Object.entries(rule.scalars(t)).map(([k, v]) => [k, constant(v)]))
      for (const n of names) {
        const next = rule.update(params[n], grads[n], slots[n], scalars, rule.decays(n, params[n]))
        params[n] = next.param
        slots[n] = next.slots
        path[n].push(next.param)
      }
    }
    const outputs: Record<string, Tensor> = {}
    for (const n of names) {
      outputs[`traj.${n}`] = stack(path[n])
      for (const [slot, value] of Object.entries(slots[n])) outputs[`state.${n}.${stateNames[slot]}`] = value
    }
    return { outputs }
  }
}
const notBuilt =
  (what: string): Row =>
  () => {
    throw new NotSupported(`the optimiser ${what} is not built`)
  }
const decayed = (o: Record<string, unknown>) => o as unknown as train.AdamOptions

export const layerRows: Readonly<Record<string, Row>> = {
  mlp: (i, args) => {
    const [dMlp, dModel] = i.wIn.shape
    const activation = args.approximate === 'tanh' ? 'geluTanh' : 'gelu'
    const layer = filled(
      nn.mlp({ dModel, dMlp, activation }),
      renamed(i, { wIn: 'w_in', bIn: 'b_in', wOut: 'w_out', bOut: 'b_out' }),
    )
    return { outputs: { y: layer(i.x) } }
  },
  swigluMlp: (i) => {
    const [dMlp, dModel] = i.wGate.shape
    const layer = filled(
      nn.gatedMlp({ dModel, dMlp }),
      renamed(i, { wGate: 'w_gate', wUp: 'w_in', wDown: 'w_out' }),
    )
    return { outputs: { y: layer(i.x) } }
  },

  alibiSlopes: (_, args) => ({ outputs: { slopes: tensor(a.alibiSlopes(args.nHead as number)) } }),
  attentionAlibi: (i, args) => biased(i, args, a.alibiBias(i.q.shape[1], placeOf(i, args))),
  t5Buckets: (_, args) => ({
    outputs: { buckets: tensor(a.t5Buckets(args as unknown as Parameters<typeof a.t5Buckets>[0])) },
  }),
  attentionT5: (i, args) =>
    biased(i, args, a.t5BiasOf(i.table, placeOf(i, args), args as unknown as a.T5Buckets)),
  linearAttention: (i, args) => ({ outputs: { z: a.linearAttention(i.q, i.k, i.v, args) } }),
  attentionChunks,
  ropeFrequencies: (_, args) => {
    const { invFreq, attentionFactor } = a.ropeFrequencies({
      dim: args.dim as number,
      base: args.base as number,
      scaling: scalingOf(args),
    })
    return { outputs: { invFreq: tensor(invFreq), attentionFactor: constant(attentionFactor) } }
  },
  rope,
  attentionRope,
  sinusoidalPositions: (_, { n, dim, ...rest }) => ({
    outputs: {
      table: a.sinusoidalTable({ nCtx: n as number, dModel: dim as number, ...(rest as { base?: number }) }),
    },
  }),
  learnedPositions: ({ x, table }, args) => ({
    outputs: { y: add(x, a.positionRows(table, x, { offset: args.offset as number })) },
  }),
  multiHeadAttention,
  transformerEncoderLayer: encoderLayer,
  transformerDecoderLayer: decoderLayer,
  transformer,

  rnn,
  gru,
  lstm,
  bahdanauAttention: (i) => ({
    outputs: { ...a.bahdanauAttention(i.query, i.keys, bahdanauWeights(i), { mask: i.mask }) },
  }),
  luongAttention: (i, args) => ({
    outputs: {
      ...a.luongAttention(i.query, i.keys, {
        score: args.score as a.LuongOptions['score'],
        w: i.w && matrix(i.w),
        v: i.v,
        mask: i.mask,
      }),
    },
  }),
  bahdanauStep: (i) => {
    const weights = { ...bahdanauWeights(i), cell: gruWeights(i) }
    const { state, ...seen } = a.bahdanauStep(i.x, i.state, i.keys, weights, { mask: i.mask })
    return { outputs: { ...seen, state1: state } }
  },
  luongStep: (i) => {
    const weights = { w: matrix(i.w), w_out: matrix(i.wOut), cell: gruWeights(i) }
    const { state, ...seen } = a.luongStep(i.x, i.state, i.keys, weights, { mask: i.mask })
    return { outputs: { ...seen, state1: state } }
  },

  lrSchedule: (_, args) => {
    const { kind, n, ...rest } = args as { kind: string; n: number }
    const rate = train.scheduleNamed(kind, rest)
    return { outputs: { lr: tensor(Float64Array.from({ length: n }, (_, t) => rate(t))) } }
  },
  sgd: optimizer((o) => train.sgd(o)),
  adam: optimizer((o) => train.adam(decayed(o))),
  adamW: optimizer((o) => train.adamW(decayed(o))),
  rmsprop: notBuilt('rmsprop'),
  adagrad: notBuilt('adagrad'),
  lion: notBuilt('lion'),
  adafactor: notBuilt('adafactor'),
  clipGradNorm: (grads, args) => {
    const normType = args.normType === 'inf' ? Number.POSITIVE_INFINITY : (args.normType as number)
    const clipped = train.clipGradNorm(grads, args.maxNorm as number, { normType })
    return { outputs: { norm: clipped.norm, ...clippedNames(clipped.grads) } }
  },
  clipGradValue: (grads, args) => ({
    outputs: clippedNames(train.clipGradValue(grads, args.value as number)),
  }),
  ema: ({ p }, args) => {
    const at = (t: number) => reshape(sliceAxis(p, 0, t, t + 1), p.shape.slice(1))
    const path = [at(0)]
    for (let t = 1; t < p.shape[0]; t++) {
      const d = train.emaDecay(args.decay as number, t, { warmup: args.warmup as boolean })
      path.push(train.ema({ p: path[t - 1] }, { p: at(t) }, d).p)
    }
    return { outputs: { traj: concat(path.map((e) => reshape(e, [1, ...e.shape]))) } }
  },
}
const clippedNames = (grads: Readonly<Record<string, Tensor>>) =>
  Object.fromEntries(Object.entries(grads).map(([name, g]) => [`clipped.${name}`, g]))
