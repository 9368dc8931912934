/**
 * `explain`: calls the methods of `@heed/interpret` in order and writes their results into the report's one object. It
 * holds no arithmetic of its own: what a number means is said where it is computed.
 */
import {
  type DeletionCheck,
  deletionCheck,
  directLogitAttribution,
  gradientTimesInput,
  type HeadKinds,
  headKinds,
  logitLens,
  type Metric,
  patternSelfCheck,
  probabilityOf,
  residualIdentity,
  rollout,
} from '@heed/interpret'
import { bestSpan, nearestLines, spanScore, type TextModel, type TextRun } from '@heed/models'
import { getBackend, type Tensor } from '@heed/tensor'
import {
  type Attribution,
  type ExplainData,
  type ExplainToken,
  type HeadRow,
  type Prediction,
  packPatterns,
  visibleToken,
} from '@heed/viz'
import { sha256 } from '@heed/weights'
import { versions } from './versions.js'

export interface ExplainOptions {
  /** Predictions, heads and lines to list; default 5. */
  top?: number
  /** Of random orders and random sequences; default 0. */
  seed?: number
  /** Encoders: lines among which the nearest is found. */
  lines?: readonly string[]
  /** What the report opens with; default the head that matters most. */
  layer?: number
  head?: number
  /** What is being done, for people. */
  onProgress?: (line: string) => void
}

/** What is explained: a score, its gradient's target, and where rollout is read. */
interface Subject {
  readonly name: string
  readonly metric: Metric
  readonly target: () => Tensor
  /** Position whose rollout row is shown; null: the mean over all. */
  readonly position: number | null
  /** Positions that a deletion never takes. */
  readonly keep: readonly number[]
}

/**
 * Everything `heed explain` shows, as data.
 * @throws the errors of the model and the methods: text too long, no tokenizer …
 */
export async function explain(
  model: TextModel,
  text: string,
  options: ExplainOptions = {},
): Promise<ExplainData> {
  const { top = 5, seed = 0, lines, onProgress = () => undefined } = options
  onProgress('running the model')
  const run = await model.run(text, { keep: 'all' })
  const tokens = tokensOf(model, run)
  const notes: string[] = [...model.notes.map((n) => `model: ${n}`)]
  const selfChecks: ExplainData['provenance']['selfChecks'] = []
  const data: ExplainData = {
    format: 'heed-explain',
    version: 1,
    text,
    tokens,
    architecture: model.kind,
    layers: model.config.nLayer,
    heads: model.config.nHead,
    provenance: await provenanceOf(model, run, tokens, seed, selfChecks),
    patterns: null,
    notes,
  }
  const subject = await subjectOf(model, run, data, text, { top, lines, onProgress, notes })
  data.attributions = await attributionsOf(run, subject, { seed, onProgress })
  if (!subject)
    notes.push(
      'this encoder has no score of its own to explain, so there is no gradient × input: name lines to compare with, --with FILE',
    )

  onProgress('naming the kinds of heads')
  const kinds = await kindsOf(model, seed, notes)
  await headsOf(model, run, data, kinds, top, selfChecks)
  await lensOf(model, run, data, selfChecks)
  selfChecks.push(await check(residualIdentity(run)), await check(patternSelfCheck(run)))

  onProgress('packing the attention patterns')
  data.patterns = await patternsOf(model, run)
  const first = data.headTable?.rows[0]
  data.initial = {
    layer: options.layer ?? first?.layer ?? 0,
    head: options.head ?? first?.head ?? 0,
    token: subject?.position ?? tokens.length - 1,
  }
  return data
}

async function check(
  result: Promise<{ name: string; error: number }>,
): Promise<{ name: string; error: number; tolerance: number }> {
  const { name, error } = await result
  return { name, error, tolerance: 1e-3 }
}

