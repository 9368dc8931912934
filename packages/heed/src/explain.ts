/**
 * `explain`: calls the methods of `@heed/interpret` in order and writes their results into the report's one object. It
 * holds no arithmetic of its own: what a number means is said where it is computed.
 */
import { patternSelfCheck, residualIdentity, type SelfCheck } from '@heed/interpret'
import type { TextModel, TextRun } from '@heed/models'
import { type ExplainData, packPatterns } from '@heed/viz'
import { attributionsOf } from './attributions.js'
import { UsageError } from './errors.js'
import { headsOf, kindsOf, lensOf } from './heads.js'
import { modelName, provenanceOf } from './provenance.js'
import { type Subject, subjectOf } from './subject.js'
import { tokensOf } from './token-rows.js'

export interface ExplainOptions {
  /** Predictions and lines to list; default 5. */
  top?: number
  /** Of random orders and random sequences; default 0. */
  seed?: number
  /** Encoders: lines among which the nearest is found. */
  lines?: readonly string[]
  /** The head whose whole pattern is wanted, and which the report opens with; default: the one that matters most. */
  layer?: number
  head?: number
  /** What is being done, for people. */
  onProgress?: (line: string) => void
}
const known = ['top', 'seed', 'lines', 'layer', 'head', 'onProgress']

/** What the report draws, and the pattern that was asked for. */
export interface Explanation extends ExplainData {
  /** With `layer` and `head`: attention weights in full precision, [query][key]; rows add up to 1. */
  pattern?: { layer: number; head: number; weights: number[][] }
}

/**
 * Everything `heed explain` shows, as data.
 * @throws UsageError for an impossible option, and the errors of the model and the methods: text too long, no tokenizer …
 */
export async function explain(
  model: TextModel,
  text: string,
  options: ExplainOptions = {},
): Promise<Explanation> {
  const { top = 5, seed = 0, lines, layer, head, onProgress = () => undefined } = checked(model, options)
  onProgress('running the model')
  const { run, second, shift } = await runOn(model, text)
  await refuseNaN(model, run)
  const tokens = tokensOf(model, run, shift)
  const provenance = await provenanceOf(model, run, tokens, seed)
  const notes: string[] = []
  const data: Explanation = {
    format: 'heed-explain',
    version: 1,
    text,
    tokens,
    architecture: model.kind,
    layers: model.config.nLayer,
    heads: model.config.nHead,
    provenance,
    patterns: null,
    notes,
  }
  if (second !== null) notes.push('The text was read as two, split at its separator token.')
  const subject = await subjectOf(model, run, data, { top, lines, second, onProgress })
  data.attributions = await attributionsOf(run, subject, { seed, onProgress })
  if (!subject && model.head === 'none')
    notes.push(
      'This encoder has no score of its own to explain, so there is no gradient × input: name lines to compare the text with, --with FILE.',
    )
  onProgress('naming the kinds of heads')
  const { selfChecks } = provenance
  const kinds = await kindsOf(model, seed, notes)
  await headsOf(run, data, kinds, top, selfChecks)
  await lensOf(model, run, data, selfChecks)
  selfChecks.push(checkOf(await residualIdentity(run)), checkOf(await patternSelfCheck(run)))
  notes.push(...model.notes.map((n) => `Loading the model: ${n}.`))

  onProgress('packing the attention patterns')
  data.patterns = await patternsOf(model, run)
  if (layer !== undefined && head !== undefined)
    data.pattern = { layer, head, weights: await patternOf(run, layer, head) }
  data.initial = {
    layer: layer ?? data.headTable?.rows[0]?.layer ?? 0,
    head: head ?? data.headTable?.rows[0]?.head ?? 0,
    token: subject?.position ?? mostMarked(data, subject),
  }
  return data
}

