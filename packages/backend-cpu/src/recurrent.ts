/**
 * Loops over LSTM and GRU cells, run whole: the state is multiplied by weights that are packed once, the rest of a step is one
 * kernel, and the gradient of the weights is one product over all steps. A loop is recognised by the key of its body, which is
 * compared with that of a cell built here; anything else stays a loop.
 */
import {
  add,
  type Graph,
  type GraphNode,
  grad,
  type Kernel,
  type KernelCall,
  type KernelEntry,
  linear,
  mul,
  type Ref,
  scan,
  sigmoid,
  sliceAxis,
  sub,
  sum,
  type Tensor,
  tanh,
  type View,
  where,
  zeros,
} from '@heed/tensor'
import { copyView } from './indexing.js'
import type { Products } from './matmul.js'
import { pointer } from './pointer.js'
import { packedBytes, packPanels, productScratch, runProduct } from './product.js'
import { shares } from './rows.js'
import type { Kernels } from './wasm.js'

/** What a node of this kind knows about its loop. */
interface Loop {
  readonly kind: 'lstm' | 'gru'
  readonly length: number
  readonly reverse: boolean
  readonly hasBias: boolean
  readonly hasKeep: boolean
  /** Where the weights and, last, the bias stand among the captured inputs. */
  readonly weights: readonly number[]
  /** The same among the sums that a gradient carries. */
  readonly sums: readonly number[]
  /** Which results of the loop the node still has, in order. */
  readonly wanted: readonly number[]
}
/** States and gates of a cell. */
const STATES = { lstm: 2, gru: 1 }
const GATES = { lstm: 4, gru: 3 }

const gate = (x: Tensor, i: number, hidden: number): Tensor =>
  sliceAxis(x, x.rank - 1, i * hidden, (i + 1) * hidden)

/** The cells as packages/nn builds them (PyTorch's gates), op for op. */
const cells = {
  lstm(x: Tensor, [h, c]: readonly Tensor[], w: Tensor, b: Tensor | undefined, n: number): Tensor[] {
    const gates = add(x, linear(h, w, b))
    const i = sigmoid(gate(gates, 0, n))
    const f = sigmoid(gate(gates, 1, n))
    const g = tanh(gate(gates, 2, n))
    const o = sigmoid(gate(gates, 3, n))
    const next = add(mul(f, c), mul(i, g))
    return [mul(o, tanh(next)), next]
  },
  gru(x: Tensor, [h]: readonly Tensor[], w: Tensor, b: Tensor | undefined, n: number): Tensor[] {
    const s = linear(h, w, b)
    const r = sigmoid(add(gate(x, 0, n), gate(s, 0, n)))
    const z = sigmoid(add(gate(x, 1, n), gate(s, 1, n)))
    const fresh = tanh(add(gate(x, 2, n), mul(r, gate(s, 2, n))))
    return [add(mul(sub(1, z), fresh), mul(z, h))]
  },
}

interface Body {
  readonly hashKey: string
  readonly inputs: readonly Tensor[]
  readonly nCarry: number
  readonly nX: number
}
/** The key of a body, and where weights and bias stand among its captured inputs. */
interface Known {
  readonly key: string
  readonly weights: readonly number[]
}
function known(result: Tensor, weights: readonly Tensor[]): Known {
  const { hashKey, inputs, nCarry, nX } = result.node.attrs.body as Body
  return { key: hashKey, weights: weights.map((w) => inputs.indexOf(w) - nCarry - nX) }
}

