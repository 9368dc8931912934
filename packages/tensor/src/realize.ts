/**
 * Running: `realize` finds or compiles the plan of a graph, binds its leaves, runs it on the backend and remembers the
 * results on their tensors. Runs on one backend are queued. Nothing falls back silently: the report says what ran
 * where.
 */
import type { Backend, DeviceBuffer, Executable, Graph, GraphNode, Ref, Report } from './backend.js'
import type { TypedArray } from './dtype.js'
import {
  BackendError,
  checkOptions,
  HeedError,
  kindOf,
  requireList,
  UnsupportedOpError,
  ValueError,
} from './errors.js'
import {
  constantOf,
  constOp,
  installReader,
  leaf,
  leafOp,
  newMark,
  type Tensor,
  type TensorValue,
  type Held as ValueHeld,
} from './graph.js'
import { type Lowered, lower } from './lower.js'
import { detachedOp } from './ops/define.js'
import { reference } from './reference/index.js'
import { nameOf as graphName, type Signature, signatureOf } from './signature.js'

export interface RealizeOptions {
  /** Default: the backend of `setBackend`. */
  backend?: Backend
  /** Throw `UnsupportedOpError` instead of running a refused primitive on the reference kernels. */
  strict?: boolean
  /** Tensors whose buffers are not needed afterwards: reading them later throws. For state of loops. */
  donate?: readonly Tensor[]
}

let defaultBackend: Backend | null = null
let noticed = false
let fallback: Backend | null = null

/** The backend of every `realize` that names none; null goes back to the reference kernels. */
export function setBackend(backend: Backend | null): void {
  if (backend !== null) requireBackend('setBackend', backend)
  defaultBackend = backend
}
function requireBackend(what: string, backend: Backend): Backend {
  const given = backend as Partial<Backend> | undefined
  if (given?.spec === 1) return backend
  throw new BackendError(
    `${what}: expected a backend of spec 1 (await cpu(), in matching versions), got ${given?.spec ? given.name : kindOf(given)}`,
  )
}
/** The backend in force; without one, the reference kernels and one notice on the console. */
export function getBackend(): Backend {
  if (defaultBackend) return defaultBackend
  if (!noticed) {
    noticed = true
    console.warn(
      `heed: no backend is set, so the slow reference kernels run; setBackend(await cpu()) from '@heed/backend-cpu'`,
    )
  }
  return referenceFallback()
}
export function hasBackend(): boolean {
  return defaultBackend !== null
}
function referenceFallback(): Backend {
  fallback ??= reference()
  return fallback
}

/** A backend together with those that were tried before it. */
export type Picked = Backend & {
  readonly refused: readonly { readonly index: number; readonly reason: string }[]
}
/** A backend, the promise of one, or what makes one: that is called only where all before it refused. */
export type Candidate = Backend | Promise<Backend> | (() => Backend | Promise<Backend>)
/** The first candidate that can be made; `refused` lists those before it with their reasons. */
export async function pick(candidates: readonly Candidate[]): Promise<Picked> {
  const refused: { index: number; reason: string }[] = []
  const settled = await Promise.allSettled(candidates)
  for (const [index, c] of candidates.entries()) {
    try {
      const made = requireBackend('pick', await (typeof c === 'function' ? c() : c))
      for (const r of settled.slice(index + 1)) {
        const { value } = r as { value?: Partial<Backend> }
        if (value !== made) value?.dispose?.()
      }
      return Object.assign(Object.create(made) as Backend, { refused })
    } catch (error) {
      refused.push({ index, reason: error instanceof Error ? error.message : String(error) })
    }
  }
  throw new BackendError(
    `pick: every backend refused: ${refused.map((r) => r.reason).join('; ') || 'none was given'}`,
  )
}

