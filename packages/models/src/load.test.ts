import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { getBackend, reference, setBackend } from '@heed/tensor'
import { openWeights, type TensorToWrite, writeSafetensors } from '@heed/weights'
import { describe, expect, it } from 'vitest'
import { bytes, files, fixture, load } from '../test/fixtures.js'
import { HfConfig } from './hf-config.js'
import { ConfigError, loadModel, ModelError, OptionError } from './index.js'

async function tensorsOf(name: string): Promise<Record<string, TensorToWrite>> {
  const file = await openWeights(await bytes(`${name}/model.safetensors`))
  const tensors: Record<string, TensorToWrite> = {}
  for (const n of file.names) tensors[n] = await file.read(n)
  return tensors
}

describe('loadModel', () => {
  it('loads a folder, a URL of one, and files in memory', async () => {
    const folder = await loadModel(fixture('gpt2'))
    const url = await loadModel(new URL(`file://${fixture('gpt2')}`))
    const memory = await loadModel(await files('gpt2'))
    const ids = [[1, 2, 3]]
    const values = (await folder(ids).data()) as Float32Array
    for (const m of [url, memory]) expect((await m(ids).data()) as Float32Array).toEqual(values)
    expect(folder.tokenizer).toBe(null)
    expect(memory.tokenizer).not.toBe(null)
  })
  it('says how far it is, and which weights these are', async () => {
    const seen: number[] = []
    const model = await loadModel(fixture('gpt2'), { onProgress: (done) => seen.push(done) })
    expect(seen.length).toBe(52)
    expect(seen.at(-1)).toBe(52)
    // sha256sum of the file
    const file = await openWeights(fixture('gpt2/model.safetensors'))
    expect(await model.weightsHash()).toBe(await file.hash())
    await file.close()
  })
  it('loads the built-in model when it is given nothing', async () => {
    const model = await loadModel()
    expect(model.source).toBe('built-in model')
    expect(model.kind).toBe('decoder')
    expect((await model.run('Once upon a')).top(1)[0].probability).toBeGreaterThan(0)
  })
  it('sets the CPU backend when none is set', async () => {
    await loadModel(fixture('gpt2'))
    expect(getBackend().name).toMatch(/^cpu/)
    const own = reference()
    setBackend(own)
    await loadModel(fixture('gpt2'))
    expect(getBackend()).toBe(own)
    setBackend(null)
  })
  it('reads what the config says', async () => {
    const scores = async (config: Record<string, unknown>, tap: string) => {
      const run = await (await load('gpt2', { config })).run([[1, 2, 3]])
      return (await run.get(tap).data()) as Float32Array
    }
    const [plain, unscaled] = [
      await scores({}, 'blocks.0.attn.scores'),
      await scores({ scale_attn_weights: false }, 'blocks.0.attn.scores'),
    ]
    // dHead is 4, so the factor is 1/2
    expect(unscaled[0]).toBeCloseTo(2 * plain[0], 4)
    const level = await scores({ scale_attn_by_inverse_layer_idx: false }, 'blocks.2.attn.scores')
    expect(level[0]).not.toBeCloseTo((await scores({}, 'blocks.2.attn.scores'))[0], 4)
    const [narrow, wide] = [
      await scores({}, 'blocks.0.ln1'),
      await scores({ layer_norm_epsilon: 10 }, 'blocks.0.ln1'),
    ]
    expect(Math.abs(wide[0])).not.toBeCloseTo(Math.abs(narrow[0]), 2)
    const mlp = async (name: string) =>
      (await load('gpt2', { config: { activation_function: name } })).config.activation
    expect(
      await Promise.all(
        ['gelu_new', 'gelu_pytorch_tanh', 'gelu', 'relu', 'swish', 'quick_gelu', 'linear'].map(mlp),
      ),
    ).toEqual(['geluTanh', 'geluTanh', 'gelu', 'relu', 'silu', 'quickGelu', 'identity'])
  })
  it('reads old keys: n_ctx, labels by id', async () => {
    const old = await load('gpt2', { config: { n_positions: undefined, n_ctx: 40 } })
    expect(old.config.nCtx).toBe(40)
    const both = await load('gpt2', { config: { n_ctx: 12 } })
    expect(both.config.nCtx).toBe(40)
    const hf = (values: object) => new HfConfig('config.json', values as Record<string, unknown>)
    expect(hf({ id2label: { 0: 'no', 1: 'yes', 2: 'maybe' } }).labels()).toEqual(['no', 'yes', 'maybe'])
    expect(hf({ num_labels: 3 }).labels()).toEqual(['LABEL_0', 'LABEL_1', 'LABEL_2'])
    expect(hf({}).labels()).toEqual(['LABEL_0', 'LABEL_1'])
    expect(() => hf({ n_embd: 4, hidden_size: 5 }).size(['n_embd', 'hidden_size'])).toThrow(
      'n_embd is 4 and hidden_size is 5; they mean the same',
    )
  })
  it('reads a base model out of a file with a head’s prefix', async () => {
    const head = await loadModel(fixture('bert-mlm'))
    const base = await load('bert-mlm', { config: { architectures: ['BertModel'] } })
    const run = await head.run([[1, 2, 3]])
    expect(base.head).toBe('none')
    expect((await base([[1, 2, 3]]).data()) as Float32Array).toEqual(
      (await run.get('blocks.2.ln2').data()) as Float32Array,
    )
    expect(base.notes[0]).toMatch(/tensors left alone: cls\.predictions/)
  })
  it('prints what it is', async () => {
    const inspect = Symbol.for('nodejs.util.inspect.custom')
    const model = (await loadModel(fixture('gpt2'))) as unknown as Record<symbol, () => string>
    expect(model[inspect]()).toMatch(/^Model gpt2 \(decoder, next-token\) 4 layers × 5 heads, dModel 20/)
  })
})

