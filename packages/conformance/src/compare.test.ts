import { describe, expect, it } from 'vitest'
import { compare } from './compare.js'
import { tolerances } from './tolerances.js'

const exact = { rtol: 0, scaled: 0 }

describe('compare', () => {
  it('takes nan for nan and infinities by their sign', () => {
    expect(
      compare([Number.NaN, Infinity, -Infinity, -0], [Number.NaN, Infinity, -Infinity, 0], exact).pass,
    ).toBe(true)
    expect(compare([Infinity], [-Infinity], { rtol: 1, scaled: 1 }).pass).toBe(false)
    expect(compare([Number.NaN], [1], { rtol: 1, scaled: 1 })).toMatchObject({
      pass: false,
      maxError: Infinity,
    })
    expect(compare([3e38], [Infinity], { rtol: 1, scaled: 1 }).pass).toBe(false)
  })
  it('allows by the value there and by the largest value', () => {
    expect(compare([100.5, 0], [100, 0], { rtol: 0.01, scaled: 0 })).toMatchObject({
      pass: true,
      maxError: 0.5,
      ratio: 0.5,
      at: 0,
    })
    expect(compare([100, 0.5], [100, 0], { rtol: 0.01, scaled: 0 }).pass).toBe(false)
    expect(compare([100, 0.5], [100, 0], { rtol: 0, scaled: 0.01 }).pass).toBe(true)
    // an infinity is no size
    expect(compare([Infinity, 0.5], [Infinity, 0], { rtol: 0, scaled: 0.01 }).pass).toBe(false)
  })
  it('measures by the largest value where that is above 1', () => {
    expect(compare([200.5, 0], [200, 0], { rtol: 1, scaled: 1 }).scaledError).toBe(0.5 / 200)
    expect(compare([0.3], [0.2], { rtol: 1, scaled: 1 }).scaledError).toBeCloseTo(0.1, 12)
  })
  it('names the worst place', () => {
    const c = compare([1, 2.2, 3.1], [1, 2, 3], { rtol: 0.01, scaled: 0 })
    expect(c.at).toBe(1)
    expect(c.reason).toBe('got 2.2 instead of 2 at flat index 1 (10 times what is allowed)')
    expect(compare([1], [1, 2], exact).reason).toBe('1 values, expected 2')
  })
})

describe('the tolerance table', () => {
  it('gives a reason wherever a family is allowed more than a rounding', () => {
    for (const [precision, families] of Object.entries(tolerances))
      for (const [family, entry] of Object.entries(families))
        expect(entry.reason, `${precision} ${family}`).toBeTruthy()
  })
  it('compares what has no arithmetic exactly, and float64 closer than float32', () => {
    expect(tolerances.f32.exact.forward).toEqual(exact)
    expect(tolerances.f64.matmul.forward.scaled).toBeLessThan(1e-11)
  })
})
