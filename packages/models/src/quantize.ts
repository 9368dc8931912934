/**
 * `quantize(model, 'int8')`: exchanges the weights of linear layers, the embedding and the unembedding for quantised
 * ones, and says how far off they are. Everything else about the model stays: it runs, generates and is looked into as
 * before.
 */
import {
  globPattern,
  type HasParts,
  packedParts,
  parameters,
  quantizeWeight,
  setParameters,
  type Tensor,
  ValueError,
  type WeightFormat,
  weightFormats,
} from '@heed/tensor'
import { checkOptions } from './errors.js'

export interface QuantizeOptions {
  /** Parameters to leave as they are, such as `['unembed.w', 'blocks.0.*.*']`. Default: none. */
  skip?: readonly string[]
  /**
   * Tables whose rows are taken by id and are the outputs of a tied unembedding: scales follow their rows. Default:
   * `['embed.w', '*.embed.w']`.
   */
  tables?: readonly string[]
}

/** One exchanged weight. */
export interface QuantizedRow {
  readonly path: string
  readonly shape: readonly number[]
  /** √(Σ (ŵ − w)² / Σ w²). */
  readonly rms: number
  /** Largest |ŵ − w| over largest |w|. */
  readonly worst: number
  readonly bytesBefore: number
  readonly bytes: number
}
/** What `quantize` did. Printing it shows a table. */
export interface QuantizeReport {
  readonly format: WeightFormat
  readonly rows: readonly QuantizedRow[]
  /** Parameters left in single precision: norms, biases, positions and what was skipped. */
  readonly kept: readonly string[]
  /** Of all parameters, kept ones included. */
  readonly bytesBefore: number
  readonly bytes: number
  /** Of all exchanged weights together. */
  readonly rms: number
  toString(): string
}

/**
 * Quantises a model in place: `int8` (a scale an output), `q4` (4 bits, a scale per 32 inputs) or `f16`. Exchanged are
 * the matrices named `w` or `w_…`, positions and token types apart; products with them round their activations as
 * `quantizedLinear` says. The f32 weights are freed unless somebody holds them: `const before = model.parameters`, and
 * `setParameters(model, before)` puts them back.
 *
 * A quantised model has no gradients with respect to its quantised weights (those of activations and of all other
 * parameters exist) and is not saved.
 * @throws ValueError for an unknown format, a model that is quantised already or has nothing to quantise, weights that
 * the format cannot hold; nothing is exchanged then. OptionError for an unknown option.
 */
export async function quantize(
  model: HasParts,
  format: WeightFormat,
  options: QuantizeOptions = {},
): Promise<QuantizeReport> {
  checkOptions('quantize', options, ['skip', 'tables'])
  if (!weightFormats.includes(format))
    throw new ValueError(`quantize: format '${String(format)}' is unknown; use ${weightFormats.join(', ')}`)
  const given = parameters(model)
  const already = quantizedFormat(given)
  if (already)
    throw new ValueError(
      `quantize: the model is quantised already (${already}); give it its f32 weights first, with setParameters or by loading it again`,
    )
  const matcher = (globs: readonly string[]) => {
    const patterns = globs.map(globPattern)
    return (path: string) => patterns.some((p) => p.test(path))
  }
  const isSkipped = matcher(options.skip ?? [])
  const isTable = matcher(options.tables ?? ['embed.w', '*.embed.w'])
  const rows: QuantizedRow[] = []
  const kept: string[] = []
  const next = new Map<string, Tensor>()
  let bytesBefore = 0
  let bytes = 0
  let squares = 0
  let norm = 0
  for (const [path, t] of given) {
    bytesBefore += 4 * t.size
    if (!isMatrix(path, t) || isSkipped(path)) {
      kept.push(path)
      bytes += 4 * t.size
      continue
    }
    const shape = [t.shape[0], t.shape[1]] as const
    const values = (await t.data()) as Float32Array
    let made: ReturnType<typeof quantizeWeight>
    try {
      made = quantizeWeight(values, shape, { format, outAxis: isTable(path) ? 0 : 1 })
    } catch (error) {
      if (error instanceof ValueError) error.message = `quantize: ${path}: ${error.message}`
      throw error
    }
    next.set(path, made.weight)
    let own = 0
    for (let i = 0; i < values.length; i++) own += values[i] * values[i]
    norm += own
    squares += own * made.rms ** 2
    bytes += made.bytes
    rows.push({
      path,
      shape,
      rms: made.rms,
      worst: made.worst,
      bytesBefore: 4 * t.size,
      bytes: made.bytes,
    })
  }
  if (rows.length === 0)
    throw new ValueError('quantize: no parameter is a weight matrix that was not skipped; nothing was done')
  setParameters(model, next)
  const rms = norm > 0 ? Math.sqrt(squares / norm) : 0
  const report = { format, rows, kept, bytesBefore, bytes, rms }
  const text = (): string => table(report)
  return Object.defineProperties(report, {
    toString: { value: text },
    [Symbol.for('nodejs.util.inspect.custom')]: { value: text },
  }) as QuantizeReport
}

/** The format of a model's quantised weights; null where it has none. */
export function quantizedFormat(parameters: ReadonlyMap<string, Tensor>): WeightFormat | null {
  for (const t of parameters.values()) {
    const packed = packedParts(t)
    if (packed) return packed.attrs.format
  }
  return null
}

function isMatrix(path: string, t: Tensor): boolean {
  return (
    t.rank === 2 &&
    t.size > 0 &&
    /(^|\.)w(_[^.]*)?$/.test(path) &&
    !/(^|\.)(pos_embed|type_embed)\.w$/.test(path)
  )
}

function table(r: Omit<QuantizeReport, 'toString'>): string {
  const size = (n: number): string =>
    n < 1e5 ? `${(n / 1e3).toFixed(1)} kB` : `${(n / 1e6).toFixed(n < 1e7 ? 2 : 1)} MB`
  const percent = (x: number): string => `${(100 * x).toPrecision(3)} %`
  const lines = [
    ['parameter', 'shape', 'rms error', 'worst of max', 'before', 'after'],
    ...r.rows.map((x) => [
      x.path,
      x.shape.join('×'),
      percent(x.rms),
      percent(x.worst),
      size(x.bytesBefore),
      size(x.bytes),
    ]),
    [`all (${r.format})`, '', percent(r.rms), '', size(r.bytesBefore), size(r.bytes)],
  ]
  const widths = lines[0].map((_, c) => Math.max(...lines.map((line) => line[c].length)))
  const text = lines.map((line) =>
    line
      .map((cell, c) => (c < 2 ? cell.padEnd(widths[c]) : cell.padStart(widths[c])))
      .join('  ')
      .trimEnd(),
  )
  return `${text.join('\n')}\n${r.kept.length} parameter${r.kept.length === 1 ? '' : 's'} kept in f32`
}
