/**
 * Getting the bytes of a tokenizer.json: folder or file of Node, URL, or bytes in hand. Node's file system is imported
 * only when a path is asked for, so browsers never see it. It refuses to cache or to know the hub (that is `weights`).
 */
import { TokenizerError } from './errors.js'
import { type Tokenizer, tokenizerFromJson } from './tokenizer.js'

/**
 * Reads a tokenizer.
 * @param from a folder with a tokenizer.json (path or URL that ends in no `.json`), the file itself, or its bytes
 */
export async function loadTokenizer(from: string | URL | ArrayBuffer | Uint8Array): Promise<Tokenizer> {
  if (from instanceof Uint8Array || from instanceof ArrayBuffer) return named('the given bytes', parse(from))
  const isUrl = from instanceof URL || /^(https?|file|blob|data):/.test(from)
  const text = String(from)
  const place =
    /\.json($|[?#])/.test(text) || /^(blob|data):/.test(text)
      ? text
      : `${text.replace(/\/$/, '')}/tokenizer.json`
  const read =
    !isUrl || text.startsWith('file:') ? readFile(isUrl ? new URL(place) : place) : fetchBytes(place)
  return named(place, read.then(parse))
}

async function named(place: string, read: Tokenizer | Promise<Tokenizer>): Promise<Tokenizer>
async function named(place: string, read: Promise<Tokenizer> | Tokenizer): Promise<Tokenizer> {
  try {
    return await read
  } catch (error) {
    if (error instanceof TokenizerError) error.message = `${place}: ${error.message}`
    throw error
  }
}

function parse(bytes: ArrayBuffer | Uint8Array): Tokenizer {
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw new TokenizerError('is not UTF-8')
  }
  return tokenizerFromJson(text)
}

async function readFile(place: string | URL): Promise<Uint8Array> {
  // named at run time, so that no bundler for browsers looks for it
  const name = 'node:fs/promises'
  const fs = (await import(
    /* @vite-ignore */ /* webpackIgnore: true */ name
  )) as typeof import('node:fs/promises')
  try {
    return await fs.readFile(place)
  } catch (error) {
    throw new TokenizerError(
      `cannot be read (${(error as { code?: string }).code}); expected a tokenizer.json there`,
    )
  }
}

async function fetchBytes(place: string): Promise<ArrayBuffer> {
  const answer = await fetch(place)
  if (!answer.ok) throw new TokenizerError(`answered ${answer.status} ${answer.statusText}`)
  return answer.arrayBuffer()
}
