/**
 * Rotary positions (Su et al. 2021) and their ways to longer texts. Frequencies and tables are made in double: at
 * position 4095 a float32 table is off by 1e-4.
 */

import {
  checkOptions,
  dynamicSlice,
  expandDims,
  type RopeLayout,
  rope as ropeOp,
  ShapeError,
  showShape,
  sliceAxis,
  type Tensor,
  take,
  tensor,
  ValueError,
} from '@heed/tensor'
import type { Position } from './position.js'

export type RopeScaling =
  | { type: 'default' }
  /** Positions divided by `factor` (Chen et al. 2023). */
  | { type: 'linear'; factor: number }
  /** A base made larger once (NTK-aware). */
  | { type: 'ntk'; factor: number }
  /** A base that grows with the length in use. `seqLen` default: the length at hand. */
  | { type: 'dynamic'; factor: number; maxPositions: number; seqLen?: number }
  | {
      type: 'llama3'
      factor: number
      originalMaxPositions: number
      lowFreqFactor: number
      highFreqFactor: number
    }
  /** Peng et al. 2023. */
  | {
      type: 'yarn'
      factor: number
      originalMaxPositions: number
      betaFast?: number
      betaSlow?: number
      truncate?: boolean
      mscale?: number
      mscaleAllDim?: number
      attentionFactor?: number
    }
  /** Ding et al. 2024. Beyond `originalMaxPositions` the long factors; `seqLen` default: the length at hand. */
  | {
      type: 'longrope'
      factor: number
      originalMaxPositions: number
      shortFactor: readonly number[]
      longFactor: readonly number[]
      seqLen?: number
    }

export interface RopeFrequencies {
  /** Angle per position of pair i: [dim/2]. */
  readonly invFreq: Float64Array
  /** Multiplies cos and sin (yarn, longrope), else 1. */
  readonly attentionFactor: number
}

const scalingFields: Readonly<
  Record<RopeScaling['type'], readonly [required: string[], optional: string[]]>
> = {
  default: [[], []],
  linear: [['factor'], []],
  ntk: [['factor'], []],
  dynamic: [['factor', 'maxPositions'], ['seqLen']],
  llama3: [['factor', 'originalMaxPositions', 'lowFreqFactor', 'highFreqFactor'], []],
  yarn: [
    ['factor', 'originalMaxPositions'],
    ['betaFast', 'betaSlow', 'truncate', 'mscale', 'mscaleAllDim', 'attentionFactor'],
  ],
  longrope: [['factor', 'originalMaxPositions', 'shortFactor', 'longFactor'], ['seqLen']],
}
function checkScaling(s: RopeScaling): void {
  const fields = scalingFields[s.type]
  if (!fields)
    throw new ValueError(
      `rope: scaling type '${s.type}' is unknown; use one of ${Object.keys(scalingFields).join(', ')}`,
    )
  const [required, optional] = fields
  checkOptions(`rope scaling '${s.type}'`, s, ['type', ...required, ...optional])
  const given = s as unknown as Record<string, unknown>
  for (const name of required)
    if (given[name] === undefined || given[name] === null)
      throw new ValueError(`rope scaling '${s.type}': ${name} is missing`)
}

/** base^(−2i/dim) for every pair i, changed by `scaling`. */
export function ropeFrequencies(o: {
  dim: number
  base?: number
  scaling?: RopeScaling | null
}): RopeFrequencies {
  const { dim, base = 10000 } = o
  const s: RopeScaling = o.scaling ?? { type: 'default' }
  if (!(Number.isInteger(dim) && dim > 0 && dim % 2 === 0))
    throw new ValueError(`rope: ${dim} dimensions to turn, expected an even positive number`)
  checkScaling(s)
  const plain = (b: number): Float64Array =>
    Float64Array.from({ length: dim / 2 }, (_, i) => b ** ((-2 * i) / dim))
  const inv = plain(base)
  switch (s.type) {
    case 'default':
      return { invFreq: inv, attentionFactor: 1 }
    case 'linear':
      return { invFreq: inv.map((f) => f / s.factor), attentionFactor: 1 }
    case 'ntk':
      return { invFreq: plain(base * s.factor ** (dim / (dim - 2))), attentionFactor: 1 }
    case 'dynamic': {
      const n = Math.max(s.seqLen ?? 0, s.maxPositions)
      const grown = base * ((s.factor * n) / s.maxPositions - (s.factor - 1)) ** (dim / (dim - 2))
      return { invFreq: plain(grown), attentionFactor: 1 }
    }
    case 'llama3':
      return { invFreq: inv.map((f) => llama3(f, s)), attentionFactor: 1 }
    case 'yarn':
      return yarn(inv, dim, base, s)
    case 'longrope': {
      const long = (s.seqLen ?? 0) > s.originalMaxPositions
      const factors = long ? s.longFactor : s.shortFactor
      if (factors.length !== dim / 2)
        throw new ShapeError(`rope scaling 'longrope': ${factors.length} factors for ${dim / 2} frequencies`)
      return {
        invFreq: inv.map((f, i) => f / factors[i]),
        attentionFactor:
          s.factor <= 1 ? 1 : Math.sqrt(1 + Math.log(s.factor) / Math.log(s.originalMaxPositions)),
      }
    }
  }
}

