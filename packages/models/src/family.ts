/**
 * What a family of models has to say: how to read its config.json, how to build its network, how its weights are named.
 * Everything else in this package works on this description.
 */
import type { Context, HasParts, ModelInput, Tensor } from '@heed/tensor'
import type { HfConfig } from './hf-config.js'
import type { WeightTable } from './weight-rules.js'

/** Heed's words for what every model has; families add their own. Frozen once a model is made. */
export interface ModelConfig extends Readonly<Record<string, unknown>> {
  readonly family: string
  readonly nLayer: number
  readonly nHead: number
  readonly dModel: number
  readonly dHead: number
  /** Width inside the MLP. */
  readonly dMlp: number
  /** Positions that fit. */
  readonly nCtx: number
  readonly nVocab: number
}

/** What the model's output means. */
export type HeadKind =
  /** Logits of the next token [batch, position, vocabulary]. */
  | 'next-token'
  /** Logits of the token itself [batch, position, vocabulary]. */
  | 'masked-token'
  /** Logits of classes of the whole text [batch, class]. */
  | 'classes'
  /** Logits of classes of every token [batch, position, class]. */
  | 'token-classes'
  /** Logits of where an answer starts and ends [batch, position, 2]; taps start_logits, end_logits. */
  | 'span'
  /** Hidden states [batch, position, dModel]. */
  | 'none'

/** Maps checked input to its output; a module, so its parameters can be walked. */
export type Network = ((input: ModelInput, ctx?: Context) => Tensor) & HasParts

/** Ids that stand for themselves, or null. */
export interface SpecialIds {
  /** The beginning of a text. */
  readonly bosId: number | null
  /** The end of a text. */
  readonly eosId: number | null
  readonly padId: number | null
}

export interface Described extends SpecialIds {
  readonly config: ModelConfig
  readonly kind: 'decoder' | 'encoder'
  readonly head: HeadKind
  /** Names of the classes, where the head has some. */
  readonly labels: readonly string[]
  readonly build: (key?: Tensor) => Network
  readonly weights: WeightTable
  /** What was assumed or left alone while reading, for people. */
  readonly notes: readonly string[]
}

export interface Family {
  /** `model_type` of config.json. */
  readonly modelType: string
  /** @throws ConfigError. `tensors` are the names in the weight file. */
  fromHf(config: HfConfig, tensors: readonly string[]): Described
  /** config.json of a model that is made here; what is not given has the family's default. */
  toHf(config: Partial<ModelConfig>, ids: SpecialIds): Record<string, unknown>
}
