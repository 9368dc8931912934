/**
 * Properties that hold for every input, tried on random ones. A failure prints fast-check's seed and the smallest
 * counterexample; the same seed finds it again.
 */

import * as t from '@heed/tensor'
import { type Backend, primitiveNames, realize, reference, type Tensor, traceLazy } from '@heed/tensor'
import fc from 'fast-check'
import { compare, type Tolerance } from './compare.js'
import { halves, normal, sizeOf, stream } from './draw.js'
import { guise } from './guise.js'
import { tolerances } from './tolerances.js'

export interface Property {
  readonly name: string
  /** Rejects with the seed and the smallest counterexample when the property does not hold. */
  check(backend: Backend, options: PropertyOptions): Promise<void>
}
export interface PropertyOptions {
  readonly seed: number
  readonly runs: number
}

/** On a backend that stores halves, halves. */
const randoms = (shape: readonly number[], seed: string, scale = 1, half = false): Tensor => {
  const next = stream(seed)
  const values = Float32Array.from({ length: sizeOf(shape) }, () => scale * normal(next))
  return t.tensor(half ? halves(values) : values, { shape })
}
const storesHalves = (backend: Backend): boolean => backend.precision === 'f16'

function same(got: ArrayLike<number>, want: ArrayLike<number>, tolerance: Tolerance, what: string): void {
  const c = compare(got, want, tolerance)
  if (!c.pass) throw new Error(`${what}: ${c.reason}`)
}
const exactly: Tolerance = { rtol: 0, scaled: 0 }

async function read(tensors: readonly Tensor[], backend: Backend): Promise<ArrayLike<number>[]> {
  await realize(tensors, { backend })
  return Promise.all(tensors.map(async (x) => (await x.data()) as Float32Array))
}

/** The same backend, that claims primitives only: every composite is written out. */
export function withoutComposites(backend: Backend): Backend {
  const primitives = new Set<string>(primitiveNames)
  return guise(backend, (node) =>
    primitives.has(node.op) ? backend.supports(node) : 'composites are written out here',
  )
}

const softmaxRows: Property = {
  name: 'softmax rows sum to 1, or to 0 where nothing is left',
  check: (backend, { seed, runs }) =>
    fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(fc.float({ min: -60, max: 60, noNaN: true }), { minLength: 5, maxLength: 5 }), {
          minLength: 1,
          maxLength: 6,
        }),
        fc.array(fc.boolean(), { minLength: 30, maxLength: 30 }),
        async (rows, keep) => {
          const n = rows.length
          // 1, or the half below it
          const near = storesHalves(backend) ? 2 ** -11 : 2e-6
          const allowed = keep.slice(0, n * 5)
          const mask = t.tensor(Uint8Array.from(allowed, Number), { shape: [n, 5], dtype: 'bool' })
          const y = t.softmax(t.tensor(rows), { mask })
          const [sums, values] = await read([t.sum(y, { axes: -1 }), y], backend)
          for (let i = 0; i < n; i++) {
            const want = allowed.slice(i * 5, i * 5 + 5).includes(true) ? 1 : 0
            if (Math.abs(sums[i] - want) > near)
              throw new Error(`row ${i} sums to ${sums[i]}, expected ${want}`)
          }
          for (let i = 0; i < n * 5; i++)
            if (!(values[i] >= 0) || (!allowed[i] && values[i] !== 0))
              throw new Error(`weight ${values[i]} at ${i}`)
        },
      ),
      { seed, numRuns: runs },
    ),
}

