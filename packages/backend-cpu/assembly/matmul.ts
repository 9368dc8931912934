// Batched matrix product C = A·B of float32 with any strides of A and B: blocking and packing around the micro-kernels.
// It chooses the path (one row, one column, few rows, blocked) and knows nothing of ranks or broadcasting beyond a stride of 0.

import { MR, tile } from './tile'
import { packPanels, packRows, panelBytes } from './pack'
import { rowDots, rowTimes } from './vector'

// Blocks: a panel of B (DEPTH × 8) stays in L1, a block of A (ROWS × DEPTH) in L2, a block of B (DEPTH × COLS) in L2 or L3.
// ROWS is a multiple of both tile heights.
// @ts-ignore: decorator
@inline const DEPTH: i32 = 512
// @ts-ignore: decorator
@inline const ROWS: i32 = 180
// @ts-ignore: decorator
@inline const COLS: i32 = 512
// With this few rows packing B costs more than it saves: it is read in place when its columns are neighbours.
// @ts-ignore: decorator
@inline const FEW: i32 = 12
// @ts-ignore: decorator
@inline const TILE_BYTES: usize = 6 * 8 * 4

/** Largest block ≤ limit that splits depth into equal parts, so that no thin last block is left over. */
function depthBlock(depth: i32): i32 {
  const parts = (depth + DEPTH - 1) / DEPTH
  return (depth + parts - 1) / parts
}

/** Bytes of scratch that `matmul` needs for these sizes, whatever the strides; bounded by about 1.5 MB + 4·k for one row. */
export function matmulScratch(m: i32, n: i32, k: i32): usize {
  if (m <= 0 || n <= 0 || k <= 0) return 0
  const kc = depthBlock(k)
  const blocks = panelBytes(kc, min(n, COLS)) + <usize>min(m, ROWS) * <usize>kc * 4 + TILE_BYTES
  return m == 1 || n == 1 ? <usize>k * 4 + 16 + panelBytes(kc, COLS) + <usize>kc * 4 + TILE_BYTES : blocks
}

function zeroRows(m: i32, n: i32, c: usize, cRow: i32): void {
  for (let i = 0; i < m; i++) memory.fill(c + (<usize>(i * cRow) << 2), 0, <usize>n << 2)
}

/** One product; strides in elements, C has neighbouring columns. */
function product(
  m: i32, n: i32, k: i32,
  a: usize, aRow: i32, aCol: i32,
  b: usize, bRow: i32, bCol: i32,
  c: usize, cRow: i32,
  scratch: usize,
): void {
  if (k == 0) {
    zeroRows(m, n, c, cRow)
    return
  }
  if (m == 1) {
    let row = a
    if (aCol != 1 && (bCol == 1 || bRow == 1)) {
      packRows(1, k, a, aRow, aCol, scratch, k)
      row = scratch
    }
    if (bCol == 1) {
      rowTimes(n, k, row, b, <usize>bRow << 2, c, 0)
      return
    }
    if (bRow == 1) {
      rowDots(n, k, row, b, <usize>bCol << 2, c)
      return
    }
  }
  const kc = depthBlock(k)
  const panels = scratch
  const rows = panels + panelBytes(kc, min(n, COLS))
  const edge = rows + <usize>min(m, ROWS) * <usize>kc * 4
  const inPlace = bCol == 1 && m <= FEW
  const cBytes = <usize>cRow << 2
  for (let jc = 0; jc < n; jc += COLS) {
    const nc = min(n - jc, COLS)
    for (let pc = 0; pc < k; pc += kc) {
      const depth = min(k - pc, kc)
      const acc = i32(pc > 0)
      const from = b + (<usize>(pc * bRow + jc * bCol) << 2)
      if (!inPlace) packPanels(depth, nc, from, bRow, bCol, panels, 1)
      else if (nc & 7) packPanels(depth, nc & 7, from + (<usize>(nc & ~7) << 2), bRow, bCol, panels + (<usize>((nc & ~7) * depth) << 2), 1)
      for (let ic = 0; ic < m; ic += ROWS) {
        const mc = min(m - ic, ROWS)
        let left = a + (<usize>(ic * aRow + pc * aCol) << 2)
        let leftRow = <usize>aRow << 2
        if (aCol != 1) {
          packRows(mc, depth, left, aRow, aCol, rows, depth)
          left = rows
          leftRow = <usize>depth << 2
        }
        for (let j = 0; j < nc; j += 8) {
          const nr = min(nc - j, 8)
          let right = panels + (<usize>(j * depth) << 2)
          let rightRow: usize = 32
          if (inPlace && nr == 8) {
            right = from + (<usize>j << 2)
            rightRow = <usize>bRow << 2
          }
          for (let i = 0; i < mc; i += MR) {
            const mr = min(mc - i, MR)
            const x = left + <usize>i * leftRow
            const y = c + (<usize>((ic + i) * cRow + jc + j) << 2)
            if (nr == 8) tile(mr, depth, x, leftRow, right, rightRow, y, cBytes, acc)
            else {
              if (acc) for (let r = 0; r < mr; r++) memory.copy(edge + (<usize>r << 5), y + <usize>r * cBytes, <usize>nr << 2)
              tile(mr, depth, x, leftRow, right, rightRow, edge, 32, acc)
              for (let r = 0; r < mr; r++) memory.copy(y + <usize>r * cBytes, edge + (<usize>r << 5), <usize>nr << 2)
            }
          }
        }
      }
    }
  }
}

/**
 * C[batch, m, n] = A[batch, m, k] · B[batch, k, n], float32. Strides in elements; a batch stride of 0 repeats the operand; the
 * columns of C are neighbours. k = 0 writes zeros. `scratch`: matmulScratch(m, n, k) bytes (of m·batch rows when B repeats).
 */
export function matmul(
  batch: i32, m: i32, n: i32, k: i32,
  a: usize, aBatch: i32, aRow: i32, aCol: i32,
  b: usize, bBatch: i32, bRow: i32, bCol: i32,
  c: usize, cBatch: i32, cRow: i32,
  scratch: usize,
): void {
  if (m <= 0 || n <= 0 || batch <= 0) return
  // one column whose results are neighbours is one row of the transposed product
  const turn = n == 1 && m > 1 && cRow == 1
  for (let i = 0; i < batch; i++) {
    const ai = a + (<usize>(i * aBatch) << 2)
    const bi = b + (<usize>(i * bBatch) << 2)
    const ci = c + (<usize>(i * cBatch) << 2)
    if (turn) product(1, m, k, bi, bCol, bRow, ai, aCol, aRow, ci, m, scratch)
    else product(m, n, k, ai, aRow, aCol, bi, bRow, bCol, ci, cRow, scratch)
  }
}
