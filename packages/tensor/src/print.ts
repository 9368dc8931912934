/** Printing a graph as stable text: one line a node, names instead of ids, so that it can be a golden. */
import { constantOf, constOp, leafOp, postorder, type Tensor } from './graph.js'

/** The graph behind tensors, leaves first. `depth: 'bodies'` is not part of it: composites are one line. */
export function printGraph(outputs: Tensor | readonly Tensor[]): string {
  const list = Array.isArray(outputs) ? (outputs as readonly Tensor[]) : [outputs as Tensor]
  const order = postorder(list, (n) => n.inputs)
  const names = new Map<number, string>()
  const lines: string[] = []
  const ref = (t: Tensor): string => {
    const c = constantOf(t)
    if (c !== undefined) return `${c}`
    return `${names.get(t.node.id)}${t.node.outputs.length > 1 ? `.${t.index}` : ''}`
  }
  for (const n of order) {
    if (n.op === constOp) continue
    names.set(n.id, `%${names.size}`)
    const specs = n.outputs.map((t) => `${t.dtype}[${t.shape.join(',')}]`).join(', ')
    const attrs = Object.entries(n.attrs)
      .map(
        ([k, v]) => `${k}=${typeof v === 'object' && v !== null && 'hashKey' in v ? '…' : JSON.stringify(v)}`,
      )
      .join(' ')
    const name = n.outputs[0]?.name
    const what = n.op === leafOp ? 'leaf' : `${n.op.name}(${n.inputs.map(ref).join(', ')})`
    lines.push(
      `${names.get(n.id)} = ${what}${attrs ? ` {${attrs}}` : ''} : ${specs}${name ? `  # ${name}` : n.path ? `  # ${n.path}` : ''}`,
    )
  }
  lines.push(`return ${list.map(ref).join(', ')}`)
  return `${lines.join('\n')}\n`
}

/** Nodes behind tensors (numbers and leaves not counted). */
export function countNodes(outputs: readonly Tensor[]): number {
  return postorder(outputs, (n) => n.inputs).filter((n) => n.op !== constOp && n.op !== leafOp).length
}
