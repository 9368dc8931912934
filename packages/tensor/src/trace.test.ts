import { beforeEach, describe, expect, it } from 'vitest'
import {
  add,
  attention,
  broadcastTo,
  canonicalTap,
  concat,
  equal,
  grad,
  iota,
  type JsonEdit,
  kernelBackend,
  layerNorm,
  logicalAnd,
  matmul,
  mul,
  parameters,
  pick,
  randomKey,
  randomNormal,
  realize,
  reference,
  referenceKernels,
  reshape,
  scope,
  setBackend,
  softmax,
  sum,
  type Tensor,
  tap,
  tensor,
  trace,
  transpose,
  UnsupportedOpError,
  where,
} from './index.js'
import { hostMemory } from './reference/memory.js'

const L = 3
const H = 2
const D = 16
let seed = 0
const normal = (...shape: number[]): Tensor => mul(randomNormal(randomKey(++seed), shape), 0.4)
const weights = Array.from({ length: L }, () => ({
  q: normal(D, D),
  k: normal(D, D),
  v: normal(D, D),
  o: normal(D, D),
}))
const split = (t: Tensor): Tensor => transpose(reshape(t, [t.shape[0], -1, H, D / H]), [0, 2, 1, 3]) // [batch, head, position, dHead]

/** Attention-only, L blocks. */
function model(x0: Tensor): Tensor {
  let x = x0
  weights.forEach((w, i) =>
    scope(`blocks.${i}`, () => {
      x = tap('resid_pre', x)
      const attnOut = scope('attn', () => {
        const q = tap('q', split(matmul(x, w.q)))
        const k = tap('k', split(matmul(x, w.k)))
        const v = tap('v', split(matmul(x, w.v)))
        const z = tap('z', attention(q, k, v, { causal: true }).z)
        return tap('attn_out', matmul(reshape(transpose(z, [0, 2, 1, 3]), [z.shape[0], -1, D]), w.o))
      })
      x = tap('resid_post', add(x, attnOut))
    }),
  )
  return tap('logits', layerNorm(x))
}
const x = normal(1, 5, D)
const flat = async (t: Tensor): Promise<number[]> => Array.from((await t.data()) as Float64Array)
const near = (a: number[], b: number[], tolerance = 1e-12): void => {
  expect(a.length).toBe(b.length)
  a.forEach((v, i) =>
    expect(Math.abs(v - b[i]), `element ${i}: ${v} against ${b[i]}`).toBeLessThanOrEqual(tolerance),
  )
}

beforeEach(() => setBackend(reference({ precision: 'f64' })))

