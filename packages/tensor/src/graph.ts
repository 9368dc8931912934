/**
 * The graph: tensors are results of nodes, nodes are built synchronously and checked when they are built. No device,
 * no memory and no `await` live here; running a graph is `realize`'s work, differentiating it is `grad`'s.
 */
import type { DType, TypedArray } from './dtype.js'
import { DTypeError, HeedError, kindOf, ShapeError, showShape } from './errors.js'
import type { Shape } from './shape.js'

/** What is known of a tensor before anything runs. */
export interface Spec {
  readonly shape: Shape
  readonly dtype: DType
}
export type Attrs = Readonly<Record<string, unknown>>
/** Names an inner value of a composite while its body is built; returns the value to go on with. */
export type InnerTap = (name: string, x: Tensor) => Tensor

/** One row per op: shape rule, gradient rule and, for composites, a body. */
export interface Op {
  readonly name: string
  readonly code: number
  /** Shapes and dtypes of the results; throws `ShapeError` or `DTypeError` with the reason alone. */
  infer(inputs: readonly Spec[], attrs: Attrs): Spec | readonly Spec[]
  /** Cotangents of the inputs from the cotangent of the only (or first) result. */
  vjp?(dy: Tensor, inputs: readonly Tensor[], y: Tensor, attrs: Attrs): readonly (Tensor | null)[]
  /** The same for nodes of several results; a missing cotangent is null. */
  vjpMany?(dys: readonly (Tensor | null)[], inputs: readonly Tensor[], node: Node): readonly (Tensor | null)[]
  /** A composite: written in other ops. Depends on inputs and attrs only. */
  body?(inputs: readonly Tensor[], attrs: Attrs, tap: InnerTap): readonly Tensor[]
  /** A body that shows what `body` fuses away; used where somebody edits or differentiates an inner value. */
  openBody?(inputs: readonly Tensor[], attrs: Attrs, tap: InnerTap): readonly Tensor[]
  /** What is differentiated instead of `body`, where that has steps in it. */
  gradBody?(inputs: readonly Tensor[], attrs: Attrs, tap: InnerTap): readonly Tensor[]
  /** Names that the body taps. */
  inner?: readonly string[]
}

/** The built body of a composite node: its results and the values it tapped. */
export interface Room {
  readonly outputs: readonly Tensor[]
  readonly inner: ReadonlyMap<string, Tensor>
}

/** What the graph knows of a backend: that it may show a few values. */
export interface DeviceOwner {
  peek?(buffer: never, count: number): TypedArray
}

/** A buffer of a backend, and how many tensors hold it: equal graphs asked for together are computed once. */
export interface Held {
  readonly backend: DeviceOwner
  readonly buffer: object
  holders: number
}

/** Data of a tensor, once it has any: on the host, on a backend, or given away. */
export interface TensorValue {
  host?: TypedArray
  device?: Held
  /** A run has read the host's data. */
  wasRead?: boolean
  /** Set when the buffer was given away: how, as messages say it (`was donated to update`). */
  gone?: string
}

let nextId = 1
const sites = { on: false, limit: 6 }

/** Records where each node is built, so that errors at run time can name the line. Costs about 2 µs a node. */
export function recordCreationSites(on: boolean, limit = 6): void {
  sites.on = on
  sites.limit = limit
}

export class Node {
  readonly id = nextId++
  readonly outputs: readonly Tensor[]
  /** Scope path at the time of building, such as `blocks.3.attn`. */
  readonly path: string
  readonly site: string | null
  readonly hashA: number
  readonly hashB: number
  /** How many realized ancestors lie behind this node in a chain: history that nobody detached. */
  readonly depth: number
  /** The composite in whose body this node was built, if it was opened. */
  room: Node | null = null
  opened: Room | null = null
  /** Scratch of graph walks. */
  mark = 0
  position = 0

