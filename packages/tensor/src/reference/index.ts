/** The reference backend: the readable specification and, in float64, the oracle of every other backend. */
import type { Backend } from '../backend.js'
import type { Precision } from '../dtype.js'
import { kernelBackend } from '../kernel-backend.js'
import { referenceKernels } from './kernels.js'
import { hostMemory } from './memory.js'

/** Plain loops for every primitive; `precision: 'f64'` holds and computes every f32 tensor in double. */
export function reference(options: { precision?: 'f32' | 'f64' } = {}): Backend {
  const precision: Precision = options.precision ?? 'f32'
  return kernelBackend({
    name: precision === 'f64' ? 'reference-f64' : 'reference',
    precision,
    kernels: referenceKernels,
    memory: hostMemory(precision),
  })
}
export { referenceKernels }
