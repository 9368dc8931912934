import { describe, expect, it } from 'vitest'
import {
  broadcastShapes,
  broadcastStrides,
  isContiguous,
  normalizeAxes,
  normalizeAxis,
  sizeOf,
  stridesOf,
} from './shape.js'

describe('broadcasting', () => {
  it.each([
    [[], [], []],
    [[3], [], [3]],
    [
      [2, 1, 4],
      [5, 1],
      [2, 5, 4],
    ],
    [
      [0, 1],
      [1, 3],
      [0, 3],
    ],
    [[1], [0], [0]],
  ])('%j with %j is %j', (a, b, want) => {
    expect(broadcastShapes(a, b)).toEqual(want)
    expect(broadcastShapes(b, a)).toEqual(want)
  })
  it('refuses what does not fit and reads with stride 0', () => {
    expect(() => broadcastShapes([2, 3], [2, 4])).toThrow(
      '[2, 3] and [2, 4] do not broadcast: axis -1 is 3 and 4',
    )
    expect(() => broadcastShapes([0], [2])).toThrow('do not broadcast')
    expect(broadcastStrides([3, 1], [1, 1], [2, 3, 4])).toEqual([0, 1, 0])
  })
})

describe('strides and axes', () => {
  it('are row-major', () => {
    expect(stridesOf([2, 3, 4])).toEqual([12, 4, 1])
    expect(stridesOf([])).toEqual([])
    expect([sizeOf([]), sizeOf([2, 0, 3])]).toEqual([1, 0])
  })
  it('are contiguous without gaps, whatever the stride of an axis of one', () => {
    expect(isContiguous([2, 3], [3, 1])).toBe(true)
    expect(isContiguous([2, 3], [1, 2])).toBe(false)
    expect(isContiguous([2, 3], [6, 1])).toBe(false)
    expect(isContiguous([1, 3], [77, 1])).toBe(true)
    expect(isContiguous([0, 3], [1, 5])).toBe(true)
  })
  it('count from the end when negative, sorted and once', () => {
    expect(normalizeAxis(-1, 3)).toBe(2)
    expect(normalizeAxes([2, -3], 3)).toEqual([0, 2])
    expect(normalizeAxes(undefined, 2)).toEqual([0, 1])
    for (const axis of [3, -4, 0.5, Number.NaN])
      expect(() => normalizeAxis(axis, 3)).toThrow(`axis ${axis} does not exist in a tensor of rank 3`)
  })
})
