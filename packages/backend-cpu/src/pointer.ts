/** From a view of the executor to a byte address in the WASM memory. */
import type { View } from '@heed/tensor'

export function pointer(v: View): number {
  return v.data.byteOffset + v.offset * v.data.BYTES_PER_ELEMENT
}
