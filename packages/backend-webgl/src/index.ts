export { type WebglBackend, type WebglOptions, webgl } from './backend.js'
export type { DeviceCounts } from './device.js'
export { type ExchangeOptions, fromTfjs, type TfjsModule, type TfjsTensor, toTfjs } from './exchange.js'
