/** Where the text comes from: words on the command line, a file, standard input. Bytes that are no UTF-8 are an error. */
import { readFile } from 'node:fs/promises'
import { UsageError } from './errors.js'
import type { Io } from './io.js'

function decode(bytes: Uint8Array, name: string): string {
  try {
    // a byte order mark is no part of the text
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw new UsageError(
      `${name} is not UTF-8 text; convert it first, for example with iconv -f ISO-8859-1 -t UTF-8`,
    )
  }
}

export async function readTextFile(path: string, option: string): Promise<string> {
  let bytes: Uint8Array
  try {
    bytes = await readFile(path)
  } catch (error) {
    const code = (error as { code?: string }).code
    const why =
      code === 'ENOENT' ? 'does not exist' : code === 'EISDIR' ? 'is a folder' : `cannot be read (${code})`
    throw new UsageError(`${option} ${path}: the file ${why}; name a text file`)
  }
  return decode(bytes, `${option} ${path}`)
}

async function readStandardInput(io: Io): Promise<string> {
  const chunks: Uint8Array[] = []
  for await (const chunk of io.stdin) chunks.push(Buffer.from(chunk as Uint8Array))
  return decode(Buffer.concat(chunks), 'standard input')
}

export interface TextSource {
  readonly text: string
  /** True when no text was given and the demo sentence stands in. */
  readonly isDemo: boolean
}

export const DEMO_SENTENCE = 'When Mary and John went to the store, John gave a drink to'

/** The text of `heed explain` and `heed generate`. */
export async function textFrom(
  words: readonly string[],
  file: string | undefined,
  io: Io,
): Promise<TextSource> {
  if (file !== undefined && words.length > 0)
    throw new UsageError('a text and --file are given; give one of them')
  if (file !== undefined)
    return nonEmpty(stripFinalNewline(await readTextFile(file, '--file')), `--file ${file}`)
  if (words.length > 1) throw new UsageError(`${words.length} texts are given; put one text in quotes`)
  if (words[0] === '-') return nonEmpty(stripFinalNewline(await readStandardInput(io)), 'standard input')
  if (words.length === 1) return nonEmpty(words[0], 'the text')
  return { text: DEMO_SENTENCE, isDemo: true }
}
const stripFinalNewline = (text: string): string => text.replace(/\r?\n$/, '')
function nonEmpty(text: string, what: string): TextSource {
  if (text.trim() === '') throw new UsageError(`${what} is empty; give at least one word`)
  return { text, isDemo: false }
}
