/**
 * Running: `realize` finds or compiles the plan of a graph, binds its leaves, runs it on the backend and remembers the
 * results on their tensors. Runs on one backend are queued. Nothing falls back silently: the report says what ran
 * where.
 */
import type { Backend, DeviceBuffer, Executable, Graph, GraphNode, Ref, Report } from './backend.js'
import type { TypedArray } from './dtype.js'
import { BackendError, HeedError, UnsupportedOpError, ValueError } from './errors.js'
import { constantOf, constOp, installReader, leafOp, type Tensor, type TensorValue } from './graph.js'
import { type Lowered, lower } from './lower.js'
import { detachedOp } from './ops/define.js'
import { reference } from './reference/index.js'
import { type Signature, signatureOf } from './signature.js'

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
  if (backend !== null && backend.spec !== 1)
    throw new BackendError(
      `setBackend: backend '${(backend as Backend).name}' has spec ${(backend as Backend).spec}, this version runs spec 1; install matching versions`,
    )
  defaultBackend = backend
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
/** The first candidate that can be made; `refused` lists the others with their reasons. */
export async function pick(candidates: readonly (Promise<Backend> | Backend)[]): Promise<Picked> {
  const refused: { index: number; reason: string }[] = []
  const settled = await Promise.allSettled(candidates)
  for (const [index, r] of settled.entries()) {
    if (r.status === 'fulfilled') {
      for (const other of settled.slice(index + 1))
        if (other.status === 'fulfilled' && other.value !== r.value) other.value.dispose()
      return Object.assign(Object.create(r.value) as Backend, { refused })
    }
    refused.push({ index, reason: r.reason instanceof Error ? r.reason.message : String(r.reason) })
  }
  throw new BackendError(`pick: every backend refused: ${refused.map((r) => r.reason).join('; ')}`)
}

interface Check {
  readonly leaf: number
  readonly kind: 'index' | 'offset'
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
  readonly structure: Int32Array
  readonly numbers: readonly number[] | null
  readonly bindings: readonly number[]
  readonly segments: readonly Segment[]
  readonly inputs: readonly string[]
  readonly outputs: readonly string[]
  readonly checks: readonly Check[]
  readonly report: Report
}
interface PlanCache {
  readonly plans: Map<string, Plan[]>
  count: number
  queue: Promise<unknown>
}
const caches = new WeakMap<Backend, PlanCache>()
const MAX_PLANS = 256

function cacheOf(backend: Backend): PlanCache {
  let c = caches.get(backend)
  if (!c) {
    c = { plans: new Map(), count: 0, queue: Promise.resolve() }
    caches.set(backend, c)
  }
  return c
}
/** How many plans a backend holds (for tests of reuse). */
export function planCount(backend: Backend = getBackend()): number {
  return cacheOf(backend).count
}

/** Frees buffers of tensors that nobody holds any more. A net: loops donate or detach their state. */
const net = new FinalizationRegistry<{ backend: Backend; buffer: DeviceBuffer }>(({ backend, buffer }) =>
  letGo(backend, buffer),
)
/** How many tensors hold a buffer, where it is more than one: equal graphs asked for together are computed once. */
const holders = new WeakMap<DeviceBuffer, number>()
function letGo(backend: Backend, buffer: DeviceBuffer): void {
  const others = (holders.get(buffer) ?? 1) - 1
  holders.set(buffer, others)
  if (others === 0) backend.free(buffer)
}
let madeSinceTurn = 0
const BYTES_PER_TURN = 2 ** 28

/** Computes tensors in one run; afterwards they have values. Returns what ran where. */
export async function realize(tensors: readonly Tensor[], options: RealizeOptions = {}): Promise<Report> {
  const backend = options.backend ?? getBackend()
  const cache = cacheOf(backend)
  const run = cache.queue.then(() => runNow(tensors, backend, cache, options))
  cache.queue = run.catch(() => undefined)
  const report = await run
  if (madeSinceTurn > BYTES_PER_TURN) {
    // finalizers only run between macrotasks: a loop of microtasks would free nothing
    madeSinceTurn = 0
    await new Promise((resolve) => setTimeout(resolve, 0))
  }
  return report
}

