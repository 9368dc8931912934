/**
 * Integrated gradients (Sundararajan et al. 2017): gradients averaged on the straight way from a baseline to the input,
 * times the way. They add up to the difference in the target; δ says by how much they miss it.
 */
import {
  add,
  broadcastTo,
  grad,
  mean as meanOf,
  mul,
  realize,
  reshape,
  sub,
  sum,
  Tensor,
  tensor,
  traceLazy,
} from '@heed/tensor'
import { checkCount, checkOptions, InterpretError } from './errors.js'
import { type Metric, measured } from './metric.js'
import { Printed, signed, tiny } from './print.js'
import { callableOf, type Ids, inputOf, parameterOf, type Traced } from './traced.js'
import { type SweepOptions, sweepOptions, worldsPerPass } from './worlds.js'

export interface IntegratedGradientsOptions extends SweepOptions {
  /** What is explained, such as `logitOf(' Mary')`. */
  metric: Metric
  /** Where the way begins: 'mean' (default), the mean of the rows of `embed.w`; 'zero'; ids; or values of the tap. */
  baseline?: 'mean' | 'zero' | readonly number[] | Tensor
  /** Gauss-Legendre points; default 50. */
  steps?: number
  /** The tap that is moved [batch, position, dModel]; default `embed`. */
  at?: string
}

export class IntegratedGradients extends Printed {
  constructor(
    /** One number per token [position]. */
    readonly signed: readonly number[],
    /** Before the sum over dModel [1, position, dModel]. */
    readonly attributions: Tensor,
    /** The target at the input and at the baseline. */
    readonly value: number,
    readonly baselineValue: number,
    /** Σ attributions − (value − baselineValue): completeness says 0. */
    readonly delta: number,
  ) {
    super()
  }
  toString(): string {
    return `${this.signed.map(signed).join(' ')}\nfrom ${this.baselineValue.toFixed(4)} to ${this.value.toFixed(4)}, δ ${tiny(this.delta)}`
  }
}

/** Nodes and weights on [0, 1] (Newton's method on the Legendre polynomial). */
export function gaussLegendre(n: number): { node: number; weight: number }[] {
  return Array.from({ length: n }, (_, i) => {
    let x = Math.cos((Math.PI * (i + 0.75)) / (n + 0.5))
    let slope = 1
    for (let round = 0; round < 100; round++) {
      let [p0, p1] = [1, x]
      for (let k = 2; k <= n; k++) [p0, p1] = [p1, ((2 * k - 1) * x * p1 - (k - 1) * p0) / k]
      slope = (n * (x * p1 - p0)) / (x * x - 1)
      const step = p1 / slope
      x -= step
      if (Math.abs(step) < 1e-15) break
    }
    return { node: (1 - x) / 2, weight: 1 / ((1 - x * x) * slope * slope) }
  })
}

async function baselineOf(
  run: Traced,
  options: IntegratedGradientsOptions,
  x: Tensor,
  at: string,
): Promise<Tensor> {
  const what = 'integratedGradients'
  const { baseline = 'mean' } = options
  if (baseline === 'zero') return mul(x, 0)
  if (baseline instanceof Tensor) return broadcastTo(baseline, x.shape)
  if (baseline === 'mean') {
    const table = parameterOf(run.model, 'embed.w')
    if (!table || at !== 'embed')
      throw new InterpretError(
        `${what}: the mean baseline needs the parameter embed.w and the tap embed; give a baseline`,
      )
    return broadcastTo(meanOf(table, { axes: 0 }), x.shape)
  }
  if (!Array.isArray(baseline) || baseline.length !== x.shape[1])
    throw new InterpretError(`${what}: the baseline is none of 'mean', 'zero', ${x.shape[1]} ids, a tensor`)
  return traceLazy(callableOf(what, run), {
    ...inputOf(what, run.model, run.input as Ids),
    ...inputOf(what, run.model, baseline),
  }).get(at)
}

/** Integrated gradients of a run's text with respect to its embeddings; several points of the way in one batch. */
export async function integratedGradients(
  run: Traced,
  options: IntegratedGradientsOptions,
): Promise<IntegratedGradients> {
  const what = 'integratedGradients'
  checkOptions(what, options, ['metric', 'baseline', 'steps', 'at', ...sweepOptions])
  const { at = 'embed', steps = 50, onProgress, signal } = options
  checkCount(what, 'steps', steps)
  const model = callableOf(what, run)
  const x = run.get(at)
  if (x.rank !== 3 || x.shape[0] !== 1)
    throw new InterpretError(
      `${what}: '${at}' is [${x.shape.join(', ')}], expected one text [1, position, dModel]`,
    )
  const from = await baselineOf(run, options, x, at)
  const way = sub(x, from)
  await realize([x, from, way])
  // the worlds of a tap stand on axis 0
  const along = (alpha: Tensor): Traced =>
    traceLazy(model, run.input, { edit: { [at]: () => add(from, mul(way, alpha)) } })
  const column = (values: readonly number[]): Tensor =>
    tensor(Float64Array.from(values), [values.length, 1, 1])

  const points = gaussLegendre(steps)
  const size = Math.max(1, Math.floor(worldsPerPass(steps, run.output.size) / 4))
  onProgress?.(0, steps)
  let total: Tensor | null = null
  for (let i = 0; i < points.length; i += size) {
    signal?.throwIfAborted()
    const part = points.slice(i, i + size)
    const worlds = along(column(part.map((p) => p.node)))
    const [g] = grad(sum(measured(what, options.metric, worlds)), [worlds.get(at)]) // [point, position, dModel]
    const weighted = sum(mul(g, column(part.map((p) => p.weight))), { axes: 0, keepDims: true }) // [1, position, dModel]
    total = total ? add(total, weighted) : weighted
    await realize([total])
    onProgress?.(i + part.length, steps)
  }
  const attributions = mul(total as Tensor, way) // [1, position, dModel]
  const perToken = reshape(sum(attributions, { axes: -1 }), [x.shape[1]])
  const ends = measured(what, options.metric, along(column([0, 1])))
  await realize([attributions, perToken, ends])
  const signedValues = Array.from((await perToken.data()) as Float32Array)
  const [baselineValue, value] = Array.from((await ends.data()) as Float32Array)
  return new IntegratedGradients(
    signedValues,
    attributions,
    value,
    baselineValue,
    signedValues.reduce((s, v) => s + v, 0) - (value - baselineValue),
  )
}
