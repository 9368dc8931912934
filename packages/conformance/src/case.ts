/** What a conformance case is: how to build it afresh, and what it stands for. Nothing here knows a backend. */
import {
  add,
  grad,
  mul,
  type SliceRange,
  slice,
  sum,
  type Tensor,
  type TypedArray,
  tensor,
  transpose,
} from '@heed/tensor'
import { halves, type Input, normal, sizeOf, stream, valuesOf } from './draw.js'
import type { Family } from './tolerances.js'

/** A case as its author writes it. */
export interface CaseSpec {
  readonly name: string
  readonly inputs: readonly Input[]
  /** Builds the outputs. */
  readonly run: (...inputs: Tensor[]) => Tensor | readonly Tensor[]
  /** Compare gradients with respect to every f32 input. Default true. */
  readonly gradient?: boolean
  /** Another family than the op's. */
  readonly family?: Family
  /** Also with inputs that are views of other memory. Default true. */
  readonly layouts?: boolean
}

/** How inputs lie in memory: as they are, with reversed axes, or backwards in every second place. */
export type Layout = 'plain' | 'permuted' | 'strided'

export interface Built {
  readonly outputs: readonly Tensor[]
  /** Gradients of Σ ⟨output, seed⟩ with respect to every f32 input; empty when the case has none. */
  readonly gradients: readonly Tensor[]
}

export interface Case {
  /** `op/name`, with the layout behind it when it is not plain. */
  readonly name: string
  readonly op: string
  readonly kind: 'primitive' | 'composite' | 'function'
  readonly family: Family
  readonly hasGradient: boolean
  /**
   * Fresh leaves and a fresh graph over them: tensors remember their values, so each backend needs its own. `plain`
   * takes the same values in row-major order, for the oracle: it must not share a mistake about strides. `half` rounds all
   * values to half precision first: what a backend that stores halves is given, so that its oracle is given the same.
   */
  build(options?: { plain?: boolean; half?: boolean }): Built
  /**
   * The derivative along a fixed random direction of all f32 inputs, once by the gradient and once by two values a
   * step of `h` to both sides: (plus − minus)/2h. For a backend in double precision.
   */
  slope(h: number): Slope
}

/** What a finite difference compares: scalars. */
export interface Slope {
  readonly along: Tensor
  readonly plus: Tensor
  readonly minus: Tensor
}

/** Every case of one op, in each layout. */
export function casesOf(op: string, kind: Case['kind'], family: Family, specs: readonly CaseSpec[]): Case[] {
  return specs.flatMap((spec) => {
    const widest = Math.max(0, ...spec.inputs.map((i) => i.shape.length))
    const layouts: Layout[] = ['plain']
    if (spec.layouts ?? true) {
      if (widest > 1) layouts.push('permuted')
      if (widest > 0) layouts.push('strided')
    }
    return layouts.map((layout) => one(op, kind, spec.family ?? family, spec, layout))
  })
}

function one(op: string, kind: Case['kind'], family: Family, spec: CaseSpec, layout: Layout): Case {
  const seed = `${op}/${spec.name}`
  const hasGradient = (spec.gradient ?? true) && spec.inputs.some((i) => i.dtype === 'f32')
  return {
    name: layout === 'plain' ? seed : `${seed} (${layout})`,
    op,
    kind,
    family,
    hasGradient,
    build(options) {
      const as = options?.plain ? 'plain' : layout
      const half = options?.half ?? false
      const inputs = spec.inputs.map((input, i) => {
        const values = valuesOf(input, `${seed}#${i}`)
        return placed(input, half && input.dtype === 'f32' ? halves(values as Float32Array) : values, as)
      })
      const outputs = outputsOf(spec, inputs)
      if (!hasGradient) return { outputs, gradients: [] }
      const { losses, seeds } = lossesOf(outputs, seed, half)
      const wrt = inputs.filter((t) => t.dtype === 'f32')
      return { outputs, gradients: grad(losses, wrt, { seed: seeds, unused: 'zero' }) }
    },
    slope(h) {
      const inputs = spec.inputs.map((input, i) => placed(input, valuesOf(input, `${seed}#${i}`), layout))
      const directions = inputs.map((t, i) => cotangent(t.shape, `${seed}#direction${i}`))
      const lossAt = (by: number): Tensor => {
        const moved = inputs.map((t, i) => (t.dtype === 'f32' ? add(t, mul(directions[i], by)) : t))
        const { losses, seeds } = lossesOf(outputsOf(spec, moved), seed)
        return total(losses.map((y, i) => mul(y, seeds[i])))
      }
      const { losses, seeds } = lossesOf(outputsOf(spec, inputs), seed)
      const floats = inputs.flatMap((t, i) => (t.dtype === 'f32' ? [i] : []))
      const gradients = grad(
        losses,
        floats.map((i) => inputs[i]),
        { seed: seeds, unused: 'zero' },
      )
      return {
        along: total(gradients.map((g, k) => mul(g, directions[floats[k]]))),
        plus: lossAt(h),
        minus: lossAt(-h),
      }
    },
  }
}