interface Check {
  readonly leaf: number
  /** The greatest value that is allowed. */
  readonly limit: number
  readonly path: string
  readonly op: string
}
interface Segment {
  readonly backend: Backend
  readonly executable: Executable
  /** Values of the whole graph that the segment reads and makes. */
  readonly reads: readonly string[]
  readonly makes: readonly string[]
}
interface Plan {
  readonly hash: number
  readonly structure: Int32Array
  readonly strict: boolean
  /** Numbers of the graph in the order of its leaves; null where they are inputs. */
  readonly numbers: Float64Array | null
  readonly bindings: readonly number[]
  readonly segments: readonly Segment[]
  readonly inputs: readonly string[]
  /** Distinct results, and which of them each tensor that was asked for is. */
  readonly outputs: readonly string[]
  readonly places: readonly number[]
  readonly checks: readonly Check[]
  readonly report: Report
}
interface PlanCache {
  readonly plans: Map<number, Plan[]>
  count: number
  /** The plan that ran last, most often the next one, too. */
  latest: Plan | null
  /** Ends with the last run that was asked for; null while nothing runs. */
  queue: Promise<unknown> | null
}
const caches = new WeakMap<Backend, PlanCache>()
const MAX_PLANS = 256

function cacheOf(backend: Backend): PlanCache {
  let c = caches.get(backend)
  if (!c) {
    c = { plans: new Map(), count: 0, latest: null, queue: null }
    caches.set(backend, c)
  }
  return c
}
/** How many plans a backend holds (for tests of reuse). */
export function planCount(backend: Backend = getBackend()): number {
  return cacheOf(backend).count
}

/** Frees buffers of tensors that nobody holds any more. A net: loops donate or detach their state. */
const net = new FinalizationRegistry<Held>(letGo)
function letGo(held: Held): void {
  if (--held.holders === 0) held.backend.free(held.buffer)
}
let madeSinceTurn = 0
const BYTES_PER_TURN = 2 ** 28

/** Computes tensors in one run; afterwards they have values. Returns what ran where. */
export async function realize(tensors: readonly Tensor[], options: RealizeOptions = {}): Promise<Report> {
  checkOptions('realize', options, ['backend', 'strict', 'donate'])
  requireList('realize', tensors)
  const backend = options.backend ? requireBackend('realize', options.backend) : getBackend()
  const cache = cacheOf(backend)
  let report: Report
  if (cache.queue)
    report = await queued(
      cache,
      cache.queue.then(() => runNow(tensors, backend, cache, options)),
    )
  else {
    const run = runNow(tensors, backend, cache, options)
    report = run instanceof Promise ? await queued(cache, run) : run
  }
  if (madeSinceTurn > BYTES_PER_TURN) {
    // finalizers only run between macrotasks: a loop of microtasks would free nothing
    madeSinceTurn = 0
    await new Promise((resolve) => setTimeout(resolve, 0))
  }
  return report
}

function queued(cache: PlanCache, run: Promise<Report>): Promise<Report> {
  const settle = (): void => {
    if (cache.queue === ended) cache.queue = null
  }
  const ended: Promise<unknown> = run.then(settle, settle)
  cache.queue = ended
  return run
}

const hasValue = (t: Tensor): boolean => t.value !== null

/** Runs at once what needs no waiting: a plan that is known, on a backend that answers at once. */
function runNow(
  tensors: readonly Tensor[],
  backend: Backend,
  cache: PlanCache,
  options: RealizeOptions,
): Report | Promise<Report> {
  const todo: Tensor[] = []
  const seen = newMark()
  for (const t of tensors) {
    if (t.node.op === constOp && t.value === null) t.value = { host: constantArray(t) }
    if (t.value) requireReadable(t)
    else if (t.mark !== seen) {
      t.mark = seen
      todo.push(t)
      if (t.node.depth > 64) warnHistory(t)
    }
  }
  if (todo.length === 0) return reportOf(backend, 0, [], [], [])
  const signature = signatureOf(todo, hasValue)
  if (signature.order.length > MANY_NODES) warnSize(signature.order.length)
  const { leaves } = signature
  const plan = planFor(todo, signature, backend, cache, options.strict ?? false)
  return plan instanceof Promise
    ? plan.then((p) => runPlan(p, todo, leaves, backend, options))
    : runPlan(plan, todo, leaves, backend, options)
}