describe('keep and get', () => {
  it('names every tap in the order of the computation', async () => {
    const run = await trace(model, x)
    expect(run.names().slice(0, 9)).toEqual([
      'blocks.0.resid_pre',
      'blocks.0.attn.q',
      'blocks.0.attn.k',
      'blocks.0.attn.v',
      'blocks.0.attn.scores',
      'blocks.0.attn.pattern',
      'blocks.0.attn.z',
      'blocks.0.attn_out',
      'blocks.0.resid_post',
    ])
    expect(run.names().at(-1)).toBe('logits')
  })
  it('a kept pattern is lazy, equals softmax of the scores, and its rows are the whole one cut', async () => {
    const run = await trace(model, x, { keep: ['blocks.*.attn.pattern'] })
    const pattern = run.get('blocks.1.attn.pattern')
    expect(pattern.shape).toEqual([1, H, 5, 5])
    expect(pattern.value).toBeNull()
    // what it derives from was realized by the run
    expect(run.get('blocks.1.attn.q').value).not.toBeNull()
    expect(run.get('blocks.1.attn.k').value).not.toBeNull()
    near(await flat(pattern), await flat(softmax(run.get('blocks.1.attn.scores'))))
    const whole = (await pattern.array()) as number[][][][]
    near(await flat(run.get('blocks.1.attn.pattern', { head: 1, query: -2 })), whole[0][1][3])
    near(await flat(run.get('blocks.1.attn.pattern', { query: 0 })), [...whole[0][0][0], ...whole[0][1][0]])
    // causal: nothing above the diagonal
    whole[0].forEach((h) =>
      h.forEach((row, i) =>
        row.forEach((p, j) => (j > i ? expect(p).toBe(0) : expect(p).toBeGreaterThan(0))),
      ),
    )
  })
  it('scores show −∞ where nothing is allowed', async () => {
    const run = await trace(model, x)
    const scores = (await run.get('blocks.0.attn.scores').array()) as number[][][][]
    expect(scores[0][0][1][2]).toBe(Number.NEGATIVE_INFINITY)
    expect(Number.isFinite(scores[0][0][2][1])).toBe(true)
  })
  it('a slice for looking refuses a gradient and names the whole', async () => {
    const run = await trace(model, x)
    const row = run.get('blocks.0.attn.pattern', { head: 0 })
    expect(() => grad(sum(row), [row])).toThrow("run.get('blocks.0.attn.pattern')")
    const head = run.get('blocks.0.attn.z', { head: 0 })
    expect(() => grad(sum(head), [head])).toThrow("run.get('blocks.0.attn.z')")
  })
  it('keeps everything with all', async () => {
    const run = await trace(model, x, { keep: 'all' })
    expect(run.get('blocks.2.resid_post').value).not.toBeNull()
  })
  it("accepts TransformerLens's spelling and refuses what means something else", async () => {
    const run = await trace(model, x)
    expect(run.get('blocks.0.attn.hook_pattern')).toBe(run.get('blocks.0.attn.pattern'))
    expect(canonicalTap('blocks.*.hook_resid_pre')).toBe('blocks.*.resid_pre')
    expect(() => run.get('blocks.0.ln1.hook_normalized')).toThrow(
      "it is x/σ before gain and bias; 'ln1' here is the norm's output",
    )
    expect(() => canonicalTap('blocks.0.hook_mystery')).toThrow('no TransformerLens name')
  })
  it('names the nearest taps for what never fired', async () => {
    const run = await trace(model, x)
    // @ts-expect-error the type says it too: attn has no 'patern'
    expect(() => run.get('blocks.0.attn.patern')).toThrow(
      "no tap 'blocks.0.attn.patern' fired; nearest: blocks.0.attn.pattern",
    )
    await expect(trace(model, x, { keep: ['blocks.*.attn.zz'] })).rejects.toThrow(
      "keep 'blocks.*.attn.zz' matches no tap; nearest: ",
    )
    expect(() => run.get('blocks.0.attn.pattern', { head: 2 })).toThrow('head 2 of 2; they run from 0 to 1')
    // @ts-expect-error a block has no 'resid_past'
    expect(() => run.get('blocks.0.resid_past')).toThrow('nearest: blocks.0.resid_post')
    await expect(trace(model, x, { kep: [] } as never)).rejects.toThrow(
      "option 'kep' is unknown; use one of keep, edit",
    )
  })
})

describe('gradients at taps', () => {
  it('at pattern and scores they equal central differences of edits, forward stays fused', async () => {
    const run = await trace(model, x)
    const loss = sum(mul(run.output, run.output))
    const weighted = sum(mul(run.output, broadcastTo(iota(D), run.output.shape)))
    for (const name of [
      'blocks.0.attn.pattern',
      'blocks.1.attn.scores',
      'blocks.1.attn.z',
      'blocks.2.resid_pre',
    ] as const) {
      const at = run.get(name)
      const [g] = grad(add(loss, weighted), [at])
      expect(g.shape).toEqual(at.shape)
      const got = await flat(g)
      for (const i of [1, Math.floor(at.size / 2), at.size - 2]) {
        const value = async (step: number): Promise<number> => {
          const r = await trace(model, x, {
            edit: {
              [name]: (t: Tensor) =>
                add(t, mul(reshape(where(equal(iota(t.size, { dtype: 'i32' }), i), 1, 0), t.shape), step)),
            },
          })
          return (
            (await sum(mul(r.output, r.output)).item()) +
            (await sum(mul(r.output, broadcastTo(iota(D), r.output.shape))).item())
          )
        }
        const eps = 1e-6
        const want = ((await value(eps)) - (await value(-eps))) / (2 * eps)
        // where nothing is allowed −∞ + ε is −∞: no gradient
        const expected = Number.isNaN(want) ? 0 : want
        expect(
          Math.abs(got[i] - expected),
          `${name}[${i}]: ${got[i]} against ${expected}`,
        ).toBeLessThanOrEqual(1e-6 * (1 + Math.abs(expected)))
      }
    }
    // one composite was opened in the reverse walk; in the forward pass none
    const report = run.report as NonNullable<typeof run.report>
    expect(report.inlined.find((r) => r.op === 'attention')?.count).toBe(L)
  })
})

