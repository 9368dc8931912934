/**
 * Elementwise primitives, sums and maxima of float32 on WASM loops. Shapes are walked here: axes that walk as one are merged, the
 * last two go to the kernel, the others are looped over. Integers and booleans, small and rare, keep the plain loops.
 */
import { type Kernel, type KernelCall, type KernelEntry, referenceKernels, type View } from '@heed/tensor'
import { pointer } from './pointer.js'
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

const FLOAT = [4, 4, 4]
/** Elements of a row of a long run, and such rows in a chunk: some 30 µs of work. */
const RUN = 2048
const ROWS = 8

export function elementwiseEntries(kernels: Kernels): Record<string, KernelEntry> {
  const wasm = kernels.exports
  /** An entry for float32 operands; everything else takes the plain loops. */
  const entry = (
    name: keyof typeof referenceKernels,
    run: Kernel,
    scratch?: KernelEntry['scratch'],
  ): KernelEntry => ({
    ...referenceKernels[name],
    how: 'native',
    ...(scratch ? { scratch } : {}),
    run(call: KernelCall) {
      const { inputs } = call
      if (inputs[inputs.length - 1].dtype !== 'f32') referenceKernels[name].run(call)
      else if (inputs[0].size > 0 || call.outputs[0].size > 0) run(call)
    },
  })
  const binary = (name: 'add' | 'sub' | 'mul' | 'div' | 'maximum', op: number) =>
    entry(name, ({ inputs: [a, b], outputs: [c] }) => {
      if (c.size === 0) return
      const walk = cached(c, c, [c, a, b])
      const [, x, y] = walk.inner
      each(walk, [pointer(c), pointer(a), pointer(b)], FLOAT, ([pc, pa, pb]) =>
        wasm.binary(op, walk.rows, walk.n, pa, x.row, x.step, pb, y.row, y.step, pc),
      )
    })
  const compare = (name: 'less' | 'lessEqual' | 'equal', op: number) =>
    entry(name, ({ inputs: [a, b], outputs: [c] }) => {
      if (c.size === 0) return
      const walk = cached(c, c, [c, a, b])
      const [, x, y] = walk.inner
      each(walk, [pointer(c), pointer(a), pointer(b)], [1, 4, 4], ([pc, pa, pb]) =>
        wasm.compare(op, walk.rows, walk.n, pa, x.row, x.step, pb, y.row, y.step, pc),
      )
    })
  const unary = (name: 'neg' | 'sqrt' | 'exp' | 'tanh' | 'erf', op: number) =>
    entry(name, ({ inputs: [a], outputs: [c] }) => {
      const walk = cached(c, c, [c, a])
      const [, x] = walk.inner
      // one long run becomes rows that threads can share
      const isRun = walk.rows === 1 && x.step === 1 && walk.n > RUN
      each(walk, [pointer(c), pointer(a)], FLOAT, ([pc, pa]) => {
        const whole = isRun ? walk.n - (walk.n % RUN) : 0
        if (whole > 0)
          kernels.run('unary', [op, ROWS, whole / RUN, RUN, pa, RUN, 1, pc], Math.ceil(whole / RUN / ROWS))
        if (walk.n > whole) {
          const [pr, cr] = [pa + 4 * whole, pc + 4 * whole]
          kernels.run('unary', [op, walk.rows, walk.rows, walk.n - whole, pr, x.row, x.step, cr], 1)
        }
      })
    })
  return {
    add: binary('add', 0),
    sub: binary('sub', 1),
    mul: binary('mul', 2),
    div: binary('div', 3),
    maximum: binary('maximum', 4),
    neg: unary('neg', 0),
    sqrt: unary('sqrt', 1),
    exp: unary('exp', 2),
    tanh: unary('tanh', 3),
    erf: unary('erf', 4),
    less: compare('less', 0),
    lessEqual: compare('lessEqual', 1),
    equal: compare('equal', 2),
    where: entry('where', ({ inputs: [k, a, b], outputs: [c] }) => {
      if (c.size === 0) return
      const walk = cached(c, c, [c, k, a, b])
      const [, m, x, y] = walk.inner
      each(walk, [pointer(c), pointer(k), pointer(a), pointer(b)], [4, 1, 4, 4], ([pc, pk, pa, pb]) =>
        wasm.choose(walk.rows, walk.n, pk, m.row, m.step, pa, x.row, x.step, pb, y.row, y.step, pc),
      )
    }),
    // sums are kept in double, as everywhere
    sum: entry(
      'sum',
      ({ inputs: [x], outputs: [y], scratch }) => {
        if (y.size === 0) return
        const acc = pointer(scratch as View)
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
      ({ to: [y] }) => 8 * y.shape.reduce((p, d) => p * d, 1),
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
