// Adapter of the format 'ops': values, gradients, gradients inside a room and second derivatives of every op, against
// float64 expectations. Which function an op is stands in the tables of ops-tensor.ts and ops-layers.ts.
import {
  add,
  type Backend,
  grad,
  mul,
  realize,
  sum,
  type Tensor,
  type TypedArray,
  tensor,
} from '@heed/tensor'
import { openWeights, type ReadTensor, type Weights } from '@heed/weights'
import {
  type Collection,
  type Comparison,
  compare,
  type GoldenCase,
  type Options,
  type Outcome,
  outcome,
  type Tolerance,
} from './case.js'
import { readJson } from './files.js'
import { layerRows } from './ops-layers.js'
import { type Args, type Inputs, NotSupported, type Result, type Row } from './ops-row.js'
import { tensorRows } from './ops-tensor.js'
import { widen } from './tolerances.js'

interface ArgSpec {
  default?: unknown
}
interface OpSpec {
  args: Record<string, ArgSpec>
}
interface Hint {
  atol: number
  rtol: number
  each?: Record<string, number>
  gradAtol?: number
  gradRtol?: number
}
/** A case as the group's JSON has it; keys of tensors end in their role. */
interface OpCase {
  id: string
  op: string
  args: Record<string, unknown>
  inputs: string[]
  outputs: string[]
  grads?: Record<string, string>
  gradOuts?: Record<string, string>
  innerGrads?: Record<string, string>
  vectors?: Record<string, string>
  second?: Record<string, string>
  secondGradOut?: Record<string, string>
  tolHint: Hint
  tags?: string[]
}

const rows: Readonly<Record<string, Row>> = { ...tensorRows, ...layerRows }
const role = (key: string) => key.slice(key.lastIndexOf('/') + 1)

/** The arguments of a case: defaults of ops.json below, null taken as missing, inside objects too. */
function argumentsOf({ op, args }: OpCase, specs: Readonly<Record<string, OpSpec>>): Args {
  const merged: Record<string, unknown> = {}
  for (const [name, spec] of Object.entries(specs[op]?.args ?? {})) merged[name] = spec.default
  return withoutNulls(Object.assign(merged, args))
}
const isObject = (x: unknown): x is Record<string, unknown> =>
  typeof x === 'object' && x !== null && !Array.isArray(x)
const withoutNulls = (x: Record<string, unknown>): Args =>
  Object.fromEntries(
    Object.entries(x)
      .filter(([, v]) => v !== null && v !== undefined)
      .map(([k, v]) => [k, isObject(v) ? withoutNulls(v) : v]),
  )

/** F32, I32 and U8 (booleans) of the file as tensors. */
function toTensor({ dtype, shape, data }: ReadTensor, name: string): Tensor {
  const dtypes = { F32: 'f32', I32: 'i32', U8: 'bool' } as const
  if (!(dtype in dtypes)) throw new Error(`${name}: inputs of dtype ${dtype} are not read`)
  const x = tensor(data as Float32Array<ArrayBuffer>, {
    shape: [...shape],
    dtype: dtypes[dtype as keyof typeof dtypes],
  })
  x.name = role(name)
  return x
}

/** Expected dtype → what a tensor of Heed must have. Integers and 16-bit patterns come as I32. */
const dtypesFor: Record<string, readonly string[]> = {
  F64: ['f32'],
  I32: ['i32', 'i8', 'f16', 'bf16'],
  U8: ['bool'],
}

interface Wanted {
  tensor: Tensor
  key: string
  tolerance: Tolerance
  /** Non-zero = compare. */
  select?: (read: Read) => ArrayLike<number>
}

/** Elements that mean nothing: scores of what is hidden, the bits of a nan. */
function selection(one: OpCase, name: string): Wanted['select'] {
  const keyOf = (other: string) => one.outputs.find((key) => role(key) === other)
  const allowed = keyOf('allowed')
  if (name === 'scores' && allowed) return (read) => read(allowed).data as Uint8Array
  const values = keyOf('y')
  if (name === 'bits' && values)
    return (read) => Array.from(read(values).data as Float64Array, (v) => (Number.isNaN(v) ? 0 : 1))
  return undefined
}

/** Everything a case compares: its outputs, then gradients of every kind. */
function wanted(one: OpCase, inputs: Inputs, result: Result, leaf: (key: string) => Tensor): Wanted[] {
  const { outputs } = result
  const { tolHint: hint } = one
  const list: Wanted[] = []
  const outputOf = (name: string) => {
    const t = outputs[name]
    if (!t) throw new Error(`the row of ${one.op} gives no '${name}'`)
    return t
  }
  for (const key of one.outputs) {
    const name = role(key)
    const tolerance = { atol: hint.each?.[name] ?? hint.atol, rtol: hint.rtol }
    list.push({ tensor: outputOf(name), key, tolerance, select: selection(one, name) })
  }
  if (!one.grads) return list

  const tolerance = { atol: hint.gradAtol ?? hint.atol, rtol: hint.gradRtol ?? hint.rtol }
  const push = (keys: Record<string, string>, gradients: Tensor[]) =>
    Object.values(keys).forEach((key, i) => list.push({ tensor: gradients[i], key, tolerance }))
  const seedKeys = Object.entries(one.gradOuts ?? {})
  const losses = seedKeys.map(([key]) => outputOf(role(key)))
  const seed = seedKeys.map(([, key]) => leaf(key))
  const wrt = Object.keys(one.grads).map((key) => inputs[role(key)])
  const first = grad(losses, wrt, { seed, unused: 'zero' })
  push(one.grads, first)
  if (one.innerGrads) {
    // asked for on its own: this is what opens the room
    const inside = Object.keys(one.innerGrads).map((key) => {
      const t = result.inner?.[role(key)]
      if (!t) throw new Error(`the row of ${one.op} shows no inner '${role(key)}'`)
      return t
    })
    push(one.innerGrads, grad(losses, inside, { seed, unused: 'zero' }))
  }
  if (one.second && one.vectors) {
    const vectors = Object.keys(one.grads).map((key) => leaf(one.vectors?.[key] as string))
    const total = first.map((g, i) => sum(mul(g, vectors[i]))).reduce((a, b) => add(a, b))
    const seedsAsked = Object.keys(one.secondGradOut ?? {})
    const targets = [
      ...Object.keys(one.second).map((key) => inputs[role(key)]),
      ...seedsAsked.map((key) => seed[seedKeys.findIndex(([, k]) => k === key)]),
    ]
    push({ ...one.second, ...one.secondGradOut }, grad(total, targets, { unused: 'zero' }))
  }
  return list
}

