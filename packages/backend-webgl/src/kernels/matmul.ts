/**
 * Matrix products over views. A texel holds four neighbours, so one fetch brings four factors: `rows` of b (four columns of one
 * row k) make four results at once, `columns` of b (four k of one column, as in q·kᵀ and x·Wᵀ) make one result by dot products.
 * Where neighbours begin in the middle of a texel, as in a matrix of 50,257 columns, two fetches bring four. Other layouts are
 * read one by one; nothing is copied or transposed.
 */
import { type GraphNode, type Shape, sizeOf, stridesOf } from '@heed/tensor'
import type { Kernel, Planner, Value } from '../plan.js'
import { broadcastStrides, walk } from '../walk.js'
import { reducedTo } from './reduce.js'

/** What happens to a product before it is written. */
export interface Epilogue {
  /**
   * GLSL that defines `float finish(float acc, int group, int i, int j)`: row i and column j of matrix `group`, where M and N
   * are its sizes; with `four` the same of `vec4`, columns j to j + 3. `first` is the number of the first of its own inputs.
   */
  readonly code: (first: number, four: boolean) => string
  readonly inputs: readonly Value[]
  readonly ints?: Readonly<Record<string, number>>
  readonly floats?: Readonly<Record<string, number>>
  /** What it makes of results that need not be computed. */
  readonly blank?: string
}
/** What of a product need not be computed: a mask that hides the future halves the work. */
export interface Within {
  /**
   * GLSL that defines `ivec2 within(int first, int last)`: for rows first to last, outside of [x, y) columns are blank, or
   * terms are 0. With columns, an epilogue may use all of this text, and `ivec2 seen`, what its row sees.
   */
  readonly code: (first: number) => string
  readonly inputs: readonly Value[]
  readonly ints: Readonly<Record<string, number>>
  readonly of: 'columns' | 'terms'
  /** The terms are so many runs one after another, each with that range. */
  readonly runs?: number
}
/** The type of an epilogue's numbers, and how each of them is named in it. */
export const lanesOf = (four: boolean): { type: string; lanes: readonly string[] } =>
  four ? { type: 'vec4', lanes: ['.x', '.y', '.z', '.w'] } : { type: 'float', lanes: [''] }
export interface Extras {
  readonly epilogue?: Epilogue | undefined
  readonly within?: Within | undefined
}

const aligned = (...n: readonly number[]): boolean => n.every((v) => v % 4 === 0)

/** Products of fewer rows or columns or shorter sums are made a row at a time. */
const FEW = 4
const SHORT = 8
/** So few results of so long sums leave a GPU idle: the sums are made in parts of some 64 terms, at most 64 of them. */
const FEW_RESULTS = 4096
const LONG = 512
const PART = 64

