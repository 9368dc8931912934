/**
 * `trace` runs a model once, remembers what its taps saw and changes what its edits say. A Run answers questions
 * afterwards: what was kept is there, what was not is lazy and runs again. No host code runs in mid-forward.
 */
import type { Report } from './backend.js'
import { compileEdit, type JsonEdit } from './edits.js'
import { checkOptions, ShapeError, showShape, TapError } from './errors.js'
import { constantOf, type Node, Tensor } from './graph.js'
import { type Check, canonicalTap, type TapGlob } from './names.js'
import { bodyOf } from './ops/define.js'
import { add } from './ops/elementwise.js'
import { sliceAxis } from './ops/shape.js'
import { realize } from './realize.js'
import { type EditFn, globPattern, TapContext, withTaps } from './taps.js'

/** Anything that maps an input to a tensor. */
export type Callable<I> = (input: I) => Tensor

export type EditMap = Readonly<Partial<Record<TapGlob, EditFn>>>
export type Edits = EditMap | readonly JsonEdit[]

export interface TraceOptions {
  /** Taps to be had without a second forward: names, globs (`*` is one part), or 'all'. */
  keep?: readonly TapGlob[] | 'all'
  /** Changes by tap: functions from tensor to tensor, or entries of the JSON dialect. */
  edit?: Edits
}

/** One row or head of `scores` or `pattern`: q and k are sliced first. */
export interface Look {
  head?: number
  /** Negative counts from the end. */
  query?: number
}

/** What a traced call computed. It holds its nodes, leaves and kept values for as long as it lives. */
export class Run<I = unknown> {
  /** What ran where. */
  report: Report | null = null

  constructor(
    readonly model: Callable<I>,
    readonly input: I,
    /** What the model returned. */
    readonly output: Tensor,
    /** What the taps saw: for tools that wrap a run. */
    readonly context: TapContext,
  ) {}

  toString(): string {
    const names = this.names()
    const blocks = new Set(names.flatMap((n) => /(^|\.)blocks\.\d+/.exec(n)?.[0] ?? [])).size
    const where = this.report ? ` on ${this.report.backend}` : ', not realized'
    return `Run${where}: ${names.length} taps${blocks ? ` in ${blocks} blocks` : ''} (${names.slice(0, 4).join(', ')}${names.length > 4 ? ', …' : ''}), output ${showShape(this.output.shape)}`
  }
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString()
  }
  /** Every tap that fired, in order. */
  names(): string[] {
    return this.context.names()
  }
  has(name: string): boolean {
    const full = canonicalTap(name)
    return this.context.taps.has(full) || this.context.rooms.has(full)
  }
  /**
   * The value of a tap, lazy. With `look`, `scores` and `pattern` are cut to a head or query before anything is
   * computed; such a slice is for looking, its gradient is refused.
   * @throws TapError for a name that never fired, with the nearest ones.
   */
  get<const S extends string>(name: Check<S>, look?: Look): Tensor {
    const full = canonicalTap(name)
    if (look) checkOptions(`get('${name}')`, look, ['head', 'query'])
    const plain = this.context.taps.get(full)
    if (plain) return look ? marked(cutTap(plain, full, look), full) : plain
    const room = this.context.rooms.get(full)
    if (!room)
      throw new TapError(
        `no tap '${name}' fired; nearest: ${this.context.nearest(full) || 'none fired at all'}`,
      )
    if (look) return lookInto(room.node, room.inner, full, look)
    const x = bodyOf(room.node).inner.get(room.inner)
    if (!x) throw new TapError(`tap '${full}': ${room.node.op.name} did not tap '${room.inner}'`)
    x.name ??= full
    return filledPart(x, room.node, room.inner)
  }
  /** The value before an edit changed it. */
  before(name: string): Tensor {
    const full = canonicalTap(name)
    return this.context.before.get(full) ?? this.get(full)
  }
}

/**
 * Calls `model(input)` with taps listening and realizes its output and what is kept.
 * @throws TapError when a `keep` or `edit` matches no tap, or an edit returns nothing.
 */
export async function trace<I>(model: Callable<I>, input: I, options: TraceOptions = {}): Promise<Run<I>> {
  const run = build(model, input, options)
  const kept = keepList(run, options.keep ?? [])
  run.report = await realize([...new Set([run.output, ...kept])])
  return run
}

/** The same without running anything: for graphs that go on (gradients, sweeps) before they are realized. */
export function traceLazy<I>(model: Callable<I>, input: I, options: Omit<TraceOptions, 'keep'> = {}): Run<I> {
  return build(model, input, options)
}

function build<I>(model: Callable<I>, input: I, options: TraceOptions): Run<I> {
  checkOptions('trace', options, ['keep', 'edit'])
  const entries = editEntries(options.edit)
  const context = new TapContext(
    entries.map(([glob, apply]) => ({ glob, apply, pattern: globPattern(canonicalTap(glob)) })),
  )
  const output = withTaps(context, () => model(input))
  if (!(output instanceof Tensor)) {
    const promise = typeof (output as { then?: unknown } | null)?.then === 'function'
    throw new TapError(
      promise
        ? 'trace: the model is async; build the graph synchronously, so that taps cannot mix'
        : 'trace: the model returned no tensor',
    )
  }
  if (!context.taps.has('logits') && !context.taps.has('output')) context.add('output', output)
  const run = new Run(model, input, output, context)
  for (const [glob] of entries)
    if (!context.fired.has(glob))
      throw new TapError(
        `edit '${glob}' never fired; nearest: ${context.nearest(canonicalTap(glob)) || 'no tap fired at all'}`,
      )
  return run
}

