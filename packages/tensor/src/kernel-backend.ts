/**
 * `kernelBackend` makes a Backend of a kernel table and a memory: it orders, plans views and liveness, puts every
 * intermediate into one arena and runs step by step. Backends with addressable memory share it; a backend that
 * compiles whole graphs (ONNX) does not use it.
 */
import type { Backend, DeviceBuffer, Executable, Graph, GraphNode, Ref, Report } from './backend.js'
import { bytesOf, type DType, type Precision, type TypedArray } from './dtype.js'
import { BackendError, HeedError, showShape } from './errors.js'
import type { Spec } from './graph.js'
import { primitiveNames } from './ops/primitives.js'
import { broadcastStrides, isContiguous, type Shape, sameShape, sizeOf, stridesOf } from './shape.js'

/** A piece of a backend's memory. */
export interface Region {
  readonly bytes: number
}
/** Where arrays live: ArrayBuffers, one WASM memory … */
export interface Memory {
  /** Grows whenever old views became invalid (a WASM memory that grew). */
  readonly generation: number
  readonly bytesInUse: number
  alloc(bytes: number): Region
  free(region: Region): void
  /** A typed array of `length` elements from `byteOffset` of the region. */
  view(region: Region, byteOffset: number, length: number, dtype: DType): TypedArray
  dispose(): void
}

/** An operand of a kernel: element (i, j, …) is data[offset + i·strides[0] + j·strides[1] + …]. */
export interface View {
  data: TypedArray
  offset: number
  readonly shape: Shape
  readonly strides: readonly number[]
  readonly dtype: DType
  readonly size: number
  readonly contiguous: boolean
  /** The whole buffer that lies at `data`, while the view reads an input of the graph: it does not change as long as it lives. */
  buffer?: DeviceBuffer
}
export interface KernelCall {
  readonly op: string
  readonly inputs: readonly View[]
  /** Outputs are contiguous, but for those in `anyLayout`. */
  readonly outputs: readonly View[]
  readonly attrs: Readonly<Record<string, unknown>>
  readonly path: string
  /** `scratch` bytes of working memory, if the kernel asked for any. */
  readonly scratch: View | null
  /**
   * Whatever the kernel worked out from shapes, strides and attributes and wants to find again: a plan calls a step with the same
   * object every time, and only what views point at changes.
   */
  memo?: unknown
}
export type Kernel = (call: KernelCall) => void
type How = Report['ran'][number]['how']
export interface KernelEntry {
  readonly run: Kernel
  /** Takes inputs (or this one) with any strides; otherwise they are copied first, and the copy is counted. */
  readonly strided?: boolean | ((input: number, node: GraphNode) => boolean)
  /** How the report names it, or what the report says of this node: some kernels leave some dtypes to plain loops. */
  readonly how?: How | ((node: GraphNode) => How)
  /**
   * `inPlace[k]`: the inputs in whose memory output k may lie. The kernel reads element i of every input of that shape
   * before it writes element i of the output, or, as `update` does, leaves what is already there.
   */
  readonly inPlace?: readonly (readonly number[])[]
  /**
   * Results that the kernel writes with any strides, the last axis dense: they are laid out for who reads them next. All other
   * results are contiguous.
   */
  readonly anyLayout?: readonly number[]
  /** Bytes of working memory for this node. */
  scratch?(node: GraphNode): number
  /** True, or why this node is refused. */
  supports?(node: GraphNode): true | string
}
export type KernelTable = Readonly<Record<string, KernelEntry>>

export interface KernelBackendOptions {
  readonly name: string
  readonly precision?: Precision
  readonly kernels: KernelTable
  readonly memory: Memory
  readonly limits?: { readonly maxRank: number; readonly maxBytes: number }
  /**
   * Replaces groups of nodes by nodes of this backend's own (a product and its activation by one kernel), before memory is
   * planned; also called for bodies of loops. Outputs keep their order and shapes, inputs their positions.
   */
  readonly rewrite?: (graph: Graph) => Graph
  /** Before every run, while memory may still move: the place to make room for what kernels keep beside the buffers. */
  readonly prepare?: () => void
  /** The memory of a buffer was given back, or is another buffer's now: whatever was kept for it must go. */
  readonly freed?: (buffer: DeviceBuffer) => void
}

