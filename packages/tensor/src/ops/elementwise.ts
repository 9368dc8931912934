/**
 * Elementwise arithmetic: one row per op, with NumPy broadcasting. Comparisons give bool; nothing promotes dtypes.
 */
import type { DType } from '../dtype.js'
import { DTypeError } from '../errors.js'
import { type Attrs, apply, type Op, type Spec, type Tensor } from '../graph.js'
import { broadcastShapes, type Shape, sameShape } from '../shape.js'
import { lift, like, type Operand, primitive, requireCompute } from './define.js'
import type { PrimitiveName } from './primitives.js'
import { sum } from './reduce.js'
import { reshape } from './shape.js'

/** Sums a cotangent over the axes along which its tensor was broadcast. */
export function unbroadcast(dy: Tensor, shape: Shape): Tensor {
  if (sameShape(dy.shape, shape)) return dy
  const lead = dy.rank - shape.length
  const axes: number[] = []
  for (let i = 0; i < dy.rank; i++) if (i < lead || (shape[i - lead] === 1 && dy.shape[i] !== 1)) axes.push(i)
  return reshape(axes.length > 0 ? sum(dy, { axes }) : dy, shape)
}

const fit = (gs: readonly (Tensor | null)[], inputs: readonly Tensor[]): (Tensor | null)[] =>
  gs.map((g, i) => g && unbroadcast(g, inputs[i].shape))

function sameDType(inputs: readonly Spec[]): DType {
  requireCompute(inputs)
  const [a, b] = inputs
  if (a.dtype !== b.dtype)
    throw new DTypeError(`operands are ${a.dtype} and ${b.dtype}; cast one of them, there is no promotion`)
  return a.dtype
}

type BinaryRule = (dy: Tensor, a: Tensor, b: Tensor, y: Tensor) => (Tensor | null)[]

function arithmetic(name: PrimitiveName, rule: BinaryRule): (a: Operand, b: Operand) => Tensor {
  const op = primitive(name, {
    infer: (inputs) => {
      const dtype = sameDType(inputs)
      if (dtype === 'bool')
        throw new DTypeError(`bool operands have no arithmetic; cast(x, 'f32') or use logicalAnd, logicalOr`)
      return { shape: broadcastShapes(inputs[0].shape, inputs[1].shape), dtype }
    },
    vjp: (dy, inputs, y) => fit(rule(dy, inputs[0], inputs[1], y), inputs),
  })
  return (a, b) => apply(op, [lift(a, b), lift(b, a)])
}

function comparison(name: PrimitiveName): (a: Operand, b: Operand) => Tensor {
  const op = primitive(name, {
    infer: (inputs) => {
      sameDType(inputs)
      return { shape: broadcastShapes(inputs[0].shape, inputs[1].shape), dtype: 'bool' }
    },
  })
  return (a, b) => apply(op, [lift(a, b), lift(b, a)])
}

function unary(
  name: PrimitiveName,
  rule: ((dy: Tensor, x: Tensor, y: Tensor) => Tensor) | null,
  dtypes: DType[] = ['f32'],
): (x: Operand) => Tensor {
  const op: Op = primitive(name, {
    infer: ([x]) => {
      if (!dtypes.includes(x.dtype))
        throw new DTypeError(`takes ${dtypes.join(' or ')}, got ${x.dtype}; cast(x, 'f32') first`)
      return like(x)
    },
    ...(rule ? { vjp: (dy, [x], y) => [rule(dy, x, y)] } : {}),
  })
  return (x) => apply(op, [lift(x)])
}

/** a + b */
export const add = arithmetic('add', (dy) => [dy, dy])
/** a − b */
export const sub = arithmetic('sub', (dy) => [dy, neg(dy)])
/** a · b, elementwise */
export const mul = arithmetic('mul', (dy, a, b) => [mul(dy, b), mul(dy, a)])
/** a / b; for i32 the quotient is truncated towards zero */
export const div = arithmetic('div', (dy, _, b, y) => [div(dy, b), neg(div(mul(dy, y), b))])
/** a to the power b, as IEEE 754 has it: pow(1, NaN) = 1, pow(±1, ±∞) = 1 (JavaScript gives NaN) */
export const pow = arithmetic('pow', (dy, a, b, y) => [
  // b = 0 has gradient 0 also at a = 0, where a^(b−1) is infinite
  where(equal(b, 0), 0, mul(dy, mul(b, pow(a, sub(b, 1))))),
  // 0^b for b ≥ 0 does not change with b; its logarithm must not leak a NaN, nor must an infinity that is not chosen
  // (in second order)
  mul(
    dy,
    where(equal(a, 0), where(less(b, 0), Number.NEGATIVE_INFINITY, 0), mul(y, log(where(equal(a, 0), 1, a)))),
  ),
])
/** The larger; NaN wins, a tie gives each side half the gradient */
export const maximum = arithmetic('maximum', (dy, a, b) => {
  const share = where(less(b, a), 1, where(less(a, b), 0, 0.5))
  return [mul(dy, share), mul(dy, sub(1, share))]
})
/** The smaller; NaN wins, a tie gives each side half the gradient */
export const minimum = (a: Operand, b: Operand): Tensor => {
  const x = lift(a, b)
  const y = lift(b, a)
  return neg(maximum(neg(x), neg(y)))
}

