/** Where the numbers of an explanation come from: everything needed to make them again, and no local path. */
import type { TextModel, TextRun } from '@heed/models'
import { getBackend } from '@heed/tensor'
import type { ExplainData, ExplainToken } from '@heed/viz'
import { sha256 } from '@heed/weights'
import { versions } from './versions.js'

/** The folder's last part: no local path leaves the machine. */
export function modelName(source: string): string {
  const parts = source.replace(/[/\\]+$/, '').split(/[/\\]/)
  return parts.at(-1) || source
}

export async function provenanceOf(
  model: TextModel,
  run: TextRun,
  tokens: readonly ExplainToken[],
  seed: number,
): Promise<ExplainData['provenance']> {
  const backend = getBackend()
  let parameters = 0
  for (const t of model.parameters.values()) parameters += t.size
  const weights = await model.weightsHash()
  return {
    model: modelName(model.source),
    family: model.family,
    parameters,
    weightsHash: weights === null ? null : `sha256:${weights.replace(/^sha256:/, '')}`,
    tokenizerHash: model.tokenizer
      ? `sha256:${await sha256(new TextEncoder().encode(JSON.stringify(model.tokenizer.toJson())))}`
      : null,
    specialTokensAdded: tokens.filter((t) => t.special && t.start === null).map((t) => t.text),
    packages: { heed: versions().heed, node: versions().node },
    backend: backend.name,
    precision: backend.precision,
    date: new Date().toISOString(),
    seed,
    selfChecks: [],
    fallbacks: fallbacksOf(run),
  }
}

/** What the backend has no kernel for, and fused ops that it refused for a reason of their own. */
function fallbacksOf(run: TextRun): string[] {
  const { report } = run
  if (!report) return []
  const times = (op: string, count: number): string => (count > 1 ? `${op} (${count} times)` : op)
  return [
    ...report.inlined
      .filter((r) => !r.reason.includes(`no kernel for ${r.op}`))
      .map((r) => `${times(r.op, r.count)} was written out in simpler ops: ${r.reason}`),
    ...report.ran
      .filter((r) => r.how === 'reference' && report.backend !== 'reference')
      .map((r) => `${times(r.op, r.count)} ran on the reference kernels: the backend has none for it`),
  ]
}
