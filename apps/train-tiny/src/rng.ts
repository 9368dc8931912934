/**
 * A small seeded random source for data and initial values: 32 bits of state, the same draws on every machine.
 * It is no source for dropout, which uses the library's own keys.
 */
export interface Rng {
  /** Uniform in [0, 1). */
  next(): number
  /** Uniform integer in [0, n). */
  below(n: number): number
  /** Uniform integer in [low, high], both included. */
  between(low: number, high: number): number
  pick<T>(items: readonly T[]): T
  /** `count` different items in random order. */
  sample<T>(items: readonly T[], count: number): T[]
}

/** mulberry32 (Tommy Ettinger, public domain) behind the few draws that the data needs. */
export function rng(seed: number): Rng {
  let state = seed >>> 0
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
  const below = (n: number): number => Math.floor(next() * n)
  return {
    next,
    below,
    between: (low, high) => low + below(high - low + 1),
    pick: (items) => {
      const item = items[below(items.length)]
      if (item === undefined) throw new RangeError('rng.pick: the list is empty')
      return item
    },
    sample: (items, count) => {
      if (count > items.length) throw new RangeError(`rng.sample: ${count} of ${items.length} items`)
      const pool = [...items]
      for (let i = 0; i < count; i++) {
        const j = i + below(pool.length - i)
        const kept = pool[i] as (typeof pool)[number]
        pool[i] = pool[j] as (typeof pool)[number]
        pool[j] = kept
      }
      return pool.slice(0, count)
    },
  }
}

/** n normal draws (Box and Muller 1958). */
export function normals(r: Rng, n: number, std: number): Float32Array {
  const out = new Float32Array(n)
  for (let i = 0; i < n; i += 2) {
    const radius = Math.sqrt(-2 * Math.log(1 - r.next())) * std
    const angle = 2 * Math.PI * r.next()
    out[i] = radius * Math.cos(angle)
    if (i + 1 < n) out[i + 1] = radius * Math.sin(angle)
  }
  return out
}

/** FNV-1a, for splits that must not depend on the order of draws. */
export function hash32(text: string): number {
  let h = 0x811c9dc5
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193) >>> 0
  return h
}

/** Mixes a seed with a step and a row, so that every row of every step has draws of its own. */
export function mixSeed(seed: number, ...parts: number[]): number {
  let h = seed >>> 0
  for (const part of parts) {
    h = Math.imul(h ^ (part >>> 0), 0x9e3779b1) >>> 0
    h = (h ^ (h >>> 15)) >>> 0
    h = Math.imul(h, 0x85ebca77) >>> 0
    h = (h ^ (h >>> 13)) >>> 0
  }
  return h
}