const VIEW_OPS: ReadonlySet<string> = new Set(['reshape', 'transpose', 'broadcastTo', 'slice'])
const PRIMITIVES: ReadonlySet<string> = new Set(primitiveNames)
const ALIGN = 64

interface Slot {
  kind: 'input' | 'output' | 'arena' | 'constant'
  index: number
  bytes: number
  first: number
  last: number
  offset: number
  views: View[]
  /** Where the views begin in the slot, in elements. */
  bases: number[]
  /** Inputs of the first step in whose memory the slot may lie. */
  over: Slot[]
  /** What the views show now, and its array. */
  bound: BoundArray | null
  boundData: TypedArray | null
}
interface Value {
  slot: Slot
  offset: number
  shape: Shape
  strides: readonly number[]
  dtype: DType
}
interface Step {
  entry: KernelEntry
  call: {
    op: string
    inputs: View[]
    outputs: View[]
    attrs: Readonly<Record<string, unknown>>
    path: string
    scratch: View | null
    memo: unknown
  }
  scratchSlot: Slot | null
  site: string | null
  scan: Program | null
}

/** Output `output` may take over the memory of input `input`, once `step` runs. */
interface Takeover {
  readonly output: number
  readonly input: number
  readonly step: number
}

const EMPTY: TypedArray = new Float32Array(0)

/** Axes of a result from the outermost in memory to the innermost. */
interface Layout {
  readonly output: number
  readonly order: readonly number[]
}
/** Strides of an array whose axes lie in this order. */
function stridesInOrder(shape: Shape, order: readonly number[]): number[] {
  const strides = stridesOf(order.map((axis) => shape[axis]))
  return shape.map((_, axis) => strides[order.indexOf(axis)])
}
/**
 * Results that are turned and then reshaped (heads that are put side by side): in the order of the turn the reshape moves nothing.
 * Only where everybody else who reads the result takes strides.
 */
function chosenLayouts(graph: Graph, table: KernelTable): ReadonlyMap<GraphNode, readonly Layout[]> {
  const { nodes } = graph
  const chosen = new Map<GraphNode, Layout[]>()
  const takesStrides = (n: GraphNode): boolean => VIEW_OPS.has(n.op) || table[n.op]?.strided === true
  for (const reshape of nodes) {
    const turn = nodes[reshape.inputs[0]?.node]
    if (reshape.op !== 'reshape' || turn.op !== 'transpose') continue
    const [{ node, index }] = turn.inputs
    const maker = nodes[node]
    const order = turn.attrs.perm as number[]
    const isRead = (r: Ref): boolean => r.node === node && r.index === index
    if (
      table[maker.op]?.anyLayout?.includes(index) &&
      order[order.length - 1] === order.length - 1 &&
      !chosen.get(maker)?.some((l) => l.output === index) &&
      !graph.outputs.some(isRead) &&
      nodes.every((n) => takesStrides(n) || !n.inputs.some(isRead))
    )
      chosen.set(maker, [...(chosen.get(maker) ?? []), { output: index, order }])
  }
  return chosen
}

/** A compiled graph: steps over views, whose arrays are bound before a run. */
class Program {
  readonly steps: Step[] = []
  readonly inputSlots: Slot[] = []
  readonly outputSlots: Slot[] = []
  readonly outputSpecs: Spec[] = []
  readonly arenaSlots: Slot[] = []
  /** What may be written over a donated input. */
  readonly takeovers: Takeover[] = []
  readonly counts = new Map<string, { op: string; how: How; count: number }>()
  private readonly constantSlots: { slot: Slot; value: number; dtype: DType }[] = []
  private readonly values: Value[][] = []
  private readonly layouts: ReadonlyMap<GraphNode, readonly Layout[]>
  private constants: Region | null = null
  arenaBytes = 0
  copies = 0
  /** The step that runs, or ran last. */
  at = 0
  private boundArena: Region | null = null
  private boundOffset = -1
  private boundGeneration = -1

  readonly graph: Graph
  readonly table: KernelTable
  readonly memory: Memory
  readonly precision: Precision

