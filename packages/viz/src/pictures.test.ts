import { describe, expect, test } from 'vitest'
import { headView } from './head-view.js'
import { logitLens } from './logit-lens.js'
import { textHeatmap } from './text-heatmap.js'

const lines = (svg: string) =>
  Array.from(
    svg.matchAll(/<line x1="(\d+)" y1="(\d+)" x2="(\d+)" y2="(\d+)" stroke-width="([\d.]+)"/g),
    (m) => m.slice(1).map(Number),
  )

describe('headView', () => {
  test('one line a weight, from its query on the left to its key on the right, as wide as it is large', () => {
    const svg = headView({
      tokens: ['a', 'b', 'c'],
      pattern: [
        [1, 0, 0],
        [0.25, 0.75, 0],
        [0, 0, 1],
      ],
    }).svg()
    const drawn = lines(svg)
    expect(drawn).toHaveLength(4)
    const rowY = [...new Set(drawn.map((l) => l[1]))].sort((a, b) => a - b)
    expect(rowY.map((y) => y - rowY[0])).toEqual([0, 20, 40])
    const [narrow, wide] = drawn.filter((l) => l[1] === rowY[1]).sort((a, b) => a[4] - b[4])
    expect(narrow[3]).toBe(rowY[0])
    expect(wide[3]).toBe(rowY[1])
    expect(narrow[4]).toBeCloseTo(0.4 + 2.6 * 0.25, 2)
    expect(svg).toContain('error ≤ 0.00196')
  })

  test('flat and nested patterns are the same picture', () => {
    const tokens = ['x', 'y']
    expect(headView({ tokens, pattern: [1, 0, 0.5, 0.5] }).svg()).toBe(
      headView({
        tokens,
        pattern: [
          [1, 0],
          [0.5, 0.5],
        ],
      }).svg(),
    )
  })

  test('sinks leave the picture, and it says how much they took', () => {
    const svg = headView({ tokens: ['a', 'b'], pattern: [1, 0, 0.6, 0.4], sinks: [0] }).svg()
    expect(lines(svg)).toHaveLength(1)
    expect(svg).toContain('1 sink left out: 80.0 % of the attention')
    expect(svg).toMatch(/>0\.4</)
  })

  test('cut rows state the mass drawn; masked and broken rows say what they are', () => {
    const svg = headView({
      tokens: ['a', 'b', 'c'],
      pattern: [0.5, 0.3, 0.2, 0, 0, 0, Number.NaN, 0, 0],
      top: 2,
    }).svg()
    expect(svg).toContain('80.0 %')
    expect(svg).toContain('no key allowed')
    expect(svg).toContain('not a number')
  })

  test('cross-attention: other key tokens', () => {
    const svg = headView({ tokens: ['q'], keyTokens: ['k1', 'k2'], pattern: [0.5, 0.5] }).svg()
    expect(lines(svg)).toHaveLength(2)
    expect(svg).toContain('k2')
  })

  test('tokens are escaped, isolated and given glyphs', () => {
    const svg = headView({ tokens: ['</svg><script>', ' \u202e'], pattern: [1, 0, 0.5, 0.5] }).svg()
    expect(svg).not.toContain('<script')
    expect(svg).toContain('·⟨202E⟩')
    expect(svg).toContain('unicode-bidi="isolate"')
  })

  test('refuses what does not fit', () => {
    expect(() => headView({ tokens: ['a'], pattern: [0.5, 0.5] })).toThrow(/expected 1 queries × 1 keys/)
    expect(() => headView({ tokens: ['a', 'b'], pattern: [[1, 0]] })).toThrow(/1 rows for 2 tokens/)
    expect(() => headView({ tokens: [], pattern: [] })).toThrow(/tokens is empty/)
    expect(() => headView({ tokens: ['a'], pattern: [1], patern: 1 } as never)).toThrow(
      /unknown option 'patern'/,
    )
  })
})

describe('textHeatmap', () => {
  test('white at zero, bar below for towards and above for against, NaN and null told apart', () => {
    const svg = textHeatmap({ tokens: ['a', 'b', 'c', 'd', 'e'], values: [1, -1, 0, Number.NaN, null] }).svg()
    const grounds = Array.from(svg.matchAll(/height="22" fill="(#[0-9a-f]{6})" rx="2"/g), (m) => m[1])
    expect(grounds).toEqual(['#082c64', '#692502', '#ffffff', '#c2187a', '#e3e6ea'])
    const bars = Array.from(svg.matchAll(/class="v-bar" x="\d+" y="(\d+)"/g), (m) => Number(m[1]))
    expect(bars).toEqual([94, 68])
    expect(svg).toContain('e: not computed')
  })

  test('stated limits: a given one is used', () => {
    const svg = textHeatmap({ tokens: ['a'], values: [0.5], limit: 2 }).svg()
    expect(svg).toContain('>2</text>')
    expect(svg).not.toContain('#082c64" rx="2"')
  })

  test('long text wraps, refusals', () => {
    const svg = textHeatmap({
      tokens: Array(40).fill(' word'),
      values: Array(40).fill(0.1),
      width: 300,
    }).svg()
    expect(
      new Set(Array.from(svg.matchAll(/y="(\d+)" width="46" height="22"/g), (m) => m[1])).size,
    ).toBeGreaterThan(5)
    expect(() => textHeatmap({ tokens: ['a'], values: [] })).toThrow(/0 values for 1 tokens/)
    expect(() => textHeatmap({ tokens: ['a'], values: [-1], signed: false })).toThrow(/negative value/)
  })
})

describe('logitLens', () => {
  const cell = { token: ' x', probability: 0.5, final: 0.1 }
  test('a cell a layer and position', () => {
    const svg = logitLens({
      tokens: ['a', 'b'],
      positions: [1],
      rows: [
        { name: 'embed', cells: [cell] },
        { name: 'layer 0', cells: [{ ...cell, probability: 1 }] },
      ],
    }).svg()
    expect(svg.match(/final prediction: 10.0 %/g)).toHaveLength(2)
    expect(svg).toContain('#082c64')
  })
  test('refuses what does not fit', () => {
    expect(() => logitLens({ tokens: ['a'], positions: [2], rows: [] })).toThrow(/position 2/)
    expect(() => logitLens({ tokens: ['a'], positions: [0], rows: [{ name: 'x', cells: [] }] })).toThrow(
      /row 'x' has 0 cells/,
    )
    expect(() =>
      logitLens({ tokens: Array(65).fill('a'), positions: [...Array(65).keys()], rows: [] }),
    ).toThrow(/at most 64/)
  })
})
