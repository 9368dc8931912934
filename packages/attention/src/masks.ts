/**
 * Masks: values that say which keys a query may see. What a kernel can compute from positions (causal, windows,
 * sinks, blocks) stays a handful of numbers; everything else is a bool tensor. Combining masks is a logical and.
 */
import {
  add,
  cast,
  div,
  equal,
  floor,
  iota,
  less,
  lessEqual,
  logicalAnd,
  logicalOr,
  reshape,
  ShapeError,
  showShape,
  sub,
  Tensor,
  ValueError,
} from '@heed/tensor'

/** Which keys a query may see. True = may attend, everywhere. */
export interface Mask {
  /** Keys at positions up to the query's own. */
  readonly causal?: boolean
  /** [left, right], inclusive, around the query's position; null is open. */
  readonly window?: readonly [number | null, number | null]
  /** First keys that the window never hides. */
  readonly sinkTokens?: number
  /** Blocks of this many positions, and how many blocks before (without causal: on both sides) a query sees. */
  readonly block?: number
  readonly back?: number
  /** What no number says. */
  readonly allowed?: readonly (Tensor | MaskFunction)[]
}
/** (query positions [query, 1], key positions [1, key], both i32) → bool, broadcast to [batch, head, query, key]. */
export type MaskFunction = (query: Tensor, key: Tensor) => Tensor

/** What the `mask` slot of a layer takes: a mask, a bool tensor, or several of which all must allow. */
export type MaskSlot = Mask | Tensor | readonly (Mask | Tensor)[]

/** Keys up to the query's own position (position i + offset for query i). */
export const causal = (): Mask => ({ causal: true })

/** The last `width` positions, the query's own among them (Hugging Face's `sliding_window`), never later ones. */
export function slidingWindow(width: number): Mask {
  if (!(Number.isInteger(width) && width > 0))
    throw new ValueError(`slidingWindow: width is ${width}, expected a positive whole number`)
  return { causal: true, window: [width - 1, 0] }
}

/** `left` positions before and `right` after the query's own, for encoders; null is open. */
export function localWindow(left: number | null, right: number | null): Mask {
  for (const n of [left, right])
    if (n !== null && !(Number.isInteger(n) && n >= 0))
      throw new ValueError(`localWindow: ${n} is no whole number of positions`)
  return { window: [left, right] }
}

/** The first `count` keys, which no window hides (Xiao et al. 2023). Combine it with a window. */
export function sinks(count: number): Mask {
  if (!(Number.isInteger(count) && count >= 0))
    throw new ValueError(`sinks: ${count} is no whole number of keys`)
  return { sinkTokens: count }
}

/** Blocks of `size` positions; a query sees its own block and `back` neighbours (only earlier ones with causal). */
export function blockLocal(size: number, back = 0): Mask {
  if (!(Number.isInteger(size) && size > 0 && Number.isInteger(back) && back >= 0))
    throw new ValueError(`blockLocal: size ${size} and back ${back}, expected whole numbers, size positive`)
  return { block: size, back }
}

/** By a bool tensor that broadcasts to [batch, head, query, key], or by a function of positions. */
export const arbitrary = (allowed: Tensor | MaskFunction): Mask => ({ allowed: [allowed] })

/**
 * Hides padding: bool [batch, 1, 1, key] from `keep` (bool [batch, key]), or from the rows' lengths (i32 [batch],
 * padding on the right) and the number of keys. For `ctx.mask` and `ctx.memoryMask`.
 */
export function padding(keepOrLengths: Tensor, keys?: number): Tensor {
  const t = keepOrLengths
  if (t.dtype === 'i32' && t.rank === 1 && keys !== undefined)
    return less(reshape(iota(keys, { dtype: 'i32' }), [1, 1, 1, keys]), reshape(t, [t.shape[0], 1, 1, 1]))
  if (t.rank !== 2 || (t.dtype !== 'bool' && t.dtype !== 'i32'))
    throw new ShapeError(
      `padding: ${t.dtype} ${showShape(t.shape)}, expected keep [batch, key] or lengths [batch] with the number of keys`,
    )
  const keep = t.dtype === 'bool' ? t : cast(t, 'bool')
  return reshape(keep, [t.shape[0], 1, 1, t.shape[1]]) // [batch, 1, 1, key]
}

