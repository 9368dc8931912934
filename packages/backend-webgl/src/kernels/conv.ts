/** Convolution: windows side by side as columns of a matrix, padding and all, then one product. */
import { type GraphNode, sizeOf, stridesOf } from '@heed/tensor'
import type { Kernel, Planner, Value } from '../plan.js'
import { as, lanesOf, product, turned } from './matmul.js'
import { reduce } from './reduce.js'

interface Conv {
  readonly ints: Readonly<Record<string, number>>
  readonly batch: number
  readonly groups: number
  /** Rows of a group's weight, terms of a sum, places of a window. */
  readonly out: number
  readonly terms: number
  readonly places: number
  /** Windows of one element at every position: the image is its own columns. */
  readonly isPointwise: boolean
}
function convOf({ attrs }: GraphNode, x: Value, w: Value, y: readonly number[]): Conv {
  const { stride, padding, dilation, groups } = attrs as Record<
    'stride' | 'padding' | 'dilation',
    number[]
  > & {
    groups: number
  }
  const [batch, channels, height, width] = x.shape
  const [out, inPerGroup, kernelH, kernelW] = w.shape
  const [outH, outW] = y.slice(2)
  return {
    ints: {
      ...{ channels, height, width, kernelH, kernelW, outH, outW },
      ...{ strideH: stride[0], strideW: stride[1], padH: padding[0], padW: padding[1] },
      ...{ stepH: dilation[0], stepW: dilation[1] },
    },
    batch,
    groups,
    out: out / groups,
    terms: inPerGroup * kernelH * kernelW,
    places: outH * outW,
    isPointwise: [kernelH, kernelW, ...stride].every((n) => n === 1) && padding.every((n) => n === 0),
  }
}
/** An array in row-major order as [batch, group, rows, columns]. */
const matrices = (planner: Planner, v: Value, shape: readonly number[]): Value => {
  const whole = planner.contiguous(v)
  return { ...whole, shape, strides: stridesOf(shape) }
}
/** [batch, group, term, place] */
function columnsOf(planner: Planner, c: Conv, x: Value): Value {
  const shape = [c.batch, c.groups, c.terms, c.places]
  if (c.isPointwise) return matrices(planner, x, shape)
  const [s0, s1, s2, s3] = x.strides
  return planner.draw({
    code: `float value(int o) {
  int q = o / outW; int ox = o - q * outW; o = q;
  q = o / outH; int oy = o - q * outH; o = q;
  q = o / kernelW; int kx = o - q * kernelW; o = q;
  q = o / kernelH; int ky = o - q * kernelH; o = q;
  int b = o / channels; int c = o - b * channels;
  int i = oy * strideH + ky * stepH - padH;
  int j = ox * strideW + kx * stepW - padW;
  if (i < 0 || i >= height || j < 0 || j >= width) return 0.0;
  return at0(from + b * s0 + c * s1 + i * s2 + j * s3);
}`,
    inputs: [x],
    ints: { ...c.ints, from: x.offset, s0, s1, s2, s3 },
    shape,
    dtype: 'f32',
  })
}
/** [1, group, out, term] */
const rowsOf = (planner: Planner, c: Conv, w: Value): Value =>
  matrices(planner, w, [1, c.groups, c.out, c.terms])

const conv2d: Kernel = {
  largest: (node) => largest(node),
  plan: (node, [x, w, b], planner) => {
    const { shape } = node.to[0]
    const c = convOf(node, x, w, shape)
    const epilogue = b && {
      code: (first: number, four: boolean) => {
        const { type } = lanesOf(four)
        return `${type} finish(${type} acc, int group, int i, int j) { return acc + at${first}(bias + (group % groups * M + i) * biasStep); }`
      },
      inputs: [b],
      ints: { bias: b.offset, biasStep: b.strides[0], groups: c.groups },
    }
    const y = product(planner, rowsOf(planner, c, w), columnsOf(planner, c, x), [c.batch, c.groups], {
      epilogue,
    })
    return [as(y, shape)]
  },
}
/** dW = Σ dy·columnsᵀ over the batch; Wᵀ·dy are the cotangents of the columns, which dx gathers; db = Σ dy. */
const conv2dVjp: Kernel = {
  largest: (node) => largest(node),
  plan: (node, inputs, planner) => {
    const [x, w] = inputs
    const given = inputs[inputs.length - 1]
    const c = convOf(node, x, w, given.shape)
    const lead = [c.batch, c.groups]
    const dy = matrices(planner, given, [...lead, c.out, c.places])
    const dColumns = product(planner, turned(rowsOf(planner, c, w)), dy, lead)
    const dx = c.isPointwise
      ? as(dColumns, x.shape)
      : planner.draw({
          code: `float value(int o) {
  int q = o / width; int j = o - q * width + padW; o = q;
  q = o / height; int i = o - q * height + padH; o = q;
  float y = 0.0;
  for (int ky = 0; ky < kernelH; ky++) {
    int p = i - ky * stepH; int oy = p / strideH;
    if (p < 0 || oy * strideH != p || oy >= outH) continue;
    for (int kx = 0; kx < kernelW; kx++) {
      int r = j - kx * stepW; int ox = r / strideW;
      if (r < 0 || ox * strideW != r || ox >= outW) continue;
      y += at0((((o * kernelH + ky) * kernelW + kx) * outH + oy) * outW + ox);
    }
  }
  return y;
}`,
          inputs: [dColumns],
          ints: c.ints,
          shape: x.shape,
          dtype: 'f32',
        })
    const each = product(planner, dy, turned(columnsOf(planner, c, x)), lead)
    const over = (v: Value, axes: readonly number[], shape: readonly number[]): Value =>
      as(planner.contiguous(reduce(planner, 'sum', v, axes)), shape)
    const results = [dx, over(each, [0], w.shape)]
    if ((node.attrs.nIn as number) > 2) results.push(over(given, [0, 2, 3], inputs[2].shape))
    return results
  },
}
/** The columns. */
const largest = ({ from, to }: GraphNode): number => {
  const [x, w] = from
  const [batch, , outH, outW] = (to.length === 1 ? to[0] : from[from.length - 1]).shape
  return batch * x.shape[1] * sizeOf(w.shape.slice(2)) * outH * outW
}

export const convKernels = { conv2d, 'conv2d.vjp': conv2dVjp } satisfies Record<string, Kernel>
