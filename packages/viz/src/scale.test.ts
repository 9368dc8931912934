import { expect, test } from 'vitest'
import {
  contrast,
  diverging,
  hex,
  ink,
  level,
  levelClass,
  limitOf,
  luminance,
  percent,
  pretty,
  rounded,
  sequential,
} from './scale.js'

const steps = Array.from({ length: 101 }, (_, i) => i / 100)

test('the sequential ramp falls in lightness on light ground and rises on dark', () => {
  for (let i = 1; i < steps.length; i++) {
    expect(luminance(sequential(steps[i], 'light'))).toBeLessThan(
      luminance(sequential(steps[i - 1], 'light')),
    )
    expect(luminance(sequential(steps[i], 'dark'))).toBeGreaterThanOrEqual(
      luminance(sequential(steps[i - 1], 'dark')),
    )
  }
})

test('zero is white on the diverging ramp, and both arms fall away from it', () => {
  expect(hex(diverging(0))).toBe('#ffffff')
  expect(diverging(-1)).not.toEqual(diverging(1))
  for (let i = 1; i < steps.length; i++)
    for (const sign of [-1, 1])
      expect(luminance(diverging(sign * steps[i]))).toBeLessThan(luminance(diverging(sign * steps[i - 1])))
})

test('blue and orange differ for every common colour deficiency: blue channel against red channel', () => {
  for (const t of [0.3, 0.6, 1]) {
    const [r, , b] = diverging(t)
    const [r2, , b2] = diverging(-t)
    expect(b).toBeGreaterThan(r)
    expect(r2).toBeGreaterThan(b2)
  }
})

test('text on every shade has a contrast of at least 4.5', () => {
  for (const theme of ['light', 'dark'] as const)
    for (const t of steps)
      for (const ground of [sequential(t, theme), diverging(-t, theme)])
        expect(contrast(ground, ink(ground))).toBeGreaterThanOrEqual(4.5)
})

test('contrast of black and white is 21', () =>
  expect(contrast([0, 0, 0], [255, 255, 255])).toBeCloseTo(21, 5))

test('levels and classes', () => {
  expect([level(0.5, 1), level(2, 1), level(-3, 1), level(1, 0)]).toEqual([10, 20, -20, 0])
  expect(levelClass(0.25, 0.5, false)).toBe('s10')
  expect(levelClass(-0.5, 0.5, true)).toBe('n20')
  expect(levelClass(0.05, 1, true)).toBe('p1')
  expect(levelClass(0, 1, true)).toBe('z')
  expect(levelClass(Number.NaN, 1, true)).toBe('bad')
  expect(levelClass('NaN', 1, false)).toBe('bad')
  expect(levelClass(null, 1, false)).toBe('none')
})

test('limits and numbers as text', () => {
  expect(limitOf([1, -3, Number.NaN, null])).toBe(3)
  expect(limitOf([0, null])).toBe(1)
  expect([pretty(0.12345), pretty(-1234.5), pretty(0), pretty(0.00001), pretty(Number.NaN)]).toEqual([
    '0.123',
    '−1235',
    '0',
    '1.0e-5',
    'not a number',
  ])
  expect([percent(0.41), percent(0.0001), percent(1), percent(0.9999), percent(0.052)]).toEqual([
    '41.0 %',
    '< 0.1 %',
    '100 %',
    '> 99.9 %',
    '5.2 %',
  ])
  expect([rounded(0.41234, 0.00196), rounded(0.4, 0.1), rounded(0.00123, 0.00002)]).toEqual([
    '0.412',
    '0.40',
    '0.00123',
  ])
})