/** All of these must allow: windows intersect, sinks hold for the common window. */
export function combineMasks(...masks: readonly (MaskSlot | null | undefined)[]): Mask {
  const out: {
    causal?: boolean
    window?: [number | null, number | null]
    sinkTokens?: number
    block?: number
    back?: number
    allowed: (Tensor | MaskFunction)[]
  } = { allowed: [] }
  for (const m of masks.flat() as readonly (Mask | Tensor | null | undefined)[]) {
    if (!m) continue
    if (m instanceof Tensor) {
      out.allowed.push(m)
      continue
    }
    if (m.causal) out.causal = true
    if (m.window) {
      const [left, right] = out.window ?? [null, null]
      out.window = [narrower(left, m.window[0]), narrower(right, m.window[1])]
    }
    if (m.sinkTokens !== undefined) out.sinkTokens = Math.max(out.sinkTokens ?? 0, m.sinkTokens)
    if (m.block !== undefined) {
      if (out.block !== undefined && (out.block !== m.block || out.back !== (m.back ?? 0)))
        throw new ValueError(
          `combineMasks: blocks of ${out.block} and of ${m.block}; give one of them as a function`,
        )
      out.block = m.block
      out.back = m.back ?? 0
    }
    if (m.allowed) out.allowed.push(...m.allowed)
  }
  return out
}
const narrower = (a: number | null, b: number | null): number | null =>
  a === null ? b : b === null ? a : Math.min(a, b)

/** Options of the attention op for a mask: numbers for the kernel, the rest as one tensor. */
export interface MaskOptions {
  causal: boolean
  window?: readonly [number | null, number | null]
  sinkTokens?: number
  block?: number
  back?: number
  mask?: Tensor
}
export function maskOptions(
  m: Mask,
  size: { queries: number; keys: number; offset: Tensor | number },
): MaskOptions {
  let mask: Tensor | undefined
  for (const a of m.allowed ?? []) {
    const t = a instanceof Tensor ? a : a(...positionsOf(size))
    mask = mask ? logicalAnd(mask, t) : t
  }
  return {
    causal: m.causal ?? false,
    ...(m.window ? { window: m.window } : {}),
    ...(m.sinkTokens ? { sinkTokens: m.sinkTokens } : {}),
    ...(m.block ? { block: m.block, back: m.back ?? 0 } : {}),
    ...(mask ? { mask } : {}),
  }
}
/** bool [.., query, key]: what a mask allows, written out; null when it hides nothing. */
export function allowedKeys(
  m: Mask,
  size: { queries: number; keys: number; offset?: Tensor | number },
): Tensor | null {
  const where = { ...size, offset: size.offset ?? 0 }
  const [i, j] = positionsOf(where)
  const rules: Tensor[] = []
  if (m.causal) rules.push(lessEqual(j, i))
  if (m.window) {
    const [left, right] = m.window
    const sides: Tensor[] = []
    if (left !== null) sides.push(lessEqual(sub(i, left), j))
    if (right !== null) sides.push(lessEqual(j, add(i, right)))
    if (sides.length > 0) {
      const near = sides.reduce(logicalAnd)
      rules.push(m.sinkTokens ? logicalOr(near, less(j, m.sinkTokens)) : near)
    }
  }
  if (m.block) {
    const block = (x: Tensor): Tensor => floor(div(cast(x, 'f32'), m.block as number))
    const [bi, bj, back] = [block(i), block(j), m.back ?? 0]
    rules.push(lessEqual(sub(bi, back), bj), lessEqual(bj, m.causal ? bi : add(bi, back)))
  }
  const { mask } = maskOptions({ allowed: m.allowed }, where)
  if (mask) rules.push(mask)
  return rules.length > 0 ? rules.reduce((a, b) => logicalAnd(a, b)) : null
}

function positionsOf(size: { queries: number; keys: number; offset: Tensor | number }): [Tensor, Tensor] {
  const query = add(iota(size.queries, { dtype: 'i32' }), size.offset)
  return [reshape(query, [size.queries, 1]), reshape(iota(size.keys, { dtype: 'i32' }), [1, size.keys])]
}

/** Prefix language models: the first `length` positions see each other, later ones are causal. */
export const prefix = (length: number): Mask =>
  arbitrary((query, key) => logicalOr(less(key, length), lessEqual(key, query)))

/** Queries and keys of one segment see each other (packed texts): segments i32 [batch, position]. */
export function sameSegment(segments: Tensor): Tensor {
  if (segments.rank !== 2 || segments.dtype !== 'i32')
    throw new ShapeError(
      `sameSegment: ${segments.dtype} ${showShape(segments.shape)}, expected i32 [batch, position]`,
    )
  const [batch, n] = segments.shape
  return equal(reshape(segments, [batch, 1, n, 1]), reshape(segments, [batch, 1, 1, n])) // [batch, 1, query, key]
}
