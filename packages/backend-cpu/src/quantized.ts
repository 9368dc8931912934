/** `quantizedLinear` of views on the WASM kernel, alone and with what follows it (src/fuse.ts). */
import type { GraphNode, KernelEntry, PackedAttrs } from '@heed/tensor'
import type { Epilogue } from './matmul.js'
import { pointer } from './pointer.js'
import type { Kernels } from './wasm.js'

/** Numbers of the formats, as assembly/quantized.ts has them, and how many parts a weight has. */
const FORMATS = { int8: [0, 2], q4: [1, 2], f16: [2, 1] } as const

/** Rows [m, k] times a weight of n outputs. Addresses of contiguous arrays; 0 for what there is not. */
export interface QuantizedProduct {
  readonly format: PackedAttrs['format']
  readonly m: number
  readonly n: number
  readonly k: number
  readonly x: number
  /** Of the weight's parts, in their order. */
  readonly parts: readonly number[]
  readonly y: number
  readonly bias?: number
  readonly form?: number
  readonly residual?: number
}

const up = (x: number, to: number): number => Math.ceil(x / to) * to
/** Columns of a unit: parts are groups of 4, 8 or 16 outputs. */
const UNIT = 16
/** Below this many products of a weight and an activation sharing costs more than it saves (some 15 µs). */
const SMALL = 300_000
/** A chunk's least work, and chunks per thread. */
const LEAST = 100_000
const PER_THREAD = 6

/** Bytes of the rounded activations, and of what each thread needs. */
function sizes(kernels: Kernels, format: number, m: number, k: number): [rounded: number, stride: number] {
  const { exports } = kernels
  return [
    up(m * (exports.activationBytes(format, m, k) >>> 0), 64),
    up(exports.quantizedScratch(format, m, k) >>> 0, 64),
  ]
}
/** Bytes of scratch, all threads together. */
export function quantizedScratch(
  kernels: Kernels,
  { format, m, k }: Pick<QuantizedProduct, 'format' | 'm' | 'k'>,
): number {
  const [rounded, stride] = sizes(kernels, FORMATS[format][0], m, k)
  return rounded + kernels.threads * stride
}

/** y = f(x̂ · Ŵ + bias) + residual. `scratch` points at quantizedScratch bytes. */
export function runQuantized(kernels: Kernels, p: QuantizedProduct, scratch: number): void {
  const { m, n, k } = p
  if (m === 0 || n === 0) return
  const format = FORMATS[p.format][0]
  const [rounded, stride] = sizes(kernels, format, m, k)
  const isShared = kernels.threads > 1 && m * n * k >= SMALL
  const parts = isShared ? Math.min(kernels.threads * PER_THREAD, Math.ceil((m * n * k) / LEAST)) : 1
  const rows = Math.ceil(m / (m * k < 65536 ? 1 : parts))
  const cols = up(n / parts, UNIT)
  const [codes, scales = 0] = p.parts
  const { x, y, bias = 0, form = 0, residual = 0 } = p
  const words = [format, m, n, k, x, codes, scales, y, scratch, rows, cols, bias, form, residual]
  if (rounded > 0) kernels.run('round', words, Math.ceil(m / rows))
  kernels.run('quantized', words, Math.ceil(n / cols), scratch + rounded, stride)
}

const productOf = ({ format, shape, outAxis }: PackedAttrs, size: number) => {
  const [n, k] = [shape[outAxis], shape[1 - outAxis]]
  return { format, n, k, m: n > 0 ? size / n : 0 }
}

/** x [.., k], the weight's parts, bias [n] and residual, where there are any. */
export function quantizedEntry(kernels: Kernels): KernelEntry {
  return {
    how: 'fused',
    scratch: (node: GraphNode) =>
      quantizedScratch(
        kernels,
        productOf(
          node.attrs as PackedAttrs,
          node.to[0].shape.reduce((a, b) => a * b, 1),
        ),
      ),
    run({ inputs, outputs: [y], attrs, scratch }) {
      const { form = 0, residual = false } = attrs as Partial<Epilogue>
      const product = productOf(attrs as PackedAttrs, y.size)
      const [x, ...rest] = inputs.map(pointer)
      const count = FORMATS[product.format][1]
      const end = residual ? rest.length - 1 : rest.length
      runQuantized(
        kernels,
        {
          ...product,
          x,
          parts: rest.slice(0, count),
          y: pointer(y),
          bias: end > count ? rest[count] : 0,
          form,
          residual: residual ? rest[end] : 0,
        },
        scratch ? pointer(scratch) : 0,
      )
    },
  }
}