function checked(model: TextModel, options: ExplainOptions): ExplainOptions {
  for (const name of Object.keys(options))
    if (!known.includes(name))
      throw new UsageError(`explain: option '${name}' is unknown; options are ${known.join(', ')}`)
  const { nLayer, nHead } = model.config
  const whole = (name: string, value: number | undefined, lo: number, hi: number): void => {
    if (value !== undefined && !(Number.isInteger(value) && value >= lo && value <= hi))
      throw new UsageError(
        `--${name} is ${value}; ${hi === Number.MAX_SAFE_INTEGER ? `give a whole number of at least ${lo}` : `the model has ${name}s ${lo} to ${hi}`}`,
      )
  }
  whole('top', options.top, 1, Number.MAX_SAFE_INTEGER)
  whole('seed', options.seed, 0, Number.MAX_SAFE_INTEGER)
  whole('layer', options.layer, 0, nLayer - 1)
  whole('head', options.head, 0, nHead - 1)
  if ((options.layer === undefined) !== (options.head === undefined))
    throw new UsageError('--layer and --head name one head together; give both')
  if (options.lines && model.kind === 'decoder')
    throw new UsageError('--with needs an encoder; a decoder makes no sentence vectors, leave it out')
  if (options.lines?.length === 0) throw new UsageError('--with has no lines; give at least one')
  return options
}

/** One text, or two where the head reads two and a separator stands in the text. `second`: its first token. */
async function runOn(
  model: TextModel,
  text: string,
): Promise<{ run: TextRun; second: number | null; shift: number }> {
  const separator = model.tokenizer?.specialTokens.find(
    (t) => t.token === '[SEP]' || t.token === '</s>',
  )?.token
  const readsTwo = model.head === 'span' || model.head === 'classes'
  const at = separator && readsTwo ? text.indexOf(separator) : -1
  if (!separator || at <= 0 || text.indexOf(separator, at + 1) >= 0)
    return { run: await model.run(text, { keep: 'all' }), second: null, shift: 0 }
  const shift = at + separator.length
  const run = await model.run(text.slice(0, at), { keep: 'all', pair: text.slice(shift) })
  const second = run.encoding?.typeIds.indexOf(1) ?? -1
  return { run, second: second < 0 ? null : second, shift }
}

/** Weights that are damaged or too large show here, not as a page of NaN. */
async function refuseNaN(model: TextModel, run: TextRun): Promise<void> {
  for (let i = 0; i < model.config.nLayer; i++) {
    const tap = `blocks.${i}.${model.kind === 'encoder' ? 'ln2' : 'resid_post'}`
    const values = (await run.get(tap).data()) as Float32Array
    if (!values.every(Number.isFinite))
      throw new UsageError(
        `${modelName(model.source)}: the model computes NaN or infinity in layer ${i} (${tap}); its weights are damaged or too large, load another copy`,
      )
  }
}

/** Errors of float32 sums of values around 1; they are reported either way. */
const checkOf = ({ name, error }: SelfCheck): { name: string; error: number; tolerance: number } => ({
  name,
  error,
  tolerance: 1e-3,
})

/** Without a position of its own an explanation opens at the token with the largest value. */
function mostMarked(data: ExplainData, subject: Subject | null): number {
  const values = data.attributions?.at(subject ? -1 : 0)?.values ?? []
  let best = 0
  data.tokens.forEach((t, i) => {
    if (
      !t.special &&
      Math.abs(values[i] ?? 0) > Math.abs(data.tokens[best].special ? 0 : (values[best] ?? 0))
    )
      best = i
  })
  return best
}

/** One layer of patterns at a time. */
async function patternsOf(model: TextModel, run: TextRun): Promise<ExplainData['patterns']> {
  const { nLayer, nHead } = model.config
  const count = run.ids[0].length
  let loaded = -1
  let values = new Float32Array()
  return packPatterns(
    async (layer, head) => {
      if (layer !== loaded) {
        values = (await run.get(`blocks.${layer}.attn.pattern`).data()) as Float32Array<ArrayBuffer>
        loaded = layer
      }
      return values.subarray(head * count * count, (head + 1) * count * count)
    },
    { layers: nLayer, heads: nHead, queries: count, keys: count, causal: model.kind === 'decoder' },
  )
}

async function patternOf(run: TextRun, layer: number, head: number): Promise<number[][]> {
  const whole = run.get(`blocks.${layer}.attn.pattern`, { head }) // [1, 1, query, key]
  const values = (await whole.data()) as Float32Array
  const count = run.ids[0].length
  return Array.from({ length: count }, (_, q) => Array.from(values.subarray(q * count, (q + 1) * count)))
}
