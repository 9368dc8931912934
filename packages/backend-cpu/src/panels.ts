/**
 * Weights packed once. A right operand that is an input of the graph keeps a copy in panels from its second product on: a weight
 * that training replaces after every step is used once in each form and never pays for a copy, a model that runs again does pay,
 * once. Copies count as memory in use, die with their buffer, and give way when memory is short: products then pack as they go.
 */
import type { DeviceBuffer, View } from '@heed/tensor'
import { OutOfMemoryError } from './errors.js'
import { type Matrix, packedBytes, packPanels } from './product.js'
import type { Kernels } from './wasm.js'

/** One matrix seen in a buffer. */
interface Form {
  readonly offset: number
  readonly row: number
  readonly column: number
  readonly k: number
  readonly n: number
  uses: number
  /** Address of the copy, 0 without one. */
  at: number
  isPacked: boolean
  /** There was no room. */
  isRefused: boolean
}

/** Fewer columns would mostly be padding, and so small a matrix is packed in no time. */
const NARROW = 8
const SMALL = 1024

export class Panels {
  private readonly forms = new WeakMap<DeviceBuffer, Form[]>()
  private readonly held = new Set<Form>()
  /** Asked for in a run, when memory may not grow: to be had before the next. */
  private wanted: Form[] = []

  constructor(private readonly kernels: Kernels) {}

  /** Address of the packed copy of the matrix b[k, n] that `view` reads, or 0. Called for every product: it counts them. */
  find(view: View, b: Matrix, k: number, n: number): number {
    if (!view.buffer || n < NARROW || k * n < SMALL) return 0
    const form = this.formOf(view.buffer, view.offset, b, k, n)
    if (++form.uses < 2) return 0
    if (form.at === 0 && !form.isRefused) {
      form.at = this.kernels.memory.allocInPlace(packedBytes(this.kernels, k, n)) ?? 0
      if (form.at !== 0) this.held.add(form)
      else if (!this.wanted.includes(form)) this.wanted.push(form)
    }
    if (form.at !== 0 && !form.isPacked) {
      packPanels(this.kernels, k, n, b, form.at)
      form.isPacked = true
    }
    return form.at
  }

  private formOf(buffer: DeviceBuffer, offset: number, { row, column }: Matrix, k: number, n: number): Form {
    let list = this.forms.get(buffer)
    if (!list) {
      list = []
      this.forms.set(buffer, list)
    }
    const is = (f: Form): boolean =>
      f.offset === offset && f.row === row && f.column === column && f.k === k && f.n === n
    let form = list.find(is)
    if (!form) {
      form = { offset, row, column, k, n, uses: 0, at: 0, isPacked: false, isRefused: false }
      list.push(form)
    }
    return form
  }

  /** Makes room for what was asked for; memory may grow. */
  prepare(): void {
    for (const form of this.wanted.splice(0))
      try {
        form.at = this.kernels.memory.alloc(packedBytes(this.kernels, form.k, form.n))
        this.held.add(form)
      } catch (error) {
        if (!(error instanceof OutOfMemoryError)) throw error
        form.isRefused = true
      }
  }

  /** The buffer is gone, and so are its copies. */
  freed(buffer: DeviceBuffer): void {
    for (const form of this.forms.get(buffer) ?? []) this.drop(form)
    this.forms.delete(buffer)
  }

  /** Gives all copies back for good: others need the memory more. Says whether there were any. */
  giveWay(): boolean {
    const any = this.held.size > 0
    for (const form of this.held) {
      form.isRefused = true
      this.drop(form)
    }
    return any
  }

  private drop(form: Form): void {
    this.wanted = this.wanted.filter((f) => f !== form)
    if (!this.held.delete(form)) return
    this.kernels.memory.free(form.at)
    form.at = 0
    form.isPacked = false
  }
}
