// What a run shows of one head or query is computed alone; it has to be the whole one cut, whatever hides keys from it.
import { beforeEach, describe, expect, it } from 'vitest'
import {
  type AttentionOptions,
  attention,
  realize,
  reference,
  setBackend,
  type Tensor,
  tap,
  tensor,
  trace,
} from './index.js'

const [B, H, G, Q, K, D] = [2, 4, 2, 3, 7, 2]
const made = (seed: number, shape: number[]): Tensor =>
  tensor(
    Float64Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(seed + 1.3 * i) * 2),
    shape,
  )
const q = made(1, [B, H, Q, D])
const k = made(2, [B, G, K, D])
const v = made(3, [B, G, K, D])
const bits = (n: number, zero: (i: number) => boolean): Uint8Array =>
  Uint8Array.from({ length: n }, (_, i) => (zero(i) ? 0 : 1))

beforeEach(() => setBackend(reference({ precision: 'f64' })))

describe('a look into attention is the whole one cut', () => {
  const maskOf = (shape: number[]): Tensor =>
    tensor(
      bits(
        shape.reduce((a, b) => a * b, 1),
        (n) => n % 4 === 1,
      ),
      { shape, dtype: 'bool' },
    )
  it.each<[string, AttentionOptions]>([
    ['grouped heads', {}],
    ['an offset', { causal: true, offset: 2 }],
    ['an offset as a tensor', { causal: true, offset: tensor(2, { dtype: 'i32' }) }],
    ['a window from an offset', { window: [1, 0], offset: 3 }],
    ['a mask per batch', { mask: maskOf([B, 1, 1, K]) }],
    ['a mask per head and query', { mask: maskOf([H, Q, K]) }],
    ['a mask per query', { mask: maskOf([Q, K]) }],
    ['a bias per head', { bias: made(5, [H, 1, K]) }],
    ['a sink per head', { sink: tensor([0.5, -1, 2, 0]) }],
    ['a mask, a bias and a sink', { mask: maskOf([Q, K]), bias: made(5, [H, Q, K]), sink: made(6, [H]) }],
  ])('with %s', async (_name, o) => {
    const run = await trace((x: Tensor) => tap('z', attention(x, k, v, o).z), q)
    for (const name of ['scores', 'pattern']) {
      const whole = (await run.get(name as never).array()) as number[][][][]
      for (let head = 0; head < H; head++)
        for (let query = 0; query < Q; query++) {
          const row = (await run.get(name as never, { head, query }).array()) as number[][][][]
          expect(row).toEqual(whole.map((heads) => [[heads[head][query]]]))
        }
      expect(await run.get(name as never, { query: 1 }).array()).toEqual(
        whole.map((heads) => heads.map((rows) => [rows[1]])),
      )
      expect(await run.get(name as never, { head: 3 }).array()).toEqual(whole.map((heads) => [heads[3]]))
    }
  })
})

it('a sink logit far above every score overflows nothing', async () => {
  const one = tensor([[[[1]]]])
  const { z, lse } = attention(one, one, one, { sink: tensor([1000]) })
  await realize([z, lse], { backend: reference() })
  expect([await z.item(), await lse.item()]).toEqual([0, 1000])
})
