/** Shapes, strides and axes: pure arithmetic on lists of numbers. */
import { ShapeError, showShape } from './errors.js'

export type Shape = readonly number[]

/** Number of elements. */
export function sizeOf(shape: Shape): number {
  let n = 1
  for (let i = 0; i < shape.length; i++) n *= shape[i]
  return n
}

/** Whether sizes are whole numbers from 0 on. */
export const isShape = (shape: Shape): boolean => shape.every((d) => Number.isInteger(d) && d >= 0)

/** Row-major strides in elements. */
export function stridesOf(shape: Shape): number[] {
  const strides = new Array<number>(shape.length)
  let step = 1
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = step
    step *= shape[i]
  }
  return strides
}

export function sameShape(a: Shape, b: Shape): boolean {
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false
  return true
}

/** NumPy broadcasting of two shapes. */
export function broadcastShapes(a: Shape, b: Shape): Shape {
  if (sameShape(a, b)) return a
  const rank = Math.max(a.length, b.length)
  const out = new Array<number>(rank)
  for (let i = 0; i < rank; i++) {
    const x = a[i - rank + a.length] ?? 1
    const y = b[i - rank + b.length] ?? 1
    if (x !== y && x !== 1 && y !== 1)
      throw new ShapeError(
        `${showShape(a)} and ${showShape(b)} do not broadcast: axis ${i - rank} is ${x} and ${y}`,
      )
    out[i] = x === 1 ? y : x
  }
  return out
}

/** Strides with which an array of shape `from` is read as shape `to` (0 along broadcast axes). */
export function broadcastStrides(from: Shape, strides: readonly number[], to: Shape): number[] {
  const lead = to.length - from.length
  return to.map((_, i) => (i < lead || (from[i - lead] === 1 && to[i] !== 1) ? 0 : strides[i - lead]))
}

/** A non-negative axis; negative counts from the end. */
export function normalizeAxis(axis: number, rank: number): number {
  const a = axis < 0 ? axis + rank : axis
  if (!Number.isInteger(axis) || a < 0 || a >= rank)
    throw new ShapeError(`axis ${axis} does not exist in a tensor of rank ${rank}`)
  return a
}

/** Sorted, unique, non-negative axes; missing means all. */
export function normalizeAxes(axes: number | readonly number[] | undefined, rank: number): number[] {
  if (axes === undefined) return Array.from({ length: rank }, (_, i) => i)
  const list = (typeof axes === 'number' ? [axes] : axes).map((a) => normalizeAxis(a, rank))
  const sorted = [...new Set(list)].sort((a, b) => a - b)
  if (sorted.length !== list.length) throw new ShapeError(`axes ${showShape(list)} name an axis twice`)
  return sorted
}

/** True when `strides` walk `shape` in row-major order without gaps. */
export function isContiguous(shape: Shape, strides: readonly number[]): boolean {
  let step = 1
  for (let i = shape.length - 1; i >= 0; i--) {
    if (shape[i] !== 1 && strides[i] !== step) return sizeOf(shape) === 0
    step *= shape[i]
  }
  return true
}
