/**
 * Activation patching (Meng et al. 2022; Wang et al. 2022; Zhang & Nanda 2023): the corrupted run with one value of the
 * clean run put back, place by place. 1 means the value alone restores the clean answer, 0 that it changes nothing.
 */
import {
  canonicalTap,
  equal,
  globPattern,
  iota,
  logicalAnd,
  realize,
  reshape,
  type Tensor,
  tensor,
  traceLazy,
  where,
} from '@heed/tensor'
import { checkOptions, InterpretError } from './errors.js'
import { type Metric, measured } from './metric.js'
import { Printed, signed } from './print.js'
import { callableOf, type Ids, inputOf, type Traced } from './traced.js'
import { type SweepOptions, sweep, sweepOptions, worldsPerPass } from './worlds.js'

export interface PatchingOptions extends SweepOptions {
  /** Two texts (or ids) of equal length. */
  clean: Ids
  corrupted: Ids
  /** A tap or glob with a position axis: `blocks.*.resid_pre`, `blocks.*.attn.z`. */
  at: string
  /** What is measured, such as `logitDifference(' Mary', ' John')`. */
  metric: Metric
  /** Which places are patched one by one. Default: 'position', and 'head' (over all positions) for taps with heads. */
  by?: 'position' | 'head' | 'head and position' | 'whole'
}

export class PatchingMap extends Printed {
  constructor(
    /** Rows: the taps. */
    readonly taps: readonly string[],
    /** Columns: positions or heads; 'head and position' counts positions fastest. */
    readonly by: NonNullable<PatchingOptions['by']>,
    /** (patched − corrupted)/(clean − corrupted) [tap][place]. */
    readonly values: readonly (readonly number[])[],
    /** The metric of the two runs. */
    readonly clean: number,
    readonly corrupted: number,
  ) {
    super()
  }
  toString(): string {
    const rows = this.taps.map(
      (t, i) =>
        `${t.padEnd(Math.max(...this.taps.map((n) => n.length)))}  ${this.values[i].map(signed).join(' ')}`,
    )
    return `${rows.join('\n')}\nby ${this.by}; metric ${this.corrupted.toFixed(4)} corrupted (0) → ${this.clean.toFixed(4)} clean (1)`
  }
}

const HEADED = /(^|\.)attn\.(q|k|v|rot_q|rot_k|z|result|scores|pattern)$/

/** Patches every place of every matching tap, many places in one batch. */
export async function activationPatching(
  model: (input: never) => Tensor,
  options: PatchingOptions,
): Promise<PatchingMap> {
  const what = 'activationPatching'
  checkOptions(what, options, ['clean', 'corrupted', 'at', 'metric', 'by', ...sweepOptions])
  const call = callableOf(what, { model } as Traced)
  const [clean, corrupted] = [inputOf(what, model, options.clean), inputOf(what, model, options.corrupted)]
  const shapes = [clean.ids.shape, corrupted.ids.shape]
  if (shapes.some((s) => s[0] !== 1))
    throw new InterpretError(`${what}: clean and corrupted are one text each`)
  if (shapes[0][1] !== shapes[1][1])
    throw new InterpretError(
      `${what}: clean has ${shapes[0][1]} tokens and corrupted ${shapes[1][1]}; patching needs equal lengths`,
    )

  const cleanRun = traceLazy(call, clean)
  const names = matching(what, cleanRun, options.at)
  const baseRun = traceLazy(call, corrupted)
  const metricOf = (run: Traced): Tensor => measured(what, options.metric, run)
  const [mClean, mCorrupted] = [metricOf(cleanRun), metricOf(baseRun)]
  await realize([mClean, mCorrupted, ...names.map((n) => cleanRun.get(n))])
  const [top, floor] = [await mClean.item(), await mCorrupted.item()]
  if (!(Math.abs(top - floor) > 1e-6 * Math.max(1, Math.abs(top))))
    throw new InterpretError(
      `${what}: the metric is ${top} on the clean and ${floor} on the corrupted text; there is nothing to restore`,
    )

  const by = options.by ?? (HEADED.test(names[0]) ? 'head' : 'position')
  const places = names.map((name) => placesOf(what, name, cleanRun.get(name), by))
  const of = places.reduce((s, p) => s + p.length, 0)
  const { onProgress, signal } = options
  onProgress?.(0, of)
  const values: number[][] = []
  let done = 0
  for (const [i, name] of names.entries()) {
    const patch = cleanRun.get(name)
    const measure = (worlds: readonly Place[]): Tensor =>
      metricOf(traceLazy(call, corrupted, { edit: { [name]: (x) => where(maskOf(worlds, x), patch, x) } }))
    const size = worldsPerPass(places[i].length, baseRun.output.size)
    const raw = await sweep(what, places[i], size, measure, {
      done,
      of,
      ...(onProgress ? { onProgress } : {}),
      ...(signal ? { signal } : {}),
    })
    values.push(Array.from(raw, (m) => (m - floor) / (top - floor)))
    done += places[i].length
  }
  return new PatchingMap(names, by, values, top, floor)
}

