import { describe, expect, it } from 'vitest'
import { type AttentionOptions, attention, reference, type Tensor, tensor, trace } from '../index.js'
import { realize } from '../realize.js'
import { tap } from '../taps.js'

const double = reference({ precision: 'f64' })
const [B, H, G, Q, K, D] = [2, 4, 2, 3, 7, 2]
const numbers = (seed: number, n: number): number[] =>
  Array.from({ length: n }, (_, i) => Math.sin(seed + 1.3 * i) * 2)
const made = (seed: number, shape: number[]): Tensor =>
  tensor(
    Float64Array.from(
      numbers(
        seed,
        shape.reduce((a, b) => a * b, 1),
      ),
    ),
    shape,
  )
const q = made(1, [B, H, Q, D])
const k = made(2, [B, G, K, D])
const v = made(3, [B, G, K, D])
const bits = (n: number, zero: (i: number) => boolean): Uint8Array =>
  Uint8Array.from({ length: n }, (_, i) => (zero(i) ? 0 : 1))

/** What the options say, in loops: [batch, head, query, dHead] and the log-sum-exp of each row, flat. */
function plain(
  o: AttentionOptions,
  allowed: (b: number, h: number, i: number, j: number) => boolean,
  extra: { bias?: number[]; sink?: number[] } = {},
): { z: number[]; lse: number[] } {
  const [qs, ks, vs] = [numbers(1, B * H * Q * D), numbers(2, B * G * K * D), numbers(3, B * G * K * D)]
  const z: number[] = []
  const lse: number[] = []
  for (let b = 0; b < B; b++)
    for (let h = 0; h < H; h++)
      for (let i = 0; i < Q; i++) {
        const g = Math.floor(h / (H / G))
        const scores = Array.from({ length: K }, (_, j) => {
          let s = 0
          for (let d = 0; d < D; d++)
            s += qs[((b * H + h) * Q + i) * D + d] * ks[((b * G + g) * K + j) * D + d]
          s *= o.scale ?? Math.SQRT1_2
          if (o.softcap) s = o.softcap * Math.tanh(s / o.softcap)
          if (extra.bias) s += extra.bias[i * K + j]
          return allowed(b, h, i, j) ? s : Number.NEGATIVE_INFINITY
        })
        const total = scores.reduce((n, s) => n + Math.exp(s), 0) + (extra.sink ? Math.exp(extra.sink[h]) : 0)
        for (let d = 0; d < D; d++)
          z.push(
            scores.reduce(
              (n, s, j) => n + (total ? Math.exp(s) / total : 0) * vs[((b * G + g) * K + j) * D + d],
              0,
            ),
          )
        lse.push(Math.log(total))
      }
  return { z, lse }
}
async function agrees(o: AttentionOptions, want: { z: number[]; lse: number[] }): Promise<void> {
  const { z, lse } = attention(q, k, v, o)
  await realize([z, lse], { backend: double })
  for (const [t, expected] of [
    [z, want.z],
    [lse, want.lse],
  ] as const) {
    const got = Array.from((await t.data()) as Float64Array)
    expect(got.length).toBe(expected.length)
    got.forEach((x, n) => {
      if (Number.isFinite(expected[n])) expect(x).toBeCloseTo(expected[n], 12)
      else expect(x).toBe(expected[n])
    })
  }
}
const always = (): boolean => true

describe('attention is the formula written in loops', () => {
  it('with its scale, and with a softcap before the bias', async () => {
    const bias = numbers(4, Q * K).map((x) => 3 * x)
    await agrees({}, plain({}, always))
    await agrees({ scale: 1.7 }, plain({ scale: 1.7 }, always))
    await agrees(
      { softcap: 1.5, bias: tensor(Float64Array.from(bias), [Q, K]) },
      plain({ softcap: 1.5 }, always, { bias }),
    )
  })
  it('with one sink logit a head, in the sum and in the log-sum-exp', async () => {
    const sink = [0.5, -1, 2, 0]
    await agrees({ sink: tensor(Float64Array.from(sink)) }, plain({}, always, { sink }))
    // the largest logit is taken out of every exponent, the sink's own too
    const one = tensor([[[[1]]]])
    const { lse } = attention(one, one, one, { sink: tensor([1000]) })
    await realize([lse], { backend: reference() })
    expect(await lse.item()).toBe(1000)
  })
  it.each<[string, AttentionOptions, (i: number, j: number) => boolean]>([
    ['causal', { causal: true }, (i, j) => j <= i],
    ['causal from an offset', { causal: true, offset: 3 }, (i, j) => j <= i + 3],
    ['causal before the first key', { causal: true, offset: -1 }, (i, j) => j <= i - 1],
    ['a window', { window: [1, 2], offset: 2 }, (i, j) => j >= i + 2 - 1 && j <= i + 2 + 2],
    ['a window open on the left', { window: [null, 0], offset: 2 }, (i, j) => j <= i + 2],
    ['a window open on the right', { window: [0, null], offset: 2 }, (i, j) => j >= i + 2],
    [
      'a window and its first keys',
      { window: [0, 0], sinkTokens: 2, offset: 4 },
      (i, j) => j === i + 4 || j < 2,
    ],
    ['blocks', { block: 2, offset: 3 }, (i, j) => Math.floor(j / 2) === Math.floor((i + 3) / 2)],
    [
      'blocks and their neighbours',
      { block: 2, back: 1, offset: 2 },
      (i, j) => Math.abs(Math.floor(j / 2) - Math.floor((i + 2) / 2)) <= 1,
    ],
    [
      'blocks, causal',
      { block: 2, back: 1, causal: true, offset: 3 },
      (i, j) => j <= i + 3 && Math.floor(j / 2) >= Math.floor((i + 3) / 2) - 1,
    ],
    [
      // position −1 lies in block −1, not in block 0
      'blocks before the first key',
      { block: 2, back: 1, offset: -3 },
      (i, j) => Math.abs(Math.floor(j / 2) - Math.floor((i - 3) / 2)) <= 1,
    ],
  ])('with %s', async (_name, o, sees) => {
    await agrees(
      o,
      plain({}, (_b, _h, i, j) => sees(i, j)),
    )
  })
  it('with a mask, alone and together with causality', async () => {
    const zero = (n: number): boolean => n % 3 === 0
    const mask = tensor(bits(B * H * Q * K, zero), { shape: [B, H, Q, K], dtype: 'bool' })
    const seen = (b: number, h: number, i: number, j: number): boolean => !zero(((b * H + h) * Q + i) * K + j)
    await agrees({ mask }, plain({}, seen))
    await agrees(
      { mask, causal: true, offset: 2 },
      plain({}, (b, h, i, j) => seen(b, h, i, j) && j <= i + 2),
    )
  })
})

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
