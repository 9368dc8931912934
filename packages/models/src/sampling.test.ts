import { describe, expect, it } from 'vitest'
import { json } from '../test/fixtures.js'
import {
  chooser,
  drawFrom,
  minP,
  type Processor,
  repetitionPenalty,
  softmax,
  temperature,
  topK,
  topP,
  uniformAt,
} from './sampling.js'

interface Fixture {
  input_ids: number[][]
  scores: number[][]
  cases: { chain: { processor: string; [o: string]: unknown }[]; output: (number | null)[][] }[]
}
const { input_ids: ids, scores, cases } = await json<Fixture>('processors.json')

const make: Record<string, (o: Record<string, number>) => Processor> = {
  temperature: (o) => temperature(o.temperature),
  top_k: (o) => topK(o.top_k),
  top_p: (o) => topP(o.top_p, o.min_tokens_to_keep),
  min_p: (o) => minP(o.min_p),
  repetition_penalty: (o) => repetitionPenalty(o.penalty),
}

describe('score processors against Hugging Face', () => {
  it.each(cases.map((c) => [JSON.stringify(c.chain), c] as const))('%s', (_, { chain, output }) => {
    scores.forEach((row, r) => {
      const got = chain.reduce<Float64Array>(
        (s, { processor, ...o }) => make[processor](o as Record<string, number>)(s, ids[r]),
        Float64Array.from(row),
      )
      output[r].forEach((want, i) => {
        if (want === null) expect(got[i]).toBe(Number.NEGATIVE_INFINITY)
        else expect(got[i]).toBeCloseTo(want, 5)
      })
    })
  })
})

describe('drawing', () => {
  it('keeps all that tie with the k-th', () => {
    expect([...topK(2)(Float64Array.of(1, 3, 1, 1), [])]).toEqual([1, 3, 1, 1])
    expect([...topK(1)(Float64Array.of(1, 3, 1), [])]).toEqual([
      Number.NEGATIVE_INFINITY,
      3,
      Number.NEGATIVE_INFINITY,
    ])
  })
  it('drops what together is exactly 1 − p, the first of equal tokens first', () => {
    const [equal, none] = [Float64Array.of(0, 0, 0, 0), Number.NEGATIVE_INFINITY]
    expect([...topP(0.5)(equal, [])]).toEqual([none, none, 0, 0])
    expect([...topP(0.51)(equal, [])]).toEqual([none, 0, 0, 0])
    expect([...topP(1)(equal, [])]).toEqual([0, 0, 0, 0])
    // one token always stays
    expect([...topP(1e-9)(equal, [])]).toEqual([none, none, none, 0])
    expect([...minP(1)(equal, [])]).toEqual([0, 0, 0, 0])
  })
  it('takes the token at the quantile, never one that is ruled out', () => {
    const logits = [Math.log(0.2), Number.NEGATIVE_INFINITY, Math.log(0.5), Math.log(0.3)]
    expect([0, 0.19, 0.21, 0.69, 0.71, 0.999999].map((u) => drawFrom(logits, u))).toEqual([0, 0, 2, 2, 3, 3])
    expect(drawFrom([Number.NEGATIVE_INFINITY, 0, Number.NEGATIVE_INFINITY], 0.9999999999)).toBe(1)
  })
  it('follows the probabilities', () => {
    const logits = [1, 2, 0]
    const p = softmax(logits)
    const counts = [0, 0, 0]
    const choose = chooser({ temperature: 1, seed: 5 })
    const n = 20000
    for (let step = 0; step < n; step++) counts[choose(logits, [], step, 0)]++
    // five standard errors
    counts.forEach((c, i) => {
      expect(Math.abs(c / n - p[i])).toBeLessThan(5 * Math.sqrt((p[i] * (1 - p[i])) / n))
    })
  })
  it('draws another number for every step, row and seed', () => {
    const seen = new Set([
      uniformAt(1, 0, 0),
      uniformAt(1, 1, 0),
      uniformAt(1, 0, 1),
      uniformAt(2, 0, 0),
      uniformAt(2 ** 40 + 1, 0, 0),
    ])
    expect(seen.size).toBe(5)
    for (const u of seen) expect(u >= 0 && u < 1).toBe(true)
  })
})
