/**
 * Reading a Hugging Face config.json: every key is read by somebody, known to be harmless, or reported. A key that changes
 * the computation in a way that is not built is an error. No family is known here.
 */
import type { ActivationName } from '@heed/tensor'
import { ConfigError, OptionError } from './errors.js'

/** Keys that say nothing about the forward pass: names, training, defaults of generation, what to return. */
const HARMLESS = new Set(
  `_name_or_path _attn_implementation _attn_implementation_autoset _commit_hash transformers_version torch_dtype dtype
  initializer_range initializer_factor initializer_std gradient_checkpointing use_cache output_attentions output_hidden_states
  output_past return_dict torchscript tf_legacy_loss use_bfloat16 label2id problem_type finetuning_task
  task_specific_params tokenizer_class prefix bos_token_id eos_token_id sep_token_id pad_token_id decoder_start_token_id
  max_length min_length do_sample early_stopping num_beams num_beam_groups diversity_penalty temperature top_k top_p
  typical_p repetition_penalty length_penalty no_repeat_ngram_size encoder_no_repeat_ngram_size bad_words_ids
  num_return_sequences output_scores return_dict_in_generate forced_bos_token_id forced_eos_token_id
  remove_invalid_values exponential_decay_length_penalty suppress_tokens begin_suppress_tokens chunk_size_feed_forward
  is_encoder_decoder cross_attention_hidden_size tie_encoder_decoder language directionality pooler_fc_size
  pooler_num_attention_heads pooler_num_fc_layers pooler_size_per_head pooler_type architectures model_type
  classifier_dropout hidden_dropout_prob attention_probs_dropout_prob resid_pdrop embd_pdrop attn_pdrop
  summary_activation summary_first_dropout summary_proj_to_labels summary_type summary_use_proj
  reorder_and_upcast_attn is_decoder add_cross_attention tie_word_embeddings pruned_heads auto_map
  sentence_transformers license`.split(/\s+/),
)

/** Keys of other families and of modified models: whoever sets one of them wants another computation. */
const CHANGING =
  /^(quantization_config|compression_config|sliding_window|layer_types|num_key_value_heads|head_dim|num_experts.*|num_local_experts|.*softcap.*|.*softcapping|rope_.*|rotary.*|alibi|multi_query|parallel_attn|use_parallel_residual|embedding_size|layer_norm_type|no_bias|qk_norm|use_qk_norm|normalize_before|do_layer_norm_before)$/

/** The values of a key that leave the computation alone. */
const isOff = (value: unknown): boolean =>
  value === null ||
  value === false ||
  (Array.isArray(value) && value.length === 0) ||
  (typeof value === 'object' && Object.keys(value as object).length === 0)

/** The activations of Hugging Face's `ACT2FN` that are built, by the name of the function here. */
const ACTIVATIONS: Readonly<Record<string, ActivationName>> = {
  gelu: 'gelu',
  gelu_python: 'gelu',
  gelu_new: 'geluTanh',
  gelu_fast: 'geluTanh',
  gelu_accurate: 'geluTanh',
  gelu_pytorch_tanh: 'geluTanh',
  gelu_python_tanh: 'geluTanh',
  quick_gelu: 'quickGelu',
  relu: 'relu',
  relu2: 'reluSquared',
  silu: 'silu',
  swish: 'silu',
  sigmoid: 'sigmoid',
  tanh: 'tanh',
  mish: 'mish',
  hardswish: 'hardSwish',
  linear: 'identity',
}

/** The name under which Hugging Face knows an activation. */
export function activationKey(name: ActivationName): string {
  const preferred: Partial<Record<ActivationName, string>> = {
    geluTanh: 'gelu_new',
    silu: 'silu',
    gelu: 'gelu',
  }
  const key = preferred[name] ?? Object.keys(ACTIVATIONS).find((k) => ACTIVATIONS[k] === name)
  if (!key) throw new OptionError(`activation '${name}' has no name in Hugging Face's config.json`)
  return key
}

export class HfConfig {
  private readonly read = new Set<string>()
  constructor(
    /** Path, for messages. */
    readonly file: string,
    readonly values: Readonly<Record<string, unknown>>,
  ) {}