/** a < b */
export const less = comparison('less')
/** a ≤ b */
export const lessEqual = comparison('lessEqual')
/** a = b (false with NaN) */
export const equal = comparison('equal')
/** a > b */
export const greater = (a: Operand, b: Operand): Tensor => less(lift(b, a), lift(a, b))
/** a ≥ b */
export const greaterEqual = (a: Operand, b: Operand): Tensor => lessEqual(lift(b, a), lift(a, b))
/** a ≠ b (true with NaN) */
export const notEqual = (a: Operand, b: Operand): Tensor => logicalNot(equal(a, b))

const whereOp: Op = primitive('where', {
  infer: (inputs) => {
    const [c, a, b] = inputs
    requireCompute(inputs)
    if (c.dtype !== 'bool')
      throw new DTypeError(`the condition is ${c.dtype}, expected bool; compare it first, as in less(0, c)`)
    if (a.dtype !== b.dtype)
      throw new DTypeError(`the choices are ${a.dtype} and ${b.dtype}; cast one of them`)
    return { shape: broadcastShapes(broadcastShapes(c.shape, a.shape), b.shape), dtype: a.dtype }
  },
  vjp: (dy, inputs) => fit([null, where(inputs[0], dy, 0), where(inputs[0], 0, dy)], inputs),
})
/** condition ? a : b, all three broadcast. Nothing leaks from the side that is not chosen. */
export function where(condition: Tensor, a: Operand | boolean, b: Operand | boolean): Tensor {
  return apply(whereOp, [condition, lift(a, b), lift(b, a)])
}

/** not x, on bool */
export const logicalNot = (x: Tensor): Tensor => equal(x, lift(false))
/** a and b, on bool */
export const logicalAnd = (a: Tensor, b: Tensor): Tensor => where(a, b, lift(false))
/** a or b, on bool */
export const logicalOr = (a: Tensor, b: Tensor): Tensor => where(a, lift(true), b)

/** −x */
export const neg = unary('neg', (dy) => neg(dy), ['f32', 'i32'])
/** eˣ */
export const exp = unary('exp', (dy, _, y) => mul(dy, y))
/** eˣ − 1, exact near 0 */
export const expm1 = unary('expm1', (dy, _, y) => mul(dy, add(y, 1)))
/** Natural logarithm; log(0) = −∞, log of a negative number NaN */
export const log = unary('log', (dy, x) => div(dy, x))
/** log(1 + x), exact near 0 */
export const log1p = unary('log1p', (dy, x) => div(dy, add(x, 1)))
/** Square root */
export const sqrt = unary('sqrt', (dy, _, y) => div(mul(dy, 0.5), y))
/** Sine of an angle in radians */
export const sin = unary('sin', (dy, x) => mul(dy, cos(x)))
/** Cosine of an angle in radians */
export const cos = unary('cos', (dy, x) => neg(mul(dy, sin(x))))
/** Hyperbolic tangent */
export const tanh = unary('tanh', (dy, _, y) => mul(dy, sub(1, mul(y, y))))
/** Error function 2/√π ∫₀ˣ e^(−t²) dt */
export const erf = unary('erf', (dy, x) => mul(dy, mul(2 / Math.sqrt(Math.PI), exp(neg(mul(x, x))))))
/** Largest integer ≤ x; gradient zero */
export const floor = unary('floor', null)

/** |x|; gradient 0 at 0 */
export const abs = (x: Tensor): Tensor => maximum(x, neg(x))
/** Smallest integer ≥ x */
export const ceil = (x: Tensor): Tensor => neg(floor(neg(x)))
/** x without its fraction */
export const trunc = (x: Tensor): Tensor => where(less(x, 0), ceil(x), floor(x))
/** −1, 0 or 1; 0 for NaN, as PyTorch has it; gradient zero */
export const sign = (x: Tensor): Tensor => where(less(0, x), 1, where(less(x, 0), -1, 0))
/** To the nearest integer, ties to even (`Math.round` differs); gradient zero */
export function round(x: Tensor): Tensor {
  const low = floor(x)
  const rest = sub(x, low)
  const half = floor(mul(low, 0.5))
  const even = equal(add(half, half), low)
  return where(less(rest, 0.5), low, where(less(0.5, rest), add(low, 1), where(even, low, add(low, 1))))
}
/** 1 / x */
export const reciprocal = (x: Tensor): Tensor => div(1, x)
/** x · x */
export const square = (x: Tensor): Tensor => mul(x, x)
/** 1 / √x */
export const rsqrt = (x: Tensor): Tensor => div(1, sqrt(x))
/** 2ˣ */
export const exp2 = (x: Tensor): Tensor => pow(2, x)
/** Logarithm to base 2 */
export const log2 = (x: Tensor): Tensor => mul(log(x), Math.LOG2E)
/** Tangent of an angle in radians */
export const tan = (x: Tensor): Tensor => div(sin(x), cos(x))
/** x limited to [lo, hi]; gradient 1 inside and at the bounds, 0 outside */
export function clamp(x: Tensor, options: { lo?: number; hi?: number }): Tensor {
  let y = x
  if (options.lo !== undefined) y = where(less(y, options.lo), options.lo, y)
  if (options.hi !== undefined) y = where(less(options.hi, y), options.hi, y)
  return y
}

const castOp: Op = primitive('cast', {
  infer: ([x], attrs: Attrs) => ({ shape: x.shape, dtype: attrs.to as DType }),
  vjp: (dy, [x]) => [x.dtype === 'f32' ? dy : null],
})
/**
 * Another dtype. f32 → i32, i8: truncation towards zero; → bool: x ≠ 0; → f16, bf16: nearest, ties to even.
 * The gradient passes between f32 tensors only.
 */
export function cast(x: Tensor, to: DType): Tensor {
  return x.dtype === to ? x : apply(castOp, [x], { to })
}
