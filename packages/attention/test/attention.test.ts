import { type Layer, layerNorm, mlp, rmsNorm } from '@heed/nn'
import {
  add,
  attention as attentionOp,
  reference,
  reshape,
  setBackend,
  sliceAxis,
  type Tensor,
  tensor,
  traceLazy,
  transpose,
} from '@heed/tensor'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Case, check, readCases, withParameters } from '../../../scripts/layer-cases.js'
import {
  alibi,
  alibiSlopes,
  attention,
  attentionChunks,
  type BlockSlots,
  bahdanauAttention,
  bahdanauStep,
  blockLocal,
  causal,
  combineMasks,
  crossAttention,
  encoderDecoder,
  linearAttention,
  localWindow,
  luongAttention,
  luongStep,
  type Mask,
  maskOptions,
  multiHeadAttention,
  type Place,
  padding,
  positionRows,
  postNormBlock,
  preNormBlock,
  rope,
  ropeAngles,
  ropeFrequencies,
  sinks,
  sinusoidalTable,
  stack,
  t5BiasOf,
  t5Buckets,
} from '../src/index.js'

beforeAll(() => setBackend(reference({ precision: 'f64' })))

const cases = readCases(new URL('./fixtures/attention.json', import.meta.url))
type Tensors = Record<string, Tensor>
const T = (w: Tensor): Tensor => transpose(w)

/** The mask slots that say what a case's arguments say. */
function masksOf(a: Case['args'], mask?: Tensor): Mask {
  return combineMasks(
    a.causal ? causal() : null,
    a.window ? localWindow(a.window[0], a.window[1]) : null,
    a.sinkTokens !== undefined ? sinks(a.sinkTokens) : null,
    a.block !== undefined ? blockLocal(a.block, a.back ?? 0) : null,
    mask,
  )
}
const placeOf = (a: Case['args'], q: Tensor, k: Tensor): Place => ({
  offset: a.offset ?? 0,
  positions: null,
  queries: q.shape[2],
  keys: k.shape[2],
})
/** The op under the mask of a case, with its room. */
function attend(a: Case['args'], i: Tensors, bias?: Tensor): Tensors {
  const { q, k, v, mask } = i
  const place = placeOf(a, q, k)
  const run = traceLazy(
    () =>
      attentionOp(q, k, v, {
        ...maskOptions(masksOf(a, mask), { ...place, offset: a.offset ?? 0 }),
        offset: a.offset ?? 0,
        ...(bias ? { bias } : {}),
        ...(a.scale !== undefined ? { scale: a.scale } : {}),
        ...(a.softcap ? { softcap: a.softcap } : {}),
      }).z,
    null,
  )
  return { z: run.output, pattern: run.get('pattern'), scores: run.get('scores') }
}

/** nn.MultiheadAttention's parameters under `prefix` as those of a layer under `path`. */
function mhaParameters(i: Tensors, prefix: string, path: string): Tensors {
  const w = i[`${prefix}in_proj_weight`]
  const d = i[`${prefix}out_proj.weight`].shape[0]
  const part = (t: Tensor, n: number): Tensor => sliceAxis(t, 0, n * d, (n + 1) * d)
  const out: Tensors = {}
  for (const [n, name] of ['q', 'k', 'v'].entries()) {
    out[`${path}w_${name}`] = T(w ? part(w, n) : i[`${prefix}${name}_proj_weight`])
    const b = i[`${prefix}in_proj_bias`]
    if (b) out[`${path}b_${name}`] = part(b, n)
  }
  out[`${path}w_o`] = T(i[`${prefix}out_proj.weight`])
  if (i[`${prefix}out_proj.bias`]) out[`${path}b_o`] = i[`${prefix}out_proj.bias`]
  if (i[`${prefix}bias_k`]) {
    out[`${path}k_extra`] = reshape(i[`${prefix}bias_k`], [d])
    out[`${path}v_extra`] = reshape(i[`${prefix}bias_v`], [d])
  }
  return out
}
/** A PyTorch layer's parameters as those of a block. */
function blockParameters(i: Tensors, prefix: string, path: string, cross: boolean): Tensors {
  const norm = (theirs: string, ours: string): Tensors => ({
    [`${path}${ours}.w`]: i[`${prefix}${theirs}.weight`],
    ...(i[`${prefix}${theirs}.bias`] ? { [`${path}${ours}.b`]: i[`${prefix}${theirs}.bias`] } : {}),
  })
  return {
    ...mhaParameters(i, `${prefix}self_attn.`, `${path}attn.`),
    ...(cross ? mhaParameters(i, `${prefix}multihead_attn.`, `${path}cross_attn.`) : {}),
    ...norm('norm1', 'ln1'),
    ...(cross ? norm('norm2', 'ln_cross') : {}),
    ...norm(cross ? 'norm3' : 'norm2', 'ln2'),
    [`${path}mlp.w_in`]: T(i[`${prefix}linear1.weight`]),
    [`${path}mlp.w_out`]: T(i[`${prefix}linear2.weight`]),
    [`${path}mlp.b_in`]: i[`${prefix}linear1.bias`],
    [`${path}mlp.b_out`]: i[`${prefix}linear2.bias`],
  }
}
function blockOf(a: Case['args'], cross: boolean): Layer {
  const { dModel, nHead, dMlp, activation, eps = 1e-5 } = a
  const slots: BlockSlots = {
    norm: () => layerNorm({ dModel, eps }),
    attn: attention({ dModel, nHead }),
    mlp: mlp({ dModel, dMlp, activation }),
    ...(cross ? { crossAttn: crossAttention({ dModel, nHead }) } : {}),
  }
  return a.normFirst ? preNormBlock(slots) : postNormBlock(slots)
}
/** keep [batch, key] and mask [query, key] as one. */
const both = (keep?: Tensor, mask?: Tensor): Tensor | undefined =>
  combineMasks(keep && padding(keep), mask).allowed?.length
    ? maskOptions(combineMasks(keep && padding(keep), mask), { queries: 0, keys: 0, offset: 0 }).mask
    : undefined

