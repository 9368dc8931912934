/**
 * Sums and maxima of float32, and copies into a cache, on WASM loops. Shapes are walked here: axes that walk as one are merged, the
 * last two go to the kernel, the others are looped over. Integers and booleans, small and rare, keep the plain loops.
 */
import { type Kernel, type KernelCall, type KernelEntry, referenceKernels, type View } from '@heed/tensor'
import { pointer } from './pointer.js'
import { shares } from './rows.js'
import type { Kernels } from './wasm.js'

/** What all calls of one step share: the sizes and steps of the two inner axes per operand, and the loops around them. */
interface Walk {
  readonly outer: readonly number[]
  readonly outerStrides: readonly (readonly number[])[]
  readonly rows: number
  readonly n: number
  readonly inner: readonly { readonly row: number; readonly step: number }[]
  readonly index: number[]
}

function walkOf(shape: readonly number[], operands: readonly (readonly number[])[]): Walk {
  const dims: number[] = []
  const strides: number[][] = operands.map(() => [])
  shape.forEach((d, i) => {
    if (d === 1) return
    const last = dims.length - 1
    if (last >= 0 && operands.every((s, k) => strides[k][last] === s[i] * d)) {
      dims[last] *= d
      operands.forEach((s, k) => {
        strides[k][last] = s[i]
      })
    } else {
      dims.push(d)
      operands.forEach((s, k) => {
        strides[k].push(s[i])
      })
    }
  })
  const n = dims.pop() ?? 1
  const rows = dims.pop() ?? 1
  const inner = strides.map((s) => {
    const step = s.pop() ?? 0
    return { row: s.pop() ?? 0, step }
  })
  return { outer: dims, outerStrides: strides, rows, n, inner, index: dims.map(() => 0) }
}

/** Calls `run` with the byte addresses of every operand for each turn of the outer axes. */
function each(
  walk: Walk,
  at: number[],
  bytes: readonly number[],
  run: (at: readonly number[]) => void,
): void {
  const { outer, outerStrides, index } = walk
  let turns = 1
  for (const d of outer) turns *= d
  for (let t = 0; t < turns; t++) {
    run(at)
    for (let d = outer.length - 1; d >= 0; d--) {
      for (let k = 0; k < at.length; k++) at[k] += outerStrides[k][d] * bytes[k]
      if (++index[d] < outer[d]) break
      for (let k = 0; k < at.length; k++) at[k] -= outerStrides[k][d] * bytes[k] * outer[d]
      index[d] = 0
    }
  }
}

// views live as long as their plan, so a walk is worked out once
const walks = new WeakMap<View, Walk>()
/** Strides of the operands read in the shape of `like` (0 along broadcast axes). */
function cached(key: View, like: View, operands: readonly View[]): Walk {
  let walk = walks.get(key)
  if (!walk) {
    const rank = like.shape.length
    const read = (v: View): number[] =>
      like.shape.map((d, i) => {
        const own = i - rank + v.shape.length
        return own < 0 || (v.shape[own] === 1 && d !== 1) ? 0 : v.strides[own]
      })
    walk = walkOf(like.shape, operands.map(read))
    walks.set(key, walk)
  }
  return walk
}

const FLOAT = [4, 4]
/** Numbers of a long row that get a sum of their own, whatever the number of threads. */
const PIECE = 16384
const product = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1)