  constructor(
    given: Graph,
    private readonly options: KernelBackendOptions,
  ) {
    this.graph = options.rewrite?.(given) ?? given
    this.table = options.kernels
    this.memory = options.memory
    this.precision = options.precision ?? 'f32'
    const { graph } = this
    this.layouts = chosenLayouts(graph, this.table)
    graph.nodes.forEach((n, i) => {
      this.values[i] = this.plan(n)
    })
    graph.outputs.forEach((r, k) => {
      this.finish(r, k)
    })
    this.outputSlots.forEach((slot, output) => {
      for (const from of slot.over)
        if (from.kind === 'input' && from.last === slot.first)
          this.takeovers.push({ output, input: from.index, step: slot.first })
    })
    this.layout()
  }

  private slot(kind: Slot['kind'], index: number, bytes: number): Slot {
    const slot: Slot = {
      kind,
      index,
      bytes,
      first: this.steps.length,
      last: this.steps.length,
      offset: 0,
      views: [],
      bases: [],
      over: [],
      bound: null,
      boundData: null,
    }
    if (kind === 'arena') this.arenaSlots.push(slot)
    return slot
  }
  private fresh(spec: Spec, order?: readonly number[]): Value {
    const bytes = sizeOf(spec.shape) * bytesOf(spec.dtype, this.precision)
    return {
      slot: this.slot('arena', 0, bytes),
      offset: 0,
      shape: spec.shape,
      strides: order ? stridesInOrder(spec.shape, order) : stridesOf(spec.shape),
      dtype: spec.dtype,
    }
  }
  private view(v: Value): View {
    const view: View = {
      data: EMPTY,
      offset: v.offset,
      shape: v.shape,
      strides: v.strides,
      dtype: v.dtype,
      size: sizeOf(v.shape),
      contiguous: isContiguous(v.shape, v.strides),
    }
    v.slot.views.push(view)
    v.slot.bases.push(v.offset)
    return view
  }
  private valueOf(r: Ref): Value {
    return this.values[r.node][r.index]
  }

  private plan(n: GraphNode): Value[] {
    if (n.op === 'input') {
      const spec = n.to[0]
      const bytes = sizeOf(spec.shape) * bytesOf(spec.dtype, this.precision)
      const slot = this.slot('input', this.inputSlots.length, bytes)
      this.inputSlots.push(slot)
      return [{ slot, offset: 0, shape: spec.shape, strides: stridesOf(spec.shape), dtype: spec.dtype }]
    }
    if (n.op === 'constant') {
      const slot = this.slot('constant', this.constantSlots.length, 8)
      this.constantSlots.push({ slot, value: n.attrs.value as number, dtype: n.to[0].dtype })
      return [{ slot, offset: 0, shape: [], strides: [], dtype: n.to[0].dtype }]
    }
    const inputs = n.inputs.map((r) => this.valueOf(r))
    if (VIEW_OPS.has(n.op)) return [this.viewOp(n, inputs[0])]
    const entry = this.table[n.op]
    if (!entry) throw new BackendError(`the kernel table has no '${n.op}'`)
    const { strided = false } = entry
    const takes = (i: number): boolean => (typeof strided === 'function' ? strided(i, n) : strided)
    const ready = inputs.map((v, i) => (takes(i) ? v : this.contiguous(v)))
    const layouts = this.layouts.get(n)
    const outputs = n.to.map((s, k) => this.fresh(s, layouts?.find((l) => l.output === k)?.order))
    let scan: Program | null = null
    let scratchBytes = entry.scratch?.(n) ?? 0
    if (n.op === 'scan') {
      scan = new Program(n.attrs.body as Graph, this.options)
      scratchBytes = scanScratch(scan, n, this.precision)
    }
    this.step(n.op, entry, ready, outputs, n, scratchBytes, scan)
    return outputs
  }

