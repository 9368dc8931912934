// Whole training runs against PyTorch: GPT-2 from the folder's weights, AdamW on matrices, clipping, the recorded
// rates. One case for the losses, the gradient norms, the parameters after the first and after the last step.
import { loadModel, toFile } from '@heed/models'
import { crossEntropy, reshape, setBackend, sliceAxis, type Tensor, tensor } from '@heed/tensor'
import { adamW, train } from '@heed/train'
import { openWeights, type Weights } from '@heed/weights'
import { type Collection, type Comparison, compare, type GoldenCase, type Options, outcome } from './case.js'
import { readJson } from './files.js'
import { gradientNoise, widen } from './tolerances.js'

interface Expected {
  steps: number
  batch: number
  optimizer: {
    name: string
    beta1: number
    beta2: number
    eps: number
    weight_decay: { matrices: number; vectors: number }
    clip_global_norm: number
  }
  schedule: { rates: number[] }
  loss: number[]
  grad_norm_before_clip: number[]
}

interface Trained {
  losses: number[]
  norms: number[]
  /** File name → values, as Hugging Face stores them. */
  start: Map<string, Float32Array>
  first: Map<string, Float32Array>
  last: Map<string, Float32Array>
}

/** Shifted cross-entropy, mean over tokens. */
function nextTokenLoss(logits: Tensor, ids: Tensor): Tensor {
  const [batch, position, vocab] = logits.shape
  const predicted = reshape(sliceAxis(logits, 1, 0, position - 1), [batch * (position - 1), vocab])
  return crossEntropy(predicted, reshape(sliceAxis(ids, 1, 1, position), [batch * (position - 1)]))
}

async function runTraining(dir: string, expected: Expected, file: Weights): Promise<Trained> {
  const model = await loadModel(dir)
  const { shape } = file.info('input_ids')
  const ids = (await file.read('input_ids')).data as Int32Array
  const size = shape[1] * shape[2]
  const { optimizer: o } = expected
  const read = async (): Promise<Map<string, Float32Array>> => {
    const values = new Map<string, Float32Array>()
    for (const [path, t] of model.parameters)
      values.set(path, Float32Array.from((await t.data()) as Float32Array))
    return new Map(model.described.weights.rules.map((rule) => [rule.file, toFile(rule, values)]))
  }
  const start = await read()
  let first = new Map<string, Float32Array>()
  const { history } = await train(model, {
    batches: (step) => {
      const row = tensor(ids.slice(step * size, (step + 1) * size), {
        shape: [shape[1], shape[2]],
        dtype: 'i32',
      })
      return { input: row, target: row }
    },
    loss: nextTokenLoss,
    optimizer: adamW({
      lr: (step) => expected.schedule.rates[step],
      betas: [o.beta1, o.beta2],
      eps: o.eps,
      weightDecay: o.weight_decay.matrices,
      decay: (_, p) => p.rank >= 2,
    }),
    clip: o.clip_global_norm,
    steps: expected.steps,
    progress: false,
    onStep: async (p) => {
      if (p.step === 1) first = await read()
    },
  })
  return {
    losses: history.map((h) => h.loss),
    norms: history.map((h) => h.gradNorm),
    start,
    first,
    last: await read(),
  }
}

/** The key third of c_attn.bias has gradient 0 in exact arithmetic: AdamW makes steps of its rounding noise. */
export function comparable(name: string, length: number): Uint8Array | undefined {
  if (!name.endsWith('attn.c_attn.bias')) return undefined
  const third = length / 3
  return Uint8Array.from({ length }, (_, i) => (i >= third && i < 2 * third ? 0 : 1))
}

/** What noise in the first gradient makes of the first step, and leaves in the later ones; the gradient is known by that step. */
export function noiseOf(
  start: Float32Array,
  after: Float32Array,
  isMatrix: boolean,
  e: Pick<Expected, 'optimizer' | 'schedule' | 'grad_norm_before_clip'>,
): Float64Array {
  const { eps, weight_decay, clip_global_norm } = e.optimizer
  const [lr] = e.schedule.rates
  const noise = gradientNoise.size * Math.min(e.grad_norm_before_clip[0], clip_global_norm)
  const kept = 1 - lr * (isMatrix ? weight_decay.matrices : weight_decay.vectors)
  return Float64Array.from(start, (p, i) => {
    const step = Math.min(1, Math.abs(p * kept - after[i]) / lr) // |g| / (|g| + eps)
    return (lr * noise * (1 - step) ** 2) / eps
  })
}

export async function* cases(collection: Collection, options: Options): AsyncGenerator<GoldenCase> {
  const { dir } = collection
  const { files } = options
  const expected = await readJson<Expected>(files, files.at(dir, 'expected.json'))
  if (expected.optimizer.name !== 'adamw' || expected.optimizer.weight_decay.vectors !== 0) {
    yield {
      id: 'run',
      run: async () => ({
        status: 'unsupported',
        reason: `optimizer ${expected.optimizer.name} with decay ${JSON.stringify(expected.optimizer.weight_decay)}`,
      }),
    }
    return
  }
  const file = await openWeights(files.at(dir, 'expected.safetensors'))
  let run: Promise<Trained> | null = null
  const trained = (): Promise<Trained> => {
    run ??= options.backend().then((backend) => {
      setBackend(backend)
      return runTraining(dir, expected, file)
    })
    return run
  }
  yield {
    id: 'loss',
    run: async () => {
      const tolerance = widen('train', 'loss', { atol: 2e-6 })
      return outcome(
        [compare((await trained()).losses, expected.loss, tolerance, { label: 'loss' })],
        tolerance.reason,
      )
    },
  }
  yield {
    id: 'grad_norm',
    run: async () => {
      const tolerance = widen('train', 'grad_norm', { atol: 0, rtol: 1e-5 })
      return outcome(
        [compare((await trained()).norms, expected.grad_norm_before_clip, tolerance, { label: 'norm' })],
        tolerance.reason,
      )
    },
  }
  for (const [id, prefix, atol, which] of [
    ['after_1', 'after_1.', 1e-5, 'first'],
    [`after_${expected.steps}`, `after_${expected.steps}.`, 5e-5, 'last'],
  ] as const)
    yield {
      id,
      run: async () => {
        const tolerance = widen('train', id, { atol })
        const run = await trained()
        const valuesOf = (m: Map<string, Float32Array>, name: string) =>
          m.get(name) ?? m.get(name.replace(/^transformer\./, ''))
        const rows: Comparison[] = []
        for (const name of file.names.filter((n) => n.startsWith(prefix))) {
          const parameter = name.slice(prefix.length)
          const values = valuesOf(run[which], parameter)
          const start = valuesOf(run.start, parameter)
          if (!values || !start)
            return {
              status: 'fail',
              reason: `the model has no parameter ${parameter}; it has ${[...run.start.keys()].slice(0, 3).join(', ')} …`,
            }
          rows.push(
            compare(values, await file.readF32(name), tolerance, {
              label: parameter,
              select: comparable(parameter, values.length),
              extra: noiseOf(
                start,
                await file.readF32(`after_1.${parameter}`),
                file.info(name).shape.length > 1,
                expected,
              ),
            }),
          )
        }
        return outcome(rows, tolerance.reason ?? gradientNoise.reason)
      },
    }
  // every case has run by now: the runner asks for the next one when it is done
  await file.close()
}
