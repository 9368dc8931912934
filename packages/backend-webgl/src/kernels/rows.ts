/**
 * The softmax family and the norms: one program gathers what a row needs into one texel, another makes the results. Rows
 * lie along an axis of [before, n, after]; every size is a uniform.
 */
import { type Shape, sizeOf, stridesOf } from '@heed/tensor'
import type { Kernel, Planner, Value } from '../plan.js'
import { broadcastStrides } from '../walk.js'
import { around, reduce } from './reduce.js'

/** Rows along `axis`: their sizes, and GLSL for where a row begins and which row an element belongs to. */
interface Rows {
  readonly shape: Shape
  readonly count: number
  readonly ints: Readonly<Record<string, number>>
}
const rowsOf = (shape: Shape, axis: number): Rows => {
  const { before, n, after } = around(shape, axis)
  return { shape, count: before * after, ints: { n, after } }
}
/** Sums of `term` (GLSL in k, the place in the row, and at, its element) in parts, so that errors do not add up. */
const sumOf = (name: string, term: string): string => `float ${name} = 0.0;
  for (int k0 = 0; k0 < n; k0 += 64) {
    float part = 0.0;
    int stop = min(n, k0 + 64);
    for (int k = k0; k < stop; k++) { int at = base + k * after; part += ${term}; }
    ${name} += part;
  }`
const BASE = 'int b_ = row / after; int base = b_ * n * after + (row - b_ * after);'
const ROW =
  'int r_ = o / after; int b_ = r_ / n; int row = b_ * after + (o - r_ * after); int place = r_ - b_ * n;'

/** One texel a row. */
function perRow(
  planner: Planner,
  rows: Rows,
  inputs: readonly Value[],
  body: string,
  more: {
    ints?: Readonly<Record<string, number>>
    floats?: Readonly<Record<string, number>>
    helpers?: string
  } = {},
): Value {
  return planner.draw({
    code: `${more.helpers ?? ''}\nvec4 quad(int row) {\n  ${BASE}\n  ${body}\n}`,
    inputs,
    ints: { ...rows.ints, ...more.ints },
    ...(more.floats ? { floats: more.floats } : {}),
    shape: [rows.count, 4],
    dtype: 'f32',
  })
}
/** One result an element, from its row's texel. */
function perElement(
  planner: Planner,
  rows: Rows,
  inputs: readonly Value[],
  body: string,
  more: { ints?: Readonly<Record<string, number>>; helpers?: string } = {},
): Value {
  return planner.draw({
    code: `${more.helpers ?? ''}\nfloat value(int o) {\n  ${ROW}\n  ${body}\n}`,
    inputs,
    ints: { ...rows.ints, ...more.ints },
    shape: rows.shape,
    dtype: 'f32',
  })
}

/** `top`, the largest finite x of a row or 0, and `total`, Σ e^(x − top); `x` is what reads an element. */
const totalOf = (x: string): string => `float top = -INF;
  for (int k = 0; k < n; k++) top = max(top, ${x}(base + k * after));
  if (top == INF || top == -INF) top = 0.0;
  ${sumOf('total', `expOf(${x}(at) - top)`)}`

/**
 * eˣ / Σ eˣ, x masked where `keep` is 0; the row's largest finite entry is taken away before exp, and a row with nothing
 * left is zeros.
 */
const softmax: Kernel = {
  plan: (node, [given, mask], planner) => {
    const rows = rowsOf(node.to[0].shape, node.attrs.axis as number)
    const x = planner.whole(given)
    const keep =
      mask && planner.whole({ ...mask, shape: rows.shape, strides: broadcastStrides(mask, rows.shape) })
    const inputs = keep ? [x, keep] : [x]
    const helpers = `float logit(int at) { return ${keep ? 'at1(at) == 0 ? -INF : ' : ''}at0(at); }`
    const stats = perRow(planner, rows, inputs, `${totalOf('logit')}\n  return vec4(top, total, 0.0, 0.0);`, {
      helpers,
    })
    return [
      perElement(
        planner,
        rows,
        [...inputs, stats],
        `vec4 s = texel${inputs.length}(row);
  float e = expOf(logit(o) - s.x);
  return s.y == 0.0 ? e : e / s.y;`,
        { helpers },
      ),
    ]
  },
}
/** dx = y·(dy − Σ y·dy) */
const softmaxVjp: Kernel = {
  plan: (node, inputs, planner) => {
    const rows = rowsOf(node.to[0].shape, node.attrs.axis as number)
    const [y, dy] = inputs.slice(-2).map((v) => planner.whole(v))
    const sums = perRow(
      planner,
      rows,
      [y, dy],
      `${sumOf('total', 'at0(at) * at1(at)')}
  return vec4(total, 0.0, 0.0, 0.0);`,
    )
    return [perElement(planner, rows, [y, dy, sums], 'return at0(o) * (at1(o) - texel2(row).x);')]
  },
}
/** (max, log Σ e^(x − max)) of every row. */
const logStats = (planner: Planner, rows: Rows, x: Value): Value =>
  perRow(planner, rows, [x], `${totalOf('at0')}\n  return vec4(top, logOf(total), 0.0, 0.0);`)