export function elementwiseEntries(kernels: Kernels): Record<string, KernelEntry> {
  const wasm = kernels.exports
  /** An entry for float32 operands; everything else takes the plain loops. */
  const entry = (
    name: keyof typeof referenceKernels,
    run: Kernel,
    scratch?: KernelEntry['scratch'],
  ): KernelEntry => ({
    ...referenceKernels[name],
    how: ({ from }) => (from[from.length - 1].dtype === 'f32' ? 'native' : 'reference'),
    ...(scratch ? { scratch } : {}),
    run(call: KernelCall) {
      const { inputs } = call
      if (inputs[inputs.length - 1].dtype !== 'f32') referenceKernels[name].run(call)
      else if (inputs[0].size > 0 || call.outputs[0].size > 0) run(call)
    },
  })
  /** A sum (op 0) or maximum (1) over two axes with a result in one piece, shared between threads; says whether it was one. */
  const reduce = (op: number, x: View, y: View, acc: number, room: number): boolean => {
    const walk = cached(y, x, [x, y])
    const { rows, n, inner } = walk
    const [from, to] = inner
    if (walk.outer.length > 0) return false
    let along = -1
    // results side by side: one a row, one a column, or one of a single row
    if (to.step === 0 && (to.row === 1 || rows === 1)) along = 0
    if (to.step === 1 && to.row === 0) along = 1
    if (op === 0 && along === 0 && rows === 1 && n > PIECE && room >= 8 * Math.ceil(n / PIECE)) along = 2
    if (along < 0) return false
    const items = along === 0 ? rows : n
    const shared = along === 2 ? { per: PIECE, chunks: Math.ceil(n / PIECE) } : null
    const { per, chunks } = shared ?? shares(kernels, items, (0.3 * rows * n) / items, along === 1 ? 16 : 1)
    const words = [op, rows, n, along, per, pointer(x), from.row, from.step, pointer(y), to.row, to.step, acc]
    kernels.run('reduce', words, chunks)
    if (along < 2) return true
    let sum = 0
    for (const piece of new Float64Array(kernels.memory.buffer, acc, chunks)) sum += piece
    ;(y.data as Float32Array)[y.offset] = sum
    return true
  }
  return {
    // sums are kept in double, as everywhere
    sum: entry(
      'sum',
      ({ inputs: [x], outputs: [y], scratch }) => {
        if (y.size === 0) return
        const room = scratch as View
        const acc = pointer(room)
        if (x.size > 0 && reduce(0, x, y, acc, room.size)) return
        new Float64Array(kernels.memory.buffer, acc, y.size).fill(0)
        if (x.size > 0) {
          const walk = cached(y, x, [x, y])
          const [from, to] = walk.inner
          each(walk, [pointer(x), acc], [4, 8], ([px, pa]) =>
            wasm.sumInto(walk.rows, walk.n, px, from.row, from.step, pa, to.row, to.step),
          )
        }
        wasm.roundSums(y.size, acc, pointer(y))
      },
      ({ from: [x], to: [y] }) => 8 * Math.max(product(y.shape), Math.ceil(product(x.shape) / PIECE)),
    ),
    // a cache is mostly copied: whole rows at a time, whatever the dtype
    update: {
      ...referenceKernels.update,
      how: 'native',
      run(call: KernelCall) {
        const [cache, patch, offset] = call.inputs
        const [y] = call.outputs
        const axis = call.attrs.axis as number
        const at = offset.data[offset.offset] as number
        const fits = at >= 0 && at + patch.shape[axis] <= cache.shape[axis]
        const walk = cached(y, patch, [{ ...y, shape: patch.shape }, patch])
        const [to, from] = walk.inner
        const rowwise =
          cache.contiguous &&
          y.size > 0 &&
          patch.size > 0 &&
          (walk.n === 1 || (to.step === 1 && from.step === 1))
        // the plain loop also words the error
        if (!fits || !rowwise) return referenceKernels.update.run(call)
        const size = y.data.BYTES_PER_ELEMENT
        const bytes = kernels.memory.u8()
        const [old, made] = [pointer(cache), pointer(y)]
        // written over a donated cache, what is there already stays
        if (old !== made) bytes.copyWithin(made, old, old + y.size * size)
        each(walk, [pointer(y) + at * y.strides[axis] * size, pointer(patch)], [size, size], ([py, px]) => {
          for (let r = 0; r < walk.rows; r++) {
            const p = px + r * from.row * size
            bytes.copyWithin(py + r * to.row * size, p, p + walk.n * size)
          }
        })
      },
    },
    max: entry('max', ({ inputs: [x], outputs: [y] }) => {
      if (y.size === 0) return
      if (x.size > 0 && reduce(1, x, y, 0, 0)) return
      const out = y.data as Float32Array
      out.fill(Number.NEGATIVE_INFINITY, y.offset, y.offset + y.size)
      if (x.size === 0) return
      const walk = cached(y, x, [x, y])
      const [from, to] = walk.inner
      each(walk, [pointer(x), pointer(y)], FLOAT, ([px, py]) =>
        wasm.maxInto(walk.rows, walk.n, px, from.row, from.step, py, to.row, to.step),
      )
    }),
  }
}
