import { gptTiny, gptWeights } from './gpt.js'
import { trainExpected } from './train-oracle.js'

const t = performance.now()
const e = await trainExpected(
  { kind: 'train', shape: gptTiny, batch: 8, length: 64, lr: 1e-3 },
  gptWeights(gptTiny),
)
console.log(e.chunks[0].values, performance.now() - t)