  private step(
    op: string,
    entry: KernelEntry,
    inputs: Value[],
    outputs: Value[],
    n: GraphNode,
    scratchBytes: number,
    scan: Program | null,
  ): void {
    const at = this.steps.length
    const scratch = scratchBytes > 0 ? this.fresh({ shape: [scratchBytes], dtype: 'u8' }) : null
    for (const v of [...inputs, ...outputs, ...(scratch ? [scratch] : [])]) v.slot.last = at
    entry.inPlace?.forEach((candidates, k) => {
      for (const i of k < outputs.length ? candidates : [])
        if (i < inputs.length && this.fitsOver(outputs[k], inputs[i], inputs))
          outputs[k].slot.over.push(inputs[i].slot)
    })
    this.steps.push({
      entry,
      call: {
        op,
        inputs: inputs.map((v) => this.view(v)),
        outputs: outputs.map((v) => this.view(v)),
        attrs: n.attrs,
        path: n.path,
        scratch: scratch && this.view(scratch),
        memo: undefined,
      },
      scratchSlot: scratch?.slot ?? null,
      site: n.site,
      scan,
    })
    if (op === 'copy') return
    const { how: given = PRIMITIVES.has(op) ? 'native' : 'fused' } = entry
    const how = typeof given === 'function' ? given(n) : given
    const key = `${op}|${how}`
    const seen = this.counts.get(key)
    if (seen) seen.count++
    else this.counts.set(key, { op, how, count: 1 })
  }

  /** Whether `out` may lie where `from` does: both whole, of one size, and the step reads that memory in one order only. */
  private fitsOver(out: Value, from: Value, inputs: readonly Value[]): boolean {
    const whole = (v: Value): boolean =>
      v.offset === 0 &&
      isContiguous(v.shape, v.strides) &&
      v.slot.bytes === sizeOf(v.shape) * bytesOf(v.dtype, this.precision)
    return (
      out.slot.bytes === from.slot.bytes &&
      sameShape(out.shape, from.shape) &&
      inputs.every((v) => v.slot !== from.slot || (whole(v) && sameShape(v.shape, from.shape)))
    )
  }

  private viewOp(n: GraphNode, v: Value): Value {
    const shape = n.to[0].shape
    switch (n.op) {
      case 'transpose': {
        const perm = n.attrs.perm as number[]
        return { ...v, shape, strides: perm.map((p) => v.strides[p]) }
      }
      case 'broadcastTo':
        return { ...v, shape, strides: broadcastStrides(v.shape, v.strides, shape) }
      case 'slice': {
        const begin = n.attrs.begin as number[]
        const step = n.attrs.step as number[]
        return {
          ...v,
          shape,
          offset: v.offset + begin.reduce((sum, b, i) => sum + b * v.strides[i], 0),
          strides: v.strides.map((s, i) => s * step[i]),
        }
      }
      default: {
        const strides = reshapeStrides(v.shape, v.strides, shape)
        if (strides) return { ...v, shape, strides }
        return { ...this.contiguous(v), shape, strides: stridesOf(shape) }
      }
    }
  }

  private readonly copied = new Map<string, Value>()
  private contiguous(v: Value): Value {
    if (isContiguous(v.shape, v.strides)) return v
    const key = `${v.offset}|${v.shape}|${v.strides}`
    const known = this.copied.get(key)
    if (known && this.copiedFrom.get(known) === v.slot) return known
    return this.copy(v, key)
  }
  private readonly copiedFrom = new Map<Value, Slot>()
  /** Into neighbouring elements, by the table's own `copy` if it has one. */
  private copyStep(v: Value, out: Value): void {
    const entry = this.table.copy ?? PLAIN_COPY
    const n: GraphNode = { op: 'copy', attrs: {}, inputs: [], from: [v], to: [out], path: '', site: null }
    this.step('copy', entry, [v], [out], n, entry.scratch?.(n) ?? 0, null)
  }
  private copy(v: Value, key: string): Value {
    const out = this.fresh(v)
    this.copyStep(v, out)
    this.copies++
    this.copied.set(key, out)
    this.copiedFrom.set(out, v.slot)
    return out
  }

  private finish(r: Ref, k: number): void {
    const v = this.valueOf(r)
    const whole = v.slot.kind === 'arena' && v.offset === 0 && isContiguous(v.shape, v.strides)
    const exact = whole && v.slot.bytes === sizeOf(v.shape) * bytesOf(v.dtype, this.precision)
    let slot = v.slot
    if (!exact) {
      // an output owns its memory: a view, an input or a second name of one value is copied
      const out = this.fresh(v)
      this.copyStep(v, out)
      slot = out.slot
    }
    slot.kind = 'output'
    slot.index = k
    this.outputSlots[k] = slot
    this.outputSpecs[k] = { shape: v.shape, dtype: v.dtype }
  }

