import {
  GradError,
  grad,
  linear,
  mul,
  PARTS,
  packedParts,
  parameters,
  setParameters,
  sum,
  type TypedArray,
  tensor,
  trace,
  weightFormats,
} from '@heed/tensor'
import { describe, expect, it } from 'vitest'
import { expected, load } from '../test/fixtures.js'
import {
  createModel,
  generateIds,
  loadModel,
  ModelError,
  modelFiles,
  OptionError,
  quantize,
} from './index.js'

const cosine = (x: TypedArray, y: TypedArray): number => {
  const [a, b] = [x as Float32Array, y as Float32Array]
  let [ab, aa, bb] = [0, 0, 0]
  for (let i = 0; i < a.length; i++) {
    ab += a[i] * b[i]
    aa += a[i] * a[i]
    bb += b[i] * b[i]
  }
  return ab / Math.sqrt(aa * bb)
}
describe.each(['gpt2', 'bert-mlm'] as const)('%s', (name) => {
  it.each(weightFormats)('gives nearly the same logits in %s', async (format) => {
    const model = await load(name)
    const batch = Object.values((await expected(name)).batches)[0].inputs
    const input = { ids: batch.input_ids, ...(batch.attention_mask ? { mask: batch.attention_mask } : {}) }
    const before = await model(input).data()
    const report = await quantize(model, format)
    const run = await model.run(input)
    // errors of independent products add up in squares; the norms behind them amplify a little
    const allowed = 3 * report.rows.length * report.rms ** 2 + 1e-12
    expect(1 - cosine(await run.output.data(), before)).toBeLessThan(allowed)
    // products run on the codes: no weight of a linear layer is dequantised whole
    const embed = model.parameters.get('embed.w')
    expect(embed && packedParts(embed)?.attrs.outAxis).toBe(0)
    expect(report.rows.map((r) => r.path)).toContain('blocks.0.attn.w_o')
    expect(report.rows.map((r) => r.path)).toContain('embed.w')
    expect(report.kept).toContain('pos_embed.w')
    expect(report.kept.every((p) => /\.b(_[a-z]+)?$|ln|pos_embed|type_embed/.test(p))).toBe(true)
    expect(report.rms).toBeGreaterThan(0)
  })
})

it('works on the built-in model: the same next token in less memory, and the f32 weights come back', async () => {
  const text = 'When Mary and John went to the store, John gave a drink to'
  const model = await loadModel()
  const original = model.parameters
  const before = await model.run(text)
  for (const [format, size] of [
    ['f16', 0.53],
    ['int8', 0.3],
    ['q4', 0.2],
  ] as const) {
    const report = await quantize(model, format)
    expect(report.bytes / report.bytesBefore).toBeLessThan(size)
    const run = await model.run(text)
    if (format !== 'q4') expect((await run.top(1))[0].token).toBe((await before.top(1))[0].token)
    setParameters(model, original)
  }
  const again = await model.run(text)
  expect(await again.output.data()).toEqual(await before.output.data())
})

it('generates, with a cache as without', async () => {
  const model = await load('gpt2')
  await quantize(model, 'int8')
  const [ids] = await generateIds(
    model,
    { ids: [[5, 9, 3]] },
    { maxNewTokens: 6, eosId: null, temperature: 0 },
  )
  const chosen = [5, 9, 3]
  for (let i = 0; i < 6; i++) {
    const data = (await model([chosen]).data()) as Float32Array
    const last = data.subarray(data.length - model.config.nVocab)
    chosen.push(last.indexOf(Math.max(...last)))
  }
  expect(ids).toEqual(chosen)
})

