import { expect, test } from 'vitest'
import type { Explanation } from './explain.js'
import { printExplanation } from './print-explanation.js'

const token = (text: string, id: number) => ({ text, id, special: false, start: id, end: id + 1 })
const data: Explanation = {
  format: 'heed-explain',
  version: 1,
  text: 'ab',
  tokens: [token('a', 0), token('b', 1)],
  architecture: 'decoder',
  layers: 1,
  heads: 1,
  patterns: null,
  notes: ['A note.'],
  predictions: {
    top: [
      { token: ' c', id: 2, probability: 0.99999 },
      { token: '\n', id: 3, probability: 0.25 },
      { token: '\ufffd', id: 4, probability: 0.00001, bytes: 'f0 9f' },
      { token: 'z', id: 5, probability: 0 },
    ],
  },
  attributions: [
    {
      name: 'Gradient × input',
      target: 'the logit',
      signed: true,
      values: [0.0021, -0.00034],
      note: 'What it is.',
    },
  ],
  headTable: {
    target: '“c”',
    rows: [{ layer: 0, head: 0, value: -1.23456, previous: 0.5, duplicate: null, induction: 0, kind: null }],
  },
  logitLens: {
    positions: [1],
    rows: [{ name: 'layer 0', cells: [{ token: ' c', probability: 1, final: 0.5 }] }],
  },
  provenance: {
    model: 'hand-made',
    family: 'gpt2',
    parameters: 1234567,
    weightsHash: null,
    tokenizerHash: null,
    specialTokensAdded: [],
    packages: {},
    backend: 'cpu',
    precision: 'f32',
    date: '2026-01-01T00:00:00.000Z',
    seed: 0,
    selfChecks: [
      { name: 'sums', error: 0, tolerance: 1e-3 },
      { name: 'parts', error: 2e-6, tolerance: 1e-3 },
    ],
    fallbacks: [],
  },
}

test('reads like this', () => {
  expect(printExplanation(data, { color: false, width: 80, top: 5, isDemo: true })).toBe(`ab
(the demo sentence: give your own in quotes)
hand-made: gpt2 decoder, 1 layer × 1 head, 1,234,567 parameters, on cpu f32
2 tokens; the tokenizer added no special token

Next token
████████████████████ > 99.9 %  ·c
█████                  25.0 %  ↵
                      < 0.1 %  ⟨F0 9F⟩
                        0.0 %  z

Gradient × input: the logit (in units of 1e-3)
a    b
2.10 −.34
What it is.

Heads that matter most for “c”
layer  head  effect  previous  duplicate  induction  kind
─────────────────────────────────────────────────────────
    0     0  −1.235      0.50          –       0.00  –

Logit lens at the last token
after    would say     with      ·c
───────────────────────────────────
layer 0  ·c         100.0 %  50.0 %

Note: A note.

2 self-checks passed: sums (exactly), parts (to 2.0e-6).`)
})