  constructor(
    readonly op: Op,
    readonly inputs: readonly Tensor[],
    readonly attrs: Attrs,
    specs: Spec | readonly Spec[],
    /** The number of a `const` node. */
    readonly number: number | undefined = undefined,
  ) {
    this.path = scopePath
    if (isMany(specs)) {
      const outputs: Tensor[] = []
      for (let i = 0; i < specs.length; i++) outputs.push(new Tensor(this, i, specs[i].shape, specs[i].dtype))
      this.outputs = outputs
    } else this.outputs = [new Tensor(this, 0, specs.shape, specs.dtype)]
    if (attrs === NO_ATTRS) {
      this.hashA = op.code
      this.hashB = op.code
    } else {
      hashInto(attrs)
      this.hashA = mix(hashedA, op.code)
      this.hashB = mix(hashedB, op.code)
    }
    let depth = 0
    for (let i = 0; i < inputs.length; i++) {
      const t = inputs[i]
      const d = t.node.depth + (t.value !== null && t.node.inputs.length > 0 ? 1 : 0)
      if (d > depth) depth = d
    }
    this.depth = depth
    this.site = sites.on ? creationSite(sites.limit) : null
  }
}

const isMany = (specs: Spec | readonly Spec[]): specs is readonly Spec[] => Array.isArray(specs)

const MARK = Symbol.for('heed.tensor')
/** The error for what stands where a tensor should. One made by another copy of this package looks right and shares nothing. */
export function notTensor(x: unknown): HeedError {
  return (x as Partial<Tensor> | null | undefined)?.[MARK]
    ? new HeedError(
        'this tensor belongs to a second copy of @heed/tensor; find it with `npm ls @heed/tensor` and keep one version',
      )
    : new DTypeError(`expected a tensor, got ${kindOf(x)}`)
}

/**
 * A lazy array: a result of a node. Reading it (`data`, `array`, `item`) is the only thing that runs anything.
 */
export class Tensor {
  declare readonly [MARK]: true
  value: TensorValue | null = null
  /** The tap or parameter path, where it has one. */
  name: string | null = null
  /** Set on results that are for looking only: differentiating them throws and names the whole. */
  lookOnly: string | null = null
  /** Scratch of graph walks. */
  mark = 0
  slot = 0

  constructor(
    readonly node: Node,
    readonly index: number,
    readonly shape: Shape,
    readonly dtype: DType,
  ) {}

  get rank(): number {
    return this.shape.length
  }
  get size(): number {
    let n = 1
    for (const d of this.shape) n *= d
    return n
  }
  /** The flat values, row-major: Float32Array, Int32Array or Uint8Array (bool); Float64Array from a
   * float64 backend, and for data that was given as doubles which float32 cannot hold. */
  async data(): Promise<TypedArray> {
    return reader(this)
  }
  /** Nested arrays of numbers (booleans for bool). */
  // biome-ignore lint/suspicious/noExplicitAny: the depth of nesting follows the shape at run time
  async array(): Promise<any> {
    return nest(await this.data(), this.shape, this.dtype)
  }
  /** The only value of a tensor of one element. */
  async item(): Promise<number> {
    if (this.size !== 1)
      throw new ShapeError(`item() needs one element, this tensor is ${showShape(this.shape)}`)
    return Number((await this.data())[0])
  }
  toString(): string {
    const name = this.name ? ` '${this.name}'` : ''
    return `Tensor ${showShape(this.shape)} ${this.dtype}${name} ${this.node.op.name} ${this.preview()}`
  }
  /** A few values, where they are at hand without waiting. */
  private preview(): string {
    const { value } = this
    if (!value) return '(not computed)'
    if (value.gone) return `(${value.gone})`
    const few =
      value.host?.slice(0, SHOWN) ?? value.device?.backend.peek?.(value.device.buffer as never, SHOWN)
    if (!few) return '(on the backend)'
    const texts = Array.from(few as Float32Array, (v: number | bigint) =>
      typeof v === 'bigint' ? `${v}` : round4(v),
    )
    return `[${texts.join(', ')}${this.size > SHOWN ? ', …' : ''}]`
  }
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString()
  }
}

