/**
 * A backend in one file, to start from. It has one kernel; everything else is refused, runs on the reference kernels, and the
 * report of a run says so. Add kernels one at a time: each is a function of views and a line in the table.
 *
 * A device whose memory is no array of JavaScript's gets a `Memory` of its own (as backend-cpu has over WebAssembly), or an
 * executor of its own (as backend-webgl has over textures).
 */
import {
  type Backend,
  type GraphNode,
  hostMemory,
  type KernelEntry,
  type KernelTable,
  kernelBackend,
} from '@heed/tensor'

/**
 * a + b, element by element. Inputs that are no `strided: true` kernel's arrive in row-major order: element i of a view is
 * `view.data[view.offset + i]`.
 */
const add: KernelEntry = {
  run({ inputs: [a, b], outputs: [y] }) {
    for (let i = 0; i < y.size; i++)
      y.data[y.offset + i] = (a.data[a.offset + i] as number) + (b.data[b.offset + i] as number)
  },
  /** True, or the reason that users read in the report. */
  supports({ from: [a, b] }: GraphNode) {
    if (a.dtype !== 'f32') return `template adds f32, not ${a.dtype}`
    return a.shape.join() === b.shape.join() || 'template adds tensors of one shape'
  },
}

const kernels: KernelTable = { add }

/** The backend as a value: `setBackend(template())`. */
export function template(): Backend {
  return kernelBackend({ name: 'template', kernels, memory: hostMemory('f32') })
}
