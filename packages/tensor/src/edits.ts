/**
 * Edits as data: the JSON dialect that sliders, permalinks, reports and tests share. Each entry compiles to a map from
 * tensor to tensor; unknown fields and impossible selections are errors, never ignored.
 */

import { tensor } from './create.js'
import { checkOptions, ShapeError, showShape, TapError } from './errors.js'
import type { Tensor } from './graph.js'
import { add, equal, logicalAnd, logicalOr, mul, sub, where } from './ops/elementwise.js'
import { sum } from './ops/reduce.js'
import { broadcastTo, iota, reshape } from './ops/shape.js'
import type { EditFn } from './taps.js'

export interface JsonEdit {
  /** Tap name or glob. */
  readonly at: string
  /**
   * scale: x·value (0 ablates); add: x + value; set: value; project: the direction `value` taken out of x. Scores that the
   * mask hides (−∞) stay so under all of them but set.
   */
  readonly op: 'scale' | 'add' | 'set' | 'project'
  /** A number, or a vector along the last axis (needed for project). */
  readonly value: number | readonly number[]
  /** Only these heads; all without it. Needs a tap with a head axis. */
  readonly head?: number | readonly number[]
  /** Only these positions (queries of scores and pattern): indices, negative from the end, or 'last'. */
  readonly pos?: number | 'last' | readonly number[]
  /** Only these keys, for scores and pattern. */
  readonly key?: number | readonly number[]
}

const OPS = ['scale', 'add', 'set', 'project']

/** Compiles one edit; the selection is checked when the tap fires. */
export function compileEdit(edit: JsonEdit): EditFn {
  if (typeof edit.at !== 'string')
    throw new TapError(`edit: 'at' is missing; name a tap, as in { at: 'blocks.0.attn.z', … }`)
  checkOptions(`edit at ${edit.at}`, edit, ['at', 'op', 'value', 'head', 'pos', 'key'])
  if (!OPS.includes(edit.op))
    throw new TapError(`edit at ${edit.at}: op '${edit.op}' is unknown; use ${OPS.join(', ')}`)
  if (typeof edit.value !== 'number' && !Array.isArray(edit.value))
    throw new TapError(`edit at ${edit.at}: 'value' is missing; give a number or a list`)
  if (edit.op === 'project' && !Array.isArray(edit.value))
    throw new TapError(`edit at ${edit.at}: project takes a direction, a list of numbers`)
  return (x, name) => {
    const mask = selection(edit, x, name)
    // scores that the mask hid stay hidden (0 · −∞ is no number), unless they are set
    const hidden = SCORES.test(name) && edit.op !== 'set' ? equal(x, Number.NEGATIVE_INFINITY) : null
    const seen = changed(edit, hidden ? where(hidden, 0, x) : x, name)
    const y = hidden ? where(hidden, x, seen) : seen
    return mask ? where(mask, y, x) : y
  }
}

function changed(edit: JsonEdit, x: Tensor, name: string): Tensor {
  const d = x.shape[x.rank - 1]
  const { value } = edit
  if (Array.isArray(value) && value.length !== d)
    throw new ShapeError(
      `edit at ${name}: value has ${value.length} numbers, the last axis of ${showShape(x.shape)} has ${d}`,
    )
  const v = typeof value === 'number' ? value : tensor(value as number[])
  if (edit.op === 'scale') return mul(x, v)
  if (edit.op === 'add') return add(x, v)
  if (edit.op === 'set') return broadcastTo(v, x.shape)
  const direction = value as readonly number[]
  const length = Math.hypot(...direction)
  if (length === 0) throw new TapError(`edit at ${name}: the direction to project out is zero`)
  const unit = tensor(direction.map((a) => a / length))
  return sub(x, mul(sum(mul(x, unit), { axes: -1, keepDims: true }), unit))
}

const HEAD_TAP = /(^|\.)(q|k|v|rot_q|rot_k|z|result|scores|pattern)$/
const SCORES = /(^|\.)scores$/
const MATRIX_TAP = /(^|\.)(scores|pattern)$/

function selection(edit: JsonEdit, x: Tensor, name: string): Tensor | null {
  let mask: Tensor | null = null
  const pick = (axis: number, which: readonly number[], what: string): void => {
    const size = x.shape[axis]
    const at = which.map((i) => (i < 0 ? i + size : i))
    if (at.some((i) => !Number.isInteger(i) || i < 0 || i >= size))
      throw new TapError(
        `edit at ${name}: ${what} ${which.join(', ')} of ${size}; they run from 0 to ${size - 1}`,
      )
    const index = iota(size, { dtype: 'i32' })
    const hit = at.map((i) => equal(index, i)).reduce(logicalOr, equal(index, -1))
    const shaped = reshape(
      hit,
      x.shape.map((_, i) => (i === axis ? size : 1)),
    )
    mask = mask ? logicalAnd(mask, shaped) : shaped
  }
  const list = (v: number | readonly number[]): readonly number[] => (typeof v === 'number' ? [v] : v)
  const hasHeads = HEAD_TAP.test(name) && x.rank === 4
  if (edit.head !== undefined) {
    if (!hasHeads)
      throw new TapError(
        `edit at ${name}: ${showShape(x.shape)} has no head axis; edit attn.z, q, k, v, result, scores or pattern`,
      )
    pick(1, list(edit.head), 'head')
  }
  if (edit.pos !== undefined) pick(hasHeads ? 2 : 1, edit.pos === 'last' ? [-1] : list(edit.pos), 'position')
  if (edit.key !== undefined) {
    if (!MATRIX_TAP.test(name)) throw new TapError(`edit at ${name}: only scores and pattern have a key axis`)
    pick(3, list(edit.key), 'key')
  }
  return mask
}