function runPlan(
  plan: Plan,
  todo: readonly Tensor[],
  leaves: readonly Tensor[],
  backend: Backend,
  options: RealizeOptions,
): Report | Promise<Report> {
  const { donate: donated = NO_TENSORS } = options
  const bound = bindLeaves(plan, leaves, backend)
  const finish = (made: readonly Bound[]): Report => {
    const held = made.map(({ backend, buffer }): Held => ({ backend, buffer, holders: 0 }))
    for (let i = 0; i < todo.length; i++) adopt(todo[i], held[plan.places[i]])
    for (const t of donated) giveAway(t, `was donated to ${labelOf(todo[0])}`)
    return plan.report
  }
  const fail = (error: unknown): never => {
    throw withLosses(error, donated)
  }
  const only = plan.segments[0]
  if (plan.segments.length > 1 || only.backend !== backend || bound.values.some((b) => b.backend !== backend))
    return runSegments(plan, bound, donated).then(finish, fail)
  const free = (): void => {
    for (const b of bound.temporary) b.backend.free(b.buffer)
  }
  const wrap = (buffers: readonly DeviceBuffer[]): Report => {
    free()
    return finish(buffers.map((buffer) => ({ backend, buffer })))
  }
  let made: ReturnType<Executable['run']>
  try {
    const away = donated.length > 0 ? givenAwayOf(donated) : null
    const inputs = bound.values.map((b) => b.buffer)
    made = only.executable.run(
      inputs,
      inputs.map((b) => away?.has(b) ?? false),
    )
  } catch (error) {
    free()
    return fail(error)
  }
  if (!(made instanceof Promise)) return wrap(made)
  return made.then(wrap, (error: unknown) => {
    free()
    return fail(error)
  })
}

/** Runs that change between backends: values travel by name. */
async function runSegments(
  plan: Plan,
  bound: { readonly values: readonly Bound[]; readonly temporary: Bound[] },
  donated: readonly Tensor[],
): Promise<Bound[]> {
  const { temporary } = bound
  const values = new Map(plan.inputs.map((name, i) => [name, bound.values[i]]))
  const away = givenAwayOf(donated)
  let isDone = false
  try {
    for (let i = 0; i < plan.segments.length; i++) await runSegment(plan, i, values, temporary, away)
    isDone = true
  } finally {
    for (const { backend: owner, buffer } of temporary)
      if (!isDone || !plan.outputs.some((o) => values.get(o)?.buffer === buffer)) owner.free(buffer)
  }
  return plan.outputs.map((name) => values.get(name) as Bound)
}

/** Memory of the backend that this run may use as it likes, or holds for the time being. */
interface Bound {
  readonly backend: Backend
  readonly buffer: DeviceBuffer
}
interface Held extends ValueHeld, Bound {
  readonly backend: Backend
  readonly buffer: DeviceBuffer
  holders: number
}
const NO_TENSORS: readonly Tensor[] = []

function adopt(t: Tensor, held: Held): void {
  const value: TensorValue = { device: held }
  t.value = value
  hold(value, held)
  // a realized detach has no past
  if (t.node.op === detachedOp) (t.node as { inputs: readonly Tensor[] }).inputs = []
}
function hold(value: TensorValue, held: Held): void {
  held.holders++
  madeSinceTurn += held.buffer.bytes
  net.register(value, held, value)
}

/** A tensor over memory that a backend holds already: it owns the buffer from now on. */
export function tensorOf(backend: Backend, buffer: DeviceBuffer): Tensor {
  const t = leaf({ shape: buffer.shape, dtype: buffer.dtype })
  adopt(t, { backend, buffer, holders: 0 })
  return t
}

const labelOf = (t: Tensor): string => t.name ?? t.node.op.name
function giveAway(t: Tensor, how: string): void {
  const value = t.value
  if (!value || value.gone) return
  value.gone = how
  value.host = undefined
  if (value.device) {
    net.unregister(value)
    letGo(value.device as Held)
    value.device = undefined
  }
}
/** Frees a tensor's memory now; reading it later throws. */
export function release(t: Tensor): void {
  giveAway(t, 'was released')
}