const cache = new Map<string, { forward: Known; backward: Known }>()
/** The keys of a cell's loop and of its gradient. */
function keysOf(kind: Loop['kind'], batch: number, hidden: number, hasBias: boolean, hasKeep: boolean) {
  const name = `${kind} ${batch} ${hidden} ${hasBias} ${hasKeep}`
  let found = cache.get(name)
  if (!found) {
    const wide = GATES[kind] * hidden
    const init = Array.from({ length: STATES[kind] }, () => zeros([batch, hidden]))
    const x = zeros([1, batch, wide])
    const weights = [zeros([hidden, wide]), ...(hasBias ? [zeros([wide])] : [])]
    const xs = hasKeep ? [x, zeros([1, batch, 1], 'bool')] : [x]
    const loop = scan(
      (state, [input, keep]) => {
        const next = cells[kind](input, state, weights[0], weights[1], hidden)
        if (!keep) return { carry: next, ys: [next[0]] }
        return { carry: next.map((s, i) => where(keep, s, state[i])), ys: [where(keep, next[0], 0)] }
      },
      { init, xs },
    )
    const [dx] = grad(sum(loop.ys[0]), [x])
    found = { forward: known(loop.ys[0], weights), backward: known(dx, weights) }
    cache.set(name, found)
  }
  return found
}

/** The loop that a node is, or null. Which results are wanted is not known here. */
function recognised(n: GraphNode): { op: string; loop: Omit<Loop, 'wanted'> } | null {
  if (n.op !== 'scan') return null
  const { length, reverse, nCarry, nX, nY, body } = n.attrs as {
    length: number
    reverse: boolean
    nCarry: number
    nX: number
    nY: number
    body: Graph
  }
  const [batch, hidden] = n.from[0]?.shape ?? []
  if (n.from[0]?.shape.length !== 2) return null
  const nCaptured = n.from.length - nCarry - nX
  const hasBias = nCaptured === 2
  for (const kind of ['lstm', 'gru'] as const) {
    const states = STATES[kind]
    const forward = nCarry === states && nY === 1 && (nX === 1 || nX === 2)
    const backward = nCarry === states + nCaptured && nX - 2 * states >= 2
    if ((!forward && !backward) || nCaptured < 1 || nCaptured > 2) continue
    const hasKeep = forward ? nX === 2 : nX - 2 * states === 3
    const keys = keysOf(kind, batch, hidden, hasBias, hasKeep)
    const match = forward ? keys.forward : keys.backward
    if (match.key !== body.key) continue
    const loop = {
      kind,
      length,
      reverse,
      hasBias,
      hasKeep,
      weights: match.weights,
      sums: keys.forward.weights,
    }
    return { op: forward ? kind : `${kind}.vjp`, loop }
  }
  return null
}

/** The graph with loops over known cells as nodes of their own, which have only the results that are read. */
export function recurrent(graph: Graph): Graph {
  if (!graph.nodes.some((n) => n.op === 'scan')) return graph
  const wanted = graph.nodes.map((n) => n.to.map(() => false))
  for (const n of graph.nodes) for (const r of n.inputs) wanted[r.node][r.index] = true
  for (const r of graph.outputs) wanted[r.node][r.index] = true
  const kept = new Map<number, readonly number[]>()
  const moved = (r: Ref): Ref => {
    const list = kept.get(r.node)
    return list ? { node: r.node, index: list.indexOf(r.index) } : r
  }
  const nodes = graph.nodes.map((n, i) => {
    const found = recognised(n)
    const inputs = n.inputs.map(moved)
    const list = n.to.map((_, k) => k).filter((k) => wanted[i][k])
    // carries saved by a gradient: only a second gradient reads them, and it is a loop that needs this one
    const states = found ? STATES[found.loop.kind] : 0
    const results = found?.op.endsWith('.vjp')
      ? states + found.loop.weights.length + (n.attrs.nY as number)
      : n.to.length
    if (!found || list.some((k) => k >= results)) return { ...n, inputs }
    kept.set(i, list)
    const attrs = { ...found.loop, wanted: list }
    return { ...n, op: found.op, inputs, attrs, to: list.map((k) => n.to[k]) }
  })
  return { ...graph, nodes, outputs: graph.outputs.map(moved) }
}

const up = (bytes: number): number => Math.ceil(bytes / 64) * 64

