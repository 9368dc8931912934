/**
 * From a lowered graph to a list of draws. Kernels of this backend are functions that plan: they read views (a texture with
 * offset, shape and strides; nothing is copied for them) and add draws, whose textures come from the device's pool when the
 * plan runs and go back after their last reader.
 */
import {
  type DType,
  type Graph,
  type GraphNode,
  isContiguous,
  type Precision,
  primitiveNames,
  reshapeStrides,
  type Shape,
  type Spec,
  sizeOf,
  stridesOf,
  type TypedArray,
  toF16,
} from '@heed/tensor'
import {
  type Device,
  type Format,
  formatOf,
  isFloat,
  type Program,
  samplerOf,
  type Texture,
} from './device.js'
import { libraryFor } from './glsl.js'
import { broadcastStrides } from './walk.js'

/** A view of an array: element (i, j, …) is number offset + i·strides[0] + j·strides[1] + … of its slot. */
export interface Value {
  readonly slot: number
  readonly offset: number
  readonly shape: Shape
  readonly strides: readonly number[]
  readonly dtype: DType
}
/** What one fragment shader computes. */
export interface Drawing {
  /**
   * GLSL that defines `float value(int o)` (`int` for integers): element o of the result, or `vec4 quad(int t)`: elements
   * 4t to 4t + 3, or for several results of one shape `void quads(int t, out vec4 y[N])`. `at0(i)` is element i of what
   * input 0 lies in, `texel0(t)` its elements 4t to 4t + 3.
   */
  readonly code: string
  readonly inputs: readonly Value[]
  /** Uniforms by name: sizes and strides belong here, so that one program serves them all. */
  readonly ints?: Readonly<Record<string, number>>
  readonly floats?: Readonly<Record<string, number>>
  readonly shape: Shape
  readonly dtype: DType
}
/** A kernel: adds draws for a node and says where its results are. */
export interface Kernel {
  readonly plan: (node: GraphNode, inputs: readonly Value[], planner: Planner) => readonly Value[]
  /** True, or why this node is refused. */
  readonly supports?: (node: GraphNode) => true | string
  /** Elements of the largest intermediate, where that may be larger than what goes in and out. */
  readonly largest?: (node: GraphNode) => number
}
export type KernelTable = Readonly<Record<string, Kernel>>

const VIEW_OPS: ReadonlySet<string> = new Set(['reshape', 'transpose', 'broadcastTo', 'slice'])
export const isView = (op: string): boolean => VIEW_OPS.has(op)
const PRIMITIVES: ReadonlySet<string> = new Set(primitiveNames)

interface Slot {
  readonly size: number
  format: Format
  /** The last step that reads it. */
  last: number
  readonly constant: TypedArray | null
}
interface Draw {
  readonly drawing: Drawing
  readonly outs: readonly number[]
  readonly inputs: readonly number[]
}
/** A draw whose program is there. */
interface Ready extends Omit<Draw, 'drawing'> {
  readonly program: Program
  readonly ints: Int32Array
  readonly floats: Float32Array
}
/** A step that is no single draw: from textures to textures. */
interface Special {
  readonly inputs: readonly number[]
  readonly outs: readonly number[]
  readonly run: (inputs: readonly Texture[]) => Texture[]
  dispose(): void
}

const NO_FLOATS = new Float32Array(0)

/** What the text of a program depends on of an array: what a texel holds, and whether there are several layers. */
interface Place {
  readonly format: Format
  readonly layered: boolean
}

