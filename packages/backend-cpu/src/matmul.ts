/**
 * Products of views on the WASM kernel: batch axes, broadcasting and any strides become few calls with two batch strides. The
 * primitive `matmul` and the composite `linear`, alone and with what follows them (src/fuse.ts), and the gradients of `linear`.
 */
import type { GraphNode, Kernel, KernelCall, KernelEntry, View } from '@heed/tensor'
import type { Panels } from './panels.js'
import { pointer } from './pointer.js'
import { type Matrix, productScratch, runProduct } from './product.js'
import type { Kernels } from './wasm.js'

/** Attributes of fused nodes; the bias is the third input, the residual the last one. */
export interface Epilogue {
  /** `activationForm` of what follows, 0 for nothing. */
  readonly form: number
  readonly residual: boolean
}

interface Axis {
  size: number
  a: number
  b: number
}
type Shaped = Pick<View, 'shape' | 'strides'>

const product = (sizes: readonly number[]): number => sizes.reduce((x, y) => x * y, 1)

/** Strides of both operands along these axes, from the outermost to the innermost; axes that walk as one are merged. */
function merged(sizes: readonly number[], a: readonly number[], b: readonly number[]): Axis[] {
  const axes: Axis[] = []
  sizes.forEach((size, i) => {
    if (size === 1) return
    const axis = { size, a: a[i], b: b[i] }
    const last = axes[axes.length - 1]
    if (last && last.a === axis.a * size && last.b === axis.b * size)
      Object.assign(last, { ...axis, size: last.size * size })
    else axes.push(axis)
  })
  return axes
}

/** Strides along the batch axes of a product, 0 where the operand is broadcast. */
const batchStrides = (v: Shaped, batch: readonly number[]): number[] =>
  batch.map((_, i) => {
    const own = i - (batch.length - (v.shape.length - 2))
    return own < 0 || v.shape[own] === 1 ? 0 : v.strides[own]
  })

/** A vector is a matrix of one row. */
const asMatrix = (v: Shaped): Shaped =>
  v.shape.length > 1 ? v : { shape: [1, ...v.shape], strides: [v.shape[0], ...v.strides] }

/** Row and column stride; an axis of one element has any stride, so it gets the one that the kernel likes best. */
function matrixStrides(v: Shaped): { row: number; column: number } {
  const [rows, columns] = v.shape.slice(-2)
  const [row, column] = v.strides.slice(-2)
  if (columns === 1 && rows !== 1) return { row, column: row === 1 ? rows : 1 }
  if (rows === 1) return { row: column === 1 ? columns : 1, column }
  return { row, column }
}

const turn = <T extends { row: number; column: number }>(x: T): T => ({ ...x, row: x.column, column: x.row })

/** Calls `run` with the byte offsets of both operands for each turn of the axes, the last one fastest. */
function eachTurn(axes: readonly Axis[], run: (a: number, b: number) => void): void {
  if (axes.length === 0) {
    run(0, 0)
    return
  }
  const [axis, ...rest] = axes
  for (let i = 0; i < axis.size; i++) eachTurn(rest, (a, b) => run(a + 4 * i * axis.a, b + 4 * i * axis.b))
}

/** What a product of views ends with. */
interface End {
  readonly form?: number
  readonly bias?: number
  readonly residual?: number
}

/** Products of views, with weights that are packed once. */
export class Products {
  constructor(
    private readonly kernels: Kernels,
    private readonly panels: Panels,
  ) {}

  /** Bytes of scratch of [rows, k] · [k, n], whatever the strides; rows of a batch may become one matrix. */
  scratch(rows: number, n: number, k: number): number {
    const turned = n === 1 ? productScratch(this.kernels, 1, rows, k) : 0
    return Math.max(turned, productScratch(this.kernels, rows, n, k))
  }

  /** Address of the packed copy of a matrix that is kept with its buffer, or 0; asking counts as a use. */
  packed(b: View): number {
    const [k, n] = b.shape
    return this.panels.find(b, { ...matrixStrides(b), at: pointer(b) }, k, n)
  }

  /** c [..., m, n] = f(a [..., m, k] · b [..., k, n] + bias) + residual, batch axes broadcast. */
  multiply(a: View, b: View, c: View, scratch: number, end: End = {}): void {
    const [left, out] = [asMatrix(a), asMatrix(c)]
    const [n, k] = [b.shape[b.shape.length - 1], b.shape[b.shape.length - 2]]
    const batch = out.shape.slice(0, -2)
    let m = out.shape[out.shape.length - 2]
    const axes = merged(batch, batchStrides(left, batch), batchStrides(b, batch))
    const x = matrixStrides(left)
    const y = matrixStrides(b)
    // one right operand along an axis, rows of the left at even steps: a taller matrix
    for (let last = axes[axes.length - 1]; last?.b === 0; last = axes[axes.length - 1]) {
      if (m === 1) x.row = last.a
      else if (last.a !== m * x.row) break
      m *= last.size
      axes.pop()
    }
    const none = { size: 1, a: 0, b: 0 }
    const inner = axes.pop() ?? none
    const outer = axes.pop() ?? none
    const isShared = [inner, outer, ...axes].every((axis) => axis.b === 0)
    const size = 4 * outer.size * inner.size * m * n
    let done = 0
    // one column without a bias is one row of the transposed product, whose dot products read A as it lies
    const isTurned = n === 1 && m > 1 && !end.bias
    const packed = isShared && !isTurned ? this.panels.find(b, { ...y, at: pointer(b) }, k, n) : 0
    eachTurn(axes, (toA, toB) => {
      const pa: Matrix = { ...x, at: pointer(a) + toA, inner: inner.a, outer: outer.a }
      const pb: Matrix = { ...y, at: pointer(b) + toB, inner: inner.b, outer: outer.b }
      const shape = isTurned
        ? { m: 1, n: m, a: turn(pb), b: turn(pa), c: { at: pointer(c) + done, row: m } }
        : { m, n, a: pa, b: pb, packed, c: { at: pointer(c) + done, row: n } }
      const residual = end.residual && end.residual + done
      runProduct(
        this.kernels,
        { ...shape, ...end, residual, k, outer: outer.size, inner: inner.size },
        scratch,
      )
      done += size
    })
  }

