/**
 * What a model says of a text, and which number of it is explained: the next token's logit, the token at the first
 * [MASK], a class, an answer, the similarity to the nearest line. One case a head; no method is called here.
 */
import { logitOf, type Metric, probabilityOf } from '@heed/interpret'
import { bestSpan, nearestLines, spanScore, type TextModel, type TextRun } from '@heed/models'
import type { Tensor } from '@heed/tensor'
import { type ExplainData, type Prediction, visibleText } from '@heed/viz'
import { named, predictionsOf, quoted } from './token-rows.js'

/** A number that is explained. */
export interface Subject {
  /** What is differentiated: “the logit of “·Mary””. */
  readonly target: string
  readonly score: () => Tensor
  /** What deletion watches, and what it is called. */
  readonly metric: Metric
  readonly measure: string
  /** Position whose rollout row is shown; null: the mean over all. */
  readonly position: number | null
  /** Where that is, in words. */
  readonly place: string
  /** Positions that a deletion never takes. */
  readonly keep: readonly number[]
}

export interface SubjectOptions {
  readonly top: number
  readonly lines?: readonly string[]
  readonly onProgress: (line: string) => void
  /** First token of the second text, when the run read two. */
  readonly second: number | null
}

/** Writes what the model says into `data` (and its notes); returns what is explained, null when there is no score. */
export async function subjectOf(
  model: TextModel,
  run: TextRun,
  data: ExplainData,
  o: SubjectOptions,
): Promise<Subject | null> {
  const added = data.tokens.flatMap((t, i) => (t.special && t.start === null ? [i] : []))
  const own = await subjectOfHead(model, run, data, added, o)
  if (!o.lines) return own
  const near = await nearestLines(model, data.text, o.lines, {
    onProgress: (done, of) => o.onProgress(`sentence vectors: ${done} of ${of}`),
  })
  data.nearest = {
    measure: 'cosine of sentence vectors',
    lines: near.lines.slice(0, o.top).map(({ text, score }) => ({ text, score })),
  }
  if (own) return own
  const line = visibleText(near.lines[0].text)
  const called = `the similarity to “${line.length > 60 ? `${line.slice(0, 59)}…` : line}”`
  return {
    target: called,
    score: () => near.score(run),
    metric: near.score,
    measure: 'the similarity',
    ...(model.pooling?.mode === 'cls'
      ? { position: 0, place: `the sentence vector, ${named(data.tokens, 0)}` }
      : { position: null, place: `the sentence vector (${model.pooling?.mode} of all positions)` }),
    keep: added,
  }
}

async function subjectOfHead(
  model: TextModel,
  run: TextRun,
  data: ExplainData,
  added: readonly number[],
  o: SubjectOptions,
): Promise<Subject | null> {
  const { tokens, notes } = data
  switch (model.head) {
    case 'next-token': {
      const top = predictionsOf(run, o.top)
      data.predictions = { top }
      return ofToken(run, data, top[0], tokens.length - 1, added)
    }
    case 'masked-token': {
      const mask = model.tokenizer?.maskToken
      const at = tokens.flatMap((t, i) => (t.id === mask?.id ? [i] : []))
      if (at.length === 0) {
        notes.push(
          `The text has no ${mask?.token ?? 'mask token'}, so nothing is predicted: put one in place of a word.`,
        )
        return null
      }
      data.masked = at.map((position) => ({ position, top: predictionsOf(run, o.top, position) }))
      if (at.length > 1) notes.push(`Explained is the first ${mask?.token}, token ${at[0]}.`)
      return ofToken(run, data, data.masked[0].top[0], at[0], added)
    }
    case 'classes':
      return ofClass(model, run, data, added)
    case 'token-classes': {
      const best = tokens.map((_, position) => run.top(1, position)[0])
      data.tokenClasses = best.map((c, position) => ({
        position,
        label: c.token,
        probability: c.probability,
      }))
      const { position: chosen, besides } = standOut(data, added)
      const { id, token } = best[chosen]
      const target = `class ${token} of ${named(tokens, chosen)}`
      notes.push(
        `Explained is the ${target}: the surest one${besides === null ? '' : ` besides ${besides}`}.`,
      )
      return {
        target: `the logit of ${target}`,
        score: () => run.logit(id, { position: chosen }),
        metric: probabilityOf(id, { position: chosen }),
        measure: `the probability of ${target}`,
        position: chosen,
        place: named(tokens, chosen),
        keep: [...new Set([...added, chosen])],
      }
    }
    case 'span':
      return ofSpan(run, data, added, o.second)
    case 'none':
      return null
  }
}