/** Whether a view repeats one zero. */
const isZero = (v: View): boolean =>
  v.size === 0 || (v.strides.every((s, i) => s === 0 || v.shape[i] === 1) && v.data[v.offset] === 0)

/** Address and strides of rows and columns at step t of a [time, batch, hidden] view; an address of 0 where all is zero. */
function slice(v: View, t: number): [at: number, row: number, column: number] {
  if (isZero(v)) return [0, 0, 0]
  return [pointer(v) + 4 * t * v.strides[0], v.strides[1], v.strides[2]]
}

export function recurrentEntries(
  kernels: Kernels,
  products: Products,
  sumColumns: Kernel,
): Record<string, KernelEntry> {
  const floats = (): Float32Array => kernels.memory.f32()
  /** Addresses of pieces of scratch, one after the other. */
  const pieces = (call: KernelCall, sizes: readonly number[]): number[] => {
    let at = pointer(call.scratch as View)
    return sizes.map((bytes) => {
      const here = at
      at += up(bytes)
      return here
    })
  }
  const cell = (task: 'cell' | 'cellBack', batch: number, hidden: number, words: readonly number[]): void => {
    const { chunks, per } = shares(kernels, batch, 12 * hidden)
    kernels.run(task, [batch, per, hidden, ...words], chunks)
  }
  /** Bytes: state h, state c, gates, packed weights, room of products and copies. */
  const forwardSizes = (kind: Loop['kind'], batch: number, hidden: number): number[] => {
    const wide = GATES[kind] * hidden
    const state = 4 * batch * hidden
    const room = Math.max(64 * kernels.threads, productScratch(kernels, batch, wide, hidden))
    return [state, state, 4 * batch * wide, packedBytes(kernels, hidden, wide), room]
  }
  const backwardSizes = (kind: Loop['kind'], length: number, batch: number, hidden: number): number[] => {
    const wide = GATES[kind] * hidden
    const state = 4 * batch * hidden
    const rows = length * batch
    const room = Math.max(
      ...[64 * kernels.threads, 8 * wide, productScratch(kernels, rows, wide, hidden)],
      productScratch(kernels, hidden, wide, rows),
      productScratch(kernels, batch, hidden, wide),
    )
    return [state, state, 4 * rows * wide, packedBytes(kernels, wide, hidden), room]
  }
  const total = (sizes: readonly number[]): number => sizes.reduce((sum, bytes) => sum + up(bytes), 0)

  const forward: KernelEntry = {
    how: 'fused',
    // initial states may be slices or one repeated zero, weights may be seen transposed
    strided: (i, node) => i < STATES[loopOf(node.attrs).kind] || i === weightAt(node.attrs, 0),
    scratch(n) {
      const [batch, hidden] = n.from[0].shape
      return total(forwardSizes(loopOf(n.attrs).kind, batch, hidden))
    },
    run(call) {
      const { kind, length, reverse, hasBias, hasKeep, wanted } = loopOf(call.attrs)
      const states = STATES[kind]
      const [batch, hidden] = call.inputs[0].shape
      if (batch * hidden === 0) return
      const wide = GATES[kind] * hidden
      const x = pointer(call.inputs[states])
      const keep = hasKeep ? pointer(call.inputs[states + 1]) : 0
      const w = call.inputs[weightAt(call.attrs, 0)]
      const bias = hasBias ? pointer(call.inputs[weightAt(call.attrs, 1)]) : 0
      const [h, c, gates, panels, room] = pieces(call, forwardSizes(kind, batch, hidden))
      const out = (k: number): number => (wanted.includes(k) ? pointer(call.outputs[wanted.indexOf(k)]) : 0)
      const state = [h, c].slice(0, states)
      state.forEach((to, k) => copyView(kernels, call.inputs[k], to, room))
      const b = { at: pointer(w), row: w.strides[0], column: w.strides[1] }
      let packed = products.packed(w)
      if (!packed && length > 1) {
        packPanels(kernels, hidden, wide, b, panels)
        packed = panels
      }
      const [y, savedH, savedC] = [out(states), out(states + 1), kind === 'lstm' ? out(states + 2) : 0]
      const stepOf = (base: number, t: number, size: number): number => base && base + t * size
      for (let k = 0; k < length; k++) {
        const t = reverse ? length - 1 - k : k
        const xt = x + 4 * t * batch * wide
        const a = { at: h, row: hidden, column: 1 }
        const residual = kind === 'lstm' ? xt : 0
        const c1 = { at: gates, row: wide }
        runProduct(kernels, { m: batch, n: wide, k: hidden, a, b, packed, c: c1, bias, residual }, room)
        const size = 4 * batch * hidden
        const saved = [y, savedH, savedC].map((base) => stepOf(base, t, size))
        cell('cell', batch, hidden, [
          ...[kind === 'lstm' ? 0 : 1, gates, xt, h, c],
          ...saved,
          stepOf(keep, t, batch),
        ])
      }
      const all = floats()
      state.forEach((from, k) => {
        const to = out(k)
        if (to) all.copyWithin(to / 4, from / 4, from / 4 + batch * hidden)
      })
    },
  }

  const backward: KernelEntry = {
    how: 'fused',
    // cotangents are often one repeated number or seen transposed
    strided: (i, node) => {
      const { kind, hasBias, hasKeep } = loopOf(node.attrs)
      const states = STATES[kind]
      const carries = states + (hasBias ? 2 : 1)
      const cotangents = carries + states + 1 + (hasKeep ? 1 : 0)
      return (
        i < carries || (i >= cotangents && i < cotangents + 1 + states) || i === backwardWeightAt(node.attrs)
      )
    },
    scratch(n) {
      const [batch, hidden] = n.from[0].shape
      const { kind, length } = loopOf(n.attrs)
      return total(backwardSizes(kind, length, batch, hidden))
    },
    run(call) {
      const { kind, length, reverse, hasBias, hasKeep, wanted, weights } = loopOf(call.attrs)
      const states = STATES[kind]
      const isLstm = kind === 'lstm'
      const carries = states + weights.length
      const [batch, hidden] = call.inputs[0].shape
      const wide = GATES[kind] * hidden
      const rows = length * batch
      const out = (k: number): number => (wanted.includes(k) ? pointer(call.outputs[wanted.indexOf(k)]) : 0)
      const [hs, ...more] = call.inputs.slice(carries)
      const cs = isLstm ? more.shift() : undefined
      const x = pointer(more[0])
      const keep = hasKeep ? pointer(more[1]) : 0
      const [dy, ...dSaved] = more.slice(hasKeep ? 2 : 1)
      const captured = carries + 2 * states + 2 + (hasKeep ? 1 : 0)
      const w = call.inputs[captured + weights[0]]
      const bias = hasBias ? pointer(call.inputs[captured + weights[1]]) : 0
      const dx = out(carries)
      const [dh, dc, gatesRoom, panels, room] = pieces(call, backwardSizes(kind, length, batch, hidden))
      const state = [dh, dc].slice(0, states)
      if (batch * hidden > 0) {
        state.forEach((to, k) => copyView(kernels, call.inputs[k], to, room))
        // an LSTM's gates have the gradient of x
        const gates = isLstm && dx ? dx : gatesRoom
        const b = { at: pointer(w), row: w.strides[0], column: w.strides[1] }
        const states0 = { at: pointer(hs), row: hidden, column: 1 }
        runProduct(
          kernels,
          {
            ...{ m: rows, n: wide, k: hidden, a: states0, b, bias },
            ...{ c: { at: gates, row: wide }, residual: isLstm ? x : 0 },
          },
          room,
        )
        const turned = { at: b.at, row: b.column, column: b.row }
        if (length > 0) packPanels(kernels, wide, hidden, turned, panels)
        for (let k = 0; k < length; k++) {
          const t = reverse ? length - 1 - k : k
          const far = 4 * t * batch * wide
          const near = 4 * t * batch * hidden
          cell('cellBack', batch, hidden, [
            ...[isLstm ? 0 : 1, gates + far, x + far, pointer(hs) + near, cs ? pointer(cs) + near : 0],
            ...[dh, dc, dx && dx + far, keep && keep + t * batch],
            ...[...slice(dy, t), ...dSaved.flatMap((d) => slice(d, t))],
          ])
          const a = { at: gates + far, row: wide, column: 1 }
          const c = { at: dh, row: hidden }
          runProduct(
            kernels,
            { m: batch, n: hidden, k: wide, a, b: turned, packed: panels, c, add: true },
            room,
          )
        }
        state.forEach((from, k) => {
          const to = out(k)
          if (to) floats().copyWithin(to / 4, from / 4, from / 4 + batch * hidden)
        })
        weightGradients(call, gates, hs, room)
      } else weightGradients(call, gatesRoom, hs, room)
      const dKeep = hasKeep ? out(carries + 1) : 0
      if (dKeep) floats().fill(0, dKeep / 4, dKeep / 4 + rows)
    },
  }

  /** dw = Σ hᵀ·dgates and db = Σ dgates over steps and rows, beside what the loop began with. */
  function weightGradients(call: KernelCall, gates: number, hs: View, room: number): void {
    const { kind, length, sums, wanted } = loopOf(call.attrs)
    const states = STATES[kind]
    const [batch, hidden] = call.inputs[0].shape
    const wide = GATES[kind] * hidden
    const rows = length * batch
    const at = (k: number): number => wanted.indexOf(states + sums[k])
    const dw = call.outputs[at(0)]
    if (dw && dw.size > 0) {
      const start = call.inputs[states + sums[0]]
      const add = !isZero(start)
      if (add) copyView(kernels, start, pointer(dw), room)
      const a = { at: pointer(hs), row: 1, column: hidden }
      const b = { at: gates, row: wide, column: 1 }
      const c = { at: pointer(dw), row: wide }
      runProduct(kernels, { m: hidden, n: wide, k: rows, a, b, c, add }, room)
    }
    const db = call.outputs[at(1)]
    if (db && db.size > 0) {
      const data = floats()
      const dy = {
        ...hs,
        data,
        offset: gates / 4,
        shape: [rows, wide],
        strides: [wide, 1],
        size: rows * wide,
      }
      const whole = { ...db, shape: [1, wide], strides: [wide, 1] }
      const place = call.scratch as View
      const scratch = { ...place, offset: place.offset + room - pointer(place) }
      const attrs = { axes: [0] }
      sumColumns({ op: 'sum', inputs: [dy], outputs: [whole], attrs, path: call.path, scratch })
      const start = call.inputs[states + sums[1]]
      const to = pointer(db) / 4
      for (let i = 0; i < wide; i++) data[to + i] += start.data[start.offset + i * start.strides[0]] as number
    }
  }

  return { lstm: forward, gru: forward, 'lstm.vjp': backward, 'gru.vjp': backward }
}

const loopOf = (attrs: Readonly<Record<string, unknown>>): Loop => attrs as unknown as Loop
/** Position of the weights (0) or the bias (1) among the inputs of a forward loop. */
function weightAt(attrs: Readonly<Record<string, unknown>>, which: number): number {
  const { kind, hasKeep, weights } = loopOf(attrs)
  return STATES[kind] + (hasKeep ? 2 : 1) + weights[which]
}
/** Position of the weights among the inputs of a backward loop. */
function backwardWeightAt(attrs: Readonly<Record<string, unknown>>): number {
  const { kind, hasKeep, weights } = loopOf(attrs)
  return 3 * STATES[kind] + weights.length + (hasKeep ? 3 : 2) + weights[0]
}
