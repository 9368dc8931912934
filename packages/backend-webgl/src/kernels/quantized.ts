/**
 * Products with weights of 8 and 4 bits and of half precision, read as they are packed (see the op): a texel of codes is four
 * inputs of one output (int8; q4 has eight, in halves of a byte), one of half floats four outputs of one input. The matrix is
 * never made. Activations are rounded as the op says: steps are powers of two, so the integers are those of every backend.
 */
import { type Attrs, stridesOf } from '@heed/tensor'
import type { Kernel, Planner, Value } from '../plan.js'
import { map } from './elementwise.js'
import { asRows, type Epilogue, inOrder, lanesOf, partsFor, together } from './matmul.js'

interface PackedAttrs extends Attrs {
  readonly format: 'int8' | 'q4' | 'f16'
  readonly shape: readonly [number, number]
  readonly outAxis: 0 | 1
}
const up = (n: number, by: number): number => Math.ceil(n / by)
const EVEN = `float evenOf(float x) {
  float low = floor(x);
  float rest = x - low;
  return rest > 0.5 || rest == 0.5 && (int(low) & 1) == 1 ? low + 1.0 : low;
}`

/** How activations are rounded: terms that share a step, and to how many bits. */
const roundings = { int8: { unit: 0, bits: 13 }, q4: { unit: 32, bits: 7 } } as const
/** x [rows, K] as the product reads it, rounded: [rows, width] with zeros at the end. */
function activations(planner: Planner, x: Value, format: PackedAttrs['format'], width: number): Value {
  const [rows, K] = x.shape
  const [xRow, xK] = x.strides
  const place = { K, from: x.offset, xRow, xK }
  if (format === 'f16') {
    if (width === K && planner.isWhole(x)) return x
    return planner.draw({
      code: 'float value(int o) { int row = o / width; int k = o - row * width; return k < K ? at0(from + row * xRow + k * xK) : 0.0; }',
      inputs: [x],
      ints: { ...place, width },
      shape: [rows, width],
      dtype: 'f32',
    })
  }
  const { bits } = roundings[format]
  const unit = roundings[format].unit || Math.max(1, K)
  const units = up(K, unit)
  // (step, 1/step): the power of two below the largest, 2^(bits − 1) of them; not-a-number where something is not finite
  const steps = planner.draw({
    code: `vec4 quad(int o) {
  int row = o / units;
  int begin = (o - row * units) * unit;
  int end = min(K, begin + unit);
  float largest = 7.888609052210118e-31;
  for (int k = begin; k < end; k++) {
    float v = abs(at0(from + row * xRow + k * xK));
    if (isNan(v) || v == INF) return vec4(NAN);
    largest = max(largest, v);
  }
  int e = int(floatBitsToUint(largest) >> 23) + 1 - bits;
  return vec4(uintBitsToFloat(uint(e) << 23), uintBitsToFloat(uint(254 - e) << 23), 0.0, 0.0);
}`,
    inputs: [x],
    ints: { ...place, units, unit, bits },
    shape: [rows, units, 4],
    dtype: 'f32',
  })
  return planner.draw({
    code: `${EVEN}
float value(int o) {
  int row = o / width;
  int k = o - row * width;
  if (k >= K) return 0.0;
  vec4 s = texel1(row * units + k / unit);
  return clamp(evenOf(at0(from + row * xRow + k * xK) * s.y), -limit, limit) * s.x;
}`,
    inputs: [x, steps],
    ints: { ...place, width, units, unit },
    floats: { limit: 2 ** bits - 1 },
    shape: [rows, width],
    dtype: 'f32',
  })
}

