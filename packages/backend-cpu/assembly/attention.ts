// Fused attention, forward: z = softmax(scores over the allowed keys)·v and the log-sum-exp of the scores, with running maxima so
// that no [query, key] matrix is ever held (Dao et al. 2022, arXiv:2205.14135; the running softmax is Milakov and Gimelshein 2018,
// arXiv:1805.02867). A query that may see nothing gives zeros and a log-sum-exp of −∞.
//
// An item of work is some queries of one head. It walks over the blocks of keys that any of them sees, packs each once and brings
// all its queries up to date with it: working memory does not depend on the lengths. What a row gives does not depend on its item.

import { AttentionJob, RANGE_WORDS, allow, elements, meets, pad8, stretches, visible } from './attention-job'
import { NEVER, expOne, expRow, maxRow } from './exp'
import { log4 } from './functions'
import { packPanels, packRows } from './pack'
import { MR, tile } from './tile'
import { rowDots, rowTimes, storePart } from './vector'

// Queries and keys of one score tile (96 KB: it stays in L2); ROWS is a multiple of both tile heights, KEYS of 8.
// @ts-ignore: decorator
@inline const ROWS: i32 = 90
// @ts-ignore: decorator
@inline const KEYS: i32 = 256
// With this few queries (decoding) packing keys and values costs more than the products,
// @ts-ignore: decorator
@inline const FEW: i32 = 4
// and with fewer than this packing values does.
// @ts-ignore: decorator
@inline const SOME: i32 = 192

/** Bytes of scratch for `attentionChunk`: independent of the numbers of keys, heads and batches. */
export function attentionScratch(itemRows: i32, dim: i32, valueDim: i32): usize {
  const width = pad8(valueDim)
  return <usize>((itemRows + 1) * (2 + RANGE_WORDS + width + dim) + 2 * (ROWS / MR) + ROWS * KEYS + KEYS * (dim + width)) * 4
}

/** exp(score − maximum) in place over n scores; updates the running maximum and sum and multiplies `out` by what that changes. */
function runningSoftmax(s: usize, n: i32, maxAt: usize, sumAt: usize, out: usize, width: i32): void {
  const before = load<f32>(maxAt)
  const sum = load<f32>(sumAt)
  const m = max(before, maxRow(s, n))
  const total = expRow(s, n, m)
  if (m == before) {
    store<f32>(sumAt, sum + total)
    return
  }
  store<f32>(maxAt, m)
  const factor = expOne(before - m)
  store<f32>(sumAt, sum * factor + total)
  if (sum == 0) return
  const f = f32x4.splat(factor)
  for (let j = 0; j < width; j += 4) {
    v128.store(out, f32x4.mul(f, v128.load(out)))
    out += 16
  }
}

/** Divides by the sum, writes n results and the log-sum-exp. */
function finishRow(o: usize, n: i32, m: f32, sum: f32, z: usize, lse: usize): void {
  if (sum == 0) {
    memory.fill(z, 0, <usize>n << 2)
    store<f32>(lse, -Infinity)
    return
  }
  const inverse = f32x4.splat(1 / sum)
  for (; n >= 4; n -= 4) {
    v128.store(z, f32x4.mul(v128.load(o), inverse))
    o += 16
    z += 16
  }
  if (n > 0) storePart(z, n, f32x4.mul(v128.load(o), inverse))
  store<f32>(lse, m + f32x4.extract_lane(log4(f32x4.splat(sum)), 0))
}

/** z and lse of the items of chunk `chunk`. */
export function attentionChunk(address: usize, chunk: i32, scratch: usize): void {
  const job = changetype<AttentionJob>(address)
  const first = chunk * job.chunkItems
  for (let i = first; i < min(first + job.chunkItems, job.items); i++) item(job, i, scratch)
}

