// Where bytes come from: memory, a Blob, a file or a URL, all read by range. A source knows nothing of what is in it.
import { WeightsError } from './errors.js'
import { fsPromises } from './node.js'

/** Random access to the bytes of one file. */
export interface Source {
  /** Path, URL or made-up name, for messages. */
  readonly name: string
  /** Bytes in all. */
  readonly size: number
  /**
   * Exactly `length` bytes from `offset`, in an array of their own that starts at byte 0 of its buffer (so any typed
   * array can view it). Throws WeightsError when the range is not inside the file.
   */
  read(offset: number, length: number): Promise<Uint8Array<ArrayBuffer>>
  close(): Promise<void>
}

function checkRange(name: string, size: number, offset: number, length: number): void {
  const whole = Number.isSafeInteger(offset) && Number.isSafeInteger(length)
  if (!whole || offset < 0 || length < 0 || offset + length > size)
    throw new WeightsError('unreadable', {
      file: name,
      message: `cannot read ${length} bytes at ${offset}: the file has ${size}`,
    })
}

/** Bytes in memory. They are not copied until they are read. */
export function bytesSource(bytes: Uint8Array | ArrayBuffer, name = 'bytes'): Source {
  const view = bytes instanceof Uint8Array ? bytes : new Uint8Array(bytes)
  const size = view.byteLength
  return {
    name,
    size,
    async read(offset, length) {
      checkRange(name, size, offset, length)
      return new Uint8Array(view.subarray(offset, offset + length)) // a copy, so aligned
    },
    async close() {},
  }
}

/** A Blob or File of a browser. */
export function blobSource(blob: Blob, name = 'name' in blob ? String(blob.name) : 'blob'): Source {
  return {
    name,
    size: blob.size,
    async read(offset, length) {
      checkRange(name, blob.size, offset, length)
      return new Uint8Array(await blob.slice(offset, offset + length).arrayBuffer())
    },
    async close() {},
  }
}

const notFound = (error: unknown) =>
  error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR')

/** A file on disk, held open until `close`. Node only. */
export async function fileSource(path: string): Promise<Source> {
  const { open } = await fsPromises()
  const handle = await open(path, 'r').catch((cause: unknown) => {
    if (notFound(cause))
      throw new WeightsError('missing file', { file: path, message: 'no such file', cause })
    const message = cause instanceof Error ? cause.message : String(cause)
    throw new WeightsError('unreadable', { file: path, message, cause })
  })
  const info = await handle.stat()
  if (!info.isFile()) {
    await handle.close()
    throw new WeightsError('unreadable', { file: path, message: 'is not a file' })
  }
  const { size } = info
  const largest = 2 ** 30 // one read call is limited to 2 GiB
  let open_ = true
  return {
    name: path,
    size,
    async read(offset, length) {
      if (!open_) throw new WeightsError('closed', { file: path, message: 'read after close' })
      checkRange(path, size, offset, length)
      const bytes = new Uint8Array(length)
      for (let done = 0; done < length; ) {
        const { bytesRead } = await handle.read(bytes, done, Math.min(length - done, largest), offset + done)
        if (bytesRead === 0)
          throw new WeightsError('unreadable', {
            file: path,
            message: `became shorter while it was read: nothing at byte ${offset + done}`,
          })
        done += bytesRead
      }
      return bytes
    },
    async close() {
      if (!open_) return
      open_ = false
      await handle.close()
    },
  }
}

const statusError = (url: string, response: Response) =>
  new WeightsError([404, 410].includes(response.status) ? 'missing file' : 'unreadable', {
    file: url,
    message: `the server answers ${response.status} ${response.statusText}`.trimEnd(),
  })

async function ask(url: string, init: RequestInit): Promise<Response> {
  try {
    return await fetch(url, init)
  } catch (cause) {
    const inner = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause
    const why = inner instanceof Error ? inner.message : String(inner)
    throw new WeightsError('unreadable', { file: url, message: `cannot be fetched (${why})`, cause })
  }
}

/**
 * A file behind a URL, read with Range requests. A server that ignores them is asked once for the whole file, which is
 * then kept in memory.
 */
export async function urlSource(url: string | URL): Promise<Source> {
  const name = String(url)
  const range = (from: number, to: number) => ({ headers: { range: `bytes=${from}-${to}` } })
  const first = await ask(name, range(0, 0))
  if (first.status === 416) return bytesSource(new Uint8Array(0), name) // nothing at byte 0: an empty file
  if (!first.ok) throw statusError(name, first)
  if (first.status !== 206) return bytesSource(await first.arrayBuffer(), name)
  await first.arrayBuffer()
  const size = Number(/\/(\d+)$/.exec(first.headers.get('content-range') ?? '')?.[1] ?? Number.NaN)
  // across origins a server must allow this header to be read: without it the size is not known
  if (!Number.isSafeInteger(size)) {
    const whole = await ask(name, {})
    if (!whole.ok) throw statusError(name, whole)
    return bytesSource(await whole.arrayBuffer(), name)
  }
  return {
    name,
    size,
    async read(offset, length) {
      checkRange(name, size, offset, length)
      if (length === 0) return new Uint8Array(0)
      const response = await ask(name, range(offset, offset + length - 1))
      if (!response.ok) throw statusError(name, response)
      const bytes = new Uint8Array(await response.arrayBuffer())
      if (response.status !== 206 || bytes.length !== length)
        throw new WeightsError('unreadable', {
          file: name,
          message: `asked for ${length} bytes at ${offset}, the server sent ${bytes.length}`,
        })
      return bytes
    },
    async close() {},
  }
}
