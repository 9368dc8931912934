/**
 * The loop: batches by step, loss, gradients, clipping, the optimiser's update: one plan for the whole run, old
 * parameters donated, so that memory stays constant. It checkpoints, resumes, and stops at an AbortSignal.
 */
import {
  add,
  type Context,
  detach,
  foldIn,
  grad,
  type HasParts,
  mul,
  parameters,
  randomKey,
  realize,
  release,
  setParameters,
  showShape,
  type Tensor,
  tensor,
  ValueError,
} from '@heed/tensor'
import { loadCheckpoint, saveCheckpoint } from './checkpoint.js'
import { clipGradNorm, globalNorm } from './clip.js'
import { initialSlots, type Optimizer, type Slots } from './optimizer.js'
import { type Progress, progressPrinter } from './progress.js'
import { folderStorage, type Storage } from './storage.js'

/** One batch: what the model takes and what the loss compares with. Arrays of integers become i32 tensors. */
export interface Batch {
  input: Tensor | readonly (readonly number[])[]
  target: Tensor | readonly (readonly number[])[] | readonly number[]
}

/** A module (of `@heed/nn`, or any callable with parts) from an input tensor to an output. */
export type TrainableModel = HasParts & ((input: Tensor, ctx?: Context) => Tensor)

export interface TrainOptions {
  /** The batch of a step (0, 1, …): a function of the step alone, so that a resumed run stands where it stopped. */
  batches: (step: number) => Batch | Promise<Batch>
  loss: (output: Tensor, target: Tensor) => Tensor
  optimizer: Optimizer
  /** Steps of the whole run, those before a resume included. */
  steps: number
  /** Micro-batches per step, whose gradients are averaged; `batches` is called with step·accumulate + i. */
  accumulate?: number
  /** Global norm to which gradients are clipped. */
  clip?: number
  /** Turns dropout on: the model gets ctx.key. */
  dropout?: boolean
  seed?: number
  /** A folder (Node) or a storage: checkpoints and metrics.jsonl. */
  checkpoint?: string | Storage
  /** Steps between checkpoints. Default: a tenth of the run, at most 500. */
  checkpointEvery?: number
  signal?: AbortSignal
  /** Called after each step; return a promise to do more (evaluate, sample). */
  onStep?: (p: Progress) => void | Promise<void>
  /** false: draw no progress bar. Default: standard error of Node, if there is one. */
  progress?: boolean
}

export interface StepRecord {
  readonly step: number
  readonly loss: number
  readonly gradNorm: number
  readonly lr: number
  readonly tokens: number
  readonly seconds: number
}
export interface TrainResult {
  readonly params: Record<string, Tensor>
  /** Steps of this call. */
  readonly history: readonly StepRecord[]
  /** The step this call began at: 0, or that of the checkpoint. */
  readonly resumedAt: number
  /** True when the signal stopped it before the end; a checkpoint was written if there is a place for one. */
  readonly stopped: boolean
}

const OPTIONS = [
  'batches',
  'loss',
  'optimizer',
  'steps',
  'accumulate',
  'clip',
  'dropout',
  'seed',
  'checkpoint',
  'checkpointEvery',
  'signal',
  'onStep',
  'progress',
]

/**
 * Trains a model in place: its parameters are replaced after every step.
 * @throws ValueError for unknown options, a loss that is no scalar or no number, or a checkpoint of another model.
 */