async function runNow(
  tensors: readonly Tensor[],
  backend: Backend,
  cache: PlanCache,
  options: RealizeOptions,
): Promise<Report> {
  const todo: Tensor[] = []
  for (const t of tensors) {
    if (t.node.op === constOp && t.value === null) t.value = { host: constantArray(t) }
    if (t.value === null && !todo.includes(t)) todo.push(t)
    else if (t.value) requireReadable(t)
  }
  const warned = todo.find((t) => t.node.depth > 64)
  if (warned) warnHistory(warned)
  if (todo.length === 0) return emptyReport(backend)
  const signature = signatureOf(todo, (t) => t.value !== null)
  if (signature.order.length > MANY_NODES) warnSize(signature.order.length)
  const plan = await planFor(todo, signature, backend, cache, options.strict ?? false)
  const { values, temporary } = bindLeaves(plan, signature.leaves, backend)
  const givenAway = givenAwayOf(options.donate ?? [])
  let isDone = false
  try {
    for (let i = 0; i < plan.segments.length; i++) await runSegment(plan, i, values, temporary, givenAway)
    isDone = true
  } catch (error) {
    throw withLosses(error, options.donate ?? [])
  } finally {
    for (const [owner, buffer] of temporary)
      if (!isDone || !plan.outputs.some((o) => values.get(o)?.buffer === buffer)) owner.free(buffer)
  }
  todo.forEach((t, i) => {
    const made = values.get(plan.outputs[i]) as Held
    adopt(t, made.backend, made.buffer)
  })
  for (const t of options.donate ?? []) donate(t, todo[0])
  return plan.report
}

interface Held {
  readonly backend: Backend
  readonly buffer: DeviceBuffer
}

function adopt(t: Tensor, backend: Backend, buffer: DeviceBuffer): void {
  const value: TensorValue = { device: { backend, buffer } }
  t.value = value
  holders.set(buffer, (holders.get(buffer) ?? 0) + 1)
  madeSinceTurn += buffer.bytes
  net.register(value, { backend, buffer }, value)
  // a realized detach has no past
  if (t.node.op === detachedOp) (t.node as { inputs: readonly Tensor[] }).inputs = []
}

function donate(t: Tensor, to: Tensor): void {
  const value = t.value
  if (!value || value.donatedTo) return
  value.donatedTo = to.name ?? to.node.op.name
  value.host = undefined
  if (value.device) {
    net.unregister(value)
    letGo(value.device.backend as Backend, value.device.buffer as DeviceBuffer)
    value.device = undefined
  }
}
/** Frees a tensor's memory now; reading it later throws. */
export function release(t: Tensor): void {
  if (t.value) donate(t, t)
}

/** Buffers that this run may write over: donated, and held by no other tensor. */
function givenAwayOf(tensors: readonly Tensor[]): Set<DeviceBuffer> {
  const buffers = new Set<DeviceBuffer>()
  for (const { value } of tensors) {
    const buffer = value?.device?.buffer as DeviceBuffer | undefined
    if (buffer && (holders.get(buffer) ?? 1) === 1) buffers.add(buffer)
  }
  return buffers
}
/** A run that fails after it wrote over donated tensors says which are lost; the others are as they were. */
function withLosses(error: unknown, donated: readonly Tensor[]): unknown {
  const lost = donated.filter((t) => (t.value?.device?.buffer as DeviceBuffer | undefined)?.gone)
  if (lost.length === 0) return error
  for (const t of lost) {
    donate(t, t)
    ;(t.value as TensorValue).donatedTo = 'a run that failed'
  }
  const names = lost.map((t) => t.name ?? t.node.op.name).join(', ')
  if (error instanceof Error)
    error.message += `; the run had already written over donated tensors, which are lost: ${names}`
  return error
}

function requireReadable(t: Tensor): void {
  if (t.value?.donatedTo)
    throw new ValueError(
      `tensor ${t.name ?? t.node.op.name} was donated to ${t.value.donatedTo} and has no data any more; read it before, or do not donate it`,
    )
}

function constantArray(t: Tensor): TypedArray {
  const v = constantOf(t) as number
  if (t.dtype === 'i32') return Int32Array.of(v)
  return t.dtype === 'bool' ? Uint8Array.of(v) : Float64Array.of(v)
}

