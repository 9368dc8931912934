// `node apps/bench/dist/endurance-process.js [steps] [threads]`: both loops in one process, a line for each tenth of the way.
import { cpu } from '@heed/backend-cpu'
import { decodingLoop, trainingLoop } from './endurance.js'

const steps = Number(process.argv[2] ?? 10_000)
const backend = await cpu(process.argv[3] ? { threads: Number(process.argv[3]) } : {})
console.log(`${backend.name}, ${steps} steps`)
for (const [name, loop] of [
  ['decoding', decodingLoop],
  ['training', trainingLoop],
] as const) {
  const start = performance.now()
  const marks = await loop(backend, steps, Math.ceil(steps / 10))
  for (const m of marks)
    console.log(
      `${name} ${String(m.step).padStart(6)}: ${m.bytesInUse} bytes in use, ${m.plans} plans, ${(m.rss / 2 ** 20).toFixed(1)} MB resident`,
    )
  console.log(`${name}: ${((performance.now() - start) / steps).toFixed(3)} ms a step`)
}
backend.dispose()