  /** Offsets in the arena: first fit over the slots that live at the same time. */
  private layout(): void {
    const slots = this.arenaSlots.filter((s) => s.kind === 'arena' && s.bytes > 0)
    const starts: Slot[][] = this.steps.map(() => [])
    const ends: Slot[][] = this.steps.map(() => [])
    for (const s of slots) {
      starts[s.first]?.push(s)
      ends[s.last]?.push(s)
    }
    // whose memory a later slot took over
    const passed = new Set<Slot>()
    let free: { offset: number; bytes: number }[] = []
    let top = 0
    for (let i = 0; i < this.steps.length; i++) {
      for (const s of starts[i]) {
        const need = align(s.bytes)
        const under = s.over.find((o) => o.kind === 'arena' && o.last === i && !passed.has(o))
        if (under) {
          s.offset = under.offset
          passed.add(under)
          continue
        }
        let best = -1
        for (let k = 0; k < free.length; k++)
          if (free[k].bytes >= need && (best < 0 || free[k].bytes < free[best].bytes)) best = k
        if (best >= 0) {
          s.offset = free[best].offset
          free[best].offset += need
          free[best].bytes -= need
          if (free[best].bytes === 0) free.splice(best, 1)
        } else {
          s.offset = top
          top += need
        }
      }
      for (const s of ends[i]) if (!passed.has(s)) free = release(free, s.offset, align(s.bytes))
    }
    this.arenaBytes = top
  }

  /** Allocates what lives as long as the program, loops inside it included: nothing may move memory once views are taken. */
  prepare(): void {
    const { memory } = this
    if (this.constantSlots.length > 0 && this.constants === null) {
      const region = memory.alloc(this.constantSlots.length * 8)
      this.constantSlots.forEach(({ value, dtype }, i) => {
        memory.view(region, i * 8, 1, dtype)[0] = value
      })
      this.constants = region
    }
    for (const step of this.steps) step.scan?.prepare()
  }

  /** Points every view at memory. Arena and constants only when they moved. */
  bind(
    arena: Region,
    arenaOffset: number,
    inputs: readonly BoundArray[],
    outputs: readonly BoundArray[],
  ): void {
    const { memory } = this
    if (
      this.boundArena !== arena ||
      this.boundOffset !== arenaOffset ||
      this.boundGeneration !== memory.generation
    ) {
      this.boundArena = arena
      this.boundOffset = arenaOffset
      this.boundGeneration = memory.generation
      for (const { slot } of this.constantSlots)
        for (const v of slot.views) v.data = memory.view(this.constants as Region, slot.index * 8, 1, v.dtype)
      for (const slot of this.arenaSlots) {
        if (slot.kind !== 'arena') continue
        for (const v of slot.views)
          v.data = memory.view(
            arena,
            arenaOffset + slot.offset,
            Math.floor(slot.bytes / bytesOf(v.dtype, this.precision)),
            v.dtype,
          )
      }
    }
    for (let i = 0; i < inputs.length; i++) rebind(this.inputSlots[i], inputs[i])
    for (let i = 0; i < outputs.length; i++) rebind(this.outputSlots[i], outputs[i])
  }

  run(): void {
    for (let i = 0; i < this.steps.length; i++) {
      const step = this.steps[i]
      this.at = i
      try {
        if (step.scan && this.boundArena)
          runScan(step.scan, step.call, this.boundArena, this.boundOffset + (step.scratchSlot as Slot).offset)
        else step.entry.run(step.call)
      } catch (error) {
        throw located(error, step)
      }
    }
  }
  dispose(): void {
    for (const step of this.steps) step.scan?.dispose()
    if (this.constants) this.memory.free(this.constants)
    this.constants = null
  }
}

/** An array and where it begins: an input or output of a program. */
interface BoundArray {
  data: TypedArray
  offset: number
  buffer?: DeviceBuffer
}
/** Points the views of a slot at an array, unless they show it already: parameters stay where they are. */
function rebind(slot: Slot, to: BoundArray): void {
  if (slot.bound === to && slot.boundData === to.data && slot.views[0]?.buffer === to.buffer) return
  slot.bound = to
  slot.boundData = to.data
  for (let i = 0; i < slot.views.length; i++) {
    const v = slot.views[i]
    v.data = to.data
    v.offset = slot.bases[i] + to.offset
    v.buffer = to.buffer
  }
}

