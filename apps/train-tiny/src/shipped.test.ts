import { readFile } from 'node:fs/promises'
import { files } from '@heed/model-tiny'
import { loadModel } from '@heed/models'
import { type Tensor, tensor, trace } from '@heed/tensor'
import { expect, test } from 'vitest'
import { headScores, type Measured } from './measure.js'
import { DEMO, namePrompt } from './stories.js'

test('the shipped weights do what their card says', async () => {
  const card = JSON.parse(await readFile(files['card.json'], 'utf8'))
  const model = await loadModel()
  const { nLayer, nHead, nVocab } = model.config
  const measured: Measured = {
    logits: async () => new Float32Array(0),
    patterns: async (ids, rows, length) => {
      const run = await trace((x: Tensor) => model(x), tensor(ids, { shape: [rows, length], dtype: 'i32' }), {
        keep: ['blocks.*.attn.pattern'],
      })
      const layers: { data: Float32Array; heads: number }[] = []
      for (let layer = 0; layer < nLayer; layer++)
        layers.push({
          data: (await run.get(`blocks.${layer}.attn.pattern`).data()) as Float32Array,
          heads: nHead,
        })
      return layers
    },
  }
  const scores = await headScores(measured, {
    vocabSize: nVocab,
    skip: [0],
    n: card.heads.n,
    rows: card.heads.rows,
  })
  for (const kind of ['previous', 'induction', 'duplicate'] as const) {
    const said = card.heads[kind]
    const found = scores.find((s) => s.layer === said.layer && s.head === said.head)
    expect(found?.[kind], kind).toBeCloseTo(said.score, 2)
  }
  const run = await model.run(namePrompt(DEMO).prompt)
  expect(run.top(5).map((t) => t.token)).toEqual(card.demo.top.map((t: { token: string }) => t.token))
}, 60_000)