interface Job extends Extras {
  readonly planner: Planner
  readonly a: Value
  readonly b: Value
  readonly batch: Shape
  readonly groups: ReturnType<typeof walk>
  readonly aLies: Lies
  readonly bLies: Lies
}
/** Along which axis neighbours lie: terms in fours, or rows of a and columns of b. */
interface Lies {
  readonly along: 'terms' | 'others' | 'neither'
  /** Fours of neighbours begin where texels do, in every row and matrix. */
  readonly fours: boolean
}
function liesOf({ offset }: Value, K: number, term: number, other: number, lead: readonly number[]): Lies {
  if (term === 1 && aligned(K, other, offset, ...lead)) return { along: 'terms', fours: true }
  if (other === 1) return { along: 'others', fours: aligned(term, offset, ...lead) }
  return { along: 'neither', fours: false }
}
/** GLSL of `four1(p)`, four neighbours of input 1; p counts texels where fours begin there, else elements. */
const fourCode = (input: number, { fours }: Lies): string =>
  fours
    ? `vec4 four${input}(int p) { return texel${input}(p); }`
    : `vec4 four${input}(int p) {
  vec4 x = texel${input}(p >> 2);
  int s = p & 3;
  if (s == 0) return x;
  vec4 y = texel${input}((p >> 2) + 1);
  return s == 1 ? vec4(x.yzw, y.x) : s == 2 ? vec4(x.zw, y.xy) : vec4(x.w, y.xyz);
}`
/** A place in that unit: GLSL of an element's number, and a number of elements. */
const placeOf = ({ fours }: Lies, element: string): string => (fours ? `(${element}) >> 2` : element)
const unitsOf = ({ fours }: Lies, elements: number): number => (fours ? elements >> 2 : elements)
const sizesOf = ({ a, b }: Job) => {
  const [M, K] = a.shape.slice(-2)
  const [aRow, aK] = a.strides.slice(-2)
  const [bK, bColumn] = b.strides.slice(-2)
  return { M, N: b.shape[b.shape.length - 1], K, aRow, aK, bK, bColumn }
}
/** The loop over the terms that `rows` (GLSL: first, last) need: k counts them, in fours if `fours`. */
function overTerms({ within }: Job, fours: boolean, rows: string, isSplit = false) {
  const runs = within?.of === 'terms' ? (within.runs ?? 1) : 0
  // fours at the end of a run would reach into the next
  const isCut = runs > 0 && !(fours && runs > 1)
  const range = `ivec2 w = ${isCut ? `within(${rows})` : 'ivec2(0, K)'};${isSplit ? ' w = ivec2(max(w.x, part * chunk), min(w.y, (part + 1) * chunk));' : ''}`
  return (body: string): string => {
    if (fours) return `${range} for (int k = w.x >> 2; k < (w.y + 3) >> 2; k++) { ${body} }`
    if (!isCut || runs === 1) return `${range} for (int k = w.x; k < w.y; k++) { ${body} }`
    return `${range} for (int run = 0; run < K; run += K / runs) for (int k = run + w.x; k < run + w.y; k++) { ${body} }`
  }
}
const runsOf = ({ within }: Job): Record<string, number> => (within?.runs ? { runs: within.runs } : {})
/** Finds what `rows` see, and returns a blank early: `columns` neighbours from column j on. */
const blankCode = ({ within }: Extras, rows: string, columns: number, then: string): string =>
  within?.of === 'columns'
    ? `seen = within(${rows}); if (j + ${columns - 1} < seen.x || j >= seen.y) { ${then} }`
    : ''
/** The text of what is hidden, with `seen` for an epilogue. */
const withinCode = (within: Within | null | undefined, first: number): string =>
  within ? `${within.of === 'columns' ? 'ivec2 seen;' : ''}\n${within.code(first)}` : ''

/**
 * Four rows by four columns at once: one fetch for eight multiplications, where a single row takes five for 16. The rows go
 * to four textures, rows 4i + r to texture r, their columns padded to fours, and a second program puts them in order.
 */