const permutations: Property = {
  name: 'transposing by a permutation and its inverse changes nothing',
  check: (backend, { seed, runs }) =>
    fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 0, max: 4 }), { minLength: 1, maxLength: 5 }).chain((shape) =>
          fc.tuple(
            fc.constant(shape),
            fc.shuffledSubarray(
              shape.map((_, i) => i),
              { minLength: shape.length, maxLength: shape.length },
            ),
          ),
        ),
        async ([shape, perm]) => {
          const x = randoms(shape, `${shape}`, 1, storesHalves(backend))
          const inverse = perm.map((_, i) => perm.indexOf(i))
          const turned = t.transpose(x, perm)
          // neg forces memory in the permuted order between the two
          const back = t.neg(t.transpose(t.neg(turned), inverse))
          const [got, view, once] = await read([back, turned, t.neg(turned)], backend)
          const want = (await x.data()) as Float32Array
          same(got, want, exactly, 'there and back')
          same(view, permuted(want, shape, perm), exactly, 'a view')
          same(
            once,
            permuted(want, shape, perm).map((v) => -v),
            exactly,
            'once',
          )
        },
      ),
      { seed, numRuns: runs },
    ),
}
/** By hand, so that the property does not rest on the code it tests. */
function permuted(data: ArrayLike<number>, shape: readonly number[], perm: readonly number[]): number[] {
  const target = perm.map((p) => shape[p])
  return Array.from({ length: data.length }, (_, flat) => {
    const at = new Array<number>(shape.length)
    for (let d = target.length - 1, rest = flat; d >= 0; d--) {
      at[perm[d]] = rest % target[d]
      rest = Math.floor(rest / target[d])
    }
    return data[at.reduce((sum, v, i) => sum * shape[i] + v, 0)]
  })
}

const slices: Property = {
  name: 'slices of slices read what NumPy reads',
  check: (backend, { seed, runs }) => {
    // every second bound open, so that few slices are empty
    const bound = fc.option(fc.integer({ min: -12, max: 12 }), { nil: null, freq: 2 })
    const range = fc.tuple(bound, bound, fc.constantFrom(1, 2, 3, -1, -2, -3))
    return fc.assert(
      fc.asyncProperty(range, range, async (outer, inner) => {
        const n = 10
        const x = t.iota(n)
        const y = t.slice(t.slice(x, [outer]), [inner])
        const [got] = await read([t.neg(y)], backend)
        const want = sliced(
          sliced(
            Array.from({ length: n }, (_, i) => i),
            outer,
          ),
          inner,
        )
        same(
          got,
          want.map((v) => -v),
          exactly,
          'slice',
        )
      }),
      { seed, numRuns: runs },
    )
  },
}
/** Python's rule, by walking. */
function sliced(
  list: number[],
  [start, stop, step]: readonly [number | null, number | null, number],
): number[] {
  const n = list.length
  const clamp = (v: number): number =>
    step > 0 ? Math.min(Math.max(v < 0 ? v + n : v, 0), n) : Math.min(Math.max(v < 0 ? v + n : v, -1), n - 1)
  const from = start === null ? (step > 0 ? 0 : n - 1) : clamp(start)
  const to = stop === null ? (step > 0 ? n : -1) : clamp(stop)
  const out: number[] = []
  for (let i = from; step > 0 ? i < to : i > to; i += step) out.push(list[i])
  return out
}

const attentionArguments = fc.record({
  batch: fc.integer({ min: 1, max: 2 }),
  groups: fc.integer({ min: 1, max: 2 }),
  per: fc.integer({ min: 1, max: 3 }),
  queries: fc.integer({ min: 1, max: 9 }),
  keys: fc.integer({ min: 1, max: 11 }),
  dHead: fc.integer({ min: 1, max: 6 }),
  causal: fc.boolean(),
  offset: fc.integer({ min: -2, max: 6 }),
  masked: fc.boolean(),
  softcap: fc.constantFrom(0, 0, 3),
  window: fc.constantFrom(null, null, [2, 0] as const, [1, 1] as const),
})
type AttentionArguments = typeof attentionArguments extends fc.Arbitrary<infer A> ? A : never

