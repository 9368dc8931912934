/**
 * Rewrites a graph before it is planned: a product takes over the activation and the residual sum that follow it, and gradients
 * of `linear` and `rope` learn which of them anybody reads. A value that is an output of the graph or has another reader stays.
 */
import type { Graph, GraphNode, Ref } from '@heed/tensor'
import { ACTIVATIONS, activationForm, FROM_INPUT } from './activations.js'

const PRODUCTS = ['matmul', 'linear', 'quantizedLinear']

/** Names of all products with an epilogue: what runs, as the report says it. */
export const FUSED: readonly string[] = PRODUCTS.flatMap((op) =>
  ['', ...ACTIVATIONS.map((name) => `+${name}`)].flatMap((act) =>
    ['', '+add'].map((add) => `${op}${act}${add}`),
  ),
).filter((name) => name.includes('+'))

export const sameShape = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && a.every((d, i) => d === b[i])

export function fuse(graph: Graph): Graph {
  const nodes = graph.nodes.map(withoutResult)
  const readers = nodes.map((n) => n.to.map(() => 0))
  for (const n of nodes) for (const r of n.inputs) readers[r.node][r.index]++
  // an output may not vanish: it counts as a reader of its own
  for (const r of graph.outputs) readers[r.node][r.index] += 2
  const dead = new Set<number>()
  /** The product that only this reader needs, if `r` is one. */
  const productOf = (r: Ref): GraphNode | null => {
    const n = nodes[r.node]
    return PRODUCTS.includes(n.op.split('+')[0]) && readers[r.node][r.index] === 1 ? n : null
  }
  nodes.forEach((n, i) => {
    if (n.op === 'linear.vjp' || n.op === 'rope.vjp') {
      const needed = readers[i].map((count) => count > 0)
      if (needed.includes(false)) nodes[i] = { ...n, attrs: { ...n.attrs, needed } }
    }
    const form = activationForm(n)
    const p = form ? productOf(n.inputs[0]) : null
    if (p && !p.op.includes('+')) {
      nodes[i] = { ...n, op: `${p.op}+${n.op}`, inputs: p.inputs, from: p.from, attrs: { ...p.attrs, form } }
      dead.add(n.inputs[0].node)
    }
    if (n.op !== 'add' || !n.from.every((s) => sameShape(s.shape, n.to[0].shape))) return
    // the later product is the one whose rows are still in the cache
    for (const side of n.inputs[0].node > n.inputs[1].node ? [0, 1] : [1, 0]) {
      const sum = productOf(n.inputs[side])
      if (!sum || sum.op.endsWith('+add')) continue
      nodes[i] = {
        ...n,
        op: `${sum.op}+add`,
        inputs: [...sum.inputs, n.inputs[1 - side]],
        from: [...sum.from, n.from[1 - side]],
        attrs: { ...sum.attrs, residual: true },
      }
      dead.add(n.inputs[side].node)
      break
    }
  })
  return without(dead, { ...graph, nodes })
}

/** Backward kernels that work from the inputs alone. */
const FROM_INPUTS: ReadonlySet<string> = new Set(
  ['linear', 'rope', 'layerNorm', 'rmsNorm', 'crossEntropyPerToken', ...FROM_INPUT].map(
    (name) => `${name}.vjp`,
  ),
)
/** Where a gradient does not read the forward result, the cotangent stands in for it, so that the result need not be kept. */
function withoutResult(n: GraphNode): GraphNode {
  if (!FROM_INPUTS.has(n.op)) return n
  const at = n.attrs.nIn as number
  const inputs = n.inputs.map((r, i) => (i === at ? n.inputs[at + 1] : r))
  return { ...n, inputs }
}

/** The graph without some nodes that nobody reads. */
export function without(dead: ReadonlySet<number>, graph: Graph): Graph {
  if (dead.size === 0) return graph
  const position: number[] = []
  let kept = 0
  graph.nodes.forEach((_, i) => position.push(dead.has(i) ? -1 : kept++))
  const moved = (r: Ref): Ref => ({ node: position[r.node], index: r.index })
  return {
    key: graph.key,
    nodes: graph.nodes.filter((_, i) => !dead.has(i)).map((n) => ({ ...n, inputs: n.inputs.map(moved) })),
    inputs: graph.inputs.map((i) => position[i]),
    outputs: graph.outputs.map(moved),
  }
}
