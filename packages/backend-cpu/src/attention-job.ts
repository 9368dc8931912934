/**
 * Runs the attention kernels on addresses and strides: writes their argument block, decides how the work is cut, and says how
 * much working memory that takes. It does not know what a tensor is.
 */
import { BackendError } from '@heed/tensor'
import { f32bits } from './float-bits.js'
import type { Kernels } from './wasm.js'

/** Argument block of the attention kernels, word by word as assembly/attention-job.ts declares it. */
const JOB = [
  ...words('batch heads kvHeads queries keys dim valueDim scale'),
  ...words('offset step ahead left right sinkTokens block back forth softcap'),
  ...words('mask maskBatch maskHead maskQuery maskKey bias biasBatch biasHead biasQuery biasKey'),
  ...words('sink sinkHead sinkQuery query queryBatch queryHead queryRow queryColumn'),
  ...words('key keyBatch keyHead keyRow keyColumn value valueBatch valueHead valueRow valueColumn'),
  ...words('z zBatch zHead zRow zColumn lse lseBatch lseHead lseRow items chunkItems itemRows'),
  ...words('dz dzBatch dzHead dzRow dzColumn dlse dlseBatch dlseHead dlseRow dquery dkey dvalue'),
  ...words('dbias dbiasBatch dbiasHead dbiasQuery dbiasKey dsink delta partial parts itemBatches itemHeads'),
]
type Words<S extends string> = S extends `${infer W} ${infer Rest}` ? W | Words<Rest> : S
function words<S extends string>(names: S): Words<S>[] {
  return names.split(' ') as Words<S>[]
}
/** What every word that is left out stands for is 0, but for these. */
const FAR = 2 ** 28
const DEFAULTS: AttentionArguments = { step: 1, ahead: FAR, left: FAR, right: FAR }

/**
 * What the attention kernels read: sizes, scale, geometry (assembly/attention-job.ts says which keys a query sees), addresses and
 * strides in elements, of the mask in bytes. query [batch, head, query, dim], key [batch, kv, key, dim], value [batch, kv, key,
 * valueDim], z and dz [batch, head, query, valueDim], lse and dlse [batch, head, query], mask and bias [batch, head, query, key],
 * sink [head]. A stride of 0 repeats. Absent addresses are 0: no mask, no bias, a cotangent of 0.
 */
export type AttentionArguments = { readonly [name in (typeof JOB)[number]]?: number }

/** The lengths that decide how much memory is needed and how the work is cut. */
export interface AttentionSize {
  readonly batch: number
  readonly heads: number
  readonly kvHeads: number
  readonly queries: number
  readonly keys: number
  readonly dim: number
  readonly valueDim: number
}

/** Multiply-adds that are worth waking another thread for: some 30 µs. */
const WORTH = 700_000
/** Rows of a score tile, and how many of them an item has at most, so that packing keys costs little. */
const TILE = 90
const TILES = 6
/** Items that there should be for each thread, so that a core that is slow or taken away costs little. */
const SHARE = 6

const align = (bytes: number): number => Math.ceil(bytes / 64) * 64

function run(
  kernels: Kernels,
  task: 'attention' | 'attentionDelta' | 'attentionGradient',
  args: AttentionArguments,
  work: number,
  at: number,
  stride: number,
): void {
  const items = args.items as number
  const worthwhile = Math.floor((WORTH * items) / Math.max(1, work))
  const chunkItems =
    worthwhile >= items ? items : Math.max(1, Math.min(Math.ceil(items / kernels.threads), worthwhile))
  kernels.run(task, wordsOf({ ...args, chunkItems }), Math.ceil(items / Math.max(1, chunkItems)), at, stride)
}
function wordsOf(args: AttentionArguments): number[] {
  return JOB.map((name) => {
    const value = args[name] ?? DEFAULTS[name] ?? 0
    return name === 'scale' || name === 'softcap' ? f32bits(value) : value
  })
}
/** Multiply-adds of one pass over the keys that the queries may see. */
function passes(args: AttentionArguments & AttentionSize): number {
  const {
    batch,
    heads,
    queries,
    keys,
    dim,
    valueDim,
    offset = 0,
    ahead = FAR,
    left = FAR,
    right = FAR,
  } = args
  const seen = Math.min(keys, offset + queries + ahead, left + right + 1)
  // a few queries read every key from memory
  return batch * heads * Math.max(queries, 8) * Math.max(0, seen) * (dim + valueDim)
}

