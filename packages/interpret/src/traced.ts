/**
 * What methods ask of a run: its taps, its blocks, where its words come from. Everything is read from names that fired,
 * never from a model's family; what a run does not have is an error here and not a guess in a method.
 */
import {
  type Callable,
  hasParts,
  type Look,
  type ModelInput,
  parameters,
  showShape,
  sliceAxis,
  Tensor,
  tensor,
} from '@heed/tensor'
import { InterpretError, indexOf } from './errors.js'

/** A run of any model with taps: `Run` of @heed/tensor, and whatever extends it. */
export interface Traced {
  readonly model: unknown
  readonly input: unknown
  readonly output: Tensor
  names(): string[]
  has(name: string): boolean
  get(name: string, look?: Look): Tensor
}

/** What a model with words offers, as far as it does. */
interface Worded {
  readonly tokenizer?: {
    encode(text: string, options: { addSpecialTokens: boolean }): { ids: readonly number[] }
  } | null
  encode?(text: string): readonly number[]
  decode?(ids: ArrayLike<number>): string
  tokenText?(id: number): string
}
const worded = (model: unknown): Worded =>
  (typeof model === 'function' || typeof model === 'object') && model !== null ? (model as Worded) : {}

/** How a token reads; null for models without words. */
export function tokenText(model: unknown, id: number): string | null {
  const m = worded(model)
  if (m.tokenizer === null) return null
  if (m.tokenText) return m.tokenText(id)
  return m.decode ? m.decode([id]) : null
}

/** The id of a token given as an id or as text that is exactly one token. */
export function tokenId(what: string, model: unknown, token: number | string, count: number): number {
  if (typeof token === 'number') {
    if (!Number.isInteger(token) || token < 0 || token >= count)
      throw new InterpretError(`${what}: token id ${token} is outside 0..${count - 1}`)
    return token
  }
  const m = worded(model)
  if (typeof token !== 'string')
    throw new InterpretError(`${what}: a token is ${typeof token}, expected its text or its id`)
  const ids = m.tokenizer ? m.tokenizer.encode(token, { addSpecialTokens: false }).ids : m.encode?.(token)
  if (!ids)
    throw new InterpretError(
      `${what}: the model has no tokenizer to read ${JSON.stringify(token)}; give the token's id`,
    )
  if (ids.length !== 1) {
    const pieces = Array.from(ids, (id) => JSON.stringify(tokenText(model, id) ?? `<${id}>`)).join(' ')
    throw new InterpretError(
      `${what}: ${JSON.stringify(token)} is ${ids.length} tokens (${pieces}), expected one; choose one of them, or give an id`,
    )
  }
  return tokenId(what, model, ids[0], count)
}

/** A token as it is printed in tables: quoted text, or its number. */
export const showToken = (text: string | null, id: number): string =>
  text === null ? `<${id}>` : JSON.stringify(text)

/** Logits [batch, position, vocabulary] (or [batch, class]): the tap, else the output. */
export const logitsOf = (run: Traced): Tensor => (run.has('logits') ? run.get('logits') : run.output)

/** Numbers of the blocks of a stack ('' or 'encoder.', 'decoder.'), in order. */
export function blocksOf(run: Traced, stack = ''): number[] {
  const found = new Set<number>()
  const prefix = `${stack}blocks.`
  for (const name of run.names()) {
    if (!name.startsWith(prefix)) continue
    const number = /^(\d+)\./.exec(name.slice(prefix.length))
    if (number) found.add(Number(number[1]))
  }
  return [...found].sort((a, b) => a - b)
}

/** Full tap names `blocks.{i}.word` of every block that has the word; at least one, or an error. */
export function tapsOf(what: string, run: Traced, word: string, stack = ''): string[] {
  const names = blocksOf(run, stack)
    .map((i) => `${stack}blocks.${i}.${word}`)
    .filter((name) => run.has(name))
  if (names.length === 0)
    throw new InterpretError(
      `${what}: the run has no tap '${stack}blocks.*.${word}'; the model does not tap it`,
    )
  return names
}

/** In post-norm blocks the norms stand behind the sums: `ln1` fires after `attn_out`. */
export function isPostNorm(run: Traced, stack = ''): boolean {
  const names = run.names()
  const [first] = blocksOf(run, stack)
  if (first === undefined) return false
  const ln1 = names.indexOf(`${stack}blocks.${first}.ln1`)
  const out = names.indexOf(`${stack}blocks.${first}.attn_out`)
  return ln1 >= 0 && out >= 0 && ln1 > out
}

/** The run's model as something that can be called again. */
export function callableOf(what: string, run: Traced): Callable<unknown> {
  if (typeof run.model !== 'function')
    throw new InterpretError(
      `${what}: the run's model cannot be called again; make the run with trace(model, input)`,
    )
  return run.model as Callable<unknown>
}

/** A parameter of the run's model by path; null where it has none of that name. */
export function parameterOf(model: unknown, path: string): Tensor | null {
  return hasParts(model) ? (parameters(model).get(path) ?? null) : null
}

/** Ids and what belongs to them: tensors [batch, position], plain arrays, or a text for models that read one. */
export type Ids = Tensor | ModelInput | string | readonly number[] | readonly (readonly number[])[]

/** The same as a model takes it. */
export function inputOf(what: string, model: unknown, ids: Ids): ModelInput {
  if (typeof ids === 'string') {
    const encode = worded(model).encode
    if (!encode) throw new InterpretError(`${what}: the model reads no text; give ids`)
    return inputOf(what, model, encode(ids))
  }
  if (ids instanceof Tensor) {
    if (ids.dtype !== 'i32' || ids.rank !== 2)
      throw new InterpretError(
        `${what}: ids are ${ids.dtype} ${showShape(ids.shape)}, expected i32 [batch, position]`,
      )
    return { ids }
  }
  if (Array.isArray(ids)) {
    const rows = (ids.length > 0 && Array.isArray(ids[0]) ? ids : [ids]) as readonly (readonly number[])[]
    const width = rows[0].length
    if (
      width === 0 ||
      rows.some((r) => r.length !== width || r.some((id) => !Number.isInteger(id) || id < 0))
    )
      throw new InterpretError(`${what}: ids are no rows of equal length of token ids`)
    return { ids: tensor(Int32Array.from(rows.flat()), { shape: [rows.length, width], dtype: 'i32' }) }
  }
  const whole = ids as ModelInput
  if (typeof whole !== 'object' || whole === null || whole.ids === undefined)
    throw new InterpretError(`${what}: the input is ${typeof ids}, expected ids`)
  return { ...whole, ...inputOf(what, model, whole.ids) }
}

/** One row and position of a tap [batch, position, dModel] (or one without a batch of its own), lazy. */
export function vectorAt(x: Tensor, row: number, position: number): Tensor {
  let y = x
  if (y.rank === 3) y = sliceAxis(y, 0, ...one(y.shape[0] === 1 ? 0 : row))
  return sliceAxis(y, y.rank - 2, ...one(y.shape[y.rank - 2] === 1 ? 0 : position))
}
const one = (i: number): [number, number] => [i, i + 1]

/** Values of a tensor in double. */
export const doubles = async (x: Tensor): Promise<Float64Array> =>
  Float64Array.from((await x.data()) as Float32Array)

/** Row and position of logits [batch, position, …], checked. */
export function placeIn(
  what: string,
  x: Tensor,
  at: { row?: number; position?: number },
): { row: number; position: number } {
  return {
    row: indexOf(what, 'row', at.row ?? 0, x.shape[0]),
    position: indexOf(what, 'position', at.position ?? -1, x.shape[1]),
  }
}
