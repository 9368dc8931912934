const floats = new Float32Array(1)
const bits = new Int32Array(floats.buffer)
/** A float32 as a word of a job. */
export function f32bits(x: number): number {
  floats[0] = x
  return bits[0]
}