/** Fresh q, k, v and options of one draw: the same numbers each time. */
function attentionCall(a: AttentionArguments) {
  const nHead = a.groups * a.per
  const q = randoms([a.batch, nHead, a.queries, a.dHead], 'q')
  const k = randoms([a.batch, a.groups, a.keys, a.dHead], 'k')
  const v = randoms([a.batch, a.groups, a.keys, a.dHead], 'v')
  const next = stream('mask')
  const mask = t.tensor(
    Uint8Array.from({ length: a.batch * a.keys }, () => (next() < 0.7 ? 1 : 0)),
    {
      shape: [a.batch, 1, 1, a.keys],
      dtype: 'bool',
    },
  )
  const options: t.AttentionOptions = {
    causal: a.causal,
    offset: a.offset,
    softcap: a.softcap,
    ...(a.window ? { window: a.window } : {}),
    ...(a.masked ? { mask } : {}),
  }
  return { q, k, v, options, seed: randoms([a.batch, nHead, a.queries, a.dHead], 'seed') }
}

const fusedIsBody: Property = {
  name: 'fused attention equals its body, forward and backward',
  check: (backend, { seed, runs }) =>
    fc.assert(
      fc.asyncProperty(attentionArguments, async (a) => {
        const on = (b: Backend) => {
          const { q, k, v, options, seed: dz } = attentionCall(a)
          const { z, lse } = t.attention(q, k, v, options)
          return read([z, lse, ...t.grad(z, [q, k, v], { seed: dz })], b)
        }
        const [fused, body] = [await on(backend), await on(withoutComposites(backend))]
        const { forward, gradient } = tolerances[backend.precision].attention
        const names = ['z', 'lse', 'dq', 'dk', 'dv']
        names.forEach((name, i) => same(fused[i], body[i], i < 2 ? forward : gradient, name))
      }),
      { seed, numRuns: runs },
    ),
}

const keptIsUnfused: Property = {
  name: 'a kept pattern equals the un-fused one, forward and backward',
  check: (backend, { seed, runs }) =>
    fc.assert(
      fc.asyncProperty(attentionArguments, async (a) => {
        const on = (opened: boolean) => {
          const { q, k, v, options, seed: dz } = attentionCall(a)
          const run = traceLazy(
            () => t.attention(q, k, v, options).z,
            null,
            // an edit that changes nothing still opens the room
            opened ? { edit: { pattern: (p) => p } } : {},
          )
          const pattern = run.get('pattern')
          const gradients = t.grad(run.output, [pattern, q, k, v], { seed: dz })
          return read([run.output, pattern, ...gradients], backend)
        }
        const [kept, open] = [await on(false), await on(true)]
        const { forward, gradient } = tolerances[backend.precision].attention
        const names = ['z', 'pattern', 'gradient at the pattern', 'dq', 'dk', 'dv']
        names.forEach((name, i) => same(kept[i], open[i], i < 2 ? forward : gradient, name))
      }),
      { seed, numRuns: runs },
    ),
}

/** Steps of random graphs: smooth functions of [3, 3] matrices. */
const steps: Readonly<Record<string, (a: Tensor, b: Tensor) => Tensor>> = {
  add: t.add,
  sub: t.sub,
  mul: t.mul,
  div: (a, b) => t.div(a, t.add(t.mul(b, b), 1)),
  matmul: (a, b) => t.mul(t.matmul(a, b), 0.5),
  transpose: (a) => t.transpose(a),
  tanh: t.tanh,
  sin: t.sin,
  exp: (a) => t.exp(t.mul(t.tanh(a), 0.5)),
  log: (a) => t.log(t.add(t.mul(a, a), 1)),
  sqrt: (a) => t.sqrt(t.add(t.mul(a, a), 1)),
  erf: t.erf,
  softmax: (a) => t.softmax(a),
  logSoftmax: (a) => t.logSoftmax(a, { axis: 0 }),
  layerNorm: (a) => t.layerNorm(a, null, null, { eps: 0.1 }),
  gelu: (a) => t.gelu(a),
  rows: (a, b) => t.add(t.sum(a, { axes: 0, keepDims: true }), b),
  columns: (a, b) => t.mul(t.mean(a, { axes: 1, keepDims: true }), b),
  roll: (a) => t.concat([t.slice(a, [[1, null]]), t.slice(a, [[0, 1]])], 0),
  backwards: (a) => t.flip(a, 1),
  cumsum: (a) => t.cumsum(a, { axis: 0 }),
  take: (a) => t.take(a, t.tensor([2, 0, 2], { dtype: 'i32' })),
  attention: (a, b) => {
    const four = (x: Tensor) => t.reshape(x, [1, 1, 3, 3])
    return t.reshape(t.attention(four(a), four(b), four(a), { causal: true }).z, [3, 3])
  },
  scan: (a, b) =>
    t.scan(([c], [x]) => ({ carry: [t.tanh(t.add(c, x))], ys: [t.mul(c, x)] }), {
      init: [t.reshape(t.slice(b, [[0, 1]]), [3])],
      xs: [a],
    }).ys[0],
}
const recipe = fc.array(fc.tuple(fc.constantFrom(...Object.keys(steps)), fc.nat(), fc.nat()), {
  minLength: 1,
  maxLength: 8,
})
type Recipe = [string, number, number][]

