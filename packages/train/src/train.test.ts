import { readFileSync } from 'node:fs'
import { mkdtemp, readdir, readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  type Context,
  crossEntropy,
  embedding,
  matmul,
  mul,
  PARTS,
  parameters,
  planCount,
  randomKey,
  randomNormal,
  reference,
  reshape,
  setBackend,
  sliceAxis,
  sum,
  type Tensor,
  tanh,
  tensor,
} from '@heed/tensor'
import { beforeEach, describe, expect, it } from 'vitest'
import {
  adam,
  adamW,
  checkpoints,
  clipGradNorm,
  clipGradValue,
  ema,
  emaDecay,
  folderStorage,
  initialSlots,
  memoryStorage,
  type Optimizer,
  progressLine,
  type Storage,
  scheduleNamed,
  sgd,
  type TrainableModel,
  type TrainOptions,
  train,
} from './index.js'

beforeEach(() => setBackend(reference({ precision: 'f64' })))

interface Golden {
  id: string
  op: string
  args: Record<string, unknown>
  inputs: Record<string, { shape: number[]; data: number[] }>
  outputs: Record<string, { shape: number[]; data: number[] }>
}
const goldens: Golden[] = JSON.parse(
  readFileSync(new URL('../test/fixtures/optim.json', import.meta.url), 'utf8'),
)
const cases = (op: string): Golden[] => goldens.filter((g) => g.op === op)
const load = (g: Golden, name: string): Tensor =>
  tensor(Float64Array.from(g.inputs[name].data), { shape: g.inputs[name].shape })
const close = (got: ArrayLike<number>, want: number[], tolerance = 1e-10): void => {
  expect(got.length).toBe(want.length)
  want.forEach((w, i) =>
    expect(Math.abs(got[i] - w), `element ${i}: ${got[i]} against ${w}`).toBeLessThanOrEqual(
      tolerance * (1 + Math.abs(w)),
    ),
  )
}

describe('schedules against PyTorch and Hugging Face', () => {
  it.each(cases('lrSchedule').map((g) => [g.id, g] as const))('%s', (_, g) => {
    const rate = scheduleNamed(g.args.kind as string, g.args)
    const want = g.outputs.lr.data
    close(
      want.map((__, t) => rate(t)),
      want,
      1e-12,
    )
  })
  it('names what is missing', () => {
    expect(() => scheduleNamed('linear', { lr: 1 })).toThrow("linear: 'total' is missing")
    expect(() => scheduleNamed('wavy', { lr: 1 })).toThrow("schedule 'wavy' is unknown")
  })
})

const makers: Record<string, (o: never) => Optimizer> = { sgd, adam, adamW }
describe('optimisers against PyTorch, 12 steps', () => {
  it.each(goldens.filter((g) => g.op in makers).map((g) => [g.id, g] as const))('%s', async (_, g) => {
    const {
      schedule,
      clipNorm,
      noDecay = [],
      ...args
    } = g.args as Record<string, never> & { noDecay?: string[] }
    const lr = schedule
      ? scheduleNamed((schedule as { kind: string }).kind, { ...(schedule as object), lr: args.lr })
      : args.lr
    const optimizer = makers[g.op]({
      ...args,
      weightDecay: args.weightDecay ?? 0,
      lr,
      decay: (path: string) => !(noDecay as string[]).includes(path),
    } as never)
    const names = Object.keys(g.inputs).filter((n) => n.startsWith('p'))
    let params = Object.fromEntries(names.map((n) => [n, load(g, n)]))
    let slots = Object.fromEntries(names.map((n) => [n, initialSlots(optimizer, params[n])]))
    const steps = g.inputs.g0.shape[0]
    const trajectory: Record<string, number[]> = Object.fromEntries(names.map((n) => [n, []]))
    for (let t = 0; t < steps; t++) {
      let grads: Record<string, Tensor> = Object.fromEntries(
        names.map((n) => [n, pickStep(load(g, n.replace('p', 'g')), t, params[n].shape)]),
      )
      if (clipNorm) grads = clipGradNorm(grads, clipNorm as number).grads
      const scalars = Object.fromEntries(
        Object.entries(optimizer.scalars(t)).map(([k, v]) => [k, tensor(Float64Array.of(v), { shape: [] })]),
      )
      const updated = Object.fromEntries(
        names.map((n) => [
          n,
          optimizer.update(params[n], grads[n], slots[n], scalars, optimizer.decays(n, params[n])),
        ]),
      )
      params = Object.fromEntries(names.map((n) => [n, updated[n].param]))
      slots = Object.fromEntries(names.map((n) => [n, updated[n].slots]))
      for (const n of names) trajectory[n].push(...((await params[n].data()) as Float64Array))
    }
    for (const n of names) close(trajectory[n], g.outputs[`traj.${n}`].data)
  })
})
function pickStep(g: Tensor, t: number, shape: readonly number[]): Tensor {
  const one = sliceAxis(g, 0, t, t + 1)
  return reshape(one, shape)
}

