// Fused attention, forward: z = softmax(scale·q·kᵀ, over the allowed keys)·v and the log-sum-exp of the scores, with running
// maxima so that no [query, key] matrix is ever held (Dao et al. 2022, arXiv:2205.14135; the running softmax is Milakov and
// Gimelshein 2018, arXiv:1805.02867). A query that may see nothing gives zeros and a log-sum-exp of −∞.

import { AttentionJob, elements, maskScores, pad8, visibleKeys } from './attention-job'
import { NEVER, expOne, expRow, maxRow } from './exp'
import { packPanels, packRows, panelBytes } from './pack'
import { MR, tile } from './tile'
import { rowDots, rowTimes } from './vector'

// Query rows and keys of one score tile (96 KB with maxima and sums: it stays in L2); ROWS is a multiple of both tile heights.
// @ts-ignore: decorator
@inline const ROWS: i32 = 90
// @ts-ignore: decorator
@inline const KEYS: i32 = 240
// With this few queries (decoding) packing the keys costs more than the products.
// @ts-ignore: decorator
@inline const FEW: i32 = 4

/** Bytes of scratch for `attention`: linear in the number of keys, independent of the number of queries, heads and batches. */
export function attentionScratch(keys: i32, dim: i32, valueDim: i32): usize {
  return tileBytes(dim, valueDim) + panelBytes(dim, keys) + panelBytes(keys, valueDim)
}

// @ts-ignore: decorator
@inline function tileBytes(dim: i32, valueDim: i32): usize {
  return <usize>(ROWS * (pad8(valueDim) + 2 + KEYS + pad8(dim))) * 4
}

/**
 * Turns the row of n scores at `s` into exp(score − m) with the new running maximum m, updates maximum and sum at `stats`
 * (two floats) and returns the factor by which what was summed so far must be multiplied. `any`: a key is allowed.
 */
// @ts-ignore: decorator
@inline function runningSoftmax(s: usize, n: i32, any: bool, maxAt: usize, sumAt: usize): f32 {
  if (!any) {
    memory.fill(s, 0, <usize>n << 2)
    return 1
  }
  const before = load<f32>(maxAt)
  const m = max(before, maxRow(s, n))
  const total = expRow(s, n, m)
  if (m == before) {
    store<f32>(sumAt, load<f32>(sumAt) + total)
    return 1
  }
  const factor = expOne(before - m)
  store<f32>(sumAt, load<f32>(sumAt) * factor + total)
  store<f32>(maxAt, m)
  return factor
}

// @ts-ignore: decorator
@inline function scaleRow(row: usize, n: i32, factor: f32): void {
  const f = f32x4.splat(factor)
  for (let j = 0; j < n; j += 4) {
    v128.store(row, f32x4.mul(f, v128.load(row)))
    row += 16
  }
}

/** Divides by the sum, writes valueDim results and the log-sum-exp. */
function finishRow(o: usize, n: i32, m: f32, sum: f32, z: usize, lse: usize): void {
  if (sum == 0) {
    memory.fill(z, 0, <usize>n << 2)
    store<f32>(lse, -Infinity)
    return
  }
  const inverse: f32 = 1 / sum
  for (let j = 0; j < n; j++) {
    store<f32>(z, load<f32>(o) * inverse)
    o += 4
    z += 4
  }
  store<f32>(lse, m + Mathf.log(sum))
}

/** One head against packed keys (scale included) and values. */
function head(job: AttentionJob, q: usize, z: usize, lse: usize, mask: usize, keyPanels: usize, valuePanels: usize, packed: i32, scratch: usize): void {
  const width = pad8(job.valueDim)
  const oRow = <usize>width << 2
  const sRow: usize = KEYS * 4
  const maxima = scratch
  const sums = elements(maxima, ROWS)
  const scores = elements(sums, ROWS)
  const out = elements(scores, ROWS * KEYS)
  const gathered = elements(out, ROWS * width)
  for (let q0 = 0; q0 < job.queries; q0 += ROWS) {
    const rows = min(ROWS, job.queries - q0)
    let block = elements(q, q0 * job.queryRow)
    let qRow = <usize>job.queryRow << 2
    if (job.queryColumn != 1) {
      packRows(rows, job.dim, block, job.queryRow, job.queryColumn, gathered, job.dim)
      block = gathered
      qRow = <usize>job.dim << 2
    }
    for (let i = 0; i < rows; i++) {
      store<f32>(elements(maxima, i), NEVER)
      store<f32>(elements(sums, i), 0)
    }
    const end = visibleKeys(job, q0 + rows - 1)
    for (let k0 = 0; k0 < end; k0 += KEYS) {
      const count = min(KEYS, end - k0)
      const diagonal = visibleKeys(job, q0) < k0 + count
      for (let j = 0; j < count; j += 8) {
        // the first group of rows that holds a query which sees key k0 + j
        const first = diagonal ? (max(0, k0 + j - q0 - job.offset) / MR) * MR : 0
        const panel = elements(keyPanels, (k0 + j) * job.dim)
        for (let i = first; i < rows; i += MR)
          tile(min(MR, rows - i), job.dim, block + <usize>i * qRow, qRow, panel, 32, elements(scores, i * KEYS + j), sRow, 0)
      }
      for (let i = 0; i < rows; i++) {
        const s = elements(scores, i * KEYS)
        let seen = count
        let used = count
        if (diagonal) {
          seen = max(0, min(count, visibleKeys(job, q0 + i) - k0))
          // the group of this row is multiplied as far as its last row sees
          used = min(count, visibleKeys(job, q0 + min(rows - 1, (i / MR) * MR + MR - 1)) - k0)
          if (used <= 0) continue
        }
        const padded = pad8(used)
        for (let j = seen; j < padded; j++) store<f32>(elements(s, j), NEVER)
        let any = seen > 0
        if (job.mask && any)
          any = maskScores(s, seen, mask + <usize>((q0 + i) * job.maskQuery) + <usize>(k0 * job.maskKey), job.maskKey, NEVER)
        const factor = runningSoftmax(s, padded, any, elements(maxima, i), elements(sums, i))
        if (k0 > 0 && factor != 1) scaleRow(elements(out, i * width), width, factor)
      }
      for (let j = 0; j < width; j += 8) {
        const panel = elements(valuePanels, j * packed + k0 * 8)
        for (let i = 0; i < rows; i += MR) {
          const live = min(MR, rows - i)
          const depth = diagonal ? min(count, visibleKeys(job, q0 + i + live - 1) - k0) : count
          if (depth > 0) tile(live, depth, elements(scores, i * KEYS), sRow, panel, 32, elements(out, i * width + j), oRow, i32(k0 > 0))
        }
      }
    }
    for (let i = 0; i < rows; i++)
      finishRow(
        elements(out, i * width), job.valueDim, load<f32>(elements(maxima, i)), load<f32>(elements(sums, i)),
        elements(z, (q0 + i) * job.zRow), elements(lse, (q0 + i) * job.lseRow),
      )
  }
}