function tokensOf(model: TextModel, run: TextRun): ExplainToken[] {
  const ids = run.ids[0]
  const specials = new Set(model.tokenizer?.specialTokens.map((t) => t.id))
  return ids.map((id, i) => {
    const added = run.encoding?.specialTokensMask[i] === 1
    const [start, end] = run.encoding?.offsets[i] ?? [null, null]
    return {
      text: run.tokens[i],
      id,
      special: added || specials.has(id),
      start: added ? null : start,
      end: added ? null : end,
    }
  })
}

async function provenanceOf(
  model: TextModel,
  run: TextRun,
  tokens: readonly ExplainToken[],
  seed: number,
  selfChecks: ExplainData['provenance']['selfChecks'],
): Promise<ExplainData['provenance']> {
  const backend = getBackend()
  const report = run.report
  const reference =
    report?.ran.filter((r) => r.how === 'reference').map((r) => `${r.op} (${r.count}): reference kernel`) ??
    []
  let parameters = 0
  for (const t of model.parameters.values()) parameters += t.size
  const weights = await model.weightsHash()
  return {
    // the folder's last part: no local path leaves the machine
    model:
      model.source === 'built-in'
        ? 'built-in'
        : (model.source
            .replace(/[/\\]+$/, '')
            .split(/[/\\]/)
            .at(-1) ?? model.source),
    family: model.family,
    parameters,
    weightsHash: weights === null ? null : `sha256:${weights.replace(/^sha256:/, '')}`,
    tokenizerHash: model.tokenizer
      ? `sha256:${await hashOf(JSON.stringify(model.tokenizer.toJson()))}`
      : null,
    specialTokensAdded: tokens
      .filter((t, i) => run.encoding?.specialTokensMask[i] === 1 && t.start === null)
      .map((t) => t.text),
    packages: { heed: versions().heed, node: versions().node },
    backend: backend.name,
    precision: backend.precision,
    date: new Date().toISOString(),
    seed,
    selfChecks,
    fallbacks: [
      ...(report?.inlined.map((r) => `${r.op} (${r.count}) written out: ${r.reason}`) ?? []),
      ...reference,
    ],
  }
}
async function hashOf(text: string): Promise<string> {
  return sha256(new TextEncoder().encode(text))
}

const quoted = (token: string): string => `“${visibleToken(token)}”`
const asRows = (list: readonly { token: string; id: number; probability: number }[]): Prediction[] =>
  list.map(({ token, id, probability }) => ({ token, id, probability }))

interface SubjectOptions {
  top: number
  lines?: readonly string[]
  onProgress: (line: string) => void
  notes: string[]
}