/** x − max − log Σ e^(x − max) */
const logSoftmax: Kernel = {
  plan: (node, [given], planner) => {
    const rows = rowsOf(node.to[0].shape, node.attrs.axis as number)
    const x = planner.whole(given)
    const stats = logStats(planner, rows, x)
    return [perElement(planner, rows, [x, stats], 'vec4 s = texel1(row); return (at0(o) - s.x) - s.y;')]
  },
}
/** dx = dy − eʸ·Σ dy */
const logSoftmaxVjp: Kernel = {
  plan: (node, inputs, planner) => {
    const rows = rowsOf(node.to[0].shape, node.attrs.axis as number)
    const [y, dy] = inputs.slice(-2).map((v) => planner.whole(v))
    const sums = perRow(
      planner,
      rows,
      [dy],
      `${sumOf('total', 'at0(at)')}
  return vec4(total, 0.0, 0.0, 0.0);`,
    )
    return [perElement(planner, rows, [y, dy, sums], 'return at1(o) - expOf(at0(o)) * texel2(row).x;')]
  },
}

/** −log softmax(x)[target] of every row without the whole of log softmax; 0 where the target is to be ignored. */
const crossEntropy: Kernel = {
  plan: (node, [logits, ids], planner) => {
    const rows = rowsOf(logits.shape, logits.shape.length - 1)
    const [x, target] = [planner.whole(logits), planner.contiguous(ids)]
    return [
      planner.draw({
        code: `float value(int row) {
  int id = at1(from + row);
  if (id == ignored) return 0.0;
  vec4 s = texel2(row);
  return s.y - (at0(row * n + clamp(id, 0, n - 1)) - s.x);
}`,
        inputs: [x, target, logStats(planner, rows, x)],
        ints: { n: rows.ints.n, from: target.offset, ignored: node.attrs.ignoreIndex as number },
        shape: node.to[0].shape,
        dtype: 'f32',
      }),
    ]
  },
}
/** dx = dy·(softmax(x) − 1 at the target) */
const crossEntropyVjp: Kernel = {
  plan: (node, inputs, planner) => {
    const rows = rowsOf(inputs[0].shape, inputs[0].shape.length - 1)
    const x = planner.whole(inputs[0])
    const target = planner.contiguous(inputs[1])
    const dy = planner.contiguous(inputs[inputs.length - 1])
    return [
      perElement(
        planner,
        rows,
        [x, target, dy, logStats(planner, rows, x)],
        `int id = at1(from + row);
  if (id == ignored) return 0.0;
  vec4 s = texel3(row);
  float p = expOf((at0(o) - s.x) - s.y);
  return at2(given + row) * (place == clamp(id, 0, n - 1) ? p - 1.0 : p);`,
        { ints: { from: target.offset, given: dy.offset, ignored: node.attrs.ignoreIndex as number } },
      ),
    ]
  },
}

/** What both norms are made of: y = x̂·w + b with x̂ = (x − μ)·r; the root mean square norm has μ = 0 and no b. */
interface Norm {
  readonly eps: number
  readonly centred: boolean
  readonly weight: Value | null
  readonly bias: Value | null
  /** The weight counts from 1. */
  readonly unitOffset: boolean
}
/** (μ, r) of every row. */
function normStats(planner: Planner, rows: Rows, x: Value, norm: Norm): Value {
  return perRow(
    planner,
    rows,
    [x],
    `float mean = 0.0;
  ${norm.centred ? `${sumOf('total', 'at0(at)')}\n  mean = total / float(n);` : ''}
  ${sumOf('square', '(at0(at) - mean) * (at0(at) - mean)')}
  return vec4(mean, 1.0 / sqrt(square / float(n) + eps), 0.0, 0.0);`,
    { floats: { eps: norm.eps } },
  )
}
const weightOf = (norm: Norm, at: string): string =>
  norm.weight ? `${norm.unitOffset ? '1.0 + ' : ''}${at}` : '1.0'

