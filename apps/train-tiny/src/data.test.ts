import { deflateSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { makeBatches, type Phase, phaseAt } from './batches.js'
import { clean, readRdb, stripGutenberg } from './corpus.js'
import { pairRow, repeatRow } from './repeats.js'
import { rng } from './rng.js'
import {
  ALL_NAMES,
  DEMO,
  giveChains,
  isHeldOut,
  namePrompt,
  nameTestDraws,
  PLACES,
  plainGives,
  stories,
  THINGS,
} from './stories.js'

test('a paragraph becomes a line of plain ASCII punctuation', () => {
  expect(
    clean('CHAPTER I\r\n\r\nIt was \u201ccold\u201d\u2014\r\nvery _cold_.\r\n\r\n\r\nHe\u2019s\there.'),
  ).toBe('It was "cold"-- very cold.\nHe\'s here.')
})

test('a Gutenberg text loses its header, its licence and the credits, and nothing else', () => {
  const body = 'Chapter one.\r\n\r\nText.\r\n\r\n'
  const raw = `Licence\r\n*** START OF THIS PROJECT GUTENBERG EBOOK X ***\r\n\r\nProduced by A\r\nand B\r\n\r\n${body}End of Project Gutenberg's X\r\nmore`
  expect(stripGutenberg(raw).trim()).toBe('Chapter one.\n\nText.')
  expect(() => stripGutenberg('a plain text')).toThrow('no START or END line')
})

test('an R lazy-load database of two character vectors', () => {
  const string = (s: string | null): Buffer => {
    const head = Buffer.alloc(8)
    head.writeInt32BE(0x00040009, 0)
    head.writeInt32BE(s === null ? -1 : Buffer.byteLength(s), 4)
    return Buffer.concat([head, Buffer.from(s ?? '')])
  }
  const record = (items: (string | null)[]): Buffer => {
    const head = Buffer.from('580a0000000300040201000305000000000555 54462d38'.replace(/ /g, ''), 'hex')
    const type = Buffer.alloc(8)
    type.writeInt32BE(16, 0)
    type.writeInt32BE(items.length, 4)
    const plain = Buffer.concat([head, type, ...items.map(string)])
    const size = Buffer.alloc(4)
    size.writeUInt32BE(plain.length)
    return Buffer.concat([size, deflateSync(plain)])
  }
  const rdb = Buffer.concat([record(['Emma', '', 'by', null]), record(['é'])])
  expect(readRdb(rdb)).toEqual([['Emma', '', 'by', ''], ['é']])
})

test('held-out giving draws, the demo among them, are never generated, whoever gives', () => {
  expect(isHeldOut(DEMO)).toBe(true)
  const pattern = new RegExp(
    `(${ALL_NAMES.join('|')}) (?:and|saw|met|found) (${ALL_NAMES.join('|')}) (?:[a-z]+ )*(${PLACES.join('|')})[.,] (?:${ALL_NAMES.join('|')}) [a-z]+ (?:(?:${ALL_NAMES.join('|')}) )?an? (${THINGS.join('|')})\\b`,
    'g',
  )
  let seen = 0
  for (const s of [...stories(5, 20000), ...giveChains(5, 5000), ...plainGives(5, 20000, 0.5)])
    for (const [, first = '', second = '', place = '', thing = ''] of s.matchAll(pattern)) {
      seen++
      expect(isHeldOut({ first, second, place, thing }), s).toBe(false)
    }
  expect(seen).toBeGreaterThan(5000)
})

test('giver and order are independent: the first-named gives in half of the sentences', () => {
  let first = 0
  let all = 0
  for (const s of stories(6, 20000)) {
    const m = /^When (\w+) and (\w+) [a-z ]+, (\w+) gave/.exec(s)
    if (!m) continue
    all++
    if (m[1] === m[3]) first++
  }
  expect(all).toBeGreaterThan(500)
  expect(Math.abs(first / all - 0.5)).toBeLessThan(0.06)
})

test('the name test asks about unseen draws, in the words of the demo', () => {
  const draws = nameTestDraws(60)
  expect(draws).toHaveLength(60)
  expect(draws.every(isHeldOut)).toBe(true)
  expect(namePrompt(DEMO)).toEqual({
    prompt: 'When Mary and John went to the store, John gave a drink to',
    right: 'Mary',
    wrong: 'John',
  })
  expect(namePrompt(DEMO, 'first')).toMatchObject({ right: 'John', wrong: 'Mary' })
  expect(namePrompt(DEMO, 'first').prompt).toMatch(/, Mary gave a drink to$/)
  expect(nameTestDraws(60)).toEqual(draws)
})

test('a repeated row repeats with one period, within bounds, without the skipped id', () => {
  const text = Array.from({ length: 500 }, (_, i) => (i * 7) % 90)
  for (let seed = 0; seed < 200; seed++) {
    const row = repeatRow(rng(seed), text, { length: 65, vocabSize: 100, skip: [99] })
    expect(row).toHaveLength(65)
    expect(row).not.toContain(99)
    const period = [...Array(27).keys()]
      .map((p) => p + 6)
      .find((p) => row.every((t, i) => i < p || t === row[i - p]))
    expect(period, `seed ${seed}`).toBeDefined()
  }
})

const phase: Phase = {
  steps: 3,
  rows: 10,
  length: 16,
  text: 0.4,
  stories: 0.3,
  gives: 0.1,
  plain: 0,
  direct: 0,
  repeats: 0.1,
  pairs: 0.1,
  maxPeriod: 8,
}

test('a batch is a function of seed and step; targets are the next ids', () => {
  const text = Array.from({ length: 1000 }, (_, i) => i % 50)
  const sources = {
    text,
    stories: text.map((t) => t + 50),
    gives: text.map((t) => t + 100),
    plain: text,
    direct: text,
    vocabSize: 201,
    endOfText: 200,
  }
  const batches = makeBatches(sources, [phase, { ...phase, length: 32, rows: 5, maxPeriod: 16 }], 1)
  expect(batches(2)).toEqual(makeBatches(sources, [phase, { ...phase, length: 32, rows: 5 }], 1)(2))
  expect(batches(0).ids).not.toEqual(batches(1).ids)
  const b = batches(1)
  for (let row = 0; row < 8; row++) {
    expect(
      b.ids
        .slice(row * 16, row * 16 + 16)
        .every((t) => Math.floor(t / 50) === (row < 4 ? 0 : row < 7 ? 1 : 2)),
    ).toBe(true)
    for (let i = 1; i < 16; i++) expect(b.targets[row * 16 + i - 1]).toBe(b.ids[row * 16 + i])
  }
  expect([batches(3).rows, batches(3).length]).toEqual([5, 32])
  expect(phaseAt([phase], 99)).toBe(phase)
})

test('shares that do not add up are refused', () => {
  const text = Array.from({ length: 100 }, () => 1)
  expect(() =>
    makeBatches(
      { text, stories: text, gives: text, plain: text, direct: text, vocabSize: 4, endOfText: 0 },
      [{ ...phase, text: 0.6 }],
      1,
    ),
  ).toThrow('are not 1')
})

test('a row of pairs: most tokens are those two back', () => {
  const row = pairRow(rng(4), { length: 1001, vocabSize: 500, skip: [0] })
  expect(row).toHaveLength(1001)
  expect(row).not.toContain(0)
  const back = row.filter((t, i) => t === row[i - 2]).length
  expect(back / row.length).toBeGreaterThan(0.6)
  expect(back / row.length).toBeLessThan(0.8)
})
