import { describe, expect, it } from 'vitest'
import { compare, outcome } from './case.js'
import { matcher } from './pattern.js'
import { widen } from './tolerances.js'

describe('compare', () => {
  it('allows atol + rtol · |want|, the edge included, and gives the figures of the worst ratio', () => {
    const result = compare([1.5, 104], [1, 100], { atol: 0.5, rtol: 0.04 })
    expect(result).toMatchObject({ pass: true, at: 0, error: 0.5, tolerance: 0.54, maxError: 4 })
    expect(result.ratio).toBeCloseTo(0.5 / 0.54, 12)
    expect(compare([1.5], [1], { atol: 0.5 }).pass).toBe(true)
    expect(compare([1.5 + 2 ** -40], [1], { atol: 0.5 }).pass).toBe(false)
    expect(compare([-101], [-100], { atol: 0, rtol: 0.01 }).pass).toBe(true)
  })

  it('takes rtol of what is wanted, not of what was got', () => {
    expect(compare([0], [1], { atol: 0, rtol: 1 }).pass).toBe(true)
    expect(compare([1], [0], { atol: 0, rtol: 1 }).pass).toBe(false)
  })

  it.each([
    [[Number.NaN], [Number.NaN], true],
    [[Number.NaN], [1], false],
    [[1], [Number.NaN], false],
    [[Infinity], [Infinity], true],
    [[-Infinity], [Infinity], false],
    [[1e308], [Infinity], false],
    [[Infinity], [1e308], false],
    [[-0], [0], true],
  ])('%o against %o: %s', (got, want, pass) => {
    expect(compare(got, want, { atol: 1e300, rtol: 1e300 }).pass).toBe(pass)
  })

  it('fails a wrong length and leaves out what is not selected', () => {
    expect(compare([1], [1, 2], { atol: 9 })).toMatchObject({ pass: false, reason: '1 values, expected 2' })
    expect(compare([1, 9], [1, 2], { atol: 0 }, { select: [1, 0] }).pass).toBe(true)
    expect(compare([1, 9], [1, 2], { atol: 0 }, { select: [0, 1], label: 'dx' })).toMatchObject({
      pass: false,
      reason: 'dx: got 9 instead of 2 at flat index 1',
    })
  })

  it('allows more of the elements that are said', () => {
    expect(compare([1.5, 2.5], [1, 2], { atol: 0.1 }, { extra: [0.4, 0.4] }).pass).toBe(true)
    expect(compare([1.5, 2.5], [1, 2], { atol: 0.1 }, { extra: [0.4, 0] })).toMatchObject({
      pass: false,
      at: 1,
    })
  })

  it('makes one outcome of many', () => {
    const good = compare([1], [1], { atol: 0.1 })
    const bad = compare([2], [1], { atol: 0.1 }, { label: 'y' })
    expect(outcome([good, bad, good])).toMatchObject({ status: 'fail', error: 1, tolerance: 0.1 })
    expect(outcome([good], 'widened: x')).toEqual({
      status: 'pass',
      error: 0,
      tolerance: 0.1,
      reason: 'widened: x',
    })
    expect(outcome([]).status).toBe('fail')
  })
})

it('widens by the table and says so, and never narrows', () => {
  const table = [{ format: 'ops', cases: 'a/*', atol: 1e-3, reason: 'other order of sums' }]
  expect(widen('ops', 'a/b', { atol: 1e-6 }, table)).toEqual({
    atol: 1e-3,
    rtol: 0,
    reason: 'widened: other order of sums',
  })
  expect(widen('ops', 'a/b', { atol: 1, rtol: 2 }, table)).toMatchObject({ atol: 1, rtol: 2 })
  expect(widen('ops', 'b/a', { atol: 1e-6 }, table)).toEqual({ atol: 1e-6 })
  expect(widen('train', 'a/b', { atol: 1e-6 }, table)).toEqual({ atol: 1e-6 })
})

it('takes only * and ? as special in patterns', () => {
  const id = 'primitives/sum/3x4_axes=[0,2]_keepDims=true'
  for (const pattern of [
    '*',
    id,
    'primitives/*',
    '*axes=[0,2]*',
    'primitives/su?/*',
    '*{a,b}*'.replace('{a,b}', ''),
  ])
    expect(matcher(pattern)(id)).toBe(true)
  for (const pattern of ['sum', '*axes=[02]*', 'primitives/sum', 'primitives.sum*', '*true?', 'PRIMITIVES/*'])
    expect(matcher(pattern)(id)).toBe(false)
  expect(matcher('a?c')('a😀c')).toBe(true)
  expect(matcher('a*c')('a\nc')).toBe(true)
  expect(matcher('(a|b)+$^\\')('(a|b)+$^\\')).toBe(true)
})