interface Reader {
  /** GLSL that defines `void weights(int j, int k, out vec4 w0, …, out vec4 w3)`: columns j to j + 3 of terms 4k to 4k + 3. */
  readonly code: string
  /** Whether w0 … w3 are columns, or rows. */
  readonly columns: boolean
  readonly inputs: readonly Value[]
  readonly ints: Readonly<Record<string, number>>
  /** Terms, rounded up to what is packed. */
  readonly width: number
}
const OUT = 'out vec4 w0, out vec4 w1, out vec4 w2, out vec4 w3'
/** The parts, of which codes are input 1 and the next ones follow. */
function readerOf(
  planner: Planner,
  [codes, scales]: readonly Value[],
  format: PackedAttrs['format'],
  K: number,
): Reader {
  const flat = planner.whole(codes)
  switch (format) {
    case 'int8':
      return {
        code: `void weights(int j, int k, ${OUT}) {
  int q = ((j >> 4) * steps + k) * 16 + (j & 15);
  w0 = vec4(texel1(q) - 128); w1 = vec4(texel1(q + 1) - 128); w2 = vec4(texel1(q + 2) - 128); w3 = vec4(texel1(q + 3) - 128);
}`,
        columns: true,
        inputs: [flat],
        ints: { steps: codes.shape[1] },
        width: 4 * codes.shape[1],
      }
    case 'q4':
      return {
        code: `vec4 codes(int q, bool high) { ivec4 t = texel1(q); return vec4((high ? t >> 4 : t & 15) - 8); }
void weights(int j, int k, ${OUT}) {
  int g = (j >> 2) * blocks;
  int q = (g * 4 + (k >> 1)) * 4;
  bool high = (k & 1) == 1;
  vec4 s = texel2(g + (k >> 3));
  w0 = codes(q, high) * s.x; w1 = codes(q + 1, high) * s.y; w2 = codes(q + 2, high) * s.z; w3 = codes(q + 3, high) * s.w;
}`,
        columns: true,
        inputs: [flat, asFloat(planner, scales)],
        ints: { blocks: codes.shape[1] },
        width: 32 * codes.shape[1],
      }
    case 'f16':
      return {
        // texels of 16 bits bring their sign to the top; no infinities among weights; subnormal halves are whole numbers of 2⁻²⁴
        code: `vec4 halves(int q) {
  uvec4 h = uvec4(texel1(q));
  uvec4 size = h & 0x7fffu;
  vec4 y = mix(uintBitsToFloat((size << 13) + 0x38000000u), vec4(size) * 5.9604644775390625e-8, lessThan(size, uvec4(1024u)));
  return uintBitsToFloat(floatBitsToUint(y) | (h & 0x80000000u));
}
void weights(int j, int k, ${OUT}) {
  int q = (((j >> 3) * depth + 4 * k) << 1) + ((j >> 2) & 1);
  w0 = halves(q); w1 = halves(q + 2); w2 = halves(q + 4); w3 = halves(q + 6);
}`,
        columns: false,
        inputs: [flat],
        ints: { depth: K },
        width: 4 * up(K, 4),
      }
  }
}
const asFloat = (planner: Planner, halves: Value): Value =>
  map(planner, 'ofHalf(a)', [halves], { shape: halves.shape, dtype: 'f32' })

