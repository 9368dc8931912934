/**
 * From tensors to a graph of plain data: refused composites are written out, numbers become constants or inputs,
 * aliases vanish, equal nodes become one, dead ones go. No device is known here beyond `supports`.
 */
import type { Backend, Graph, GraphNode, Ref } from './backend.js'
import type { DType } from './dtype.js'
import {
  type Attrs,
  constantOf,
  constOp,
  leaf,
  leafOp,
  type Node,
  postorder,
  type Spec,
  type Tensor,
} from './graph.js'
import { detachedOp } from './ops/define.js'
import { primitiveNames } from './ops/primitives.js'
import type { ScanBody } from './ops/scan.js'
import { sameShape } from './shape.js'
import { withTaps } from './taps.js'

export interface Inlined {
  readonly op: string
  readonly reason: string
  readonly count: number
}
export interface Lowered {
  readonly graph: Graph
  /** For each graph input, its position in `leaves`. */
  readonly bindings: readonly number[]
  readonly inlined: readonly Inlined[]
}

const PRIMITIVES: ReadonlySet<string> = new Set(primitiveNames)

class Builder {
  readonly nodes: GraphNode[] = []
  private readonly equal = new Map<string, number>()
  readonly inlined = new Map<string, { reason: string; count: number }>()

  constructor(readonly backend: Pick<Backend, 'supports'>) {}

  spec(r: Ref): Spec {
    return this.nodes[r.node].to[r.index]
  }
  constantValue(r: Ref): number | undefined {
    const n = this.nodes[r.node]
    return n.op === 'constant' ? (n.attrs.value as number) : undefined
  }
  push(
    op: string,
    attrs: Attrs,
    inputs: readonly Ref[],
    to: readonly Spec[],
    origin: Node | null,
    path: string,
  ): number {
    const key =
      op === 'input'
        ? ''
        : `${op}|${attrsKey(attrs)}|${to[0]?.dtype}|${inputs.map((r) => `${r.node}.${r.index}`).join()}`
    const known = key ? this.equal.get(key) : undefined
    if (known !== undefined) return known
    const from = inputs.map((r) => this.spec(r))
    const index = this.nodes.push({ op, attrs, inputs, from, to, path, site: origin?.site ?? null }) - 1
    if (key) this.equal.set(key, index)
    return index
  }
  constant(value: number, dtype: DType): Ref {
    return { node: this.push('constant', { value, dtype }, [], [{ shape: [], dtype }], null, ''), index: 0 }
  }
  input(spec: Spec): Ref {
    return { node: this.push('input', {}, [], [spec], null, ''), index: 0 }
  }

  /** Adds a node (with what it needs) and returns the values of its results. */
  add(n: Node, inputs: readonly Ref[], path: string): readonly Ref[] {
    if (n.op.name === 'alias' || n.op === detachedOp) return inputs
    const to = n.outputs.map((t) => ({ shape: t.shape, dtype: t.dtype }))
    const shortcut = this.simplify(n, inputs, to[0])
    if (shortcut) return [shortcut]
    if (n.op.name === 'scan')
      return this.results(this.push('scan', this.scanAttrs(n.attrs), inputs, to, n, path), to)
    if (PRIMITIVES.has(n.op.name)) return this.results(this.push(n.op.name, n.attrs, inputs, to, n, path), to)
    const candidate: GraphNode = {
      op: n.op.name,
      attrs: n.attrs,
      inputs,
      from: inputs.map((r) => this.spec(r)),
      to,
      path,
      site: n.site,
    }
    const verdict = this.backend.supports(candidate)
    if (verdict === true) return this.results(this.push(n.op.name, n.attrs, inputs, to, n, path), to)
    const seen = this.inlined.get(n.op.name)
    if (seen) seen.count++
    else this.inlined.set(n.op.name, { reason: verdict, count: 1 })
    return this.inline(n, inputs, path)
  }

  private results(node: number, to: readonly Spec[]): Ref[] {
    return to.map((_, index) => ({ node, index }))
  }

  private inline(n: Node, inputs: readonly Ref[], path: string): readonly Ref[] {
    const body = n.op.body
    if (!body) throw new Error(`op '${n.op.name}' is neither a primitive nor a composite`)
    const placeholders = inputs.map((r) => leaf(this.spec(r)))
    const outputs = withTaps(null, () => body(placeholders, n.attrs, (_, x) => x))
    const values = new Map<Tensor, Ref>(placeholders.map((p, i) => [p, inputs[i]]))
    return this.graph(outputs, values, path)
  }

