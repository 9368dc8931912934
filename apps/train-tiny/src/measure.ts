/**
 * What the model card says about a model: held-out loss, the kinds of its heads, the name test, the demo sentence.
 * Everything here sees a model through two functions, so that the n-gram baselines and a trained model are measured by
 * the same lines.
 */
import type { Tokenizer } from '@heed/tokenizer'
import { rng } from './rng.js'
import { DEMO, namePrompt, nameTestDraws } from './stories.js'
import type { HeldOutDocument } from './tokens.js'

export interface Measured {
  /** Logits [rows, length, vocab] of ids [rows, length]. */
  logits(ids: Int32Array, rows: number, length: number): Promise<Float32Array>
  /** One [rows, head, query, key] per layer. */
  patterns(ids: Int32Array, rows: number, length: number): Promise<{ data: Float32Array; heads: number }[]>
}

export interface HeldOutLoss {
  nats: number
  perplexity: number
  bitsPerByte: number
  tokens: number
  bytes: number
}

const summary = (nats: number, tokens: number, bytes: number): HeldOutLoss => ({
  nats: nats / tokens,
  perplexity: Math.exp(nats / tokens),
  bitsPerByte: nats / Math.LN2 / bytes,
  tokens,
  bytes,
})

/** The same sums for any model that gives the mean loss of a document's tokens after its first. */
export function heldOutLossOf(
  documents: readonly HeldOutDocument[],
  loss: (ids: Int32Array) => { nats: number; count: number },
): HeldOutLoss {
  let nats = 0
  let tokens = 0
  let bytes = 0
  for (const d of documents) {
    const { nats: mean, count } = loss(d.ids)
    nats += mean * count
    tokens += count
    bytes += d.bytes
  }
  return summary(nats, tokens, bytes)
}

/** −log softmax(row)[target] of one row of logits. */
export function rowLoss(logits: Float32Array, from: number, vocabSize: number, target: number): number {
  let top = Number.NEGATIVE_INFINITY
  for (let i = 0; i < vocabSize; i++) top = Math.max(top, logits[from + i] as number)
  let total = 0
  for (let i = 0; i < vocabSize; i++) total += Math.exp((logits[from + i] as number) - top)
  return Math.log(total) + top - (logits[from + target] as number)
}

export interface WindowOptions {
  window: number
  /** Tokens a window moves on; every token is scored once, by the window that sees the most before it. */
  stride: number
  vocabSize: number
  rows?: number
  /** Only the first so many windows of each document: a quick look during training. */
  maxWindows?: number
}

/**
 * Loss over windows of whole documents. Each document starts with its end-of-text token, which is never scored; each
 * other token is scored once, with at least `window − stride` tokens before it except near a document's start.
 */
export async function heldOutLoss(
  model: Measured,
  documents: readonly HeldOutDocument[],
  options: WindowOptions,
): Promise<HeldOutLoss> {
  const { window, stride, vocabSize, rows = 8, maxWindows = Number.POSITIVE_INFINITY } = options
  if (!(stride >= 1 && stride <= window))
    throw new RangeError(`heldOutLoss: stride ${stride} is not in 1…${window}`)
  let nats = 0
  let tokens = 0
  let bytes = 0
  for (const d of documents) {
    let scored = 1 // the next token without a loss
    const starts: number[] = []
    for (let s = 0; starts.length < maxWindows; s += stride) {
      starts.push(s)
      if (s + window + 1 >= d.ids.length) break
    }
    for (let i = 0; i < starts.length; i += rows) {
      const group = starts.slice(i, i + rows)
      const ids = new Int32Array(group.length * window)
      group.forEach((s, r) => ids.set(d.ids.subarray(s, Math.min(s + window, d.ids.length)), r * window))
      const logits = await model.logits(ids, group.length, window)
      group.forEach((s, r) => {
        const end = Math.min(s + window, d.ids.length - 1) // the last target
        for (let t = Math.max(scored, s + 1); t <= end; t++) {
          nats += rowLoss(logits, (r * window + t - s - 1) * vocabSize, vocabSize, d.ids[t] as number)
          tokens++
        }
        scored = Math.max(scored, end + 1)
      })
    }
    bytes += (d.bytes * (scored - 1)) / (d.ids.length - 1)
  }
  return summary(nats, tokens, bytes)
}

