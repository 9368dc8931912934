/** Sums, extremes and products along axes: a loop per result, in two stages where few results have long sums. */
import { sizeOf, stridesOf } from '@heed/tensor'
import type { Kernel, Planner, Value } from '../plan.js'
import { walk } from '../walk.js'

interface Reducer {
  /** Start and step for floats and for integers: GLSL in `acc` and `v`. */
  readonly start: readonly [string, string]
  readonly step: readonly [string, string]
}
const reducers = {
  sum: { start: ['0.0', '0'], step: ['acc + v', 'acc + v'] },
  prod: { start: ['1.0', '1'], step: ['acc * v', 'acc * v'] },
  max: {
    start: ['-INF', '(-2147483647 - 1)'],
    step: ['isNan(v) || below(acc, v) ? v : acc', 'v > acc ? v : acc'],
  },
} satisfies Record<string, Reducer>

/** Sums longer than this are made of parts, so that errors do not grow with their length. */
const BLOCK = 64
/** Shorter reductions, and those of many results, run in one stage. */
const LONG = 512
const MANY = 4096

/** Axes apart: what is left, and what is reduced. */
function apart(v: Value, axes: readonly number[]): { rest: Value; along: Value } {
  const pick = (keep: (i: number) => boolean): Value => {
    const kept = v.shape.map((_, i) => i).filter(keep)
    return { ...v, shape: kept.map((i) => v.shape[i]), strides: kept.map((i) => v.strides[i]) }
  }
  return { rest: pick((i) => !axes.includes(i)), along: { ...pick((i) => axes.includes(i)), offset: 0 } }
}

/** Reduces `along` for every element of `rest`; both are views of one array. [rest…] flat. */
function stage(planner: Planner, reducer: Reducer, rest: Value, along: Value, parts: number): Value {
  const isInt = rest.dtype !== 'f32'
  const one = isInt ? 'int' : 'float'
  const kind = isInt ? 1 : 0
  const outer = walk('outer', rest.shape, [rest])
  const inner = walk('inner', along.shape, [along])
  const count = sizeOf(along.shape)
  return planner.draw({
    code: `${outer.code}
${inner.code}
${one} value(int o) {
  int row = o / parts;
  int begin = (o - row * parts) * chunk;
  int end = min(count, begin + chunk);
  int base, at;
  outer(row, base);
  ${one} total = ${reducer.start[kind]};
  for (int k = begin; k < end; k += ${BLOCK}) {
    ${one} acc = ${reducer.start[kind]};
    int stop = min(end, k + ${BLOCK});
    for (int j = k; j < stop; j++) {
      inner(j, at);
      ${one} v = at0(base + at);
      acc = ${reducer.step[kind]};
    }
    ${one} v = acc;
    acc = total;
    total = ${reducer.step[kind]};
  }
  return total;
}`,
    inputs: [rest],
    ints: { ...outer.ints, ...inner.ints, count, parts, chunk: Math.ceil(count / parts) },
    shape: parts === 1 ? rest.shape : [...rest.shape, parts],
    dtype: rest.dtype,
  })
}

/** x reduced along axes, which are kept with size 1. */
export function reduce(
  planner: Planner,
  name: keyof typeof reducers,
  x: Value,
  axes: readonly number[],
): Value {
  const { rest, along } = apart(x, axes)
  const count = sizeOf(along.shape)
  const results = sizeOf(rest.shape)
  const isLong = count >= LONG && results < MANY
  const first = stage(planner, reducers[name], rest, along, isLong ? Math.ceil(Math.sqrt(count)) : 1)
  const y = isLong ? reduce(planner, name, first, [first.shape.length - 1]) : first
  return planner.reshape(
    y,
    x.shape.map((d, i) => (axes.includes(i) ? 1 : d)),
  )
}
/** The sum over axes along which `shape` was broadcast: a cotangent of what had that shape. */
export function reducedTo(planner: Planner, x: Value, shape: readonly number[]): Value {
  const lead = x.shape.length - shape.length
  const axes = x.shape.flatMap((d, i) => (i < lead || (shape[i - lead] === 1 && d !== 1) ? [i] : []))
  const y = planner.contiguous(axes.length > 0 ? reduce(planner, 'sum', x, axes) : x)
  return { ...y, shape, strides: stridesOf(shape) }
}

const reduction = (name: keyof typeof reducers): Kernel => ({
  plan: (n, [x], planner) => [reduce(planner, name, x, n.attrs.axes as number[])],
})

/** The first place of the largest along an axis, or of not-a-number; of few long rows the places of their parts first. */
const argMax: Kernel = {
  plan: (n, [x], planner) => {
    const axis = (n.attrs.axes as number[])[0]
    const { rest, along } = apart(x, [axis])
    const [count] = along.shape
    const outer = walk('outer', rest.shape, [rest])
    const isInt = x.dtype !== 'f32'
    const one = isInt ? 'int' : 'float'
    const results = sizeOf(rest.shape)
    const chunk = count >= LONG && results < MANY ? Math.ceil(Math.sqrt(count)) : count
    /** Of `place(k)` (GLSL) for k from `begin` to `end`. */
    const largest = (place: (k: string) => string, parts: number, found: readonly Value[]): Value =>
      planner.draw({
        code: `${outer.code}
int value(int o) {
  int row = o / parts;
  int begin = (o - row * parts) * chunk;
  int end = min(count, begin + chunk);
  int base;
  outer(row, base);
  int best = ${place('begin')};
  ${one} most = at0(base + best * stride);
  for (int k = begin + 1; k < end; k++) {
    ${isInt ? '' : 'if (isNan(most)) break;'}
    int i = ${place('k')};
    ${one} v = at0(base + i * stride);
    if (${isInt ? 'v > most' : 'isNan(v) || below(most, v)'}) { most = v; best = i; }
  }
  return best;
}`,
        inputs: [rest, ...found],
        ints: {
          ...outer.ints,
          stride: along.strides[0],
          parts,
          ...(found.length > 0 ? { count: found[0].shape[1], chunk: found[0].shape[1] } : { count, chunk }),
        },
        shape: [results, parts],
        dtype: 'i32',
      })
    const parts = Math.ceil(count / chunk)
    const first = largest((k) => k, parts, [])
    const y = parts === 1 ? first : largest((k) => `at1(row * count + ${k})`, 1, [first])
    return [planner.reshape(y, n.to[0].shape)]
  },
}

