/**
 * Modules: callables with named parts, where one key names both the parameter and the scope of what it computes.
 * Nothing is registered, nothing inherits: a module is a function that remembers its parts.
 */
import {
  type Context,
  type HasParts,
  hasParts,
  PARTS,
  type PartsRecord,
  scope,
  Tensor,
  ValueError,
} from '@heed/tensor'
import { placed } from './place.js'

/** Anything that maps [.., dModel] to [.., dModel'] in a context: what a slot takes. */
export type Layer = (x: Tensor, ctx?: Context) => Tensor

/** A callable with its parts as properties. */
export type Module<
  P extends object = PartsRecord,
  A extends readonly unknown[] = [x: Tensor, ctx?: Context],
  R = Tensor,
> = ((...args: A) => R) & Readonly<P> & HasParts

type Callable = (...args: never[]) => unknown

/** Behind a part that knows its scope stands the bare one. */
const BARE = Symbol('bare')
const bare = (x: unknown): unknown => (typeof x === 'function' ? ((x as { [BARE]?: unknown })[BARE] ?? x) : x)

const isRecord = (x: unknown): x is PartsRecord =>
  typeof x === 'object' && x !== null && Object.getPrototypeOf(x) === Object.prototype

/** Arrays and records that hold parts are copied, so that exchanging parameters touches no array of the caller. */
function adopt(value: unknown): unknown {
  const part = bare(value)
  if (part instanceof Tensor || typeof part === 'function') return part
  if (Array.isArray(part) && holdsParts(part)) return part.map(adopt)
  if (isRecord(part) && !hasParts(part) && holdsParts(part))
    return Object.fromEntries(Object.entries(part).map(([k, v]) => [k, adopt(v)]))
  return part
}
function holdsParts(x: unknown): boolean {
  if (x instanceof Tensor || typeof x === 'function' || hasParts(x)) return true
  if (Array.isArray(x)) return x.some(holdsParts)
  return isRecord(x) && Object.values(x).some(holdsParts)
}

/** A part as the outside sees it: whatever can be called pushes its path. */
function view(part: unknown, path: string): unknown {
  if (typeof part === 'function') return scoped(part as Callable, path)
  if (part instanceof Tensor || hasParts(part)) return part
  if (Array.isArray(part)) return part.map((p, i) => view(p, `${path}.${i}`))
  if (isRecord(part) && holdsParts(part))
    return Object.fromEntries(Object.entries(part).map(([k, v]) => [k, view(v, `${path}.${k}`)]))
  return part
}

function scoped(target: Callable, path: string): unknown {
  return new Proxy(target, {
    apply: (f, self, args) => scope(path, () => Reflect.apply(f, self, args)),
    get: (f, key) => {
      if (key === BARE) return f
      const parts = (f as Partial<HasParts>)[PARTS]
      if (typeof key === 'string' && parts && Object.hasOwn(parts, key))
        return view(parts[key], `${path}.${key}`)
      return Reflect.get(f, key)
    },
  })
}

/**
 * Makes a module of parts and a forward function `(m, ...args)`. Parts are tensors (parameters), modules and
 * functions, also in arrays and plain records; other values (config, numbers) are only carried along. Inside
 * `forward`, calling `m.attn(x)` pushes the scope `attn`, calling `m.blocks[3](x)` pushes `blocks.3`; parameters
 * stand under the same paths.
 *
 * @throws ValueError for a part whose key would break the grammar of paths.
 */
export function module<P extends object>(
  parts: P,
  forward: (m: Readonly<P>, x: Tensor, ctx?: Context) => Tensor,
): Module<P>
export function module<P extends object, A extends readonly unknown[], R>(
  parts: P,
  forward: (m: Readonly<P>, ...args: A) => R,
): Module<P, A, R>
export function module(parts: object, forward: (m: never, ...args: never[]) => unknown): unknown {
  const record: PartsRecord = {}
  for (const [key, value] of Object.entries(parts)) {
    if (key.includes('.') || key.includes('*') || key === '')
      throw new ValueError(`module: the part '${key}' needs a name without '.' and '*'`)
    if (value === undefined) continue
    record[key] = adopt(value)
  }
  const self = (...args: never[]): unknown => forward(self as never, ...args)
  Object.defineProperty(self, PARTS, { value: record })
  for (const key of Object.keys(record))
    Object.defineProperty(self, key, { enumerable: true, get: () => view(record[key], key) })
  placed(self as unknown as HasParts)
  return self
}
