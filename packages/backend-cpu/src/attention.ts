/**
 * The composite `attention` and its backward, fused: causal with an offset, boolean masks, grouped heads, any lengths. What the
 * kernels lack is refused with the reason, so that the executor writes the formula out and reports it.
 */
import type { GraphNode, KernelCall, KernelEntry, View } from '@heed/tensor'
import { pointer } from './pointer.js'
import type { AttentionArguments, Kernels } from './wasm.js'

/** The attributes of the node that matter here. */
interface Attributes {
  readonly scale: number
  readonly causal: boolean
  readonly window: readonly [number | null, number | null] | null
  readonly block: number
  readonly softcap: number
  readonly hasMask: boolean
  readonly hasBias: boolean
  readonly hasSink: boolean
}

/** True, or what this node asks for that the fused kernels lack. */
function supports(node: GraphNode): true | string {
  const a = node.attrs as unknown as Attributes
  const lacks = [
    a.window && 'a sliding window',
    a.block > 0 && 'blocks',
    a.softcap > 0 && 'softcap',
    a.hasBias && 'a bias',
    a.hasSink && 'sink logits',
  ].filter((x) => typeof x === 'string')
  return lacks.length === 0 || `the fused kernel has no ${lacks.join(' and no ')}`
}

/** Strides of a [batch, head, row, column] or [batch, head, row] view in elements; axes of one element repeat. */
function place(name: string, v: View): Record<string, number> {
  const step = v.strides.map((s, i) => (v.shape[i] === 1 ? 0 : s))
  return {
    [name]: pointer(v),
    [`${name}Batch`]: step[0],
    [`${name}Head`]: step[1],
    [`${name}Row`]: step[2],
    ...(v.shape.length === 4 ? { [`${name}Column`]: v.shape[3] === 1 ? 1 : v.strides[3] } : {}),
  }
}

/** What forward and backward share: sizes, scale, mask, q, k, v. */
function common(call: KernelCall): Record<string, number> {
  const a = call.attrs as unknown as Attributes
  const [q, k, v, offset, mask] = call.inputs
  const [batch, heads, queries, dim] = q.shape
  const words: Record<string, number> = {
    ...{
      batch,
      heads,
      kvHeads: k.shape[1],
      queries,
      keys: k.shape[2],
      dim,
      valueDim: v.shape[3],
      scale: a.scale,
    },
    ...{ ...place('query', q), ...place('key', k), ...place('value', v) },
  }
  if (a.causal) {
    words.causal = 1
    // beyond these the answer no longer changes, and nothing overflows
    words.offset = Math.min(k.shape[2], Math.max(-queries - 1, offset.data[offset.offset] as number))
  }
  if (a.hasMask) {
    const lead = 4 - mask.shape.length
    const step = (i: number): number => (i < lead || mask.shape[i - lead] === 1 ? 0 : mask.strides[i - lead])
    Object.assign(words, {
      mask: pointer(mask),
      maskBatch: step(0),
      maskHead: step(1),
      maskQuery: step(2),
      maskKey: step(3),
    })
  }
  return words
}

/** The forward entry (`attention`) and the backward entry (`attention.vjp`). */
export function attentionEntries(kernels: Kernels): { attention: KernelEntry; 'attention.vjp': KernelEntry } {
  const sizes = (node: GraphNode): [keys: number, dim: number, valueDim: number] => {
    const [q, k, v] = node.from
    return [k.shape[2], q.shape[3], v.shape[3]]
  }
  return {
    attention: {
      strided: true,
      how: 'fused',
      supports,
      scratch: (node: GraphNode) => kernels.attentionScratch(...sizes(node)),
      run(call: KernelCall) {
        const [z, lse] = call.outputs
        if (lse.size === 0) return
        const words: AttentionArguments = { ...common(call), ...place('z', z), ...place('lse', lse) }
        kernels.attention(words, pointer(call.scratch as View))
      },
    },
    'attention.vjp': {
      strided: true,
      how: 'fused',
      supports,
      scratch: (node: GraphNode) => kernels.attentionBackwardScratch(...sizes(node)),
      run(call: KernelCall) {
        const { nIn, nOut, given } = call.attrs as { nIn: number; nOut: number; given: readonly boolean[] }
        const [z, lse] = call.inputs.slice(nIn)
        const cotangents = call.inputs.slice(nIn + nOut)
        const dz = given[0] ? cotangents.shift() : undefined
        const dlse = given[1] ? cotangents.shift() : undefined
        const [dq, dk, dv] = call.outputs
        if (dq.shape[0] === 0 || dk.shape[1] === 0) return
        const words: AttentionArguments = {
          ...common(call),
          ...{ ...place('z', z), ...place('lse', lse) },
          ...(dz ? place('dz', dz) : {}),
          ...(dlse ? place('dlse', dlse) : {}),
          ...{ dquery: pointer(dq), dkey: pointer(dk), dvalue: pointer(dv) },
        }
        kernels.attentionBackward(words, pointer(call.scratch as View))
      },
    },
  }
}