const align = (n: number): number => Math.ceil(n / ALIGN) * ALIGN

function release(
  free: { offset: number; bytes: number }[],
  offset: number,
  bytes: number,
): { offset: number; bytes: number }[] {
  const all = [...free, { offset, bytes }].sort((a, b) => a.offset - b.offset)
  const merged: { offset: number; bytes: number }[] = []
  for (const f of all) {
    const last = merged[merged.length - 1]
    if (last && last.offset + last.bytes === f.offset) last.bytes += f.bytes
    else merged.push({ ...f })
  }
  return merged
}

function located(error: unknown, step: Step): unknown {
  if (error instanceof HeedError) {
    const where = step.call.path ? `${step.call.path}: ` : ''
    if (!error.message.includes(`${step.call.op}(`)) {
      error.message = `${where}${step.call.op}(${step.call.inputs.map((v) => showShape(v.shape)).join(', ')}): ${error.message}`
      if (step.site)
        error.stack = `${error.name}: ${error.message}\n  built${step.site.replace(/^Error/, ' at')}`
    }
    return error
  }
  return error
}

/** Strides that read the same elements under another shape without moving them, or null. */
export function reshapeStrides(shape: Shape, strides: readonly number[], to: Shape): number[] | null {
  if (isContiguous(shape, strides)) return stridesOf(to)
  const from = shape.map((d, i) => ({ d, s: strides[i] })).filter(({ d }) => d !== 1)
  const out = new Array<number>(to.length).fill(0)
  let i = 0
  let j = 0
  while (i < from.length && j < to.length) {
    if (to[j] === 1) {
      j++
      continue
    }
    let n = from[i].d
    let m = to[j]
    const i0 = i
    const j0 = j
    while (n !== m) {
      if (n < m) {
        if (++i >= from.length) return null
        n *= from[i].d
      } else {
        if (++j >= to.length) return null
        m *= to[j]
      }
    }
    for (let k = i0; k < i; k++) if (from[k].s !== from[k + 1].d * from[k + 1].s) return null
    let step = from[i].s
    for (let k = j; k >= j0; k--) {
      out[k] = step
      step *= to[k]
    }
    i++
    j++
  }
  return i === from.length && to.slice(j).every((d) => d === 1) ? out : null
}

const PLAIN_COPY: KernelEntry = { strided: true, run: plainCopy }
/** Copies a view into a contiguous output. */
function plainCopy({ inputs: [x], outputs: [o] }: KernelCall): void {
  const { shape, strides } = x
  const n = x.size
  const out = o.data
  if (n === 0) return
  if (x.contiguous) {
    const from = x.data.subarray(x.offset, x.offset + n) as Float32Array
    ;(out as Float32Array).set(from, o.offset)
    return
  }
  const rank = shape.length
  const inner = shape[rank - 1]
  const innerStride = strides[rank - 1]
  const index = new Int32Array(rank)
  let p = x.offset
  let q = o.offset
  for (let row = n / inner; row > 0; row--) {
    for (let k = 0, at = p; k < inner; k++, at += innerStride) out[q++] = x.data[at]
    for (let d = rank - 2; d >= 0; d--) {
      p += strides[d]
      if (++index[d] < shape[d]) break
      p -= strides[d] * shape[d]
      index[d] = 0
    }
  }
}

// scan: the body's program runs once a step on slices of the outer arrays; carries alternate between two buffers

function scanScratch(body: Program, n: GraphNode, precision: Precision): number {
  const nCarry = n.attrs.nCarry as number
  const carries = body.outputSpecs.slice(0, nCarry)
  let bytes = align(body.arenaBytes)
  for (const s of carries) bytes += 2 * align(sizeOf(s.shape) * bytesOf(s.dtype, precision))
  return bytes + ALIGN
}

