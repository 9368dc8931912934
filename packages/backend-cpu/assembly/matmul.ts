// Matrix products C = f(A·B + bias) + residual of float32 with any strides of A and B, batched: blocking and packing around the
// micro-kernels. A chunk is a block of rows × a block of columns × a group of matrices; the depth is never cut between chunks and
// every element is summed in the same order whatever its block, so results do not depend on how the work was cut.

import { activateRow } from './activations'
import { TILE_COLS, TILE_ROWS, largeTile } from './tile'
import { packPanels, packRows, panelBytes } from './pack'
import { SUMS, addRow, rowDots, rowPanels, rowPieces } from './vector'

// Blocks: a panel of B (DEPTH × TILE_COLS) stays in L1, a block of A (ROWS × DEPTH) in L2, a block of B (DEPTH × COLS) in L2 or L3.
// ROWS is a multiple of both tile heights, COLS of both widths.
// @ts-ignore: decorator
@inline const DEPTH: i32 = 512
// @ts-ignore: decorator
@inline const ROWS: i32 = 180
// @ts-ignore: decorator
@inline const COLS: i32 = 504
// With this few rows packing B costs more than it saves: it is read in place when its columns are neighbours.
// @ts-ignore: decorator
@inline const FEW: i32 = 12
// @ts-ignore: decorator
@inline const TILE_BYTES: usize = TILE_ROWS * TILE_COLS * 4

/** The job, word by word as src/product.ts writes it. Strides in elements; a stride of 0 repeats; columns of C are neighbours. */
@unmanaged
class Product {
  m: i32
  n: i32
  k: i32
  a: usize
  aRow: i32
  aCol: i32
  aInner: i32
  aOuter: i32
  b: usize
  bRow: i32
  bCol: i32
  bInner: i32
  bOuter: i32
  /** Not 0: B lies in panels of TILE_COLS columns over the whole depth, one matrix for all. */
  packed: i32
  /** C of matrix i of the batch at c + i·m·cRow. */
  c: usize
  cRow: i32
  /** Matrices in all, how many of them are one step of the outer axis, and how many belong to one chunk. */
  batch: i32
  inner: i32
  group: i32
  /** Rows and columns of a block, and how many blocks there are. Columns of a block are a multiple of TILE_COLS. */
  rows: i32
  rowBlocks: i32
  cols: i32
  colBlocks: i32
  /** n floats, or 0. */
  bias: usize
  /** Activation of assembly/activations.ts, or 0. */
  form: i32
  /** Laid out as C and added last, or 0. */
  residual: usize
  /** Not 0: the product is added to what C holds. */
  add: i32
}

/** Largest block ≤ limit that splits a size into equal parts, so that no thin last block is left over. */
function evenBlock(size: i32, limit: i32): i32 {
  const parts = (size + limit - 1) / limit
  return (size + parts - 1) / parts
}

/** Bytes of scratch that one thread needs for blocks of these sizes, whatever the strides: about 1.5 MB at most, or one row and its sums. */
export function matmulScratch(m: i32, n: i32, k: i32): usize {
  if (m <= 0 || n <= 0 || k <= 0) return 0
  const kc = evenBlock(k, DEPTH)
  const blocks = panelBytes(kc, min(n, COLS), TILE_COLS) + <usize>min(m, ROWS) * <usize>kc * 4 + TILE_BYTES
  return max(blocks, <usize>k * 4 + SUMS)
}

/** Ends m rows of n columns at c, `row` floats apart: bias, activation, residual (laid out as c); 0 for none. */
export function finish(m: i32, n: i32, c: usize, row: i32, bias: usize, form: i32, residual: usize): void {
  for (let i = 0; i < m; i++) {
    if (bias) addRow(n, bias, c)
    if (form) activateRow(form, n, c, c)
    if (residual) {
      addRow(n, residual, c)
      residual += <usize>row << 2
    }
    c += <usize>row << 2
  }
}
/** Ends a block of a product whose first column is j0. */
function end(p: Product, m: i32, n: i32, c: usize, j0: i32): void {
  finish(m, n, c, p.cRow, p.bias ? p.bias + (<usize>j0 << 2) : 0, p.form, p.residual ? p.residual + (c - p.c) : 0)
}

/** One row, or none at all of the depth: memory-bound, so everything is read once. False: the blocks must do it. */
function thin(p: Product, m: i32, n: i32, a: usize, b: usize, c: usize, scratch: usize): bool {
  if (p.k == 0) {
    for (let i = 0; i < m && !p.add; i++) memory.fill(c + (<usize>(i * p.cRow) << 2), 0, <usize>n << 2)
    return true
  }
  if (p.m != 1 || p.add || (!p.packed && p.bCol != 1 && p.bRow != 1)) return false
  if (p.aCol != 1) {
    packRows(1, p.k, a, p.aRow, p.aCol, scratch, p.k)
    a = scratch
  }
  if (p.packed) rowPanels(n, p.k, a, b, c)
  else if (p.bRow == 1) rowDots(n, p.k, a, b, <usize>p.bCol << 2, c)
  else rowPieces(n, p.k, a, b, <usize>p.bRow << 2, c, scratch + (<usize>p.k << 2))
  return true
}