export async function train(model: TrainableModel, options: TrainOptions): Promise<TrainResult> {
  for (const key of Object.keys(options))
    if (!OPTIONS.includes(key))
      throw new ValueError(`train: option '${key}' is unknown; use ${OPTIONS.join(', ')}`)
  const { optimizer, steps, accumulate = 1, seed = 0 } = options
  if (!(Number.isInteger(steps) && steps >= 0))
    throw new ValueError(`train: steps = ${steps}, expected a count`)
  if (!(Number.isInteger(accumulate) && accumulate > 0))
    throw new ValueError(`train: accumulate = ${accumulate}, expected a count above 0`)
  const storage =
    typeof options.checkpoint === 'string' ? await folderStorage(options.checkpoint) : options.checkpoint
  const every = options.checkpointEvery ?? Math.max(1, Math.min(500, Math.ceil(steps / 10)))
  const print = options.progress === false ? null : defaultPrinter()

  let params: Record<string, Tensor> = Object.fromEntries(parameters(model))
  let slots: Record<string, Slots> = Object.fromEntries(
    Object.entries(params).map(([path, p]) => [path, initialSlots(optimizer, p)]),
  )
  let start = 0
  if (storage) {
    const restored = await loadCheckpoint(storage)
    if (restored) {
      for (const line of restored.skipped) console.warn(`train: passed over a damaged checkpoint: ${line}`)
      const { state } = restored
      requireSame(params, state.params)
      if (state.optimizer !== optimizer.name)
        throw new ValueError(
          `train: the checkpoint was made with ${state.optimizer}, not ${optimizer.name}; use another folder`,
        )
      if (state.seed !== seed)
        throw new ValueError(
          `train: the checkpoint was made with seed ${state.seed}, not ${seed}; use another folder`,
        )
      params = { ...state.params }
      slots = { ...state.slots }
      for (const path of Object.keys(params)) slots[path] ??= {}
      setParameters(model, params)
      start = state.step
      await keepMetricsBefore(storage, start)
    }
  }
  // initial values are made once, so that every step has the same plan
  await realize([...Object.values(params), ...Object.values(slots).flatMap((s) => Object.values(s))])
  const key = randomKey(seed)
  const history: StepRecord[] = []
  let lines = ''
  let stopped = false
  let saved = start
  const flush = async (): Promise<void> => {
    if (storage && lines) await storage.append('metrics.jsonl', lines)
    lines = ''
  }
  const save = async (step: number): Promise<void> => {
    if (!storage || saved === step) return
    await flush()
    await saveCheckpoint(storage, { step, params, slots, optimizer: optimizer.name, seed })
    saved = step
  }
  let clock = now()
  for (let step = start; step < steps; step++) {
    if (options.signal?.aborted) {
      stopped = true
      break
    }
    const names = Object.keys(params)
    const wrt = Object.values(params)
    const unused: string[] = []
    let total: Record<string, Tensor> | null = null
    let lossValue = 0
    let tokens = 0
    let loss: Tensor | null = null
    // what only this step needs; released at its end, not left to the garbage collector
    const passing: Tensor[] = []
    for (let i = 0; i < accumulate; i++) {
      const batch = await options.batches(step * accumulate + i)
      const input = asTensor(batch.input)
      const target = asTensor(batch.target)
      if (input !== batch.input) passing.push(input)
      if (target !== batch.target) passing.push(target)
      tokens += target.size
      const ctx = options.dropout ? { key: foldIn(key, step * accumulate + i) } : undefined
      if (ctx) passing.push(ctx.key)
      loss = options.loss(ctx ? model(input, ctx) : model(input), target)
      if (loss.rank !== 0)
        throw new ValueError(`train: the loss is ${showShape(loss.shape)}, expected a scalar; reduce it`)
      const g = grad(loss, wrt, {
        unused: 'zero',
        onUnused: step === start && i === 0 ? (k) => unused.push(names[k]) : undefined,
      })
      passing.push(loss)
      const named: Record<string, Tensor> = Object.fromEntries(
        Object.keys(params).map((path, k) => [path, accumulate === 1 ? g[k] : mul(g[k], 1 / accumulate)]),
      )
      const before = total
      const sum: Record<string, Tensor> = before
        ? Object.fromEntries(Object.entries(named).map(([path, t]) => [path, add(before[path], t)]))
        : named
      if (accumulate > 1) {
        await realize([loss, ...Object.values(sum)], { donate: before ? Object.values(before) : [] })
        lossValue += (await loss.item()) / accumulate
        total = Object.fromEntries(Object.entries(sum).map(([path, t]) => [path, detach(t)]))
      } else total = sum
    }
    if (unused.length > 0 && step === start)
      console.warn(`train: no gradient reaches ${unused.join(', ')}; they stay as they are`)
    const grads = total as Record<string, Tensor>
    const clipped =
      options.clip === undefined ? { grads, norm: globalNorm(grads) } : clipGradNorm(grads, options.clip)
    const scalars = Object.fromEntries(
      Object.entries(optimizer.scalars(step)).map(([name, v]) => [
        name,
        tensor(Float64Array.of(v), { shape: [], dtype: 'f32' }),
      ]),
    )
    const next: Record<string, Tensor> = {}
    const nextSlots: Record<string, Slots> = {}
    for (const [path, p] of Object.entries(params)) {
      const updated = optimizer.update(
        p,
        clipped.grads[path],
        slots[path],
        scalars,
        optimizer.decays(path, p),
      )
      next[path] = updated.param
      nextSlots[path] = updated.slots
    }
    const old = [
      ...wrt,
      ...Object.values(slots).flatMap((s) => Object.values(s)),
      ...(accumulate > 1 ? Object.values(grads) : []),
    ]
    const made = [...Object.values(next), ...Object.values(nextSlots).flatMap((s) => Object.values(s))]
    await realize([...made, clipped.norm, ...(accumulate === 1 ? [loss as Tensor] : [])])
    if (accumulate === 1) lossValue = await (loss as Tensor).item()
    const gradNorm = await clipped.norm.item()
    for (const t of [...passing, clipped.norm, ...Object.values(scalars)]) release(t)
    if (!Number.isFinite(lossValue) || !Number.isFinite(gradNorm)) {
      // the model keeps the parameters of the last good step
      for (const t of made) release(t)
      throw new ValueError(
        `train: step ${step} has loss ${lossValue} and gradient norm ${gradNorm}; the model is as after step ${step - 1}: lower the rate, or clip gradients`,
      )
    }
    for (const t of old) release(t)
    params = mapValues(next, detach)
    slots = mapValues(nextSlots, (s) => mapValues(s, detach))
    setParameters(model, params)

    const t = now()
    const record: StepRecord = {
      step: step + 1,
      loss: lossValue,
      gradNorm,
      lr: optimizer.rate(step),
      tokens,
      seconds: (t - clock) / 1000,
    }
    clock = t
    history.push(record)
    lines += `${JSON.stringify(record)}\n`
    const recent = history.slice(-20)
    const seconds = recent.reduce((n, r) => n + r.seconds, 0) / recent.length
    const p: Progress = {
      step: step + 1,
      steps,
      loss: lossValue,
      lr: record.lr,
      gradNorm: record.gradNorm,
      tokensPerSecond: tokens / seconds,
      eta: seconds * (steps - step - 1),
    }
    print?.(p)
    if ((step + 1) % every === 0) await save(step + 1)
    await options.onStep?.(p)
  }
  await save(start + history.length)
  await flush()
  return { params, history, resumedAt: start, stopped }
}

