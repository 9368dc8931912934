/**
 * Trains the built-in model from the first line to the exported folder: `npx tsx src/train.ts [folder]`. Run again, it goes
 * on from its last checkpoint. `--steps N` stops early (the schedule stays that of the whole run).
 */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { cpu } from '@heed/backend-cpu'
import { parameters, setBackend, tensor } from '@heed/tensor'
import { adamW, train } from '@heed/train'
import { makeBatches } from './batches.js'
import { exportModel } from './export.js'
import { initialValues, languageLoss, tinyModel } from './model.js'
import { betas, clip, init, phases, rate, SEED, shape, steps, weightDecay } from './recipe.js'
import { loadTokens } from './tokens.js'

const folder = process.argv[2] && !process.argv[2].startsWith('--') ? process.argv[2] : 'run'
const stepsFlag = process.argv.indexOf('--steps')
const until = stepsFlag > 0 ? Number(process.argv[stepsFlag + 1]) : steps

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
await train(model, {
  steps: until,
  batches: (step) => {
    const b = batches(step)
    tokens += b.ids.length
    const as = (ids: Int32Array) => tensor(ids, { shape: [b.rows, b.length], dtype: 'i32' })
    return { input: as(b.ids), target: as(b.targets) }
  },
  loss: languageLoss,
  optimizer: adamW({ lr: rate, betas, weightDecay }),
  clip,
  seed: SEED,
  checkpoint: join(folder, 'checkpoints'),
  checkpointEvery: 100,
  progress: false,
  onStep: async ({ step, loss, lr, gradNorm }) => {
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
await exportModel(join(folder, 'model'), model, data)
say(`done: ${join(folder, 'model')}`)