function ofToken(
  run: TextRun,
  data: ExplainData,
  prediction: Prediction,
  position: number,
  added: readonly number[],
): Subject {
  return {
    target: `the logit of ${quoted(prediction)}`,
    score: () => run.logit(prediction.id, { position }),
    metric: probabilityOf(prediction.id, { position }),
    measure: `the probability of ${quoted(prediction)}`,
    position,
    place: `${named(data.tokens, position)}, where ${quoted(prediction)} is predicted`,
    keep: [...new Set([...added, position])],
  }
}

function ofClass(model: TextModel, run: TextRun, data: ExplainData, added: readonly number[]): Subject {
  const [best, ...others] = run.top(model.labels.length)
  const place = `${named(data.tokens, 0)}, which the classifier reads`
  const common = { score: () => run.logit(best.id), position: 0, place, keep: added }
  if (others.length === 0) {
    data.notes.push('The head has a single output, a score and no class: there is no probability to show.')
    const target = `the score ${best.token}`
    return { ...common, target, metric: logitOf(best.id), measure: target }
  }
  data.classes = [best, ...others].map((t) => ({ label: t.token, probability: t.probability }))
  if (model.hfConfig.problem_type === 'multi_label_classification')
    data.notes.push(
      'The classes of this model do not exclude each other; the probabilities shown compare them with each other.',
    )
  return {
    ...common,
    target: `the logit of class ${best.token}`,
    metric: probabilityOf(best.id),
    measure: `the probability of class ${best.token}`,
  }
}

async function ofSpan(
  run: TextRun,
  data: ExplainData,
  added: readonly number[],
  second: number | null,
): Promise<Subject> {
  const { tokens, text } = data
  // an answer lies in the passage; [CLS] stands for none
  const from = second ?? 1
  const last = tokens.length - 1
  const span = await bestSpan(run, { from, to: added.includes(last) && last > from ? last : last + 1 })
  const none = await bestSpan(run, { from: 0, to: 1 })
  const isNone = none.score > span.score
  const chosen = isNone ? none : span
  const [begin, end] = [tokens[span.start].start ?? 0, tokens[span.end].end ?? 0]
  data.answer = isNone ? null : { ...span, text: text.slice(begin, end) }
  if (second === null)
    data.notes.push(
      'Question and passage are not told apart: write the question, then [SEP], then the passage.',
    )
  const called = `start + end logit of ${isNone ? 'no answer' : `“${visibleText(text.slice(begin, end))}”`}`
  const score = spanScore(chosen.start, chosen.end)
  return {
    target: called,
    score: () => score(run),
    metric: score,
    measure: `the ${called}`,
    position: chosen.start,
    place: `${named(tokens, chosen.start)}, where the answer starts`,
    keep: [...new Set([...added, chosen.start, chosen.end])],
  }
}

/** The token whose class is surest; the commonest class is left out (`besides`) where there are others. */
function standOut(data: ExplainData, added: readonly number[]): { position: number; besides: string | null } {
  const classes = (data.tokenClasses ?? []).filter((c) => !added.includes(c.position))
  const counts = new Map<string, number>()
  for (const { label } of classes) counts.set(label, (counts.get(label) ?? 0) + 1)
  const common = [...counts].sort((a, b) => b[1] - a[1])[0]?.[0]
  const rare = classes.filter((c) => c.label !== common)
  const [first] = (rare.length > 0 ? rare : classes).sort((a, b) => b.probability - a.probability)
  return { position: first?.position ?? 0, besides: rare.length > 0 ? (common ?? null) : null }
}
