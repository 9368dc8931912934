import { expect, test } from 'vitest'
import { diverging, hex, levels, sequential } from '../scale.js'
import { style } from './style.js'

test('every class of a value has its ground in both themes, the same as the canvas draws', () => {
  const [light, dark] = style().split('@media (prefers-color-scheme:dark)')
  for (const [sheet, theme] of [
    [light, 'light'],
    [dark, 'dark'],
  ] as const)
    for (let i = 1; i <= levels; i++) {
      expect(sheet).toContain(`.s${i}{background:${hex(sequential(i / levels, theme))};`)
      expect(sheet).toContain(`.p${i}{background:${hex(diverging(i / levels, theme))};`)
      expect(sheet).toContain(`.n${i}{background:${hex(diverging(-i / levels, theme))};`)
    }
  expect(light).toContain('.z{background:#ffffff;')
})

test('bars: below for positive, above for negative, thicker for larger', () => {
  const bar = (name: string): string | undefined =>
    new RegExp(`\\.tok\\.${name}(?:,[^{]*)?\\{box-shadow:0 (-?\\d)px`).exec(style())?.[1]
  expect([bar('p20'), bar('p10'), bar('p3'), bar('n20'), bar('s13'), bar('s2')]).toEqual([
    '4',
    '2',
    '1',
    '-4',
    '3',
    undefined,
  ])
})
