/** Which tokens mattered: attention rollout and gradient × input side by side, each with its deletion check. */
import { type DeletionCheck, deletionCheck, gradientTimesInput, rollout } from '@heed/interpret'
import type { TextRun } from '@heed/models'
import type { Attribution } from '@heed/viz'
import type { Subject } from './subject.js'

export interface AttributionOptions {
  readonly seed: number
  readonly onProgress: (line: string) => void
}

export async function attributionsOf(
  run: TextRun,
  subject: Subject | null,
  o: AttributionOptions,
): Promise<Attribution[]> {
  o.onProgress('attention rollout')
  const flow = await rollout(run)
  const position = subject?.position ?? null
  const shares = position === null ? await flow.mean() : await flow.row(position)
  const reached: Attribution = {
    name: 'Attention rollout',
    target: `what reaches ${subject?.place ?? 'the last layer (mean of all positions)'}`,
    signed: false,
    values: shares,
    note: 'Attention weights of all layers multiplied through: how much of each token could arrive there (shares, adding up to 1). Values and MLPs are not in it.',
  }
  if (!subject) return [reached]
  o.onProgress('gradient × input')
  const gradient = await gradientTimesInput(run, { target: subject.score() })
  const signed = await gradient.row()
  const pushed: Attribution = {
    name: 'Gradient × input',
    target: subject.target,
    signed: true,
    values: signed,
    note: 'First-order effect of each token’s embedding: towards (+) or against (−).',
  }
  await checkByDeletion(run, subject, [reached, pushed], o)
  return [reached, pushed]
}

/** Both rankings are compared with the same random orders. */
async function checkByDeletion(
  run: TextRun,
  subject: Subject,
  found: readonly Attribution[],
  o: AttributionOptions,
): Promise<void> {
  let random: DeletionCheck | undefined
  for (const attribution of found) {
    const check: DeletionCheck = await deletionCheck(run, {
      metric: subject.metric,
      called: subject.measure,
      scores: attribution.values as number[],
      keep: subject.keep,
      seed: o.seed,
      ...(random ? { against: random } : {}),
      onProgress: announced(`deletion check of ${attribution.name.toLowerCase()}`, o.onProgress),
    })
    random ??= check
    if (check.auc === null) attribution.note = `${attribution.note} ${check.sentence}`
    else
      attribution.deletion = {
        auc: check.auc,
        random: [...check.random],
        curve: check.curve.map((p) => ({ deleted: p.deleted, value: p.value })),
        sentence: check.sentence,
      }
  }
}

/** The longest part says how long it still takes, once it knows. */
function announced(what: string, say: (line: string) => void): (done: number, of: number) => void {
  const start = Date.now()
  return (done, of) => {
    const seconds = (Date.now() - start) / 1000
    const left = done > 0 && seconds > 2 ? `, about ${Math.ceil((seconds / done) * (of - done))} s left` : ''
    say(`${what}: ${done} of ${of} runs${left}`)
  }
}
