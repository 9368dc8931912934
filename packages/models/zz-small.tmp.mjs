import { createModel } from '@heed/models'
const model = await createModel({ family: 'gpt2', nLayer: 12, nHead: 12, dModel: 768, nCtx: 1024, nVocab: 50257 })
const ids = [Array.from({ length: 64 }, (_, i) => i * 7 + 1)]
for (let i = 0; i < 4; i++) {
  const t = performance.now(), c = process.cpuUsage()
  const run = await model.run(ids)
  const u = process.cpuUsage(c)
  console.log(((performance.now() - t) / 1000).toFixed(2), 's', ((u.user + u.system) / 1e6).toFixed(2), 'cpu s', run.report?.backend)
}
