// Adapter of the format 'models-text': tiny models of Hugging Face with what they compute. A folder is loaded as a user's
// would be; which families are built is decided by its config.json, never by its name.
import {
  type BatchInput,
  families,
  generateIds,
  type InputLike,
  loadModel,
  minP,
  type Processor,
  pool,
  repetitionPenalty,
  startDecoding,
  type TextModel,
  temperature,
  toFile,
  toInput,
  topK,
  topP,
} from '@heed/models'
import {
  add,
  crossEntropy,
  grad,
  mul,
  type Run,
  realize,
  reshape,
  setBackend,
  slice,
  sum,
  type Tensor,
  tensor,
  trace,
} from '@heed/tensor'
import { openWeights, type Weights } from '@heed/weights'
import {
  type Collection,
  type Comparison,
  compare,
  type GoldenCase,
  type Options,
  type Outcome,
  outcome,
  unsupported,
} from './case.js'
import { type Files, readJson } from './files.js'
import { widen } from './tolerances.js'

const format = 'models-text'
// "Compare like this" of the collection's README
const tolerance = { logits: 1e-4, hidden: 5e-5, attentions: 1e-5, loss: 1e-5, grad: 1e-4, gradFloor: 1e-6 }

type Rows = number[][]
interface Inputs {
  input_ids: Rows
  attention_mask?: Rows
  token_type_ids?: Rows
  position_ids?: Rows
}
interface Batch {
  inputs: Inputs
  targets?: { labels?: number[] | Rows; start_positions?: number[]; end_positions?: number[] }
}
interface Generation {
  name?: string
  settings: Record<string, unknown>
  prompt: { input_ids: Rows; attention_mask?: Rows }
  sequences: Rows
}
interface Expected {
  pad_rows?: string
  loss_kind: string
  loss_batches: string[]
  batches: Record<string, Batch>
  grad?: { batch: string; unused_parameters?: string[] }
  step?: Record<string, Inputs>
  generation?: Generation[]
}

/** A folder with its expected values and the model, each opened once and when first needed. */
class Folder {
  private loaded: Promise<TextModel> | undefined
  private runs = new Map<string, Promise<Run<InputLike>>>()
  constructor(
    readonly dir: string,
    readonly name: string,
    readonly expected: Expected,
    readonly tensors: Weights,
    private readonly options: { configFile?: string; weightsFile?: string } = {},
  ) {}
  model(): Promise<TextModel> {
    this.loaded ??= loadModel(this.dir, this.options)
    return this.loaded
  }
  variant(options: { configFile?: string; weightsFile?: string }): Folder {
    return new Folder(this.dir, this.name, this.expected, this.tensors, options)
  }
  /** Everything that is compared of one batch, in one forward pass. */
  run(batch: string): Promise<Run<InputLike>> {
    const known = this.runs.get(batch)
    if (known) return known
    const made = this.model().then(async (model) => {
      const input = asInput(this.expected.batches[batch].inputs)
      return trace<InputLike>(model, toInput(input, limits(model)), {
        keep: ['blocks.*.resid_pre', 'blocks.*.resid_post', 'blocks.*.attn.pattern', 'blocks.*.ln2'],
      })
    })
    this.runs.set(batch, made)
    return made
  }
  want(name: string): Promise<Float32Array> {
    return this.tensors.readF32(name)
  }
  has(name: string): boolean {
    return this.tensors.has(name)
  }
}

const limits = (m: TextModel) => ({
  nVocab: m.config.nVocab,
  nCtx: m.config.nCtx,
  ...(typeof m.config.nType === 'number' ? { nType: m.config.nType } : {}),
})
const asInput = (i: Inputs): BatchInput => ({
  ids: i.input_ids,
  ...(i.attention_mask ? { mask: i.attention_mask } : {}),
  ...(i.token_type_ids ? { typeIds: i.token_type_ids } : {}),
  ...(i.position_ids ? { positions: i.position_ids } : {}),
})

