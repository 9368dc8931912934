import { layerNorm, mlp, module, rmsNorm } from '@heed/nn'
import {
  add,
  broadcastTo,
  concat,
  grad,
  type HasParts,
  iota,
  less,
  matmul,
  mul,
  parameters,
  planCount,
  randomKey,
  randomNormal,
  realize,
  reference,
  reshape,
  rmsNorm as rmsNormOp,
  setBackend,
  setParameters,
  sliceAxis,
  softmax,
  sub,
  sum,
  swapLast,
  type Tensor,
  tensor,
  trace,
  traceLazy,
  transpose,
} from '@heed/tensor'
import fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import {
  alibi,
  attention,
  causal,
  crossAttention,
  learnedPositions,
  makeCache,
  multiHeadAttention,
  padding,
  postNormBlock,
  preNormBlock,
  rope,
  slidingWindow,
  splitHeads,
  stack,
  t5Bias,
} from './index.js'

beforeAll(() => setBackend(reference({ precision: 'f64' })))

const key = randomKey(3)
const random = (shape: number[], seed = 1): Tensor => randomNormal(randomKey(seed), shape)
async function expectClose(a: Tensor, b: Tensor, tolerance = 1e-9): Promise<void> {
  expect(a.shape).toEqual(b.shape)
  const [x, y] = [await a.data(), await b.data()]
  let worst = 0
  x.forEach((v, i) => {
    worst = Math.max(worst, Math.abs(Number(v) - Number(y[i])))
  })
  expect(worst).toBeLessThan(tolerance)
}
const numbers = async (t: Tensor): Promise<number[]> => Array.from((await t.data()) as Float32Array, Number)
/** Biases begin at zero: tests give every parameter a value that matters. */
function scramble<M extends HasParts>(m: M): M {
  const values = new Map<string, Tensor>()
  let seed = 100
  for (const [path, p] of parameters(m)) values.set(path, mul(randomNormal(randomKey(seed++), p.shape), 0.5))
  setParameters(m, values)
  return m
}
const P = (m: HasParts, path: string): Tensor => parameters(m).get(path) as Tensor

