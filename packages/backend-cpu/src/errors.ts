/** Errors of the CPU backend beside the ones of tensor. */
import { BackendError } from '@heed/tensor'

/** An allocation that the WASM memory cannot hold. The backend stays usable: free something, or ask for less. */
export class OutOfMemoryError extends BackendError {
  static override readonly label: string = 'OutOfMemoryError'
  /** @param requested bytes asked for  @param inUse bytes in use  @param limit bytes the memory may grow to */
  constructor(
    readonly requested: number,
    readonly inUse: number,
    readonly limit: number,
  ) {
    super(
      `cpu: out of memory: asked for ${requested} bytes with ${inUse} in use and a limit of ${limit}; ` +
        'free tensors, use smaller batches, or raise maxBytes (at most 4294967296)',
    )
  }
}
