/**
 * Trains the built-in model from the first line to the exported folder: `npx tsx src/train.ts [folder]`. Run again, it goes
 * on from its last checkpoint. The parts of the recipe have checkpoints of their own; a small model that lies in
 * `folder/small` already is grown and trained on.
 */
import { existsSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { cpu } from '@heed/backend-cpu'
import { parameters, setBackend, setParameters, tensor } from '@heed/tensor'
import { adamW, train } from '@heed/train'
import { openWeights } from '@heed/weights'
import { makeBatches, type Phase } from './batches.js'
import { exportModel } from './export.js'
import { grow } from './grow.js'
import {
  initialValues,
  languageLoss,
  type Shape,
  type TinyModel,
  tinyModel,
  turnedAttention,
  type Values,
} from './model.js'
import * as recipe from './recipe.js'
import { loadTokens } from './tokens.js'

const folder = process.argv[2] && !process.argv[2].startsWith('--') ? process.argv[2] : 'run'

const say = (line: string): void => console.log(`${new Date().toISOString().slice(11, 19)} ${line}`)
await mkdir(folder, { recursive: true })
const backend = await cpu()
setBackend(backend)
const data = await loadTokens(say)
say(`${data.text.length} tokens of text, ${data.stories.length} of stories, ${backend.name}`)

function announced(name: string, model: TinyModel, steps: number): TinyModel {
  const size = [...parameters(model).values()].reduce((sum, p) => sum + p.size, 0)
  say(`${name}: ${size} parameters, ${steps} steps`)
  return model
}

interface Part {
  /** Folder of its checkpoints. */
  readonly name: string
  readonly phases: readonly Phase[]
  readonly rate: (step: number) => number
  /** Steps of `phases` and `rate`, one optimiser for them. */
  readonly from: number
  readonly to: number
}
async function run(model: TinyModel, shape: Shape, out: string, part: Part): Promise<void> {
  const { from, to, rate } = part
  const batches = makeBatches(data, part.phases, recipe.SEED)
  let mean = 0
  let tokens = 0
  let since = performance.now()
  await train(model, {
    steps: to - from,
    batches: (step) => {
      const b = batches(from + step)
      tokens += b.ids.length
      const as = (ids: Int32Array) => tensor(ids, { shape: [b.rows, b.length], dtype: 'i32' })
      return { input: as(b.ids), target: as(b.targets) }
    },
    loss: languageLoss,
    optimizer: adamW({
      lr: (step) => rate(from + step),
      betas: recipe.betas,
      weightDecay: recipe.weightDecay,
    }),
    clip: recipe.clip,
    seed: recipe.SEED,
    checkpoint: join(folder, part.name),
    checkpointEvery: 100,
    progress: false,
    onStep: async ({ step: done, loss, lr, gradNorm }) => {
      const step = from + done
      mean = mean === 0 ? loss : 0.98 * mean + 0.02 * loss
      if (step % 50 === 0) {
        const now = performance.now()
        say(
          `step ${step}: loss ${mean.toFixed(3)}, rate ${lr.toExponential(2)}, norm ${gradNorm.toFixed(2)}, ${Math.round((tokens / (now - since)) * 1000)} tokens/s`,
        )
        tokens = 0
        since = now
      }
      if (step % 400 === 0) await exportModel(out, model, shape, data)
    },
  })
  await exportModel(out, model, shape, data)
}

const small = join(folder, 'small')
if (!existsSync(join(small, 'model.safetensors')) || existsSync(join(folder, 'checkpoints'))) {
  const { smallShape: shape, phases, rate, SECOND_PART, steps } = recipe
  const model = announced('small', tinyModel(shape, initialValues(shape, recipe.init)), steps)
  await run(model, shape, small, { name: 'checkpoints', phases, rate, from: 0, to: SECOND_PART })
  const last = [...turnedAttention(shape, shape.layers - 1, recipe.SEED + 1)]
  setParameters(model, new Map(last.map(([name, v]) => [name, tensor(v.data, { shape: v.shape })])))
  await run(model, shape, small, { name: 'checkpoints-2', phases, rate, from: SECOND_PART, to: steps })
}

const saved = await openWeights(join(small, 'model.safetensors'))
const values: Values = new Map()
for (const name of saved.names)
  values.set(name, { shape: [...saved.info(name).shape], data: await saved.readF32(name) })
const grown = grow(values, recipe.smallShape, recipe.shape, recipe.growth)
const model = announced('grown', tinyModel(recipe.shape, grown), recipe.grownSteps)
const out = join(folder, 'model')
await run(model, recipe.shape, out, {
  ...{ name: 'checkpoints-3', phases: recipe.grownPhases, rate: recipe.grownRate },
  ...{ from: 0, to: recipe.grownSteps },
})
say(`done: ${out}`)