function mapValues<A, B>(o: Readonly<Record<string, A>>, f: (a: A) => B): Record<string, B> {
  return Object.fromEntries(Object.entries(o).map(([k, v]) => [k, f(v)]))
}
const now = (): number => performance.now()

function asTensor(x: Batch['input'] | Batch['target']): Tensor {
  return Array.isArray(x) ? tensor(x as number[][], { dtype: 'i32' }) : (x as Tensor)
}

function requireSame(
  params: Readonly<Record<string, Tensor>>,
  saved: Readonly<Record<string, Tensor>>,
): void {
  for (const [path, p] of Object.entries(params)) {
    const s = saved[path]
    if (!s)
      throw new ValueError(
        `train: the checkpoint has no parameter '${path}'; it belongs to another model: use another folder`,
      )
    if (showShape(s.shape) !== showShape(p.shape))
      throw new ValueError(
        `train: parameter '${path}' is ${showShape(p.shape)}, the checkpoint's ${showShape(s.shape)}; use another folder`,
      )
  }
}

/** Lines beyond the checkpoint belong to steps that are done again. */
async function keepMetricsBefore(storage: Storage, step: number): Promise<void> {
  const bytes = await storage.read('metrics.jsonl')
  if (!bytes) return
  const kept = new TextDecoder()
    .decode(bytes)
    .split('\n')
    .filter((line) => {
      try {
        return (JSON.parse(line) as StepRecord).step <= step
      } catch {
        // a line cut short by a kill, or the empty last one
        return false
      }
    })
  await storage.write('metrics.jsonl', new TextEncoder().encode(kept.map((line) => `${line}\n`).join('')))
}

function defaultPrinter(): ((p: Progress) => void) | null {
  const stream = (globalThis as { process?: { stderr?: { isTTY?: boolean; write(text: string): boolean } } })
    .process?.stderr
  return stream ? progressPrinter(stream) : null
}