/** 1 where a value belongs to a real token, for [batch, …, position, …]; undefined where every row counts. */
function realRows(
  folder: Folder,
  batch: string,
  shape: readonly number[],
  axis: number,
): Uint8Array | undefined {
  const mask = folder.expected.batches[batch].inputs.attention_mask
  if (!mask || folder.expected.pad_rows !== 'zeroed') return undefined
  const inner = shape.slice(axis + 1).reduce((n, d) => n * d, 1)
  const between = shape.slice(1, axis).reduce((n, d) => n * d, 1)
  const out = new Uint8Array(shape.reduce((n, d) => n * d, 1))
  let at = 0
  for (const row of mask)
    for (let b = 0; b < between; b++)
      for (let p = 0; p < shape[axis]; p++) {
        if (row[p]) out.fill(1, at, at + inner)
        at += inner
      }
  return out
}

async function compared(
  folder: Folder,
  batch: string,
  name: string,
  got: Tensor,
  atol: number,
  axis: number,
): Promise<Comparison> {
  const want = await folder.want(`${batch}.${name}`)
  const select = realRows(folder, batch, got.shape, axis)
  return compare(
    (await got.data()) as Float32Array,
    want,
    { atol },
    { label: `${batch}.${name}`, ...(select ? { select } : {}) },
  )
}

/** A named output of the model for a batch, with the tolerance of the README. */
async function outputsOf(folder: Folder, batch: string): Promise<Comparison[]> {
  const model = await folder.model()
  const run = await folder.run(batch)
  const out: Comparison[] = []
  const one = async (name: string, make: () => Tensor, atol: number): Promise<void> => {
    if (folder.has(`${batch}.${name}`)) out.push(await compared(folder, batch, name, make(), atol, 1))
  }
  await one('logits', () => run.output, tolerance.logits)
  await one('start_logits', () => run.get('start_logits'), tolerance.logits)
  await one('end_logits', () => run.get('end_logits'), tolerance.logits)
  await one('last_hidden_state', () => lastHidden(model, run), tolerance.hidden)
  await one('pooler_output', () => run.get('pooler'), tolerance.hidden)
  await one(
    'sentence_embedding',
    () => sentence(model, run, folder.expected.batches[batch].inputs),
    tolerance.hidden,
  )
  return out
}

const lastHidden = (model: TextModel, run: Run<InputLike>): Tensor =>
  model.kind === 'encoder' ? run.get(`blocks.${model.config.nLayer - 1}.ln2`) : run.get('ln_final')

function sentence(model: TextModel, run: Run<InputLike>, inputs: Inputs): Tensor {
  const mask = toInput(asInput(inputs), limits(model)).mask ?? null
  if (!model.pooling) throw new Error('the model makes no sentence vectors')
  return pool(lastHidden(model, run), mask, model.pooling)
}

async function hiddenStates(folder: Folder, batch: string): Promise<Comparison[]> {
  const model = await folder.model()
  const run = await folder.run(batch)
  const { nLayer } = model.config
  const out: Comparison[] = []
  for (let i = 0; i <= nLayer; i++) {
    const got = i < nLayer ? run.get(`blocks.${i}.resid_pre`) : lastHidden(model, run)
    out.push(await compared(folder, batch, `hidden_states.${i}`, got, tolerance.hidden, 1))
  }
  return out
}

async function attentions(folder: Folder, batch: string): Promise<Comparison[]> {
  const model = await folder.model()
  const run = await folder.run(batch)
  const out: Comparison[] = []
  for (let i = 0; i < model.config.nLayer; i++)
    out.push(
      await compared(
        folder,
        batch,
        `attentions.${i}`,
        run.get(`blocks.${i}.attn.pattern`),
        tolerance.attentions,
        2,
      ),
    )
  return out
}

