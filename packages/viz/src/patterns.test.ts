import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { VizError } from './errors.js'
import { openPatterns, packPatterns, patternPacker } from './patterns.js'

/** Rows of a softmax over made-up scores, the oracle's own arithmetic in double. */
const softmaxRows = (scores: number[], queries: number, keys: number): Float32Array => {
  const out = new Float32Array(queries * keys)
  for (let q = 0; q < queries; q++) {
    const row = scores.slice(q * keys, (q + 1) * keys)
    const top = Math.max(...row)
    const sum = row.reduce((a, s) => a + Math.exp(s - top), 0)
    row.forEach((s, k) => {
      out[q * keys + k] = Math.exp(s - top) / sum
    })
  }
  return out
}

describe('packing', () => {
  test('every shown value is within its row scale / 510 and the stated bound; mass is that of the shown', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 6 }),
        fc.integer({ min: 1, max: 40 }),
        fc.option(fc.integer({ min: 1, max: 12 }), { nil: undefined }),
        fc.array(fc.double({ min: -12, max: 12, noNaN: true }), { minLength: 240, maxLength: 240 }),
        (queries, keys, top, scores) => {
          const pattern = softmaxRows(scores.slice(0, queries * keys), queries, keys)
          const packer = patternPacker({ layers: 1, heads: 1, queries, keys }, { top })
          packer.add(0, 0, pattern)
          const open = openPatterns(packer.done())
          expect(open.encoding).toBe(top === undefined ? 'dense-u8' : 'top-u8')
          for (let q = 0; q < queries; q++) {
            const real = Array.from(pattern.subarray(q * keys, (q + 1) * keys))
            const bound = Math.max(...real) / 510 + 1 / 65535
            const row = open.row(0, 0, q)
            let mass = 0
            row.keys.forEach((k, i) => {
              expect(Math.abs(row.values[i] - real[k])).toBeLessThanOrEqual(bound)
              expect(Math.abs(row.values[i] - real[k])).toBeLessThanOrEqual(open.bound)
              expect(open.at(0, 0, q, k)).toBe(row.values[i])
              expect(open.column(0, 0, k)[q]).toBeCloseTo(row.values[i], 7)
              mass += real[k]
            })
            expect(Math.abs(row.mass - mass)).toBeLessThanOrEqual(1 / 510 + 1e-6)
            // Nothing larger than a shown value was left out, and what is left out of a dense row is below the bound.
            const left = real.filter((_, k) => !row.keys.includes(k))
            if (top === undefined) for (const v of left) expect(v).toBeLessThanOrEqual(bound)
            else if (row.keys.length === Math.min(top, keys))
              for (const v of left) expect(v).toBeLessThanOrEqual(Math.min(...row.keys.map((k) => real[k])))
          }
        },
      ),
      { numRuns: 200, seed: 7 },
    )
  })

  test('known bytes: half, quarter, quarter', () => {
    const packer = patternPacker({ layers: 1, heads: 1, queries: 1, keys: 4 }, { top: 2 })
    packer.add(0, 0, [0.25, 0, 0.5, 0.25])
    const packed = packer.done()
    expect(atob(packed.index)).toBe('\u0002\u0000\u0000\u0000')
    expect(atob(packed.value)).toBe(String.fromCharCode(255, 127))
    const { keys, values, mass } = openPatterns(packed).row(0, 0, 0)
    expect(keys).toEqual([2, 0])
    expect(values[0]).toBeCloseTo(0.5, 4)
    expect(mass).toBeCloseTo(0.75, 2)
  })

  test.each([35, undefined])(
    'what rounds to nothing is not shown and is no part of the mass (top %s)',
    (top) => {
      const packer = patternPacker(
        { layers: 1, heads: 1, queries: 1, keys: 40 },
        top === undefined ? {} : { top },
      )
      packer.add(0, 0, [0.94, ...Array<number>(39).fill(0.06 / 39)])
      const { keys, mass } = openPatterns(packer.done()).row(0, 0, 0)
      expect(keys).toEqual([0])
      expect(Math.abs(mass - 0.94)).toBeLessThanOrEqual(1 / 510)
    },
  )

  test('a uniform row over 512 keys survives, on its own scale', () => {
    const packer = patternPacker({ layers: 1, heads: 1, queries: 1, keys: 512 }, { top: 8 })
    packer.add(0, 0, new Float32Array(512).fill(1 / 512))
    const row = openPatterns(packer.done()).row(0, 0, 0)
    expect(row.keys).toEqual([0, 1, 2, 3, 4, 5, 6, 7])
    expect(row.values[0]).toBeCloseTo(1 / 512, 4)
    expect(row.mass).toBeCloseTo(8 / 512, 2)
  })

  test('masked, broken and missing rows keep their state in both encodings', () => {
    for (const top of [undefined, 2]) {
      const packer = patternPacker({ layers: 1, heads: 2, queries: 3, keys: 3 }, { top })
      packer.add(0, 0, [1, 0, 0, 0, 0, 0, 0.5, Number.NaN, 0.5])
      packer.add(0, 1, null)
      const open = openPatterns(packer.done())
      expect([0, 1, 2].map((q) => open.state(0, 0, q))).toEqual(['ok', 'no key allowed', 'not a number'])
      expect(open.state(0, 1, 0)).toBe('not computed')
      expect(open.row(0, 0, 2).keys).toEqual([])
      expect(open.row(0, 0, 0)).toMatchObject({ keys: [0], values: [1], mass: 1 })
    }
  })

  test('layer after layer, head after head, one at a time', async () => {
    const asked: string[] = []
    const packed = await packPatterns(
      async (layer, head) => {
        asked.push(`${layer}.${head}`)
        return [layer === 1 && head === 0 ? 0.25 : 1]
      },
      { layers: 2, heads: 2, queries: 1, keys: 1 },
    )
    expect(asked).toEqual(['0.0', '0.1', '1.0', '1.1'])
    const open = openPatterns(packed)
    expect(open.at(1, 0, 0, 0)).toBeCloseTo(0.25, 4)
    expect(open.at(0, 1, 0, 0)).toBe(1)
  })

  test('12 × 12 heads at 512 tokens stay within the budget with at least eight entries a row', () => {
    const packer = patternPacker({ layers: 12, heads: 12, queries: 512, keys: 512 })
    expect(packer.encoding).toBe('top-u8')
    expect(packer.top).toBeGreaterThanOrEqual(8)
    for (let l = 0; l < 12; l++) for (let i = 0; i < 12; i++) packer.add(l, i, null)
    const { index, value, scale, mass } = packer.done()
    expect(index.length + value.length + scale.length + mass.length).toBeLessThan(3_200_100)
  })

  test.each([
    ['a negative weight', [-0.1, 1.1], /query 0, key 0: -0.1 is outside \[0, 1\]/],
    ['a weight above 1', [0, 1.01], /key 1: 1.01 is outside/],
    ['a wrong length', [1], /has 1 values, expected 1 queries × 2 keys = 2/],
  ])('refuses %s', (_, pattern, message) => {
    const packer = patternPacker({ layers: 1, heads: 1, queries: 1, keys: 2 })
    expect(() => packer.add(0, 0, pattern)).toThrow(message)
  })

  test('refuses what is missing, twice, outside, over budget, unknown', () => {
    const packer = patternPacker({ layers: 1, heads: 2, queries: 1, keys: 1 })
    packer.add(0, 0, [1])
    expect(() => packer.add(0, 0, [1])).toThrow(/given twice/)
    expect(() => packer.add(1, 0, [1])).toThrow(/outside 1 layers × 2 heads/)
    expect(() => packer.done()).toThrow(/layer 0 head 1 was never given/)
    expect(() => patternPacker({ layers: 12, heads: 12, queries: 4096, keys: 4096 })).toThrow(/pack fewer/)
    expect(() => patternPacker({ layers: 1, heads: 1, queries: 0, keys: 1 })).toThrow(/queries must be/)
    expect(() => patternPacker({ layers: 1, heads: 1, queries: 1, keys: 1 }, { tpo: 3 } as object)).toThrow(
      /unknown option 'tpo'/,
    )
  })

  test('a damaged file is named, not drawn', () => {
    const packer = patternPacker({ layers: 1, heads: 1, queries: 2, keys: 2 })
    packer.add(0, 0, [1, 0, 0.5, 0.5])
    const packed = packer.done()
    expect(() => openPatterns({ ...packed, value: btoa('x') })).toThrow(
      /value holds 1 entries, the shape needs 4/,
    )
    expect(() => openPatterns({ ...packed, encoding: 'zip' as 'top-u8' })).toThrow(VizError)
    expect(VizError.is(new VizError('x'))).toBe(true)
    expect(VizError.is(new Error('x'))).toBe(false)
  })
})
