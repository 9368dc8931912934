/**
 * Attention rollout (Abnar & Zuidema 2020, "Quantifying attention flow in transformers", §3): attention weights of all
 * layers multiplied through, heads averaged, the residual path added as the identity. It reads weights only: values,
 * MLPs and norms are not in it, so it says what could flow, not what does.
 */
import { add, div, eye, matmul, mean, mul, realize, sliceAxis, sum, type Tensor } from '@heed/tensor'
import { checkOptions, InterpretError, indexOf } from './errors.js'
import { Printed } from './print.js'
import { type Traced, tapsOf } from './traced.js'

export interface RolloutOptions {
  /** Share of the residual path: Ā = rownorm((1 − r)·mean over heads of A + r·I). Default ½, the paper's A + I. */
  residual?: number
  /** Which stack: '' (default), 'encoder.' or 'decoder.'. */
  stack?: '' | 'encoder.' | 'decoder.'
}

/** How much of every input position arrives at every output position. */
export class Rollout extends Printed {
  constructor(
    /** R = Ā_L … Ā_1 [batch, query, key]; rows sum to 1. */
    readonly matrix: Tensor,
    readonly layers: number,
  ) {
    super()
  }
  /** Shares of the input positions in one output position (default the last), one number a key. */
  async row(query = -1, row = 0): Promise<number[]> {
    const [batch, queries] = this.matrix.shape
    const b = indexOf('rollout', 'row', row, batch)
    const q = indexOf('rollout', 'query', query, queries)
    return Array.from(
      (await sliceAxis(sliceAxis(this.matrix, 0, b, b + 1), 1, q, q + 1).data()) as Float32Array,
    )
  }
  /** The same as the mean over all output positions: what reaches a mean-pooled vector. */
  async mean(row = 0): Promise<number[]> {
    const b = indexOf('rollout', 'row', row, this.matrix.shape[0])
    return Array.from(
      (await mean(sliceAxis(this.matrix, 0, b, b + 1), { axes: [0, 1] }).data()) as Float32Array,
    )
  }
  toString(): string {
    return `Rollout of ${this.layers} layers ${this.matrix}`
  }
}

/** Ā of one layer [batch, query, key]; a row that attends to nothing keeps its residual path. */
function layerMatrix(pattern: Tensor, residual: number): Tensor {
  const mixed = add(mul(mean(pattern, { axes: 1 }), 1 - residual), mul(eye(pattern.shape[2]), residual)) // [batch, query, key]
  return div(mixed, sum(mixed, { axes: -1, keepDims: true }))
}

/**
 * Rollout over all layers of a run. Patterns are read layer by layer: one of them is in memory at a time.
 * @throws InterpretError for runs with a cache, whose patterns are not square.
 */
export async function rollout(run: Traced, options: RolloutOptions = {}): Promise<Rollout> {
  checkOptions('rollout', options, ['residual', 'stack'])
  const { residual = 0.5, stack = '' } = options
  if (!(residual > 0 && residual < 1))
    throw new InterpretError(
      `rollout: residual is ${residual}, expected a share between 0 and 1; the paper's A + I is 0.5`,
    )
  const names = tapsOf('rollout', run, 'attn.pattern', stack)
  const layers = names.map((name) => {
    const pattern = run.get(name)
    const [, , queries, keys] = pattern.shape
    if (queries !== keys)
      throw new InterpretError(
        `rollout: '${name}' has ${queries} queries and ${keys} keys; run the whole text without a cache`,
      )
    return layerMatrix(pattern, residual)
  })
  // computed in order, and a pattern is dropped once its heads are averaged
  await realize(layers)
  const matrix = layers.reduce((below, layer) => matmul(layer, below)) // [batch, query, key]
  await realize([matrix])
  return new Rollout(matrix, names.length)
}
