/**
 * What a model may be called with: ids as tensors or plain arrays, alone or with masks, positions and a cache. Arrays are
 * checked on the host, where an error can still name the id. Text is not known here.
 */
import { type Context, type ModelInput, showShape, Tensor, tensor } from '@heed/tensor'
import { InputError } from './errors.js'

/** Ids of one text, or of a batch of equal lengths. */
export type Ids = Tensor | readonly number[] | readonly (readonly number[])[]

/** Ids with what belongs to them, in plain arrays or tensors. */
export interface BatchInput extends Omit<Context, 'mask' | 'positions'> {
  readonly ids: Ids
  /** Which of two texts a token belongs to [batch, position]; default 0. */
  readonly typeIds?: Ids
  /**
   * A tensor as attention takes it (bool, broadcasts to [batch, head, query, key]), or rows [batch][key] of 1 (a token)
   * and 0 (padding).
   */
  readonly mask?: Tensor | readonly (readonly (number | boolean)[])[] | null
  readonly positions?: Ids | null
}
export type InputLike = Ids | BatchInput

const KEYS = ['ids', 'typeIds', 'mask', 'positions', 'offset', 'cache', 'key', 'memory', 'memoryMask']

/** What of a model's config its input has to fit. */
export interface InputLimits {
  readonly nVocab: number
  readonly nCtx: number
  readonly nType?: number
}

/** The input as the networks take it: every part a tensor, ids i32 [batch, position]. */
export function toInput(input: InputLike, limits: InputLimits): ModelInput {
  const whole: BatchInput = isBatch(input) ? input : { ids: input }
  for (const name of Object.keys(whole))
    if (!KEYS.includes(name))
      throw new InputError(`input: '${name}' is unknown; an input has ${KEYS.slice(0, 7).join(', ')}`)
  const ids = idTensor(whole.ids, 'ids', limits.nVocab)
  const [batch, length] = ids.shape
  if (length === 0) throw new InputError('input: there are no ids; a model needs at least one token')
  if (length > limits.nCtx)
    throw new InputError(
      `input: ${length} tokens are more than the model's context of ${limits.nCtx}; shorten the text`,
    )
  const { mask, positions, typeIds, ...rest } = whole
  return {
    ...rest,
    ids,
    ...(typeIds === undefined
      ? {}
      : { typeIds: sized(idTensor(typeIds, 'typeIds', limits.nType ?? 1), [batch, length], 'typeIds') }),
    ...(mask === undefined || mask === null
      ? {}
      : { mask: mask instanceof Tensor ? mask : paddingMask(mask) }),
    ...(positions === undefined || positions === null
      ? {}
      : { positions: idTensor(positions, 'positions', limits.nCtx) }),
  }
}

const isBatch = (x: InputLike): x is BatchInput => !(x instanceof Tensor) && !Array.isArray(x)

/** Ids as an i32 tensor, checked where they are known. */
export function idTensor(ids: Ids, what: string, below: number): Tensor {
  if (ids instanceof Tensor) {
    if (ids.dtype !== 'i32')
      throw new InputError(
        `input: ${what} are ${ids.dtype}, expected i32; make them with tensor(ids, { dtype: 'i32' })`,
      )
    if (ids.rank !== 2 && !(what === 'positions' && ids.rank === 1))
      throw new InputError(`input: ${what} are ${showShape(ids.shape)}, expected [batch, position]`)
    return ids
  }
  if (!Array.isArray(ids))
    throw new InputError(
      `input: ${what} are ${typeof ids}, expected a list of numbers, a list of rows or an i32 tensor`,
    )
  const rows = (ids.length > 0 && Array.isArray(ids[0]) ? ids : [ids]) as readonly (readonly number[])[]
  const width = rows[0].length
  for (const [r, row] of rows.entries()) {
    if (!Array.isArray(row) || row.length !== width)
      throw new InputError(
        `input: row ${r} of ${what} has ${Array.isArray(row) ? row.length : 'no'} entries, the first has ${width}; pad them to one length`,
      )
    for (const id of row)
      if (!Number.isInteger(id) || id < 0 || id >= below)
        throw new InputError(`input: ${what} hold ${id}, which is outside 0..${below - 1}`)
  }
  return tensor(Int32Array.from(rows.flat()), { shape: [rows.length, width], dtype: 'i32' })
}

function sized(t: Tensor, shape: readonly number[], what: string): Tensor {
  const fits = t.rank === shape.length && t.shape.every((d, i) => d === shape[i] || d === 1)
  if (!fits) throw new InputError(`input: ${what} are ${showShape(t.shape)}, ids are ${showShape(shape)}`)
  return t
}

/** Rows of 1 and 0 per key → bool [batch, 1, 1, key]. */
export function paddingMask(rows: readonly (readonly (number | boolean)[])[]): Tensor {
  const width = rows[0]?.length ?? 0
  if (!rows.every((r) => Array.isArray(r) && r.length === width))
    throw new InputError('input: the rows of the mask differ in length')
  return tensor(Uint8Array.from(rows.flat(), Number), { shape: [rows.length, 1, 1, width], dtype: 'bool' })
}

/** Positions of left-padded rows: how many tokens stand before each, 0 on padding. */
export function positionsOf(mask: readonly (readonly number[])[]): number[][] {
  return mask.map((row) => {
    let seen = 0
    return row.map((m) => (m ? seen++ : 0))
  })
}