function runScan(body: Program, call: Step['call'], arena: Region, arenaOffset: number): void {
  const { nCarry, nX, nY, length, reverse } = call.attrs as {
    nCarry: number
    nX: number
    nY: number
    length: number
    reverse: boolean
  }
  const { memory, precision } = body
  const carrySpecs = body.outputSpecs.slice(0, nCarry)
  let at = arenaOffset + align(body.arenaBytes)
  const array = (spec: Spec): BoundArray => {
    const size = sizeOf(spec.shape)
    const a = { data: memory.view(arena, at, size, spec.dtype), offset: 0 }
    at += align(size * bytesOf(spec.dtype, precision))
    return a
  }
  const buffers = [carrySpecs.map(array), carrySpecs.map(array)]
  const whole = (v: View): BoundArray => ({ data: v.data, offset: v.offset })
  const slot = (v: View, t: number): BoundArray => ({
    data: v.data,
    offset: v.offset + (t * v.size) / length,
  })
  const captured = call.inputs.slice(nCarry + nX).map((v) => ({ ...whole(v), buffer: v.buffer }))
  let current = call.inputs.slice(0, nCarry).map(whole)
  for (let k = 0; k < length; k++) {
    const t = reverse ? length - 1 - k : k
    current.forEach((c, i) =>
      copyFlat(c, slot(call.outputs[nCarry + nY + i], t), sizeOf(carrySpecs[i].shape)),
    )
    const next = buffers[k % 2]
    body.bind(
      arena,
      arenaOffset,
      [...current, ...call.inputs.slice(nCarry, nCarry + nX).map((v) => slot(v, t)), ...captured],
      [...next, ...call.outputs.slice(nCarry, nCarry + nY).map((v) => slot(v, t))],
    )
    body.run()
    current = next
  }
  current.forEach((c, i) => copyFlat(c, whole(call.outputs[i]), sizeOf(carrySpecs[i].shape)))
}
function copyFlat(from: BoundArray, to: BoundArray, n: number): void {
  ;(to.data as Float32Array).set(
    (from.data as Float32Array).subarray(from.offset, from.offset + n),
    to.offset,
  )
}

class KernelBuffer implements DeviceBuffer, BoundArray {
  data: TypedArray = EMPTY
  readonly offset = 0
  /** Itself, for kernels that keep something beside what does not change; nothing while it is written over. */
  buffer: DeviceBuffer | undefined = undefined
  /** The memory's when `data` was taken. */
  generation = -1
  /** Inputs of a run that show it: counted while the run is prepared. */
  readers = 0

  constructor(
    readonly shape: Shape,
    readonly dtype: DType,
    readonly size: number,
    readonly bytes: number,
    public region: Region | null,
  ) {}
  get gone(): boolean {
    return this.region === null
  }
}

const NONE: readonly Takeover[] = []
/** Which donated inputs this run writes over, each for one output. An array that two inputs show is left alone. */
function takeoversOf(
  program: Program,
  inputs: readonly KernelBuffer[],
  donated: readonly boolean[],
): readonly Takeover[] {
  if (!program.takeovers.some((t) => donated[t.input])) return NONE
  for (const b of inputs) b.readers = 0
  for (const b of inputs) b.readers++
  const chosen: Takeover[] = []
  const taken = new Set<number>()
  for (const t of program.takeovers) {
    const from = inputs[t.input]
    if (!donated[t.input] || from.readers !== 1 || taken.has(t.output)) continue
    from.readers = 0
    taken.add(t.output)
    chosen.push(t)
  }
  return chosen
}