async function planFor(
  todo: readonly Tensor[],
  signature: Signature,
  backend: Backend,
  cache: PlanCache,
  strict: boolean,
): Promise<Plan> {
  const key = `${signature.key}${strict ? '!' : ''}`
  const numbers = signature.leaves.map((t) => (t.node.op === constOp ? (constantOf(t) as number) : 0))
  const structure = structureOf(todo, signature)
  const known = (cache.plans.get(key) ?? []).filter((p) => sameInts(p.structure, structure))
  const found = known.find((p) => p.numbers === null || sameNumbers(p.numbers, numbers))
  if (found) {
    touch(cache, key)
    return found
  }
  // the first different number of a known structure: one general plan with the numbers as inputs
  const bake = known.length === 0
  const lowered = lower(todo, signature.leaves, backend, { bake, key })
  const plan = await compilePlan(lowered, backend, strict, { structure, numbers: bake ? numbers : null })
  const list = cache.plans.get(key) ?? []
  list.push(plan)
  cache.plans.set(key, list)
  cache.count++
  touch(cache, key)
  while (cache.count > MAX_PLANS) {
    const oldest = cache.plans.keys().next().value as string
    const gone = cache.plans.get(oldest) ?? []
    for (const p of gone) for (const s of p.segments) s.executable.dispose?.()
    cache.count -= gone.length
    cache.plans.delete(oldest)
  }
  return plan
}
function touch(cache: PlanCache, key: string): void {
  const list = cache.plans.get(key)
  if (!list) return
  cache.plans.delete(key)
  cache.plans.set(key, list)
}

/** The walk's exact shape, compared on a hit so that a hash collision cannot run the wrong plan. */
function structureOf(todo: readonly Tensor[], s: Signature): Int32Array {
  const slots = new Map<Tensor, number>(s.leaves.map((t, i) => [t, -1 - i]))
  const out: number[] = []
  const place = (t: Tensor): void => {
    const slot = slots.get(t)
    if (slot !== undefined) out.push(slot)
    else out.push(t.node.position, t.index)
  }
  for (const n of s.order) {
    out.push(n.op.code, n.hashA, n.hashB, n.inputs.length)
    n.inputs.forEach(place)
  }
  todo.forEach(place)
  for (const t of s.leaves) out.push(t.dtype.charCodeAt(0) * 256 + t.dtype.charCodeAt(1), ...t.shape)
  return Int32Array.from(out)
}
function sameInts(a: Int32Array, b: Int32Array): boolean {
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false
  return true
}
const sameNumbers = (a: readonly number[], b: readonly number[]): boolean =>
  a.every((x, i) => Object.is(x, b[i]))

const nameOf = (r: Ref): string => `${r.node}.${r.index}`

async function compilePlan(
  lowered: Lowered,
  backend: Backend,
  strict: boolean,
  id: Pick<Plan, 'structure' | 'numbers'>,
): Promise<Plan> {
  const { graph, bindings } = lowered
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
  const total = (f: (r: Report) => number): number => reports.reduce((n, r) => n + f(r), 0)
  return {
    ...id,
    bindings,
    segments,
    inputs: graph.inputs.map((i) => nameOf({ node: i, index: 0 })),
    outputs: graph.outputs.map(nameOf),
    checks: checksOf(graph, bindings),
    report: {
      backend: backend.name,
      precision: backend.precision,
      nodes: graph.nodes.length,
      steps: total((r) => r.steps),
      ran: [...merged.values()],
      inlined: lowered.inlined,
      copies: total((r) => r.copies),
      arenaBytes: Math.max(0, ...reports.map((r) => r.arenaBytes)),
      outputBytes: total((r) => r.outputBytes),
      segments: segments.length,
    },
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
        reads: graph.inputs.map((i) => nameOf({ node: i, index: 0 })),
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
      if (from.op === 'constant') at = { node: nodes.push(from) - 1, index: 0 }
      else {
        const spec = from.to[r.index]
        at = {
          node:
            nodes.push({ op: 'input', attrs: {}, inputs: [], from: [], to: [spec], path: '', site: null }) -
            1,
          index: 0,
        }
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
      reads: sources.filter((i) => graph.nodes[i].op === 'input').map((i) => nameOf({ node: i, index: 0 })),
      makes: sources.map((i) => nameOf({ node: i, index: 0 })),
      graph: {
        key: `${graph.key}/direct`,
        nodes: sources.map((i) => graph.nodes[i]),
        inputs: sources.flatMap((i, at) => (graph.nodes[i].op === 'input' ? [at] : [])),
        outputs: sources.map((_, at) => ({ node: at, index: 0 })),
      },
    })
  }
  return parts
}

