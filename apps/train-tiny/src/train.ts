/**
 * Trains the built-in model from the first line to the exported folder: `npx tsx src/train.ts [folder]`. Run again, it goes
 * on from its last checkpoint. The two parts of the recipe have checkpoints of their own.
 */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { cpu } from '@heed/backend-cpu'
import { parameters, setBackend, setParameters, tensor } from '@heed/tensor'
import { adamW, train } from '@heed/train'
import { makeBatches } from './batches.js'
import { exportModel } from './export.js'
import { initialValues, languageLoss, tinyModel, turnedAttention } from './model.js'
import { betas, clip, init, phases, rate, SECOND_PART, SEED, shape, steps, weightDecay } from './recipe.js'
import { loadTokens } from './tokens.js'

const folder = process.argv[2] && !process.argv[2].startsWith('--') ? process.argv[2] : 'run'

const say = (line: string): void => console.log(`${new Date().toISOString().slice(11, 19)} ${line}`)
await mkdir(folder, { recursive: true })
const backend = await cpu()
setBackend(backend)
const data = await loadTokens(say)
const batches = makeBatches(data, phases, SEED)
const model = tinyModel(shape, initialValues(shape, init))
const size = [...parameters(model).values()].reduce((sum, p) => sum + p.size, 0)
say(
  `${size} parameters, ${steps} steps, ${data.text.length} tokens of text, ${data.stories.length} of stories, ${backend.name}`,
)

let mean = 0
let tokens = 0
let since = performance.now()

/** Steps `from` to `to` of the recipe as one run of the loop, with an optimiser of its own. */
async function part(name: string, from: number, to: number): Promise<void> {
  await train(model, {
    steps: to - from,
    batches: (step) => {
      const b = batches(from + step)
      tokens += b.ids.length
      const as = (ids: Int32Array) => tensor(ids, { shape: [b.rows, b.length], dtype: 'i32' })
      return { input: as(b.ids), target: as(b.targets) }
    },
    loss: languageLoss,
    optimizer: adamW({ lr: (step) => rate(from + step), betas, weightDecay }),
    clip,
    seed: SEED,
    checkpoint: join(folder, name),
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
      if (step % 400 === 0) await exportModel(join(folder, 'model'), model, data)
    },
  })
}

await part('checkpoints', 0, SECOND_PART)
const last = [...turnedAttention(shape, shape.layers - 1, SEED + 1)]
setParameters(model, new Map(last.map(([name, v]) => [name, tensor(v.data, { shape: v.shape })])))
await part('checkpoints-2', SECOND_PART, steps)
await exportModel(join(folder, 'model'), model, data)
say(`done: ${join(folder, 'model')}`)
