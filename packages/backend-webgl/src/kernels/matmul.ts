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
   * GLSL that defines `float finish(float acc, int group, int i, int j)`: row i and column j of matrix `group`, where M and N
   * are its sizes. `first` is the number of the first of its own inputs.
   */
  readonly code: (first: number) => string
  readonly inputs: readonly Value[]
  readonly ints: Readonly<Record<string, number>>
  readonly floats?: Readonly<Record<string, number>>
}

const aligned = (...n: readonly number[]): boolean => n.every((v) => v % 4 === 0)

/** Products of fewer rows or shorter sums are made a row at a time. */
const FEW_ROWS = 4
const SHORT = 8

interface Rows4 {
  readonly planner: Planner
  readonly a: Value
  readonly b: Value
  readonly batch: Shape
  readonly epilogue: Epilogue | undefined
  readonly groups: ReturnType<typeof walk>
  /** A texel of a holds four rows of one column, as in xᵀ·dy, and not four columns of one row. */
  readonly aColumns: boolean
  readonly bRows: boolean
}
/**
 * Four rows by four columns at once: one fetch for eight multiplications, where a single row takes five for 16. The rows go
 * to four textures, rows 4i + r to texture r, and a second program puts them in order.
 */
function byFourRows({ planner, a, b, batch, epilogue, groups, aColumns, bRows }: Rows4): Value {
  const [M, K] = a.shape.slice(-2)
  const N = b.shape[b.shape.length - 1]
  const [aRow, aK] = a.strides.slice(-2)
  const [bK, bColumn] = b.strides.slice(-2)
  const quarter = Math.ceil(M / 4)
  const rows = [0, 1, 2, 3]
  const four = (f: (r: number) => string): string => rows.map(f).join(' ')
  const inner = aColumns
    ? `u = texel0(p0); vec4 w = texel1(q); ${four((r) => `y[${r}] += u[${r}] * w;`)} p0 += aStep; q += bStep;`
    : bRows
      ? `vec4 b0 = texel1(q); vec4 b1 = texel1(q + bStep); vec4 b2 = texel1(q + 2 * bStep); vec4 b3 = texel1(q + 3 * bStep);
    ${four((r) => `u = texel0(p${r} + k); y[${r}] += u.x * b0 + u.y * b1 + u.z * b2 + u.w * b3;`)}
    q += 4 * bStep;`
      : `vec4 b0 = texel1(q + k); vec4 b1 = texel1(q + k + bStep); vec4 b2 = texel1(q + k + 2 * bStep); vec4 b3 = texel1(q + k + 3 * bStep);
    ${four((r) => `u = texel0(p${r} + k); y[${r}] += vec4(dot(u, b0), dot(u, b1), dot(u, b2), dot(u, b3));`)}`
  const parts = planner.drawMany(
    {
      code: `${groups.code}
void quads(int t, out vec4 y[4]) {
  int o = t << 2; int g = o / (M4 * N); int r = o - g * M4 * N; int i = r / N; int j = r - i * N;
  int pa, pb; group(g, pa, pb);
  int p0 = (pa + 4 * i * aRow) >> 2; int p1 = p0 + (aRow >> 2); int p2 = p1 + (aRow >> 2); int p3 = p2 + (aRow >> 2);
  int q = (pb + j * bColumn) >> 2;
  ${four((r) => `y[${r}] = vec4(0.0);`)}
  vec4 u;
  for (int k = 0; k < steps; k++) {
    ${inner}
  }
}`,
      inputs: [a, b],
      ints: {
        ...groups.ints,
        ...{ M4: quarter, N, steps: aColumns ? K : K / 4, aRow, bColumn },
        ...(aColumns ? { aStep: aK / 4 } : {}),
        bStep: (bRows ? bK : bColumn) / 4,
      },
      shape: [...batch, quarter, N],
      dtype: 'f32',
    },
    4,
  )
  const finish = (c: number): string => (epilogue ? `finish(y[${c}], g, i, j + ${c})` : `y[${c}]`)
  return planner.draw({
    code: `${epilogue?.code(4) ?? ''}
vec4 quad(int t) {
  int o = t << 2; int g = o / (M * N); int r = o - g * M * N; int i = r / N; int j = r - i * N;
  int q = ((g * M4 + (i >> 2)) * N + j) >> 2;
  int c = i & 3;
  vec4 y = c == 0 ? texel0(q) : c == 1 ? texel1(q) : c == 2 ? texel2(q) : texel3(q);
  return ${epilogue ? `vec4(${rows.map(finish).join(', ')})` : 'y'};
}`,
    inputs: [...parts, ...(epilogue?.inputs ?? [])],
    ints: { M, N, M4: quarter, ...epilogue?.ints },
    ...(epilogue?.floats ? { floats: epilogue.floats } : {}),
    shape: [...batch, M, N],
    dtype: 'f32',
  })
}

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
  const aColumns = !aFours && aRow === 1 && aligned(aK, a.offset, ...la.strides)
  const isLarge = M >= FEW_ROWS && K >= SHORT
  if (together && isLarge && (aFours ? bRows || bColumns : aColumns && bRows))
    return byFourRows({ planner, a, b, batch, epilogue, groups, aColumns, bRows })
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
    code: [groups.code, epilogue?.code(2) ?? '', code].join('\n'),
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
        code: (first) =>
          `float finish(float acc, int group, int i, int j) { return acc + at${first}(bias + j * biasStep); }`,
        inputs: [b],
        ints: { bias: b.offset, biasStep: b.strides[0] },
      },
    )
    return [planner.view({ ...n, op: 'reshape' }, y)]
  },
}

export const matmulKernels = { matmul, linear } satisfies Record<string, Kernel>
