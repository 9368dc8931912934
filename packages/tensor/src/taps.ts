/**
 * Taps: a line of code that knows its room. `tap(name, x)` adds no node and costs nothing until somebody traces:
 * then it is remembered, or replaced by an edit. A composite with inner taps stays one node unless an edit opens it.
 */
import { nearestNames, ShapeError, showShape, TapError } from './errors.js'
import { type Attrs, alias, build, currentPath, type Node, type Op, Tensor } from './graph.js'

/** A map from tensor to tensor: what an edit is. */
export type EditFn = (x: Tensor, name: string) => Tensor

interface Edit {
  readonly pattern: RegExp
  readonly glob: string
  readonly apply: EditFn
}
/** An inner value of a composite that was not opened: built when somebody asks. */
export interface RoomTap {
  readonly node: Node
  readonly inner: string
}

/** Everything one trace learns while the model is built. */
export class TapContext {
  readonly taps = new Map<string, Tensor>()
  readonly before = new Map<string, Tensor>()
  readonly rooms = new Map<string, RoomTap>()
  readonly fired = new Set<string>()
  private readonly order = new Set<string>()

  constructor(readonly edits: readonly Edit[]) {}

  isEdited(name: string): boolean {
    return this.edits.some((e) => e.pattern.test(name))
  }
  /** Every name that fired, in the order of the computation. */
  names(): string[] {
    return [...this.order]
  }
  add(name: string, x: Tensor): void {
    this.order.add(name)
    this.taps.set(name, x)
  }
  addRoom(name: string, room: RoomTap): void {
    this.order.add(name)
    this.rooms.set(name, room)
  }
  /** The nearest names, for errors. */
  nearest(name: string): string {
    return nearestNames(name, this.names()).join(', ')
  }
}

let context: TapContext | null = null

/** Runs `build` under a tap context; synchronous, so that taps of two models never mix. */
export function withTaps<R>(c: TapContext | null, build: () => R): R {
  const saved = context
  context = c
  try {
    return build()
  } finally {
    context = saved
  }
}

/** `blocks.*.attn.z` → a pattern in which `*` is one part of the path. */
export function globPattern(glob: string): RegExp {
  return new RegExp(`^${glob.replace(/[.+^${}()|[\]\\]/g, '\\$&').replace(/\*/g, '[^.]+')}$`)
}

/**
 * The full name of a tap here. A tap named `<last scope part>_…` replaces that part: `blocks.3.mlp` + `mlp_pre` is
 * `blocks.3.mlp_pre`. An empty name is the scope itself (norms tap their output under their own key).
 */
export function tapName(name: string): string {
  const path = currentPath()
  if (name === '') return path
  if (!path) return name
  const dot = path.lastIndexOf('.')
  const last = path.slice(dot + 1)
  if (name.startsWith(`${last}_`)) return dot < 0 ? name : `${path.slice(0, dot)}.${name}`
  return `${path}.${name}`
}

/**
 * Names a value. Returns it, or what an edit made of it: always go on with the result, or an edit reaches only one of
 * the value's readers.
 * @throws ShapeError when an edit changes the shape other than enlarging axis 0 from 1 (worlds).
 */
export function tap(name: string, x: Tensor): Tensor {
  const c = context
  if (!c) return x
  const full = tapName(name)
  let y = x
  for (const edit of c.edits) {
    if (!edit.pattern.test(full)) continue
    c.fired.add(edit.glob)
    if (!c.before.has(full)) c.before.set(full, x)
    y = edited(edit, full, y)
  }
  // a fresh node behind an edit: its gradient is this tap's, whoever else uses the edit's tensors
  if (y !== x) y = alias(y)
  else if (x.name !== null && x.name !== full) y = alias(x)
  y.name ??= full
  c.add(full, y)
  return y
}

function edited(edit: Edit, name: string, x: Tensor): Tensor {
  const y = edit.apply(x, name)
  if (!(y instanceof Tensor))
    throw new TapError(
      `edit at ${name}: returned ${y === undefined ? 'nothing' : typeof y}, expected a tensor; return the edited tensor`,
    )
  const fits = y.rank === x.rank && y.shape.every((d, i) => d === x.shape[i] || (i === 0 && x.shape[0] === 1))
  if (!fits)
    throw new ShapeError(
      `edit at ${name}: returned ${showShape(y.shape)}, expected ${showShape(x.shape)} (only axis 0 may grow from 1)`,
    )
  if (y.dtype !== x.dtype) throw new TapError(`edit at ${name}: returned ${y.dtype}, expected ${x.dtype}`)
  return y
}

/** Builds a composite that has a room: whole, or opened where an edit reaches inside. */
export function enterRoom(op: Op, inputs: readonly Tensor[], attrs: Attrs): readonly Tensor[] {
  const inner = op.inner ?? []
  const c = context
  if (c && inner.some((name) => c.isEdited(tapName(name)))) {
    const body = op.openBody ?? op.body
    if (body) return body(inputs, attrs, tap)
  }
  const node = build(op, inputs, attrs)
  if (c) for (const name of inner) c.addRoom(tapName(name), { node, inner: name })
  return node.outputs
}