/** A scalar from leaves by a recipe: each step reads two of the values before it. */
function graphOf(leaves: readonly Tensor[], made: Recipe, half = false): Tensor {
  const values = [...leaves]
  for (const [name, i, j] of made)
    values.push(steps[name](values[i % values.length], values[j % values.length]))
  return t.sum(t.mul(values[values.length - 1], randoms([3, 3], 'weights', 1, half)))
}
const leavesOf = (half = false): Tensor[] => ['a', 'b'].map((name) => randoms([3, 3], name, 0.7, half))

const graphsAgree: Property = {
  name: 'values and gradients of random graphs equal the float64 reference',
  check: async (backend, { seed, runs }) => {
    const oracle = reference({ precision: 'f64' })
    const half = storesHalves(backend)
    try {
      await fc.assert(
        fc.asyncProperty(recipe, async (made) => {
          const on = (b: Backend) => {
            const leaves = leavesOf(half)
            const y = graphOf(leaves, made, half)
            return read([y, ...t.grad(y, leaves, { unused: 'zero' })], b)
          }
          const [got, want] = [await on(backend), await on(oracle)]
          // a chain of up to eight steps: errors grow along it
          const { gradient } = tolerances[backend.precision].loop
          const wide = { rtol: gradient.rtol * 10, scaled: gradient.scaled * 10, floor: 1 }
          got.forEach((g, i) => same(g, want[i], wide, i === 0 ? 'value' : `gradient ${i - 1}`))
        }),
        { seed, numRuns: runs },
      )
    } finally {
      oracle.dispose()
    }
  },
}

/** Needs double precision: it is a property of the gradient rules, not of a backend's kernels. */
const finiteDifferences: Property = {
  name: 'gradients of random graphs equal finite differences',
  check: async (backend, { seed, runs }) =>
    fc.assert(
      fc.asyncProperty(recipe, async (made) => {
        const h = 1e-5
        const base = leavesOf()
        const gradients = t.grad(graphOf(base, made), base, { unused: 'zero' })
        const directions = base.map((_, i) => randoms([3, 3], `direction ${i}`))
        const along = gradients.map((g, i) => t.sum(t.mul(g, directions[i]))).reduce((a, b) => t.add(a, b))
        const moved = (by: number) =>
          graphOf(
            base.map((x, i) => t.add(x, t.mul(directions[i], by))),
            made,
          )
        const [got, plus, minus] = await read([along, moved(h), moved(-h)], backend)
        const want = (plus[0] - minus[0]) / (2 * h)
        same(got, [want], { rtol: 1e-6, scaled: 1e-7, floor: 1 }, 'directional derivative')
      }),
      { seed, numRuns: runs },
    ),
}

/** What `testBackend` tries; the last one only where a backend computes in double. */
export function conformanceProperties(precision: Backend['precision']): Property[] {
  const all = [softmaxRows, permutations, slices, fusedIsBody, keptIsUnfused, graphsAgree]
  return precision === 'f64' ? [...all, finiteDifferences] : all
}
