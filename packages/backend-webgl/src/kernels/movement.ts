/** Moving data by position and by index, and the sources. What is written by index on a CPU is gathered here. */
import { type DType, sizeOf, stridesOf } from '@heed/tensor'
import type { Kernel, Planner, Value } from '../plan.js'
import { walk } from '../walk.js'
import { around, sorted } from './reduce.js'

const one = (dtype: DType): 'float' | 'int' => (dtype === 'f32' ? 'float' : 'int')

const pad: Kernel = {
  plan: (n, [x], planner) => {
    const pads = n.attrs.pads as number[][]
    const { shape, dtype } = n.to[0]
    const type = one(dtype)
    const strides = stridesOf(shape)
    const ints: Record<string, number> = { start: x.offset }
    const lines = shape.map((_, d) => {
      Object.assign(ints, {
        [`n${d}`]: x.shape[d],
        [`b${d}`]: pads[d][0],
        [`s${d}`]: x.strides[d],
        [`t${d}`]: Math.max(1, strides[d]),
      })
      return `i = o / t${d}; o -= i * t${d}; i -= b${d}; inside = inside && i >= 0 && i < n${d}; at += i * s${d};`
    })
    const fill = n.attrs.value as number
    if (type === 'int') ints.fill = fill
    return [
      planner.draw({
        code: `${type} value(int o) { int i; int at = start; bool inside = true; ${lines.join(' ')} return inside ? at0(at) : fill; }`,
        inputs: [x],
        ints,
        floats: type === 'float' ? { fill } : {},
        shape,
        dtype,
      }),
    ]
  },
}

/** Inputs that one program joins. */
const AT_ONCE = 8
/** Arrays [before, wₖ·after] side by side: [before, Σ wₖ·after] flat. */
export function joinCode(count: number, type: 'float' | 'int'): string {
  const lines = ['int row = o / width; int r = o - row * width;']
  for (let k = 0; k < count; k++)
    lines.push(`if (r < w${k}) return at${k}(o${k} + row * w${k} + r); r -= w${k};`)
  return `${type} value(int o) { ${lines.join(' ')} return ${type}(0); }`
}
/** Arrays side by side along an axis. */
export function join(planner: Planner, parts: readonly Value[], axis: number, dtype: DType): Value {
  if (parts.length === 1) return parts[0]
  const joined: Value[] = []
  for (let i = 0; i < parts.length; i += AT_ONCE) {
    const group = parts.slice(i, i + AT_ONCE).map((v) => planner.contiguous(v))
    if (group.length === 1) {
      joined.push(group[0])
      continue
    }
    const shape = group[0].shape.map((d, a) => (a === axis ? group.reduce((s, v) => s + v.shape[a], 0) : d))
    const widths = group.map((v) => sizeOf(v.shape.slice(axis)))
    const ints: Record<string, number> = { width: sizeOf(shape.slice(axis)) }
    group.forEach((v, k) => {
      ints[`w${k}`] = widths[k]
      ints[`o${k}`] = v.offset
    })
    joined.push(planner.draw({ code: joinCode(group.length, one(dtype)), inputs: group, ints, shape, dtype }))
  }
  return join(planner, joined, axis, dtype)
}
const concat: Kernel = {
  plan: (n, inputs, planner) => [join(planner, inputs, n.attrs.axis as number, n.to[0].dtype)],
}

/** x [before, n, after] by index [places]: [before, places, after]. */
function placesOf(x: Value, index: Value, axis: number) {
  const { before, n, after } = around(x.shape, axis)
  return { before, n, after, places: sizeOf(index.shape) }
}
// an id outside the table cannot throw here: it is clamped
const CLAMP = 'int id = clamp(at1(from + j), 0, n - 1);'

const take: Kernel = {
  plan: (node, [given, ids], planner) => {
    const [x, index] = [planner.contiguous(given), planner.contiguous(ids)]
    const { n, after, places } = placesOf(x, index, node.attrs.axis as number)
    const { shape, dtype } = node.to[0]
    return [
      planner.draw({
        code: `${one(dtype)} value(int o) {
  int a = o % after; int r = o / after; int b = r / places; int j = r - b * places;
  ${CLAMP}
  return at0(start + (b * n + id) * after + a);
}`,
        inputs: [x, index],
        ints: { n, after, places: Math.max(1, places), start: x.offset, from: index.offset },
        shape,
        dtype,
      }),
    ]
  },
}
/** From so many ids on they are sorted, so that a row finds its own without looking through all. */
const MANY_IDS = 32
/** GLSL: the first place from which sorted ids, `at(k)` for k < places, are not below `row`. */
const lowerBound = (at: string): string => `int low = 0; int high = places;
  while (low < high) { int k = (low + high) >> 1; if (${at} < row) low = k + 1; else high = k; }`