/** [before, n, after] around an axis of an array in row-major order. */
export function around(shape: readonly number[], axis: number): { before: number; n: number; after: number } {
  return {
    before: sizeOf(shape.slice(0, axis)),
    n: shape[axis],
    after: sizeOf(shape.slice(axis + 1)),
  }
}

/** Running sums by doubling: after step k every element holds the sum of the 2ᵏ up to it (Hillis & Steele 1986). */
const cumsum: Kernel = {
  plan: (n, [x], planner) => {
    const { axis, reverse, exclusive } = n.attrs as { axis: number; reverse: boolean; exclusive: boolean }
    const { n: count, after } = around(x.shape, axis)
    const one = x.dtype === 'f32' ? 'float' : 'int'
    const sign = reverse ? -1 : 1
    const shifted = (v: Value, by: number, keep: number): Value =>
      planner.draw({
        code: `${one} value(int o) {
  int i = (o / after) % count - by;
  ${one} v = i >= 0 && i < count ? at0(start + o - by * after) : ${one}(0);
  return keep == 1 ? at0(start + o) + v : v;
}`,
        inputs: [v],
        ints: { after, count, by, keep, start: v.offset },
        shape: x.shape,
        dtype: x.dtype,
      })
    let y = planner.contiguous(x)
    if (exclusive) y = shifted(y, sign, 0)
    for (let by = 1; by < count; by *= 2) y = shifted(y, sign * by, 1)
    return [y]
  },
}

/**
 * A stable sort by a bitonic network (Batcher 1968) over places, padded to a power of two: the order of (value, place)
 * is total, so equal values keep their order in both directions. Not-a-number is largest.
 */
export function sorted(
  planner: Planner,
  given: Value,
  axis: number,
  descending = false,
): { values: Value; indices: Value } {
  const x = planner.contiguous(given)
  const { before, n: count, after } = around(x.shape, axis)
  const width = 2 ** Math.ceil(Math.log2(Math.max(1, count)))
  const isInt = x.dtype !== 'f32'
  const one = isInt ? 'int' : 'float'
  const common = { after, count, width, start: x.offset }
  const lanes = before * after
  // lane ℓ = (b, a) has its places at ℓ·width …, its values at start + (b·count + place)·after + a
  let places = planner.draw({
    code: 'int value(int o) { return o % width; }',
    inputs: [],
    ints: { width },
    shape: [lanes, width],
    dtype: 'i32',
  })
  const greater = isInt ? 'v > w' : '(isNan(v) ? !isNan(w) : below(w, v))'
  const less = isInt ? 'v < w' : '(isNan(w) ? !isNan(v) : below(v, w))'
  for (let block = 2; block <= width; block *= 2)
    for (let step = block / 2; step >= 1; step /= 2)
      places = planner.draw({
        code: `
// whether place p comes behind place q in lane l
bool behind(int l, int p, int q) {
  if (p >= count || q >= count) return p > q;
  int b = l / after;
  int base = start + b * count * after + (l - b * after);
  ${one} v = at1(base + p * after);
  ${one} w = at1(base + q * after);
  if (descending == 1 ? ${less} : ${greater}) return true;
  if (descending == 1 ? ${greater} : ${less}) return false;
  return p > q;
}
int value(int o) {
  int l = o / width;
  int i = o - l * width;
  int j = i ^ step_;
  int p = at0(o);
  int q = at0(l * width + j);
  bool up = (i & block) == 0;
  bool first = i < j;
  bool swap = behind(l, first ? p : q, first ? q : p) == up;
  return swap ? q : p;
}`,
        inputs: [places, x],
        ints: { ...common, step_: step, block, descending: descending ? 1 : 0 },
        shape: [lanes, width],
        dtype: 'i32',
      })
  const ints = { after, count, width, start: x.offset }
  const lane =
    'int b = o / (count * after); int r = o - b * count * after; int i = r / after; int a = r - i * after; int p = at0((b * after + a) * width + i);'
  const indices = planner.draw({
    code: `int value(int o) { ${lane} return p; }`,
    inputs: [places],
    ints: { after, count, width },
    shape: x.shape,
    dtype: 'i32',
  })
  const values = planner.draw({
    code: `${one} value(int o) { ${lane} return at1(start + (b * count + p) * after + a); }`,
    inputs: [places, x],
    ints,
    shape: x.shape,
    dtype: x.dtype,
  })
  return { values, indices }
}
const sort: Kernel = {
  largest: ({ from: [{ shape }], attrs }) => {
    const count = Math.max(1, shape[attrs.axis as number])
    return (sizeOf(shape) / count) * 2 ** Math.ceil(Math.log2(count))
  },
  plan: (n, [x], planner) => {
    const { axis, descending } = n.attrs as { axis: number; descending: boolean }
    const { values, indices } = sorted(planner, x, axis, descending)
    return [values, indices]
  },
}

export const reduceKernels = {
  sum: reduction('sum'),
  max: reduction('max'),
  prod: reduction('prod'),
  argMax,
  cumsum,
  sort,
} satisfies Record<string, Kernel>
