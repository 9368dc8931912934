// Checksums of files, so that a report can say which weights it looked at.
import { hasFiles, nodeCrypto } from './node.js'
import { bytesSource, type Source } from './source.js'

const hex = (bytes: Uint8Array) => Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join('')

/**
 * SHA-256 in lower-case hex, as `sha256sum` prints it. In Node a source is read in pieces of 4 MiB; browsers have no
 * streaming digest, so there it is read whole once.
 */
export async function sha256(from: Source | Uint8Array): Promise<string> {
  const source = from instanceof Uint8Array ? bytesSource(from) : from
  if (hasFiles) {
    const digest = (await nodeCrypto()).createHash('sha256')
    const piece = 2 ** 22
    for (let at = 0; at < source.size; at += piece) {
      digest.update(await source.read(at, Math.min(piece, source.size - at)))
    }
    return digest.digest('hex')
  }
  return hex(new Uint8Array(await crypto.subtle.digest('SHA-256', await source.read(0, source.size))))
}
