/** Views as GLSL: which element of each operand belongs to element o of the result. */
import { type Shape, broadcastStrides as stridesAs } from '@heed/tensor'
import type { Value } from './plan.js'

/** Strides with which a view is read in a broader shape. */
export const broadcastStrides = (v: Pick<Value, 'shape' | 'strides'>, shape: Shape): number[] =>
  stridesAs(v.shape, v.strides, shape)

/** Axes that all operands can walk as one, merged; at least one is left. */
export function collapse(
  shape: Shape,
  operands: readonly (readonly number[])[],
): { dims: number[]; strides: number[][] } {
  const dims: number[] = []
  const strides: number[][] = operands.map(() => [])
  for (let i = 0; i < shape.length; i++) {
    if (shape[i] === 1) continue
    const last = dims.length - 1
    if (last >= 0 && operands.every((s, k) => strides[k][last] === s[i] * shape[i])) {
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
    dims.push(1)
    for (const s of strides) s.push(0)
  }
  return { dims, strides }
}

export interface Walk {
  /** Defines `void NAME(int o, out int a0, out int a1, …)`, and the uniforms it reads. */
  readonly code: string
  readonly ints: Readonly<Record<string, number>>
  /** How many axes are left: part of the program's text. */
  readonly rank: number
}
/**
 * GLSL that turns a flat index into elements of operands. `shape` says what the index counts, each operand has an offset
 * and strides along it. The number of axes is in the text, sizes and strides are uniforms.
 */
export function walk(
  name: string,
  shape: Shape,
  operands: readonly { readonly offset: number; readonly strides: readonly number[] }[],
): Walk {
  const { dims, strides } = collapse(
    shape,
    operands.map((o) => o.strides),
  )
  const rank = dims.length
  const ints: Record<string, number> = {}
  const places = operands.map((_, k) => `a${k}`)
  const lines = [`void ${name}(int o, ${places.map((a) => `out int ${a}`).join(', ')}) {`, '  int q, i;']
  operands.forEach((operand, k) => {
    ints[`${name}_o${k}`] = operand.offset
    lines.push(`  a${k} = ${name}_o${k};`)
  })
  for (let d = rank - 1; d >= 0; d--) {
    if (d > 0) {
      ints[`${name}_d${d}`] = dims[d]
      lines.push(`  q = o / ${name}_d${d}; i = o - q * ${name}_d${d}; o = q;`)
    } else lines.push('  i = o;')
    places.forEach((a, k) => {
      ints[`${name}_s${k}_${d}`] = strides[k][d]
      lines.push(`  ${a} += i * ${name}_s${k}_${d};`)
    })
  }
  lines.push('}')
  return { code: lines.join('\n'), ints, rank }
}
