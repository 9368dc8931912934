/**
 * Rewrites a graph before it is planned: elementwise nodes that only the next elementwise node of their shape reads become one
 * program with it, so that what lies between them never reaches memory. Every number has the bits it had alone.
 */
import type { Graph, GraphNode, Ref } from '@heed/tensor'
import { activationForm } from './activations.js'
import { codeOf, type Instruction, MOST_VALUES, MOST_WORDS } from './chain.js'
import { sameShape, without } from './fuse.js'

/** A program so far: the values it reads from outside, and its instructions. */
interface Program {
  readonly operands: readonly Ref[]
  readonly from: GraphNode['from']
  readonly instructions: readonly Instruction[]
}
const ACTIVATE = 32
const SLOPE = 48

/** The instruction that a node is, and which of its inputs it reads; null where there is none. */
function instructionOf(n: GraphNode): { code: number; inputs: readonly number[] } | null {
  if (n.to.length !== 1) return null
  const backward = n.op.endsWith('.vjp')
  const form = n.op === 'tanh' ? 0 : activationForm(backward ? { ...n, op: n.op.slice(0, -4) } : n)
  if (form) return backward ? { code: SLOPE + form, inputs: [0, 2] } : { code: ACTIVATE + form, inputs: [0] }
  const code = codeOf(
    n.op,
    n.from.map((s) => s.dtype),
    n.to[0].dtype,
  )
  return code === null ? null : { code, inputs: n.inputs.map((_, k) => k) }
}

export function chained(graph: Graph): Graph {
  const found = graph.nodes.map(instructionOf)
  const readers = graph.nodes.map((n) => n.to.map(() => 0))
  // an input that only stands in for one that the kernel does not read counts nothing
  graph.nodes.forEach((n, i) => {
    const read = found[i]?.inputs.map((k) => n.inputs[k]) ?? n.inputs
    for (const r of read) readers[r.node][r.index]++
  })
  // an output may not vanish: it counts as a reader of its own
  for (const r of graph.outputs) readers[r.node][r.index] += 2
  const programs: (Program | null)[] = []
  const dead = new Set<number>()
  const nodes = graph.nodes.map((n, i) => {
    const own = found[i]
    const shape = n.to[0]?.shape
    if (!own) {
      programs.push(null)
      return n
    }
    const operands: Ref[] = []
    const from: GraphNode['from'][number][] = []
    const instructions: Instruction[] = []
    const taken: number[] = []
    const operand = (r: Ref, spec: GraphNode['from'][number]): number => {
      const at = operands.findIndex((o) => o.node === r.node && o.index === r.index)
      if (at >= 0) return at
      from.push(spec)
      return operands.push(r) - 1
    }
    // instructions are numbered from −1 down until the number of operands is known
    const take = (p: Program): number => {
      const first = instructions.length
      const outside = p.operands.map((r, k) => operand(r, p.from[k]))
      for (const { code, reads } of p.instructions) {
        const moved = reads.map((v) => (v < 0 ? v - first : outside[v]))
        instructions.push({ code, reads: moved })
      }
      return -instructions.length
    }
    const reads: number[] = []
    for (const k of own.inputs) {
      const r = n.inputs[k]
      const p = programs[r.node]
      const joins = p && readers[r.node][0] === 1 && sameShape(graph.nodes[r.node].to[0].shape, shape)
      if (
        joins &&
        fits([...operands, ...p.operands].length, instructions.length + p.instructions.length + 1, shape)
      ) {
        reads.push(take(p))
        taken.push(r.node)
      } else reads.push(operand(r, n.from[k]))
    }
    instructions.push({ code: own.code, reads })
    programs.push({ operands, from, instructions })
    if (taken.length === 0) return n
    for (const node of taken) dead.add(node)
    const count = operands.length
    const program = instructions.map(({ code, reads: list }) => ({
      code,
      reads: list.map((v) => (v < 0 ? count - 1 - v : v)),
    }))
    return { ...n, op: 'chain', inputs: operands, from, attrs: { program } }
  })
  return without(dead, { ...graph, nodes })
}

/** Whether a job has room for these, each operand with all axes of the shape. */
function fits(operands: number, instructions: number, shape: readonly number[]): boolean {
  const most = operands + 3
  return (
    most + instructions <= MOST_VALUES && 7 + most * (4 + 2 * shape.length) + 5 * instructions <= MOST_WORDS
  )
}