it('can be looked into and differentiated up to its activations', async () => {
  const model = await load('gpt2')
  await quantize(model, 'int8')
  const ids = tensor([[5, 9, 3, 1]], { dtype: 'i32' })
  const run = await trace(model, ids, { keep: ['blocks.1.attn.z', 'blocks.1.attn.result', 'logits'] })
  const opened = await trace(model, ids, { edit: { 'blocks.1.attn.result': (x) => mul(x, 1) } })
  const [whole, parts] = [await run.get('logits').data(), await opened.get('logits').data()]
  expect(1 - cosine(whole, parts)).toBeLessThan(1e-5)
  const [dz] = grad(sum(run.get('logits')), [run.get('blocks.1.attn.z')])
  expect((await dz.data()).some((v) => v !== 0)).toBe(true)
  const b = model.parameters.get('blocks.0.mlp.b_in')
  const w = model.parameters.get('blocks.0.mlp.w_in')
  if (!b || !w) throw new Error('no parameters')
  expect(grad(sum(run.get('logits')), [b])[0].shape).toEqual(b.shape)
  expect(() => grad(sum(run.get('logits')), [w], { unused: 'zero' })).toThrow(GradError)
  expect(() => grad(sum(run.get('logits')), [w])).toThrow(
    /blocks\.0\.mlp\.w_in \[20, 52\] is quantised \(int8\) and stays as it is; train the model before/,
  )
})

it('prints a table', async () => {
  const layer = Object.assign((x: number) => x, {
    [PARTS]: { w: tensor([[1], [0.3], [0.5]]), b: tensor([0]) },
  })
  const report = await quantize(layer, 'int8')
  expect(`${report}`).toBe(`parameter   shape  rms error  worst of max  before   after
w           3×1      0.347 %       0.394 %  0.0 kB  0.1 kB
all (int8)           0.347 %                0.0 kB  0.1 kB
1 parameter kept in f32`)
  expect(report.rows).toHaveLength(1)
  expect(parameters(layer).get('w')?.shape).toEqual([3, 1])
  expect(linear(tensor([1, 2, 3]), parameters(layer).get('w') as never).node.op.name).toBe('quantizedLinear')
})

it('skips what it is told to, and takes other tables by name', async () => {
  const sizes = { family: 'gpt2', nLayer: 1, nHead: 1, dModel: 8, nCtx: 8, nVocab: 12 } as const
  const model = await createModel({ ...sizes, tied: false })
  const report = await quantize(model, 'q4', { skip: ['unembed.w', 'blocks.0.attn.*'], tables: [] })
  expect(report.rows.map((r) => r.path)).toEqual(['embed.w', 'blocks.0.mlp.w_in', 'blocks.0.mlp.w_out'])
  // kept parameters count in both sums, 4 bytes a number
  const kept = report.kept.reduce((n, path) => n + 4 * (model.parameters.get(path)?.size ?? Number.NaN), 0)
  expect(kept).toBeGreaterThan(0)
  expect(report.bytes).toBe(report.rows.reduce((n, r) => n + r.bytes, kept))
  expect(report.bytesBefore).toBe(report.rows.reduce((n, r) => n + 4 * r.shape[0] * r.shape[1], kept))
  const embed = model.parameters.get('embed.w')
  expect(embed && packedParts(embed)?.attrs.outAxis).toBe(1)
  expect((await model([[1, 2]]).data()).every(Number.isFinite)).toBe(true)
})

it('says what it cannot do', async () => {
  const model = await load('gpt2')
  await expect(quantize(model, 'int2' as 'int8')).rejects.toThrow(
    "format 'int2' is unknown; use int8, q4, f16",
  )
  await expect(quantize(model, 'int8', { only: [] } as never)).rejects.toThrow(OptionError)
  await expect(quantize(model, 'int8', { skip: ['*.w', '*.*.*.*'] })).rejects.toThrow('nothing was done')
  const w = model.parameters.get('blocks.0.attn.w_q')
  if (!w) throw new Error('no w_q')
  setParameters(model, { 'blocks.0.attn.w_q': tensor(new Float32Array(w.size).fill(Number.NaN), w.shape) })
  await expect(quantize(model, 'int8')).rejects.toThrow(/quantize: blocks\.0\.attn\.w_q: .*finite/)
  setParameters(model, { 'blocks.0.attn.w_q': w })
  await quantize(model, 'int8')
  await expect(quantize(model, 'q4')).rejects.toThrow('the model is quantised already (int8)')
  await expect(modelFiles(model)).rejects.toThrow(ModelError)
  await expect(modelFiles(model)).rejects.toThrow('is quantised (int8) and is not saved; save it before')
})