/** Buffers that this run may write over: donated, and held by no other tensor. */
function givenAwayOf(tensors: readonly Tensor[]): Set<DeviceBuffer> {
  const buffers = new Set<DeviceBuffer>()
  for (const { value } of tensors) {
    const held = value?.device as Held | undefined
    if (held?.holders === 1) buffers.add(held.buffer)
  }
  return buffers
}
/** A run that fails after it wrote over donated tensors says which are lost; the others are as they were. */
function withLosses(error: unknown, donated: readonly Tensor[]): unknown {
  const lost = donated.filter((t) => (t.value?.device?.buffer as DeviceBuffer | undefined)?.gone)
  if (lost.length === 0) return error
  for (const t of lost) giveAway(t, 'was donated to a run that failed')
  const names = lost.map(labelOf).join(', ')
  if (error instanceof Error)
    error.message += `; the run had already written over donated tensors, which are lost: ${names}`
  return error
}

function requireReadable(t: Tensor): void {
  if (t.value?.gone)
    throw new ValueError(
      `tensor ${labelOf(t)} ${t.value.gone} and has no data any more; read it before, or do not give it away`,
    )
}

function constantArray(t: Tensor): TypedArray {
  const v = constantOf(t) as number
  if (t.dtype === 'i32') return Int32Array.of(v)
  return t.dtype === 'bool' ? Uint8Array.of(v) : Float64Array.of(v)
}

function planFor(
  todo: readonly Tensor[],
  signature: Signature,
  backend: Backend,
  cache: PlanCache,
  strict: boolean,
): Plan | Promise<Plan> {
  const { hash, structure, leaves } = signature
  const { latest, plans } = cache
  if (latest && fits(latest, signature, strict)) return latest
  const list = plans.get(hash) ?? []
  const found = list.find((p) => fits(p, signature, strict))
  if (found) {
    cache.latest = found
    // the oldest goes first
    plans.delete(hash)
    plans.set(hash, list)
    return found
  }
  // the first different number of a known structure: one general plan with the numbers as inputs
  const bake = !list.some((p) => p.strict === strict && sameInts(p.structure, structure))
  // before lowering: a loop in the body of a composite that is written out has a signature of its own
  const own = structure.slice()
  const lowered = lower(todo, leaves, backend, { bake, key: graphName(signature) })
  const numbers = bake ? Float64Array.from(leaves.flatMap((t) => constantOf(t) ?? [])) : null
  return compilePlan(lowered, backend, strict, {
    hash,
    structure: own,
    strict,
    numbers,
  }).then((plan) => remember(plan, cache))
}
function remember(plan: Plan, cache: PlanCache): Plan {
  const { plans } = cache
  const list = plans.get(plan.hash) ?? []
  list.push(plan)
  plans.delete(plan.hash)
  plans.set(plan.hash, list)
  cache.count++
  cache.latest = plan
  while (cache.count > MAX_PLANS) {
    const oldest = plans.keys().next().value as number
    const gone = plans.get(oldest) ?? []
    for (const p of gone) for (const s of p.segments) s.executable.dispose?.()
    cache.count -= gone.length
    plans.delete(oldest)
  }
  return plan
}

/** The list itself is compared, so that a hash collision cannot run the wrong plan; and the numbers, where they are baked in. */
function fits(plan: Plan, { hash, structure, leaves }: Signature, strict: boolean): boolean {
  if (plan.hash !== hash || plan.strict !== strict || !sameInts(plan.structure, structure)) return false
  const { numbers } = plan
  if (numbers === null || numbers.length === 0) return true
  let k = 0
  for (let i = 0; i < leaves.length; i++) {
    const number = leaves[i].node.number
    if (number !== undefined && !Object.is(number, numbers[k++])) return false
  }
  return true
}
function sameInts(a: Int32Array, b: Int32Array): boolean {
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false
  return true
}

const nameOf = (r: Ref): string => `${r.node}.${r.index}`
const firstOf = (node: number): Ref => ({ node, index: 0 })
const nameOfFirst = (node: number): string => nameOf(firstOf(node))

