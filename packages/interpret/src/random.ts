/** Random choices on the host: threefry words with a seed, so that a check can be repeated anywhere. */
import { threefry2x32 } from '@heed/tensor'

/** Whole numbers in 0..n−1, without modulo bias. */
export function randomIndices(seed: number): (n: number) => number {
  let counter = 0
  return (n) => {
    const limit = Math.floor(2 ** 32 / n) * n
    for (;;) {
      const word = threefry2x32(seed | 0, 0x68656564, counter++, 0)[0] >>> 0
      if (word < limit) return word % n
    }
  }
}

/** A random order of the items (Fisher and Yates). */
export function shuffled<T>(items: readonly T[], below: (n: number) => number): T[] {
  const out = [...items]
  for (let i = out.length - 1; i > 0; i--) {
    const j = below(i + 1)
    ;[out[i], out[j]] = [out[j], out[i]]
  }
  return out
}
