import { expect, test } from 'vitest'
import { kneserNey } from './ngram.js'

// a b a b a c over {a, b, c, d}: bigrams ab ×2, ba ×2, ac ×1
const ids = [0, 1, 0, 1, 0, 2]

test('a bigram worked by hand', () => {
  const m = kneserNey(ids, 4, 2)
  // highest order: n1 = 1 (ac), n2 = 2 (ab, ba), D = 1/5
  // continuation: a 1, b 1, c 1 (each follows one token); n1 = 3, n2 = 0, D = 1 → held at 0.9
  const low = (seen: number): number => (seen * 0.1 + 0.9 * 3 * 0.25) / 3
  const given = (count: number, seen: number): number => (Math.max(count - 0.2, 0) + 0.2 * 2 * low(seen)) / 3
  expect(m.probability([0], 1)).toBeCloseTo(given(2, 1), 12)
  expect(m.probability([0], 2)).toBeCloseTo(given(1, 1), 12)
  expect(m.probability([0], 0)).toBeCloseTo(given(0, 1), 12)
  expect(m.probability([0], 3)).toBeCloseTo(given(0, 0), 12)
  // a context never seen backs off whole
  expect(m.probability([3], 1)).toBeCloseTo(low(1), 12)
  expect(m.loss([0, 1]).nats).toBeCloseTo(-Math.log(given(2, 1)), 12)
})

test('every row sums to one, in both orders', () => {
  let s = 9
  const long = Array.from({ length: 400 }, () => (s = (s * 75 + 74) % 65537) % 7)
  for (const order of [2, 3] as const) {
    const m = kneserNey(long, 9, order)
    for (const context of [[], [0], [8], [3, 4], [8, 1], [1, 8]]) {
      let sum = 0
      for (let t = 0; t < 9; t++) sum += m.probability(context, t)
      expect(sum).toBeCloseTo(1, 10)
    }
  }
})

test('the trigram uses continuation counts below its top, not raw counts', () => {
  // "x y" occurs ten times after the same token: as a bigram continuation it counts once
  const repeated = [...Array.from({ length: 10 }, () => [0, 1, 2]).flat(), 3, 1, 4, 0, 1, 4]
  const m = kneserNey(repeated, 6, 3)
  // after an unseen pair (5, 1) the bigram level decides: 2 follows 1 after {0}, 4 follows 1 after {3, 0}
  expect(m.probability([5, 1], 4)).toBeGreaterThan(m.probability([5, 1], 2))
})

test('ids outside the vocabulary are refused', () => {
  expect(() => kneserNey([0, 1, 9], 4, 2)).toThrow('id 9 at 2 is outside 0…3')
})
