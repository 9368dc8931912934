/** Uses the threads of a backend and ends without disposing it: workers must not keep the process. */
import { tanh, tensor } from '@heed/tensor'
import { cpu } from '../src/index.js'

const backend = await cpu({ threads: 3 })
const { realize } = await import('@heed/tensor')
const y = tanh(tensor(new Float32Array(300_000).fill(0.5)))
await realize([y], { backend })
// give the workers the time to start and fall asleep
await new Promise((resolve) => setTimeout(resolve, 200))
console.log(`done on ${backend.threads}`)
