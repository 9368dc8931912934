/**
 * Where the files of the built-in model are: one `new URL(…, import.meta.url)` a file, which Node, browsers and bundlers
 * all resolve. No code of a model is here; `loadModel()` of `@heed/models` reads these files.
 */

/** The files of a model folder as Hugging Face lays it out, by name; `card.json` holds the figures of the README. */
export const files = {
  'config.json': new URL('../data/config.json', import.meta.url),
  'tokenizer.json': new URL('../data/tokenizer.json', import.meta.url),
  'model.safetensors': new URL('../data/model.safetensors', import.meta.url),
  'card.json': new URL('../data/card.json', import.meta.url),
} as const satisfies Readonly<Record<string, URL>>
