import { describe, expect, it } from 'vitest'
import { libraryFor } from './glsl.js'
import { broadcastStrides, collapse, walk } from './walk.js'

describe('collapse', () => {
  it('merges axes that every operand walks as one, and drops those of size 1', () => {
    expect(collapse([2, 1, 3, 4], [[12, 12, 4, 1]])).toEqual({ dims: [24], strides: [[1]] })
    // the second operand is turned: nothing merges
    expect(
      collapse(
        [3, 4],
        [
          [4, 1],
          [1, 3],
        ],
      ),
    ).toEqual({
      dims: [3, 4],
      strides: [
        [4, 1],
        [1, 3],
      ],
    })
    // repeated rows stay apart from what lies behind them
    expect(collapse([5, 2, 3], [broadcastStrides({ shape: [2, 3], strides: [3, 1] }, [5, 2, 3])])).toEqual({
      dims: [5, 6],
      strides: [[0, 1]],
    })
  })
  it('leaves one axis of a scalar', () => {
    expect(collapse([], [[]])).toEqual({ dims: [1], strides: [[0]] })
  })
})

describe('walk', () => {
  /** What the GLSL computes, in JavaScript: the last axis first. */
  const places = (w: ReturnType<typeof walk>, o: number): number => {
    let rest = o
    let at = w.ints.w_o0
    for (let d = w.rank - 1; d >= 0; d--) {
      const size = d > 0 ? w.ints[`w_d${d}`] : Number.POSITIVE_INFINITY
      const i = d > 0 ? rest % size : rest
      at += i * w.ints[`w_s0_${d}`]
      rest = Math.floor(rest / size)
    }
    return at
  }
  it('finds the element of a view for every element of the result', () => {
    // x [3, 4] backwards in both axes and turned: element (i, j) is x[2 − j][3 − i]
    const w = walk('w', [4, 3], [{ offset: 11, strides: [-1, -4] }])
    for (let i = 0; i < 4; i++)
      for (let j = 0; j < 3; j++) expect(places(w, i * 3 + j)).toBe((2 - j) * 4 + (3 - i))
  })
  it('has sizes and strides in uniforms, and only the number of axes in its text', () => {
    const [a, b] = [
      walk('w', [4, 3], [{ offset: 0, strides: [1, 4] }]),
      walk('w', [70, 5], [{ offset: 9, strides: [1, 70] }]),
    ]
    expect(a.code).toBe(b.code)
    expect(a.ints).not.toEqual(b.ints)
    expect(walk('w', [12], [{ offset: 0, strides: [1] }]).code).not.toBe(a.code)
  })
})

describe('the GLSL library', () => {
  it('brings what a program uses, each piece once and behind what it needs', () => {
    const text = libraryFor('float f(float a) { return tanhOf(a) + expOf(a) + cosOf(a); }')
    expect(text.match(/float expOf\(/g)).toHaveLength(1)
    expect(text.indexOf('float expOf(')).toBeLessThan(text.indexOf('float tanhOf('))
    expect(text.indexOf('bool isNan(')).toBeLessThan(text.indexOf('float expOf('))
    expect(text).toContain('float cosOf(')
    expect(text).not.toContain('erfOf')
    expect(libraryFor('float f(float a) { return a; }')).toBe('')
  })
})
