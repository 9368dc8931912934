import { crossEntropy, grad, realize, reshape, slice, tensor, trace } from '@heed/tensor'
import { openWeights, type TensorToWrite, writeSafetensors } from '@heed/weights'
import { describe, expect, it } from 'vitest'
import { bytes, expectClose, expected, fixture, load, want } from '../test/fixtures.js'
import { loadModel, toFile } from './index.js'

const model = await loadModel(fixture('gpt2'))
const { batches } = await expected('gpt2')
const inputOf = (name: string) => {
  const { input_ids: ids, attention_mask: mask, position_ids: positions } = batches[name].inputs
  return { ids, ...(mask ? { mask } : {}), ...(positions ? { positions } : {}) }
}

describe('GPT-2 against Hugging Face', () => {
  it('gives its logits', async () => {
    await expectClose(model(inputOf('unpadded')), await want('gpt2', 'unpadded.logits'), 1e-4)
  })
  it('gives them on left-padded rows with positions', async () => {
    const run = await model.run(inputOf('left'), { keep: ['blocks.*.attn.pattern', 'blocks.*.resid_post'] })
    const { attention_mask: mask } = batches.left.inputs
    await expectClose(run.output, await want('gpt2', 'left.logits'), 1e-4, mask)
    await expectClose(run.get('blocks.0.resid_pre'), await want('gpt2', 'left.hidden_states.0'), 5e-5, mask)
    await expectClose(run.get('blocks.3.resid_post'), await want('gpt2', 'left.final_norm.input'), 5e-5, mask)
    const pattern = (await run.get('blocks.3.attn.pattern').array()) as number[][][][]
    const wanted = await want('gpt2', 'left.attentions.3')
    const heads = pattern[0].length
    pattern.forEach((row, b) =>
      row.forEach((head, h) =>
        head.forEach((query, q) =>
          query.forEach((p, k) => {
            if (mask?.[b][q]) expect(p).toBeCloseTo(wanted[((b * heads + h) * 8 + q) * 8 + k], 5)
          }),
        ),
      ),
    )
  })
  it('divides the scores of layer i by i + 1', async () => {
    const run = await model.run(inputOf('unpadded'))
    await expectClose(run.get('blocks.1.attn.pattern'), await want('gpt2', 'unpadded.attentions.1'), 1e-5)
  })
  it('gives the gradients, under the names of the file', async () => {
    const run = await model.run(inputOf('unpadded'))
    const { labels } = batches.unpadded.targets
    const length = labels[0].length
    const targets = tensor(Int32Array.from(labels.flatMap((row) => row.slice(1))), { dtype: 'i32' })
    const loss = crossEntropy(reshape(slice(run.output, [null, [0, length - 1]]), [-1, 97]), targets)
    await expectClose([await loss.item()], await want('gpt2', 'unpadded.loss'), 1e-5)
    const names = [...model.parameters.keys()]
    const grads = grad(loss, [...model.parameters.values()])
    await realize([loss, ...grads])
    const values = new Map<string, Float32Array>()
    for (const [i, name] of names.entries()) values.set(name, (await grads[i].data()) as Float32Array)
    for (const file of ['transformer.h.1.attn.c_attn.weight', 'transformer.wte.weight']) {
      const rule = model.described.weights.rules.find((r) => r.file === file)
      if (!rule) throw new Error(file)
      await expectClose(toFile(rule, values), await want('gpt2', `grad.${file}`), 1e-5)
    }
  })
  it('reads old files: no prefix, causal masks beside the weights, a copy of the tied embedding', async () => {
    const file = await openWeights(await bytes('gpt2/model.safetensors'))
    const tensors: Record<string, TensorToWrite> = {}
    for (const name of file.names) tensors[name.replace('transformer.', '')] = await file.read(name)
    tensors['h.0.attn.bias'] = { dtype: 'U8', shape: [1, 1, 2, 2], data: Uint8Array.of(1, 0, 1, 1) }
    tensors['lm_head.weight'] = tensors['wte.weight']
    const old = await load('gpt2', { weights: writeSafetensors(tensors) })
    await expectClose(old(inputOf('unpadded')), await want('gpt2', 'unpadded.logits'), 1e-4)
    expect(old.notes).toEqual(['tensors left alone: h.*.attn.bias, lm_head.weight'])
  })
})

