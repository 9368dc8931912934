/**
 * Logit lens (nostalgebraist 2020): what the model would predict if it ended after each layer. The residual of a layer is
 * put in the place of the last one and the model's own final norm and unembedding read it, so nothing is written twice.
 */
import { realize, traceLazy } from '@heed/tensor'
import { probabilities } from './compare.js'
import { checkCount, checkOptions, InterpretError, indexOf, NotDefinedError } from './errors.js'
import { Printed, percent, table, tiny } from './print.js'
import { blocksOf, callableOf, isPostNorm, logitsOf, showToken, type Traced, tokenText } from './traced.js'

export interface LogitLensOptions {
  /** How many tokens per cell; default 3. */
  top?: number
  /** Default all; negative from the end. */
  positions?: readonly number[]
  /** Row of the batch; default 0. */
  row?: number
}
export interface LensToken {
  readonly id: number
  readonly token: string | null
  readonly probability: number
}
/** What one layer predicts at one position. */
export interface LensCell {
  readonly position: number
  readonly top: readonly LensToken[]
  /** Probability of the token that the whole model predicts here. */
  readonly final: number
}
export interface LensLayer {
  /** The tap that was read: `blocks.0.resid_pre` … the last `resid_post`. */
  readonly tap: string
  readonly cells: readonly LensCell[]
}

export class LogitLens extends Printed {
  constructor(
    /** From the embedding upwards; the last one is the model itself. */
    readonly layers: readonly LensLayer[],
    /** Largest |difference| between the last layer's logits and the model's. */
    readonly error: number,
  ) {
    super()
  }
  toString(): string {
    const rows = this.layers.map(({ tap, cells }) => {
      const { top, final } = cells[cells.length - 1]
      return [
        tap,
        showToken(top[0].token, top[0].id),
        percent(top[0].probability),
        `final token ${percent(final)}`,
      ]
    })
    return `${table(rows)}\nat position ${this.layers[0].cells.at(-1)?.position}; last layer minus the model's logits: ${tiny(this.error)}`
  }
}

/**
 * Top tokens and the probability of the model's final prediction, for every layer and position. Layers are read one after
 * the other: logits of one layer are in memory at a time.
 * @throws NotDefinedError for post-norm models and for runs without logits.
 */
export async function logitLens(run: Traced, options: LogitLensOptions = {}): Promise<LogitLens> {
  const what = 'logitLens'
  checkOptions(what, options, ['top', 'positions', 'row'])
  const { top = 3 } = options
  checkCount(what, 'top', top)
  if (isPostNorm(run))
    throw new NotDefinedError(
      what,
      'the model is post-norm: its layers hand on normalised states, and no final norm and unembedding reads them',
    )
  const logits = logitsOf(run)
  const blocks = blocksOf(run)
  if (logits.rank !== 3 || !run.has('logits') || blocks.length === 0)
    throw new NotDefinedError(what, 'the run has no blocks that end in logits [batch, position, vocabulary]')
  const [batch, length, width] = logits.shape
  const row = indexOf(what, 'row', options.row ?? 0, batch)
  const positions = (options.positions ?? Array.from({ length }, (_, p) => p)).map((p) =>
    indexOf(what, 'position', p, length),
  )
  if (positions.length === 0) throw new InterpretError(`${what}: positions is empty`)
  const model = callableOf(what, run)
  const end = `blocks.${blocks[blocks.length - 1]}.resid_post`

  const names = new Map<number, string | null>()
  const nameOf = (id: number): string | null => {
    if (!names.has(id)) names.set(id, tokenText(run.model, id))
    return names.get(id) ?? null
  }
  const taps = [...blocks.map((i) => `blocks.${i}.resid_pre`), end]
  // all residuals in one forward pass, then one unembedding after the other
  await realize([logits, ...taps.map((tap) => run.get(tap))])
  const own = (await logits.data()) as Float32Array
  const rowOf = (all: Float32Array, position: number): Float32Array =>
    all.subarray((row * length + position) * width, (row * length + position + 1) * width)
  const final = positions.map((p) => largest(rowOf(own, p), 1)[0])

  const layers: LensLayer[] = []
  let error = 0
  for (const tap of taps) {
    const resid = run.get(tap)
    const read = logitsOf(traceLazy(model, run.input, { edit: { [end]: () => resid } }))
    await realize([read])
    const values = (await read.data()) as Float32Array
    const cells = positions.map((position, i): LensCell => {
      const p = probabilities(rowOf(values, position))
      return {
        position,
        top: largest(p, top).map((id) => ({ id, token: nameOf(id), probability: p[id] })),
        final: p[final[i]],
      }
    })
    layers.push({ tap, cells })
    if (tap === end)
      for (let i = 0; i < own.length; i++) error = Math.max(error, Math.abs(own[i] - values[i]))
  }
  return new LogitLens(layers, error)
}

/** Indices of the n largest values, largest first, ties by index. */
function largest(values: ArrayLike<number>, n: number): number[] {
  const best: number[] = []
  for (let i = 0; i < values.length; i++) {
    if (best.length === n && !(values[i] > values[best[n - 1]])) continue
    let at = best.length
    while (at > 0 && values[i] > values[best[at - 1]]) at--
    best.splice(at, 0, i)
    if (best.length > n) best.pop()
  }
  return best
}