  /** Adds everything behind `outputs`; `values` says where known tensors are. Numbers become constants. */
  graph(outputs: readonly Tensor[], values: Map<Tensor, Ref>, path: string | null): readonly Ref[] {
    const refOf = (t: Tensor): Ref => {
      let r = values.get(t)
      if (!r && t.node.op === constOp) {
        r = this.constant(constantOf(t) as number, t.dtype)
        values.set(t, r)
      }
      if (!r) throw new Error(`lowering met an unbound ${t.node.op.name}`)
      return r
    }
    const stop = (t: Tensor): boolean => values.has(t) || t.node.op === constOp || t.node.op === leafOp
    for (const n of postorder(
      outputs.filter((t) => !stop(t)),
      (n) => n.inputs.filter((t) => !stop(t)),
    )) {
      const refs = this.add(n, n.inputs.map(refOf), path ?? n.path)
      n.outputs.forEach((t, i) => {
        if (!values.has(t)) values.set(t, refs[i])
      })
    }
    return outputs.map(refOf)
  }

  private scanAttrs(attrs: Attrs): Attrs {
    const body = attrs.body as ScanBody
    const inner = new Builder(this.backend)
    const values = new Map<Tensor, Ref>(
      body.inputs.map((t) => [t, inner.input({ shape: t.shape, dtype: t.dtype })]),
    )
    const inputs = body.inputs.map((t) => (values.get(t) as Ref).node)
    const outputs = inner.graph(body.outputs, values, null)
    for (const [op, seen] of inner.inlined) if (!this.inlined.has(op)) this.inlined.set(op, seen)
    return {
      length: attrs.length,
      reverse: attrs.reverse,
      nCarry: body.nCarry,
      nX: body.nX,
      nY: body.nY,
      body: prune({ key: body.hashKey, nodes: inner.nodes, inputs, outputs }),
      hashKey: `${body.hashKey}:${attrs.length}:${attrs.reverse}`,
    }
  }

  private simplify(n: Node, inputs: readonly Ref[], to: Spec): Ref | null {
    const same = (r: Ref): boolean => sameShape(this.spec(r).shape, to.shape)
    const is = (r: Ref, value: number): boolean => Object.is(this.constantValue(r), value)
    switch (n.op.name) {
      case 'reshape':
      case 'broadcastTo':
        return same(inputs[0]) ? inputs[0] : null
      case 'mul':
        if (is(inputs[1], 1) && same(inputs[0])) return inputs[0]
        return is(inputs[0], 1) && same(inputs[1]) ? inputs[1] : null
      case 'div':
        return is(inputs[1], 1) && same(inputs[0]) ? inputs[0] : null
      case 'sub':
        return is(inputs[1], 0) && same(inputs[0]) ? inputs[0] : null
      default:
        return null
    }
  }
}

const keys = new WeakMap<Attrs, string>()
function attrsKey(attrs: Attrs): string {
  let key = keys.get(attrs)
  if (key === undefined) {
    key =
      (attrs.hashKey as string | undefined) ??
      JSON.stringify(attrs, (_, v) =>
        typeof v === 'number' && !Number.isFinite(v) ? `${v}` : Object.is(v, -0) ? '-0' : v,
      )
    keys.set(attrs, key)
  }
  return key
}

/** Drops nodes that no output needs. Inputs stay, so that bindings keep their positions. */
function prune(graph: Graph): Graph {
  const live = new Uint8Array(graph.nodes.length)
  for (const i of graph.inputs) live[i] = 1
  for (const r of graph.outputs) live[r.node] = 1
  for (let i = graph.nodes.length - 1; i >= 0; i--)
    if (live[i]) for (const r of graph.nodes[i].inputs) live[r.node] = 1
  const position = new Int32Array(graph.nodes.length)
  const nodes: GraphNode[] = []
  graph.nodes.forEach((n, i) => {
    if (!live[i]) return
    position[i] =
      nodes.push({ ...n, inputs: n.inputs.map((r) => ({ node: position[r.node], index: r.index })) }) - 1
  })
  return {
    key: graph.key,
    nodes,
    inputs: graph.inputs.map((i) => position[i]),
    outputs: graph.outputs.map((r) => ({ node: position[r.node], index: r.index })),
  }
}

/**
 * @param bake numbers become constants of the plan; otherwise they are inputs, so that their values may change
 */
export function lower(
  outputs: readonly Tensor[],
  leaves: readonly Tensor[],
  backend: Pick<Backend, 'supports'>,
  options: { bake: boolean; key: string },
): Lowered {
  const builder = new Builder(backend)
  const values = new Map<Tensor, Ref>()
  const bindings: number[] = []
  const inputs: number[] = []
  leaves.forEach((t, i) => {
    if (options.bake && t.node.op === constOp) {
      values.set(t, builder.constant(constantOf(t) as number, t.dtype))
      return
    }
    const r = builder.input({ shape: t.shape, dtype: t.dtype })
    bindings.push(i)
    inputs.push(r.node)
    values.set(t, r)
  })
  const refs = builder.graph(outputs, values, null)
  const graph = prune({ key: options.key, nodes: builder.nodes, inputs, outputs: refs })
  const inlined = [...builder.inlined].map(([op, { reason, count }]) => ({ op, reason, count }))
  return { graph, bindings, inlined }
}
