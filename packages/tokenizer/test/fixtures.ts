// Reads what scripts/make-fixtures.py wrote, and puts the small tokenizers together.
import { readFileSync } from 'node:fs'
import { type Tokenizer, tokenizerFromJson } from '../src/index.js'

export function fixture<T>(name: string): T {
  return JSON.parse(readFileSync(new URL(`./fixtures/${name}.json`, import.meta.url), 'utf8')) as T
}

const files = fixture<Record<string, Record<string, unknown>>>('tokenizers')
const made = new Map<string, Tokenizer>()
export const names = Object.keys(files)

/** The file of a small tokenizer; some share a model with another one. */
export function fileOf(name: string): Record<string, unknown> {
  const file = files[name]
  return { ...file, model: typeof file.model === 'string' ? files[file.model].model : file.model }
}

export function small(name: string): Tokenizer {
  let tok = made.get(name)
  if (!tok) made.set(name, (tok = tokenizerFromJson(fileOf(name))))
  return tok
}

/** A tokenizer of which only one component matters. */
export function shell(parts: Record<string, unknown>): Tokenizer {
  return tokenizerFromJson({
    added_tokens: [],
    model: { type: 'BPE', unk_token: '?', vocab: { '?': 0 }, merges: [] },
    ...parts,
  })
}
