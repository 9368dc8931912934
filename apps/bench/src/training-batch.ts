/** The batch that everybody trains on: ids and the ids that follow them. */
import { integers } from './random.js'
import type { WorkOf } from './work.js'

export function trainingBatch({ shape, batch, length }: WorkOf<'train'>): {
  input: number[][]
  target: number[][]
} {
  const ids = integers(batch * (length + 1), shape.nVocab, 11)
  const rows = Array.from({ length: batch }, (_, i) => ids.slice(i * (length + 1), (i + 1) * (length + 1)))
  return { input: rows.map((r) => r.slice(0, length)), target: rows.map((r) => r.slice(1)) }
}