function editEntries(edit: Edits | undefined): [string, EditFn][] {
  if (!edit) return []
  if (Array.isArray(edit)) return (edit as readonly JsonEdit[]).map((e) => [e.at, compileEdit(e)])
  return Object.entries(edit as EditMap).map(([glob, f]) => {
    if (typeof f !== 'function')
      throw new TapError(
        `edit at ${glob}: expected a function from tensor to tensor, got ${typeof f}; edits as data come in a list`,
      )
    return [glob, f]
  })
}

function keepList<I>(run: Run<I>, keep: readonly string[] | 'all'): Tensor[] {
  const { context } = run
  const names = context.names()
  const tensors: Tensor[] = []
  const add = (name: string): void => {
    const plain = context.taps.get(name)
    if (plain) tensors.push(plain)
    // a value inside a room stays derived: what it is derived from is realized
    else tensors.push(...roomSources((context.rooms.get(name) as { node: Node }).node))
  }
  if (keep === 'all') {
    names.forEach(add)
    return tensors
  }
  for (const glob of keep) {
    const pattern = globPattern(canonicalTap(glob))
    const hits = names.filter((n) => pattern.test(n))
    if (hits.length === 0)
      throw new TapError(
        `keep '${glob}' matches no tap; nearest: ${context.nearest(canonicalTap(glob)) || 'no tap fired at all'}`,
      )
    hits.forEach(add)
  }
  return tensors
}

/** q, k, v (or whatever the composite reads) and, for attention, the log-sum-exp. */
function roomSources(node: Node): Tensor[] {
  const inputs = node.inputs.filter((t) => constantOf(t) === undefined)
  return node.op.name === 'attention' ? [...inputs, node.outputs[1]] : inputs
}

/** A decode pattern is cut to the filled part of the cache, where the offset is known on the host. */
function filledPart(x: Tensor, node: Node, inner: string): Tensor {
  if (node.op.name !== 'attention' || (inner !== 'scores' && inner !== 'pattern')) return x
  const filled = filledKeys(node)
  if (filled === null || filled >= x.shape[3]) return x
  const cut = sliceAxis(x, 3, 0, filled)
  cut.name = x.name
  return cut
}
function filledKeys(node: Node): number | null {
  if (!node.attrs.causal) return null
  // only a cache has room beyond its queries: k comes from an update
  if (node.inputs[1].node.op.name !== 'update') return null
  const offset = node.inputs[3]
  const known = constantOf(offset) ?? offset.value?.host?.[0]
  return known === undefined ? null : Math.max(0, Number(known) + node.inputs[0].shape[2])
}

function range(index: number, size: number, name: string, what: string): [number, number] {
  const i = index < 0 ? index + size : index
  if (!Number.isInteger(i) || i < 0 || i >= size)
    throw new ShapeError(`get('${name}'): ${what} ${index} of ${size}; they run from 0 to ${size - 1}`)
  return [i, i + 1]
}

function cutTap(x: Tensor, name: string, look: Look): Tensor {
  let y = x
  if (x.rank !== 4)
    throw new ShapeError(`get('${name}'): ${showShape(x.shape)} has no heads and queries to choose`)
  if (look.head !== undefined) y = sliceAxis(y, 1, ...range(look.head, x.shape[1], name, 'head'))
  if (look.query !== undefined) y = sliceAxis(y, 2, ...range(look.query, x.shape[2], name, 'query'))
  return y
}

/** Slices the composite's inputs and builds its body on them: only what is looked at is computed. */
function lookInto(node: Node, inner: string, name: string, look: Look): Tensor {
  const whole = bodyOf(node).inner.get(inner) as Tensor
  if (node.op.name !== 'attention') return marked(cutTap(whole, name, look), name)
  const [q, k, v, offset, ...rest] = node.inputs
  const [, nHead, queries] = q.shape
  const [h0, h1] = look.head === undefined ? [0, nHead] : range(look.head, nHead, name, 'head')
  const [q0, q1] = look.query === undefined ? [0, queries] : range(look.query, queries, name, 'query')
  const per = nHead / k.shape[1]
  // whole groups of key heads are needed when all heads are looked at, else the one that this head reads
  const [g0, g1] =
    look.head === undefined ? [0, k.shape[1]] : [Math.floor(h0 / per), Math.floor(h0 / per) + 1]
  const cut = (t: Tensor): Tensor => {
    let x = t
    if (x.rank >= 2 && x.shape[x.rank - 2] > 1) x = sliceAxis(x, x.rank - 2, q0, q1)
    if (x.rank >= 3 && x.shape[x.rank - 3] > 1) x = sliceAxis(x, x.rank - 3, h0, h1)
    return x
  }
  const hasSink = node.attrs.hasSink === true
  const others = rest.map((t, i) => (hasSink && i === rest.length - 1 ? sliceAxis(t, 0, h0, h1) : cut(t)))
  const inputs = [
    sliceAxis(sliceAxis(q, 1, h0, h1), 2, q0, q1),
    sliceAxis(k, 1, g0, g1),
    sliceAxis(v, 1, g0, g1),
    q0 === 0 ? offset : add(offset, q0),
    ...others,
  ]
  let found: Tensor | null = null
  node.op.body?.(inputs, node.attrs, (n, x) => {
    if (n === inner) found = x
    return x
  })
  if (!found) throw new TapError(`tap '${name}': ${node.op.name} did not tap '${inner}'`)
  return marked(filledPart(found, node, inner), name)
}
function marked(x: Tensor, name: string): Tensor {
  x.name = name
  x.lookOnly = `get('${name}', { … })`
  return x
}
