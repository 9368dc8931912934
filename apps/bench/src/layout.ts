/** The same numbers in another order, for libraries that want their axes otherwise. */

/** [outer, inner, width] → [inner, outer, width]. */
export function swapped(x: Float32Array, outer: number, inner: number, width: number): Float32Array {
  const y = new Float32Array(x.length)
  for (let i = 0; i < outer; i++)
    for (let j = 0; j < inner; j++) {
      const from = (i * inner + j) * width
      y.set(x.subarray(from, from + width), (j * outer + i) * width)
    }
  return y
}
