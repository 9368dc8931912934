/**
 * What every tool may know of a model: it is called, and its parameters can be walked and exchanged by path. How
 * modules are built is no concern of this room (`@heed/nn` builds them); it only fixes where their parts are kept.
 */
import { nearestNames, ShapeError, showShape, ValueError } from './errors.js'
import { leaf, Tensor, type TensorValue } from './graph.js'
import type { Shape } from './shape.js'

/** Under this symbol a module keeps its parts: tensors, modules, arrays and plain records of them. Mutable. */
export const PARTS: unique symbol = Symbol.for('heed.parts') as never

export type PartsRecord = Record<string, unknown>
export interface HasParts {
  readonly [PARTS]: PartsRecord
}
export function hasParts(x: unknown): x is HasParts {
  return (typeof x === 'function' || typeof x === 'object') && x !== null && PARTS in x
}

/** Where attention layers keep keys and values between calls; `makeCache` of `@heed/attention` makes one. */
export interface KeyValueCache {
  /** Positions that fit. */
  readonly capacity: number
  /**
   * Writes keys and values [batch, nKvHead, position, dHead] of the layer at `path` from position `offset` on and
   * returns all of them [batch, nKvHead, capacity, dHead].
   */
  join(path: string, k: Tensor, v: Tensor, offset: Tensor | number): { k: Tensor; v: Tensor }
}

/** What is passed down through a model untouched. */
export interface Context {
  /** bool, true = may attend; broadcasts to [batch, head, query, key]. */
  readonly mask?: Tensor | null
  /** i32 [position] or [batch, position]; default offset, offset + 1, … */
  readonly positions?: Tensor | null
  /** The first query's position: an i32 scalar (one plan for all values) or a number. */
  readonly offset?: Tensor | number
  readonly cache?: KeyValueCache | null
  /** Turns dropout on. */
  readonly key?: Tensor | null
  /** What cross-attention reads [batch, position, dModel], and where it may look, as `mask`. */
  readonly memory?: Tensor | null
  readonly memoryMask?: Tensor | null
}

/** Token ids [batch, position] with what belongs to them. */
export interface ModelInput extends Context {
  readonly ids: Tensor
  readonly typeIds?: Tensor
}

/** All that tools know of a model. */
export interface Model<Input = Tensor | ModelInput> extends HasParts {
  (input: Input, ctx?: Context): Tensor
  /** Frozen. */
  readonly config: Readonly<Record<string, unknown>>
  readonly encode?: (text: string) => readonly number[]
  readonly decode?: (ids: ArrayLike<number>) => string
}

type Visit = (path: string, tensor: Tensor, set: (t: Tensor) => void) => void

const isRecord = (x: unknown): x is PartsRecord =>
  typeof x === 'object' && x !== null && Object.getPrototypeOf(x) === Object.prototype

function walk(container: PartsRecord | unknown[], prefix: string, visit: Visit): void {
  for (const [key, part] of Object.entries(container)) {
    const path = prefix ? `${prefix}.${key}` : key
    if (part instanceof Tensor)
      visit(path, part, (t) => {
        ;(container as PartsRecord)[key] = t
      })
    else if (hasParts(part)) walk(part[PARTS], path, visit)
    else if (Array.isArray(part) || isRecord(part)) walk(part, path, visit)
  }
}
function walkModule(model: HasParts, what: string, visit: Visit): void {
  if (!hasParts(model))
    throw new ValueError(
      `${what}: expected a module (a callable with parts), got ${(model as unknown) instanceof Promise ? 'a promise: await it' : typeof model}`,
    )
  walk(model[PARTS], '', visit)
}

/** Every parameter by path, in the order of the parts; a tied tensor once, under its first path. */
export function parameters(model: HasParts): Map<string, Tensor> {
  const found = new Map<string, Tensor>()
  const seen = new Set<Tensor>()
  walkModule(model, 'parameters', (path, t) => {
    if (seen.has(t)) return
    seen.add(t)
    t.name ??= path
    found.set(path, t)
  })
  return found
}

/**
 * Exchanges parameters by path. A tied weight is exchanged everywhere it stands, whichever of its paths is given.
 * @throws ValueError for an unknown path or two values for one tied weight, ShapeError for another shape or dtype;
 * nothing is exchanged then.
 */
export function setParameters(
  model: HasParts,
  values: ReadonlyMap<string, Tensor> | Readonly<Record<string, Tensor>>,
): void {
  const places: { path: string; tensor: Tensor; set: (t: Tensor) => void }[] = []
  const byPath = new Map<string, Tensor>()
  walkModule(model, 'setParameters', (path, tensor, set) => {
    places.push({ path, tensor, set })
    byPath.set(path, tensor)
  })
  const swap = new Map<Tensor, { path: string; next: Tensor }>()
  for (const [path, next] of values instanceof Map ? values : Object.entries(values)) {
    const old = byPath.get(path)
    if (!old)
      throw new ValueError(
        `setParameters: the model has no parameter '${path}'; nearest: ${nearestNames(path, byPath.keys()).join(', ') || 'it has none'}`,
      )
    if (!(next instanceof Tensor))
      throw new ValueError(`setParameters: the value of '${path}' is no tensor; make one with tensor(data)`)
    if (showShape(old.shape) !== showShape(next.shape) || old.dtype !== next.dtype)
      throw new ShapeError(
        `setParameters: '${path}' is ${showShape(old.shape)} ${old.dtype}, the new value ${showShape(next.shape)} ${next.dtype}`,
      )
    const other = swap.get(old)
    if (other && other.next !== next)
      throw new ValueError(
        `setParameters: '${other.path}' and '${path}' are one tied weight; give it one value`,
      )
    swap.set(old, { path, next })
  }
  for (const { path, tensor, set } of places) {
    const found = swap.get(tensor)
    if (!found) continue
    found.next.name ??= path
    set(found.next)
  }
}

/**
 * A tensor whose values are made when they are first needed, once: initial parameters, which loading replaces unread.
 */
export function deferred(shape: Shape, make: () => Float32Array): Tensor {
  const t = leaf({ shape: [...shape], dtype: 'f32' })
  let host: TensorValue['host'] | null = null
  let made = false
  t.value = {
    get host() {
      if (!made) {
        host = make()
        made = true
      }
      return host ?? undefined
    },
    set host(next) {
      made = true
      host = next ?? null
    },
  }
  return t
}