/** One head with few queries: keys and values are read in place, once per query. */
function fewQueries(job: AttentionJob, q: usize, k: usize, v: usize, z: usize, lse: usize, mask: usize, scratch: usize): void {
  const maximum = scratch
  const sum = elements(maximum, 1)
  const scores = elements(maximum, 4)
  const out = elements(scores, KEYS)
  const width = pad8(job.valueDim)
  const scaled = elements(out, width)
  for (let i = 0; i < job.queries; i++) {
    for (let d = 0; d < job.dim; d++) store<f32>(elements(scaled, d), job.scale * load<f32>(elements(q, i * job.queryRow + d * job.queryColumn)))
    store<f32>(maximum, NEVER)
    store<f32>(sum, 0)
    const end = visibleKeys(job, i)
    for (let k0 = 0; k0 < end; k0 += KEYS) {
      const count = min(KEYS, end - k0)
      rowDots(count, job.dim, scaled, elements(k, k0 * job.keyRow), <usize>job.keyRow << 2, scores)
      for (let j = count; j < pad8(count); j++) store<f32>(elements(scores, j), NEVER)
      const any = job.mask
        ? maskScores(scores, count, mask + <usize>(i * job.maskQuery) + <usize>(k0 * job.maskKey), job.maskKey, NEVER)
        : true
      const factor = runningSoftmax(scores, pad8(count), any, maximum, sum)
      if (k0 > 0 && factor != 1) scaleRow(out, width, factor)
      rowTimes(job.valueDim, count, scores, elements(v, k0 * job.valueRow), <usize>job.valueRow << 2, out, i32(k0 > 0))
    }
    finishRow(out, job.valueDim, load<f32>(maximum), load<f32>(sum), elements(z, i * job.zRow), elements(lse, i * job.lseRow))
  }
}

/** z and lse of the job; `scratch`: attentionScratch(…) bytes. Query head h reads key-value head h / (heads / kvHeads). */
export function attention(address: usize, scratch: usize): void {
  const job = changetype<AttentionJob>(address)
  if (job.queries <= 0) return
  const group = job.heads / job.kvHeads
  const end = visibleKeys(job, job.queries - 1)
  const keyPanels = scratch + tileBytes(job.dim, job.valueDim)
  const valuePanels = keyPanels + panelBytes(job.dim, end)
  const few = job.queries <= FEW && job.keyColumn == 1 && job.valueColumn == 1
  for (let b = 0; b < job.batch; b++)
    for (let g = 0; g < job.kvHeads; g++) {
      const k = elements(job.key, b * job.keyBatch + g * job.keyHead)
      const v = elements(job.value, b * job.valueBatch + g * job.valueHead)
      if (!few) {
        packPanels(job.dim, end, k, job.keyColumn, job.keyRow, keyPanels, job.scale)
        packPanels(end, job.valueDim, v, job.valueRow, job.valueColumn, valuePanels, 1)
      }
      for (let h = g * group; h < (g + 1) * group; h++) {
        const q = elements(job.query, b * job.queryBatch + h * job.queryHead)
        const z = elements(job.z, b * job.zBatch + h * job.zHead)
        const lse = elements(job.lse, b * job.lseBatch + h * job.lseHead)
        const mask = job.mask + <usize>(b * job.maskBatch) + <usize>(h * job.maskHead)
        if (few) fewQueries(job, q, k, v, z, lse, mask, scratch)
        else head(job, q, z, lse, mask, keyPanels, valuePanels, end, scratch)
      }
    }
}