Object.defineProperty(Tensor.prototype, MARK, { value: true })

const SHOWN = 6
const round4 = (v: number): string => (Number.isInteger(v) ? `${v}` : `${Number(v.toPrecision(4))}`)

function nest(data: TypedArray, shape: Shape, dtype: DType): unknown {
  let at = 0
  const read = (): unknown => (dtype === 'bool' ? data[at++] !== 0 : data[at++])
  const level = (axis: number): unknown => {
    if (axis === shape.length) return read()
    return Array.from({ length: shape[axis] }, () => level(axis + 1))
  }
  return level(0)
}

let reader: (t: Tensor) => Promise<TypedArray> = () => {
  throw new HeedError('no reader is installed')
}
/** `realize` plugs itself in here; the graph itself knows nothing of running. */
export function installReader(read: (t: Tensor) => Promise<TypedArray>): void {
  reader = read
}

export const NO_ATTRS: Attrs = Object.freeze({})

let nextCode = 1
const ops = new Map<string, Op>()

/** Defines an op. Names are unique: two definitions of one name are a programming error. */
export function defineOp(name: string, row: Omit<Op, 'name' | 'code'>): Op {
  if (ops.has(name)) throw new HeedError(`op '${name}' is defined twice`)
  const op: Op = { name, code: nextCode++, ...row }
  ops.set(name, op)
  return op
}
/** Every op that is defined, primitives and composites: for tools that must not forget one. */
export function allOps(): readonly Op[] {
  return [...ops.values()]
}

let scopePath = ''

/** The scope path in which nodes are being built. */
export function currentPath(): string {
  return scopePath
}
/** Runs `f` with `name` pushed on the scope path: `blocks.3` + `attn` → `blocks.3.attn`. */
export function scope<R>(name: string, f: () => R): R {
  const saved = scopePath
  scopePath = saved ? `${saved}.${name}` : name
  try {
    return f()
  } finally {
    scopePath = saved
  }
}

/** Builds a node; shape and dtype errors name scope, op and input shapes. */
export function build(op: Op, inputs: readonly Tensor[], attrs: Attrs = NO_ATTRS): Node {
  let specs: Spec | readonly Spec[]
  for (const x of inputs) if (!(x instanceof Tensor)) throw notTensor(x)
  try {
    specs = op.infer(inputs, attrs)
  } catch (error) {
    if (!(error instanceof HeedError)) throw error
    const shapes = inputs
      .map((t) => `${showShape(t.shape)}${t.dtype === 'f32' ? '' : ` ${t.dtype}`}`)
      .join(', ')
    error.message = `${scopePath ? `${scopePath}: ` : ''}${op.name}(${shapes}): ${error.message}`
    captureStack(error, build)
    throw error
  }
  return new Node(op, inputs, attrs, specs)
}
/** Builds a node of one result. */
export function apply(op: Op, inputs: readonly Tensor[], attrs: Attrs = NO_ATTRS): Tensor {
  return build(op, inputs, attrs).outputs[0]
}

const aliasOp = defineOp('alias', {
  infer: ([x]) => ({ shape: x.shape, dtype: x.dtype }),
  vjp: (dy) => [dy],
})
/** A fresh node with the same value: its gradient is its own. Costs nothing at run time. */
export function alias(x: Tensor): Tensor {
  return apply(aliasOp, [x])
}

/** Tensors without a past: data, placeholders of scan bodies, parameters. */
export const leafOp = defineOp('leaf', {
  infer: (_, attrs) => ({ shape: attrs.shape as Shape, dtype: attrs.dtype as DType }),
})
/** A number used in arithmetic. Its value is no part of the plan's key: it is compared when a plan is reused. */
export const constOp = defineOp('const', {
  infer: (_, attrs) => ({ shape: [], dtype: attrs.dtype as DType }),
})

export function leaf(spec: Spec, host?: TypedArray): Tensor {
  const t = new Node(leafOp, NO_TENSORS, NO_ATTRS, spec).outputs[0]
  if (host) t.value = { host }
  return t
}