describe('clipping and averages', () => {
  it.each(cases('clipGradNorm').map((g) => [g.id, g] as const))('%s', async (_, g) => {
    const grads = Object.fromEntries(Object.keys(g.inputs).map((n) => [n, load(g, n)]))
    const type =
      g.args.normType === 'inf' ? Number.POSITIVE_INFINITY : (g.args.normType as number | undefined)
    const clipped = clipGradNorm(grads, g.args.maxNorm as number, { normType: type })
    close([await clipped.norm.item()], g.outputs.norm.data)
    for (const n of Object.keys(grads))
      if (g.outputs[`clipped.${n}`])
        close((await clipped.grads[n].data()) as Float64Array, g.outputs[`clipped.${n}`].data)
  })
  it.each(cases('clipGradValue').map((g) => [g.id, g] as const))('%s', async (_, g) => {
    const grads = Object.fromEntries(Object.keys(g.inputs).map((n) => [n, load(g, n)]))
    const clipped = clipGradValue(grads, g.args.value as number)
    for (const n of Object.keys(grads))
      close((await clipped[n].data()) as Float64Array, g.outputs[`clipped.${n}`].data)
  })
  it.each(cases('ema').map((g) => [g.id, g] as const))('%s', async (_, g) => {
    const p = load(g, 'p')
    const shape = p.shape.slice(1)
    let e = { p: pickStep(p, 0, shape) }
    const got = [...((await e.p.data()) as Float64Array)]
    for (let t = 1; t < p.shape[0]; t++) {
      e = ema(
        e,
        { p: pickStep(p, t, shape) },
        emaDecay(g.args.decay as number, t, { warmup: g.args.warmup as boolean }),
      )
      got.push(...((await e.p.data()) as Float64Array))
    }
    close(got, g.outputs.traj.data)
  })
})

/** A bigram-like model: table [7, 4] → tanh → [4, 7]. */
function tiny(seed = 1): TrainableModel {
  const model = ((ids: Tensor) =>
    matmul(tanh(embedding(parts.embed as Tensor, ids)), parts.out as Tensor)) as unknown as TrainableModel
  const parts: Record<string, unknown> = {
    embed: mul(randomNormal(randomKey(seed), [7, 4]), 0.5),
    out: mul(randomNormal(randomKey(seed + 1), [4, 7]), 0.5),
  }
  Object.defineProperty(model, PARTS, { value: parts })
  return model
}
const batch = (step: number) => {
  const ids = Array.from({ length: 3 }, (_, r) =>
    Array.from({ length: 5 }, (__, i) => (step * 5 + r * 3 + i * i) % 7),
  )
  return { input: ids, target: ids.map((row) => row.map((id) => (id * 3 + 1) % 7)) }
}
const values = async (model: TrainableModel): Promise<number[]> => {
  const all: number[] = []
  for (const t of parameters(model).values()) all.push(...((await t.data()) as Float64Array))
  return all
}
const options = () => ({
  batches: batch,
  loss: crossEntropy,
  optimizer: adamW({ lr: 0.05, weightDecay: 0.1 }),
  clip: 1,
  progress: false,
})

