/**
 * Plain loops over strided views: what the reference kernels are written in. Axes that can be walked as one are
 * merged, the last is the inner loop.
 */
import type { View } from '../kernel-backend.js'
import { broadcastStrides } from '../shape.js'

/** Merged axes of several operands walked together. */
export interface Walk {
  readonly dims: number[]
  readonly strides: number[][]
}

/** `operands`: strides per operand, each as long as `shape`. */
export function mergeAxes(shape: readonly number[], operands: readonly (readonly number[])[]): Walk {
  const dims: number[] = []
  const strides: number[][] = operands.map(() => [])
  for (let i = 0; i < shape.length; i++) {
    if (shape[i] === 1) continue
    const last = dims.length - 1
    const mergeable = last >= 0 && operands.every((s, k) => strides[k][last] === s[i] * shape[i])
    if (mergeable) {
      dims[last] *= shape[i]
      operands.forEach((s, k) => {
        strides[k][last] = s[i]
      })
    } else {
      dims.push(shape[i])
      operands.forEach((s, k) => {
        strides[k].push(s[i])
      })
    }
  }
  if (dims.length === 0) {
    dims.push(shape.includes(0) ? 0 : 1)
    for (const s of strides) s.push(0)
  }
  return { dims, strides }
}

/** Calls `row(offsets, n)` for each run of the innermost axis; offsets are per operand. */
export function forRows(walk: Walk, start: readonly number[], row: (at: number[], n: number) => void): void {
  const { dims, strides } = walk
  const rank = dims.length
  const n = dims[rank - 1]
  let rows = 1
  for (let d = 0; d < rank - 1; d++) rows *= dims[d]
  if (rows === 0 || n === 0) return
  const index = new Array<number>(rank).fill(0)
  const at = [...start]
  for (let r = 0; r < rows; r++) {
    row(at, n)
    for (let d = rank - 2; d >= 0; d--) {
      for (let k = 0; k < at.length; k++) at[k] += strides[k][d]
      if (++index[d] < dims[d]) break
      for (let k = 0; k < at.length; k++) at[k] -= strides[k][d] * dims[d]
      index[d] = 0
    }
  }
}

/** Strides of an operand read in the shape of the output. */
const read = (v: View, out: View): number[] => broadcastStrides(v.shape, v.strides, out.shape)

export function map1(out: View, x: View, f: (a: number) => number): void {
  const walk = mergeAxes(out.shape, [out.strides, read(x, out)])
  const o = out.data as Float32Array
  const a = x.data as Float32Array
  const [so, sa] = walk.strides.map((s) => s[s.length - 1])
  forRows(walk, [out.offset, x.offset], (at, n) => {
    let po = at[0]
    let pa = at[1]
    for (let i = 0; i < n; i++) {
      o[po] = f(a[pa])
      po += so
      pa += sa
    }
  })
}
export function map2(out: View, x: View, y: View, f: (a: number, b: number) => number): void {
  const walk = mergeAxes(out.shape, [out.strides, read(x, out), read(y, out)])
  const o = out.data as Float32Array
  const a = x.data as Float32Array
  const b = y.data as Float32Array
  const [so, sa, sb] = walk.strides.map((s) => s[s.length - 1])
  forRows(walk, [out.offset, x.offset, y.offset], (at, n) => {
    let po = at[0]
    let pa = at[1]
    let pb = at[2]
    for (let i = 0; i < n; i++) {
      o[po] = f(a[pa], b[pb])
      po += so
      pa += sa
      pb += sb
    }
  })
}
export function choose(out: View, c: View, x: View, y: View): void {
  const walk = mergeAxes(out.shape, [out.strides, read(c, out), read(x, out), read(y, out)])
  const o = out.data as Float32Array
  const k = c.data as Uint8Array
  const a = x.data as Float32Array
  const b = y.data as Float32Array
  const [so, sc, sa, sb] = walk.strides.map((s) => s[s.length - 1])
  forRows(walk, [out.offset, c.offset, x.offset, y.offset], (at, n) => {
    let po = at[0]
    let pc = at[1]
    let pa = at[2]
    let pb = at[3]
    for (let i = 0; i < n; i++) {
      o[po] = k[pc] ? a[pa] : b[pb]
      po += so
      pc += sc
      pa += sa
      pb += sb
    }
  })
}

/** Lanes along one axis: calls `lane(offsets, strides)` for every position outside the axis. */
export function forLanes(
  shape: readonly number[],
  axis: number,
  views: readonly View[],
  lane: (at: number[], step: number[]) => void,
): void {
  const rest = shape.map((d, i) => (i === axis ? 1 : d))
  const walk = mergeAxes(
    rest,
    views.map((v) => v.strides.map((s, i) => (i === axis ? 0 : s))),
  )
  const step = views.map((v) => v.strides[axis])
  const inner = walk.strides.map((s) => s[s.length - 1])
  forRows(
    walk,
    views.map((v) => v.offset),
    (at, n) => {
      const p = [...at]
      for (let i = 0; i < n; i++) {
        lane(p, step)
        for (let k = 0; k < p.length; k++) p[k] += inner[k]
      }
    },
  )
}