const quantizedLinear: Kernel = {
  plan: (node, [x, ...rest], planner) => {
    const { format, shape: matrix, outAxis } = node.attrs as PackedAttrs
    const [N, K] = [matrix[outAxis], matrix[1 - outAxis]]
    const count = format === 'f16' ? 1 : 2
    const scale = format === 'int8' ? rest[1] : null
    const bias = rest[count] ?? null
    const reader = readerOf(planner, rest.slice(0, count), format, K)
    const { width } = reader
    const u = activations(planner, asRows(planner, node, x), format, width)
    const M = u.shape[0]
    // four outputs at once; what is packed goes on with zeros
    const columns = 4 * up(N, 4)

    const sides = [scale, bias].filter((v) => v !== null)
    const ints: Record<string, number> = {}
    sides.forEach((v, i) => {
      ints[`side${i}`] = v.offset
      ints[`along${i}`] = v.strides[0]
    })
    const epilogue: Epilogue | undefined =
      sides.length === 0
        ? undefined
        : {
            code: (first, four) => {
              const { type, lanes } = lanesOf(four)
              const side = (i: number): string =>
                `${type}(${lanes.map((_, n) => `at${first + i}(side${i} + (j + ${n}) * along${i})`).join(', ')})`
              return `${type} finish(${type} acc, int group, int i, int j) { return acc${scale ? ` * ${side(0)}` : ''}${bias ? ` + ${side(scale ? 1 : 0)}` : ''}; }`
            },
            inputs: sides,
            ints,
          }
    const step = (y: string, u: string): string =>
      reader.columns
        ? `${y} += vec4(dot(${u}, w0), dot(${u}, w1), dot(${u}, w2), dot(${u}, w3));`
        : `${y} += ${u}.x * w0 + ${u}.y * w1 + ${u}.z * w2 + ${u}.w * w3;`
    const common = { N: columns, fours: width / 4, ...reader.ints }
    const lead = x.shape.slice(0, -1)
    const result = (y: Value): Value[] => [
      { ...y, shape: [...lead, N], strides: [...stridesOf(lead).map((s) => s * columns), 1] },
    ]
    if (M >= 4) {
      const rows = [0, 1, 2, 3]
      const parts = planner.drawMany(
        {
          code: `${reader.code}
void quads(int t, out vec4 y[4]) {
  int o = t << 2; int i = o / N; int j = o - i * N;
  int p = 4 * i * fours;
  ${rows.map((r) => `y[${r}] = vec4(0.0);`).join(' ')}
  vec4 u, w0, w1, w2, w3;
  for (int k = 0; k < fours; k++) {
    weights(j, k, w0, w1, w2, w3);
    ${rows.map((r) => `u = texel0(p + ${r} * fours + k); ${step(`y[${r}]`, 'u')}`).join('\n    ')}
  }
}`,
          inputs: [u, ...reader.inputs],
          ints: common,
          shape: [up(M, 4), columns],
          dtype: 'f32',
        },
        4,
      )
      return result(inOrder(planner, parts, [M, columns], { epilogue }))
    }
    const parts = partsFor(width, M * columns)
    const isSplit = parts > 1
    const finish = isSplit ? undefined : epilogue
    const y = planner.draw({
      code: `${reader.code}
${finish?.code(1 + reader.inputs.length, true) ?? ''}
vec4 quad(int t) {
  int o = t << 2; int part = o / apart; o -= part * apart; int i = o / N; int j = o - i * N;
  vec4 y = vec4(0.0);
  vec4 u, w0, w1, w2, w3;
  int stop = min(fours, (part + 1) * chunk);
  for (int k = part * chunk; k < stop; k++) { u = texel0(i * fours + k); weights(j, k, w0, w1, w2, w3); ${step('y', 'u')} }
  return ${finish ? 'finish(y, 0, i, j)' : 'y'};
}`,
      inputs: [u, ...reader.inputs, ...(finish?.inputs ?? [])],
      ints: { ...common, apart: M * columns, chunk: up(width / 4, parts), ...finish?.ints },
      shape: isSplit ? [parts, M, columns] : [M, columns],
      dtype: 'f32',
    })
    return result(isSplit ? together(planner, y, [M, columns], epilogue) : y)
  },
}

/** The matrix, for what does not know about quantisation. */
const dequantize: Kernel = {
  plan: (node, parts, planner) => {
    const { format, outAxis } = node.attrs as PackedAttrs
    const { shape } = node.to[0]
    const [codes, scales] = parts
    const lines = {
      int8: 'return float(at0(((n >> 4) * steps + (k >> 2)) * 64 + (n & 15) * 4 + (k & 3)) - 128) * at1(scale + n * along);',
      q4: `int block = (n >> 2) * steps + (k >> 5);
  int v = at0(block * 64 + ((k & 31) >> 3) * 16 + (n & 3) * 4 + (k & 3));
  return float(((k & 4) == 4 ? v >> 4 : v & 15) - 8) * ofHalf(at1(block * 4 + (n & 3)));`,
      f16: 'return ofHalf(at0(((n >> 3) * steps + k) * 8 + (n & 7)));',
    } as const
    const inputs = [planner.whole(codes)]
    if (format === 'int8') inputs.push(scales)
    if (format === 'q4') inputs.push(planner.whole(scales))
    return [
      planner.draw({
        code: `float value(int o) {
  int i = o / width; int j = o - i * width;
  ${outAxis === 0 ? 'int n = i; int k = j;' : 'int n = j; int k = i;'}
  ${lines[format]}
}`,
        inputs,
        ints: {
          width: shape[1],
          steps: codes.shape[1],
          ...(format === 'int8' ? { scale: scales.offset, along: scales.strides[0] } : {}),
        },
        shape,
        dtype: 'f32',
      }),
    ]
  },
}

export const quantizedKernels = { dequantize, quantizedLinear } satisfies Record<string, Kernel>