/** High frequencies stay, low ones are divided by `factor`, those between are blended. */
function llama3(f: number, s: RopeScaling & { type: 'llama3' }): number {
  const turns = (s.originalMaxPositions * f) / (2 * Math.PI)
  if (turns > s.highFreqFactor) return f
  if (turns < s.lowFreqFactor) return f / s.factor
  const t = (turns - s.lowFreqFactor) / (s.highFreqFactor - s.lowFreqFactor)
  return ((1 - t) * f) / s.factor + t * f
}

function yarn(
  inv: Float64Array,
  dim: number,
  base: number,
  s: RopeScaling & { type: 'yarn' },
): RopeFrequencies {
  // the pair that turns so many times within the original length
  const pairOf = (turns: number): number =>
    (dim * Math.log(s.originalMaxPositions / (turns * 2 * Math.PI))) / (2 * Math.log(base))
  let lo = pairOf(s.betaFast ?? 32)
  let hi = pairOf(s.betaSlow ?? 1)
  if (s.truncate ?? true) {
    lo = Math.floor(lo)
    hi = Math.ceil(hi)
  }
  lo = Math.max(lo, 0)
  hi = Math.min(hi, dim - 1)
  if (lo === hi) hi += 0.001
  const scale = (m: number): number => (s.factor <= 1 ? 1 : 0.1 * m * Math.log(s.factor) + 1)
  return {
    invFreq: inv.map((f, i) => {
      const ramp = Math.min(1, Math.max(0, (i - lo) / (hi - lo)))
      return (f / s.factor) * ramp + f * (1 - ramp)
    }),
    attentionFactor:
      s.attentionFactor ?? (s.mscale && s.mscaleAllDim ? scale(s.mscale) / scale(s.mscaleAllDim) : scale(1)),
  }
}

export interface RopeOptions {
  /** Default 10000. */
  base?: number
  /** `half` turns pairs (i, i + dim/2), as Llama; `interleaved` pairs (2i, 2i + 1), as GPT-J. Default `half`. */
  layout?: RopeLayout
  /** How many first entries of dHead turn. Default all. */
  rotaryDim?: number
  scaling?: RopeScaling | null
  /** Positions in the table; needed only where positions are neither given by offset and cache nor known on the host. */
  nCtx?: number
}

/** Cosines and sines [.., position, dim/2] of the angles position·invFreq, times the attention factor. */
export interface RopeAngles {
  readonly cos: Tensor
  readonly sin: Tensor
}
function anglesOf(positions: ArrayLike<number>, shape: readonly number[], f: RopeFrequencies): RopeAngles {
  const half = f.invFreq.length
  const cos = new Float64Array(positions.length * half)
  const sin = new Float64Array(positions.length * half)
  for (let p = 0; p < positions.length; p++)
    for (let i = 0; i < half; i++) {
      const angle = Number(positions[p]) * f.invFreq[i]
      cos[p * half + i] = Math.cos(angle) * f.attentionFactor
      sin[p * half + i] = Math.sin(angle) * f.attentionFactor
    }
  return { cos: tensor(cos, [...shape, half]), sin: tensor(sin, [...shape, half]) }
}

