import {
  attention as attentionOp,
  less,
  logicalAnd,
  ones,
  randomKey,
  randomNormal,
  reference,
  setBackend,
  type Tensor,
  tensor,
  traceLazy,
} from '@heed/tensor'
import fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import {
  allowedKeys,
  arbitrary,
  blockLocal,
  causal,
  combineMasks,
  localWindow,
  type MaskSlot,
  maskOptions,
  padding,
  prefix,
  sameSegment,
  sinks,
  slidingWindow,
} from './index.js'

beforeAll(() => setBackend(reference()))

const size = (queries: number, keys = queries, offset: Tensor | number = 0) => ({ queries, keys, offset })
/** A picture of a mask: # where a query (row) may see a key. */
async function drawn(
  mask: MaskSlot,
  queries: number,
  keys = queries,
  offset: Tensor | number = 0,
): Promise<string[]> {
  const allowed = allowedKeys(combineMasks(mask), size(queries, keys, offset))
  if (!allowed) return Array.from({ length: queries }, () => '#'.repeat(keys))
  const rows = (await logicalAnd(allowed, ones([queries, keys], 'bool')).array()) as boolean[][]
  return rows.map((r) => r.map((v) => (v ? '#' : '.')).join(''))
}

describe('masks', () => {
  it('draw what they say', async () => {
    expect(await drawn(causal(), 3)).toEqual(['#..', '##.', '###'])
    expect(await drawn(causal(), 2, 4, 1)).toEqual(['##..', '###.'])
    expect(await drawn(slidingWindow(2), 4)).toEqual(['#...', '##..', '.##.', '..##'])
    expect(await drawn(localWindow(1, 1), 4)).toEqual(['##..', '###.', '.###', '..##'])
    expect(await drawn(localWindow(null, 0), 3)).toEqual(['#..', '##.', '###'])
    expect(await drawn([slidingWindow(1), sinks(2)], 4)).toEqual(['#...', '##..', '###.', '##.#'])
    expect(await drawn(blockLocal(2), 4)).toEqual(['##..', '##..', '..##', '..##'])
    expect(await drawn([blockLocal(2), causal()], 4)).toEqual(['#...', '##..', '..#.', '..##'])
    expect(await drawn(blockLocal(1, 1), 3)).toEqual(['##.', '###', '.##'])
    expect(await drawn(prefix(2), 4)).toEqual(['##..', '##..', '###.', '####'])
    expect(
      await drawn(
        arbitrary((query, key) => less(key, query)),
        3,
      ),
    ).toEqual(['...', '#..', '##.'])
    expect(await drawn([], 2)).toEqual(['##', '##'])
  })

  it('combine as a logical and, in any order', async () => {
    const part = tensor([
      [true, true, false, true],
      [true, true, false, true],
      [true, true, false, true],
      [true, true, false, true],
    ])
    const want = ['#...', '##..', '.#..', '...#']
    expect(await drawn([slidingWindow(2), part], 4)).toEqual(want)
    expect(await drawn([part, slidingWindow(2)], 4)).toEqual(want)
    expect(await drawn([localWindow(3, 1), localWindow(1, 2), causal()], 4)).toEqual(
      await drawn(slidingWindow(2), 4),
    )
    expect(await drawn([part, arbitrary((query, key) => less(key, query))], 4)).toEqual([
      '....',
      '#...',
      '##..',
      '##..',
    ])
    expect(combineMasks(sinks(1), sinks(3)).sinkTokens).toBe(3)
    expect(combineMasks(sinks(3), sinks(1)).sinkTokens).toBe(3)
    expect(() => combineMasks(blockLocal(2), blockLocal(3))).toThrow(/blocks of 2 and of 3/)
  })

  it('are what the op hides, whatever is combined', async () => {
    const parts = fc.array(
      fc.oneof(
        fc.constant(causal()),
        fc.integer({ min: 1, max: 4 }).map(slidingWindow),
        fc
          .tuple(fc.integer({ min: 0, max: 3 }), fc.option(fc.integer({ min: 0, max: 3 })))
          .map(([l, r]) => localWindow(l, r)),
        fc.integer({ min: 0, max: 2 }).map(sinks),
      ),
      { maxLength: 3 },
    )
    const block = fc.option(fc.tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 0, max: 1 })))
    await fc.assert(
      fc.asyncProperty(
        parts,
        block,
        fc.integer({ min: 1, max: 5 }),
        fc.integer({ min: 1, max: 6 }),
        fc.integer({ min: -2, max: 4 }),
        async (list, b, queries, keys, offset) => {
          const mask = combineMasks(list, b ? blockLocal(...b) : null)
          const [q, k] = [
            randomNormal(randomKey(1), [1, 1, queries, 2]),
            randomNormal(randomKey(2), [1, 1, keys, 2]),
          ]
          const at = tensor(offset, { dtype: 'i32' })
          const run = traceLazy(
            () => attentionOp(q, k, k, { ...maskOptions(mask, size(queries, keys, at)), offset: at }).z,
            null,
          )
          const [[scores]] = (await run.get('scores').array()) as number[][][][]
          expect(await drawn(mask, queries, keys, at)).toEqual(
            scores.map((row) => row.map((s) => (s === Number.NEGATIVE_INFINITY ? '.' : '#')).join('')),
          )
        },
      ),
      { numRuns: 60, seed: 5 },
    )
  })

  it('hide padding and other segments', async () => {
    const keep = tensor([
      [false, true],
      [true, true],
    ])
    expect(await padding(keep).array()).toEqual([[[[false, true]]], [[[true, true]]]])
    expect(await padding(tensor([[0, 1]], { dtype: 'i32' })).array()).toEqual([[[[false, true]]]])
    expect(await padding(tensor([1], { dtype: 'i32' }), 3).array()).toEqual([[[[true, false, false]]]])
    expect(() => padding(tensor([1, 0]))).toThrow(/expected keep \[batch, key\]/)
    const segments = sameSegment(tensor([[1, 1, 2]], { dtype: 'i32' }))
    expect(await segments.array()).toEqual([
      [
        [
          [true, true, false],
          [true, true, false],
          [false, false, true],
        ],
      ],
    ])
  })

  it('refuse sizes that mean nothing', () => {
    expect(() => slidingWindow(0)).toThrow(/width is 0/)
    expect(() => localWindow(-1, 0)).toThrow(/-1 is no whole number/)
    expect(() => blockLocal(0)).toThrow(/size 0/)
    expect(() => sinks(1.5)).toThrow(/1.5/)
  })
})
