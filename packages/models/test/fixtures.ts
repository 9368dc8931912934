// Opens the fixtures and compares with them.
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import type { Tensor } from '@heed/tensor'
import { openWeights } from '@heed/weights'
import { expect } from 'vitest'
import { loadModel, type TextModel } from '../src/index.js'
import { byteTokenizer, wordTokenizer } from './tokenizers.js'

export const fixture = (name: string): string => fileURLToPath(new URL(`fixtures/${name}`, import.meta.url))
export const bytes = async (path: string): Promise<Uint8Array> =>
  new Uint8Array(await readFile(fixture(path)))
export const json = async <T>(path: string): Promise<T> =>
  JSON.parse(await readFile(fixture(path), 'utf8')) as T

export interface Expected {
  batches: Record<
    string,
    {
      inputs: {
        input_ids: number[][]
        attention_mask?: number[][]
        token_type_ids?: number[][]
        position_ids?: number[][]
      }
      targets: { labels: number[][] }
    }
  >
  step: Record<string, { input_ids: number[][] }>
  generation: {
    name: string
    settings: { max_new_tokens: number; eos_token_id: number | null; pad_token_id: number }
    prompt: { input_ids: number[][]; attention_mask: number[][] }
    sequences: number[][]
  }[]
}
export const expected = (name: string): Promise<Expected> => json<Expected>(`${name}/expected.json`)

export async function want(name: string, tensor: string): Promise<Float32Array> {
  const weights = await openWeights(fixture(`${name}/expected.safetensors`))
  try {
    return await weights.readF32(tensor)
  } finally {
    await weights.close()
  }
}

/** The fixture's files in memory with a tokenizer, each replaceable. */
export async function files(
  name: 'gpt2' | 'bert-mlm',
  changes: { config?: Record<string, unknown>; weights?: Uint8Array; tokenizer?: string | null } = {},
): Promise<Record<string, Uint8Array>> {
  const text = (s: string): Uint8Array => new TextEncoder().encode(s)
  const config = { ...(await json<Record<string, unknown>>(`${name}/config.json`)), ...changes.config }
  const tokenizer =
    changes.tokenizer === undefined
      ? name === 'gpt2'
        ? byteTokenizer()
        : wordTokenizer()
      : changes.tokenizer
  return {
    'config.json': text(JSON.stringify(config)),
    'model.safetensors': changes.weights ?? (await bytes(`${name}/model.safetensors`)),
    ...(tokenizer === null ? {} : { 'tokenizer.json': text(tokenizer) }),
  }
}
export const load = async (...args: Parameters<typeof files>): Promise<TextModel> =>
  loadModel(await files(...args))

/** Every value within `atol`; with `rows`, only where a token stands [batch][position], positions on axis 1. */
export async function expectClose(
  got: Tensor | ArrayLike<number>,
  wanted: ArrayLike<number>,
  atol: number,
  rows?: number[][],
): Promise<void> {
  const data = 'node' in got ? ((await got.data()) as ArrayLike<number>) : got
  expect(data.length).toBe(wanted.length)
  const flat = rows?.flat()
  const width = flat ? wanted.length / flat.length : 0
  let worst = 0
  for (let i = 0; i < wanted.length; i++)
    if (!flat || flat[Math.floor(i / width)]) worst = Math.max(worst, Math.abs(data[i] - wanted[i]))
  expect(worst).toBeLessThanOrEqual(atol)
}
