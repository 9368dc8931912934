// Which file reads which format of golden.json. An adapter is imported when its first collection is met.
import type { Adapter } from './case.js'

export const adapters: Readonly<Record<string, () => Promise<Adapter>>> = {
  ops: () => import('./ops.js'),
  train: () => import('./train.js'),
  'models-text': () => import('./models-text.js'),
  tokenizers: () => import('./tokenizers.js'),
  weights: () => import('./weights.js'),
  'real-weights': () => import('./minilm.js'),
}

/** Formats that are known and not read yet, each with what will read it. */
export const planned: Readonly<Record<string, string>> = {
  'models-multi': 'encoder-decoder, vision and audio models are not built yet',
  interpret: 'the interpretation goldens are not adapted yet',
  onnx: 'ONNX files are not read yet',
}