/** The loss of a batch as the README defines it, as graph. */
async function lossOf(folder: Folder, batch: string, run: Run<InputLike>): Promise<Tensor> {
  const { targets = {}, inputs } = folder.expected.batches[batch]
  const kind = folder.expected.loss_kind
  const flat = (labels: readonly number[]) => tensor(Int32Array.from(labels), { dtype: 'i32' })
  const rows = (logits: Tensor, labels: readonly number[]) =>
    crossEntropy(reshape(logits, [-1, logits.shape[logits.rank - 1]]), flat(labels), { ignoreIndex: -100 })
  const labels = targets.labels
  if (kind === 'causal-lm-shifted-mean') {
    const length = run.output.shape[1]
    return rows(
      slice(run.output, [null, [0, length - 1]]),
      (labels as Rows).flatMap((row) => row.slice(1)),
    )
  }
  if (kind === 'masked-lm-ignore-index' || kind === 'token-classification')
    return rows(run.output, (labels as Rows).flat())
  if (kind === 'sequence-classification') return rows(run.output, labels as number[])
  if (kind === 'question-answering-start-end-mean') {
    const start = rows(run.get('start_logits'), targets.start_positions as number[])
    return mul(add(start, rows(run.get('end_logits'), targets.end_positions as number[])), 0.5)
  }
  const cotangent = async (name: string, x: Tensor) =>
    sum(mul(x, tensor(await folder.want(`${batch}.cotangent.${name}`), x.shape)))
  const model = await folder.model()
  if (kind === 'cotangent-last-hidden-and-pooler')
    return add(
      await cotangent('last_hidden_state', lastHidden(model, run)),
      await cotangent('pooler_output', run.get('pooler')),
    )
  if (kind === 'cotangent-sentence-embedding')
    return cotangent('sentence_embedding', sentence(model, run, inputs))
  throw new Error(`loss_kind '${kind}' is not known`)
}

async function loss(folder: Folder, batch: string): Promise<Outcome> {
  const value = await lossOf(folder, batch, await folder.run(batch))
  const want = await folder.want(`${batch}.loss`)
  if (!folder.expected.loss_kind.startsWith('cotangent'))
    return outcome([
      compare([await value.item()], want, { atol: tolerance.loss }, { label: `${batch}.loss` }),
    ])
  const row = widen(format, `${folder.name}/${batch}/cotangent-loss`, { atol: tolerance.loss })
  let squares = 0
  for (const name of folder.tensors.names.filter((n) => n.startsWith(`${batch}.cotangent.`)))
    for (const v of await folder.want(name)) squares += v * v
  const atol = row.atol + (row.rtol ?? 0) * Math.sqrt(squares)
  return outcome([compare([await value.item()], want, { atol }, { label: `${batch}.loss` })], row.reason)
}

/** PyTorch's embedding gives the row of its padding id no gradient from the look-up: zero there unless the head ties it. */
function zeroPadRow(model: TextModel, name: string, values: Float32Array): void {
  const { padId, config } = model
  const isTied = model.head === 'masked-token' && config.tied === true
  if (model.kind !== 'encoder' || isTied || padId === null || !name.endsWith('word_embeddings.weight')) return
  values.fill(0, padId * config.dModel, (padId + 1) * config.dModel)
}

async function gradients(folder: Folder, batch: string): Promise<Outcome> {
  const model = await folder.model()
  const run = await folder.run(batch)
  const value = await lossOf(folder, batch, run)
  const names = [...model.parameters.keys()]
  const grads = grad(value, [...model.parameters.values()], { unused: 'zero' })
  await realize([value, ...grads])
  const values = new Map<string, Float32Array>()
  for (const [i, name] of names.entries()) values.set(name, (await grads[i].data()) as Float32Array)
  const largest = (x: Float32Array): number => x.reduce((m, v) => Math.max(m, Math.abs(v)), 0)
  const of = Math.max(...[...values.values()].map(largest))
  const { reason, atol, rtol = 0 } = widen(format, `${folder.name}/grad`, { atol: tolerance.gradFloor })
  const out: Comparison[] = []
  const seen = new Set<string>()
  for (const rule of model.described.weights.rules) {
    const name = `grad.${rule.file}`
    const want = await folder.want(name)
    const got = toFile(rule, values)
    zeroPadRow(model, rule.file, got)
    const allowed = tolerance.grad * largest(want) + atol + rtol * of
    out.push(compare(got, want, { atol: allowed }, { label: name }))
    seen.add(name)
  }
  const unused = new Set(folder.expected.grad?.unused_parameters?.map((n) => `grad.${n}`))
  const left = folder.tensors.names.find((n) => n.startsWith('grad.') && !seen.has(n) && !unused.has(n))
  if (left) throw new Error(`${left} was not compared: no weight rule names it`)
  return outcome(out, reason)
}

/** One more token through the cache. */
async function step(folder: Folder, batch: string): Promise<Comparison[]> {
  const model = await folder.model()
  const { inputs } = folder.expected.batches[batch]
  const next = (folder.expected.step as Record<string, Inputs>)[batch]
  const decoding = await startDecoding(
    model,
    { ids: inputs.input_ids, mask: inputs.attention_mask ?? null, positions: inputs.position_ids ?? null },
    1,
  )
  const got = await decoding.step(next.input_ids.map((row) => row[0]))
  const name = `${batch}.step.logits`
  return [compare(got, await folder.want(name), { atol: tolerance.logits }, { label: name })]
}

