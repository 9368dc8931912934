/**
 * Measures a model folder as the model card states it, and writes the figures to `card.json` beside its weights:
 * `tsx src/evaluate.ts [folder]`. The model is loaded from its files with `@heed/models`, float16 weights and all, so
 * that what is measured is what is shipped.
 */
import { readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { loadModel } from '@heed/models'
import { type Tensor, tensor, trace } from '@heed/tensor'
import type { Phase } from './batches.js'
import { HELD_OUT } from './corpus.js'
import { best, demoTop, headScores, heldOutLoss, heldOutLossOf, type Measured, nameTest } from './measure.js'
import { kneserNey } from './ngram.js'
import { grownPhases, phases, SEED, shape } from './recipe.js'
import { loadTokens } from './tokens.js'

const STRIDE = 128
const N = 50

const folder = process.argv[2] ?? 'run/model'
const model = await loadModel(folder)
const data = await loadTokens()
const { vocabSize, tokenizer, endOfText } = data

const asIds = (ids: Int32Array, rows: number, length: number): Tensor =>
  tensor(ids, { shape: [rows, length], dtype: 'i32' })
const measured: Measured = {
  logits: async (ids, rows, length) => (await model(asIds(ids, rows, length)).data()) as Float32Array,
  patterns: async (ids, rows, length) => {
    const run = await trace((x: Tensor) => model(x), asIds(ids, rows, length), {
      keep: ['blocks.*.attn.pattern'],
    })
    const layers: { data: Float32Array; heads: number }[] = []
    for (let layer = 0; layer < model.config.nLayer; layer++)
      layers.push({
        data: (await run.get(`blocks.${layer}.attn.pattern` as never).data()) as Float32Array,
        heads: model.config.nHead,
      })
    return layers
  },
}

const round = (x: number, digits = 3): number => Number(x.toFixed(digits))
const startedAt = performance.now()
const scores = await headScores(measured, { vocabSize, skip: [endOfText], n: N })
for (const s of scores)
  console.log(
    `layer ${s.layer} head ${s.head}: previous ${s.previous.toFixed(3)}, induction ${s.induction.toFixed(3)}, duplicate ${s.duplicate.toFixed(3)}`,
  )
const names = await nameTest(measured, tokenizer, vocabSize)
const turned = await nameTest(measured, tokenizer, vocabSize, 'first')
for (const [order, n] of [
  ['second-named gives', names],
  ['first-named gives', turned],
] as const)
  console.log(
    `name test, ${n.count} unseen draws, ${order}: ${n.accuracy.toFixed(2)} right, logit difference ${n.logitDifference.toFixed(2)}`,
  )
const demo = await demoTop(measured, tokenizer, vocabSize)
console.log(`${demo.prompt} …`)
for (const t of demo.top) console.log(`  ${t.probability.toFixed(3)} ${JSON.stringify(t.token)}`)
const loss = await heldOutLoss(measured, data.heldOut, { window: shape.context, stride: STRIDE, vocabSize })
console.log(
  `held out: ${loss.nats.toFixed(4)} nats a token, perplexity ${loss.perplexity.toFixed(1)}, ${loss.bitsPerByte.toFixed(4)} bits a byte (${loss.tokens} tokens, ${Math.round(loss.bytes)} bytes)`,
)
const [bigram, trigram] = ([2, 3] as const).map((order) => {
  const ngram = kneserNey(data.text, vocabSize, order)
  const result = heldOutLossOf(data.heldOut, (ids) => ngram.loss(ids))
  console.log(
    `Kneser-Ney, order ${order}: ${result.nats.toFixed(4)} nats a token, ${result.bitsPerByte.toFixed(4)} bits a byte`,
  )
  return { nats: round(result.nats), bitsPerByte: round(result.bitsPerByte) }
})
console.log(`${((performance.now() - startedAt) / 1000).toFixed(0)} s`)

const head = (kind: 'previous' | 'induction' | 'duplicate') => {
  const h = best(scores, kind)
  return { layer: h.layer, head: h.head, score: round(h[kind]) }
}
interface Made {
  steps: number
  tokens: number
  minutes?: number
}
/** What the checkpoints' records say; without any, what the recipe asks for. */
async function made(parts: readonly string[], asked: readonly Phase[]): Promise<Made> {
  const files = await Promise.all(
    parts.map((part) => readFile(join(folder, '..', part, 'metrics.jsonl'), 'utf8').catch(() => '')),
  )
  const records = files
    .flatMap((file) => file.split('\n'))
    .filter(Boolean)
    .map((line) => JSON.parse(line) as { tokens: number; seconds: number })
  const total = <T>(of: readonly T[], n: (x: T) => number): number => of.reduce((sum, x) => sum + n(x), 0)
  if (records.length === 0)
    return { steps: total(asked, (p) => p.steps), tokens: total(asked, (p) => p.steps * p.rows * p.length) }
  return {
    steps: records.length,
    tokens: total(records, (m) => m.tokens),
    minutes: round(total(records, (m) => m.seconds) / 60, 1),
  }
}
const card = {
  parameters: [...model.parameters.values()].reduce((sum, p) => sum + p.size, 0),
  bytes: (await stat(join(folder, 'model.safetensors'))).size,
  training: {
    small: await made(['checkpoints', 'checkpoints-2'], phases),
    grown: await made(['checkpoints-3'], grownPhases),
    seed: SEED,
    textTokens: data.text.length,
    storyTokens: data.stories.length,
  },
  heldOut: {
    documents: HELD_OUT,
    window: shape.context,
    stride: STRIDE,
    bos: 'the end-of-text token once, before each document; not scored',
    tokens: loss.tokens,
    bytes: Math.round(loss.bytes),
    nats: round(loss.nats),
    perplexity: round(loss.perplexity, 1),
    bitsPerByte: round(loss.bitsPerByte),
  },
  kneserNey: { bigram, trigram },
  heads: {
    n: N,
    rows: 8,
    previous: head('previous'),
    induction: head('induction'),
    duplicate: head('duplicate'),
  },
  nameTest: {
    draws: names.count,
    accuracy: round(names.accuracy),
    logitDifference: round(names.logitDifference),
    firstGives: { accuracy: round(turned.accuracy), logitDifference: round(turned.logitDifference) },
  },
  demo: {
    prompt: demo.prompt,
    top: demo.top.map((t) => ({ token: t.token, probability: round(t.probability) })),
  },
}
await writeFile(join(folder, 'card.json'), `${JSON.stringify(card, null, 2)}\n`)