describe('attention', () => {
  it('is the formula: project, split, softmax(q kᵀ/√d) v, merge, project', async () => {
    const layer = scramble(attention({ dModel: 6, nHead: 2, mask: causal() }))
    const x = random([2, 4, 6])
    const heads = (name: string): Tensor =>
      splitHeads(add(matmul(x, P(layer, `w_${name}`)), P(layer, `b_${name}`)), 2)
    const scores = mul(matmul(heads('q'), swapLast(heads('k'))), 1 / Math.sqrt(3))
    const seen = less(
      reshape(iota(4, { dtype: 'i32' }), [1, 4]),
      add(reshape(iota(4, { dtype: 'i32' }), [4, 1]), 1),
    )
    const z = matmul(softmax(scores, { mask: seen }), heads('v'))
    const merged = reshape(transpose(z, [0, 2, 1, 3]), [2, 4, 6])
    await expectClose(layer(x), add(matmul(merged, P(layer, 'w_o')), P(layer, 'b_o')))
  })

  it('names parameters and taps, inside a block and alone', () => {
    const layer = attention({
      dModel: 8,
      nHead: 4,
      nKvHead: 2,
      position: rope(),
      qkNorm: (d) => rmsNorm({ dModel: d }),
    })
    expect([...parameters(layer)].map(([n, t]) => `${n} ${t.shape.join('×')}`)).toEqual([
      'w_q 8×8',
      'b_q 8',
      'w_k 8×4',
      'b_k 4',
      'w_v 8×4',
      'b_v 4',
      'w_o 8×8',
      'b_o 8',
      'q_norm.w 2',
      'k_norm.w 2',
    ])
    const run = traceLazy((x: Tensor) => layer(x), random([1, 3, 8]))
    for (const name of ['q', 'k', 'v', 'q_norm', 'rot_q', 'rot_k', 'scores', 'pattern', 'z', 'result'])
      expect(run.has(name), name).toBe(true)
    expect(run.get('q').shape).toEqual([1, 4, 3, 2])
    expect(run.get('rot_k').shape).toEqual([1, 2, 3, 2])
    expect(run.get('pattern').shape).toEqual([1, 4, 3, 3])
    expect(run.get('result').shape).toEqual([1, 4, 3, 8])
    expect([...parameters(attention({ dModel: 4, nHead: 2, bias: false })).keys()]).toEqual([
      'w_q',
      'w_k',
      'w_v',
      'w_o',
    ])
    expect(parameters(attention({ dModel: 4, nHead: 2, bias: 'qkv' })).has('b_o')).toBe(false)
  })

  it('with fewer key heads equals all heads with repeated keys and values', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(1, 2),
        fc.integer({ min: 1, max: 3 }),
        fc.integer({ min: 1, max: 5 }),
        async (nKvHead, per, n) => {
          const [dHead, nHead] = [4, nKvHead * per]
          const dModel = 6
          const o = { dModel, nHead, dHead, mask: causal(), position: rope() }
          const few = scramble(attention({ ...o, nKvHead }))
          const all = attention(o)
          const wide = (t: Tensor): Tensor => {
            const groups = Array.from({ length: nKvHead }, (_, g) =>
              sliceAxis(t, t.rank - 1, g * dHead, (g + 1) * dHead),
            )
            return concat(
              groups.flatMap((g) => Array.from({ length: per }, () => g)),
              t.rank - 1,
            )
          }
          for (const [path, p] of parameters(few))
            setParameters(all, { [path]: /_[kv]$/.test(path) ? wide(p) : p })
          const x = random([2, n, dModel], 5)
          await expectClose(all(x), few(x))
        },
      ),
      { numRuns: 12, seed: 11 },
    )
  })

  it('shows result beside the path: its sum over heads plus the bias is the output', async () => {
    const layer = scramble(attention({ dModel: 6, nHead: 3 }))
    const run = traceLazy((x: Tensor) => layer(x), random([2, 4, 6]))
    await expectClose(add(sum(run.get('result'), { axes: 1 }), P(layer, 'b_o')), run.output)
    const half = await trace((x: Tensor) => layer(x), random([2, 4, 6]), {
      edit: { result: (r) => mul(r, 0.5) },
    })
    await expectClose(half.output, add(mul(sub(run.output, P(layer, 'b_o')), 0.5), P(layer, 'b_o')))
  })

  it('lets edits and gradients reach every room', async () => {
    const block = scramble(
      preNormBlock({
        norm: () => layerNorm({ dModel: 8 }),
        attn: attention({ dModel: 8, nHead: 2, mask: causal(), position: rope() }),
        mlp: mlp({ dModel: 8, dMlp: 8 }),
      }),
    )
    const model = stack({ blocks: [block] })
    const x = random([1, 4, 8])
    const clean = await trace((t: Tensor) => model(t), x)
    const all = [
      'resid_pre',
      'ln1',
      'attn_out',
      'resid_mid',
      'ln2',
      'mlp_pre',
      'mlp_post',
      'mlp_out',
      'resid_post',
    ]
    const inner = ['q', 'k', 'v', 'rot_q', 'rot_k', 'scores', 'pattern', 'z', 'result']
    const names = [...all.map((n) => `blocks.0.${n}`), ...inner.map((n) => `blocks.0.attn.${n}`)]
    for (const name of names) {
      const run = traceLazy((t: Tensor) => model(t), x, { edit: { [name]: (t) => mul(t, 0.5) } })
      const moved = await sum(mul(sub(run.output, clean.output), sub(run.output, clean.output))).item()
      expect(moved, name).toBeGreaterThan(1e-6)
    }
    const loss = sum(mul(clean.output, random([1, 4, 8], 9)))
    for (const name of names) {
      const [g] = grad(loss, [clean.get(name)])
      expect(g.shape, name).toEqual(clean.get(name).shape)
      expect(Math.max(...(await numbers(g)).map(Math.abs)), name).toBeGreaterThan(1e-4)
    }
  })

  it('gradient at the pattern is the directional derivative of an edit', async () => {
    const layer = scramble(attention({ dModel: 4, nHead: 2, mask: causal() }))
    const x = random([1, 3, 4])
    const run = traceLazy((t: Tensor) => layer(t), x)
    const seed = random([1, 3, 4], 8)
    const [g] = grad(sum(mul(run.output, seed)), [run.get('pattern')])
    const direction = random([1, 2, 3, 3], 6)
    // the output is linear in the pattern: one difference is exact
    const moved = traceLazy((t: Tensor) => layer(t), x, { edit: { pattern: (p) => add(p, direction) } })
    await expectClose(sum(mul(g, direction)), sub(sum(mul(moved.output, seed)), sum(mul(run.output, seed))))
  })

  it('carries worlds: an edit may enlarge the batch from 1', async () => {
    const block = scramble(
      preNormBlock({
        norm: () => layerNorm({ dModel: 8 }),
        attn: attention({ dModel: 8, nHead: 2, mask: causal(), position: rope() }),
        mlp: mlp({ dModel: 8 }),
      }),
    )
    const model = stack({
      blocks: [
        block,
        scramble(
          preNormBlock({
            norm: () => layerNorm({ dModel: 8 }),
            attn: attention({ dModel: 8, nHead: 4, position: alibi() }),
            mlp: mlp({ dModel: 8 }),
          }),
        ),
      ],
    })
    const x = random([1, 4, 8])
    for (const name of ['q', 'rot_k', 'v', 'z', 'result', 'pattern']) {
      const at = `blocks.0.attn.${name}`
      const scales = reshape(tensor([1, 0, 2]), [3, 1, 1, 1])
      const worlds = traceLazy((t: Tensor) => model(t), x, { edit: { [at]: (t) => mul(t, scales) } })
      expect(worlds.output.shape).toEqual([3, 4, 8])
      const zero = traceLazy((t: Tensor) => model(t), x, { edit: { [at]: (t) => mul(t, 0) } })
      await expectClose(sliceAxis(worlds.output, 0, 1, 2), zero.output)
      await expectClose(sliceAxis(worlds.output, 0, 0, 1), model(x))
    }
  })

  it('combines its mask with ctx.mask, and hides padding', async () => {
    const layer = scramble(attention({ dModel: 4, nHead: 2, mask: causal() }))
    const x = random([2, 5, 4])
    const keep = tensor([
      [true, true, true, false, false],
      [true, true, true, true, true],
    ])
    const y = layer(x, { mask: padding(keep) })
    await expectClose(
      sliceAxis(sliceAxis(y, 0, 0, 1), 1, 0, 3),
      layer(sliceAxis(sliceAxis(x, 0, 0, 1), 1, 0, 3)),
    )
    await expectClose(sliceAxis(y, 0, 1, 2), layer(sliceAxis(x, 0, 1, 2)))
    await expectClose(layer(x, { mask: padding(tensor([3, 5], { dtype: 'i32' }), 5) }), y)
  })

  it('attends over a memory of another width, with its own mask', async () => {
    const layer = scramble(crossAttention({ dModel: 4, nHead: 2, dMemory: 6 }))
    const [x, memory] = [random([2, 3, 4]), random([2, 5, 6], 2)]
    expect(layer(x, memory).shape).toEqual([2, 3, 4])
    const short = layer(x, sliceAxis(memory, 1, 0, 2))
    const lengths = tensor([2, 2], { dtype: 'i32' })
    await expectClose(layer(x, memory, { memoryMask: padding(lengths, 5) }), short)
    expect(() => layer(x, undefined as never)).toThrow(/needs a memory/)
  })

  it('turns queries and keys by the positions it is given', async () => {
    const o = { dModel: 4, nHead: 2, mask: causal() }
    const layer = scramble(attention({ ...o, position: rope() }))
    const x = random([2, 3, 4])
    const at = (v: number[]): Tensor => tensor(v, { dtype: 'i32' })
    const y = layer(x)
    // only distances count …
    await expectClose(layer(x, { positions: at([5, 6, 7]) }), y)
    // … and twice the distance is half the scaling
    const wide = attention({ ...o, position: rope({ scaling: { type: 'linear', factor: 0.5 } }) })
    setParameters(wide, parameters(layer))
    const doubled = layer(x, { positions: at([0, 2, 4]) })
    await expectClose(doubled, wide(x))
    expect(await sum(mul(sub(doubled, y), sub(doubled, y))).item()).toBeGreaterThan(1e-4)
  })

  it('normalises queries and keys before they turn', async () => {
    const layer = scramble(attention({ dModel: 4, nHead: 2, qkNorm: (d) => rmsNorm({ dModel: d }) }))
    const run = traceLazy((t: Tensor) => layer(t), random([1, 3, 4]))
    const [q, k] = [
      rmsNormOp(run.get('q'), P(layer, 'q_norm.w')),
      rmsNormOp(run.get('k'), P(layer, 'k_norm.w')),
    ]
    await expectClose(run.get('scores'), mul(matmul(q, swapLast(k)), 1 / Math.sqrt(2)))
  })

  it('keeps a learned key and value more in sight of everybody', async () => {
    const layer = scramble(multiHeadAttention({ dModel: 4, nHead: 2, extraKey: true }))
    const x = random([1, 3, 4])
    const nobody = tensor(new Uint8Array(9), { shape: [3, 3], dtype: 'bool' })
    const run = traceLazy(() => layer(x, x, x, { mask: nobody }), null)
    expect(await run.get('pattern').array()).toEqual([Array(2).fill(Array(3).fill([0, 0, 0, 1]))])
    const written = add(matmul(reshape(P(layer, 'v_extra'), [1, 4]), P(layer, 'w_o')), P(layer, 'b_o'))
    await expectClose(run.output, broadcastTo(written, [1, 3, 4]))
  })

  it('scales and caps scores as it is told', async () => {
    const x = random([1, 3, 4])
    const plain = scramble(attention({ dModel: 4, nHead: 2 }))
    const run = traceLazy((t: Tensor) => plain(t), x)
    const raw = matmul(run.get('q'), swapLast(run.get('k')))
    for (const [options, f] of [
      [{}, (s: Tensor) => mul(s, 1 / Math.sqrt(2))],
      [{ scale: 3 }, (s: Tensor) => mul(s, 3)],
    ] as const) {
      const layer = attention({ dModel: 4, nHead: 2, ...options })
      setParameters(layer, parameters(plain))
      await expectClose(traceLazy((t: Tensor) => layer(t), x).get('scores'), f(raw))
    }
    const capped = attention({ dModel: 4, nHead: 2, softcap: 0.5 })
    setParameters(capped, parameters(plain))
    const top = await numbers(traceLazy((t: Tensor) => capped(t), x).get('scores'))
    expect(Math.max(...top.map(Math.abs))).toBeLessThan(0.5)
  })

  it('refuses what does not fit, naming it', () => {
    expect(() => attention({ dModel: 10, nHead: 3 })).toThrow(/dModel 10 does not divide into 3 heads/)
    expect(() => attention({ dModel: 12, nHead: 4, nKvHead: 3 })).toThrow(/no multiple of 3/)
    expect(() => attention({ dModel: 12, nHead: 4, heads: 4 } as never)).toThrow(/'heads' is unknown/)
    expect(() => attention({ dModel: 12, nHead: 4 })(random([1, 3, 8]))).toThrow(/last axis of x is 8/)
    const block = module(
      { blocks: [module({ attn: attention({ dModel: 4, nHead: 2 }) }, (m, x) => m.attn(x))] },
      (m, x) => m.blocks[0](x),
    )
    expect(() => block(random([1, 3, 5]))).toThrow(/blocks\.0\.attn: linear/)
  })
})