async function compilePlan(
  lowered: Lowered,
  backend: Backend,
  strict: boolean,
  id: Pick<Plan, 'hash' | 'structure' | 'strict' | 'numbers'>,
): Promise<Plan> {
  const { bindings } = lowered
  const names = lowered.graph.outputs.map(nameOf)
  const outputs = [...new Set(names)]
  // what several tensors ask for is computed and handed over once
  const graph = {
    ...lowered.graph,
    outputs: outputs.map((name) => lowered.graph.outputs[names.indexOf(name)]),
  }
  const where = placement(graph, backend, strict)
  const parts = cut(graph, where)
  const segments: Segment[] = []
  for (const part of parts) {
    const owner = part.refused ? referenceFallback() : backend
    const executable = await owner.compile(part.graph)
    segments.push({ backend: owner, executable, reads: part.reads, makes: part.makes })
  }
  const reports = segments.map((s) => s.executable.report)
  const merged = new Map<string, { op: string; how: 'native' | 'fused' | 'reference'; count: number }>()
  reports.forEach((r, i) => {
    for (const row of r.ran) {
      const how = segments[i].backend === backend ? row.how : 'reference'
      const seen = merged.get(`${row.op}|${how}`)
      if (seen) seen.count += row.count
      else merged.set(`${row.op}|${how}`, { op: row.op, how, count: row.count })
    }
  })
  return {
    ...id,
    bindings,
    segments,
    inputs: graph.inputs.map(nameOfFirst),
    outputs,
    places: names.map((name) => outputs.indexOf(name)),
    checks: checksOf(graph, bindings),
    report: reportOf(backend, graph.nodes.length, [...merged.values()], lowered.inlined, reports),
  }
}

/** true where a node runs on the reference kernels because the backend refuses it. */
function placement(graph: Graph, backend: Backend, strict: boolean): boolean[] {
  return graph.nodes.map((n) => {
    if (n.op === 'input' || n.op === 'constant') return false
    const verdict = backend.supports(n)
    if (verdict === true) return false
    if (strict)
      throw new UnsupportedOpError(
        `${n.path ? `${n.path}: ` : ''}${n.op}: ${verdict}; without strict it would run on the reference kernels`,
      )
    return true
  })
}

interface Part {
  refused: boolean
  graph: Graph
  reads: string[]
  makes: string[]
}
/** Cuts a graph into runs of nodes that stay in one place. Inputs and constants belong wherever they are read. */
function cut(graph: Graph, refused: readonly boolean[]): Part[] {
  const isSource = (i: number): boolean => graph.nodes[i].op === 'input' || graph.nodes[i].op === 'constant'
  if (!refused.includes(true))
    return [
      {
        refused: false,
        graph,
        reads: graph.inputs.map(nameOfFirst),
        makes: graph.outputs.map(nameOf),
      },
    ]
  const groups: { refused: boolean; nodes: number[] }[] = []
  graph.nodes.forEach((_, i) => {
    if (isSource(i)) return
    const last = groups[groups.length - 1]
    if (last && last.refused === refused[i]) last.nodes.push(i)
    else groups.push({ refused: refused[i], nodes: [i] })
  })
  const groupOf = new Map<number, number>()
  groups.forEach((g, k) => {
    for (const i of g.nodes) groupOf.set(i, k)
  })
  const wanted = new Map<string, Ref>()
  const want = (r: Ref): void => {
    wanted.set(nameOf(r), r)
  }
  graph.outputs.forEach(want)
  graph.nodes.forEach((n, i) => {
    for (const r of n.inputs) if (groupOf.get(r.node) !== groupOf.get(i) && !isSource(r.node)) want(r)
  })
  const parts = groups.map((g, k) => {
    const nodes: GraphNode[] = []
    const inputs: number[] = []
    const reads: string[] = []
    const placed = new Map<string, Ref>()
    const bring = (r: Ref): Ref => {
      const name = nameOf(r)
      let at = placed.get(name)
      if (at) return at
      const from = graph.nodes[r.node]
      if (from.op === 'constant') at = firstOf(nodes.push(from) - 1)
      else {
        const spec = from.to[r.index]
        at = firstOf(
          nodes.push({ op: 'input', attrs: {}, inputs: [], from: [], to: [spec], path: '', site: null }) - 1,
        )
        inputs.push(at.node)
        reads.push(name)
      }
      placed.set(name, at)
      return at
    }
    for (const i of g.nodes) {
      const n = graph.nodes[i]
      const moved = n.inputs.map(bring)
      const node = nodes.push({ ...n, inputs: moved }) - 1
      n.to.forEach((_, index) => {
        placed.set(nameOf({ node: i, index }), { node, index })
      })
    }
    const outs = [...wanted.values()].filter((r) => groupOf.get(r.node) === k)
    return {
      refused: g.refused,
      reads,
      makes: outs.map(nameOf),
      graph: {
        key: `${graph.key}/${k}`,
        nodes,
        inputs,
        outputs: outs.map((r) => placed.get(nameOf(r)) as Ref),
      },
    }
  })
  // outputs that are inputs or constants of the whole graph
  const direct = graph.outputs.filter((r) => isSource(r.node))
  if (direct.length > 0) {
    const sources = [...new Set(direct.map((r) => r.node))]
    parts.push({
      refused: false,
      reads: sources.filter((i) => graph.nodes[i].op === 'input').map(nameOfFirst),
      makes: sources.map(nameOfFirst),
      graph: {
        key: `${graph.key}/direct`,
        nodes: sources.map((i) => graph.nodes[i]),
        inputs: sources.flatMap((i, at) => (graph.nodes[i].op === 'input' ? [at] : [])),
        outputs: sources.map((_, at) => firstOf(at)),
      },
    })
  }
  return parts
}

