import { describe, expect, test } from 'vitest'
import { terminalBar, terminalHeat, terminalTable, terminalWidth } from './terminal.js'
import { displayWidth, fitWidth } from './width.js'

describe('widths', () => {
  test.each([
    ['abc', 3],
    ['東京', 4],
    ['e\u0301', 1],
    ['👩‍👩‍👧', 2],
    ['🇫🇷', 2],
    ['שלום', 4],
    ['', 0],
  ])('%j takes %i columns', (text, width) => expect(displayWidth(text)).toBe(width))
  test('cutting counts columns', () => {
    expect(fitWidth('東京都', 5)).toBe('東京…')
    expect(fitWidth('東京都', 4)).toBe('東…')
    expect(fitWidth('abc', 3)).toBe('abc')
  })
})

describe('terminalHeat', () => {
  test('plain: tokens with their numbers under them, no escape sequence', () => {
    expect(terminalHeat(['The', ' keys', ' are'], [0.3, 0.71, 0.02], { color: false })).toBe(
      ['The ·keys ·are', '.30   .71  .02'].join('\n'),
    )
  })
  test('signed, missing and broken values', () => {
    expect(terminalHeat(['a', 'bb', 'ccc', 'd'], [-0.5, null, Number.NaN, 1], { color: false })).toBe(
      ['a    bb ccc d', '−.50  – NaN 1.00'].join('\n'),
    )
  })
  test('colours change no column and carry the sign', () => {
    const plain = terminalHeat(['aaaa', 'bbbb'], [0.9, -0.9], { color: false })
    const colour = terminalHeat(['aaaa', 'bbbb'], [0.9, -0.9], { color: true })
    // biome-ignore lint/suspicious/noControlCharactersInRegex: colour sequences are what this line is about
    expect(colour.replace(/\u001b\[[0-9;]*m/g, '')).toBe(plain)
    const grounds = Array.from(colour.matchAll(/48;5;(\d+)m/g), (m) => m[1])
    expect(new Set(grounds).size).toBe(2)
  })
  test('wraps within the width, also with wide characters', () => {
    const out = terminalHeat(Array(20).fill(' 東京'), Array(20).fill(0.5), { color: false, width: 24 })
    for (const line of out.split('\n')) expect(displayWidth(line)).toBeLessThanOrEqual(24)
    expect(out.split('\n')).toHaveLength(10)
  })
  test('a token cannot move the cursor', () => {
    expect(terminalHeat(['\u001b[2J'], [1], { color: false })).toContain('␛[2J')
  })
  test('refuses a wrong number of values', () =>
    expect(() => terminalHeat(['a'], [], { color: false })).toThrow(/0 values for 1/))
})

describe('terminalBar', () => {
  test('exact columns in eighths', () => {
    expect(terminalBar(0.5, { width: 4 })).toBe('██  ')
    expect(terminalBar(0.53125, { width: 4 })).toBe('██▏ ')
    expect(terminalBar(2, { width: 3 })).toBe('███')
    expect(terminalBar(-1, { width: 4, max: 2 })).toBe('▒▒  ')
    expect(terminalBar(Number.NaN, { width: 14 })).toBe('not a number  ')
    expect(() => terminalBar(1, { max: 0 })).toThrow(/max/)
  })
})

describe('terminalTable', () => {
  test('aligns by columns, numbers right', () => {
    expect(
      terminalTable(
        [
          ['東京', 1],
          ['a', 20],
        ],
        { head: ['token', 'n'] },
      ),
    ).toBe(['token   n', '─────────', '東京    1', 'a      20'].join('\n'))
  })
  test('fits the width by cutting the widest text column', () => {
    const out = terminalTable([['x'.repeat(50), 0.25, 'y']], { width: 30 })
    expect(terminalWidth(out)).toBeLessThanOrEqual(30)
    expect(out).toContain('x…  0.25  y')
  })
  test('coloured cells keep their colour and cost no columns; other controls go', () => {
    const out = terminalTable([[terminalBar(1, { width: 2, color: true }), 'a\u001b[2Jb\n']])
    expect(terminalWidth(out)).toBe(2 + 2 + 7)
    expect(out).toContain('\u001b[38;5;39m')
    expect(out).not.toContain('\u001b[2J')
    expect(out).not.toContain('\n')
  })
  test('refuses ragged rows', () =>
    expect(() => terminalTable([['a'], ['b', 'c']])).toThrow(/row 1 has 2 cells/))
})
