/** Writes a model folder as Hugging Face lays it out: config.json, tokenizer.json, model.safetensors in float16. */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parameters } from '@heed/tensor'
import { saveSafetensors, type TensorToWrite, toF16 } from '@heed/weights'
import { hfConfig, type Shape, type TinyModel } from './model.js'
import type { TokenData } from './tokens.js'

export async function exportModel(
  folder: string,
  model: TinyModel,
  shape: Shape,
  data: TokenData,
): Promise<void> {
  await mkdir(folder, { recursive: true })
  const tensors = new Map<string, TensorToWrite>()
  for (const [name, p] of parameters(model)) {
    const values = (await p.data()) as Float32Array
    tensors.set(name, { dtype: 'F16', shape: p.shape, data: toF16(values) })
  }
  await saveSafetensors(join(folder, 'model.safetensors'), tensors, { format: 'pt' })
  await writeFile(
    join(folder, 'config.json'),
    `${JSON.stringify(hfConfig(shape, data.endOfText), null, 2)}\n`,
  )
  await writeFile(join(folder, 'tokenizer.json'), `${data.tokenizerJson}\n`)
}
