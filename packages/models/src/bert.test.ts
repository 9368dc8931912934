import { crossEntropy, grad, reshape, tensor, trace } from '@heed/tensor'
import { openWeights, type TensorToWrite, writeSafetensors } from '@heed/weights'
import { describe, expect, it } from 'vitest'
import { bytes, expectClose, expected, fixture, load, want } from '../test/fixtures.js'
import { createModel, loadModel, modelFiles, sentenceVector, toFile } from './index.js'

const model = await loadModel(fixture('bert-mlm'))
const { batches } = await expected('bert-mlm')
const { input_ids: ids, attention_mask: mask = [], token_type_ids: typeIds = [] } = batches.right.inputs
const input = { ids, mask, typeIds }

describe('BERT against Hugging Face', () => {
  it('gives logits, hidden states and attention of padded rows', async () => {
    const run = await model.run(input)
    await expectClose(run.output, await want('bert-mlm', 'right.logits'), 1e-4)
    await expectClose(run.get('blocks.0.resid_pre'), await want('bert-mlm', 'right.hidden_states.0'), 5e-5)
    // hidden_states[i + 1] is the output of block i's second norm, not the sum before it
    await expectClose(run.get('blocks.1.ln2'), await want('bert-mlm', 'right.hidden_states.2'), 5e-5)
    await expectClose(run.get('blocks.2.attn.pattern'), await want('bert-mlm', 'right.attentions.2'), 1e-5)
  })
  it('gives the loss and a gradient in the layout of the file', async () => {
    const labels = tensor(Int32Array.from(batches.right.targets.labels.flat()), { dtype: 'i32' })
    const loss = crossEntropy(reshape(model(input), [-1, 101]), labels, { ignoreIndex: -100 })
    await expectClose([await loss.item()], await want('bert-mlm', 'right.loss'), 1e-5)
    const file = 'bert.encoder.layer.0.attention.self.query.weight'
    const rule = model.described.weights.rules.find((r) => r.file === file)
    const w = model.parameters.get('blocks.0.attn.w_q')
    if (!rule || !w) throw new Error(file)
    const values = new Map([['blocks.0.attn.w_q', (await grad(loss, [w])[0].data()) as Float32Array]])
    await expectClose(toFile(rule, values), await want('bert-mlm', `grad.${file}`), 1e-5)
  })
  it('reads old files: gamma and beta, position ids, an unused pooler and next-sentence head, a copy of the decoder', async () => {
    const file = await openWeights(await bytes('bert-mlm/model.safetensors'))
    const tensors: Record<string, TensorToWrite> = {}
    for (const name of file.names)
      tensors[
        name.replace('LayerNorm.weight', 'LayerNorm.gamma').replace('LayerNorm.bias', 'LayerNorm.beta')
      ] = await file.read(name)
    const f32 = (...shape: number[]): TensorToWrite => ({
      dtype: 'F32',
      shape,
      data: new Float32Array(shape.reduce((a, b) => a * b)).fill(9),
    })
    tensors['bert.embeddings.position_ids'] = { dtype: 'I64', shape: [1, 2], data: BigInt64Array.of(0n, 1n) }
    tensors['bert.pooler.dense.weight'] = f32(24, 24)
    tensors['cls.seq_relationship.bias'] = f32(2)
    tensors['cls.predictions.decoder.weight'] = tensors['bert.embeddings.word_embeddings.weight']
    const old = await load('bert-mlm', { weights: writeSafetensors(tensors) })
    await expectClose(old(input), await want('bert-mlm', 'right.logits'), 1e-4)
  })
})