/** Queries of one item of the forward kernel. */
function itemRows(kernels: Kernels, { batch, heads, queries }: AttentionSize): number {
  const tiles = Math.max(1, Math.ceil(queries / TILE))
  const wanted = Math.ceil((SHARE * kernels.threads) / Math.max(1, batch * heads))
  const parts = Math.max(Math.ceil(tiles / TILES), Math.min(tiles, wanted))
  return Math.min(queries, Math.ceil(tiles / parts) * TILE)
}
function forwardStride(kernels: Kernels, size: AttentionSize): number {
  return align(kernels.exports.attentionScratch(itemRows(kernels, size), size.dim, size.valueDim) >>> 0)
}
/** Bytes of working memory of `attentionForward`: it does not grow with the lengths. */
export function attentionScratch(kernels: Kernels, size: AttentionSize): number {
  return kernels.threads * forwardStride(kernels, size)
}
/** Writes z and lse; `scratch` is the address of attentionScratch(…) bytes. */
export function attentionForward(
  kernels: Kernels,
  args: AttentionArguments & AttentionSize,
  scratch: number,
): void {
  const { batch, heads, queries } = args
  const rows = itemRows(kernels, args)
  const items = rows > 0 ? batch * heads * Math.ceil(queries / rows) : 0
  run(
    kernels,
    'attention',
    { ...args, items, itemRows: rows },
    passes(args),
    scratch,
    forwardStride(kernels, args),
  )
}

/** Items of work that the gradients of one head-and-batch are cut into when there are fewer than ITEMS of those. */
const ITEMS = 12
interface Cut {
  parts: number
  itemBatches: number
  itemHeads: number
}
/** A function of the shapes alone: what is added in which order may not depend on threads. */
function cut(
  kernels: Kernels,
  size: AttentionSize,
  repeats: { batch: boolean; head: boolean; key: boolean },
): Cut {
  const { batch, kvHeads, keys } = size
  const groups = Math.max(1, (repeats.batch ? 1 : batch) * (repeats.head ? 1 : kvHeads))
  const blocks = Math.ceil(keys / kernels.exports.attentionBlock())
  return {
    parts: repeats.key ? 1 : Math.max(1, Math.min(blocks, Math.ceil(ITEMS / groups))),
    itemBatches: repeats.batch ? batch : 1,
    itemHeads: repeats.head ? kvHeads : 1,
  }
}
/** The gradient of a bias adds up over the axes where the bias repeats: those must not be cut. */
function repeatsOf(
  bias: readonly number[] | undefined,
  size: AttentionSize,
): { batch: boolean; head: boolean; key: boolean } {
  if (!bias) return { batch: false, head: false, key: false }
  const [batch = 1, head = 1, , key] = [...Array(4 - bias.length).fill(1), ...bias] as number[]
  return { batch: batch === 1 && size.batch > 1, head: head === 1 && size.heads > 1, key: key === 1 }
}
const pad8 = (n: number): number => Math.ceil(n / 8) * 8
function backwardBytes(
  kernels: Kernels,
  size: AttentionSize,
  { parts }: Cut,
): { delta: number; partial: number; stride: number } {
  const { batch, heads, queries, dim, valueDim } = size
  const rows = batch * heads * queries
  return {
    delta: align(4 * rows),
    partial: parts > 1 || dim % 8 > 0 ? align(4 * parts * rows * pad8(dim)) : 0,
    stride: align(kernels.exports.attentionGradientScratch(dim, valueDim) >>> 0),
  }
}
/** Bytes of working memory of `attentionBackward`: linear in the number of queries. `bias`: its shape. */
export function attentionBackwardScratch(
  kernels: Kernels,
  size: AttentionSize,
  bias?: readonly number[],
): number {
  const { delta, partial, stride } = backwardBytes(kernels, size, cut(kernels, size, repeatsOf(bias, size)))
  return delta + partial + kernels.threads * stride
}

/**
 * Reads query, key, value, z, lse, dz and dlse; writes dquery, dkey and dvalue, contiguous, dsink if it is asked for, and adds to
 * dbias. Grouped heads add into their key-value head. `scratch` is the address of attentionBackwardScratch(…) bytes.
 */
export function attentionBackward(
  kernels: Kernels,
  args: AttentionArguments & AttentionSize,
  scratch: number,
  bias?: readonly number[],
): void {
  const { batch, heads, kvHeads, queries } = args
  const how = cut(kernels, args, repeatsOf(bias, args))
  const { delta, partial, stride } = backwardBytes(kernels, args, how)
  const items = (batch / how.itemBatches) * (kvHeads / how.itemHeads) * how.parts
  const job = { ...args, ...how, items, delta: scratch, partial: partial && scratch + delta }
  const work = passes(args)
  // one sum after another: slower than products
  const products = 4 * batch * heads * queries * args.valueDim
  run(kernels, 'attentionDelta', { ...job, items: heads }, products, 0, 0)
  run(kernels, 'attentionGradient', job, 2.5 * work, scratch + delta + partial, stride)
  if (partial > 0) {
    const all = batch * heads * queries
    const rows = Math.max(1, Math.ceil(65536 / pad8(args.dim) / how.parts))
    kernels.run('attentionSum', wordsOf({ ...job, itemRows: rows }), Math.ceil(all / rows))
  }
}

/** @throws BackendError when the module reads another argument block than this package writes */
export function requireJob(kernels: Kernels): void {
  if (kernels.exports.attentionJobBytes() !== 4 * JOB.length)
    throw new BackendError('cpu: the kernel module was built from other sources than this package')
}
