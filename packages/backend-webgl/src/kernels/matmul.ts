/**
 * Matrix products over views. A texel holds four neighbours, so where rows lie well, one fetch brings four factors:
 * `rows` of b (four columns of one row k) make four results at once, `columns` of b (four k of one column, as in q·kᵀ and
 * x·Wᵀ) make one result by dot products. Other layouts are read one by one; nothing is copied or transposed.
 */
import { type Shape, sizeOf } from '@heed/tensor'
import type { Drawing, Kernel, Planner, Value } from '../plan.js'
import { broadcastStrides, walk } from '../walk.js'

/** What happens to a product before it is written. */
export interface Epilogue {
  /**
   * GLSL that defines `float finish(float acc, int group, int i, int j)`: row i and column j of matrix `group`. Its own
   * inputs are x2, x3 …
   */
  readonly code: string
  readonly inputs: readonly Value[]
  readonly ints: Readonly<Record<string, number>>
  readonly floats?: Readonly<Record<string, number>>
}

const aligned = (...n: readonly number[]): boolean => n.every((v) => v % 4 === 0)

/** a [.., M, K] · b [.., K, N], batch axes broadcast to `batch`: [..batch, M, N]. */
export function product(planner: Planner, a: Value, b: Value, batch: Shape, epilogue?: Epilogue): Value {
  const [M, K] = a.shape.slice(-2)
  const N = b.shape[b.shape.length - 1]
  const [aRow, aK] = a.strides.slice(-2)
  const [bK, bColumn] = b.strides.slice(-2)
  const lead = (v: Value) => ({
    offset: v.offset,
    strides: broadcastStrides({ shape: v.shape.slice(0, -2), strides: v.strides.slice(0, -2) }, batch),
  })
  const [la, lb] = [lead(a), lead(b)]
  const groups = walk('group', batch, [la, lb])
  const aFours = aK === 1 && aligned(K, aRow, a.offset, ...la.strides)
  const bColumns = bK === 1 && aligned(K, bColumn, b.offset, ...lb.strides)
  const bRows = !bColumns && bColumn === 1 && aligned(N, bK, b.offset, ...lb.strides)
  // four results in one row share their row of a
  const together = aligned(N)
  const finish = (acc: string, j: string): string => (epilogue ? `finish(${acc}, g, i, ${j})` : acc)
  const head = `int g = o / (M * N); int r = o - g * M * N; int i = r / N; int j = r - i * N; int pa, pb; group(g, pa, pb); pa += i * aRow;`
  let code: string
  if (bRows)
    code = `vec4 quad(int t) {
  int o = t << 2; ${head} pb = (pb + j) >> 2;
  vec4 acc = vec4(0.0);
  ${
    aFours
      ? `for (int k = 0; k < K; k += 4) {
    vec4 u = texel0((pa + k) >> 2);
    int q = pb + k * bFour;
    acc += u.x * texel1(q) + u.y * texel1(q + bFour) + u.z * texel1(q + 2 * bFour) + u.w * texel1(q + 3 * bFour);
  }`
      : `for (int k = 0; k < K; k++) acc += at0(pa + k * aK) * texel1(pb + k * bFour);`
  }
  return vec4(${[0, 1, 2, 3].map((c) => finish(`acc[${c}]`, `j + ${c}`)).join(', ')});
}`
  else if (aFours && bColumns && together)
    code = `vec4 quad(int t) {
  int o = t << 2; ${head} pa >>= 2; pb = (pb + j * bColumn) >> 2;
  int step_ = bColumn >> 2;
  vec4 c0 = vec4(0.0); vec4 c1 = c0; vec4 c2 = c0; vec4 c3 = c0;
  for (int k = 0; k < K >> 2; k++) {
    vec4 u = texel0(pa + k);
    int q = pb + k;
    c0 += u * texel1(q); c1 += u * texel1(q + step_); c2 += u * texel1(q + 2 * step_); c3 += u * texel1(q + 3 * step_);
  }
  vec4 one = vec4(1.0);
  return vec4(${[0, 1, 2, 3].map((c) => finish(`dot(c${c}, one)`, `j + ${c}`)).join(', ')});
}`
  else
    code = `float value(int o) {
  ${head} pb += j * bColumn;
  ${
    aFours && bColumns
      ? 'vec4 four = vec4(0.0); for (int k = 0; k < K; k += 4) four += texel0((pa + k) >> 2) * texel1((pb + k) >> 2); float acc = dot(four, vec4(1.0));'
      : 'float acc = 0.0; for (int k = 0; k < K; k++) acc += at0(pa + k * aK) * at1(pb + k * bK);'
  }
  return ${finish('acc', 'j')};
}`
  const drawing: Drawing = {
    code: [groups.code, epilogue?.code ?? '', code].join('\n'),
    inputs: [a, b, ...(epilogue?.inputs ?? [])],
    ints: {
      ...groups.ints,
      M,
      N,
      K,
      aRow,
      aK,
      bK,
      bColumn,
      ...(bRows ? { bFour: bK / 4 } : {}),
      ...epilogue?.ints,
    },
    ...(epilogue?.floats ? { floats: epilogue.floats } : {}),
    shape: [...batch, M, N],
    dtype: 'f32',
  }
  return planner.draw(drawing)
}

const matmul: Kernel = {
  plan: (n, [a, b], planner) => [product(planner, a, b, n.to[0].shape.slice(0, -2))],
}

/** x·W + b in one program. */
const linear: Kernel = {
  plan: (n, [x, w, b], planner) => {
    const { shape } = n.to[0]
    const width = x.shape[x.shape.length - 1]
    const rows = width === 0 ? sizeOf(shape.slice(0, -1)) : sizeOf(x.shape) / width
    const flat = planner.view({ ...n, op: 'reshape', to: [{ shape: [rows, width], dtype: 'f32' }] }, x)
    const y = product(
      planner,
      flat,
      w,
      [],
      b && {
        code: 'float finish(float acc, int group, int i, int j) { return acc + at2(bias + j * biasStep); }',
        inputs: [b],
        ints: { bias: b.offset, biasStep: b.strides[0] },
      },
    )
    return [planner.view({ ...n, op: 'reshape' }, y)]
  },
}

export const matmulKernels = { matmul, linear } satisfies Record<string, Kernel>