export interface HeadScore {
  layer: number
  head: number
  previous: number
  induction: number
  duplicate: number
}

/**
 * Scores of every head on `rows` sequences r + r with |r| = n random ids (Elhage et al. 2021; Olsson et al. 2022):
 * previous = mean of the diagonal at −1, duplicate at −n, induction at 1 − n. No end-of-text token is put in front.
 */
export async function headScores(
  model: Measured,
  options: { vocabSize: number; skip?: readonly number[]; n?: number; rows?: number; seed?: number },
): Promise<HeadScore[]> {
  const { vocabSize, skip = [], n = 50, rows = 8, seed = 3 } = options
  const r = rng(seed)
  const length = 2 * n
  const ids = new Int32Array(rows * length)
  for (let row = 0; row < rows; row++)
    for (let i = 0; i < n; ) {
      const id = r.below(vocabSize)
      if (skip.includes(id)) continue
      ids[row * length + i] = id
      ids[row * length + n + i] = id
      i++
    }
  const scores: HeadScore[] = []
  const layers = await model.patterns(ids, rows, length)
  layers.forEach(({ data, heads }, layer) => {
    for (let head = 0; head < heads; head++) {
      const diagonal = (back: number): number => {
        let sum = 0
        for (let row = 0; row < rows; row++)
          for (let q = back; q < length; q++)
            sum += data[((row * heads + head) * length + q) * length + q - back] as number
        return sum / (rows * (length - back))
      }
      scores.push({ layer, head, previous: diagonal(1), induction: diagonal(n - 1), duplicate: diagonal(n) })
    }
  })
  return scores
}

/** The head with the most of one score. */
export function best(scores: readonly HeadScore[], kind: 'previous' | 'induction' | 'duplicate'): HeadScore {
  const top = [...scores].sort((a, b) => b[kind] - a[kind])[0]
  if (!top) throw new RangeError('best: no heads')
  return top
}

const lastLogits = async (
  model: Measured,
  tokenizer: Tokenizer,
  text: string,
  vocabSize: number,
): Promise<Float32Array> => {
  const ids = Int32Array.from(tokenizer.encode(text).ids)
  const logits = await model.logits(ids, 1, ids.length)
  return logits.slice((ids.length - 1) * vocabSize)
}

const oneToken = (tokenizer: Tokenizer, word: string): number => {
  const { ids } = tokenizer.encode(word, { addSpecialTokens: false })
  if (ids.length !== 1) throw new Error(`name test: '${word}' is ${ids.length} tokens, expected one`)
  return ids[0] as number
}

/**
 * "When A and B went to the P, B gave a T to": how often A is above B, and by how many logits on average. With `first`
 * A gives: a model that has only learned a place in the sentence fails in one of the two orders.
 */
export async function nameTest(
  model: Measured,
  tokenizer: Tokenizer,
  vocabSize: number,
  giver: 'first' | 'second' = 'second',
  count = 60,
): Promise<{ accuracy: number; logitDifference: number; count: number }> {
  let right = 0
  let difference = 0
  for (const draw of nameTestDraws(count)) {
    const { prompt, right: name, wrong } = namePrompt(draw, giver)
    const logits = await lastLogits(model, tokenizer, prompt, vocabSize)
    const d =
      (logits[oneToken(tokenizer, ` ${name}`)] as number) -
      (logits[oneToken(tokenizer, ` ${wrong}`)] as number)
    if (d > 0) right++
    difference += d
  }
  return { accuracy: right / count, logitDifference: difference / count, count }
}

/** The most probable next tokens of the demo sentence. */
export async function demoTop(
  model: Measured,
  tokenizer: Tokenizer,
  vocabSize: number,
  top = 5,
): Promise<{ prompt: string; top: { token: string; probability: number }[] }> {
  const { prompt } = namePrompt(DEMO)
  const logits = await lastLogits(model, tokenizer, prompt, vocabSize)
  const order = [...logits.keys()].sort((a, b) => (logits[b] as number) - (logits[a] as number)).slice(0, top)
  return {
    prompt,
    top: order.map((id) => ({
      token: tokenizer.decode([id]),
      probability: Math.exp(-rowLoss(logits, 0, vocabSize, id)),
    })),
  }
}