const NO_TENSORS: readonly Tensor[] = []
export function constant(value: number, dtype: DType = 'f32'): Tensor {
  return new Node(constOp, NO_TENSORS, NO_ATTRS, { shape: [], dtype }, value).outputs[0]
}
/** The number behind a `const` node, else undefined. */
export function constantOf(t: Tensor): number | undefined {
  return t.node.number
}

let epoch = 0
/** A mark that no walk has used yet. */
export function newMark(): number {
  return ++epoch
}
/** Nodes behind `outputs`, inputs before users, each once. `deps` decides where the walk goes. Iterative: graphs are deep. */
export function postorder(outputs: readonly Tensor[], deps: (n: Node) => readonly Tensor[]): Node[] {
  const mark = newMark()
  const order: Node[] = []
  const stack: Node[] = []
  const at: number[] = []
  for (const out of outputs) {
    if (out.node.mark === mark) continue
    out.node.mark = mark
    stack.push(out.node)
    at.push(0)
    while (stack.length > 0) {
      const top = stack.length - 1
      const node = stack[top]
      const next = deps(node)
      if (at[top] < next.length) {
        const child = next[at[top]++].node
        if (child.mark !== mark) {
          child.mark = mark
          stack.push(child)
          at.push(0)
        }
      } else {
        stack.pop()
        at.pop()
        order.push(node)
      }
    }
  }
  return order
}

export function mix(h: number, x: number): number {
  h = Math.imul(h ^ x, 0x9e3779b1)
  h ^= h >>> 15
  h = Math.imul(h, 0x85ebca6b)
  return h ^ (h >>> 13)
}

const f64 = new Float64Array(1)
const words = new Int32Array(f64.buffer)

let hashedA = 0
let hashedB = 0
function eat(x: number): void {
  hashedA = mix(hashedA, x)
  hashedB = mix(hashedB ^ 0x5bd1e995, x)
}
function walk(v: unknown): void {
  if (typeof v === 'number') {
    f64[0] = v
    eat(words[0])
    eat(words[1])
  } else if (typeof v === 'string') {
    // two polynomials of the characters, mixed once: names are long and many
    let p = v.length + 0x101
    let q = 0
    for (let i = 0; i < v.length; i++) {
      const c = v.charCodeAt(i)
      p = (Math.imul(p, 0x01000193) + c) | 0
      q = (Math.imul(q, 31) + c) | 0
    }
    eat(p)
    eat(q)
  } else if (Array.isArray(v)) {
    eat(v.length + 0x10001)
    for (let i = 0; i < v.length; i++) walk(v[i])
  } else if (v && typeof v === 'object') {
    const key = (v as { hashKey?: string }).hashKey
    if (key !== undefined) walk(key)
    else
      for (const k in v) {
        walk(k)
        walk((v as Record<string, unknown>)[k])
      }
  } else eat(v === true ? 11 : v === false ? 13 : v === null ? 17 : 19)
}
/** Leaves the hashes of plain data in `hashedA` and `hashedB`. */
function hashInto(value: unknown): void {
  hashedA = 0x3c6ef372
  hashedB = 0x510e527f
  walk(value)
}

/** Two independent 32-bit hashes of plain data (numbers, strings, booleans, null, arrays, objects with `hashKey`). */
export function hashValue(value: unknown): [number, number] {
  hashInto(value)
  return [hashedA, hashedB]
}

function creationSite(limit: number): string | null {
  const holder: { stack?: string } = {}
  const engine = Error as unknown as { stackTraceLimit: number }
  const previous = engine.stackTraceLimit
  engine.stackTraceLimit = limit + 4
  captureStack(holder, build)
  engine.stackTraceLimit = previous
  return holder.stack ?? null
}

/** V8's stack capture, where the engine has it. */
function captureStack(holder: object, below: (...args: never[]) => unknown): void {
  const engine = Error as unknown as { captureStackTrace?: (o: object, below: unknown) => void }
  engine.captureStackTrace?.(holder, below)
}