/** What this model says of the text, written into `data`, and which number of it is explained. */
async function subjectOf(
  model: TextModel,
  run: TextRun,
  data: ExplainData,
  text: string,
  o: SubjectOptions,
): Promise<Subject | null> {
  const last = data.tokens.length - 1
  const added = data.tokens.flatMap((t, i) => (t.special && t.start === null ? [i] : []))
  let subject: Subject | null = null
  switch (model.head) {
    case 'next-token': {
      const top = asRows(run.top(o.top))
      data.predictions = { top }
      subject = tokenSubject(run, top[0], last, added)
      break
    }
    case 'masked-token': {
      const mask = model.tokenizer?.maskToken
      const at = data.tokens.flatMap((t, i) => (t.id === mask?.id ? [i] : []))
      if (at.length === 0)
        o.notes.push(
          `the text has no ${mask?.token ?? 'mask token'}: put one where a word is to be predicted`,
        )
      else {
        data.masked = at.map((position) => ({ position, top: asRows(run.top(o.top, position)) }))
        subject = tokenSubject(run, data.masked[0].top[0], at[0], added)
      }
      break
    }
    case 'classes': {
      const top = run.top(model.labels.length)
      data.classes = top.map((t) => ({ label: t.token, probability: t.probability }))
      subject = {
        name: `the class ${top[0].token}`,
        metric: probabilityOf(top[0].id),
        target: () => run.logit(top[0].id),
        position: 0,
        keep: added,
      }
      break
    }
    case 'span': {
      const span = await bestSpan(run)
      const score = spanScore(span.start, span.end)
      const from = data.tokens[span.start].start
      const to = data.tokens[span.end].end
      const answer = from !== null && to !== null ? text.slice(from, to) : ''
      o.notes.push(
        answer
          ? `likeliest answer: “${answer}” (tokens ${span.start} to ${span.end}, start + end logit ${span.score.toFixed(3)})`
          : 'the likeliest span is a special token: the model finds no answer',
      )
      subject = {
        name: 'start + end logit of the likeliest answer',
        metric: score,
        target: () => score(run),
        position: span.start,
        keep: [...added, span.start, span.end],
      }
      break
    }
    case 'token-classes': {
      const rows = data.tokens.map(
        (t, position) => `${visibleToken(t.text)} ${run.top(1, position)[0].token}`,
      )
      o.notes.push(`classes of the tokens: ${rows.join(', ')}`)
      const chosen = last > 1 ? 1 : 0
      const best = run.top(1, chosen)[0]
      subject = {
        name: `the class ${best.token} of token ${chosen}`,
        metric: probabilityOf(best.id, { position: chosen }),
        target: () => run.logit(best.id, { position: chosen }),
        position: chosen,
        keep: [...added, chosen],
      }
      break
    }
    case 'none':
      break
  }
  if (o.lines) {
    const near = await nearestLines(model, text, o.lines, {
      onProgress: (done, of) => o.onProgress(`sentence vectors: ${done} of ${of}`),
    })
    data.nearest = {
      measure: 'cosine of sentence vectors',
      lines: near.lines.slice(0, o.top).map(({ text: line, score }) => ({ text: line, score })),
    }
    subject ??= {
      name: `similarity to ${quoted(near.lines[0].text)}`,
      metric: near.score,
      target: () => near.score(run),
      position: null,
      keep: added,
    }
  }
  return subject
}

function tokenSubject(
  run: TextRun,
  prediction: Prediction,
  position: number,
  added: readonly number[],
): Subject {
  return {
    name: quoted(prediction.token),
    metric: probabilityOf(prediction.id, { position }),
    target: () => run.logit(prediction.id, { position }),
    position,
    keep: [...new Set([...added, position])],
  }
}

async function attributionsOf(
  run: TextRun,
  subject: Subject | null,
  o: { seed: number; onProgress: (line: string) => void },
): Promise<Attribution[]> {
  o.onProgress('attention rollout')
  const flow = await rollout(run)
  const position = subject?.position === undefined ? -1 : subject.position
  const shares = position === null ? await flow.mean() : await flow.row(position)
  const found: Attribution[] = [
    {
      name: 'Attention rollout',
      target: subject ? subject.name : 'the last token',
      signed: false,
      values: shares,
      note: `Shares of the ${position === null ? 'mean of all positions' : 'position'} that attention could have carried here, layer by layer; they add up to 1 and say nothing of values and MLPs.`,
    },
  ]
  if (!subject) return found
  o.onProgress('gradient × input')
  const gradient = await gradientTimesInput(run, { target: subject.target() })
  const signed = await gradient.row()
  found.push({
    name: 'Gradient × input',
    target: subject.name,
    signed: true,
    values: signed,
    note: 'First-order effect of each token embedding on the score: towards (+) or against (−).',
  })
  let random: DeletionCheck | undefined
  for (const [i, values] of [shares, signed].entries()) {
    const name = found[i].name.toLowerCase()
    const deletion: DeletionCheck = await deletionCheck(run, {
      metric: subject.metric,
      scores: values,
      keep: subject.keep,
      seed: o.seed,
      ...(random ? { against: random } : {}),
      onProgress: (done, of) => o.onProgress(`deletion check of ${name}: ${done} of ${of} passes`),
    })
    random ??= deletion
    if (deletion.auc === null) found[i].note = `${found[i].note} ${deletion.sentence}`
    else
      found[i].deletion = {
        auc: deletion.auc,
        random: [...deletion.random],
        curve: deletion.curve.map((p) => ({ deleted: p.deleted, value: p.value })),
        sentence: deletion.sentence,
      }
  }
  return found
}

