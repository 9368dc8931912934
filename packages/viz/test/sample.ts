// Explanations that look like real ones, made without a model: heads of known kinds (previous token, sink, local,
// induction-like, diffuse, broken), so that a picture of them can be judged by eye and a test knows what is true.
import type { ExplainData, ExplainToken } from '../src/explain-data.js'
import { packPatterns } from '../src/patterns.js'

/** mulberry32: a small seeded generator for tests. */
export function random(seed: number): () => number {
  let a = seed >>> 0
  return () => {
    a = (a + 0x6d2b79f5) >>> 0
    let t = Math.imul(a ^ (a >>> 15), a | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

/** A head of a kind chosen by its index: `[query * key]`, each row a softmax over its allowed keys. */
export function samplePattern(
  tokens: readonly string[],
  layer: number,
  head: number,
  causal: boolean,
): Float32Array {
  const n = tokens.length
  const next = random(1000 * layer + head + 1)
  const kind = (3 * layer + head) % 6
  const out = new Float32Array(n * n)
  for (let q = 0; q < n; q++) {
    const end = causal ? q + 1 : n
    let sum = 0
    for (let k = 0; k < end; k++) {
      let score = 0.8 * (next() + next() - 1)
      if (k === 0) score += kind === 4 ? 0 : 3
      if (kind === 0 && k === q - 1) score += 6
      if (kind === 1) score -= Math.abs(q - k) / 2
      if (kind === 2 && k > 0 && tokens[k - 1] === tokens[q] && k - 1 !== q) score += 5.5
      if (kind === 3 && tokens[k] === tokens[q] && k !== q) score += 4.5
      if (kind === 5 && /[A-Z]/.test(tokens[k])) score += 3
      out[q * n + k] = Math.exp(score)
      sum += out[q * n + k]
    }
    for (let k = 0; k < end; k++) out[q * n + k] /= sum
  }
  return out
}

export function tokensOf(pieces: readonly string[]): ExplainToken[] {
  let at = 0
  return pieces.map((text, i) => {
    const start = at
    at += text.length
    return { text, id: 17 * i + 3, special: false, start, end: at }
  })
}

/** Splits as a byte-level BPE would do to plain words: a leading space belongs to the word. */
export const pieces = (text: string): string[] => text.match(/ ?[\p{L}\p{M}]+| ?[^\s\p{L}]+|\s/gu) ?? []

export interface SampleOptions {
  text?: string
  tokens?: ExplainToken[]
  architecture?: 'decoder' | 'encoder'
  layers?: number
  heads?: number
}

export async function sample(options: SampleOptions = {}): Promise<ExplainData> {
  const { architecture = 'decoder', layers = 6, heads = 8 } = options
  const text = options.text ?? 'When Mary and John went to the store, John gave a drink to'
  const tokens = options.tokens ?? tokensOf(pieces(text))
  const n = tokens.length
  const words = tokens.map((t) => t.text)
  const next = random(n)
  const patterns = await packPatterns((l, i) => samplePattern(words, l, i, architecture === 'decoder'), {
    layers,
    heads,
    queries: n,
    keys: n,
    causal: architecture === 'decoder',
  })
  const rollout = words.map((w, i) => (i === 0 ? 0.3 : /[A-Z]/.test(w) ? 0.6 + next() / 3 : next() * 0.25))
  const gradient = words.map((w) => (w === ' Mary' ? 1.8 : w === ' John' ? -1.1 : (next() - 0.45) * 0.7))
  const guesses = [' Mary', ' the', ' her', ' John', ' him', ' a', ' them', ' store']
  return {
    format: 'heed-explain',
    version: 1,
    text,
    tokens,
    architecture,
    layers,
    heads,
    provenance: {
      model: 'heed-tiny',
      family: architecture === 'decoder' ? 'gpt2' : 'bert',
      parameters: 3_412_992,
      weightsHash: 'sha256:6b1f0f3c8f6d0c57a0d2a2a6c1f9d1d0b45f4f6f1b9a0e5c8d7e6f5a4b3c2d1e',
      tokenizerHash: 'sha256:09fe11aa5c7d8e9f0a1b2c3d4e5f60718293a4b5c6d7e8f90123456789abcdef',
      specialTokensAdded: tokens.filter((t) => t.special && t.start === null).map((t) => t.text),
      packages: { heed: '0.1.0', '@heed/tensor': '0.1.0', '@heed/viz': '0.1.0' },
      backend: 'cpu',
      precision: 'f32',
      date: '2026-01-15T12:00:00.000Z',
      seed: 0,
      selfChecks: [
        { name: 'attention rows sum to 1', error: 2.4e-7, tolerance: 1e-5 },
        { name: 'head contributions sum to the logit', error: 3.1e-6, tolerance: 1e-4 },
      ],
      fallbacks: [],
      command: 'heed explain "When Mary and John went to the store, John gave a drink to" --out report.html',
    },
    patterns,
    ...(architecture === 'decoder'
      ? {
          predictions: {
            top: [0.41, 0.19, 0.083, 0.061, 0.022].map((probability, i) => ({
              token: guesses[i],
              id: i + 5,
              probability,
            })),
          },
          logitLens: {
            positions: tokens.map((_, i) => i),
            rows: ['embed', ...Array.from({ length: layers }, (_, l) => `layer ${l}`)].map((name, r) => ({
              name,
              cells: tokens.map((_, i) => {
                const sure = Math.min(0.96, ((r + 1) / (layers + 1)) ** 2 * (0.3 + 0.7 * next()))
                const settled = r > layers * 0.6
                return {
                  token: guesses[settled ? i % 4 : (i + r) % 8],
                  probability: sure,
                  final: settled ? sure : sure * next() * 0.5,
                }
              }),
            })),
            note: 'The final norm and the unembedding are applied to the residual stream after each layer.',
          },
        }
      : {
          masked: tokens.flatMap((t, position) =>
            t.text === '[MASK]'
              ? [
                  {
                    position,
                    top: [0.52, 0.21, 0.06].map((probability, i) => ({
                      token: guesses[i].trim(),
                      id: i + 5,
                      probability,
                    })),
                  },
                ]
              : [],
          ),
          nearest: {
            measure: 'cosine',
            lines: [
              { text: 'A man hands a glass to his friend.', score: 0.71 },
              { text: 'The weather is fine.', score: 0.08 },
            ],
          },
        }),
    attributions: [
      {
        name: 'attention rollout',
        target: 'the position that predicts " Mary"',
        signed: false,
        values: rollout,
        note: 'Shares of the last position; they add up to 1.',
        deletion: {
          auc: 0.162,
          random: Array.from({ length: 20 }, () => 0.2 + 0.12 * next()),
          sentence: 'Trust it: removing these tokens first hurts more than any random order.',
        },
      },
      {
        name: 'gradient × input',
        target: 'the logit of " Mary"',
        signed: true,
        values: gradient,
        note: 'Positive tokens raise the logit, negative ones lower it.',
        deletion: {
          auc: 0.262,
          random: Array.from({ length: 20 }, () => 0.2 + 0.12 * next()),
          sentence: 'No better than chance: random orders do as well, do not rely on this picture here.',
        },
      },
    ],
    headTable: {
      target: architecture === 'decoder' ? 'the logit of " Mary"' : null,
      rows: Array.from({ length: 8 }, (_, i) => {
        const [layer, head] = [(layers - 1 - (i % layers) + layers) % layers, (5 * i + 2) % heads]
        const kind = (3 * layer + head) % 6
        return {
          layer,
          head,
          value: architecture === 'decoder' ? (i % 3 === 2 ? -1 : 1) * (1.9 - 0.2 * i) : null,
          previous: kind === 0 ? 0.86 : 0.04,
          duplicate: kind === 3 ? 0.62 : 0.03,
          induction: kind === 2 ? 0.71 : 0.02,
          kind:
            kind === 0 ? 'previous token' : kind === 2 ? 'induction' : kind === 3 ? 'duplicate token' : null,
        }
      }),
      note:
        architecture === 'decoder'
          ? 'All heads, MLPs, embedding and biases add up to the logit 14.2; the sum differs by 3.1e-6.'
          : undefined,
    },
    notes:
      architecture === 'decoder'
        ? ['The tokenizer of this model adds no special token at the start.']
        : [
            'Direct logit attribution and the logit lens are not defined for a post-norm encoder: the residual stream is normalised after every addition.',
          ],
  }
}

const paragraph = `It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness, it was the epoch of belief, it was the epoch of incredulity, it was the season of Light, it was the season of Darkness, it was the spring of hope, it was the winter of despair, we had everything before us, we had nothing before us, we were all going direct to Heaven, we were all going direct the other way.
There were a king with a large jaw and a queen with a plain face, on the throne of England; there were a king with a large jaw and a queen with a fair face, on the throne of France. In both countries it was clearer than crystal to the lords of the State preserves of loaves and fishes, that things in general were settled for ever.
`

/** 12 × 12 heads at 512 tokens: the size that the report promises to carry. */
export function longSample(): Promise<ExplainData> {
  const words = pieces(paragraph.repeat(4)).slice(0, 512)
  return sample({ text: words.join(''), tokens: tokensOf(words), layers: 12, heads: 12 })
}

/** Tokens that break naive reports: markup, entities, quotes, NUL, surrogates, directions, emoji, nothing. */
export const oddTokens: { text: string; bytes?: string }[] = [
  { text: '<script>alert(1)</script>' },
  { text: '</script><img src=x onerror="document.title=\'hacked\'">' },
  { text: '<!--' },
  { text: '&amp;' },
  { text: '"quoted"' },
  { text: "'single'" },
  { text: 'javascript:alert(1)' },
  { text: 'nul\u0000here' },
  { text: '\ud83d' },
  { text: '\udc69' },
  { text: 'line\u2028sep' },
  { text: ' שלום' },
  { text: ' مرحبا' },
  { text: '\u202eoverride' },
  { text: ' 👩‍👩‍👧' },
  { text: ' e\u0301' },
  { text: '' },
  { text: '\n' },
  { text: '\t' },
  { text: ' ' },
  { text: '\ufffd', bytes: 'f0 9f' },
  { text: ' 東京' },
  { text: ']]>' },
  { text: '$' + '{1}`' },
]

export async function oddSample(): Promise<ExplainData> {
  const tokens = tokensOf(oddTokens.map((t) => t.text)).map((t, i) => ({ ...t, ...oddTokens[i] }))
  const data = await sample({ text: tokens.map((t) => t.text).join(''), tokens, layers: 2, heads: 3 })
  const n = tokens.length
  // Layer 0 head 1: a fully masked row and a row that is not a number; layer 1 head 2 was not computed.
  data.patterns = await packPatterns(
    (l, i) => {
      if (l === 1 && i === 2) return null
      const p = samplePattern(
        tokens.map((t) => t.text),
        l,
        i,
        true,
      )
      if (l === 0 && i === 1) {
        p.fill(0, 3 * n, 4 * n)
        p.fill(Number.NaN, 5 * n, 6 * n)
      }
      return p
    },
    { layers: 2, heads: 3, queries: n, keys: n, causal: true },
  )
  const [first] = data.attributions ?? []
  first.values[2] = Number.NaN
  first.values[4] = null
  data.notes.push('A note with <b>markup</b> & "quotes".')
  return data
}
