/**
 * What can be scored of an encoder's run, as one number per row of the batch: similarity to a sentence vector, the
 * strength of a span. Lazy and differentiable, so that the same score is explained, deleted from and patched.
 */
import { add, cosineSimilarity, reshape, sliceAxis, sum, Tensor } from '@heed/tensor'
import { pool } from './embed.js'
import { checkOptions, InputError } from './errors.js'
import type { TextModel } from './model.js'

/** All that a score needs of a run. */
export interface Scored {
  get(name: string): Tensor
  readonly input: unknown
}
/** One number per row of the run's batch: [batch]. */
export type Score = (run: Scored) => Tensor

/** Cosine of the run's sentence vector with `vector` [dModel]. */
export function similarityTo(model: TextModel, vector: Tensor): Score {
  const { pooling } = model
  if (!pooling)
    throw new InputError(
      `this ${model.kind} makes no sentence vectors; use an encoder such as all-MiniLM-L6-v2`,
    )
  return (run) => {
    const hidden = run.get(`blocks.${model.config.nLayer - 1}.ln2`) // [batch, position, dModel]
    const mask = (run.input as { mask?: unknown } | null)?.mask
    return cosineSimilarity(
      pool(hidden, mask instanceof Tensor ? mask : null, pooling),
      reshape(vector, [1, model.config.dModel]),
    )
  }
}

/** Start logit at `start` plus end logit at `end`, of a question-answering head. */
export function spanScore(start: number, end: number): Score {
  const at = (x: Tensor, position: number): Tensor =>
    sum(sliceAxis(x, 1, position, position + 1), { axes: 1 })
  return (run) => add(at(run.get('start_logits'), start), at(run.get('end_logits'), end))
}

export interface NearLine {
  readonly text: string
  /** Cosine of the two sentence vectors. */
  readonly score: number
  /** Place among the lines that were given. */
  readonly index: number
}
export interface NearestLines {
  /** Nearest first. */
  readonly lines: readonly NearLine[]
  /** Score of a run against the nearest line. */
  readonly score: Score
}

/** The lines by falling similarity of their sentence vectors to a text's. */
export async function nearestLines(
  model: TextModel,
  text: string,
  lines: readonly string[],
  options: { onProgress?: (done: number, of: number) => void; signal?: AbortSignal } = {},
): Promise<NearestLines> {
  checkOptions('nearestLines', options, ['onProgress', 'signal'])
  if (lines.length === 0) throw new InputError('nearestLines: there are no lines')
  const vectors = await model.embed([text, ...lines], options) // [1 + line, dModel]
  const own = sliceAxis(vectors, 0, 0, 1)
  const others = sliceAxis(vectors, 0, 1, lines.length + 1)
  const cosines = (await cosineSimilarity(others, own).data()) as Float32Array // [line]
  const found = lines.map((line, index) => ({ text: line, score: cosines[index], index }))
  found.sort((a, b) => b.score - a.score || a.index - b.index)
  const nearest = sliceAxis(others, 0, found[0].index, found[0].index + 1)
  return { lines: found, score: similarityTo(model, nearest) }
}

/**
 * The likeliest span of a question-answering run: start ≤ end, by the sum of the two logits.
 * `from` and `to` (exclusive) bound it: the tokens of the passage.
 */
export async function bestSpan(
  run: Scored,
  bounds: { from?: number; to?: number } = {},
): Promise<{ start: number; end: number; score: number }> {
  checkOptions('bestSpan', bounds, ['from', 'to'])
  const [starts, ends] = await Promise.all([run.get('start_logits').data(), run.get('end_logits').data()])
  const { from = 0, to = ends.length } = bounds
  if (!(from >= 0 && from < to && to <= ends.length))
    throw new InputError(`bestSpan: from ${from} to ${to} is no part of ${ends.length} tokens`)
  let best = { start: from, end: from, score: Number.NEGATIVE_INFINITY }
  // the best start so far serves every later end: one pass
  let top = from
  for (let end = from; end < to; end++) {
    if (Number(starts[end]) > Number(starts[top])) top = end
    const score = Number(starts[top]) + Number(ends[end])
    if (score > best.score) best = { start: top, end, score }
  }
  return best
}