describe('loadModel refuses', () => {
  const message = async (make: Promise<unknown>): Promise<string> => {
    const error = await make.then(
      () => undefined,
      (e: unknown) => e,
    )
    if (!(error instanceof Error)) throw new Error('it was accepted')
    expect(error.message).not.toMatch(/\n/)
    return error.message
  }
  it('a folder that is not there, an empty one, one without config.json', async () => {
    expect(await message(loadModel('/no/such/model'))).toBe('/no/such/model: no such folder; check the path')
    const empty = await mkdtemp(join(tmpdir(), 'heed-'))
    expect(await message(loadModel(empty))).toBe(
      `${empty}: has no config.json, so it is no model folder; it is empty`,
    )
    await writeFile(join(empty, 'readme.txt'), 'x')
    expect(await message(loadModel(empty))).toMatch(
      /has no config.json, so it is no model folder; it has readme.txt$/,
    )
    await writeFile(join(empty, 'config.json'), '{"model_type": "gpt2"')
    expect(await message(loadModel(empty))).toMatch(/config.json: is not JSON/)
    await writeFile(join(empty, 'config.json'), '{"model_type": "gpt2", "vocab_size": 5}')
    expect(await message(loadModel(empty))).toMatch(
      /has neither model.safetensors nor model.safetensors.index.json/,
    )
    await rm(empty, { recursive: true })
  })
  it.each([
    ['gpt2', { model_type: undefined }, /has no model_type; supported are gpt2, bert$/],
    ['gpt2', { model_type: 'mamba' }, /model_type "mamba" is not supported; supported are gpt2, bert$/],
    [
      'gpt2',
      { architectures: ['GPT2ForSequenceClassification'] },
      /architecture GPT2ForSequenceClassification is not supported; supported are GPT2LMHeadModel, GPT2Model$/,
    ],
    [
      'gpt2',
      { activation_function: 'snake' },
      /activation_function 'snake' is not supported; supported are gelu, /,
    ],
    ['gpt2', { add_cross_attention: true }, /add_cross_attention true is not supported/],
    ['gpt2', { n_head: 3 }, /n_embd 20 does not divide into n_head 3 heads/],
    ['gpt2', { n_layer: 0 }, /n_layer is 0, expected a positive integer/],
    ['gpt2', { n_layer: '4' }, /n_layer is "4", expected a positive integer/],
    ['gpt2', { layer_norm_epsilon: 'small' }, /layer_norm_epsilon is "small", expected a number/],
    ['gpt2', { tie_word_embeddings: 1 }, /tie_word_embeddings is 1, expected true or false/],
    ['gpt2', { vocab_size: null }, /vocab_size is missing/],
    [
      'gpt2',
      { sliding_window: 16 },
      /sliding_window 16 changes the computation and is not supported for model_type 'gpt2'/,
    ],
    [
      'gpt2',
      { quantization_config: { bits: 4 } },
      /quantization_config \{"bits":4\} changes the computation/,
    ],
    [
      'bert-mlm',
      { position_embedding_type: 'relative_key' },
      /position_embedding_type 'relative_key' is not supported; 'absolute' is/,
    ],
    ['bert-mlm', { is_decoder: true }, /is_decoder true is not supported/],
    ['bert-mlm', { pruned_heads: { 0: [1] } }, /pruned_heads \{"0":\[1\]\} is not supported/],
    ['bert-mlm', { hidden_act: 'prelu' }, /hidden_act 'prelu' is not supported/],
    [
      'bert-mlm',
      { architectures: ['BertForMultipleChoice'] },
      /architecture BertForMultipleChoice is not supported/,
    ],
  ] as const)('a config of %s with %j', async (name, config, expected) => {
    const error = await load(name, { config }).catch((e: unknown) => e)
    expect(error).toBeInstanceOf(ConfigError)
    expect((error as Error).message).toMatch(/^files in memory\/config\.json: /)
    expect((error as Error).message).toMatch(expected)
  })
  it('names keys that nobody reads, and lets off ones pass', async () => {
    const model = await load('gpt2', {
      config: { favourite_colour: 'blue', sliding_window: null, rope_scaling: null },
    })
    expect(model.notes).toEqual(['keys of config.json that nobody reads: favourite_colour'])
  })
  it('missing tensors, wrong shapes, strangers, integers', async () => {
    const tensors = await tensorsOf('gpt2')
    const change = async (f: (t: Record<string, TensorToWrite>) => void) => {
      const copy = { ...tensors }
      f(copy)
      return message(load('gpt2', { weights: writeSafetensors(copy) }))
    }
    const ln = 'transformer.h.1.ln_1.weight'
    expect(await change((t) => delete t[ln])).toBe(
      `model.safetensors: tensor ${ln} is missing ([20]); it has 51 tensors, among them transformer.h.0.ln_1.weight, transformer.h.2.ln_1.weight`,
    )
    const narrow = { dtype: 'F32', shape: [2, 10], data: new Float32Array(20) } as const
    expect(
      await change((t) => {
        t[ln] = narrow
      }),
    ).toBe(
      `model.safetensors: tensor ${ln} is [2, 10], expected [20] from config.json; config and weights do not belong together`,
    )
    expect(
      await change((t) => {
        t['transformer.h.9.ln_1.weight'] = narrow
      }),
    ).toMatch(
      /tensor transformer.h.9.ln_1.weight \[2, 10\] has no place in this model; is the model_type or the architecture/,
    )
    expect(
      await change((t) => {
        t[ln] = { dtype: 'I32', shape: [20], data: new Int32Array(20) }
      }),
    ).toMatch(/is I32, expected a float dtype; quantised weights are not supported/)
  })
  it('truncated and corrupt weights', async () => {
    const whole = await bytes('gpt2/model.safetensors')
    expect(await message(load('gpt2', { weights: whole.subarray(0, whole.length - 100) }))).toMatch(
      /^model\.safetensors: cut off/,
    )
    expect(await message(load('gpt2', { weights: new TextEncoder().encode('<html>no</html>') }))).toMatch(
      /^model\.safetensors: /,
    )
  })
  it('a broken tokenizer.json, an unknown option, a source that is none', async () => {
    expect(await message(load('gpt2', { tokenizer: '{}' }))).toMatch(/^files in memory\/tokenizer\.json: /)
    expect(await message(loadModel(fixture('gpt2'), { verbose: true } as object))).toMatch(
      /^loadModel: option 'verbose' is unknown; options are onProgress/,
    )
    await expect(loadModel(7 as never)).rejects.toThrow(ModelError)
  })
  it('options where the source belongs', async () => {
    expect(await message(loadModel({ modle: './gpt2' } as never))).toBe(
      "loadModel: 'modle' is no file of a model; did you mean loadModel('./gpt2')? the source is a folder's path or URL, or its files by name, { 'config.json': bytes, … }; options come second, loadModel(source, { onProgress })",
    )
    expect(await message(loadModel({ onProgress: () => {} } as never))).toMatch(
      /^loadModel: 'onProgress' is no file of a model; the source is/,
    )
    await expect(loadModel({ modle: './gpt2' } as never)).rejects.toThrow(OptionError)
    expect(await message(loadModel({ 'config.jsn': new Uint8Array(1) }))).toMatch(
      /has no config\.json, .*it has config\.jsn$/,
    )
    // files may have names without an ending beside others
    expect(await message(loadModel({ LICENSE: new Uint8Array(1), 'config.jsn': new Uint8Array(1) }))).toMatch(
      /has no config\.json/,
    )
  })
})
