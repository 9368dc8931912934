/**
 * Loops that run for a long time: a generation over a cache and a training run. What is counted is what they leave behind: bytes on
 * the backend, plans, and the resident set of the process. A generation longer than the model's context begins anew.
 */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { createModel, startDecoding } from '@heed/models'
import { type Backend, crossEntropy, planCount, setBackend } from '@heed/tensor'
import { adamW, train } from '@heed/train'

/** What was in use after so many steps. */
export interface Mark {
  readonly step: number
  readonly bytesInUse: number
  readonly plans: number
  readonly rss: number
}
export type Loop = (backend: Backend, steps: number, every: number) => Promise<Mark[]>

const tiny = { family: 'gpt2', nLayer: 2, nHead: 4, dModel: 32, nCtx: 96, nVocab: 64 } as const

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

function mark(backend: Backend, step: number): Mark {
  // garbage is no leak
  collect()
  return {
    step,
    bytesInUse: backend.bytesInUse,
    plans: planCount(backend),
    rss: process.memoryUsage().rss,
  }
}

/** A token a step, sampled from nothing: what it costs does not depend on what it says. */
export const decodingLoop: Loop = async (backend, steps, every) => {
  setBackend(backend)
  const model = await createModel(tiny)
  const prompt = [1, 2, 3, 4]
  const room = tiny.nCtx - prompt.length
  const marks: Mark[] = []
  let decoding = await startDecoding(model, { ids: [prompt] }, room)
  for (let step = 1; step <= steps; step++) {
    if (decoding.length === decoding.capacity) {
      decoding.free()
      decoding = await startDecoding(model, { ids: [prompt] }, room)
    }
    await decoding.step([step % tiny.nVocab])
    if (step % every === 0) marks.push(mark(backend, step))
  }
  decoding.free()
  return marks
}

/** AdamW on random rows, with dropout keys, as `train` does it. */
export const trainingLoop: Loop = async (backend, steps, every) => {
  setBackend(backend)
  const model = await createModel({ ...tiny, dropout: 0.1 })
  const marks: Mark[] = []
  await train(model, {
    steps,
    optimizer: adamW({ lr: 1e-3 }),
    clip: 1,
    dropout: true,
    progress: false,
    loss: crossEntropy,
    batches(step) {
      const row = (shift: number): number[] =>
        Array.from({ length: 16 }, (_, i) => (step * 7 + i * i + shift) % tiny.nVocab)
      return { input: [row(0), row(1)], target: [row(1), row(2)] }
    },
    onStep({ step }) {
      if (step % every === 0) marks.push(mark(backend, step))
    },
  })
  return marks
}