async function runSegment(
  plan: Plan,
  at: number,
  values: Map<string, Bound>,
  temporary: Bound[],
  givenAway: ReadonlySet<DeviceBuffer>,
): Promise<void> {
  const segment = plan.segments[at]
  const inputs: DeviceBuffer[] = []
  for (const name of segment.reads) {
    const held = values.get(name) as Bound
    if (held.backend === segment.backend) {
      inputs.push(held.buffer)
      continue
    }
    const moved = segment.backend.upload(
      await held.backend.download(held.buffer),
      held.buffer.shape,
      held.buffer.dtype,
    )
    temporary.push({ backend: segment.backend, buffer: moved })
    inputs.push(moved)
  }
  const made = await segment.executable.run(
    inputs,
    inputs.map(
      (b, i) =>
        givenAway.has(b) && !plan.segments.some((s, k) => k > at && s.reads.includes(segment.reads[i])),
    ),
  )
  segment.makes.forEach((name, i) => {
    const bound = { backend: segment.backend, buffer: made[i] }
    values.set(name, bound)
    // a result that stays inside the run, or on the reference kernels while the backend is another
    temporary.push(bound)
  })
}

/** Leaves that are indices or offsets: their values are checked when they are known on the host. */
function checksOf(graph: Graph, bindings: readonly number[]): Check[] {
  const checks: Check[] = []
  const add = (r: Ref, c: Omit<Check, 'leaf'>): void => {
    let at = graph.nodes[r.node]
    // a reshaped index is still the leaf's values
    while (at.op === 'reshape') at = graph.nodes[at.inputs[0].node]
    // a number that is part of the plan is known for good
    if (at.op === 'constant') check({ ...c, leaf: -1 }, Int32Array.of(at.attrs.value as number))
    const k = graph.inputs.findIndex((i) => graph.nodes[i] === at)
    if (k >= 0) checks.push({ ...c, leaf: bindings[k] })
  }
  for (const n of graph.nodes) {
    const { op, path, from } = n
    const axis = n.attrs.axis as number
    if (op === 'take') add(n.inputs[1], { limit: from[0].shape[axis] - 1, path, op })
    else if (op === 'update') add(n.inputs[2], { limit: from[0].shape[axis] - from[1].shape[axis], path, op })
  }
  return checks
}