/** A Backend from a kernel table and a memory. */
export function kernelBackend(options: KernelBackendOptions): Backend {
  const { name, kernels, memory, precision = 'f32' } = options
  const limits = options.limits ?? { maxRank: 16, maxBytes: 2 ** 32 }
  let arena: Region | null = null
  let disposed = false
  const alive = (): void => {
    if (disposed) throw new BackendError(`backend '${name}' was disposed; make a new one`)
  }
  /** Memory, if need be the arena's: a run that once was large must not starve the others. */
  const claim = (bytes: number): Region => {
    try {
      return memory.alloc(bytes)
    } catch (error) {
      if (arena === null) throw error
      memory.free(arena)
      arena = null
      return memory.alloc(bytes)
    }
  }
  const make = (shape: Shape, dtype: DType, over: Region | null = null): KernelBuffer => {
    const size = sizeOf(shape)
    const bytes = size * bytesOf(dtype, precision)
    return new KernelBuffer(shape, dtype, size, bytes, over ?? claim(bytes))
  }
  const current = (b: KernelBuffer): KernelBuffer => {
    if (b.generation !== memory.generation) {
      if (!b.region) throw new BackendError(`backend '${name}': the buffer was freed`)
      b.data = memory.view(b.region, 0, b.size, b.dtype)
      b.generation = memory.generation
    }
    return b
  }
  const arrayOf = (b: DeviceBuffer): TypedArray => current(b as KernelBuffer).data
  return {
    spec: 1,
    name,
    precision,
    limits,
    get bytesInUse() {
      return memory.bytesInUse
    },
    supports(node) {
      const entry = kernels[node.op]
      for (const { shape, dtype } of node.to) {
        if (shape.length > limits.maxRank) return `${name} takes at most ${limits.maxRank} axes`
        if (sizeOf(shape) * bytesOf(dtype, precision) > limits.maxBytes && !VIEW_OPS.has(node.op))
          return `${name} holds at most ${limits.maxBytes} bytes in one array`
      }
      if (VIEW_OPS.has(node.op)) return true
      if (!entry) return `${name} has no kernel for ${node.op}`
      return entry.supports?.(node) ?? true
    },
    compile(graph): Executable {
      alive()
      const program = new Program(graph, options)
      const report: Report = {
        backend: name,
        precision,
        nodes: graph.nodes.length,
        steps: program.steps.length,
        ran: [...program.counts.values()],
        inlined: [],
        copies: program.copies,
        arenaBytes: program.arenaBytes,
        outputBytes: program.outputSpecs.reduce(
          (n, s) => n + sizeOf(s.shape) * bytesOf(s.dtype, precision),
          0,
        ),
        segments: 1,
      }
      return {
        report,
        run(given, donated) {
          alive()
          const inputs = given as readonly KernelBuffer[]
          program.prepare()
          options.prepare?.()
          const over = takeoversOf(program, inputs, donated)
          const outputs: KernelBuffer[] = []
          program.at = -1
          try {
            const { outputSpecs } = program
            for (let k = 0; k < outputSpecs.length; k++) {
              const t = over.length > 0 ? over.find((t) => t.output === k) : undefined
              const region = t ? inputs[t.input].region : null
              outputs.push(make(outputSpecs[k].shape, outputSpecs[k].dtype, region))
            }
            if (arena === null || arena.bytes < program.arenaBytes) {
              if (arena) memory.free(arena)
              arena = null
              arena = memory.alloc(program.arenaBytes)
            }
            // views are taken last: every allocation may move the memory
            for (const b of inputs) current(b).buffer = b
            for (const b of outputs) current(b)
            // what will be written over is nothing to keep anything for
            for (const t of over) inputs[t.input].buffer = undefined
            program.bind(arena, 0, inputs, outputs)
            for (const t of over) disown(inputs[t.input])
            program.run()
          } catch (error) {
            // a donated input that no step wrote over yet is as it was
            for (const t of over) {
              const out = outputs[t.output]
              if (out && program.at < t.step) inputs[t.input].region = disown(out)
            }
            for (const b of outputs) freeBuffer(b)
            throw error
          }
          return outputs
        },
        dispose: () => program.dispose(),
      }
    },
    upload(data, shape, dtype) {
      alive()
      if (data.length !== sizeOf(shape))
        throw new BackendError(`${data.length} values for a tensor ${showShape(shape)}`)
      const buffer = make(shape, dtype)
      const target = arrayOf(buffer)
      if (target instanceof BigInt64Array || data instanceof BigInt64Array)
        (target as BigInt64Array).set(data as BigInt64Array)
      else target.set(data)
      return buffer
    },
    peek: (buffer, count) => (disposed ? new Float32Array(0) : arrayOf(buffer).slice(0, count)),
    async download(buffer) {
      alive()
      return arrayOf(buffer).slice()
    },
    free: (buffer) => {
      if (!disposed) freeBuffer(buffer as KernelBuffer)
    },
    dispose() {
      if (disposed) return
      disposed = true
      memory.dispose()
    },
  }

  /** The buffer has no memory any more: it was freed, or is another buffer's. */
  function disown(buffer: KernelBuffer): Region | null {
    const { region } = buffer
    buffer.region = null
    buffer.data = EMPTY
    buffer.generation = -1
    if (region) options.freed?.(buffer)
    return region
  }
  function freeBuffer(buffer: KernelBuffer): void {
    const region = disown(buffer)
    if (region) memory.free(region)
  }
}