/** The product of one matrix within a block; b at its first column, or its first panel. */
function block(p: Product, m: i32, n: i32, a: usize, b: usize, c: usize, j0: i32, scratch: usize): void {
  const k = p.k
  const kc = evenBlock(k, DEPTH)
  const rows = (evenBlock(m, ROWS) + TILE_ROWS - 1) / TILE_ROWS * TILE_ROWS
  const panels = scratch
  const left = panels + (p.packed ? 0 : panelBytes(kc, min(n, COLS), TILE_COLS))
  const edge = left + <usize>min(m, ROWS) * <usize>kc * 4
  const inPlace = !p.packed && p.bCol == 1 && p.m <= FEW
  const cBytes = <usize>p.cRow << 2
  for (let jc = 0; jc < n; jc += COLS) {
    const nc = min(n - jc, COLS)
    for (let pc = 0; pc < k; pc += kc) {
      const depth = min(k - pc, kc)
      const acc = p.add | i32(pc > 0)
      let from = b + (<usize>(pc * p.bRow + jc * p.bCol) << 2)
      // where the panel of column j of this block is: right + j · panelStep
      let right = panels
      let panelStep = <usize>depth << 2
      let rightRow: usize = TILE_COLS * 4
      if (p.packed) {
        right = b + (<usize>(jc * k + pc * TILE_COLS) << 2)
        panelStep = <usize>k << 2
      } else if (inPlace) {
        // the last panel may be narrow: only that one is copied
        const narrow = nc % TILE_COLS
        if (narrow) packPanels(depth, narrow, from + (<usize>(nc - narrow) << 2), p.bRow, 1, panels, 1, TILE_COLS)
        right = from
        panelStep = 4
        rightRow = <usize>p.bRow << 2
      } else packPanels(depth, nc, from, p.bRow, p.bCol, panels, 1, TILE_COLS)
      for (let ic = 0; ic < m; ic += rows) {
        const mc = min(m - ic, rows)
        let x = a + (<usize>(ic * p.aRow + pc * p.aCol) << 2)
        let xRow = <usize>p.aRow << 2
        if (p.aCol != 1) {
          packRows(mc, depth, x, p.aRow, p.aCol, left, depth)
          x = left
          xRow = <usize>depth << 2
        }
        const y = c + (<usize>(ic * p.cRow + jc) << 2)
        const groups = (mc + TILE_ROWS - 1) / TILE_ROWS
        for (let j = 0; j < nc; j += TILE_COLS) {
          const nr = min(nc - j, TILE_COLS)
          let panel = right + <usize>j * panelStep
          let step = rightRow
          if (inPlace && nr < TILE_COLS) {
            panel = panels
            step = TILE_COLS * 4
          }
          let i = 0
          for (let g = groups; g > 0; g--) {
            // rows are shared out evenly: a tile of one or two rows at the end would run at a fraction of the speed
            const mr = (mc - i + g - 1) / g
            const xi = x + <usize>i * xRow
            const yi = y + <usize>i * cBytes + (<usize>j << 2)
            if (nr == TILE_COLS) largeTile(mr, depth, xi, xRow, panel, step, yi, cBytes, acc)
            else {
              if (acc) for (let r = 0; r < mr; r++) memory.copy(edge + <usize>(r * TILE_COLS * 4), yi + <usize>r * cBytes, <usize>nr << 2)
              largeTile(mr, depth, xi, xRow, panel, step, edge, TILE_COLS * 4, acc)
              for (let r = 0; r < mr; r++) memory.copy(yi + <usize>r * cBytes, edge + <usize>(r * TILE_COLS * 4), <usize>nr << 2)
            }
            i += mr
          }
        }
        // while these rows are in the cache
        if (pc + depth == k) end(p, mc, nc, y, j0 + jc)
      }
    }
  }
}

// @ts-ignore: decorator
@inline function matrix(base: usize, outer: i32, outerStride: i32, inner: i32, innerStride: i32): usize {
  return base + (<usize>(outer * outerStride + inner * innerStride) << 2)
}

/** Chunk of a product: see `Product`. `scratch`: matmulScratch(rows, cols, k) bytes. */
export function matmulChunk(job: usize, chunk: i32, scratch: usize): void {
  const p = changetype<Product>(job)
  const rest = chunk / p.rowBlocks
  const i0 = (chunk % p.rowBlocks) * p.rows
  const j0 = (rest % p.colBlocks) * p.cols
  const m = min(p.rows, p.m - i0)
  const n = min(p.cols, p.n - j0)
  const first = rest / p.colBlocks * p.group
  const last = min(first + p.group, p.batch)
  for (let z = first; z < last; z++) {
    const outer = z / p.inner
    const inner = z - outer * p.inner
    const a = matrix(p.a, outer, p.aOuter, inner, p.aInner) + (<usize>(i0 * p.aRow) << 2)
    const b = matrix(p.b, outer, p.bOuter, inner, p.bInner) + (<usize>(j0 * (p.packed ? p.k : p.bCol)) << 2)
    const c = p.c + (<usize>((z * p.m + i0) * p.cRow + j0) << 2)
    if (thin(p, m, n, a, b, c, scratch)) end(p, m, n, c, j0)
    else block(p, m, n, a, b, c, j0, scratch)
  }
}

/** Columns of a panel. */
export function panelColumns(): i32 {
  return TILE_COLS
}

/** Chunk of packing B[k, n] into panels: words k, n, b, row, column, panels, columns of a chunk (a multiple of TILE_COLS). */
export function packChunk(job: usize, chunk: i32): void {
  const k = load<i32>(job)
  const column = load<i32>(job, 16)
  const size = load<i32>(job, 24)
  const j0 = chunk * size
  const from = load<usize>(job, 8) + (<usize>(j0 * column) << 2)
  packPanels(k, min(size, load<i32>(job, 4) - j0), from, load<i32>(job, 12), column, load<usize>(job, 20) + (<usize>(j0 * k) << 2), 1, TILE_COLS)
}
