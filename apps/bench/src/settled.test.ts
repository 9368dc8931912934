import { Worker } from 'node:worker_threads'
import { expect, test } from 'vitest'
import { settled } from './settled.js'

test('waits for a thread that spins, and not for ever', async () => {
  const spin = (ms: number): Worker =>
    new Worker(
      `const end = Date.now() + ${ms}; require('node:worker_threads').parentPort.postMessage(0); while (Date.now() < end);`,
      {
        eval: true,
      },
    )
  const worker = spin(120)
  await new Promise((resolve) => worker.once('message', resolve))
  const start = performance.now()
  await settled()
  // most of the thread's 120 ms; a machine that was busy may have let it begin late
  expect(performance.now() - start).toBeGreaterThan(40)
  await worker.terminate()
  const endless = spin(60_000)
  await new Promise((resolve) => endless.once('message', resolve))
  await settled()
  await endless.terminate()
})