describe('blocks', () => {
  it('post-norm: sums are tapped before the norm, the norm goes on', async () => {
    const block = scramble(
      postNormBlock({
        norm: () => layerNorm({ dModel: 4 }),
        attn: attention({ dModel: 4, nHead: 2 }),
        mlp: mlp({ dModel: 4 }),
      }),
    )
    const run = traceLazy((t: Tensor) => block(t), random([1, 3, 4]))
    await expectClose(run.get('resid_mid'), add(run.get('resid_pre'), run.get('attn_out')))
    await expectClose(run.get('resid_post'), add(run.get('ln1'), run.get('mlp_out')))
    await expectClose(run.output, run.get('ln2'))
  })

  it('drops only when a key is given, differently in each place', async () => {
    const block = scramble(
      preNormBlock({
        norm: () => layerNorm({ dModel: 4 }),
        attn: attention({ dModel: 4, nHead: 2 }),
        mlp: mlp({ dModel: 4 }),
        dropout: 0.5,
      }),
    )
    const model = stack({ blocks: [block] })
    const x = random([1, 6, 4])
    await expectClose(model(x), model(x, { key: null }))
    const run = traceLazy((t: Tensor) => model(t, { key }), x)
    const written = async (from: Tensor, to: Tensor): Promise<boolean[]> =>
      (await numbers(sub(to, from))).map((v) => v !== 0)
    const first = await written(run.get('blocks.0.resid_pre'), run.get('blocks.0.resid_mid'))
    const second = await written(run.get('blocks.0.resid_mid'), run.get('blocks.0.resid_post'))
    expect(first).toContain(false)
    expect(first).toContain(true)
    expect(first).not.toEqual(second)
  })

  it('asks for the memory it reads', () => {
    const block = preNormBlock({
      norm: () => layerNorm({ dModel: 4 }),
      attn: attention({ dModel: 4, nHead: 2 }),
      crossAttn: crossAttention({ dModel: 4, nHead: 2 }),
      mlp: mlp({ dModel: 4 }),
    })
    expect(() => block(random([1, 2, 4]))).toThrow(/give ctx.memory/)
    const run = traceLazy((t: Tensor) => block(t, { memory: random([1, 3, 4], 2) }), random([1, 2, 4]))
    expect(run.names()).toEqual(
      expect.arrayContaining(['cross_attn.pattern', 'cross_attn_out', 'resid_cross', 'ln_cross']),
    )
  })
})

