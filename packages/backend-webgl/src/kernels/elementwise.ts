/** Element by element, over views: one program for an op, its dtypes and a number of axes, for every size. */
import { type DType, isContiguous, sizeOf } from '@heed/tensor'
import type { Drawing, Kernel, KernelTable, Planner, Value } from '../plan.js'
import { broadcastStrides, walk } from '../walk.js'

const LETTERS = ['a', 'b', 'c']
const isFloat = (dtype: DType): boolean => dtype === 'f32'

/** An expression in a, b, c by dtype of the first operand and of the result. */
type Expression = (from: DType, to: DType) => string

/** Draws `expression` of views that broadcast to `shape`. */
export function map(
  planner: Planner,
  expression: string,
  inputs: readonly Value[],
  to: { readonly shape: Drawing['shape']; readonly dtype: DType },
  floats: Readonly<Record<string, number>> = {},
): Value {
  const { shape, dtype } = to
  const letters = inputs.map((_, k) => LETTERS[k])
  const types = inputs.map((v) => (isFloat(v.dtype) ? 'float' : 'int'))
  const result = isFloat(dtype) ? 'float' : 'int'
  const f = `${result} f1(${letters.map((l, k) => `${types[k]} ${l}`).join(', ')}) { return ${expression}; }`
  const size = sizeOf(shape)
  const single = inputs.map((v) => sizeOf(v.shape) === 1)
  const isFlat = inputs.every(
    (v, k) =>
      single[k] || (sizeOf(v.shape) === size && isContiguous(v.shape, v.strides) && v.offset % 4 === 0),
  )
  if (isFlat) {
    const ints: Record<string, number> = {}
    const fetch = inputs.map((v, k) => {
      ints[`at${k}_`] = single[k] ? v.offset : v.offset / 4
      return single[k]
        ? `${types[k]} ${LETTERS[k]} = at${k}(at${k}_);`
        : `${types[k] === 'float' ? 'vec4' : 'ivec4'} ${LETTERS[k]} = texel${k}(t + at${k}_);`
    })
    const part = (i: number): string =>
      `f1(${letters.map((l, k) => (single[k] ? l : `${l}[${i}]`)).join(', ')})`
    const four = result === 'float' ? 'vec4' : 'ivec4'
    return planner.draw({
      code: `${f}\n${four} quad(int t) { ${fetch.join(' ')} return ${four}(${[0, 1, 2, 3].map(part).join(', ')}); }`,
      inputs,
      ints,
      floats,
      shape,
      dtype,
    })
  }
  const w = walk(
    'place',
    shape,
    inputs.map((v) => ({ offset: v.offset, strides: broadcastStrides(v, shape) })),
  )
  const at = letters.map((l) => `${l}_`)
  return planner.draw({
    code: `${f}\n${w.code}\n${result} value(int o) { int ${at.join(', ')}; place(o, ${at.join(', ')}); return f1(${letters.map((_, k) => `at${k}(${at[k]})`).join(', ')}); }`,
    inputs,
    ints: w.ints,
    floats,
    shape,
    dtype,
  })
}

const op = (expression: Expression, supports?: Kernel['supports']): Kernel => ({
  plan: (n, inputs, planner) => [map(planner, expression(inputs[0].dtype, n.to[0].dtype), inputs, n.to[0])],
  ...(supports ? { supports } : {}),
})
const plain = (text: string): Kernel => op(() => text)

/** How a number of a dtype becomes one of another, as typed arrays convert. */
function castOf(from: DType, to: DType): string {
  const float = from === 'f16' ? 'ofHalf(a)' : from === 'bf16' ? 'ofBrain(a)' : from === 'f32' ? 'a' : null
  switch (to) {
    case 'f32':
      return float ?? 'float(a)'
    case 'bool':
      return float ? `((floatBitsToUint(${float}) << 1) == 0u ? 0 : 1)` : '(a == 0 ? 0 : 1)'
    case 'f16':
      return `halfOf(${float ?? 'float(a)'})`
    case 'bf16':
      return `brainOf(${float ?? 'float(a)'})`
    case 'i8':
      return `(${float ? `wholeOf(${float})` : 'a'} << 24) >> 24`
    case 'u8':
      return `${float ? `wholeOf(${float})` : 'a'} & 255`
    default:
      return float ? `wholeOf(${float})` : 'a'
  }
}

