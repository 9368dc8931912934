export { type CpuBackend, type CpuOptions, cpu } from './backend.js'
export { OutOfMemoryError } from './errors.js'
export type { Build } from './wasm.js'