  fail(message: string): never {
    throw new ConfigError(this.file, message)
  }
  has(key: string): boolean {
    return this.values[key] !== undefined && this.values[key] !== null
  }
  private find(keys: readonly string[]): [string, unknown] | undefined {
    for (const key of keys) this.read.add(key)
    const present = keys.filter((key) => this.has(key))
    // one meaning under two spellings: they have to agree
    for (const other of present.slice(1))
      if (JSON.stringify(this.values[other]) !== JSON.stringify(this.values[present[0]]))
        this.fail(
          `${present[0]} is ${JSON.stringify(this.values[present[0]])} and ${other} is ${JSON.stringify(this.values[other])}; they mean the same`,
        )
    return present.length > 0 ? [present[0], this.values[present[0]]] : undefined
  }
  /** A positive integer under any of its spellings. */
  size(keys: readonly string[], fallback?: number): number {
    const found = this.find(keys)
    if (!found) {
      if (fallback !== undefined) return fallback
      return this.fail(`${keys[0]} is missing; it says how large the model is`)
    }
    const [key, value] = found
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 1)
      this.fail(`${key} is ${JSON.stringify(value)}, expected a positive integer`)
    return value as number
  }
  number(keys: readonly string[], fallback: number): number {
    const found = this.find(keys)
    if (!found) return fallback
    const [key, value] = found
    if (typeof value !== 'number' || !Number.isFinite(value))
      this.fail(`${key} is ${JSON.stringify(value)}, expected a number`)
    return value as number
  }
  flag(key: string, fallback: boolean): boolean {
    const found = this.find([key])
    if (!found) return fallback
    if (typeof found[1] !== 'boolean')
      this.fail(`${key} is ${JSON.stringify(found[1])}, expected true or false`)
    return found[1] as boolean
  }
  text(key: string, fallback: string): string {
    const found = this.find([key])
    if (!found) return fallback
    if (typeof found[1] !== 'string') this.fail(`${key} is ${JSON.stringify(found[1])}, expected a string`)
    return found[1] as string
  }
  /** A token id, or null. */
  id(key: string): number | null {
    const found = this.find([key])
    if (!found) return null
    const value = Array.isArray(found[1]) ? found[1][0] : found[1]
    if (typeof value !== 'number' || !Number.isInteger(value))
      this.fail(`${key} is ${JSON.stringify(found[1])}, expected a token id`)
    return value as number
  }
  activation(key: string, fallback: string): ActivationName {
    const name = this.text(key, fallback)
    if (!Object.hasOwn(ACTIVATIONS, name))
      this.fail(`${key} '${name}' is not supported; supported are ${Object.keys(ACTIVATIONS).join(', ')}`)
    return ACTIVATIONS[name]
  }
  /** A key that has to be off (absent, null, false or empty), because what it asks for is not built. */
  refuse(key: string, why: string): void {
    this.read.add(key)
    const value = this.values[key]
    if (value !== undefined && !isOff(value))
      this.fail(`${key} ${JSON.stringify(value)} is not supported: ${why}`)
  }
  /** Keys that mean nothing for this model. */
  skip(...keys: string[]): void {
    for (const key of keys) this.read.add(key)
  }
  /** Class names under `architectures`; empty when absent. */
  architectures(): string[] {
    const value = this.values.architectures ?? []
    if (!Array.isArray(value) || value.some((v) => typeof v !== 'string'))
      this.fail(`architectures is ${JSON.stringify(value)}, expected a list of class names`)
    return value as string[]
  }
  /** How many classes a head has: `num_labels`, else the size of `id2label`, else 2 as Hugging Face has it. */
  labels(): string[] {
    this.read.add('id2label')
    const given = this.values.id2label as Record<string, unknown> | undefined
    const names = given && typeof given === 'object' ? Object.entries(given) : []
    const count = this.size(['num_labels', '_num_labels'], names.length || 2)
    const labels = Array.from({ length: count }, (_, i) => `LABEL_${i}`)
    for (const [i, name] of names) if (Number(i) < count) labels[Number(i)] = String(name)
    return labels
  }
  /**
   * After a family has read what it knows: refuses keys that are known to change the computation, returns those that
   * nobody knows.
   */
  unread(): string[] {
    const rest = Object.keys(this.values).filter((key) => !this.read.has(key) && !HARMLESS.has(key))
    for (const key of rest)
      if (CHANGING.test(key) && !isOff(this.values[key]))
        this.fail(
          `${key} ${JSON.stringify(this.values[key]).slice(0, 80)} changes the computation and is not supported for model_type '${String(this.values.model_type)}'; use a model without it`,
        )
    return rest.filter((key) => !isOff(this.values[key]))
  }
}