describe('cache', () => {
  const dModel = 8
  const variants = {
    'causal with rope': { mask: causal(), position: rope() },
    'grouped heads, interleaved rope, window': {
      nKvHead: 2,
      mask: slidingWindow(3),
      position: rope({ layout: 'interleaved' as const, rotaryDim: 2 }),
    },
    alibi: { mask: causal(), position: alibi() },
    't5 bias': {
      mask: causal(),
      scale: 1,
      position: t5Bias({ nHead: 4, numBuckets: 6, maxDistance: 5, bidirectional: false }),
    },
  }
  for (const [name, o] of Object.entries(variants))
    it(`decodes step by step as the whole at once: ${name}`, async () => {
      const block = () =>
        preNormBlock({
          norm: () => layerNorm({ dModel }),
          attn: attention({ dModel, nHead: 4, ...o }),
          mlp: mlp({ dModel }),
        })
      const body = scramble(stack({ blocks: [block(), block()] }))
      const places = learnedPositions({ nCtx: 16, dModel })
      const model = (x: Tensor, ctx = {}): Tensor => body(add(x, places(x, ctx)), ctx)
      const x = random([2, 9, dModel])
      const full = model(x)
      await realize([full])
      const nKvHead = 'nKvHead' in o ? o.nKvHead : 4
      const cache = makeCache({ layers: 2, batch: 2, nKvHead, capacity: 12, dHead: 2 })
      // a prompt of several positions, then one at a time, then two
      for (const [from, to] of [
        [0, 4],
        [4, 5],
        [5, 6],
        [6, 7],
        [7, 9],
      ]) {
        const y = model(sliceAxis(x, 1, from, to), { cache, offset: cache.offset() })
        await cache.advance([y])
        await expectClose(y, sliceAxis(full, 1, from, to))
      }
      expect(cache.length).toBe(9)
      expect(cache.layers.map((l) => l.path)).toEqual(['blocks.0.attn', 'blocks.1.attn'])
    })

  it('hides what is not filled, without causal too', async () => {
    const layer = scramble(attention({ dModel, nHead: 2 }))
    const x = random([1, 4, dModel])
    const cache = makeCache({ layers: 1, batch: 1, nKvHead: 2, capacity: 7, dHead: 4 })
    await cache.advance([layer(sliceAxis(x, 1, 0, 3), { cache, offset: cache.offset() })])
    const y = layer(sliceAxis(x, 1, 3, 4), { cache, offset: cache.offset() })
    await expectClose(y, sliceAxis(layer(x), 1, 3, 4))
  })

  it('holds the keys after they turned, gives old buffers away and keeps one plan', async () => {
    const layer = scramble(attention({ dModel, nHead: 2, mask: causal(), position: rope() }))
    const cache = makeCache({ layers: 1, batch: 1, nKvHead: 2, capacity: 8, dHead: 4 })
    const x = random([1, 8, dModel])
    const run = traceLazy((t: Tensor) => layer(t), x)
    const before = cache.layers[0].k
    const steps = Array.from({ length: 8 }, (_, i) => sliceAxis(x, 1, i, i + 1))
    await realize(steps)
    const plans = planCount()
    for (const step of steps) await cache.advance([layer(step, { cache, offset: cache.offset() })])
    expect(planCount() - plans).toBe(1)
    await expectClose(cache.layers[0].k, run.get('rot_k'))
    await expectClose(cache.layers[0].v, run.get('v'))
    // no history behind what is kept
    for (const { k, v } of cache.layers) expect([k.node.inputs, v.node.inputs]).toEqual([[], []])
    await expect(before.data()).rejects.toThrow(/donated/)
  })

  it('names overflow, a wrong batch, a missing offset, and too many layers', async () => {
    const layer = attention({ dModel, nHead: 2, mask: causal() })
    const cache = makeCache({ layers: 1, batch: 1, nKvHead: 2, capacity: 3, dHead: 4 })
    expect(() => layer(random([1, 4, dModel]), { cache, offset: 0 })).toThrow(
      /cache is full: positions 0\.\.3 of 3/,
    )
    expect(() => layer(random([1, 2, dModel]), { cache, offset: tensor(2, { dtype: 'i32' }) })).toThrow(
      /cache is full/,
    )
    expect(() => layer(random([2, 1, dModel]), { cache, offset: 0 })).toThrow(/batch differs/)
    expect(() => layer(random([1, 1, dModel]), { cache })).toThrow(/needs ctx.offset/)
    await cache.advance([layer(random([1, 1, dModel]), { cache, offset: 0 })])
    const two = stack({ blocks: [layer, layer] })
    expect(() => two(random([1, 1, dModel]), { cache, offset: 1 })).toThrow(/has 1 layers, all taken/)
    await expect(
      makeCache({ layers: 1, batch: 1, nKvHead: 1, capacity: 1, dHead: 1 }).advance(),
    ).rejects.toThrow(/no layer wrote/)
    cache.free()
    expect(() => layer(random([1, 1, dModel]), { cache, offset: 1 })).toThrow(/the cache was freed/)
    await expect(cache.advance()).rejects.toThrow(/cache\.advance: the cache was freed; make a new one/)
  })

  it('is cut to its filled part when a decode pattern is looked at', async () => {
    const layer = scramble(attention({ dModel, nHead: 2, mask: causal(), position: rope() }))
    const cache = makeCache({ layers: 1, batch: 1, nKvHead: 2, capacity: 9, dHead: 4 })
    const x = random([1, 5, dModel])
    const whole = traceLazy((t: Tensor) => layer(t), x)
    await cache.advance([layer(sliceAxis(x, 1, 0, 4), { cache, offset: cache.offset() })])
    const step = traceLazy((t: Tensor) => layer(t, { cache, offset: cache.offset() }), sliceAxis(x, 1, 4, 5))
    await expectClose(step.get('pattern'), sliceAxis(whole.get('pattern'), 2, 4, 5))
  })
})

describe('shared slots', () => {
  it('keeps the parameters of a position slot under the layer, once when layers share it', async () => {
    const position = t5Bias({ nHead: 2, numBuckets: 4, maxDistance: 4, bidirectional: true })
    const block = () => attention({ dModel: 4, nHead: 2, bias: false, scale: 1, position })
    const model = stack({ blocks: [block(), block()] })
    expect([...parameters(model).keys()].filter((n) => n.includes('position'))).toEqual([
      'blocks.0.position.w',
    ])
    const x = random([1, 3, 4])
    const before = await numbers(model(x))
    setParameters(model, { 'blocks.1.position.w': random([4, 2], 4) })
    expect(await numbers(model(x))).not.toEqual(before)
    const loss = sum(model(x))
    expect(grad(loss, [P(model, 'blocks.0.position.w')])[0].shape).toEqual([4, 2])
    expect(() => attention({ dModel: 6, nHead: 3, position })(random([1, 2, 6]))).toThrow(/made for 2 heads/)
  })
})
