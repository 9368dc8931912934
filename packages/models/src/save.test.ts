import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { randomKey, setParameters, tensor } from '@heed/tensor'
import { openWeights } from '@heed/weights'
import { describe, expect, it } from 'vitest'
import { files, fixture, json, load } from '../test/fixtures.js'
import { createModel, loadModel, OptionError, saveModel } from './index.js'

async function inFolder<T>(use: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'heed-'))
  try {
    return await use(join(folder, 'saved'))
  } finally {
    await rm(folder, { recursive: true })
  }
}

describe('saveModel', () => {
  it.each(['gpt2', 'bert-mlm'] as const)('writes %s back bit for bit', async (name) => {
    const model = await load(name)
    await inFolder(async (folder) => {
      await saveModel(model, folder)
      const [was, is] = [await openWeights(fixture(`${name}/model.safetensors`)), await openWeights(folder)]
      expect([...is.names].sort()).toEqual([...was.names].sort())
      for (const n of was.names) {
        expect(is.info(n)).toEqual(was.info(n))
        expect(await is.readF32(n)).toEqual(await was.readF32(n))
      }
      await Promise.all([was.close(), is.close()])
      expect(JSON.parse(await readFile(join(folder, 'config.json'), 'utf8'))).toEqual(
        await json(`${name}/config.json`),
      )
      const again = await loadModel(folder)
      expect(again.tokenizer?.toJson()).toEqual(model.tokenizer?.toJson())
      expect((await again([[1, 2, 3]]).data()) as Float32Array).toEqual(
        (await model([[1, 2, 3]]).data()) as Float32Array,
      )
      await saveModel(again, folder)
      expect((await loadModel(folder)).notes).toEqual([])
    })
  })
  it('writes what was changed, and a tied weight once', async () => {
    const model = await load('gpt2')
    const values = Float32Array.from({ length: 97 * 20 }, (_, i) => i / 1000)
    setParameters(model, { 'embed.w': tensor(values, [97, 20]) })
    await inFolder(async (folder) => {
      await saveModel(model, folder)
      const file = await openWeights(folder)
      expect(await file.readF32('transformer.wte.weight')).toEqual(values)
      expect(file.has('lm_head.weight')).toBe(false)
      await file.close()
      expect((await (await loadModel(folder))([[4]]).data()) as Float32Array).toEqual(
        (await model([[4]]).data()) as Float32Array,
      )
    })
  })
  it('writes models that were made here', async () => {
    const made = await createModel({
      family: 'bert',
      nLayer: 1,
      nHead: 2,
      dModel: 8,
      dMlp: 12,
      nCtx: 16,
      nVocab: 101,
      activation: 'reluSquared',
      pooler: true,
    })
    await inFolder(async (folder) => {
      await saveModel(made, folder)
      const again = await loadModel(folder)
      expect(again.config).toEqual(made.config)
      expect((await again([[1, 2]]).data()) as Float32Array).toEqual(
        (await made([[1, 2]]).data()) as Float32Array,
      )
    })
  })
  it('writes how sentence vectors are pooled, where the folder said so', async () => {
    const json_ = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value))
    const modules = ['Transformer', 'Pooling'].map((type, idx) => ({
      idx,
      name: `${idx}`,
      path: idx ? '1_Pooling' : '',
      type: `sentence_transformers.models.${type}`,
    }))
    const sentence = {
      ...(await files('bert-mlm')),
      'modules.json': json_(modules),
      '1_Pooling/config.json': json_({ pooling_mode_cls_token: true, pooling_mode_mean_tokens: false }),
      'sentence_bert_config.json': json_({ max_seq_length: 9 }),
    }
    const model = await loadModel(sentence)
    expect(model.pooling).toEqual({ mode: 'cls', normalize: false, maxTokens: 9, fromFolder: true })
    await inFolder(async (folder) => {
      await saveModel(model, folder)
      expect((await loadModel(folder)).pooling).toEqual(model.pooling)
    })
    const vector = (await model.embed(['a cat']).then((t) => t.data())) as Float32Array
    const hidden = ((await (await model.run('a cat')).get('blocks.2.ln2').array()) as number[][][])[0]
    expect([...vector]).toEqual(hidden[0])
    const long = 'cat '.repeat(20)
    await expect(model.embed([long])).rejects.toThrow("text 0 has 22 tokens, this model's vectors read 9")
    await expect(
      loadModel({ ...sentence, '1_Pooling/config.json': json_({ pooling_mode_weightedmean_tokens: true }) }),
    ).rejects.toThrow(
      '1_Pooling/config.json: pooling weightedmean_tokens; one of mean_tokens, cls_token, max_tokens',
    )
    const dense = json_([
      ...modules,
      { idx: 2, name: '2', path: '2_Dense', type: 'sentence_transformers.models.Dense' },
    ])
    await expect(loadModel({ ...sentence, 'modules.json': dense })).rejects.toThrow(
      'models.Dense is not supported',
    )
  })
})