describe('train', () => {
  it('learns, with one plan for all steps', async () => {
    const backend = reference()
    setBackend(backend)
    const { history } = await train(tiny(), { ...options(), steps: 60 })
    expect(history[0].loss).toBeGreaterThan(1.5)
    expect(history[59].loss).toBeLessThan(0.2)
    // initial values, one step
    expect(planCount(backend)).toBeLessThanOrEqual(2)
  })
  it('holds memory constant', async () => {
    const backend = reference()
    setBackend(backend)
    const model = tiny()
    const seen: number[] = []
    await train(model, { ...options(), steps: 40, onStep: () => void seen.push(backend.bytesInUse) })
    expect(seen[39]).toBe(seen[4])
  })
  it('a stopped and resumed run equals an uninterrupted one, bit for bit', async () => {
    setBackend(reference())
    const whole = tiny()
    await train(whole, { ...options(), steps: 20 })
    const folder = await mkdtemp(join(tmpdir(), 'heed-train-'))
    const controller = new AbortController()
    const first = await train(tiny(), {
      ...options(),
      steps: 20,
      checkpoint: folder,
      checkpointEvery: 4,
      signal: controller.signal,
      onStep: (p) => {
        if (p.step === 9) controller.abort()
      },
    })
    expect(first.stopped).toBe(true)
    const resumed = tiny(5)
    const second = await train(resumed, { ...options(), steps: 20, checkpoint: folder })
    expect(second.resumedAt).toBe(9)
    expect(second.stopped).toBe(false)
    expect(await values(resumed)).toEqual(await values(whole))
    const lines = (await readFile(join(folder, 'metrics.jsonl'), 'utf8')).trim().split('\n')
    expect(lines.map((l) => JSON.parse(l).step)).toEqual(Array.from({ length: 20 }, (_, i) => i + 1))
  })
  it('killed in mid-write, it resumes from the last complete checkpoint', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'heed-train-'))
    await train(tiny(), { ...options(), steps: 6, checkpoint: folder, checkpointEvery: 3 })
    const newest = (await readdir(folder))
      .filter((n) => n.startsWith('checkpoint'))
      .sort()
      .at(-1) as string
    await writeFile(join(folder, newest), (await readFile(join(folder, newest))).subarray(0, 100))
    const r = await train(tiny(), { ...options(), steps: 8, checkpoint: folder })
    expect(r.resumedAt).toBe(3)
    expect(
      (await readFile(join(folder, 'metrics.jsonl'), 'utf8'))
        .trim()
        .split('\n')
        .map((l) => JSON.parse(l).step),
    ).toEqual([1, 2, 3, 4, 5, 6, 7, 8])
  })
  it('keeps two checkpoints', async () => {
    const storage = memoryStorage()
    await train(tiny(), { ...options(), steps: 10, checkpoint: storage, checkpointEvery: 2 })
    expect(await checkpoints(storage)).toEqual([8, 10])
  })
  it('averages the gradients of micro-batches', async () => {
    const one = tiny()
    const whole = await train(one, {
      ...options(),
      optimizer: sgd({ lr: 0.5 }),
      clip: undefined,
      steps: 3,
      batches: (step) => {
        const [a, b] = [batch(2 * step), batch(2 * step + 1)]
        return { input: [...a.input, ...b.input], target: [...a.target, ...b.target] }
      },
    })
    const two = tiny()
    const r = await train(two, {
      ...options(),
      optimizer: sgd({ lr: 0.5 }),
      clip: undefined,
      steps: 3,
      accumulate: 2,
    })
    close(await values(two), await values(one), 1e-12)
    expect(r.history[0].tokens).toBe(30)
    const losses = (h: typeof r) => h.history.map((step) => step.loss)
    close(losses(r), losses(whole), 1e-12)
  })
  it('with dropout every micro-batch has a key of its own, the same again after a resume', async () => {
    const keys = async (o: Partial<TrainOptions>, runs = 1): Promise<string[]> => {
      const storage = memoryStorage()
      const seen: string[] = []
      for (let run = 1; run <= runs; run++) {
        const model = tiny()
        const listening = ((ids: Tensor, ctx?: Context) => {
          seen.push(ctx?.key ? `${ctx.key.value?.host}` : 'none')
          return model(ids)
        }) as TrainableModel
        Object.defineProperty(listening, PARTS, { value: model[PARTS] })
        const steps = (4 / runs) * run
        await train(listening, { ...options(), steps, accumulate: 2, checkpoint: storage, ...o })
      }
      return seen
    }
    const seen = await keys({ dropout: true })
    expect(seen).toHaveLength(8)
    expect(new Set(seen).size).toBe(8)
    expect(await keys({ dropout: true }, 2)).toEqual(seen)
    expect((await keys({ dropout: true, seed: 3 })).some((k) => seen.includes(k))).toBe(false)
    expect(new Set(await keys({}))).toEqual(new Set(['none']))
  })
  it('decays matrices alone, unless it is told which parameters', () => {
    const [vector, matrix] = [tensor([1, 2]), tensor([[1, 2]])]
    for (const optimizer of [
      adamW({ lr: 1 }),
      adam({ lr: 1, weightDecay: 1 }),
      sgd({ lr: 1, weightDecay: 1 }),
    ])
      expect([vector, matrix].map((p) => optimizer.decays('ln1.w', p))).toEqual([false, true])
    for (const optimizer of [adamW({ lr: 1, weightDecay: 0 }), adam({ lr: 1 }), sgd({ lr: 1 })])
      expect([vector, matrix].map((p) => optimizer.decays('ln1.w', p))).toEqual([false, false])
    const told = adamW({ lr: 1, decay: (path) => path === 'b' })
    expect(['a', 'b'].map((path) => told.decays(path, vector))).toEqual([false, true])
  })
  it('clips the gradient it applies and reports the norm before', async () => {
    const model = tiny()
    const before = await values(model)
    const r = await train(model, { ...options(), optimizer: sgd({ lr: 1 }), clip: 1e-3, steps: 1 })
    const moved = Math.hypot(...(await values(model)).map((v, i) => v - before[i]))
    expect(r.history[0].gradNorm).toBeGreaterThan(0.01)
    expect(moved).toBeCloseTo(1e-3, 6)
  })
  it('says what is wrong', async () => {
    const model = tiny()
    await expect(train(model, { ...options(), steps: 1, stepz: 2 } as never)).rejects.toThrow(
      "option 'stepz' is unknown",
    )
    await expect(train(model, { ...options(), steps: 1, loss: (y) => y })).rejects.toThrow(
      'expected a scalar',
    )
    await expect(
      train(model, { ...options(), steps: 1, loss: (y) => mul(sum(y), Number.NaN) }),
    ).rejects.toThrow('lower the rate')
    expect(() => adamW({ lr: 1, beta: 3 } as never)).toThrow("option 'beta' is unknown")
    const storage: Storage = memoryStorage()
    await train(tiny(), { ...options(), steps: 2, checkpoint: storage })
    await expect(
      train(tiny(), { ...options(), optimizer: adam({ lr: 1 }), steps: 4, checkpoint: storage }),
    ).rejects.toThrow('was made with adamW')
    await expect(train(tiny(), { ...options(), seed: 9, steps: 4, checkpoint: storage })).rejects.toThrow(
      'seed 0, not 9',
    )
  })
  it('writes a checkpoint aside and renames it', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'heed-train-'))
    const storage = await folderStorage(folder)
    await storage.write('a', Uint8Array.of(1, 2))
    expect(await readdir(folder)).toEqual(['a'])
    expect(await storage.read('b')).toBeUndefined()
  })
  it('reads like a progress bar', () => {
    expect(
      progressLine(
        { step: 6, steps: 24, loss: 1.23456, lr: 0, gradNorm: 0, tokensPerSecond: 1999.6, eta: 83 },
        4,
      ),
    ).toBe('█░░░ 6/24  loss 1.2346  2000 tokens/s  1 min 23 s left')
  })
})
