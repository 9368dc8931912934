/**
 * Matrix products on the WASM kernels: from sizes, addresses and strides to the job's words and a grid of chunks. It knows
 * nothing of views; how a product is cut changes who computes what, never a bit of the result.
 */
import type { Kernels } from './wasm.js'

/** A matrix, or two nested axes of matrices: a byte address and strides in elements, 0 repeats. */
export interface Matrix {
  readonly at: number
  readonly row: number
  readonly column: number
  readonly inner?: number
  readonly outer?: number
}

/** c[outer, inner, m, n] = f(a[…, m, k] · b[…, k, n] + bias) + residual. */
export interface Product {
  readonly m: number
  readonly n: number
  readonly k: number
  /** Sizes of the two axes of the batch. */
  readonly outer?: number
  readonly inner?: number
  readonly a: Matrix
  readonly b: Matrix
  /** Address of b packed (`packPanels`), the same matrix for the whole batch; b is not read then. */
  readonly packed?: number
  /** Columns are neighbours, rows `row` elements apart, matrices m·row. */
  readonly c: { readonly at: number; readonly row: number }
  /** Addresses of n floats, and of floats laid out as c. */
  readonly bias?: number
  readonly residual?: number
  /** An activation (`activationForm`), 0 for none. */
  readonly form?: number
  /** Adds the product to what c holds. */
  readonly add?: boolean
}

const up = (x: number, to: number): number => Math.ceil(x / to) * to

/** Bytes of a matrix [k, n] packed. */
export const packedBytes = (kernels: Kernels, k: number, n: number): number =>
  4 * k * up(n, kernels.exports.panelColumns())

/** Below these many flops sharing costs more than it saves (some 30 µs; one row is bound by memory, 4 bytes a flop pair). */
const SMALL = 1_500_000
const SMALL_ROW = 500_000
/** A chunk's least work, and chunks per thread: enough that a core which is taken away for a while does no harm. */
const LEAST = 750_000
const PER_THREAD = 6
/** Multiples of the sizes of all tiles: 6×8 and 3×12. */
const TILE_ROWS = 30
const TILE_COLS = 24

interface Grid {
  readonly group: number
  readonly rows: number
  readonly cols: number
  readonly chunks: number
}

/** How the product is cut. One thread does it in one piece, so that nothing is packed twice. */
function gridOf({ m, n, k, packed }: Product, batch: number, threads: number): Grid {
  const each = 2 * m * n * k
  const whole = { group: batch, rows: m, cols: n, chunks: 1 }
  if (threads === 1 || each * batch < (m === 1 ? SMALL_ROW : SMALL)) return whole
  const goal = threads * PER_THREAD
  if (batch >= goal) {
    const group = Math.ceil(batch / goal)
    return { ...whole, group, chunks: Math.ceil(batch / group) }
  }
  const least = m === 1 ? LEAST / 4 : LEAST
  const parts = Math.max(1, Math.min(Math.ceil(goal / batch), Math.floor(each / least)))
  // columns first: every block of rows packs the columns again, unless they are packed already
  const narrow = packed ? 72 : 96
  const cols = Math.min(n, up(Math.max(narrow, n / parts), TILE_COLS))
  const colBlocks = Math.ceil(n / cols)
  const rows = Math.min(m, up(m / Math.max(1, Math.round(parts / colBlocks)), TILE_ROWS))
  return { group: 1, rows, cols, chunks: batch * colBlocks * Math.ceil(m / rows) }
}

/** Bytes of scratch of one thread. */
function scratchStride(kernels: Kernels, m: number, n: number, k: number): number {
  return up(kernels.exports.matmulScratch(m, n, k) >>> 0, 64)
}
/** Bytes of scratch, all threads together, that any product of at most these sizes needs. */
export function productScratch(kernels: Kernels, m: number, n: number, k: number): number {
  return kernels.threads * scratchStride(kernels, m, n, k)
}

/** `scratch` points at productScratch(m, n, k) bytes. k = 0 writes f(bias) + residual. */
export function runProduct(kernels: Kernels, p: Product, scratch: number): void {
  const { m, n, k, a, b, c } = p
  const { outer = 1, inner = 1 } = p
  const batch = outer * inner
  if (m === 0 || n === 0 || batch === 0) return
  const { group, rows, cols, chunks } = gridOf(p, batch, kernels.threads)
  const { packed = 0 } = p
  kernels.run(
    'matmul',
    [
      ...[m, n, k, a.at, a.row, a.column, a.inner ?? 0, a.outer ?? 0],
      ...[packed || b.at, b.row, b.column, packed ? 0 : (b.inner ?? 0), packed ? 0 : (b.outer ?? 0), packed],
      ...[c.at, c.row, batch, inner, group, rows, Math.ceil(m / rows), cols, Math.ceil(n / cols)],
      ...[p.bias ?? 0, p.form ?? 0, p.residual ?? 0, p.add ? 1 : 0],
    ],
    chunks,
    scratch,
    scratchStride(kernels, rows, cols, k),
  )
}

/** Writes b[k, n] as panels of 8 or 12 columns, as the build has them, at `to`: packedBytes(k, n) bytes. */
export function packPanels(kernels: Kernels, k: number, n: number, b: Matrix, to: number): void {
  const parts = k * n < 65536 ? 1 : kernels.threads * PER_THREAD
  const cols = up(n / parts, TILE_COLS)
  kernels.run('pack', [k, n, b.at, b.row, b.column, to, cols], Math.ceil(n / cols))
}
