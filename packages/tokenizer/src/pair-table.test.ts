// The hash table of pairs against a Map, through several growths and with crowded keys.
import { expect, it } from 'vitest'
import { PairTable } from './pair-table.js'

it('holds what a map holds', () => {
  const table = new PairTable(2)
  const map = new Map<string, number>()
  for (let i = 0; i < 5000; i++) {
    const [left, right] = [(i * 7919) % 601, (i * 104_729) % 997]
    table.set(left, right, i)
    map.set(`${left} ${right}`, i)
  }
  expect(table.size).toBe(map.size)
  for (const [key, value] of map) {
    const [left, right] = key.split(' ').map(Number)
    expect(table.get(left, right)).toBe(value)
  }
  expect(table.get(601, 0)).toBe(-1)
  expect(table.get(0, 997)).toBe(-1)
})