  /** c [m, n] = Σ over all leading axes of aᵀ [..., m] · b [..., n]. */
  multiplyRows(a: View, b: View, c: View, scratch: number): void {
    const [m, n] = c.shape
    const lead = a.shape.slice(0, -1)
    const last = lead.length
    const axes = merged(lead, a.strides.slice(0, last), b.strides.slice(0, last))
    const rows = axes.pop() ?? { size: product(lead), a: m, b: n }
    let add = false
    eachTurn(axes, (toA, toB) => {
      runProduct(
        this.kernels,
        {
          ...{ m, n, k: rows.size, add },
          a: { at: pointer(a) + toA, row: m === 1 ? 1 : a.strides[last], column: rows.a },
          b: { at: pointer(b) + toB, row: rows.b, column: n === 1 ? 1 : b.strides[last] },
          c: { at: pointer(c), row: n },
        },
        scratch,
      )
      add = true
    })
  }
}

const scratchAt = (call: KernelCall): number => (call.scratch ? pointer(call.scratch) : 0)

/** `matmul` and `linear` with the epilogue that the attributes name; `add` is for residuals that do not lie as the output does. */
export function productEntry(products: Products, add: Kernel): KernelEntry {
  // a bias with gaps is copied behind the scratch
  const biasBytes = ({ shape }: { shape: readonly number[] }): number => 4 * shape[0]
  const biasOf = (inputs: readonly unknown[], attrs: Readonly<Record<string, unknown>>): boolean =>
    inputs.length - (attrs.residual ? 1 : 0) > 2
  const scratch = ({ from: [a, b, bias], to: [c], attrs, from }: GraphNode): number => {
    const n = b.shape[b.shape.length - 1]
    const bytes = products.scratch(n > 0 ? product(c.shape) / n : 0, n, a.shape[a.shape.length - 1])
    return bytes + (biasOf(from, attrs) ? biasBytes(bias) : 0)
  }
  return {
    strided: true,
    how: 'fused',
    scratch,
    run(call) {
      const { inputs, outputs, attrs } = call
      const [c] = outputs
      if (c.size === 0) return
      const { form = 0, residual: hasResidual = false } = attrs as Partial<Epilogue>
      const residual = hasResidual ? inputs[inputs.length - 1] : null
      const inPlace = residual?.contiguous === true
      let bias = 0
      if (biasOf(inputs, attrs)) {
        const v = inputs[2]
        bias = pointer(v)
        if (v.strides[0] !== 1 && v.size > 1) {
          const room = call.scratch as View
          const to = room.size - biasBytes(v)
          const copy = new Float32Array(room.data.buffer, room.data.byteOffset + room.offset + to, v.size)
          for (let i = 0; i < v.size; i++) copy[i] = v.data[v.offset + i * v.strides[0]] as number
          bias = copy.byteOffset
        }
      }
      products.multiply(inputs[0], inputs[1], c, scratchAt(call), {
        form,
        bias,
        residual: residual && inPlace ? pointer(residual) : 0,
      })
      if (residual && !inPlace)
        add({ op: 'add', inputs: [c, residual], outputs, attrs: {}, path: call.path, scratch: null })
    },
  }
}

/** `linear.vjp`: dx = dy·wᵀ, dw = xᵀ·dy over all rows, db = the column sums of dy, in double as every sum. */
export function linearBackwardEntry(products: Products, sum: Kernel): KernelEntry {
  return {
    strided: true,
    how: 'fused',
    scratch({ from: [x, w] }: GraphNode) {
      const [inputs, outputs] = w.shape
      const rows = product(x.shape.slice(0, -1))
      return Math.max(
        ...[products.scratch(rows, inputs, outputs), products.scratch(inputs, outputs, rows), 8 * outputs],
      )
    },
    run(call) {
      const { nIn, needed } = call.attrs as { nIn: number; needed?: readonly boolean[] }
      const [x, w] = call.inputs
      const dy = call.inputs[nIn + 1]
      const [dx, dw, db] = call.outputs
      const wants = (k: number): boolean => call.outputs[k]?.size > 0 && needed?.[k] !== false
      if (wants(0)) {
        const [rows, columns] = w.shape
        const transposed = { ...w, shape: [columns, rows], strides: [w.strides[1], w.strides[0]] }
        products.multiply(dy, transposed, dx, scratchAt(call))
      }
      if (wants(1)) products.multiplyRows(x, dy, dw, scratchAt(call))
      if (wants(2)) {
        const lead = dy.shape.slice(0, -1)
        const whole = {
          ...db,
          shape: [...lead.map(() => 1), db.shape[0]],
          strides: [...lead.map(() => db.size), 1],
        }
        const attrs = { axes: lead.map((_, i) => i), keepDims: true }
        sum({ op: 'sum', inputs: [dy], outputs: [whole], attrs, path: call.path, scratch: call.scratch })
      }
    },
  }
}
