// Which file reads which format of golden.json. An adapter is imported when its first collection is met.
import type { Adapter } from './case.js'

export type AdapterTable = Readonly<Record<string, () => Promise<Adapter>>>

/** What can be read wherever a backend runs: in Node and in a page. */
export const adapters: AdapterTable = {
  ops: () => import('./ops.js'),
  train: () => import('./train.js'),
  'models-text': () => import('./models-text.js'),
  weights: () => import('./weights.js'),
  'real-weights': () => import('./minilm.js'),
}

/** Formats that are known and not read, each with the reason. */
export const planned: Readonly<Record<string, string>> = {
  tokenizers:
    'tokenizers use no backend, so there is nothing to compare in a page; leave out --backend webgl',
  'models-multi': 'encoder-decoder, vision and audio models are not built yet',
  interpret: 'the interpretation goldens are not adapted yet',
  onnx: 'ONNX files are not read yet',
}
