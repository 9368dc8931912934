/** The primitive `matmul` on the WASM kernel: batch axes, broadcasting and any strides become calls with a batch stride. */
import type { GraphNode, KernelCall, KernelEntry, View } from '@heed/tensor'
import { pointer } from './pointer.js'
import type { Kernels } from './wasm.js'

interface Axis {
  size: number
  a: number
  b: number
}

/** Batch axes from the outermost to the innermost, with the strides of both operands; axes that walk as one are merged. */
function batchAxes(a: View, b: View, batch: readonly number[]): Axis[] {
  const stride = (v: View, i: number): number => {
    const own = i - (batch.length - (v.shape.length - 2))
    return own < 0 || v.shape[own] === 1 ? 0 : v.strides[own]
  }
  const axes: Axis[] = []
  batch.forEach((size, i) => {
    if (size === 1) return
    const axis = { size, a: stride(a, i), b: stride(b, i) }
    const last = axes[axes.length - 1]
    if (last && last.a === axis.a * size && last.b === axis.b * size)
      Object.assign(last, { ...axis, size: last.size * size })
    else axes.push(axis)
  })
  return axes
}

/** a [..., m, k] · b [..., k, n] → [..., m, n], float32, batch axes broadcast. */
export function matmulEntry(kernels: Kernels): KernelEntry {
  return {
    strided: true,
    how: 'native',
    scratch: ({ from: [a], to: [c] }: GraphNode) => {
      const [m, n] = c.shape.slice(-2)
      return kernels.matmulScratch({
        batch: c.shape.slice(0, -2).reduce((x, y) => x * y, 1),
        m,
        n,
        k: a.shape[a.shape.length - 1],
      })
    },
    run({ inputs: [a, b], outputs: [c], scratch }: KernelCall) {
      if (c.size === 0) return
      const [m, n] = c.shape.slice(-2)
      const k = a.shape[a.shape.length - 1]
      const axes = batchAxes(a, b, c.shape.slice(0, -2))
      const inner = axes.pop() ?? { size: 1, a: 0, b: 0 }
      const [aRow, aColumn] = matrixStrides(a)
      const [bRow, bColumn] = matrixStrides(b)
      const scratchAt = scratch ? pointer(scratch) : 0
      let outer = 1
      for (const axis of axes) outer *= axis.size
      const index = axes.map(() => 0)
      let pa = pointer(a)
      let pb = pointer(b)
      let pc = pointer(c)
      for (let i = 0; i < outer; i++) {
        kernels.matmul(
          { batch: inner.size, m, n, k },
          { at: pa, batch: inner.a, row: aRow, column: aColumn },
          { at: pb, batch: inner.b, row: bRow, column: bColumn },
          { at: pc, batch: m * n, row: n },
          scratchAt,
        )
        pc += 4 * inner.size * m * n
        for (let d = axes.length - 1; d >= 0; d--) {
          pa += 4 * axes[d].a
          pb += 4 * axes[d].b
          if (++index[d] < axes[d].size) break
          pa -= 4 * axes[d].a * axes[d].size
          pb -= 4 * axes[d].b * axes[d].size
          index[d] = 0
        }
      }
    },
  }
}

/** Row and column stride; an axis of one element has any stride, so it gets the one that the kernel likes best. */
function matrixStrides(v: View): [row: number, column: number] {
  const [rows, columns] = v.shape.slice(-2)
  const [row, column] = v.strides.slice(-2)
  if (columns === 1 && rows !== 1) return [row, row === 1 ? rows : 1]
  if (rows === 1) return [column === 1 ? columns : 1, column]
  return [row, column]
}