async function runSegment(
  plan: Plan,
  at: number,
  values: Map<string, Held>,
  temporary: [Backend, DeviceBuffer][],
  givenAway: ReadonlySet<DeviceBuffer>,
): Promise<void> {
  const segment = plan.segments[at]
  const inputs: DeviceBuffer[] = []
  for (const name of segment.reads) {
    const held = values.get(name) as Held
    if (held.backend === segment.backend) {
      inputs.push(held.buffer)
      continue
    }
    const moved = segment.backend.upload(
      await held.backend.download(held.buffer),
      held.buffer.shape,
      held.buffer.dtype,
    )
    temporary.push([segment.backend, moved])
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
    values.set(name, { backend: segment.backend, buffer: made[i] })
    // a result that stays inside the run, or on the reference kernels while the backend is another
    temporary.push([segment.backend, made[i]])
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
    if (op === 'take') add(n.inputs[1], { kind: 'index', limit: from[0].shape[axis], path, op })
    else if (op === 'update')
      add(n.inputs[2], { kind: 'offset', limit: from[0].shape[axis] - from[1].shape[axis], path, op })
  }
  return checks
}

function check(c: Check, host: TypedArray): void {
  const where = c.path ? `${c.path}: ` : ''
  for (let i = 0; i < host.length; i++) {
    const v = Number(host[i])
    if (c.kind === 'index' && !(v >= 0 && v < c.limit))
      throw new ValueError(`${where}${c.op}: id ${v} is outside 0..${c.limit - 1}`)
    if (c.kind === 'offset' && !(v >= 0 && v <= c.limit))
      throw new ValueError(
        `${where}${c.op}: the cache is full: offset ${v} is beyond ${c.limit}; make a cache of more positions`,
      )
  }
}

function bindLeaves(
  plan: Plan,
  leaves: readonly Tensor[],
  backend: Backend,
): { values: Map<string, Held>; temporary: [Backend, DeviceBuffer][] } {
  for (const c of plan.checks) {
    const host =
      leaves[c.leaf].value?.host ??
      (leaves[c.leaf].node.op === constOp ? constantArray(leaves[c.leaf]) : undefined)
    if (host) check(c, host)
  }
  const values = new Map<string, Held>()
  const temporary: [Backend, DeviceBuffer][] = []
  plan.bindings.forEach((at, k) => {
    const t = leaves[at]
    values.set(plan.inputs[k], bindOne(t, backend, temporary))
  })
  return { values, temporary }
}

function bindOne(t: Tensor, backend: Backend, temporary: [Backend, DeviceBuffer][]): Held {
  if (t.node.op === constOp && t.value === null) {
    const buffer = backend.upload(constantArray(t), t.shape, t.dtype)
    temporary.push([backend, buffer])
    return { backend, buffer }
  }
  const value = t.value
  if (!value) {
    const what = t.node.op === leafOp ? 'a placeholder without data' : `an unrealized ${t.node.op.name}`
    throw new HeedError(`realize: ${t.name ?? ''} ${what} [${t.shape}] is needed`)
  }
  requireReadable(t)
  if (value.device && value.device.backend === backend)
    return { backend, buffer: value.device.buffer as DeviceBuffer }
  if (value.host) {
    const buffer = backend.upload(value.host, t.shape, t.dtype)
    if (!value.device) {
      value.device = { backend, buffer }
      madeSinceTurn += buffer.bytes
      net.register(value, { backend, buffer }, value)
    } else temporary.push([backend, buffer])
    return { backend, buffer }
  }
  const device = value.device as { backend: unknown; buffer: object }
  return { backend: device.backend as Backend, buffer: device.buffer as DeviceBuffer }
}

async function read(t: Tensor): Promise<TypedArray> {
  if (t.value === null) await realize([t])
  requireReadable(t)
  const value = t.value as TensorValue
  if (value.host) return value.host
  const device = value.device as { backend: Backend; buffer: DeviceBuffer }
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

function emptyReport(backend: Backend): Report {
  return {
    backend: backend.name,
    precision: backend.precision,
    nodes: 0,
    steps: 0,
    ran: [],
    inlined: [],
    copies: 0,
    arenaBytes: 0,
    outputBytes: 0,
    segments: 0,
  }
}
