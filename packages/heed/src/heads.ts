/** Which heads mattered and what kind they are, and what each layer would say: where the model's shape defines it. */
import { directLogitAttribution, type HeadKinds, headKinds, logitLens } from '@heed/interpret'
import type { TextModel, TextRun } from '@heed/models'
import type { ExplainData, HeadRow } from '@heed/viz'
import { quoted, wordOf } from './token-rows.js'

type Checks = ExplainData['provenance']['selfChecks']

const rowsAtLeast = 12

/** Scores on the model's own vocabulary; null (and a note) for contexts too short to repeat anything in. */
export async function kindsOf(model: TextModel, seed: number, notes: string[]): Promise<HeadKinds | null> {
  const { nCtx } = model.config
  if (nCtx < 4) {
    notes.push(`The kinds of heads are not known: a context of ${nCtx} is too short for a repeated sequence.`)
    return null
  }
  return headKinds(model as never, { seed })
}

/** Fills `data.headTable`. */
export async function headsOf(
  run: TextRun,
  data: ExplainData,
  kinds: HeadKinds | null,
  top: number,
  checks: Checks,
): Promise<void> {
  const count = Math.max(top, rowsAtLeast)
  const rowOf = (layer: number, head: number, value: number | null): HeadRow => {
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
  const scores = kinds
    ? `Previous, duplicate, induction: mean attention (0 to 1) to the token before, to the same token earlier, to the token behind that, on ${kinds.ids.length} sequences of ${kinds.length} random tokens given twice.`
    : ''
  const prediction = data.predictions?.top[0]
  if (prediction) {
    const dla = await directLogitAttribution(run, { token: prediction.id })
    // the sum of hundreds of float32 parts, against a logit of any size
    checks.push({
      name: 'parts add up to the logit',
      error: dla.error,
      tolerance: 1e-3 * Math.max(1, Math.abs(dla.value)),
    })
    data.headTable = {
      target: quoted(prediction),
      rows: dla.heads.top(count).map((h) => rowOf(h.layer, h.head, h.value)),
      note: `Effect: what a head writes directly into the logit of ${quoted(prediction)} (${dla.value.toFixed(3)}), final norm frozen (direct logit attribution). ${scores}`.trim(),
    }
  } else if (kinds) {
    const strength = (h: { previous: number; duplicate: number; induction: number }): number =>
      Math.max(h.previous, h.duplicate, h.induction)
    const ranked = [...kinds.heads].sort((a, b) => strength(b) - strength(a)).slice(0, count)
    data.headTable = { target: null, rows: ranked.map((h) => rowOf(h.layer, h.head, null)), note: scores }
  }
}

/** Fills `data.logitLens`, or says why there is none. */
export async function lensOf(
  model: TextModel,
  run: TextRun,
  data: ExplainData,
  checks: Checks,
): Promise<void> {
  if (model.kind === 'encoder') {
    data.notes.push(
      'Direct logit attribution and the logit lens are not defined for a post-norm encoder: every layer normalises the sum again, so no layer is a part of the answer or can be read as one.',
    )
    return
  }
  const lens = await logitLens(run, { top: 1 })
  checks.push({ name: 'last layer of the logit lens is the model', error: lens.error, tolerance: 1e-3 })
  data.logitLens = {
    positions: lens.layers[0].cells.map((c) => c.position),
    rows: lens.layers.map((l) => ({
      name: layerName(l.tap),
      cells: l.cells.map((c) => {
        const { text, bytes } = wordOf(model, c.top[0].id)
        return {
          token: text,
          probability: c.top[0].probability,
          final: c.final,
          ...(bytes ? { bytes } : {}),
        }
      }),
    })),
    note: 'What the model would predict if it stopped after this layer: final norm and unembedding on what the layer left.',
  }
}

/** A residual is named by the layer that it has just left. */
function layerName(tap: string): string {
  const block = Number(/blocks\.(\d+)/.exec(tap)?.[1])
  if (tap.endsWith('resid_post')) return `layer ${block}`
  return block === 0 ? 'embedding' : `layer ${block - 1}`
}
