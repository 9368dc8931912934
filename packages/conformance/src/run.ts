/** Runs cases on a backend and on the float64 reference, and says how each ran and how far off it was. */
import { type Backend, type Report, realize, reference, type Tensor } from '@heed/tensor'
import type { Built, Case } from './case.js'
import { conformanceCases } from './cases.js'
import { compare, type Tolerance } from './compare.js'
import { halves } from './draw.js'
import { tolerances } from './tolerances.js'

/** native: the backend's own kernels, one for a primitive; fused: a composite in one kernel; inlined: written out; reference: plain loops. */
export type How = 'native' | 'fused' | 'inlined' | 'reference'

export interface ConformanceResult {
  readonly name: string
  readonly op: string
  readonly kind: Case['kind']
  readonly direction: 'forward' | 'gradient'
  readonly pass: boolean
  readonly how: How
  /** Whether it computes with float32 alone, booleans beside them: a backend may leave whole numbers to plain loops. */
  readonly inFloats: boolean
  /** Largest absolute error against float64. */
  readonly maxError: number
  /** Largest error over the largest value of its tensor, where that is above 1. */
  readonly scaledError: number
  /** Largest error over what is allowed there. */
  readonly ratio: number
  readonly reason?: string
}

export interface RunOptions {
  /** Only cases whose name passes. */
  readonly only?: (name: string) => boolean
  /** The oracle. Default: a float64 reference backend, made and disposed here. */
  readonly oracle?: Backend
}

/** Every case on one backend, as rows: op × forward and gradient. Never throws for a failing case. */
export async function runConformance(
  backend: Backend,
  options: RunOptions = {},
): Promise<ConformanceResult[]> {
  const oracle = options.oracle ?? reference({ precision: 'f64' })
  const results: ConformanceResult[] = []
  try {
    for (const one of conformanceCases())
      if (!options.only || options.only(one.name)) results.push(...(await runCase(one, backend, oracle)))
  } finally {
    if (!options.oracle) oracle.dispose()
  }
  return results
}

/** One case: a row for its values and, where it has them, one for its gradients. */
export async function runCase(one: Case, backend: Backend, oracle: Backend): Promise<ConformanceResult[]> {
  const entry = tolerances[backend.precision][one.family]
  const directions = one.hasGradient ? (['forward', 'gradient'] as const) : (['forward'] as const)
  const rows: ConformanceResult[] = []
  for (const direction of directions)
    rows.push(await runDirection(one, direction, entry[direction], backend, oracle))
  return rows
}

async function runDirection(
  one: Case,
  direction: ConformanceResult['direction'],
  tolerance: Tolerance,
  backend: Backend,
  oracle: Backend,
): Promise<ConformanceResult> {
  const { name, op, kind } = one
  const base = { name, op, kind, direction, inFloats: true }
  try {
    const half = backend.precision === 'f16'
    const built = one.build({ half })
    const dtypes = built.outputs.flatMap((y) => [y, ...y.node.inputs].map((t) => t.dtype))
    base.inFloats = dtypes.includes('f32') && dtypes.every((d) => d === 'f32' || d === 'bool')
    const got = await valuesOn(built, direction, backend)
    const want = await valuesOn(one.build({ plain: true, half }), direction, oracle)
    const how = howItRan(got.report, op, kind, direction)
    let worst = { maxError: 0, scaledError: 0, ratio: 0, reason: undefined as string | undefined }
    for (const [i, { data, tensor }] of got.values.entries()) {
      const expected = want.values[i]
      if (tensor.shape.join() !== expected.tensor.shape.join())
        return failed(base, how, `result ${i} is [${tensor.shape}], expected [${expected.tensor.shape}]`)
      // what is not f32 is exact whatever its family
      const exact = tensor.dtype !== 'f32'
      // halves on both sides: what is rounded, overflows or vanishes where a result is stored is no error
      const stored = (values: ArrayLike<number>) => (half && !exact ? halves(values) : values)
      const c = compare(stored(data), stored(expected.data), exact ? { rtol: 0, scaled: 0 } : tolerance)
      if (c.ratio > worst.ratio || (c.ratio === worst.ratio && c.maxError > worst.maxError))
        worst = {
          maxError: c.maxError,
          scaledError: c.scaledError,
          ratio: c.ratio,
          reason: c.reason && `${direction === 'gradient' ? 'gradient' : 'result'} ${i}: ${c.reason}`,
        }
    }
    const { reason, ...figures } = worst
    return { ...base, how, pass: worst.ratio <= 1, ...figures, ...(reason ? { reason } : {}) }
  } catch (error) {
    return failed(base, 'native', error instanceof Error ? error.message : String(error))
  }
}

function failed(
  base: Pick<ConformanceResult, 'name' | 'op' | 'kind' | 'direction' | 'inFloats'>,
  how: How,
  reason: string,
): ConformanceResult {
  return { ...base, how, pass: false, maxError: Infinity, scaledError: Infinity, ratio: Infinity, reason }
}

interface Values {
  values: { data: ArrayLike<number>; tensor: Tensor }[]
  report: Report
}
async function valuesOn(
  built: Built,
  direction: ConformanceResult['direction'],
  backend: Backend,
): Promise<Values> {
  const tensors = direction === 'forward' ? built.outputs : built.gradients
  const report = await realize(tensors, { backend })
  const values: Values['values'] = []
  for (const tensor of tensors) values.push({ data: (await tensor.data()) as Float32Array, tensor })
  return { values, report }
}

function howItRan(
  report: Report,
  op: string,
  kind: Case['kind'],
  direction: ConformanceResult['direction'],
): How {
  const name = direction === 'gradient' && kind === 'composite' ? `${op}.vjp` : op
  const own = report.ran.filter((r) => r.op === name).map((r) => r.how)
  if (own.length > 0 && (direction === 'forward' || kind === 'composite'))
    return own.includes('reference') ? 'reference' : own[0]
  if (report.inlined.some((r) => r.op === name)) return 'inlined'
  return report.ran.some((r) => r.how === 'reference') ? 'reference' : 'native'
}
