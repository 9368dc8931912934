/** Matrix products: `matmul` is the primitive, `linear` a composite over it. */
import { DTypeError, ShapeError, showShape } from '../errors.js'
import { apply, type Op, type Tensor } from '../graph.js'
import { broadcastShapes } from '../shape.js'
import { composite, primitive } from './define.js'
import { add, unbroadcast } from './elementwise.js'
import { packedParts, quantizedLinear } from './quantized.js'
import { reshape, swapLast } from './shape.js'

const matmulOp: Op = primitive('matmul', {
  infer: ([a, b]) => {
    if (a.dtype !== 'f32' || b.dtype !== 'f32')
      throw new DTypeError(`operands are ${a.dtype} and ${b.dtype}, expected f32`)
    const [x, y] = [a.shape, b.shape]
    if (x.length < 2 || y.length < 2) throw new ShapeError('operands need at least two axes')
    if (x[x.length - 1] !== y[y.length - 2])
      throw new ShapeError(`inner sizes differ: ${x[x.length - 1]} columns against ${y[y.length - 2]} rows`)
    return {
      shape: [...broadcastShapes(x.slice(0, -2), y.slice(0, -2)), x[x.length - 2], y[y.length - 1]],
      dtype: 'f32',
    }
  },
  vjp: (dy, [a, b]) => [
    unbroadcast(matmul(dy, swapLast(b)), a.shape),
    // a matrix shared by the whole batch: one product over all rows instead of a batch of products that is summed
    b.rank === 2 && a.rank > 2
      ? matmul(swapLast(reshape(a, [-1, a.shape[a.rank - 1]])), reshape(dy, [-1, dy.shape[dy.rank - 1]]))
      : unbroadcast(matmul(swapLast(a), dy), b.shape),
  ],
})
/** torch.matmul: batch axes broadcast, a 1-D operand is a vector; `transposeX`, `transposeY` swap the last two axes. */
export function matmul(
  x: Tensor,
  y: Tensor,
  options: { transposeX?: boolean; transposeY?: boolean } = {},
): Tensor {
  if (x.rank === 0 || y.rank === 0)
    throw new ShapeError(
      `matmul: operands ${showShape(x.shape)} and ${showShape(y.shape)}: a scalar is no matrix; use mul`,
    )
  const packed = packedParts(y)
  // the product with a quantised weight along its inputs
  if (packed && packed.attrs.outAxis === (options.transposeY ? 0 : 1))
    return quantizedLinear(options.transposeX && x.rank > 1 ? swapLast(x) : x, packed)
  let a = x.rank === 1 ? reshape(x, [1, x.shape[0]]) : x
  let b = y.rank === 1 ? reshape(y, [y.shape[0], 1]) : y
  if (options.transposeX) a = swapLast(a)
  if (options.transposeY) b = swapLast(b)
  // rows of a whole batch against one matrix are one product
  const flat =
    a.rank > 2 &&
    b.rank === 2 &&
    a.shape[a.rank - 1] === b.shape[0] &&
    !options.transposeX &&
    a.shape[a.rank - 1] > 0
  const out = flat
    ? reshape(apply(matmulOp, [reshape(a, [a.size / a.shape[a.rank - 1], a.shape[a.rank - 1]]), b]), [
        ...a.shape.slice(0, -1),
        b.shape[1],
      ])
    : apply(matmulOp, [a, b])
  if (x.rank > 1 && y.rank > 1) return out
  const shape = [...out.shape]
  if (y.rank === 1) shape.splice(shape.length - 1, 1)
  if (x.rank === 1) shape.splice(shape.length - (y.rank === 1 ? 1 : 2), 1)
  return reshape(out, shape)
}

const buildLinear = composite('linear', {
  infer: ([x, weight, bias]) => {
    if (weight.shape.length !== 2)
      throw new ShapeError(`the weight is ${showShape(weight.shape)}, expected [in, out]`)
    if (x.shape.length === 0 || x.shape[x.shape.length - 1] !== weight.shape[0])
      throw new ShapeError(
        `the last axis of x is ${x.shape[x.shape.length - 1]}, the weight takes ${weight.shape[0]}`,
      )
    if (bias && (bias.shape.length !== 1 || bias.shape[0] !== weight.shape[1]))
      throw new ShapeError(`the bias is ${showShape(bias.shape)}, expected [${weight.shape[1]}]`)
    return { shape: [...x.shape.slice(0, -1), weight.shape[1]], dtype: 'f32' }
  },
  body: ([x, weight, bias]) => {
    const y = matmul(x, weight)
    return [bias ? add(y, bias) : y]
  },
})
/**
 * x · weight + bias with weight [in, out] (a matrix of row vectors, as in x W + b).
 * PyTorch's nn.Linear stores the transpose: pass `transpose(weight)`.
 */
export function linear(x: Tensor, weight: Tensor, bias?: Tensor): Tensor {
  const packed = packedParts(weight)
  if (packed?.attrs.outAxis === 1) return quantizedLinear(x, packed, bias)
  return buildLinear(bias ? [x, weight, bias] : [x, weight])[0]
}
