/** The kernel table: what WebGL runs, by name of primitive or composite. */
import type { KernelTable } from '../plan.js'
import { attentionKernels } from './attention.js'
import { convKernels } from './conv.js'
import { activationKernels, elementwiseKernels } from './elementwise.js'
import { matmulKernels } from './matmul.js'
import { movementKernels } from './movement.js'
import { quantizedKernels } from './quantized.js'
import { reduceKernels } from './reduce.js'
import { ropeKernels } from './rope.js'
import { rowKernels } from './rows.js'
import { scan } from './scan.js'

export const webglKernels: KernelTable = {
  ...elementwiseKernels,
  ...reduceKernels,
  ...matmulKernels,
  ...movementKernels,
  ...activationKernels,
  ...rowKernels,
  ...attentionKernels,
  ...ropeKernels,
  ...convKernels,
  ...quantizedKernels,
  scan,
}