function byFourRows(job: Job): Value {
  const { planner, a, b, batch, within, groups, aLies, bLies } = job
  const { M, N, K, aRow, aK, bK, bColumn } = sizesOf(job)
  const quarter = Math.ceil(M / 4)
  const width = 4 * Math.ceil(N / 4)
  const rows = [0, 1, 2, 3]
  const four = (f: (r: number) => string): string => rows.map(f).join(' ')
  const aTerms = aLies.along === 'terms'
  const columns = rows.map((c) => `vec4 b${c} = four1(e + ${c} * bStep);`).join(' ')
  let inner: string
  if (aTerms && bLies.along === 'others')
    inner = `int e = q + 4 * k * bStep; ${columns}
    ${four((r) => `u = four0(p${r} + k); y[${r}] += u.x * b0 + u.y * b1 + u.z * b2 + u.w * b3;`)}`
  else if (aTerms)
    inner = `int e = q + k; ${columns}
    ${four((r) => `u = four0(p${r} + k); y[${r}] += vec4(dot(u, b0), dot(u, b1), dot(u, b2), dot(u, b3));`)}`
  else
    inner = `u = ${aLies.along === 'others' ? 'four0(p0 + k * aStep)' : `vec4(${rows.map((r) => `at0(p${r} + k * aStep)`).join(', ')})`};
    vec4 v = four1(q + k * bStep); ${four((r) => `y[${r}] += u[${r}] * v;`)}`
  const parts = planner.drawMany(
    {
      code: `${withinCode(within, 2)}
${groups.code}
${fourCode(0, aLies)}
${fourCode(1, bLies)}
void quads(int t, out vec4 y[4]) {
  int o = t << 2; int g = o / (M4 * width); int r = o - g * M4 * width; int i = r / width; int j = r - i * width;
  ${four((r) => `y[${r}] = vec4(0.0);`)}
  ${blankCode(job, '4 * i, 4 * i + 3', 4, 'return;')}
  int pa, pb; group(g, pa, pb);
  int p0 = ${placeOf(aLies, 'pa + 4 * i * aRow')}; int p1 = p0 + aNext; int p2 = p1 + aNext; int p3 = p2 + aNext;
  int q = ${placeOf(bLies, 'pb + j * bColumn')};
  vec4 u;
  ${overTerms(job, aTerms, '4 * i, 4 * i + 3')(inner)}
}`,
      inputs: [a, b, ...(within?.inputs ?? [])],
      ints: {
        ...groups.ints,
        ...{ M4: quarter, M, width, K, aRow, bColumn },
        aNext: unitsOf(aLies, aRow),
        aStep: unitsOf(aLies, aK),
        bStep: unitsOf(bLies, bLies.along === 'others' ? bK : bColumn),
        ...within?.ints,
        ...runsOf(job),
      },
      shape: [...batch, quarter, width],
      dtype: 'f32',
    },
    4,
  )
  return inOrder(planner, parts, [...batch, M, N], job)
}
/** Four textures of [.., ⌈M/4⌉, N padded to fours], rows 4i + r in texture r, as one of [.., M, N]. */
export function inOrder(planner: Planner, parts: readonly Value[], shape: Shape, extras: Extras): Value {
  const { epilogue, within } = extras
  const [M, N] = shape.slice(-2)
  const columns = within?.of === 'columns' ? within : null
  const quad = aligned(N)
  const [type, n] = quad ? ['vec4', 4] : ['float', 1]
  const read = (input: number): string => (quad ? `texel${input}(q >> 2)` : `at${input}(q)`)
  return planner.draw({
    code: `${withinCode(columns, 4)}
${epilogue?.code(4 + (columns?.inputs.length ?? 0), quad) ?? ''}
${type} ${quad ? 'quad(int t) { int o = t << 2;' : 'value(int o) {'}
  int g = o / (M * N); int r = o - g * M * N; int i = r / N; int j = r - i * N;
  ${blankCode(extras, 'i, i', n, `return ${type}(${epilogue?.blank ?? '0.0'});`)}
  int q = (g * M4 + (i >> 2)) * width + j;
  int c = i & 3;
  ${type} y = c == 0 ? ${read(0)} : c == 1 ? ${read(1)} : c == 2 ? ${read(2)} : ${read(3)};
  return ${epilogue ? 'finish(y, g, i, j)' : 'y'};
}`,
    inputs: [...parts, ...(columns?.inputs ?? []), ...(epilogue?.inputs ?? [])],
    ints: { M, N, M4: Math.ceil(M / 4), width: 4 * Math.ceil(N / 4), ...columns?.ints, ...epilogue?.ints },
    ...(epilogue?.floats ? { floats: epilogue.floats } : {}),
    shape,
    dtype: 'f32',
  })
}