/** `itemRows` queries of one head. Items go through the heads of the last queries first: under a causal mask they see most. */
function item(job: AttentionJob, index: i32, scratch: usize): void {
  const dim = job.dim
  const valueDim = job.valueDim
  const perHead = (job.queries + job.itemRows - 1) / job.itemRows
  const all = job.batch * job.heads
  const b = (index % all) / job.heads
  const h = index % job.heads
  const g = h / (job.heads / job.kvHeads)
  const q0 = (perHead - 1 - index / all) * job.itemRows
  const rows = min(job.itemRows, job.queries - q0)
  const k = elements(job.key, b * job.keyBatch + g * job.keyHead)
  const v = elements(job.value, b * job.valueBatch + g * job.valueHead)
  const bias = job.bias ? elements(job.bias, b * job.biasBatch + h * job.biasHead) : 0
  const mask = job.mask ? job.mask + <usize>(b * job.maskBatch) + <usize>(h * job.maskHead) : 0
  const few = job.queries <= FEW && job.keyColumn == 1 && job.valueColumn == 1
  const valuesInPlace = few || (rows < SOME && job.valueColumn == 1 && (valueDim & 7) == 0)

  const width = pad8(valueDim)
  const maxima = scratch
  const sums = elements(maxima, rows)
  const ranges = elements(sums, rows)
  const together = elements(ranges, rows * RANGE_WORDS)
  const groups = elements(together, RANGE_WORDS)
  const scores = elements(groups, 2 * (ROWS / MR))
  const keyPanels = elements(scores, ROWS * KEYS)
  const valuePanels = elements(keyPanels, KEYS * dim)
  const out = elements(valuePanels, KEYS * width)

  let q = elements(job.query, b * job.queryBatch + h * job.queryHead + q0 * job.queryRow)
  let qRow = <usize>job.queryRow << 2
  if (few || job.queryColumn != 1) {
    const copy = elements(out, rows * width)
    packRows(rows, dim, q, job.queryRow, job.queryColumn, copy, dim)
    // keys that are read in place do not carry the scale
    if (few) for (let j = 0; j < rows * dim; j++) store<f32>(elements(copy, j), job.scale * load<f32>(elements(copy, j)))
    q = copy
    qRow = <usize>dim << 2
  }
  visible(job, q0, rows, ranges)
  memory.fill(out, 0, <usize>(rows * width) << 2)
  for (let i = 0; i < rows; i++) {
    // the sink logit is the first that the running sum has seen
    const sink: f32 = job.sink ? load<f32>(elements(job.sink, h * job.sinkHead + (q0 + i) * job.sinkQuery)) : -Infinity
    const none = sink == -Infinity
    store<f32>(elements(maxima, i), none ? NEVER : sink)
    store<f32>(elements(sums, i), none ? 0 : 1)
  }

  for (let k0 = 0; k0 < job.keys; k0 += KEYS) {
    const count = min(KEYS, job.keys - k0)
    if (!meets(together, k0, k0 + count)) continue
    const kBlock = elements(k, k0 * job.keyRow)
    let vBlock = elements(v, k0 * job.valueRow)
    let vRow = <usize>job.valueRow << 2
    let vColumns: usize = 32
    if (!few) packPanels(dim, count, kBlock, job.keyColumn, job.keyRow, keyPanels, job.scale)
    if (!valuesInPlace) {
      packPanels(count, valueDim, vBlock, job.valueRow, job.valueColumn, valuePanels, 1)
      vBlock = valuePanels
      vRow = 32
      vColumns = <usize>count << 5
    }
    for (let t = 0; t < rows; t += ROWS) {
      const live = min(ROWS, rows - t)
      stretches(elements(ranges, t * RANGE_WORDS), live, MR, k0, count, groups)
      if (few)
        for (let i = 0; i < live; i++) {
          const from = load<i32>(groups)
          rowDots(load<i32>(groups, 4) - from, dim, q + <usize>i * qRow, elements(kBlock, from * job.keyRow), <usize>job.keyRow << 2, elements(scores, i * KEYS + from))
        }
      else
        for (let j = 0; j < count; j += 8) {
          const panel = elements(keyPanels, j * dim)
          let group = groups
          for (let i = 0; i < live; i += MR) {
            if (j >= load<i32>(group) && j < load<i32>(group, 4))
              tile(min(MR, live - i), dim, q + <usize>(t + i) * qRow, qRow, panel, 32, elements(scores, i * KEYS + j), KEYS * 4, 0)
            group += 8
          }
        }
      for (let i = 0; i < live; i++) {
        const r = t + i
        const group = groups + (<usize>(i / MR) << 3)
        const from = load<i32>(group)
        const to = load<i32>(group, 4)
        if (to == 0) continue
        const row = elements(scores, i * KEYS)
        allow(
          job, row, from, to, k0, elements(ranges, r * RANGE_WORDS),
          bias ? elements(bias, (q0 + r) * job.biasQuery) : 0, mask ? mask + <usize>((q0 + r) * job.maskQuery) : 0, 0,
        )
        runningSoftmax(elements(row, from), pad8(to) - from, elements(maxima, r), elements(sums, r), elements(out, r * width), width)
      }
      if (few)
        for (let i = 0; i < live; i++) {
          const from = load<i32>(groups)
          rowTimes(valueDim, load<i32>(groups, 4) - from, elements(scores, i * KEYS + from), vBlock + <usize>from * vRow, vRow, elements(out, i * width), 1)
        }
      else
        for (let j = 0; j < width; j += 8) {
          let group = groups
          for (let i = 0; i < live; i += MR) {
            const from = load<i32>(group)
            const depth = load<i32>(group, 4) - from
            group += 8
            if (depth > 0)
              tile(
                min(MR, live - i), depth, elements(scores, i * KEYS + from), KEYS * 4, vBlock + <usize>from * vRow, vRow,
                elements(out, (t + i) * width + j), <usize>width << 2, 1,
              )
          }
          vBlock += vColumns
        }
      if (!few) vBlock -= vColumns * <usize>(width >> 3)
    }
  }
  const z = elements(job.z, b * job.zBatch + h * job.zHead + q0 * job.zRow)
  const lse = elements(job.lse, b * job.lseBatch + h * job.lseHead + q0 * job.lseRow)
  for (let i = 0; i < rows; i++)
    finishRow(
      elements(out, i * width), valueDim, load<f32>(elements(maxima, i)), load<f32>(elements(sums, i)),
      elements(z, i * job.zRow), elements(lse, i * job.lseRow),
    )
}
