/**
 * What is measured of a run: maps from a run to one number per row of the batch, so that a sweep measures all its worlds
 * at once. Lazy and differentiable; the same for patching, deletion and gradients.
 */
import { exp, logSoftmax, reshape, slice, sub, type Tensor } from '@heed/tensor'
import { checkOptions, InterpretError, indexOf } from './errors.js'
import { logitsOf, type Traced, tokenId } from './traced.js'

/** One number per row of a run's batch: [batch]. */
export type Metric = (run: Traced) => Tensor

export interface MetricOptions {
  /** Where in the text; default −1, the last. Classes of whole texts have no position: leave it out. */
  position?: number
}
const known = ['position']

/** Logits at the position, [batch, vocabulary]. */
function logitsAt(what: string, run: Traced, options: MetricOptions): Tensor {
  const logits = logitsOf(run)
  if (logits.rank === 2) {
    if (options.position !== undefined)
      throw new InterpretError(
        `${what}: the model gives one answer for the whole text; leave the position out`,
      )
    return logits
  }
  if (logits.rank !== 3)
    throw new InterpretError(`${what}: the run has no logits [batch, position, vocabulary]`)
  const at = indexOf(what, 'position', options.position ?? -1, logits.shape[1])
  return reshape(slice(logits, [null, [at, at + 1]]), [logits.shape[0], logits.shape[2]]) // [batch, vocabulary]
}
const column = (x: Tensor, id: number): Tensor => reshape(slice(x, [null, [id, id + 1]]), [x.shape[0]])

/** The logit of a token (its text or id) or class. */
export function logitOf(token: number | string, options: MetricOptions = {}): Metric {
  checkOptions('logitOf', options, known)
  return (run) => {
    const x = logitsAt('logitOf', run, options)
    return column(x, tokenId('logitOf', run.model, token, x.shape[1]))
  }
}
/** The logarithm of its probability. */
export function logProbabilityOf(token: number | string, options: MetricOptions = {}): Metric {
  checkOptions('logProbabilityOf', options, known)
  return (run) => {
    const x = logitsAt('logProbabilityOf', run, options)
    return column(logSoftmax(x), tokenId('logProbabilityOf', run.model, token, x.shape[1]))
  }
}
/** Its probability. */
export function probabilityOf(token: number | string, options: MetricOptions = {}): Metric {
  checkOptions('probabilityOf', options, known)
  const logProbability = logProbabilityOf(token, options)
  return (run) => exp(logProbability(run))
}
/** logit[correct] − logit[wrong] (Wang et al. 2022). */
export function logitDifference(
  correct: number | string,
  wrong: number | string,
  options: MetricOptions = {},
): Metric {
  checkOptions('logitDifference', options, known)
  return (run) => {
    const x = logitsAt('logitDifference', run, options)
    const id = (token: number | string): number => tokenId('logitDifference', run.model, token, x.shape[1])
    return sub(column(x, id(correct)), column(x, id(wrong)))
  }
}

/** The metric's value [batch], checked. */
export function measured(what: string, metric: Metric, run: Traced): Tensor {
  if (typeof metric !== 'function')
    throw new InterpretError(
      `${what}: metric is ${typeof metric}, expected a function from a run to a tensor, such as logitDifference(' a', ' b')`,
    )
  const m = metric(run)
  if (m.rank !== 1)
    throw new InterpretError(
      `${what}: the metric gave [${m.shape.join(', ')}], expected one number per row, [batch]`,
    )
  return m
}
