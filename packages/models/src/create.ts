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

const SIZES = ['nLayer', 'nHead', 'dModel', 'nCtx', 'nVocab'] as const

/** What config.json would say in Hugging Face's words is said in those of the caller. */
function checkSizes(config: NewModelConfig): void {
  for (const name of SIZES) {
    const size: unknown = config[name]
    if (size === undefined)
      throw new OptionError(`createModel: ${name} is missing; a model needs ${SIZES.join(', ')}`)
    if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 1)
      throw new OptionError(`createModel: ${name} is ${JSON.stringify(size)}, expected a positive integer`)
  }
  const { dModel, nHead } = config
  if (dModel % nHead !== 0)
    throw new OptionError(
      `createModel: dModel ${dModel} does not divide into nHead ${nHead} heads; make dModel a multiple of nHead`,
    )
  if (config.dHead !== undefined && config.dHead !== dModel / nHead)
    throw new OptionError(
      `createModel: dHead is ${JSON.stringify(config.dHead)}, but dModel ${dModel} and nHead ${nHead} make it ${dModel / nHead}; leave it out`,
    )
}

/**
 * Makes a model, such as `createModel({ family: 'gpt2', nLayer: 2, nHead: 4, dModel: 64, nCtx: 128, nVocab: 1000 })`.
 * Initial values are those of the family's first implementation: normal with standard deviation 0.02.
 * @throws OptionError for a family or a key that nobody knows and for sizes that are missing or do not fit, ConfigError for
 * other impossible values.
 */
export async function createModel(config: NewModelConfig, options: CreateOptions = {}): Promise<TextModel> {
  checkOptions('createModel', options, ['tokenizer', 'key', 'bosId', 'eosId', 'padId'])
  const family = families.find((f) => f.modelType === config?.family)
  if (!family)
    throw new OptionError(
      `createModel: family '${config?.family}' is unknown; use ${families.map((f) => f.modelType).join(' or ')}`,
    )
  checkSizes(config)
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