async function kindsOf(model: TextModel, seed: number, notes: string[]): Promise<HeadKinds | null> {
  try {
    return await headKinds(model as never, { seed })
  } catch (error) {
    notes.push(`kinds of heads are not known: ${(error as Error).message}`)
    return null
  }
}

async function headsOf(
  model: TextModel,
  run: TextRun,
  data: ExplainData,
  kinds: HeadKinds | null,
  top: number,
  selfChecks: ExplainData['provenance']['selfChecks'],
): Promise<void> {
  const row = (layer: number, head: number, value: number | null): HeadRow => {
    const k = kinds?.at(layer, head)
    return {
      layer,
      head,
      value,
      previous: k?.previous ?? null,
      duplicate: k?.duplicate ?? null,
      induction: k?.induction ?? null,
      kind: k?.kind ?? null,
    }
  }
  const prediction = data.predictions?.top[0]
  if (prediction) {
    const dla = await directLogitAttribution(run, { token: prediction.id })
    selfChecks.push({ name: 'parts add up to the logit', error: dla.error, tolerance: 1e-2 })
    data.headTable = {
      target: quoted(prediction.token),
      rows: dla.heads.top(Math.max(top, 12)).map((h) => row(h.layer, h.head, h.value)),
      note: `Effect: what a head writes towards the logit ${dla.value.toFixed(3)}, final norm frozen (direct logit attribution). All parts together miss it by ${dla.error.toExponential(1)}.`,
    }
    return
  }
  if (!kinds) return
  const strength = (h: { previous: number; duplicate: number; induction: number }): number =>
    Math.max(h.previous, h.duplicate, h.induction)
  const ranked = [...kinds.heads].sort((a, b) => strength(b) - strength(a)).slice(0, Math.max(top, 12))
  const why =
    model.kind === 'encoder'
      ? 'Direct logit attribution is not defined for a post-norm encoder: every block normalises the sum again.'
      : ''
  data.headTable = { target: null, rows: ranked.map((h) => row(h.layer, h.head, null)), note: why }
}

async function lensOf(
  model: TextModel,
  run: TextRun,
  data: ExplainData,
  selfChecks: ExplainData['provenance']['selfChecks'],
): Promise<void> {
  if (model.kind === 'encoder') {
    data.notes.push(
      'direct logit attribution and the logit lens are not defined for a post-norm encoder: its layers hand on normalised states, and no final norm and unembedding reads them',
    )
    return
  }
  const lens = await logitLens(run, { top: 1 })
  selfChecks.push({ name: 'last layer of the logit lens is the model', error: lens.error, tolerance: 1e-3 })
  data.logitLens = {
    positions: lens.layers[0].cells.map((c) => c.position),
    rows: lens.layers.map((l) => ({
      name: layerName(l.tap),
      cells: l.cells.map((c) => ({
        token: c.top[0].token ?? `<${c.top[0].id}>`,
        probability: c.top[0].probability,
        final: c.final,
      })),
    })),
    note: 'What the final norm and the unembedding make of each layer; “final” is the probability of the token that the whole model predicts there.',
  }
}

/** A residual is named by the layer that it has just left. */
function layerName(tap: string): string {
  const block = Number(/blocks\.(\d+)/.exec(tap)?.[1])
  if (tap.endsWith('resid_post')) return `layer ${block}`
  return block === 0 ? 'embedding' : `layer ${block - 1}`
}

async function patternsOf(model: TextModel, run: TextRun): Promise<ExplainData['patterns']> {
  const { nLayer, nHead } = model.config
  const count = run.ids[0].length
  let loaded = -1
  let layerData: ArrayLike<number> = []
  return packPatterns(
    async (layer, head) => {
      if (layer !== loaded) {
        layerData = (await run.get(`blocks.${layer}.attn.pattern`).data()) as Float32Array
        loaded = layer
      }
      return Array.prototype.slice.call(
        layerData,
        head * count * count,
        (head + 1) * count * count,
      ) as number[]
    },
    { layers: nLayer, heads: nHead, queries: count, keys: count, causal: model.kind === 'decoder' },
  )
}