/** One table per set of frequencies, shared by all layers: they are the same leaves of every graph. */
const tables = new Map<string, { readonly n: number; readonly angles: RopeAngles }>()
const MAX_TABLES = 16
function table(dim: number, o: RopeOptions, scaling: RopeScaling | null | undefined, n: number): RopeAngles {
  const key = JSON.stringify([dim, o.base, scaling])
  const known = tables.get(key)
  if (known && known.n >= n) return known.angles
  const size = Math.max(64, 2 ** Math.ceil(Math.log2(n)))
  const f = ropeFrequencies({ dim, base: o.base, scaling })
  const made = {
    n: size,
    angles: anglesOf(
      Float64Array.from({ length: size }, (_, i) => i),
      [size],
      f,
    ),
  }
  tables.delete(key)
  tables.set(key, made)
  if (tables.size > MAX_TABLES) tables.delete(tables.keys().next().value as string)
  return made.angles
}

/** Scalings that look at the length in use get the one at hand. */
function withLength(s: RopeScaling | null | undefined, length: number): RopeScaling | null | undefined {
  if (s?.type === 'dynamic' && s.seqLen === undefined)
    return { ...s, seqLen: Math.max(length, s.maxPositions) }
  if (s?.type === 'longrope' && s.seqLen === undefined)
    return { ...s, seqLen: length > s.originalMaxPositions ? s.originalMaxPositions + 1 : 0 }
  return s
}

/** Angles of given positions, i32 [position] or [batch, position], known on the host or looked up in nCtx rows. */
export function ropeAngles(positions: Tensor, dim: number, o: RopeOptions = {}): RopeAngles {
  if (positions.dtype !== 'i32' || positions.rank < 1 || positions.rank > 2)
    throw new ShapeError(
      `rope: positions are ${positions.dtype} ${showShape(positions.shape)}, expected i32 [position] or [batch, position]`,
    )
  const host = positions.value?.host
  if (host) {
    const list = Array.from(host as Int32Array, Number)
    const scaling = withLength(o.scaling, Math.max(0, ...list) + 1)
    return anglesOf(list, positions.shape, ropeFrequencies({ dim, base: o.base, scaling }))
  }
  if (o.nCtx === undefined)
    throw new ValueError(
      'rope: these positions are not known on the host; give rope({ nCtx }) the largest length',
    )
  const { cos, sin } = table(dim, o, withLength(o.scaling, o.nCtx), o.nCtx)
  return { cos: rows(cos, positions, o.nCtx), sin: rows(sin, positions, o.nCtx) }
}
const rows = (t: Tensor, positions: Tensor, n: number): Tensor => take(sliceAxis(t, 0, 0, n), positions)

/** The rotary position slot. Queries turn by their position, keys when they are made, so that a cache holds turned keys. */
export function rope(o: RopeOptions = {}): Position {
  checkOptions('rope', o, ['base', 'layout', 'rotaryDim', 'scaling', 'nCtx'])
  if (o.scaling) checkScaling(o.scaling)
  const given = new WeakMap<Tensor, Map<number, RopeAngles>>()
  return {
    rotate: (x, place) => {
      const dim = o.rotaryDim ?? x.shape[x.rank - 1]
      const turn = ({ cos, sin }: RopeAngles): Tensor =>
        ropeOp(x, cos, sin, { layout: o.layout ?? 'half', rotaryDim: dim })
      const { positions, offset, queries, keys } = place
      if (positions) {
        let byDim = given.get(positions)
        if (!byDim) given.set(positions, (byDim = new Map()))
        let a = byDim.get(dim)
        if (!a) {
          a = ropeAngles(positions, dim, o)
          // [batch, position, dim/2] stands over all heads
          if (positions.rank === 2) a = { cos: expandDims(a.cos, 1), sin: expandDims(a.sin, 1) }
          byDim.set(dim, a)
        }
        return turn(a)
      }
      const length = Math.max(queries, keys, o.nCtx ?? 0, typeof offset === 'number' ? offset + queries : 0)
      const { cos, sin } = table(dim, o, withLength(o.scaling, keys), length)
      if (offset === undefined)
        return turn({ cos: sliceAxis(cos, 0, 0, queries), sin: sliceAxis(sin, 0, 0, queries) })
      const at = { axis: 0, size: queries }
      return turn({ cos: dynamicSlice(cos, offset, at), sin: dynamicSlice(sin, offset, at) })
    },
  }
}