function normForward(planner: Planner, rows: Rows, given: Value, norm: Norm): Value {
  const x = planner.whole(given)
  const inputs = [x, normStats(planner, rows, x, norm)]
  const ints: Record<string, number> = {}
  const side = (v: Value | null, name: string): string => {
    if (!v) return ''
    const flat = planner.contiguous(v)
    ints[name] = flat.offset
    return `at${inputs.push(flat) - 1}(${name} + place)`
  }
  const w = side(norm.weight, 'weight')
  const b = side(norm.bias, 'bias')
  const scaled = w ? ` * (${weightOf(norm, w)})` : ''
  return perElement(
    planner,
    rows,
    inputs,
    `vec4 s = texel1(row); return (at0(o) - s.x) * s.y${scaled}${b ? ` + ${b}` : ''};`,
    { ints },
  )
}
/** dx = r·(g − mean g − x̂·mean(g·x̂)) with g = dy·w (without mean g where nothing is centred); dw = Σ dy·x̂; db = Σ dy. */
function normBackward(planner: Planner, rows: Rows, given: Value, cotangent: Value, norm: Norm): Value[] {
  const x = planner.whole(given)
  const dy = planner.whole(cotangent)
  const stats = normStats(planner, rows, x, norm)
  const w = norm.weight && planner.contiguous(norm.weight)
  const ints: Record<string, number> = w ? { weight: w.offset } : {}
  const inputs = [x, dy, stats, ...(w ? [w] : [])]
  const helpers = `float turned(int at, int place) { return at1(at)${w ? ` * (${weightOf(norm, 'at3(weight + place)')})` : ''}; }`
  const sums = perRow(
    planner,
    rows,
    inputs,
    `vec4 s = texel2(row);
  ${sumOf('plain', 'turned(at, k)')}
  ${sumOf('along', 'turned(at, k) * ((at0(at) - s.x) * s.y)')}
  return vec4(${norm.centred ? 'plain / float(n)' : '0.0'}, along / float(n), 0.0, 0.0);`,
    { helpers, ints },
  )
  const dx = perElement(
    planner,
    rows,
    [...inputs, sums],
    `vec4 s = texel2(row); vec4 m = texel${inputs.length}(row);
  return s.y * (turned(o, place) - m.x - (at0(o) - s.x) * s.y * m.y);`,
    { helpers, ints },
  )
  const overRows = (v: Value, like: Value): Value => {
    const width = sizeOf(like.shape)
    const matrix = { ...v, shape: [rows.count, width], strides: [width, 1] }
    const summed = reduce(planner, 'sum', matrix, [0])
    return planner.contiguous({ ...summed, shape: like.shape, strides: stridesOf(like.shape) })
  }
  const results = [dx]
  if (norm.weight) {
    const product = perElement(
      planner,
      rows,
      [x, dy, stats],
      'vec4 s = texel2(row); return at1(o) * ((at0(o) - s.x) * s.y);',
    )
    results.push(overRows(product, norm.weight))
  }
  if (norm.bias) results.push(overRows(dy, norm.bias))
  return results
}

/** Rows of the last `nAxes` axes, as if they were one. */
const lastRows = (shape: Shape, nAxes: number): Rows => {
  const n = sizeOf(shape.slice(shape.length - nAxes))
  return { shape, count: n === 0 ? 0 : sizeOf(shape) / n, ints: { n, after: 1 } }
}
const layerAttrs = (
  attrs: Readonly<Record<string, unknown>>,
  inputs: readonly Value[],
): { norm: Norm; nAxes: number } => {
  const { eps, nAxes, hasWeight, hasBias } = attrs as {
    eps: number
    nAxes: number
    hasWeight: boolean
    hasBias: boolean
  }
  return {
    nAxes,
    norm: {
      eps,
      centred: true,
      weight: hasWeight ? inputs[1] : null,
      bias: hasBias ? inputs[hasWeight ? 2 : 1] : null,
      unitOffset: false,
    },
  }
}
const rmsAttrs = (attrs: Readonly<Record<string, unknown>>, weight: Value | null): Norm => ({
  eps: attrs.eps as number,
  centred: false,
  weight,
  bias: null,
  unitOffset: attrs.unitOffset as boolean,
})

export const rowKernels = {
  softmax,
  'softmax.vjp': softmaxVjp,
  logSoftmax,
  'logSoftmax.vjp': logSoftmaxVjp,
  crossEntropyPerToken: crossEntropy,
  'crossEntropyPerToken.vjp': crossEntropyVjp,
  layerNorm: {
    plan: (node, inputs, planner) => {
      const { norm, nAxes } = layerAttrs(node.attrs, inputs)
      return [normForward(planner, lastRows(node.to[0].shape, nAxes), inputs[0], norm)]
    },
  },
  'layerNorm.vjp': {
    plan: (node, inputs, planner) => {
      const { norm, nAxes } = layerAttrs(node.attrs, inputs)
      const rows = lastRows(node.to[0].shape, nAxes)
      return normBackward(planner, rows, inputs[0], inputs[inputs.length - 1], norm)
    },
  },
  rmsNorm: {
    plan: (node, [x, w], planner) => [
      normForward(planner, lastRows(node.to[0].shape, 1), x, rmsAttrs(node.attrs, w ?? null)),
    ],
  },
  'rmsNorm.vjp': {
    plan: (node, inputs, planner) => {
      const weight = (node.attrs.nIn as number) > 1 ? inputs[1] : null
      const rows = lastRows(node.to[0].shape, 1)
      return normBackward(planner, rows, inputs[0], inputs[inputs.length - 1], rmsAttrs(node.attrs, weight))
    },
  },
} satisfies Record<string, Kernel>