/** The text of a program: what it needs of the library, its uniforms, its inputs, the drawing's own text. */
function sourceOf(
  d: Drawing,
  inputs: readonly Place[],
  { format: out, layered }: Place,
  results: number,
): string {
  const names = Object.keys(d.ints ?? {})
  const floats = Object.keys(d.floats ?? {})
  const head = [
    '#version 300 es',
    'precision highp float; precision highp int; precision highp sampler2D; precision highp isampler2D;',
    ...(inputs.some((i) => i.layered)
      ? ['precision highp sampler2DArray; precision highp isampler2DArray;']
      : []),
    `uniform int ints_[${1 + inputs.length + names.length}];`,
    ...(layered ? ['uniform int base_;'] : []),
    ...(floats.length > 0 ? [`uniform float floats_[${floats.length}];`] : []),
  ]
  const lines: string[] = []
  const widths: string[] = []
  inputs.forEach(({ format, layered }, k) => {
    const sampler = `${samplerOf(format)}${layered ? 'Array' : ''}`
    const [one, four] = isFloat(format) ? ['float', 'vec4'] : ['int', 'ivec4']
    const place = layered
      ? `ivec3(t & mask${k}, (t >> bits${k}) & rows${k}, t >> layer${k})`
      : `ivec2(t & mask${k}, t >> bits${k})`
    widths.push(
      layered
        ? `  bits${k} = ints_[${k + 1}] & 255; layer${k} = ints_[${k + 1}] >> 8; mask${k} = (1 << bits${k}) - 1; rows${k} = (1 << (layer${k} - bits${k})) - 1;`
        : `  bits${k} = ints_[${k + 1}]; mask${k} = (1 << bits${k}) - 1;`,
    )
    lines.push(
      `int bits${k}, mask${k}${layered ? `, layer${k}, rows${k}` : ''};`,
      `uniform ${sampler} x${k};`,
      format === 'f16'
        ? `vec4 texel${k}(int t) { ivec4 h = texelFetch(x${k}, ${place}, 0); return vec4(ofHalf(h.x), ofHalf(h.y), ofHalf(h.z), ofHalf(h.w)); }`
        : format === 'bits'
          ? `vec4 texel${k}(int t) { return intBitsToFloat(texelFetch(x${k}, ${place}, 0)); }`
          : `${four} texel${k}(int t) { return texelFetch(x${k}, ${place}, 0); }`,
      `${one} at${k}(int i) { return texel${k}(i >> 2)[i & 3]; }`,
    )
  })
  const four = isFloat(out) ? 'vec4' : 'ivec4'
  const stored = samplerOf(out) === 'isampler2D' ? 'ivec4' : 'vec4'
  const places = Array.from({ length: results }, (_, i) => i)
  const store = (y: string): string =>
    out === 'f16'
      ? `ivec4(halfOf(${y}.x), halfOf(${y}.y), halfOf(${y}.z), halfOf(${y}.w))`
      : out === 'bits'
        ? `floatBitsToInt(${y})`
        : y
  const body = /\bquads\(int/.test(d.code)
    ? `${four} y[${results}]; quads(t, y);`
    : /\bquad\(int/.test(d.code)
      ? `${four} y[1]; y[0] = quad(t);`
      : `int o = t << 2; ${four} y[1]; y[0] = ${four}(value(o), value(o + 1), value(o + 2), value(o + 3));`
  const stores = places.map((i) => `  result${i} = ${store(`y[${i}]`)};`)
  return [
    ...head,
    libraryFor([...lines, d.code, ...stores].join('\n')),
    ...lines,
    ...names.map((n, i) => `#define ${n} ints_[${1 + inputs.length + i}]`),
    ...floats.map((n, i) => `#define ${n} floats_[${i}]`),
    d.code,
    ...places.map((i) => `layout(location = ${i}) out ${stored} result${i};`),
    'void main() {',
    ...widths,
    `  int t = ${layered ? 'base_ | ' : ''}(int(gl_FragCoord.y) << ints_[0]) | int(gl_FragCoord.x);`,
    `  ${body}`,
    ...stores,
    '}',
  ].join('\n')
}

/** Adds draws to a plan. */
export class Planner {
  readonly slots: Slot[] = []
  readonly steps: (Draw | Special)[] = []
  copies = 0
  private readonly copied = new Map<string, Value>()

  constructor(
    readonly device: Device,
    readonly precision: Precision,
    readonly table: KernelTable,
  ) {}

  /** How draws hand each other a dtype: where tensors are stored as halves, float32 all the same. */
  formatOf(dtype: DType): Format {
    const format = formatOf(dtype, this.precision, 1)
    if (!format) throw new Error(`${dtype} has no texture`)
    return format
  }
  slot(size: number, dtype: DType, constant: TypedArray | null = null): number {
    const format = this.formatOf(dtype)
    return this.slots.push({ size, format, last: this.steps.length, constant }) - 1
  }
  /** A new array in row-major order. */
  fresh(shape: Shape, dtype: DType, constant: TypedArray | null = null): Value {
    const slot = this.slot(sizeOf(shape), dtype, constant)
    return { slot, offset: 0, shape, strides: stridesOf(shape), dtype }
  }
  /** Known numbers: uploaded once, when the plan is made. */
  constant(data: TypedArray, shape: Shape, dtype: DType): Value {
    return this.fresh(shape, dtype, data)
  }

  draw(d: Drawing): Value {
    return this.drawMany(d, 1)[0]
  }
  /** Several results of one shape by one program. */
  drawMany(d: Drawing, results: number): Value[] {
    const outs = Array.from({ length: results }, () => this.fresh(d.shape, d.dtype))
    if (sizeOf(d.shape) === 0) return outs
    this.add({ drawing: d, outs: outs.map((v) => v.slot), inputs: d.inputs.map((v) => v.slot) })
    return outs
  }
  /** With its program, once it is known what else happens to its result. */
  ready({ drawing: d, outs, inputs: read }: Draw): Ready {
    const { device } = this
    const laid = (slot: number) => {
      const { size, format } = this.slots[slot]
      const { bits, layers, layerBits } = device.layoutOf(size)
      return { format, layered: layers > 1, bits, layerBits }
    }
    const inputs = read.map(laid)
    const out = laid(outs[0])
    const program = device.program(sourceOf(d, inputs, out, outs.length), inputs.length)
    const ints = Int32Array.of(
      out.bits,
      ...inputs.map((i) => i.bits | (i.layerBits << 8)),
      ...Object.values(d.ints ?? {}),
    )
    const floats = d.floats ? Float32Array.from(Object.values(d.floats)) : NO_FLOATS
    return { program, outs, inputs: read, ints, floats }
  }
  private add(step: Draw | Special): void {
    const at = this.steps.push(step) - 1
    for (const i of step.inputs) this.slots[i].last = at
    for (const i of step.outs) this.slots[i].last = at
  }
  /** Takes out draws that nothing reads, and says until when each array is needed. */
  dropUnread(outputs: readonly number[]): void {
    const read = new Set(outputs)
    const kept: (Draw | Special)[] = []
    for (const step of this.steps.reverse()) {
      if (!step.outs.some((o) => read.has(o))) continue
      for (const i of step.inputs) read.add(i)
      kept.push(step)
    }
    this.steps.length = 0
    for (const step of kept.reverse()) this.add(step)
    for (const o of outputs) this.slots[o].last = Number.POSITIVE_INFINITY
  }
  special(inputs: readonly Value[], outs: readonly Value[], step: Pick<Special, 'run' | 'dispose'>): void {
    this.add({ ...step, inputs: inputs.map((v) => v.slot), outs: outs.map((v) => v.slot) })
  }

  /** The view in row-major order, from the first element of its slot; a copy, counted, unless it is that already. */
  whole(v: Value): Value {
    if (this.isWhole(v)) return v
    const key = `${v.slot}|${v.offset}|${v.shape}|${v.strides}`
    const known = this.copied.get(key)
    if (known) return known
    const copy = this.copyOf(v)
    this.copies++
    this.copied.set(key, copy)
    return copy
  }
  private copyOf(v: Value): Value {
    return this.table.copy.plan(nodeOf('copy', {}, [], v), [v], this)[0]
  }
  /** Row-major and without gaps, wherever it begins. */
  contiguous(v: Value): Value {
    return isContiguous(v.shape, v.strides) ? v : this.whole(v)
  }
  /** Whole, and stored as `format`, which holds its dtype. */
  stored(v: Value, format: Format): Value {
    const whole = this.whole(v)
    const slot = this.slots[whole.slot]
    if (slot.format === format) return whole
    const step = this.steps.find((s) => s.outs.includes(whole.slot))
    const isInput = !step && !slot.constant && slot.size > 0
    const isOneOfMany = step && (!('drawing' in step) || step.outs.length > 1)
    // what others compute from it does not depend on whether it is asked for
    const isRead = this.steps.some((s) => s.inputs.includes(whole.slot))
    if (isInput || isOneOfMany || isRead) {
      const copy = this.copyOf(whole)
      this.slots[copy.slot].format = format
      return copy
    }
    // whoever wrote it writes it so
    slot.format = format
    return whole
  }
  isWhole(v: Value): boolean {
    return v.offset === 0 && isContiguous(v.shape, v.strides) && this.slots[v.slot].size === sizeOf(v.shape)
  }

  view(n: GraphNode, v: Value): Value {
    const shape = n.to[0].shape
    switch (n.op) {
      case 'transpose':
        return { ...v, shape, strides: (n.attrs.perm as number[]).map((p) => v.strides[p]) }
      case 'broadcastTo':
        return { ...v, shape, strides: broadcastStrides(v, shape) }
      case 'slice': {
        const begin = n.attrs.begin as number[]
        const step = n.attrs.step as number[]
        const offset = begin.reduce((sum, b, i) => sum + b * v.strides[i], v.offset)
        return { ...v, shape, offset, strides: v.strides.map((s, i) => s * step[i]) }
      }
      default: {
        return this.reshape(v, shape)
      }
    }
  }
  reshape(v: Value, shape: Shape): Value {
    const strides = reshapeStrides(v.shape, v.strides, shape)
    return strides ? { ...v, shape, strides } : { ...this.whole(v), shape, strides: stridesOf(shape) }
  }
}

/** A node that reads the first nodes of its graph, one for each of `from`. */
const nodeOf = (
  op: string,
  attrs: GraphNode['attrs'],
  from: readonly Spec[],
  { shape, dtype }: Spec,
): GraphNode => ({
  op,
  attrs,
  inputs: from.map((_, node) => ({ node, index: 0 })),
  from,
  to: [{ shape, dtype }],
  path: '',
  site: null,
})
/** A graph of one node over inputs. */
export const graphOf = (op: string, attrs: GraphNode['attrs'], from: readonly Spec[], to: Spec): Graph => ({
  key: '',
  nodes: [...from.map((spec) => nodeOf('input', {}, [], spec)), nodeOf(op, attrs, from, to)],
  inputs: from.map((_, i) => i),
  outputs: [{ node: from.length, index: 0 }],
})

/** How f32 lies in the textures that a plan is given, by input, and in those that it hands over. */
export interface Boundary {
  readonly inputs: readonly Format[]
  readonly output: Format
}

/** A graph as draws. Textures that come in are not written, those that come out belong to the caller. */
export class Plan {
  readonly counts = new Map<string, { op: string; how: 'native' | 'fused'; count: number }>()
  readonly copies: number
  readonly steps: number
  /** Bytes that intermediates need at most at one time. */
  readonly peakBytes: number
  private readonly planner: Planner
  private readonly inputs: number[] = []
  private readonly outputs: number[] = []
  private readonly constants = new Map<number, Texture>()
  private readonly ready: (Ready | Special)[] = []

  constructor(
    graph: Graph,
    readonly device: Device,
    precision: Precision,
    table: KernelTable,
    /** Default: as tensors are stored. */
    private readonly boundary: Boundary | null = null,
  ) {
    const planner = new Planner(device, precision, table)
    this.planner = planner
    const values: (readonly Value[])[] = []
    for (const n of graph.nodes) values.push(this.node(n, (r) => values[r.node][r.index]))
    for (const r of graph.outputs) {
      const v = values[r.node][r.index]
      const format = formatOf(v.dtype, precision, sizeOf(v.shape)) as Format
      const wanted = v.dtype === 'f32' ? (boundary?.output ?? format) : format
      this.outputs.push(planner.stored(v, wanted).slot)
    }
    planner.dropUnread(this.outputs)
    this.copies = planner.copies
    this.steps = planner.steps.length
    this.peakBytes = this.peak()
    try {
      for (const step of planner.steps) this.ready.push('drawing' in step ? planner.ready(step) : step)
      planner.slots.forEach(({ constant, format }, i) => {
        if (!constant) return
        const bits = format === 'f16' ? Uint16Array.from(constant as Float32Array, toF16) : constant
        this.constants.set(i, device.upload(bits, format))
      })
    } catch (error) {
      this.dispose()
      throw error
    }
  }

  private node(n: GraphNode, valueAt: (r: GraphNode['inputs'][number]) => Value): readonly Value[] {
    const { planner } = this
    if (n.op === 'input') {
      const { shape, dtype } = n.to[0]
      const v = planner.fresh(shape, dtype)
      const format =
        this.boundary?.inputs[this.inputs.length] ?? formatOf(dtype, planner.precision, sizeOf(shape))
      if (format) planner.slots[v.slot].format = format
      this.inputs.push(v.slot)
      return [v]
    }
    if (n.op === 'constant') {
      const { dtype } = n.to[0]
      const value = n.attrs.value as number
      return [planner.constant(dtype === 'f32' ? Float32Array.of(value) : Int32Array.of(value), [], dtype)]
    }
    const inputs = n.inputs.map(valueAt)
    if (isView(n.op)) return [planner.view(n, inputs[0])]
    const kernel = planner.table[n.op]
    if (!kernel) throw new Error(`webgl has no kernel for ${n.op}`)
    const how = PRIMITIVES.has(n.op) ? 'native' : 'fused'
    const seen = this.counts.get(n.op)
    if (seen) seen.count++
    else this.counts.set(n.op, { op: n.op, how, count: 1 })
    return kernel.plan(n, inputs, planner)
  }

  private peak(): number {
    const { slots, steps } = this.planner
    let now = 0
    let peak = 0
    steps.forEach((step, i) => {
      const touched = new Set([...step.outs, ...step.inputs])
      for (const o of step.outs) now += this.device.bytesOf(slots[o].size, slots[o].format)
      peak = Math.max(peak, now)
      for (const s of touched)
        if (slots[s].last === i && !slots[s].constant && !this.inputs.includes(s))
          now -= this.device.bytesOf(slots[s].size, slots[s].format)
    })
    return peak
  }

  /** Runs every draw; call it within `device.within`. */
  run(given: readonly Texture[]): Texture[] {
    const { device, planner } = this
    const { slots } = planner
    const textures = new Array<Texture | undefined>(slots.length)
    const isOurs = new Uint8Array(slots.length)
    this.inputs.forEach((slot, i) => {
      textures[slot] = given[i]
    })
    for (const [slot, texture] of this.constants) textures[slot] = texture
    const own = (slot: number, texture: Texture): void => {
      textures[slot] = texture
      isOurs[slot] = 1
    }
    const drop = (slot: number): void => {
      const texture = textures[slot]
      if (!isOurs[slot] || !texture) return
      device.release(texture)
      isOurs[slot] = 0
    }
    // an empty array is never drawn, but may be bound
    const textureOf = (slot: number): Texture => {
      const known = textures[slot]
      if (known) return known
      const empty = device.alloc(0, slots[slot].format)
      own(slot, empty)
      return empty
    }
    try {
      this.ready.forEach((step, at) => {
        const inputs = step.inputs.map(textureOf)
        if ('run' in step) step.run(inputs).forEach((t, i) => own(step.outs[i], t))
        else {
          const outs = step.outs.map((slot) => {
            const out = device.alloc(slots[slot].size, slots[slot].format)
            own(slot, out)
            return out
          })
          device.draw(step.program, outs, inputs, step.ints, step.floats)
        }
        for (const s of step.inputs) if (slots[s].last === at) drop(s)
        for (const s of step.outs) if (slots[s].last === at) drop(s)
      })
      // a loss between draws is silent
      device.alive()
      device.check()
      return this.outputs.map((slot) => {
        const texture = textureOf(slot)
        texture.users++
        return texture
      })
    } finally {
      for (let slot = 0; slot < slots.length; slot++) drop(slot)
    }
  }

  dispose(): void {
    for (const texture of this.constants.values()) this.device.release(texture)
    this.constants.clear()
    for (const step of this.planner.steps) if ('run' in step) step.dispose()
  }
}
