// Everything that the host may call. One module for all kernels: every AssemblyScript module puts its constants at the same
// address, so two of them on one memory would overwrite each other.

export { matmulScratch, panelColumns } from './matmul'
export { activationBytes, quantizedScratch } from './quantized'
export { attentionJobBytes } from './attention-job'
export { attentionScratch } from './attention'
export { attentionBlock, attentionGradientScratch } from './attention-backward'
export { controlBytes, runAlone, runShared, work } from './parallel'
export { maxInto, roundSums, sumInto } from './elementwise'

/** First byte that belongs to the caller. */
export function heapBase(): usize {
  return (__heap_base + 63) & ~63
}