/** An activation and its derivative, in x = a. */
interface Activation {
  readonly y: string
  readonly dy: string
}
const SIGMOID = '(0.5 * (1.0 + tanhOf(0.5 * a)))'
const QUICK = '(0.5 * (1.0 + tanhOf(0.851 * a)))'
const INNER = 'tanhOf(0.79788456080286536 * (a + 0.044715 * (a * (a * a))))'
const GELU: Readonly<Record<string, Activation>> = {
  none: {
    y: '0.5 * a * (1.0 + erfOf(a * 0.70710678118654752))',
    dy: '0.5 * (1.0 + erfOf(a * 0.70710678118654752)) + a * (0.39894228040143268 * expOf(-0.5 * a * a))',
  },
  tanh: {
    y: `0.5 * a * (1.0 + ${INNER})`,
    dy: `0.5 * (1.0 + ${INNER}) + 0.5 * a * (1.0 - ${INNER} * ${INNER}) * (0.79788456080286536 * (1.0 + 0.134145 * a * a))`,
  },
  quick: { y: `a * ${QUICK}`, dy: `${QUICK} + 1.702 * a * ${QUICK} * (1.0 - ${QUICK})` },
}
const ACTIVATIONS: Readonly<Record<string, Activation>> = {
  relu: { y: 'isNan(a) || a > 0.0 ? a : 0.0', dy: 'below(0.0, a) ? 1.0 : 0.0' },
  sigmoid: { y: SIGMOID, dy: `${SIGMOID} * (1.0 - ${SIGMOID})` },
  silu: { y: `a * ${SIGMOID}`, dy: `${SIGMOID} * (1.0 + a * (1.0 - ${SIGMOID}))` },
}
const formOf = (attrs: Readonly<Record<string, unknown>>): Activation | undefined =>
  GELU[attrs.approximate as string]
const isForm: Kernel['supports'] = (n) => !!formOf(n.attrs) || 'webgl knows no such form of gelu'
/** Inputs of a backward: x, its result, the cotangent. */
const chained = (derivative: string, inputs: readonly Value[]) =>
  [`(${derivative}) * b`, [inputs[0], inputs[inputs.length - 1]]] as const

export const elementwiseKernels = {
  copy: plain('a'),
  add: plain('a + b'),
  sub: plain('a - b'),
  mul: plain('a * b'),
  div: op((from) => (isFloat(from) ? 'ratioOf(a, b)' : 'divOf(a, b)')),
  pow: op(
    () => 'powOf(a, b)',
    (n) => n.from[0].dtype === 'f32' || 'webgl raises f32 to powers only',
  ),
  maximum: op((from) => (isFloat(from) ? 'isNan(a) || below(b, a) ? a : b' : 'a > b ? a : b')),
  less: op((from) => (isFloat(from) ? 'below(a, b) ? 1 : 0' : 'a < b ? 1 : 0')),
  lessEqual: op((from) => (isFloat(from) ? 'isNan(a) || isNan(b) || below(b, a) ? 0 : 1' : 'a <= b ? 1 : 0')),
  equal: op((from) => (isFloat(from) ? '!isNan(a) && orderOf(a) == orderOf(b) ? 1 : 0' : 'a == b ? 1 : 0')),
  neg: op((from) => (isFloat(from) ? 'uintBitsToFloat(floatBitsToUint(a) ^ 0x80000000u)' : '-a')),
  exp: plain('expOf(a)'),
  expm1: plain('expm1Of(a)'),
  log: plain('logOf(a)'),
  log1p: plain('log1pOf(a)'),
  sqrt: plain('sqrtOf(a)'),
  sin: plain('sinOf(a)'),
  cos: plain('cosOf(a)'),
  tanh: plain('tanhOf(a)'),
  erf: plain('erfOf(a)'),
  floor: plain('isSmall(a) ? (floatBitsToInt(a) < 0 ? -1.0 : 0.0) : floor(a)'),
  cast: op(castOf),
  where: plain('a != 0 ? b : c'),
} satisfies Record<string, Kernel>

/** Composites that are one expression, and their gradients. */
export const activationKernels: KernelTable = {
  ...Object.fromEntries(
    Object.entries(ACTIVATIONS).flatMap(([name, { y, dy }]): [string, Kernel][] => [
      [name, plain(y)],
      [`${name}.vjp`, { plan: (n, inputs, planner) => [map(planner, ...chained(dy, inputs), n.to[0])] }],
    ]),
  ),
  gelu: {
    plan: (n, inputs, planner) => [map(planner, (formOf(n.attrs) as Activation).y, inputs, n.to[0])],
    supports: isForm,
  },
  'gelu.vjp': {
    plan: (n, inputs, planner) => [
      map(planner, ...chained((formOf(n.attrs) as Activation).dy, inputs), n.to[0]),
    ],
    supports: isForm,
  },
  // x where kept, over 1 − p; where nothing is ever kept, zeros that stay NaN where x was
  dropout: {
    plan: (n, [x, keep], planner) => [map(planner, scaled(n.attrs), [x, keep], n.to[0], chance(n.attrs))],
  },
  'dropout.vjp': {
    plan: (n, inputs, planner) => [
      map(planner, scaled(n.attrs), [inputs[inputs.length - 1], inputs[1]], n.to[0], chance(n.attrs)),
    ],
  },
}
const chance = (attrs: Readonly<Record<string, unknown>>): Record<string, number> => ({
  rest: 1 - (attrs.p as number),
})
const scaled = (attrs: Readonly<Record<string, unknown>>): string =>
  attrs.p === 1 ? 'b == 0 ? 0.0 : a * rest' : 'b == 0 ? 0.0 : a / rest'
