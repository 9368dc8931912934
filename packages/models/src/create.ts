/** A model of a known family with initial values instead of loaded ones: to be trained, measured or taken apart. */
import { randomKey, type Tensor } from '@heed/tensor'
import type { Tokenizer } from '@heed/tokenizer'
import { ensureBackend } from './backend.js'
import { meanPooling } from './embed.js'
import { checkOptions, OptionError } from './errors.js'
import type { ModelConfig, SpecialIds } from './family.js'
import { HfConfig } from './hf-config.js'
import { families } from './load.js'
import { assembleModel, type TextModel } from './model.js'

/** Sizes are needed, everything else has the family's default. */
export type NewModelConfig = Pick<ModelConfig, 'family' | 'nLayer' | 'nHead' | 'dModel' | 'nCtx' | 'nVocab'> &
  Readonly<Record<string, unknown>>

export interface CreateOptions extends Partial<SpecialIds> {
  tokenizer?: Tokenizer | null
  /** Seeds the initial values; default `randomKey(0)`. */
  key?: Tensor
}

/**
 * Makes a model, such as `createModel({ family: 'gpt2', nLayer: 2, nHead: 4, dModel: 64, nCtx: 128, nVocab: 1000 })`.
 * Initial values are those of the family's first implementation: normal with standard deviation 0.02.
 * @throws OptionError for a family or a key that nobody knows, ConfigError for impossible values.
 */
export async function createModel(config: NewModelConfig, options: CreateOptions = {}): Promise<TextModel> {
  checkOptions('createModel', options, ['tokenizer', 'key', 'bosId', 'eosId', 'padId'])
  const family = families.find((f) => f.modelType === config.family)
  if (!family)
    throw new OptionError(
      `createModel: family '${config.family}' is unknown; use ${families.map((f) => f.modelType).join(' or ')}`,
    )
  const { bosId = null, eosId = null, padId = null, tokenizer = null, key = randomKey(0) } = options
  const hf = family.toHf(config, { bosId, eosId, padId })
  const described = family.fromHf(
    new HfConfig('createModel', hf),
    config.pooler === true ? ['pooler.dense.weight'] : [],
  )
  for (const name of Object.keys(config))
    if (!Object.hasOwn(described.config, name))
      throw new OptionError(
        `createModel: ${family.modelType} has no '${name}'; it has ${Object.keys(described.config).join(', ')}`,
      )
  await ensureBackend()
  return assembleModel({
    described,
    network: described.build(key),
    tokenizer,
    source: 'createModel',
    notes: [],
    pooling: described.kind === 'encoder' ? meanPooling : null,
    hfConfig: Object.freeze(hf),
    weightsHash: async () => null,
  })
}
