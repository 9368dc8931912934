/**
 * From tensors of a weight file to parameters and back. A rule is invertible data, not code: gradients, saved models and
 * loaded ones go through the same table. No family's names are known here.
 */
import type { Weights } from '@heed/weights'
import { ModelError } from './errors.js'

/** One tensor of the file and the parameters it holds. */
export interface WeightRule {
  /** Its name as `save_pretrained` writes it. */
  readonly file: string
  /** Its shape there. */
  readonly shape: readonly number[]
  /** Parameter paths. Several: the tensor's last axis is cut into equal parts, in this order. */
  readonly parameters: readonly string[]
  /** A matrix stored [out, in], as PyTorch's Linear has it; parameters are [in, out]. */
  readonly transposed?: boolean
}

const show = (shape: readonly number[]): string => `[${shape.join(', ')}]`

/** [rows, columns] → [columns, rows] */
function transposed(x: Float32Array, rows: number, columns: number): Float32Array {
  const out = new Float32Array(x.length)
  for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) out[c * rows + r] = x[r * columns + c]
  return out
}

/** The parameters that a file tensor holds: path → values. */
export function fromFile(rule: WeightRule, data: Float32Array): Map<string, Float32Array> {
  const { shape, parameters } = rule
  if (rule.transposed) return new Map([[parameters[0], transposed(data, shape[0], shape[1])]])
  if (parameters.length === 1) return new Map([[parameters[0], data]])
  const width = shape[shape.length - 1]
  const part = width / parameters.length
  const rows = data.length / width
  return new Map(
    parameters.map((path, p) => {
      const out = new Float32Array(rows * part)
      for (let r = 0; r < rows; r++)
        out.set(data.subarray(r * width + p * part, r * width + (p + 1) * part), r * part)
      return [path, out]
    }),
  )
}

/** The inverse: the file tensor from its parameters (or from gradients with respect to them). */
export function toFile(rule: WeightRule, values: ReadonlyMap<string, ArrayLike<number>>): Float32Array {
  const { shape, parameters } = rule
  const parts = parameters.map((path) => {
    const v = values.get(path)
    if (!v) throw new ModelError(rule.file, `parameter ${path} has no value`)
    return v instanceof Float32Array ? v : Float32Array.from(v)
  })
  if (rule.transposed) return transposed(parts[0], shape[1], shape[0])
  if (parts.length === 1) return parts[0]
  const width = shape[shape.length - 1]
  const part = width / parts.length
  const rows = parts[0].length / part
  const out = new Float32Array(rows * width)
  parts.forEach((x, p) => {
    for (let r = 0; r < rows; r++) out.set(x.subarray(r * part, (r + 1) * part), r * width + p * part)
  })
  return out
}

/** What a family knows of its weight files. */
export interface WeightTable {
  readonly rules: readonly WeightRule[]
  /** A rule's name in older files: other prefixes, other words. The first that the file has is read. */
  readonly spellings: (file: string) => readonly string[]
  /** Left-overs that mean nothing: masks, position ids, heads that are not used. */
  readonly harmless: RegExp
  /** Tensors that repeat another one because the two are tied: name in the file → rule they must equal. */
  readonly copies?: Readonly<Record<string, string>>
}

/** What was read, and what was left alone. */
export interface ReadParameters {
  readonly values: Map<string, Float32Array>
  /** Tensors of the file that no rule reads. */
  readonly ignored: string[]
}

/**
 * Reads every rule's tensor.
 * @throws ModelError for a missing tensor, an unexpected shape, a tensor that nobody knows, an untied copy.
 */
export async function readParameters(
  weights: Weights,
  table: WeightTable,
  progress?: (done: number, of: number) => void,
): Promise<ReadParameters> {
  const values = new Map<string, Float32Array>()
  const used = new Set<string>()
  const found = new Map<string, string>()
  for (const rule of table.rules) {
    const name = [rule.file, ...table.spellings(rule.file)].find((n) => weights.has(n))
    if (name === undefined)
      throw new ModelError(
        weights.name,
        `tensor ${rule.file} is missing (${show(rule.shape)}); it has ${weights.names.length} tensors${nearest(rule.file, weights.names)}`,
      )
    const { shape, dtype } = weights.info(name)
    if (show(shape) !== show(rule.shape))
      throw new ModelError(
        weights.name,
        `tensor ${name} is ${show(shape)}, expected ${show(rule.shape)} from config.json; config and weights do not belong together`,
      )
    if (!/^(F|BF)/.test(dtype))
      throw new ModelError(
        weights.name,
        `tensor ${name} is ${dtype}, expected a float dtype; quantised weights are not supported`,
      )
    found.set(rule.file, name)
    used.add(name)
  }
  const rest = weights.names.filter((n) => !used.has(n))
  const copies = rest.filter((n) => table.copies && Object.hasOwn(table.copies, n))
  const unknown = rest.filter((n) => !table.harmless.test(n) && !copies.includes(n))
  if (unknown.length > 0)
    throw new ModelError(
      weights.name,
      `tensor ${unknown[0]} ${show(weights.info(unknown[0]).shape)} has no place in this model${unknown.length > 1 ? ` (and ${unknown.length - 1} more)` : ''}; is the model_type or the architecture in config.json right?`,
    )
  let done = 0
  for (const rule of table.rules) {
    const data = await weights.readF32(found.get(rule.file) as string)
    for (const [path, x] of fromFile(rule, data)) values.set(path, x)
    progress?.(++done, table.rules.length)
  }
  for (const copy of copies)
    await checkCopy(weights, copy, found.get((table.copies as Record<string, string>)[copy]) as string)
  return { values, ignored: rest }
}

async function checkCopy(weights: Weights, copy: string, original: string): Promise<void> {
  const [a, b] = [await weights.readF32(copy), await weights.readF32(original)]
  if (a.length === b.length && a.every((v, i) => Object.is(v, b[i]))) return
  throw new ModelError(
    weights.name,
    `tensor ${copy} differs from ${original}, but config.json ties the two; set tie_word_embeddings to false to use both`,
  )
}

function nearest(name: string, names: readonly string[]): string {
  // the same tensor of other layers
  const kind = (n: string): string => n.replace(/\.\d+\./g, '.*.').replace(/^.*?\*/, '*')
  const near = names.filter((n) => kind(n) === kind(name)).slice(0, 2)
  return near.length > 0 ? `, among them ${near.join(', ')}` : names.length > 0 ? `, such as ${names[0]}` : ''
}