describe('GPT-2', () => {
  it('has one parameter for embedding and unembedding, under documented names', () => {
    expect([...model.parameters.keys()].filter((p) => !p.startsWith('blocks.'))).toEqual([
      'embed.w',
      'pos_embed.w',
      'ln_final.w',
      'ln_final.b',
    ])
    expect([...model.parameters.keys()].filter((p) => p.startsWith('blocks.0.')).sort()).toEqual(
      ['ln1.w', 'ln1.b', 'ln2.w', 'ln2.b']
        .concat(['q', 'k', 'v', 'o'].flatMap((x) => [`attn.w_${x}`, `attn.b_${x}`]))
        .concat(['mlp.w_in', 'mlp.b_in', 'mlp.w_out', 'mlp.b_out'])
        .map((p) => `blocks.0.${p}`)
        .sort(),
    )
  })
  it('taps under the field’s names', async () => {
    const run = await trace(model, [[1, 2, 3]])
    const block =
      'resid_pre ln1 attn.q attn.k attn.v attn.scores attn.pattern attn.z attn.result attn_out resid_mid ln2 mlp_pre mlp_post mlp_out resid_post'
    expect(new Set(run.names())).toEqual(
      new Set([
        'embed',
        'pos_embed',
        ...[0, 1, 2, 3].flatMap((i) => block.split(' ').map((t) => `blocks.${i}.${t}`)),
        'ln_final',
        'logits',
      ]),
    )
  })
  it('has a frozen config in Heed’s words', () => {
    expect(model.config).toMatchObject({
      family: 'gpt2',
      nLayer: 4,
      nHead: 5,
      dModel: 20,
      dHead: 4,
      dMlp: 52,
      nCtx: 40,
      nVocab: 97,
      activation: 'gelu',
      scaleByLayer: true,
    })
    expect(Object.isFrozen(model.config)).toBe(true)
    expect(model.kind).toBe('decoder')
    expect(model.head).toBe('next-token')
  })
  it('leaves a text alone that stands behind another row’s padding', async () => {
    const row = [5, 6, 7, 8]
    const alone = (await model([row]).array()) as number[][][]
    const padded = (await model({
      ids: [
        [3, 3, ...row],
        [1, 2, ...row],
      ],
      mask: [
        [0, 0, 1, 1, 1, 1],
        [1, 1, 1, 1, 1, 1],
      ],
      positions: [
        [0, 0, 0, 1, 2, 3],
        [0, 1, 2, 3, 4, 5],
      ],
    }).array()) as number[][][]
    padded[0].slice(2).forEach((logits, p) => {
      logits.forEach((v, i) => {
        expect(v).toBeCloseTo(alone[0][p][i], 4)
      })
    })
  })
  it('unties when config.json says so', async () => {
    const file = await openWeights(await bytes('gpt2/model.safetensors'))
    const tensors: Record<string, TensorToWrite> = {}
    for (const name of file.names) tensors[name] = await file.read(name)
    tensors['lm_head.weight'] = {
      dtype: 'F32',
      shape: [97, 20],
      data: new Float32Array(97 * 20).fill(0).map((_, i) => (i < 20 ? 1 : 0)),
    }
    const untied = await load('gpt2', {
      weights: writeSafetensors(tensors),
      config: { tie_word_embeddings: false },
    })
    const run = await untied.run([[1, 2, 3]])
    const sums = ((await run.get('ln_final').array()) as number[][][])[0].map((x) =>
      x.reduce((a, b) => a + b),
    )
    const logits = ((await run.output.array()) as number[][][])[0]
    logits.forEach((row, p) => {
      expect(row[0]).toBeCloseTo(sums[p], 4)
      expect(row[1]).toBe(0)
    })
    await expect(load('gpt2', { weights: writeSafetensors(tensors) })).rejects.toThrow(
      'tensor lm_head.weight differs from transformer.wte.weight, but config.json ties the two; set tie_word_embeddings to false',
    )
  })
})
