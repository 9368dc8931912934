/** Sentences as ids, and batches of them padded as Heed's `embed` pads: of similar length, sixteen at a time. */
import { readFileSync } from 'node:fs'
import { tokenizerFromJson } from '@heed/tokenizer'

export function encodeIds(folder: string, texts: readonly string[]): number[][] {
  const tokenizer = tokenizerFromJson(JSON.parse(readFileSync(`${folder}/tokenizer.json`, 'utf8')))
  return texts.map((t) => [...tokenizer.encode(t, { padding: false, truncation: false }).ids])
}

export interface Batch {
  /** Of each row, its place among the texts. */
  readonly at: readonly number[]
  readonly rows: number
  readonly width: number
  /** [rows, width], padded with 0. */
  readonly ids: BigInt64Array
  /** 1 on tokens. */
  readonly mask: BigInt64Array
}

export function batches(all: readonly (readonly number[])[], size = 16): Batch[] {
  const order = all.map((_, i) => i).sort((a, b) => all[a].length - all[b].length || a - b)
  return Array.from({ length: Math.ceil(order.length / size) }, (_, b) => {
    const at = order.slice(b * size, (b + 1) * size)
    const width = Math.max(...at.map((i) => all[i].length))
    const grid = (value: (id: number | undefined) => number): BigInt64Array =>
      BigInt64Array.from(
        at.flatMap((i) => Array.from({ length: width }, (_, c) => value(all[i][c]))),
        BigInt,
      )
    return {
      at,
      rows: at.length,
      width,
      ids: grid((id) => id ?? 0),
      mask: grid((id) => (id === undefined ? 0 : 1)),
    }
  })
}
