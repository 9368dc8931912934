/**
 * The losses before and after one training step in float64, from the reference kernels: a second opinion for the backends of
 * Heed, a first one for the peers.
 */
import { reference, setBackend } from '@heed/tensor'
import { heedTrainer } from './heed.js'
import type { Expected, Inputs, WorkOf } from './work.js'

export async function trainExpected(work: WorkOf<'train'>, weights: Inputs): Promise<Expected> {
  const backend = reference({ precision: 'f64' })
  setBackend(backend)
  const trainer = await heedTrainer(backend, work, weights)
  const values = [await trainer.step(), await trainer.step()]
  trainer.free()
  setBackend(null)
  backend.dispose()
  return { chunks: [{ at: 0, values }], size: 2, tolerance: 1e-4 }
}