const HARMLESS = [
  'do_sample',
  'eos_token_id',
  'pad_token_id',
  'max_new_tokens',
  'length_penalty',
  'early_stopping',
]
const KNOWN = [...HARMLESS, 'repetition_penalty', 'num_beams', 'num_return_sequences']

/** Why a generation is not supported, or null. */
function refusal(settings: Record<string, unknown>): string | null {
  if (settings.do_sample === true) return 'samples drawn by another generator cannot be compared'
  if (typeof settings.num_beams === 'number' && settings.num_beams > 1) return 'beam search is not built yet'
  const unknown = Object.entries(settings).find(([key, value]) => value !== null && !KNOWN.includes(key))
  return unknown ? `generation setting ${unknown[0]} is not built yet` : null
}

async function generation(folder: Folder, g: Generation): Promise<Outcome> {
  const { settings } = g
  const eos = settings.eos_token_id
  if (Array.isArray(eos)) return { status: 'unsupported', reason: 'several end tokens are not built yet' }
  const got = await generateIds(
    await folder.model(),
    { ids: g.prompt.input_ids, mask: g.prompt.attention_mask ?? null },
    {
      maxNewTokens: settings.max_new_tokens as number,
      eosId: (eos as number | null) ?? null,
      padId: (settings.pad_token_id as number | null) ?? null,
      ...(settings.repetition_penalty === undefined
        ? {}
        : { repetitionPenalty: settings.repetition_penalty as number }),
    },
  )
  return outcome(g.sequences.map((row, r) => compare(got[r], row, { atol: 0 }, { label: `row ${r}` })))
}

function* casesOf(folder: Folder, id: string): Generator<GoldenCase> {
  const { expected } = folder
  const one = (name: string, run: () => Promise<Comparison[]>): GoldenCase => ({
    id: `${id}/${name}`,
    run: async () => outcome(await run()),
  })
  for (const batch of Object.keys(expected.batches)) {
    yield one(`${batch}/logits`, () => outputsOf(folder, batch))
    yield one(`${batch}/hidden_states`, () => hiddenStates(folder, batch))
    yield one(`${batch}/attentions`, () => attentions(folder, batch))
    if (folder.has(`${batch}.final_norm.input`))
      yield one(`${batch}/final_norm.input`, async () => {
        const last = (await folder.model()).config.nLayer - 1
        const got = (await folder.run(batch)).get(`blocks.${last}.resid_post`)
        return [await compared(folder, batch, 'final_norm.input', got, tolerance.hidden, 1)]
      })
    if (expected.loss_batches.includes(batch))
      yield { id: `${id}/${batch}/loss`, run: () => loss(folder, batch) }
  }
  const graded = expected.grad
  if (graded) yield { id: `${id}/grad`, run: () => gradients(folder, graded.batch) }
  for (const batch of Object.keys(expected.step ?? {})) yield one(`step/${batch}`, () => step(folder, batch))
  for (const [i, g] of (expected.generation ?? []).entries()) {
    const name = `${id}/generation/${g.name ?? i}`
    const why = refusal(g.settings)
    yield why ? unsupported(name, why) : { id: name, run: () => generation(folder, g) }
  }
}

/** The same folder under its old spellings: every batch's outputs, bit for bit the same model. */
function* legacyCases(folder: Folder, files: { config: boolean; weights: boolean }): Generator<GoldenCase> {
  const variants = [
    ...(files.config ? [['config', { configFile: 'config.legacy.json' }] as const] : []),
    ...(files.weights
      ? [
          [
            'weights',
            {
              ...(files.config ? { configFile: 'config.legacy.json' } : {}),
              weightsFile: 'model.legacy.safetensors',
            },
          ] as const,
        ]
      : []),
  ]
  for (const [name, options] of variants) {
    const old = folder.variant(options)
    for (const batch of Object.keys(folder.expected.batches))
      yield {
        id: `${folder.name}/legacy/${name}/${batch}/logits`,
        run: async () => outcome(await outputsOf(old, batch)),
      }
  }
}

const supported = families.map((f) => f.modelType)

