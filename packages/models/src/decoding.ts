/**
 * A decoder's steps: the prompt once, then a token per row and step over a cache of fixed capacity. Every step runs the
 * same plan, since offset, ids and positions are inputs of it. What to choose is not decided here.
 */
import { type Cache, makeCache } from '@heed/attention'
import { release, slice, type Tensor } from '@heed/tensor'
import { InputError } from './errors.js'
import { type BatchInput, idTensor, paddingMask, positionsOf } from './input.js'
import type { TextModel } from './model.js'

export interface Prompt {
  /** Rows of one length. */
  readonly ids: readonly (readonly number[])[]
  /** 1 for tokens, 0 for padding, which stands on the left. */
  readonly mask?: readonly (readonly number[])[] | null
  /** Default: tokens count, padding does not. */
  readonly positions?: readonly (readonly number[])[] | null
}

export interface Decoding {
  /** Logits of the last position, row after row [batch · vocabulary]. */
  readonly logits: Float32Array
  /** Positions in the cache. */
  readonly length: number
  readonly capacity: number
  /** One more token per row. */
  step(ids: readonly number[]): Promise<Float32Array>
  /** Gives the cache's memory back now; no step can follow. */
  free(): void
}

/** Capacities are multiples of this, so that generations of different lengths share plans. */
const GRAIN = 64

/**
 * Runs the prompt. `newTokens` is how many steps will follow at most.
 * @throws InputError when prompt and new tokens do not fit the model's context.
 */
export async function startDecoding(model: TextModel, prompt: Prompt, newTokens: number): Promise<Decoding> {
  const { ids } = prompt
  const { nCtx, nLayer, nHead, dHead, nVocab, nKvHead } = model.config
  if (model.kind !== 'decoder')
    throw new InputError(`this ${model.kind} does not generate; use a decoder such as GPT-2`)
  if (ids.length === 0 || ids[0].length === 0)
    throw new InputError('the prompt has no tokens; give at least one')
  const batch = ids.length
  const start = ids[0].length
  const wanted = start + newTokens
  if (wanted > nCtx)
    throw new InputError(
      `the prompt's ${start} tokens and ${newTokens} new ones are more than the model's context of ${nCtx}; ask for at most ${Math.max(0, nCtx - start)} new tokens`,
    )
  const capacity = Math.min(nCtx, Math.ceil(wanted / GRAIN) * GRAIN)
  const cache: Cache = makeCache({
    layers: nLayer,
    batch,
    nKvHead: typeof nKvHead === 'number' ? nKvHead : nHead,
    capacity,
    dHead,
  })
  const padded = prompt.mask?.some((row) => row.includes(0)) ? prompt.mask : null
  if (padded?.some((row) => row[row.length - 1] === 0))
    throw new InputError(
      'the prompt is padded on the right; pad it on the left, so that every row ends in a token',
    )
  // beyond the prompt every key is a token; what is not filled yet is hidden by causality
  const mask = padded
    ? paddingMask(padded.map((row) => [...row, ...new Array<number>(capacity - start).fill(1)]))
    : null
  const positions = prompt.positions ?? (padded ? positionsOf(padded) : null)
  const next = positions ? positions.map((row) => row[row.length - 1] + 1) : null

  const call = async (
    rows: readonly (readonly number[])[],
    at: readonly (readonly number[])[] | null,
  ): Promise<Float32Array> => {
    const given = {
      ids: idTensor(rows, 'ids', nVocab),
      offset: cache.offset(),
      ...(at ? { positions: idTensor(at, 'positions', nCtx) } : {}),
    }
    const input: BatchInput = { ...given, cache, ...(mask ? { mask } : {}) }
    const logits: Tensor = model(input) // [batch, position, vocabulary]
    const last = slice(logits, [null, [rows[0].length - 1, rows[0].length]])
    await cache.advance([last])
    const data = (await last.data()) as Float32Array
    // a step leaves nothing behind but the cache
    for (const t of [last, ...Object.values(given)]) release(t)
    return data
  }
  let logits = await call(ids, positions)
  if (logits.length !== batch * nVocab)
    throw new InputError(`logits are ${logits.length} numbers, expected ${batch} × ${nVocab}`)
  return {
    get logits() {
      return logits
    },
    get length() {
      return cache.length
    },
    capacity,
    async step(tokens) {
      if (tokens.length !== batch) throw new InputError(`step: ${tokens.length} tokens for ${batch} rows`)
      logits = await call(
        tokens.map((id) => [id]),
        next ? next.map((p) => [p]) : null,
      )
      if (next) for (let r = 0; r < batch; r++) next[r]++
      return logits
    },
    free() {
      cache.free()
      if (mask) release(mask)
    },
  }
}