function compareOne(
  { tensor: got, key, select }: Wanted,
  data: TypedArray,
  file: Read,
  tolerance: Tolerance,
) {
  const want = file(key)
  const label = key.slice(key.lastIndexOf('/') + 1)
  const wrong = (reason: string): Comparison => ({
    pass: false,
    ratio: Infinity,
    error: Infinity,
    tolerance: 0,
    maxError: Infinity,
    at: 0,
    reason: `${label}: ${reason}`,
  })
  if (!dtypesFor[want.dtype]?.includes(got.dtype))
    return wrong(`dtype ${got.dtype}, expected one for ${want.dtype}`)
  if (got.shape.join() !== want.shape.join())
    return wrong(`shape [${got.shape.join(', ')}], expected [${want.shape.join(', ')}]`)
  return compare(data as Float32Array, want.data as Float64Array, tolerance, {
    label,
    ...(select ? { select: select(file) } : {}),
  })
}

/**
 * Some expectations were rounded to float32 (overflow is infinite there). A float64 result is rounded before it is
 * compared with values that are all float32; others are compared in full.
 */
function asExpected(
  one: OpCase,
  { key, tensor: { dtype } }: Wanted,
  data: TypedArray,
  read: Read,
  { precision }: Backend,
) {
  if (precision !== 'f64' || dtype !== 'f32' || !one.outputs.includes(key)) return data
  const isSingle = (read(key).data as Float64Array).every((v) => Object.is(Math.fround(v), v))
  return isSingle ? Float32Array.from(data as Float64Array<ArrayBuffer>) : data
}

type Read = (key: string) => ReadTensor

async function runCase(one: OpCase, args: Args, read: Read, backend: Backend): Promise<Outcome> {
  const row = Object.hasOwn(rows, one.op) ? rows[one.op] : undefined
  if (!row) return { status: 'unsupported', reason: `no function of Heed is listed for the op '${one.op}'` }
  const leaf = (key: string) => toTensor(read(key), key)
  const inputs = Object.fromEntries(one.inputs.map((key) => [role(key), leaf(key)]))
  let list: Wanted[]
  try {
    list = wanted(one, inputs, row(inputs, args), leaf)
  } catch (error) {
    if (error instanceof NotSupported) return { status: 'unsupported', reason: error.message }
    throw error
  }
  await realize([...new Set(list.map((w) => w.tensor))], { backend })
  let reason: string | undefined
  const comparisons: Comparison[] = []
  for (const w of list) {
    const { reason: widened, ...tolerance } = widen('ops', one.id, w.tolerance)
    reason ??= widened
    const data = await w.tensor.data()
    comparisons.push(compareOne(w, asExpected(one, w, data, read, backend), read, tolerance))
  }
  return outcome(comparisons, reason)
}

/** All tensors of a group, read once. */
async function readAll(weights: Weights): Promise<Read> {
  const all = new Map<string, ReadTensor>()
  for (const name of weights.names) all.set(name, await weights.read(name))
  return (key) => {
    const found = all.get(key)
    if (!found) throw new Error(`the group has no tensor '${key}'`)
    return found
  }
}

const reserved = ['golden.json', 'ops.json', 'cases.json', 'versions.json']

export async function* cases({ dir }: Collection, options: Options): AsyncGenerator<GoldenCase> {
  const { files } = options
  const entries = (await files.list(dir)).map((e) => e.name)
  const groups = entries.filter((name) => name.endsWith('.json') && !reserved.includes(name))
  const specs = entries.includes('ops.json')
    ? await readJson<Record<string, OpSpec>>(files, files.at(dir, 'ops.json'))
    : {}
  const backend = await options.backend()
  for (const file of groups) {
    const group = await readJson<OpCase[]>(files, files.at(dir, file))
    // read when the first case runs: with --only most groups are never touched
    let tensors: Promise<Read> | undefined
    const open = async () => {
      const weights = await openWeights(files.at(dir, file.replace(/\.json$/, '.safetensors')))
      try {
        return await readAll(weights)
      } finally {
        await weights.close()
      }
    }
    for (const one of group)
      yield {
        id: one.id,
        run: async () => {
          tensors ??= open()
          return runCase(one, argumentsOf(one, specs), await tensors, backend)
        },
      }
  }
}