/** A row at a time, and of four columns at once where they lie well; long sums of few results in `parts`. */
function byRows(job: Job, parts: number): Value {
  const { planner, a, b, batch, within, groups, aLies, bLies } = job
  const { M, N, K, aRow, aK, bK, bColumn } = sizesOf(job)
  const isSplit = parts > 1
  const epilogue = isSplit ? undefined : job.epilogue
  const finish = (acc: string): string => (epilogue ? `finish(${acc}, g, i, j)` : acc)
  const aTerms = aLies.along === 'terms'
  const bTerms = bLies.along === 'terms'
  // four results are neighbours in one row
  const isWhole = aligned(N) || (M * sizeOf(batch) === 1 && !isSplit)
  const bRows = bLies.along === 'others' && isWhole
  const quad = bRows || (aTerms && bTerms && isWhole)
  const blank = blankCode(
    job,
    'i, i',
    quad ? 4 : 1,
    `return ${quad ? 'vec4' : 'float'}(${epilogue?.blank ?? '0.0'});`,
  )
  const head = `${isSplit ? 'int part = o / apart; o -= part * apart; ' : ''}int g = o / (M * N); int r = o - g * M * N; int i = r / N; int j = r - i * N;
  ${blank}
  int pa, pb; group(g, pa, pb); pa += i * aRow;`
  const over = (fours: boolean, body: string): string => overTerms(job, fours, 'i, i', isSplit)(body)
  let code: string
  if (bRows)
    code = `vec4 quad(int t) {
  int o = t << 2; ${head} pb = ${placeOf(bLies, 'pb + j')};
  vec4 acc = vec4(0.0);
  ${
    aTerms
      ? `pa >>= 2; ${over(true, 'vec4 u = texel0(pa + k); int q = pb + 4 * k * bStep; acc += u.x * four1(q) + u.y * four1(q + bStep) + u.z * four1(q + 2 * bStep) + u.w * four1(q + 3 * bStep);')}`
      : over(false, 'acc += at0(pa + k * aK) * four1(pb + k * bStep);')
  }
  return ${finish('acc')};
}`
  else if (quad)
    code = `vec4 quad(int t) {
  int o = t << 2; ${head} pa >>= 2; pb = (pb + j * bColumn) >> 2;
  int step_ = bColumn >> 2;
  vec4 c0 = vec4(0.0); vec4 c1 = c0; vec4 c2 = c0; vec4 c3 = c0;
  ${over(true, 'vec4 u = texel0(pa + k); int q = pb + k; c0 += u * texel1(q); c1 += u * texel1(q + step_); c2 += u * texel1(q + 2 * step_); c3 += u * texel1(q + 3 * step_);')}
  vec4 one = vec4(1.0);
  return ${finish('vec4(dot(c0, one), dot(c1, one), dot(c2, one), dot(c3, one))')};
}`
  else
    code = `float value(int o) {
  ${head} pb += j * bColumn;
  ${
    aTerms && bTerms
      ? `vec4 four = vec4(0.0); ${over(true, 'four += texel0((pa >> 2) + k) * texel1((pb >> 2) + k);')} float acc = dot(four, vec4(1.0));`
      : `float acc = 0.0; ${over(false, 'acc += at0(pa + k * aK) * at1(pb + k * bK);')}`
  }
  return ${finish('acc')};
}`
  const shape = [...batch, M, N]
  const y = planner.draw({
    code: [
      withinCode(within, 2),
      groups.code,
      bRows ? fourCode(1, bLies) : '',
      epilogue?.code(2 + (within?.inputs.length ?? 0), quad) ?? '',
      code,
    ].join('\n'),
    inputs: [a, b, ...(within?.inputs ?? []), ...(epilogue?.inputs ?? [])],
    ints: {
      ...groups.ints,
      ...{ M, N, K, aRow, aK, bK, bColumn },
      ...(bRows ? { bStep: unitsOf(bLies, bK) } : {}),
      ...within?.ints,
      ...runsOf(job),
      ...epilogue?.ints,
      ...(isSplit ? { apart: sizeOf(shape), chunk: chunkOf(K, parts) } : {}),
    },
    ...(epilogue?.floats ? { floats: epilogue.floats } : {}),
    shape: isSplit ? [parts, ...shape] : shape,
    dtype: 'f32',
  })
  return isSplit ? together(planner, y, shape, job.epilogue) : y
}
const chunkOf = (K: number, parts: number): number => 4 * Math.ceil(K / parts / 4)
/** The parts of split sums, added. */
export function together(
  planner: Planner,
  parts: Value,
  shape: Shape,
  epilogue: Epilogue | undefined,
): Value {
  const [M, N] = shape.slice(-2)
  return planner.draw({
    code: `${epilogue?.code(1, false) ?? ''}
float value(int o) {
  float acc = 0.0;
  for (int part = 0; part < parts; part++) acc += at0(part * apart + o);
  ${epilogue ? 'int g = o / (M * N); int r = o - g * M * N; int i = r / N; return finish(acc, g, i, r - i * N);' : 'return acc;'}
}`,
    inputs: [parts, ...(epilogue?.inputs ?? [])],
    ints: { M, N, parts: parts.shape[0], apart: sizeOf(shape), ...epilogue?.ints },
    ...(epilogue?.floats ? { floats: epilogue.floats } : {}),
    shape,
    dtype: 'f32',
  })
}

