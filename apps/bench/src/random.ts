/** Repeatable inputs from a 32-bit generator, the same in every process. */

/** Mulberry32 (Tommy Ettinger, public domain): uniforms in [0, 1). */
function uniforms(seed: number): () => number {
  let a = seed >>> 0
  return () => {
    a = (a + 0x6d2b79f5) | 0
    let t = Math.imul(a ^ (a >>> 15), 1 | a)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

/** Uniform around `mean` with standard deviation `std`. */
export function noise(length: number, seed: number, std = 1, mean = 0): Float32Array {
  const next = uniforms(seed)
  const width = std * Math.sqrt(12)
  const out = new Float32Array(length)
  for (let i = 0; i < length; i++) out[i] = mean + (next() - 0.5) * width
  return out
}

export function integers(length: number, below: number, seed: number): number[] {
  const next = uniforms(seed)
  return Array.from({ length }, () => Math.floor(next() * below))
}