describe('BERT', () => {
  it('taps under the field’s names, embeddings and sums before the norms among them', async () => {
    const run = await trace(model, [[1, 2, 3]])
    const block =
      'resid_pre attn.q attn.k attn.v attn.scores attn.pattern attn.z attn.result attn_out resid_mid ln1 mlp_pre mlp_post mlp_out resid_post ln2'
    expect(new Set(run.names())).toEqual(
      new Set([
        'embed',
        'type_embed',
        'pos_embed',
        'ln_embed',
        ...[0, 1, 2].flatMap((i) => block.split(' ').map((t) => `blocks.${i}.${t}`)),
        'ln_transform',
        'logits',
      ]),
    )
  })
  it('takes type 0 where no types are given', async () => {
    const zero = ids.map((row) => row.map(() => 0))
    await expectClose(
      model({ ids, mask }),
      (await model({ ids, mask, typeIds: zero }).data()) as Float32Array,
      0,
    )
    const other = (await model({
      ids,
      mask,
      typeIds: zero.map((r) => r.map(() => 1)),
    }).data()) as Float32Array
    expect(other[0]).not.toBe(((await model({ ids, mask }).data()) as Float32Array)[0])
  })

  /** Hidden states and weights of a random model with a head, as plain numbers. */
  async function headOf(head: string, more: object = {}) {
    const m = await createModel({
      family: 'bert',
      nLayer: 1,
      nHead: 2,
      dModel: 8,
      nCtx: 12,
      nVocab: 20,
      head,
      nLabel: head === 'classes' || head === 'token-classes' ? 3 : 0,
      ...more,
    })
    const run = await m.run([[1, 2, 3, 4]])
    const array = async (path: string) => (await m.parameters.get(path)?.array()) as number[][]
    return { m, run, hidden: ((await run.get('blocks.0.ln2').array()) as number[][][])[0], array }
  }
  const affine = (x: number[], w: number[][], b: number[]) =>
    b.map((v, j) => v + x.reduce((s, xi, i) => s + xi * w[i][j], 0))
  const vector = (x: unknown) => x as unknown as number[]

  it('classifies texts from the pooled first position', async () => {
    const { m, run, hidden, array } = await headOf('classes')
    const pooled = affine(hidden[0], await array('pooler.w'), vector(await array('pooler.b'))).map(Math.tanh)
    await expectClose(run.get('pooler'), pooled, 1e-6)
    await expectClose(
      run.output,
      affine(pooled, await array('classifier.w'), vector(await array('classifier.b'))),
      1e-6,
    )
    expect(run.output.shape).toEqual([1, 3])
    expect(m.labels).toEqual(['LABEL_0', 'LABEL_1', 'LABEL_2'])
    expect(run.top(3).map((p) => p.token)).toContain('LABEL_2')
    expect(run.top(3).reduce((s, p) => s + p.probability, 0)).toBeCloseTo(1, 9)
  })
  it('classifies tokens', async () => {
    const { run, hidden, array } = await headOf('token-classes')
    const [w, b] = [await array('classifier.w'), vector(await array('classifier.b'))]
    await expectClose(
      run.output,
      hidden.flatMap((x) => affine(x, w, b)),
      1e-6,
    )
  })
  it('finds where an answer starts and ends, and edits of one reach the output', async () => {
    const { m, run, hidden, array } = await headOf('span')
    const [w, b] = [await array('classifier.w'), vector(await array('classifier.b'))]
    const both = hidden.map((x) => affine(x, w, b))
    await expectClose(
      run.get('start_logits'),
      both.map((r) => r[0]),
      1e-6,
    )
    await expectClose(
      run.get('end_logits'),
      both.map((r) => r[1]),
      1e-6,
    )
    const edited = await m.run([[1, 2, 3, 4]], { edit: [{ at: 'end_logits', op: 'set', value: 7 }] })
    await expectClose(
      edited.output,
      both.flatMap((r) => [r[0], 7]),
      1e-6,
    )
  })
  it('reads back every head that it writes, whatever its names', async () => {
    for (const head of ['none', 'masked-token', 'classes', 'token-classes', 'span']) {
      const { m, run } = await headOf(head, head === 'none' ? { pooler: true } : {})
      const written = await modelFiles(m)
      const files = Object.fromEntries(
        Object.entries(written).map(([k, v]) => [k, typeof v === 'string' ? new TextEncoder().encode(v) : v]),
      )
      const again = await loadModel(files)
      expect(again.head).toBe(head)
      await expectClose(again([[1, 2, 3, 4]]), (await run.output.data()) as Float32Array, 0)
      // old files name no architecture
      const config = JSON.parse(written['config.json']) as Record<string, unknown>
      delete config.architectures
      const guessed = await loadModel({
        ...files,
        'config.json': new TextEncoder().encode(JSON.stringify(config)),
      })
      expect(guessed.head).toBe(head)
    }
  })
  it('pools sentences as the folder says', async () => {
    const bert = await load('bert-mlm')
    const texts = ['the cat sat on the mat', 'a dog']
    const alone = []
    for (const text of texts)
      alone.push(...((await sentenceVector(await bert.run(text)).data()) as Float32Array))
    await expectClose(await bert.embed(texts), alone, 1e-6)
    const hidden = ((await (await bert.run('a dog')).get('blocks.2.ln2').array()) as number[][][])[0]
    const mean = hidden[0].map((_, i) => hidden.reduce((s, row) => s + row[i], 0) / hidden.length)
    const length = Math.hypot(...mean)
    await expectClose(
      alone.slice(24),
      mean.map((v) => v / length),
      1e-6,
    )
  })
})