function matching(what: string, run: Traced, glob: string): string[] {
  if (typeof glob !== 'string')
    throw new InterpretError(`${what}: 'at' is missing; name a tap, such as 'blocks.*.resid_pre'`)
  const pattern = globPattern(canonicalTap(glob))
  const names = run.names().filter((n) => pattern.test(n))
  // get knows the nearest names
  if (names.length === 0) run.get(glob)
  return names
}

/** A place: head and position, −1 for all of them. */
interface Place {
  readonly head: number
  readonly position: number
}
function placesOf(what: string, name: string, x: Tensor, by: NonNullable<PatchingOptions['by']>): Place[] {
  const hasHeads = HEADED.test(name)
  const count = (n: number): number[] => Array.from({ length: n }, (_, i) => i)
  if (!['position', 'head', 'head and position', 'whole'].includes(by))
    throw new InterpretError(
      `${what}: by '${by}' is unknown; use position, head, 'head and position' or whole`,
    )
  if (by.includes('head') && !hasHeads)
    throw new InterpretError(`${what}: '${name}' has no heads; patch it by position`)
  if (x.rank !== (hasHeads ? 4 : 3))
    throw new InterpretError(`${what}: '${name}' is [${x.shape.join(', ')}], which has no positions`)
  const heads = by.includes('head') ? count(x.shape[1]) : [-1]
  const positions = by.includes('position') ? count(x.shape[hasHeads ? 2 : 1]) : [-1]
  return heads.flatMap((head) => positions.map((position) => ({ head, position })))
}

/** bool, true where a world takes the clean value: [world, 1, position, 1] or [world, head, position, 1]. */
function maskOf(worlds: readonly Place[], x: Tensor): Tensor {
  const ones = (n: number): number[] => new Array<number>(n).fill(1)
  const along = (axis: number, wanted: readonly number[]): Tensor => {
    const n = x.shape[axis]
    const size = (i: number): number => (i === axis ? n : 1)
    const index = reshape(
      iota(n, { dtype: 'i32' }),
      x.shape.map((_, i) => size(i)),
    )
    const at = tensor(Int32Array.from(wanted), { shape: [wanted.length, ...ones(x.rank - 1)], dtype: 'i32' })
    return equal(index, at)
  }
  const everywhere = tensor(
    Uint8Array.from(worlds, () => 1),
    { shape: [worlds.length, ...ones(x.rank - 1)], dtype: 'bool' },
  )
  let mask = everywhere
  if (worlds[0].head >= 0)
    mask = logicalAnd(
      mask,
      along(
        1,
        worlds.map((w) => w.head),
      ),
    )
  if (worlds[0].position >= 0)
    mask = logicalAnd(
      mask,
      along(
        x.rank - 2,
        worlds.map((w) => w.position),
      ),
    )
  return mask
}
