/**
 * From a model back to a Hugging Face folder: config.json in Hugging Face's keys, model.safetensors under its names,
 * tokenizer.json. What was loaded is written back bit for bit.
 */
import { showShape } from '@heed/tensor'
import { saveFile, type TensorToWrite, writeSafetensors } from '@heed/weights'
import { ModelError } from './errors.js'
import type { TextModel } from './model.js'
import { quantizedFormat } from './quantize.js'
import { toFile } from './weight-rules.js'

/** File name → content of a model's folder. */
export interface ModelFiles {
  readonly 'config.json': string
  readonly 'model.safetensors': Uint8Array<ArrayBuffer>
  readonly 'tokenizer.json'?: string
  readonly 'modules.json'?: string
  readonly '1_Pooling/config.json'?: string
  readonly 'sentence_bert_config.json'?: string
}

/**
 * Every file of the model's folder, in memory: for browsers, and for `loadModel(files)`.
 * @throws ModelError for a quantised model: the folder has no place for its codes.
 */
export async function modelFiles(model: TextModel): Promise<ModelFiles> {
  const format = quantizedFormat(model.parameters)
  if (format)
    throw new ModelError(
      model.source,
      `the model is quantised (${format}) and is not saved; save it before, and quantise again after loading`,
    )
  const values = new Map<string, Float32Array>()
  for (const [path, t] of model.parameters) {
    const data = await t.data()
    values.set(path, data instanceof Float32Array ? data : Float32Array.from(data as Float64Array))
  }
  const tensors = new Map<string, TensorToWrite>()
  for (const rule of model.described.weights.rules) {
    const data = toFile(rule, values)
    const size = rule.shape.reduce((n, d) => n * d, 1)
    if (data.length !== size)
      throw new ModelError(rule.file, `${data.length} values do not fill ${showShape(rule.shape)}`)
    tensors.set(rule.file, { dtype: 'F32', shape: rule.shape, data })
  }
  return {
    'config.json': `${JSON.stringify(model.hfConfig, null, 2)}\n`,
    'model.safetensors': writeSafetensors(tensors, { format: 'pt' }),
    ...(model.tokenizer ? { 'tokenizer.json': JSON.stringify(model.tokenizer.toJson()) } : {}),
    ...(model.pooling?.fromFolder ? sentenceFiles(model) : {}),
  }
}

/** Writes the model's folder, file by file whole or not at all; refuses what `modelFiles` refuses. Node only; `modelFiles` is for browsers. */
export async function saveModel(model: TextModel, folder: string): Promise<void> {
  // named at run time, so that no bundler for browsers looks for it
  const name = 'node:fs/promises'
  const { mkdir } = (await import(
    /* @vite-ignore */ /* webpackIgnore: true */ name
  )) as typeof import('node:fs/promises')
  const files = await modelFiles(model)
  for (const [file, content] of Object.entries(files) as [string, string | Uint8Array][]) {
    const path = `${folder.replace(/\/$/, '')}/${file}`
    await mkdir(path.slice(0, path.lastIndexOf('/')), { recursive: true })
    await saveFile(path, content)
  }
}

/** The files that say how sentence vectors are made, as sentence-transformers has them. */
function sentenceFiles(model: TextModel): Partial<ModelFiles> {
  const { mode, normalize, maxTokens } = model.pooling as NonNullable<TextModel['pooling']>
  const module = (idx: number, path: string, type: string) => ({
    idx,
    name: `${idx}`,
    path,
    type: `sentence_transformers.models.${type}`,
  })
  const modules = [module(0, '', 'Transformer'), module(1, '1_Pooling', 'Pooling')]
  if (normalize) modules.push(module(2, '2_Normalize', 'Normalize'))
  return {
    'modules.json': `${JSON.stringify(modules, null, 2)}\n`,
    '1_Pooling/config.json': `${JSON.stringify(
      {
        word_embedding_dimension: model.config.dModel,
        pooling_mode_cls_token: mode === 'cls',
        pooling_mode_mean_tokens: mode === 'mean',
        pooling_mode_max_tokens: mode === 'max',
      },
      null,
      2,
    )}\n`,
    ...(maxTokens === null
      ? {}
      : { 'sentence_bert_config.json': `${JSON.stringify({ max_seq_length: maxTokens })}\n` }),
  }
}