const rows: Record<string, (c: Case) => Tensors> = {
  attention: ({ args, inputs }) => attend(args, inputs, inputs.bias),
  attentionQkNorm: ({ args, inputs: i }) => {
    const norm = (x: Tensor, w: Tensor): Tensor =>
      withParameters(rmsNorm({ dModel: w.shape[0], eps: args.eps }), { w })(x)
    return attend(args, { ...i, q: norm(i.q, i.qNorm), k: norm(i.k, i.kNorm) })
  },
  attentionAlibi: ({ args, inputs: i }) => {
    const bias = alibi().bias?.(i.q.shape[1], placeOf(args, i.q, i.k)) as Tensor
    return { ...attend(args, i, bias), bias }
  },
  attentionT5: ({ args, inputs: i }) => {
    const bias = t5BiasOf(i.table, placeOf(args, i.q, i.k), args)
    return { ...attend(args, i, bias), bias }
  },
  attentionRope: ({ args, inputs: i }) => {
    const { rotate } = rope({ base: args.base, layout: args.layout, rotaryDim: args.rotaryDim })
    const place = placeOf(args, i.q, i.k)
    const q = rotate?.(i.q, place) as Tensor
    const k = rotate?.(i.k, { ...place, offset: undefined, queries: i.k.shape[2] }) as Tensor
    return { ...attend(args, { ...i, q, k }), rot_q: q, rot_k: k }
  },
  alibiSlopes: ({ args }) => ({ slopes: tensor(alibiSlopes(args.nHead)) }),
  t5Buckets: ({ args }) => ({ buckets: tensor(t5Buckets(args), { dtype: 'i32' }) }),
  ropeFrequencies: ({ args }) => {
    const { invFreq, attentionFactor } = ropeFrequencies(args)
    return { invFreq: tensor(invFreq), attentionFactor: tensor(attentionFactor) }
  },
  rope: ({ args, inputs: { x, positions } }) => {
    const dim = args.rotaryDim ?? x.shape[3]
    const { cos, sin } = ropeAngles(positions, dim, { base: args.base, scaling: args.scaling })
    const { rotate } = rope(args)
    const y = rotate?.(x, { offset: undefined, positions, queries: x.shape[2], keys: x.shape[2] }) as Tensor
    return { y, cos, sin }
  },
  linearAttention: ({ args, inputs: { q, k, v } }) => ({ z: linearAttention(q, k, v, args) }),
  attentionChunks: ({ args, inputs: { q, k, v } }) => {
    const { sizes, offset, scale } = args
    const r = attentionChunks(q, k, v, {
      sizes,
      mask: masksOf(args),
      ...(offset === undefined ? {} : { offset }),
      ...(scale === undefined ? {} : { scale }),
    })
    const pieces = r.chunks.flatMap((c, n) => [
      [`m${n}`, c.m] as const,
      [`l${n}`, c.l] as const,
      [`o${n}`, c.o] as const,
    ])
    return { z: r.z, m: r.m, l: r.l, o: r.o, ...Object.fromEntries(pieces) }
  },
  sinusoidalPositions: ({ args: { n, dim, base, layout } }) => ({
    table: sinusoidalTable({ nCtx: n, dModel: dim, layout, ...(base ? { base } : {}) }),
  }),
  learnedPositions: ({ args: { offset = 0 }, inputs: { x, table } }) => ({
    y: add(x, positionRows(table, x, { offset: tensor(offset, { dtype: 'i32' }) })),
  }),
  multiHeadAttention: ({ args, inputs: i }) => {
    const { dModel, nHead, bias = true, kDim = dModel, vDim = dModel, addBiasKv = false } = args
    const layer = multiHeadAttention({ dModel, nHead, bias, dKey: kDim, dValue: vDim, extraKey: addBiasKv })
    withParameters(layer, mhaParameters(i, '', ''))
    const run = traceLazy(() => layer(i.query, i.key, i.value, { mask: both(i.keep, i.mask) }), null)
    return { out: run.output, pattern: run.get('pattern') }
  },
  transformerEncoderLayer: ({ args, inputs: i }) => {
    const block = withParameters(blockOf(args, false) as never, blockParameters(i, '', '', false)) as Layer
    return { y: block(i.x, { mask: both(i.keep, i.mask) }) }
  },
  transformerDecoderLayer: ({ args, inputs: i }) => {
    const block = withParameters(blockOf(args, true) as never, blockParameters(i, '', '', true)) as Layer
    return {
      y: block(i.x, { memory: i.memory, mask: both(i.keep, i.mask), memoryMask: both(i.memoryKeep) }),
    }
  },
  transformer: ({ args, inputs: i }) => {
    const { dModel, eps = 1e-5 } = args
    const side = (n: number, cross: boolean) =>
      stack({
        blocks: Array.from({ length: n }, () => blockOf(args, cross)),
        norm: layerNorm({ dModel, eps }),
      })
    const model = encoderDecoder({
      encoder: side(args.encoderLayers, false),
      decoder: side(args.decoderLayers, true),
    })
    const values: Tensors = {}
    for (const [name, n] of [
      ['encoder', args.encoderLayers],
      ['decoder', args.decoderLayers],
    ] as const) {
      for (let b = 0; b < n; b++)
        Object.assign(
          values,
          blockParameters(i, `${name}.layers.${b}.`, `${name}.blocks.${b}.`, name === 'decoder'),
        )
      values[`${name}.ln_final.w`] = i[`${name}.norm.weight`]
      values[`${name}.ln_final.b`] = i[`${name}.norm.bias`]
    }
    withParameters(model, values)
    return { y: model(i.src, i.tgt, { memoryMask: both(i.srcKeep), mask: i.tgtMask }) }
  },
  bahdanauAttention: ({ inputs: { query, keys, wQ, wK, v, mask } }) => ({
    ...bahdanauAttention(query, keys, { w_q: T(wQ), w_k: T(wK), v }, mask ? { mask } : {}),
  }),
}
const cellOf = (i: Tensors) => ({ w_ih: T(i.wi), w_hh: T(i.wh), b_ih: i.bi, b_hh: i.bh })
rows.luongAttention = ({ args: { score }, inputs: { query, keys, w, v, mask } }) => ({
  ...luongAttention(query, keys, {
    score,
    ...(w ? { w: T(w) } : {}),
    ...(v ? { v } : {}),
    ...(mask ? { mask } : {}),
  }),
})
rows.bahdanauStep = ({ inputs: i }) => {
  const w = { w_q: T(i.wQ), w_k: T(i.wK), v: i.v, cell: cellOf(i) }
  const { state, context, pattern } = bahdanauStep(i.x, i.state, i.keys, w, i.mask ? { mask: i.mask } : {})
  return { state1: state, context, pattern }
}
rows.luongStep = ({ inputs: i }) => {
  const w = { w: T(i.w), w_out: T(i.wOut), cell: cellOf(i) }
  const { state, attentional, pattern } = luongStep(i.x, i.state, i.keys, w, i.mask ? { mask: i.mask } : {})
  return { state1: state, attentional, pattern }
}

describe('against PyTorch', () => {
  for (const c of cases)
    it(c.id, async () => {
      const row = rows[c.op]
      if (!row) throw new Error(`no row for ${c.op}`)
      const { allowed: _, ...outputs } = c.outputs
      await check({ ...c, outputs }, row(c))
    })
  it('covers cases', () => expect(cases.length).toBeGreaterThan(50))
})
