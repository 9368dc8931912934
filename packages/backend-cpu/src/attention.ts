/**
 * The composite `attention` and its backward, fused, whole: causal with an offset, windows with sink tokens, blocks, softcap, bias,
 * boolean masks, sink logits, grouped heads, any lengths and strides.
 */
import type { GraphNode, KernelCall, KernelEntry, View } from '@heed/tensor'
import {
  type AttentionArguments,
  type AttentionSize,
  attentionBackward,
  attentionBackwardScratch,
  attentionForward,
  attentionScratch,
  requireJob,
} from './attention-job.js'
import { pointer } from './pointer.js'
import type { Kernels } from './wasm.js'

/** The attributes of the node. */
interface Attributes {
  readonly scale: number
  readonly causal: boolean
  readonly window: readonly [number | null, number | null] | null
  readonly sinkTokens: number
  readonly block: number
  readonly back: number
  readonly softcap: number
  readonly hasMask: boolean
  readonly hasBias: boolean
  readonly hasSink: boolean
}

type Words = Record<string, number>

/** Strides of a [batch, head, row, column] or [batch, head, row] view in elements; axes of one element repeat. */
function place(name: string, v: View): Words {
  const step = v.strides.map((s, i) => (v.shape[i] === 1 ? 0 : s))
  return {
    [name]: pointer(v),
    [`${name}Batch`]: step[0],
    [`${name}Head`]: step[1],
    [`${name}Row`]: step[2],
    ...(v.shape.length === 4 ? { [`${name}Column`]: v.shape[3] === 1 ? 1 : v.strides[3] } : {}),
  }
}
/** Strides of what broadcasts to [batch, head, query, key]. */
function spread(name: string, v: View): Words {
  const lead = 4 - v.shape.length
  const step = (i: number): number => (i < lead || v.shape[i - lead] === 1 ? 0 : v.strides[i - lead])
  return {
    [name]: pointer(v),
    [`${name}Batch`]: step(0),
    [`${name}Head`]: step(1),
    [`${name}Query`]: step(2),
    [`${name}Key`]: step(3),
  }
}

const FAR = 2 ** 28
/** Beyond these numbers nothing changes, and below them nothing overflows. */
const near = (x: number): number => Math.min(FAR, Math.max(-FAR, x))

function sizes([q, k, v]: readonly { readonly shape: readonly number[] }[]): AttentionSize {
  const [batch, heads, queries, dim] = q.shape
  return { batch, heads, kvHeads: k.shape[1], queries, keys: k.shape[2], dim, valueDim: v.shape[3] }
}
/** One query of several heads that share their keys: the heads become queries, so that keys are read once. */
const isShared = ({ heads, kvHeads, queries }: AttentionSize): boolean =>
  queries === 1 && kvHeads > 0 && heads > kvHeads
function shared<S extends AttentionSize>(size: S): S {
  return isShared(size) ? { ...size, heads: size.kvHeads, queries: size.heads / size.kvHeads } : size
}

/** What forward and backward share: sizes, scale, geometry, q, k, v, mask, bias, sink. */
function common(call: KernelCall): Words & AttentionSize {
  const a = call.attrs as unknown as Attributes
  const [q, k, v, offset] = call.inputs
  let at = 4
  const [left, right] = a.window ?? [null, null]
  const block = Math.min(a.block, FAR)
  const back = block > 0 ? Math.min(a.back, Math.floor(FAR / block)) : 0
  return {
    ...sizes(call.inputs),
    scale: a.scale,
    softcap: a.softcap,
    offset: near(offset.data[offset.offset] as number),
    ahead: a.causal ? 0 : FAR,
    left: near(left ?? FAR),
    right: near(right ?? FAR),
    sinkTokens: a.window ? a.sinkTokens : 0,
    ...{ block, back, forth: a.causal ? 0 : back },
    ...{ ...place('query', q), ...place('key', k), ...place('value', v) },
    ...(a.hasMask ? spread('mask', call.inputs[at++]) : {}),
    ...(a.hasBias ? spread('bias', call.inputs[at++]) : {}),
    ...(a.hasSink ? { sink: pointer(call.inputs[at]), sinkHead: call.inputs[at].strides[0] } : {}),
  }
}

/** The shape of the bias of the node, if it has one. */
function biasOf(
  attrs: GraphNode['attrs'],
  from: readonly { readonly shape: readonly number[] }[],
): readonly number[] | undefined {
  const a = attrs as unknown as Attributes
  return a.hasBias ? from[a.hasMask ? 5 : 4].shape : undefined
}

/** Heads as queries, in words: they all stand at one position. */
function sharedWords(words: Words & AttentionSize): AttentionArguments & AttentionSize {
  if (!isShared(words)) return words
  const group = words.heads / words.kvHeads
  const turned: Words = { step: 0, sinkQuery: words.sinkHead ?? 0, sinkHead: group * (words.sinkHead ?? 0) }
  for (const [name, row] of [
    ['query', 'Row'],
    ['z', 'Row'],
    ['lse', 'Row'],
    ['mask', 'Query'],
    ['bias', 'Query'],
  ]) {
    turned[name + row] = words[`${name}Head`] ?? 0
    turned[`${name}Head`] = group * (words[`${name}Head`] ?? 0)
  }
  return { ...shared(words), ...turned }
}

/** The forward entry (`attention`) and the backward entry (`attention.vjp`). */
export function attentionEntries(kernels: Kernels): { attention: KernelEntry; 'attention.vjp': KernelEntry } {
  requireJob(kernels)
  return {
    attention: {
      strided: true,
      anyLayout: [0],
      how: 'fused',
      scratch: (node: GraphNode) => attentionScratch(kernels, shared(sizes(node.from))),
      run(call: KernelCall) {
        const [z, lse] = call.outputs
        if (lse.size === 0) return
        const words = { ...common(call), ...place('z', z), ...place('lse', lse) }
        attentionForward(kernels, sharedWords(words), pointer(call.scratch as View))
      },
    },
    'attention.vjp': {
      strided: true,
      how: 'fused',
      scratch: (node: GraphNode) =>
        attentionBackwardScratch(kernels, sizes(node.from), biasOf(node.attrs, node.from)),
      run(call: KernelCall) {
        const { nIn, nOut, given } = call.attrs as { nIn: number; nOut: number; given: readonly boolean[] }
        const a = call.attrs as unknown as Attributes
        const [z, lse] = call.inputs.slice(nIn)
        const cotangents = call.inputs.slice(nIn + nOut)
        const dz = given[0] ? cotangents.shift() : undefined
        const dlse = given[1] ? cotangents.shift() : undefined
        const [dq, dk, dv, ...more] = call.outputs
        const dbias = a.hasBias ? more.shift() : undefined
        const dsink = a.hasSink ? more.shift() : undefined
        if (dbias) (dbias.data as Float32Array).fill(0, dbias.offset, dbias.offset + dbias.size)
        if (dq.shape[0] === 0 || dk.shape[1] === 0) return
        const words = {
          ...common(call),
          ...{ ...place('z', z), ...place('lse', lse) },
          ...(dz ? place('dz', dz) : {}),
          ...(dlse ? place('dlse', dlse) : {}),
          ...{ dquery: pointer(dq), dkey: pointer(dk), dvalue: pointer(dv) },
          ...(dbias ? spread('dbias', dbias) : {}),
          ...(dsink ? { dsink: pointer(dsink) } : {}),
        }
        attentionBackward(kernels, words, pointer(call.scratch as View), biasOf(call.attrs, call.inputs))
      },
    },
  }
}