/** a [.., M, K] · b [.., K, N], batch axes broadcast to `batch`: [..batch, M, N]. */
export function product(planner: Planner, a: Value, b: Value, batch: Shape, extras: Extras = {}): Value {
  const [M, K] = a.shape.slice(-2)
  const N = b.shape[b.shape.length - 1]
  const [aRow, aK] = a.strides.slice(-2)
  const [bK, bColumn] = b.strides.slice(-2)
  const lead = (v: Value) => ({
    offset: v.offset,
    strides: broadcastStrides({ shape: v.shape.slice(0, -2), strides: v.strides.slice(0, -2) }, batch),
  })
  const [la, lb] = [lead(a), lead(b)]
  const job: Job = {
    planner,
    a,
    b,
    batch,
    ...extras,
    groups: walk('group', batch, [la, lb]),
    aLies: liesOf(a, K, aK, aRow, la.strides),
    bLies: liesOf(b, K, bK, bColumn, lb.strides),
  }
  const fits = job.bLies.along === 'others' || (job.aLies.along === 'terms' && job.bLies.along === 'terms')
  const isLarge = (M >= FEW || (M > 1 && !aligned(N))) && N >= FEW && K >= SHORT
  if (isLarge && fits) return byFourRows(job)
  const { within } = extras
  const canSplit = within?.of !== 'columns' && (within?.runs ?? 1) === 1
  return byRows(job, canSplit ? partsFor(K, sizeOf(batch) * M * N) : 1)
}
/** In how many parts sums of K terms are made. */
export function partsFor(K: number, results: number): number {
  if (K < LONG || results >= FEW_RESULTS) return 1
  return Math.ceil(K / chunkOf(K, Math.min(64, Math.ceil(K / PART))))
}

const matmul: Kernel = {
  plan: (n, [a, b], planner) => [product(planner, a, b, n.to[0].shape.slice(0, -2))],
}

/** [.., width] as a matrix. */
export function asRows(planner: Planner, n: GraphNode, v: Value): Value {
  const lead = v.shape.slice(0, -1)
  const shape = [sizeOf(lead), v.shape[lead.length]]
  return planner.view({ ...n, op: 'reshape', to: [{ shape, dtype: 'f32' }] }, v)
}
/** The last two axes in the other order. */
export const turned = (x: Value): Value => {
  const n = x.shape.length
  const swap = (list: readonly number[]): number[] => [...list.slice(0, n - 2), list[n - 1], list[n - 2]]
  return { ...x, shape: swap(x.shape), strides: swap(x.strides) }
}
/** A new array in another shape. */
export const as = (x: Value, shape: Shape): Value => ({ ...x, shape, strides: stridesOf(shape) })

/** x·W + b in one program. */
const linear: Kernel = {
  plan: (n, [x, w, b], planner) => {
    const epilogue: Epilogue | undefined = b && {
      code: (first, four) => {
        const { type, lanes } = lanesOf(four)
        const each = lanes.map((_, n) => `at${first}(bias + (j + ${n}) * biasStep)`)
        return `${type} finish(${type} acc, int group, int i, int j) { return acc + ${type}(${each.join(', ')}); }`
      },
      inputs: [b],
      ints: { bias: b.offset, biasStep: b.strides[0] },
    }
    return [as(product(planner, asRows(planner, n, x), w, [], { epilogue }), n.to[0].shape)]
  },
}
/** dx = dy·Wᵀ, dW = xᵀ·dy, db = Σ dy over rows. */
const linearVjp: Kernel = {
  plan: (n, inputs, planner) => {
    const [x, w] = inputs
    const dy = asRows(planner, n, inputs[inputs.length - 1])
    const dx = product(planner, dy, turned(w), [])
    const dw = product(planner, turned(asRows(planner, n, x)), dy, [])
    const bias = (n.attrs.nIn as number) > 2 ? [reducedTo(planner, dy, inputs[2].shape)] : []
    return [as(dx, x.shape), dw, ...bias]
  },
}

export const matmulKernels = { matmul, linear, 'linear.vjp': linearVjp } satisfies Record<string, Kernel>