function outputsOf(spec: CaseSpec, inputs: readonly Tensor[]): readonly Tensor[] {
  const made = spec.run(...inputs)
  return Array.isArray(made) ? (made as readonly Tensor[]) : [made as Tensor]
}
function lossesOf(
  outputs: readonly Tensor[],
  seed: string,
  half = false,
): { losses: Tensor[]; seeds: Tensor[] } {
  const losses = outputs.filter((t) => t.dtype === 'f32')
  return { losses, seeds: losses.map((t, i) => cotangent(t.shape, `${seed}#seed${i}`, half)) }
}
const total = (parts: readonly Tensor[]): Tensor => parts.map((p) => sum(p)).reduce((a, b) => add(a, b))

function cotangent(shape: readonly number[], seed: string, half = false): Tensor {
  const next = stream(seed)
  const values = Float32Array.from({ length: sizeOf(shape) }, () => normal(next))
  return tensor(half ? halves(values) : values, { shape })
}

/** Stands between the elements of a strided view: whoever reads it is found out. */
const POISON: Partial<Record<Input['dtype'], number>> = { f32: Number.NaN, i32: -1_000_000 }

/** A tensor of these values whose memory is laid out otherwise. */
function placed(input: Input, values: TypedArray, layout: Layout): Tensor {
  const { shape, dtype } = input
  const rank = shape.length
  const data = values as Float32Array<ArrayBuffer>
  if (layout === 'permuted' && rank > 1) {
    const back = shape.map((_, i) => rank - 1 - i)
    const turned = reversedAxes(data, shape)
    return transpose(tensor(turned, { shape: back.map((i) => shape[i]), dtype }), back)
  }
  if (layout === 'strided' && rank > 0) {
    const n = shape[rank - 1]
    const spread = new (data.constructor as Float32ArrayConstructor)(data.length * 2).fill(POISON[dtype] ?? 1)
    for (let i = 0; i < data.length; i++) {
      const row = Math.floor(i / n)
      spread[row * 2 * n + 2 * n - 1 - 2 * (i - row * n)] = data[i]
    }
    const ranges: SliceRange[] = shape.map((_, i) => (i === rank - 1 ? [null, null, -2] : null))
    return slice(tensor(spread, { shape: [...shape.slice(0, -1), 2 * n], dtype }), ranges)
  }
  return tensor(data, { shape, dtype })
}

function reversedAxes(data: Float32Array, shape: readonly number[]): Float32Array<ArrayBuffer> {
  const out = new (data.constructor as Float32ArrayConstructor)(data.length)
  const rank = shape.length
  for (let flat = 0; flat < data.length; flat++) {
    let rest = flat
    let to = 0
    const at = new Array<number>(rank)
    for (let d = rank - 1; d >= 0; d--) {
      at[d] = rest % shape[d]
      rest = Math.floor(rest / shape[d])
    }
    for (let d = rank - 1; d >= 0; d--) to = to * shape[d] + at[d]
    out[to] = data[flat]
  }
  return out
}

export const normals = (...shape: number[]): Input => ({ shape, draw: 'normal', dtype: 'f32' })
export const positives = (...shape: number[]): Input => ({ shape, draw: 'positive', dtype: 'f32' })
export const away0 = (...shape: number[]): Input => ({ shape, draw: 'away0', dtype: 'f32' })
export const distinct = (...shape: number[]): Input => ({ shape, draw: 'distinct', dtype: 'f32' })
export const wholes = (...shape: number[]): Input => ({ shape, draw: 'whole', dtype: 'f32' })
export const probabilities = (...shape: number[]): Input => ({ shape, draw: 'probabilities', dtype: 'f32' })
export const integers = (...shape: number[]): Input => ({ shape, draw: 'whole', dtype: 'i32' })
export const ids = (below: number, ...shape: number[]): Input => ({ shape, draw: 'ids', dtype: 'i32', below })
export const bools = (...shape: number[]): Input => ({ shape, draw: 'bools', dtype: 'bool' })
export const given = (dtype: Input['dtype'], shape: number[], values: number[]): Input => ({
  shape,
  draw: 'normal',
  dtype,
  values,
})