describe('createModel', () => {
  it('refuses what it does not know', async () => {
    const sizes = { family: 'gpt2', nLayer: 1, nHead: 2, dModel: 8, nCtx: 16, nVocab: 11 }
    await expect(createModel({ ...sizes, family: 'mamba' })).rejects.toThrow(
      "family 'mamba' is unknown; use gpt2 or bert",
    )
    await expect(createModel({ ...sizes, nHeads: 4 })).rejects.toThrow(
      "gpt2 has no 'nHeads'; it has family, nLayer, nHead",
    )
    await expect(createModel({ ...sizes, nHead: 3 })).rejects.toThrow(
      'createModel: dModel 8 does not divide into nHead 3 heads; make dModel a multiple of nHead',
    )
    await expect(createModel({ ...sizes, dHead: 3 })).rejects.toThrow(
      'createModel: dHead is 3, but dModel 8 and nHead 2 make it 4; leave it out',
    )
    for (const name of ['nLayer', 'nHead', 'dModel', 'nCtx', 'nVocab'] as const)
      for (const family of ['gpt2', 'bert']) {
        const { [name]: _, ...rest } = { ...sizes, family }
        await expect(createModel(rest as typeof sizes)).rejects.toThrow(
          new OptionError(
            `createModel: ${name} is missing; a model needs nLayer, nHead, dModel, nCtx, nVocab`,
          ),
        )
        for (const value of [0, 1.5, '4', null])
          await expect(createModel({ ...sizes, family, [name]: value } as typeof sizes)).rejects.toThrow(
            `createModel: ${name} is ${JSON.stringify(value)}, expected a positive integer`,
          )
      }
    await expect(createModel(undefined as unknown as typeof sizes)).rejects.toThrow(OptionError)
  })
  it('has the family’s initial values', async () => {
    const model = await createModel({
      family: 'gpt2',
      nLayer: 1,
      nHead: 2,
      dModel: 64,
      nCtx: 16,
      nVocab: 500,
    })
    const w = (await model.parameters.get('embed.w')?.data()) as Float32Array
    const std = Math.sqrt(w.reduce((s, v) => s + v * v, 0) / w.length)
    expect(std).toBeCloseTo(0.02, 3)
    expect((await model.parameters.get('blocks.0.ln1.w')?.data()) as Float32Array).toEqual(
      new Float32Array(64).fill(1),
    )
  })
  it('drops only when a key is given, the same with the same key', async () => {
    for (const family of ['gpt2', 'bert']) {
      const size = { family, nLayer: 1, nHead: 2, dModel: 8, nCtx: 16, nVocab: 11 }
      const model = await createModel({ ...size, dropout: 0.5 })
      const plain = await createModel(size)
      const ids = [[1, 2, 3]]
      const of = async (input: Parameters<typeof model>[0]) => (await model(input).data()) as Float32Array
      expect(await of(ids)).toEqual((await plain(ids).data()) as Float32Array)
      expect(await of({ ids, key: randomKey(1) })).toEqual(await of({ ids, key: randomKey(1) }))
      expect(await of({ ids, key: randomKey(1) })).not.toEqual(await of(ids))
      expect(await of({ ids, key: randomKey(1) })).not.toEqual(await of({ ids, key: randomKey(2) }))
    }
  })
})
