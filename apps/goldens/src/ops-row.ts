// What a row of the op tables is: how one op of the goldens is called in Heed. Rows know nothing of files or tolerances.
import { type AttentionOptions, attention, less, type Tensor, traceLazy } from '@heed/tensor'

export type Inputs = Readonly<Record<string, Tensor>>
/** Arguments with the defaults of ops.json filled in; null and missing are both absent. */
export type Args = Readonly<Record<string, unknown>>
export interface Result {
  outputs: Readonly<Record<string, Tensor>>
  /** Values inside a composite: gradients are asked for there, and compared with `innerGrads`. */
  inner?: Readonly<Record<string, Tensor>>
}
export type Row = (inputs: Inputs, args: Args) => Result
/** Thrown by a row for arguments that Heed does not have: the case is listed as unsupported. */
export class NotSupported extends Error {}

/** Runs attention and reads scores and pattern out of its room. */
export function attend(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options: AttentionOptions,
  more: Readonly<Record<string, Tensor>> = {},
): Result {
  const run = traceLazy(() => attention(q, k, v, options).z, null)
  const inner = { pattern: run.get('pattern'), scores: run.get('scores') }
  // what may be attended is what has a score above −∞
  const allowed = less(Number.NEGATIVE_INFINITY, inner.scores)
  return { outputs: { z: run.output, ...inner, allowed, ...more }, inner }
}

const attentionArgs = [
  'scale',
  'causal',
  'offset',
  'window',
  'sinkTokens',
  'block',
  'back',
  'softcap',
] as const
/** The arguments of `attention` among those of a case. */
export function attentionOptions(inputs: Inputs, args: Args): AttentionOptions {
  const options: Record<string, unknown> = {}
  for (const name of attentionArgs) if (args[name] !== undefined) options[name] = args[name]
  for (const name of ['mask', 'bias', 'sink']) if (inputs[name]) options[name] = inputs[name]
  return options as AttentionOptions
}