async function* folderCases(files: Files, dir: string, name: string): AsyncGenerator<GoldenCase> {
  const config = await readJson<{ model_type?: unknown }>(files, files.at(dir, 'config.json'))
  const type = String(config.model_type)
  if (!supported.includes(type)) {
    yield unsupported(name, `model_type '${type}' is not built yet; ${supported.join(' and ')} are`)
    return
  }
  const expected = await readJson<Expected>(files, files.at(dir, 'expected.json'))
  const tensors = await openWeights(files.at(dir, 'expected.safetensors'))
  try {
    const folder = new Folder(dir, name, expected, tensors)
    yield* casesOf(folder, name)
    yield* legacyCases(folder, {
      config: await files.exists(files.at(dir, 'config.legacy.json')),
      weights: await files.exists(files.at(dir, 'model.legacy.safetensors')),
    })
  } finally {
    await tensors.close()
  }
}

interface Link {
  processor: string
  [option: string]: unknown
}
interface Processors {
  input_ids: Rows
  scores: (number | null)[][]
  cases: { chain: Link[]; output: (number | null)[][] }[]
}

/** The processor of one link of a chain, or the reason why there is none. */
function processorOf(link: Link): Processor | string {
  const { processor, ...o } = link
  const fewest = (o.min_tokens_to_keep as number | undefined) ?? 1
  if (processor === 'temperature') return temperature(o.temperature as number)
  if (processor === 'repetition_penalty') return repetitionPenalty(o.penalty as number)
  if (processor === 'top_k') return topK(o.top_k as number, fewest)
  if (processor === 'top_p') return topP(o.top_p as number, fewest)
  // which of several equal scores is kept depends on an unstable sort
  if (processor === 'min_p')
    return fewest > 1 ? 'min_p with min_tokens_to_keep is not built yet' : minP(o.min_p as number)
  return `the score processor ${processor} is not built yet`
}

/** Which of several equal scores is dropped is up to a sort that is not stable: their results are put in order. */
function sortTies(scores: Float64Array, result: ArrayLike<number>): Float64Array {
  const out = Float64Array.from(result)
  for (const score of new Set(scores)) {
    const places = Array.from(scores.keys()).filter((i) => scores[i] === score)
    const values = places.map((i) => result[i]).sort((a, b) => a - b)
    for (const [k, i] of places.entries()) out[i] = values[k]
  }
  return out
}

async function* processorCases(files: Files, file: string): AsyncGenerator<GoldenCase> {
  const { input_ids: ids, scores, cases } = await readJson<Processors>(files, file)
  const number = (v: number | null) => v ?? Number.NEGATIVE_INFINITY
  const ids_ = new Map<string, number>()
  for (const one of cases) {
    const words = one.chain.map(({ processor, ...o }) =>
      [processor, ...Object.values(o).map((v) => JSON.stringify(v))].join('-'),
    )
    const base = `processors/${words.join('+')}`
    const n = (ids_.get(base) ?? 0) + 1
    ids_.set(base, n)
    const id = n > 1 ? `${base}#${n}` : base
    const chain = one.chain.map(processorOf)
    const why = chain.find((p) => typeof p === 'string')
    if (typeof why === 'string') {
      yield unsupported(id, why)
      continue
    }
    yield {
      id,
      run: async () =>
        outcome(
          one.output.map((row, r) => {
            const processors = chain as Processor[]
            const start: Float64Array = Float64Array.from(scores[r], number)
            const got = processors.reduce<Float64Array>((s, p) => p(s, ids[r]), start)
            const tied = (row: ArrayLike<number>) => sortTies(start, row)
            return compare(
              tied(got),
              tied(row.map(number)),
              { atol: 1e-6, rtol: 1e-6 },
              { label: `row ${r}` },
            )
          }),
        ),
    }
  }
}

export async function* cases({ dir }: Collection, options: Options): AsyncGenerator<GoldenCase> {
  const { files } = options
  // models run on the backend that is set; without one loadModel would choose
  setBackend(await options.backend())
  for (const { name, isFolder } of await files.list(dir)) {
    const folder = files.at(dir, name)
    if (isFolder && (await files.exists(files.at(folder, 'expected.json'))))
      yield* folderCases(files, folder, name)
  }
  const processors = files.at(dir, 'processors.json')
  if (await files.exists(processors)) yield* processorCases(files, processors)
}