describe('edits', () => {
  it('scaling by 1 changes nothing, scaling a head by 0 changes what comes after it only', async () => {
    const plain = await trace(model, x)
    const same = await trace(model, x, { edit: [{ at: 'blocks.1.attn.z', head: 1, op: 'scale', value: 1 }] })
    near(await flat(same.output), await flat(plain.output), 0)
    const cut = await trace(model, x, { edit: [{ at: 'blocks.1.attn.z', head: 1, op: 'scale', value: 0 }] })
    near(await flat(cut.get('blocks.1.resid_pre')), await flat(plain.get('blocks.1.resid_pre')), 0)
    const z = (await cut.get('blocks.1.attn.z').array()) as number[][][][]
    const before = (await cut.before('blocks.1.attn.z').array()) as number[][][][]
    expect(z[0][1].flat().every((v) => v === 0)).toBe(true)
    expect(z[0][0]).toEqual(before[0][0])
    expect(Math.max(...(await flat(cut.output)).map(Math.abs))).not.toBe(
      Math.max(...(await flat(plain.output)).map(Math.abs)),
    )
  })
  it('reach every reader of the value', async () => {
    // a change of resid_pre moves q, k, v and the skip path alike: the block computes what it computes of the new input
    const other = normal(1, 5, D)
    const run = await trace(model, x, { edit: { 'blocks.0.resid_pre': () => other } })
    near(await flat(run.output), await flat((await trace(model, other)).output), 0)
  })
  it('inside a room open that one composite', async () => {
    const uniform = (t: Tensor): Tensor => broadcastTo(tensor(0.2), t.shape)
    const run = await trace(model, x, { edit: { 'blocks.0.attn.pattern': uniform } })
    const z = (await run.get('blocks.0.attn.z').array()) as number[][][][]
    const v = (await run.get('blocks.0.attn.v').array()) as number[][][][]
    const mean = v[0][1][0].map((_, d) => v[0][1].reduce((s, row) => s + row[d] / 5, 0))
    near(z[0][1][3], mean)
  })
  it('select positions and keys, add, set and project', async () => {
    const plain = await trace(model, x)
    const run = await trace(model, x, {
      edit: [
        { at: 'blocks.0.resid_post', pos: 'last', op: 'set', value: 3 },
        { at: 'blocks.1.attn.pattern', head: 0, pos: [2], key: [0], op: 'add', value: 0.5 },
        {
          at: 'blocks.2.resid_pre',
          pos: -2,
          op: 'project',
          value: [3, ...Array.from({ length: D - 1 }, () => 0)],
        },
      ],
    })
    const post = (await run.get('blocks.0.resid_post').array()) as number[][][]
    expect(post[0][4]).toEqual(Array.from({ length: D }, () => 3))
    near(post[0][3], ((await plain.get('blocks.0.resid_post').array()) as number[][][])[0][3], 0)
    const p = (await run.get('blocks.1.attn.pattern').array()) as number[][][][]
    const q = (await run.before('blocks.1.attn.pattern').array()) as number[][][][]
    expect(p[0][0][2][0] - q[0][0][2][0]).toBeCloseTo(0.5, 12)
    expect(p[0][1]).toEqual(q[0][1])
    expect(p[0][0][2][1]).toBe(q[0][0][2][1])
    const pre = (await run.get('blocks.2.resid_pre').array()) as number[][][]
    expect(pre[0][3][0]).toBeCloseTo(0, 12)
    expect(pre[0][3][1]).toBe(((await run.before('blocks.2.resid_pre').array()) as number[][][])[0][3][1])
  })
  it('leave masked scores masked, unless they are set', async () => {
    const at = 'blocks.0.attn.scores'
    const patternOf = async (edit: JsonEdit): Promise<number[][]> => {
      const run = await trace(model, x, { edit: [edit] })
      return ((await run.get('blocks.0.attn.pattern').array()) as number[][][][])[0][0]
    }
    const even = await patternOf({ at, op: 'scale', value: 0 })
    for (const [q, row] of even.entries())
      near(
        row,
        row.map((_, k) => (k <= q ? 1 / (q + 1) : 0)),
        1e-12,
      )
    for (const edit of [
      { at, op: 'scale', value: -1 },
      { at, op: 'project', value: [1, 1, 0, 0, 0] },
    ] as const)
      expect((await patternOf(edit)).map((row) => row.map((p) => p > 0))).toEqual(
        even.map((row) => row.map((p) => p > 0)),
      )
    expect((await patternOf({ at, op: 'set', value: 0 }))[0][4]).toBeCloseTo(0.2, 12)
  })
  it('of many worlds run in one pass and equal the single ones', async () => {
    const clean = await trace(model, normal(1, 5, D))
    const worlds = iota(H * 5, { dtype: 'i32' })
    const at = (n: number, stride: number, size: number) => {
      const index = tensor(
        Int32Array.from({ length: H * 5 }, (_, w) => Math.floor(w / stride) % size),
        { shape: [H * 5, 1, 1, 1], dtype: 'i32' },
      )
      return equal(index, reshape(iota(size, { dtype: 'i32' }), n === 1 ? [1, size, 1, 1] : [1, 1, size, 1]))
    }
    expect(worlds.size).toBe(10)
    const mask = logicalAnd(at(1, 5, H), at(2, 1, 5))
    const swept = await trace(model, x, {
      edit: { 'blocks.1.attn.z': (z) => where(mask, clean.get('blocks.1.attn.z'), z) },
    })
    expect(swept.output.shape).toEqual([H * 5, 5, D])
    const all = (await swept.output.array()) as number[][][]
    for (const [head, position] of [
      [0, 0],
      [1, 3],
    ]) {
      const one = await trace(model, x, {
        edit: {
          'blocks.1.attn.z': (z) =>
            where(
              logicalAnd(
                equal(reshape(iota(H, { dtype: 'i32' }), [1, H, 1, 1]), head),
                equal(reshape(iota(5, { dtype: 'i32' }), [1, 1, 5, 1]), position),
              ),
              clean.get('blocks.1.attn.z'),
              z,
            ),
        },
      })
      near(all[head * 5 + position].flat(), await flat(one.output), 1e-12)
    }
    // what comes before the edit is shared: computed for one world
    expect(swept.get('blocks.0.resid_post').shape[0]).toBe(1)
  })
  it('are refused when they cannot work', async () => {
    const edit = (e: unknown) => trace(model, x, { edit: e as never })
    await expect(edit({ 'blocks.0.attn.z': () => undefined })).rejects.toThrow(
      'edit at blocks.0.attn.z: returned nothing, expected a tensor',
    )
    await expect(edit({ 'blocks.0.attn.z': (z: Tensor) => sum(z) })).rejects.toThrow(
      'returned [], expected [1, 2, 5, 8]',
    )
    await expect(edit({ 'blocks.7.attn.z': (z: Tensor) => z })).rejects.toThrow(
      "edit 'blocks.7.attn.z' never fired; nearest: ",
    )
    await expect(edit([{ at: 'blocks.0.attn.z', head: 2, op: 'scale', value: 0 }])).rejects.toThrow(
      'head 2 of 2; they run from 0 to 1',
    )
    await expect(edit([{ at: 'blocks.0.resid_pre', head: 0, op: 'scale', value: 0 }])).rejects.toThrow(
      'has no head axis',
    )
    await expect(edit([{ at: 'blocks.0.resid_pre', op: 'scael', value: 0 }])).rejects.toThrow(
      "op 'scael' is unknown; use scale, add, set, project",
    )
    await expect(edit([{ at: 'blocks.0.resid_pre', op: 'scale', value: 0, heads: 1 }])).rejects.toThrow(
      "option 'heads' is unknown",
    )
    await expect(edit([{ at: 'blocks.0.resid_pre', op: 'set', value: [1, 2] }])).rejects.toThrow(
      'value has 2 numbers, the last axis of [1, 5, 16] has 16',
    )
    await expect(trace((async () => x) as never, x)).rejects.toThrow('the model is async')
  })
})