/** Ids as they are read: within the table. */
function clamped(planner: Planner, index: Value, n: number): Value {
  const w = walk('place', index.shape, [index])
  return planner.draw({
    code: `${w.code}\nint value(int o) { int at; place(o, at); return clamp(at0(at), 0, n - 1); }`,
    inputs: [index],
    ints: { ...w.ints, n },
    shape: index.shape,
    dtype: 'i32',
  })
}

// what falls on one row is added in the order of its places, however it is found
const takeAdd: Kernel = {
  plan: (node, [x, ids, source], planner) => {
    const [index, src] = [ids, source].map((v) => planner.contiguous(v))
    const { n, after, places } = placesOf(x, index, node.attrs.axis as number)
    const { shape, dtype } = node.to[0]
    // zeros are one number, read again and again
    const w = walk('from', shape, [x])
    const fours = [after, src.offset].every((v) => v % 4 === 0)
    const type = one(dtype)
    const isMany = places >= MANY_IDS
    const order = isMany
      ? sorted(planner, { ...clamped(planner, index, n), shape: [places], strides: [1] }, 0)
      : null
    // for every row the first of its ids among the sorted, or −1
    const first =
      order &&
      planner.draw({
        code: `int value(int row) { ${lowerBound('at0(k)')} return low < places && at0(low) == row ? low : -1; }`,
        inputs: [order.values],
        ints: { places },
        shape: [n],
        dtype: 'i32',
      })
    const vector = type === 'float' ? 'vec4' : 'ivec4'
    const add = (j: string): string =>
      fours
        ? `y += texel1((source + (b * places + ${j}) * after + a) >> 2);`
        : `y += at1(source + (b * places + ${j}) * after + a);`
    const lanes = fours ? [0, 1, 2, 3] : [0]
    return [
      planner.draw({
        code: `${w.code}
${fours ? `${vector} quad(int t) { int o = t << 2;` : `${type} value(int o) {`}
  int a = o % after; int r = o / after; int b = r / n; int row = r - b * n;
  int at;
  ${fours ? vector : type} y;
  ${lanes.map((c) => `from(o + ${c}, at); y${fours ? `[${c}]` : ''} = at0(at);`).join(' ')}
  ${
    order
      ? `for (int k = at2(row); k >= 0 && k < places; k++) { if (at3(k) != row) break; int j = at4(k); ${add('j')} }`
      : `for (int j = 0; j < places; j++) if (clamp(at2(first + j), 0, n - 1) == row) { ${add('j')} }`
  }
  return y;
}`,
        inputs: [x, src, ...(order && first ? [first, order.values, order.indices] : [index])],
        ints: { ...w.ints, n, after, places, source: src.offset, ...(order ? {} : { first: index.offset }) },
        shape,
        dtype,
      }),
    ]
  },
}

const gather: Kernel = {
  plan: (node, [x, ids], planner) => {
    const axis = node.attrs.axis as number
    const index = planner.contiguous(ids)
    const { shape, dtype } = node.to[0]
    const w = walk('place', shape, [
      { offset: x.offset, strides: x.strides.map((s, i) => (i === axis ? 0 : s)) },
      { offset: index.offset, strides: index.strides },
    ])
    return [
      planner.draw({
        code: `${w.code}
${one(dtype)} value(int o) { int at, from; place(o, at, from); return at0(at + clamp(at1(from), 0, n - 1) * along); }`,
        inputs: [x, index],
        ints: { ...w.ints, n: x.shape[axis], along: x.strides[axis] },
        shape,
        dtype,
      }),
    ]
  },
}
const scatterAdd: Kernel = {
  plan: (node, [x, ids, src], planner) => {
    const axis = node.attrs.axis as number
    const { shape, dtype } = node.to[0]
    const isMany = ids.shape[axis] >= MANY_IDS
    const order = isMany ? sorted(planner, clamped(planner, ids, x.shape[axis]), axis) : null
    const index = order ? order.values : ids
    const w = walk('place', shape, [x])
    const ints: Record<string, number> = {
      ...w.ints,
      from: index.offset,
      source: src.offset,
      places: index.shape[axis],
      along: index.strides[axis],
      beside: src.strides[axis],
      n: x.shape[axis],
    }
    const lines = shape.map((d, k) => {
      ints[`d${k}`] = Math.max(1, sizeOf(shape.slice(k + 1)))
      const step = `i = q / d${k}; q -= i * d${k};`
      if (k === axis) return `${step} row = i;`
      ints[`n${k}`] = Math.min(index.shape[k], d)
      ints[`i${k}`] = index.strides[k]
      ints[`s${k}`] = src.strides[k]
      return `${step} inside = inside && i < n${k}; at += i * i${k}; add += i * s${k};`
    })
    const add = (j: string): string => `y += at2(add + ${j} * beside);`
    return [
      planner.draw({
        code: `${w.code}
${one(dtype)} value(int o) {
  int i; int q = o; int row = 0; int at = from; int add = source; bool inside = true;
  ${lines.join('\n  ')}
  int known; place(o, known);
  ${one(dtype)} y = at0(known);
  if (!inside) return y;
  ${
    order
      ? `${lowerBound('at1(at + k * along)')}
  for (int k = low; k < places; k++) { if (at1(at + k * along) != row) break; int j = at3(at + k * along); ${add('j')} }`
      : `for (int j = 0; j < places; j++) if (clamp(at1(at + j * along), 0, n - 1) == row) { ${add('j')} }`
  }
  return y;
}`,
        inputs: [x, index, src, ...(order ? [order.indices] : [])],
        ints,
        shape,
        dtype,
      }),
    ]
  },
}

// where an offset beyond the room would write outside, it is moved inside: a device cannot throw
const update: Kernel = {
  plan: (node, inputs, planner) => {
    const [cache, patch, offset] = inputs.map((v) => planner.contiguous(v))
    const { n, after } = around(cache.shape, node.attrs.axis as number)
    const size = patch.shape[node.attrs.axis as number]
    const { shape, dtype } = node.to[0]
    return [
      planner.draw({
        code: `${one(dtype)} value(int o) {
  int begin = clamp(at2(where_), 0, n - size);
  int a = o % after; int r = o / after; int b = r / n; int i = r - b * n - begin;
  return i >= 0 && i < size ? at1(from + (b * size + i) * after + a) : at0(start + o);
}`,
        inputs: [cache, patch, offset],
        ints: { n, after, size, start: cache.offset, from: patch.offset, where_: offset.offset },
        shape,
        dtype,
      }),
    ]
  },
}
const dynamicSlice: Kernel = {
  plan: (node, [x, offset], planner) => {
    const axis = node.attrs.axis as number
    const { shape, dtype } = node.to[0]
    const w = walk('place', shape, [{ offset: x.offset, strides: x.strides }])
    return [
      planner.draw({
        code: `${w.code}
${one(dtype)} value(int o) { int at; place(o, at); return at0(at + clamp(at1(where_), 0, room) * along); }`,
        inputs: [x, offset],
        ints: {
          ...w.ints,
          where_: offset.offset,
          room: x.shape[axis] - shape[axis],
          along: x.strides[axis],
        },
        shape,
        dtype,
      }),
    ]
  },
}

const iota: Kernel = {
  plan: (node, _, planner) => {
    const { start, step } = node.attrs as { start: number; step: number }
    const { shape, dtype } = node.to[0]
    const n = sizeOf(shape)
    const make = (_: unknown, i: number): number => start + i * step
    return [
      planner.constant(
        dtype === 'f32' ? Float32Array.from({ length: n }, make) : Int32Array.from({ length: n }, make),
        shape,
        dtype,
      ),
    ]
  },
}

/** threefry2x32-20 (Salmon et al. 2011): words 2i and 2i + 1 of a stream are the two of block i. */
const THREEFRY = `uint turned(uint x, int by) { return (x << by) | (x >> (32 - by)); }
uint word(int o) {
  uint block = uint(o) >> 1;
  uint c0 = uint(low) + block;
  uint c1 = uint(high) + (c0 < uint(low) ? 1u : 0u);
  uint k[3];
  k[0] = uint(at0(key));
  k[1] = uint(at0(key + along));
  k[2] = k[0] ^ k[1] ^ 0x1bd11bdau;
  uint a = c0 + k[0];
  uint b = c1 + k[1];
  int even[4] = int[4](13, 15, 26, 6);
  int odd[4] = int[4](17, 29, 16, 24);
  for (int round = 0; round < 5; round++) {
    for (int i = 0; i < 4; i++) {
      a += b;
      b = turned(b, (round & 1) == 0 ? even[i] : odd[i]) ^ a;
    }
    a += k[(round + 1) % 3];
    b += k[(round + 2) % 3] + uint(round + 1);
  }
  return (o & 1) == 0 ? a : b;
}`
const random = (value: string): Kernel => ({
  plan: (node, [key], planner) => {
    const [low, high] = node.attrs.counter as [number, number]
    return [
      planner.draw({
        code: `${THREEFRY}\n${value}`,
        inputs: [key],
        ints: { low: low | 0, high: high | 0, key: key.offset, along: key.strides[0] },
        shape: node.to[0].shape,
        dtype: node.to[0].dtype,
      }),
    ]
  },
})

export const movementKernels = {
  pad,
  concat,
  take,
  takeAdd,
  gather,
  scatterAdd,
  update,
  dynamicSlice,
  iota,
  randomBits: random('int value(int o) { return int(word(o)); }'),
  randomUniform: random('float value(int o) { return float(word(o) >> 8) * 5.9604644775390625e-8; }'),
} satisfies Record<string, Kernel>
