/**
 * A model with everything a person needs at hand: called with ids like any model, run on text, walked by parameters. It is
 * the network's own module with properties added; how it was loaded is `load`'s business.
 */
import { type Context, type HasParts, type ModelInput, PARTS, parameters, type Tensor } from '@heed/tensor'
import type { Tokenizer } from '@heed/tokenizer'
import { type BatchOfOptions, batchOf, type TextBatch } from './batch.js'
import { type EmbedOptions, embedTexts, type Pooling } from './embed.js'
import { InputError } from './errors.js'
import type { Described, HeadKind, ModelConfig, Network } from './family.js'
import { type InputLike, toInput } from './input.js'
import { type RunOptions, runModel, type TextRun } from './text-run.js'

/** A model of a known family: `model(ids)` builds its graph, `model.run(text)` runs it. */
export interface TextModel extends HasParts {
  /** Logits (what they mean: `head`) of ids [batch, position]; builds graph only. */
  (input: InputLike, ctx?: Context): Tensor
  /** Frozen, in Heed's names. */
  readonly config: ModelConfig
  readonly family: string
  readonly kind: 'decoder' | 'encoder'
  readonly head: HeadKind
  /** Names of classes, for the heads that have some. */
  readonly labels: readonly string[]
  /** Folder or URL it came from; 'built-in' for the built-in model. */
  readonly source: string
  /** What was assumed or left alone while loading, one line each. */
  readonly notes: readonly string[]
  readonly tokenizer: Tokenizer | null
  readonly bosId: number | null
  readonly eosId: number | null
  readonly padId: number | null
  /** How sentence vectors are made, for encoders. */
  readonly pooling: Pooling | null
  /** Parameters by path, such as `blocks.0.attn.w_q`; tied ones once. */
  readonly parameters: ReadonlyMap<string, Tensor>
  /** The description it was built from: its weight table goes both ways. */
  readonly described: Described
  /** config.json as it was read, or as it would be written. */
  readonly hfConfig: Readonly<Record<string, unknown>>
  /** SHA-256 of the weights it was loaded from (read once more for it); null for a model that was not loaded. */
  weightsHash(): Promise<string | null>
  /** Ids of a text of any length, with the special tokens that its tokenizer adds. */
  encode(text: string): readonly number[]
  decode(ids: ArrayLike<number>): string
  /** The text of one id, as it reads: ' Mary', '##ing', '[MASK]'. */
  tokenText(id: number): string
  /** Runs on a text, on ids, or on a batch. */
  run(input: string | InputLike, options?: RunOptions): Promise<TextRun>
  /** Texts as one padded batch. */
  batchOf(texts: readonly string[], options?: BatchOfOptions): TextBatch
  /** Sentence vectors [text, dModel] of an encoder. */
  embed(texts: readonly string[], options?: EmbedOptions): Promise<Tensor>
}

export interface ModelParts {
  described: Described
  network: Network
  tokenizer: Tokenizer | null
  source: string
  notes: readonly string[]
  pooling: Pooling | null
  hfConfig: Readonly<Record<string, unknown>>
  weightsHash: () => Promise<string | null>
}

/** Puts a network and what belongs to it together. */
export function assembleModel(parts: ModelParts): TextModel {
  const { described, network, tokenizer } = parts
  const config = Object.freeze({ ...described.config })
  const needTokenizer = (): Tokenizer => {
    if (tokenizer) return tokenizer
    throw new InputError(
      `${parts.source}: has no tokenizer.json, so it reads no text; pass ids, or add the file`,
    )
  }
  const self = ((input: InputLike, ctx?: Context): Tensor => {
    const checked: ModelInput = toInput(input, config as ModelConfig & { nType?: number })
    return network(checked, ctx)
  }) as unknown as TextModel
  const properties: Omit<TextModel, typeof PARTS | 'parameters'> = {
    config,
    family: config.family,
    kind: described.kind,
    head: described.head,
    labels: described.labels,
    source: parts.source,
    notes: parts.notes,
    tokenizer,
    bosId: described.bosId,
    eosId: described.eosId,
    padId: described.padId ?? tokenizer?.padToken?.id ?? null,
    pooling: parts.pooling,
    described,
    hfConfig: parts.hfConfig,
    weightsHash: parts.weightsHash,
    encode: (text) => needTokenizer().encode(text, { padding: false, truncation: false }).ids,
    decode: (ids) => needTokenizer().decode(Array.from(ids)),
    tokenText(id) {
      const t = needTokenizer()
      const text = t.decode([id], { skipSpecialTokens: false })
      // half a character has no text of its own: its piece is shown instead
      return text === '' || text.includes('\ufffd') ? (t.idToToken(id) ?? `<${id}>`) : text
    },
    run: (input, options) => runModel(self, input, options),
    batchOf: (texts, options) => batchOf(self, texts, options),
    embed: (texts, options) => embedTexts(self, texts, options),
  }
  Object.defineProperty(self, PARTS, { value: network[PARTS] })
  for (const [key, value] of Object.entries(properties))
    Object.defineProperty(self, key, { value, enumerable: true })
  Object.defineProperty(self, 'parameters', { enumerable: true, get: () => parameters(network) })
  Object.defineProperty(self, Symbol.for('nodejs.util.inspect.custom'), { value: () => describe(self) })
  return self
}

function describe(m: TextModel): string {
  const { nLayer, nHead, dModel, nVocab, nCtx } = m.config
  return `Model ${m.family} (${m.kind}, ${m.head}) ${nLayer} layers × ${nHead} heads, dModel ${dModel}, vocabulary ${nVocab}, context ${nCtx} from ${m.source}`
}