function check(c: Check, host: TypedArray): void {
  for (let i = 0; i < host.length; i++) {
    const v = Number(host[i])
    if (v >= 0 && v <= c.limit) continue
    const what =
      c.op === 'take'
        ? `id ${v} is outside 0..${c.limit}`
        : `the cache is full: offset ${v} is beyond ${c.limit}; make a cache of more positions`
    throw new ValueError(`${c.path ? `${c.path}: ` : ''}${c.op}: ${what}`)
  }
}

function bindLeaves(
  plan: Plan,
  leaves: readonly Tensor[],
  backend: Backend,
): { values: Bound[]; temporary: Bound[] } {
  for (const c of plan.checks) {
    const host =
      leaves[c.leaf].value?.host ??
      (leaves[c.leaf].node.op === constOp ? constantArray(leaves[c.leaf]) : undefined)
    if (host) check(c, host)
  }
  const temporary: Bound[] = []
  try {
    return { values: plan.bindings.map((at) => bindOne(leaves[at], backend, temporary)), temporary }
  } catch (error) {
    for (const b of temporary) b.backend.free(b.buffer)
    throw error
  }
}

/** Arrays up to this size are uploaded anew for the second run that reads them: that costs less than to look after them. */
const PASSING_BYTES = 256

function bindOne(t: Tensor, backend: Backend, temporary: Bound[]): Bound {
  const value = t.value
  if (value === null) {
    if (t.node.op === constOp) return upload(constantArray(t), t, backend, temporary)
    const what = t.node.op === leafOp ? 'a placeholder without data' : `an unrealized ${t.node.op.name}`
    throw new HeedError(`realize: ${t.name ?? ''} ${what} [${t.shape}] is needed`)
  }
  requireReadable(t)
  const { device, host } = value
  if (device?.backend === backend) return device as Held
  if (!host) return device as Held
  // what only one step reads (ids, an offset, a rate, a key) leaves nothing behind; what a second run reads stays
  const isPassing = host.byteLength <= PASSING_BYTES && !value.wasRead
  value.wasRead = true
  if (device || isPassing) return upload(host, t, backend, temporary)
  const held: Held = { backend, buffer: backend.upload(host, t.shape, t.dtype), holders: 0 }
  value.device = held
  hold(value, held)
  return held
}
function upload(host: TypedArray, t: Tensor, backend: Backend, temporary: Bound[]): Bound {
  const bound = { backend, buffer: backend.upload(host, t.shape, t.dtype) }
  temporary.push(bound)
  return bound
}

async function read(t: Tensor): Promise<TypedArray> {
  if (t.value === null) await realize([t])
  requireReadable(t)
  const value = t.value as TensorValue
  if (value.host) return value.host
  const device = value.device as Held
  const data = await device.backend.download(device.buffer)
  // small results are kept, so that printing them shows values
  if (data.length <= 256) value.host = data
  return data
}
installReader(read)

const MANY_NODES = 50_000
let warnedSize = false
function warnSize(nodes: number): void {
  if (warnedSize) return
  warnedSize = true
  console.warn(
    `heed: a graph of ${nodes} nodes is compiled at once; write loops over positions as scan(), or realize() in parts`,
  )
}

let warnedHistory = false
function warnHistory(t: Tensor): void {
  if (warnedHistory) return
  warnedHistory = true
  console.warn(
    `heed: the history behind ${t.name ?? t.node.op.name} crosses ${t.node.depth} realize() calls; detach() the state that you carry from step to step`,
  )
}

/** What ran, and the sums over the segments. */
function reportOf(
  { name, precision }: Backend,
  nodes: number,
  ran: Report['ran'],
  inlined: Report['inlined'],
  segments: readonly Report[],
): Report {
  const total = (f: (r: Report) => number): number => segments.reduce((n, r) => n + f(r), 0)
  return {
    backend: name,
    precision,
    nodes,
    steps: total((r) => r.steps),
    ran,
    inlined,
    copies: total((r) => r.copies),
    arenaBytes: Math.max(0, ...segments.map((r) => r.arenaBytes)),
    outputBytes: total((r) => r.outputBytes),
    segments: segments.length,
  }
}
