/** Copies of views, and whole slices by index: `take` and its transpose `takeAdd`. */
import { type KernelCall, type KernelEntry, referenceKernels, ValueError, type View } from '@heed/tensor'
import { pointer } from './pointer.js'
import { shares } from './rows.js'
import type { Kernels } from './wasm.js'

/** Axes of a view that walk as one merged, last one first: [size, stride in bytes, …]. */
export function axesOf(v: View): number[] {
  const bytes = v.data.BYTES_PER_ELEMENT
  const axes: { size: number; stride: number }[] = []
  for (let i = v.shape.length - 1; i >= 0; i--) {
    if (v.shape[i] === 1) continue
    const outer = axes[axes.length - 1]
    if (outer && v.strides[i] === outer.stride * outer.size) outer.size *= v.shape[i]
    else axes.push({ size: v.shape[i], stride: v.strides[i] })
  }
  if (axes.length === 0) axes.push({ size: 1, stride: 1 })
  return axes.flatMap(({ size, stride }) => [size, stride * bytes])
}

function product(shape: readonly number[]): number {
  return shape.reduce((a, b) => a * b, 1)
}

function checkIds(index: View, size: number): void {
  const ids = index.data as Int32Array
  for (let i = index.offset; i < index.offset + index.size; i++)
    if (!(ids[i] >= 0 && ids[i] < size)) throw new ValueError(`index ${ids[i]} is outside 0..${size - 1}`)
}

/** Writes the elements of a view as neighbours at address `to`; scratch: 64 bytes a thread. */
export function copyView(kernels: Kernels, x: View, to: number, scratch: number): void {
  if (x.size === 0) return
  const bytes = x.data.BYTES_PER_ELEMENT
  const axes = axesOf(x)
  const { chunks, per } = shares(kernels, x.size, 0.5, 16)
  const words = [x.size, per, bytes, to, pointer(x), axes.length / 2, ...axes]
  kernels.run('copy', words, chunks, scratch, 64)
}

export function indexingEntries(kernels: Kernels): Record<string, KernelEntry> {
  return {
    copy: {
      strided: true,
      how: 'native',
      scratch: () => 64 * kernels.threads,
      run({ inputs: [x], outputs: [y], scratch }: KernelCall) {
        if (x.size === 0) return
        if (x.contiguous)
          kernels.memory
            .u8()
            .copyWithin(pointer(y), pointer(x), pointer(x) + x.size * x.data.BYTES_PER_ELEMENT)
        else copyView(kernels, x, pointer(y), pointer(scratch as View))
      },
    },
    take: {
      strided: true,
      how: 'native',
      run(call: KernelCall) {
        const {
          inputs: [x, index],
          outputs: [y],
          attrs,
        } = call
        const axis = attrs.axis as number
        if (!x.contiguous || !index.contiguous) return referenceKernels.take.run(call)
        checkIds(index, x.shape[axis])
        if (y.size === 0) return
        const bytes = product(x.shape.slice(axis + 1)) * x.data.BYTES_PER_ELEMENT
        const slices = product(x.shape.slice(0, axis)) * index.size
        const { chunks, per } = shares(kernels, slices, bytes / 16)
        const words = [slices, per, bytes, index.size, pointer(x), pointer(y), pointer(index), x.shape[axis]]
        kernels.run('take', words, chunks)
      },
    },
    takeAdd: {
      strided: true,
      how: ({ from: [x] }) => (x.dtype === 'f32' ? 'native' : 'reference'),
      run(call: KernelCall) {
        const {
          inputs: [x, index, src],
          outputs: [y],
          attrs,
        } = call
        const axis = attrs.axis as number
        // most often one repeated zero
        const repeats = x.strides.every((s, i) => s === 0 || x.shape[i] === 1) && x.size > 0
        if (x.dtype !== 'f32' || !(repeats || x.contiguous) || !src.contiguous || !index.contiguous)
          return referenceKernels.takeAdd.run(call)
        checkIds(index, x.shape[axis])
        if (y.size === 0) return
        if (repeats)
          kernels.memory.f32().fill(x.data[x.offset] as number, pointer(y) / 4, pointer(y) / 4 + y.size)
        else kernels.memory.u8().copyWithin(pointer(y), pointer(x), pointer(x) + 4 * x.size)
        const columns = product(x.shape.slice(axis + 1))
        const batch = product(x.shape.slice(0, axis))
        const { chunks, per } = shares(kernels, columns, 0.5 * batch * index.size, 16)
        const words = [
          columns,
          per,
          batch,
          index.size,
          pointer(src),
          pointer(y),
          pointer(index),
          x.shape[axis],
        ]
        kernels.run('takeAdd', words, chunks)
      },
    },
  }
}