describe('where a run runs', () => {
  const partial = (missing: readonly string[]) =>
    kernelBackend({
      name: 'partial',
      memory: hostMemory('f32'),
      kernels: Object.fromEntries(
        Object.entries(referenceKernels).filter(([name]) => !missing.includes(name)),
      ),
    })
  it('a primitive that the backend lacks goes to the reference kernels for its segment, and is reported', async () => {
    const backend = partial(['exp', 'sum'])
    const y = softmax(matmul(x, transpose(x, [0, 2, 1])))
    const want = await flat(y)
    const again = softmax(matmul(x, transpose(x, [0, 2, 1])))
    const report = await realize([again, x], { backend })
    expect(report.segments).toBeGreaterThan(1)
    expect(report.ran.find((r) => r.op === 'exp')?.how).toBe('reference')
    near(await flat(again), want, 1e-6)
  })
  it('with strict it is an error that says so', async () => {
    await expect(
      realize([softmax(matmul(x, transpose(x, [0, 2, 1])))], { backend: partial(['exp']), strict: true }),
    ).rejects.toThrow(UnsupportedOpError)
    await expect(realize([softmax(add(x, 1))], { backend: partial(['exp']), strict: true })).rejects.toThrow(
      'partial has no kernel for exp',
    )
  })
  it('an output that is an input, a view or given twice owns its data', async () => {
    const a = tensor([
      [1, 2],
      [3, 4],
    ])
    const b = add(a, 1)
    const views = [transpose(b), reshape(b, [4]), b, concat([b, b])]
    await realize(views)
    near(await flat(views[0]), [2, 4, 3, 5])
    near(await flat(views[1]), [2, 3, 4, 5])
    near(await flat(views[2]), [2, 3, 4, 5])
  })
  it('pick takes the first that works and says why the others do not', async () => {
    const winner = await pick([Promise.reject(new Error('no WebGPU here')), reference()])
    expect(winner.name).toBe('reference')
    expect(winner.refused).toEqual([{ index: 0, reason: 'no WebGPU here' }])
    setBackend(winner)
    expect(await add(tensor(1), 2).item()).toBe(3)
    await expect(pick([Promise.reject(new Error('a')), Promise.reject(new Error('b'))])).rejects.toThrow(
      'every backend refused: a; b',
    )
  })
  it('moves values between backends', async () => {
    const one = reference()
    const two = reference()
    const a = add(tensor([1, 2, 3]), 1)
    await realize([a], { backend: one })
    const b = mul(a, 2)
    await realize([b], { backend: two })
    near(await flat(b), [4, 6, 8])
  })
})

it('says what was meant by natural slips', async () => {
  const run = await trace(model, x)
  expect(() => run.get('blocks.1.attn.pattern', { heads: 1 } as never)).toThrow(
    "get('blocks.1.attn.pattern'): option 'heads' is unknown; use one of head, query",
  )
  expect(() => grad(sum(run.get('logits')), ['blocks.1.attn.z' as never])).toThrow(
    "grad: 'blocks.1.attn.z' is no tensor; pass values, such as run.get('blocks.1.attn.z')",
  )
  await expect(
    trace(model, x, { edit: { at: 'blocks.1.attn.z', op: 'scale', value: 0 } as never }),
  ).rejects.toThrow(/edit at at: .* got string; edits as data come in a list/)
  expect(() => parameters(Promise.resolve(model) as never)).toThrow(/got a promise: await it/)
})
