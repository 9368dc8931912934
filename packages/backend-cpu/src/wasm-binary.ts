/**
 * The kernel modules that the package carries. The last module to be imported: its long text keeps code before it from code behind it
 * when a bundle is compressed.
 */
import { KERNELS } from './generated/kernels.js'
import type { Build } from './wasm.js'

/** The embedded module, put together from its pieces: those of both builds lie in turn in one deflated stream. */
export async function embedded(build: Build): Promise<Uint8Array<ArrayBuffer>> {
  const deflated = Uint8Array.from(atob(KERNELS), (c) => c.charCodeAt(0))
  const stream = new Blob([deflated]).stream().pipeThrough(new DecompressionStream('deflate-raw'))
  const both = new Uint8Array(await new Response(stream).arrayBuffer())
  const pieces: Uint8Array<ArrayBuffer>[] = []
  for (let i = build === 'relaxed' ? 0 : 1, from = 0; from < both.length; i++) {
    let at = from + 1
    let length = both[from]
    if (length > 127) length += (both[at++] - 1) << 7
    // the length belongs to the body of a function; head and tail, which come first, have it for us, and 0 is no function
    const isFunction = pieces.length > 1
    if (i % 2 === 0 && length > 0) pieces.push(both.subarray(isFunction ? from : at, at + length))
    from = at + length
  }
  const [head, tail, ...functions] = pieces
  return new Uint8Array(await new Blob([head, ...functions, tail]).arrayBuffer())
}
