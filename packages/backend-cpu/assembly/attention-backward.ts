// Fused attention, backward: gradients of q, k, v, bias and sink logits from the cotangents of z and of the log-sum-exp. The
// probabilities are computed again from the log-sum-exp, tile by tile (Dao 2023, arXiv:2307.08691, algorithm 2), so the extra
// memory is linear in the lengths. With p = exp(s − lse) and δ = Σ dz·z − dlse per query: ds = p·(dz·vᵀ − δ), dq = scale·ds·k,
// dk = scale·dsᵀ·q, dv = pᵀ·dz, and δ's share of a sink logit is −exp(sink − lse)·δ. A query that saw nothing gives no gradient.
//
// An item of work owns blocks of keys, so no sum of dk and dv leaves it; its share of dq goes into a part of its own, and parts are added
// in their order afterwards. How many parts there are depends on shapes alone: the results are the same on any number of threads.

import { AttentionJob, RANGE_WORDS, addInto, allow, elements, meets, pad8, stretches, visible } from './attention-job'
import { expOne, expRow } from './exp'
import { packPanels, packRows } from './pack'
import { MR, fma, tile } from './tile'

// @ts-ignore: decorator
@inline const ROWS: i32 = 90
// @ts-ignore: decorator
@inline const KEYS: i32 = 256
// Keys whose probabilities are turned at a time: 4 groups of rows of dk and dv.
// @ts-ignore: decorator
@inline const STRIP: i32 = MR * 4

const ZERO: usize = memory.data<f32>([0])

/** Keys of the blocks that the backward kernels share out. */
export function attentionBlock(): i32 {
  return KEYS
}

/** Bytes of scratch for `attentionGradientChunk`: independent of the lengths. */
export function attentionGradientScratch(dim: i32, valueDim: i32): usize {
  const wide = pad8(dim)
  const wideV = pad8(valueDim)
  const keys = KEYS * (dim + valueDim + 2 * wide + wideV + 1)
  const queries = ROWS * (wide + wideV + dim + valueDim + 2 * KEYS + 2 * STRIP + RANGE_WORDS)
  return <usize>(keys + queries + RANGE_WORDS + 2 * (ROWS / MR)) * 4
}

/** δ of the heads of chunk `chunk`, in all batches. */
export function attentionDeltaChunk(address: usize, chunk: i32): void {
  const job = changetype<AttentionJob>(address)
  const first = chunk * job.chunkItems
  for (let h = first; h < min(first + job.chunkItems, job.items); h++) headDelta(job, h)
}

/**
 * δ of one head, all batches, and the gradient of its sink logit. Four sums at a time; each adds in the order in which a tile
 * adds, so that δ = dz·z and dz·v round alike: where one key has all the weight, z is its v and their difference is exactly 0,
 * not rounding noise times large keys.
 */
function headDelta(job: AttentionJob, h: i32): void {
  const last = job.queries - 1
  const zStep = <usize>job.zColumn << 2
  const dzStep = <usize>job.dzColumn << 2
  const dzs = job.dz ? job.dz : ZERO
  let dsink: f32 = 0
  for (let b = 0; b < job.batch; b++) {
    const z = elements(job.z, b * job.zBatch + h * job.zHead)
    const dz = elements(dzs, b * job.dzBatch + h * job.dzHead)
    const out = elements(job.delta, (b * job.heads + h) * job.queries)
    for (let i = 0; i <= last; i += 4) {
      let s0 = f32x4.splat(0)
      let s1 = s0
      let s2 = s0
      let s3 = s0
      // rows behind the last repeat it
      let z0 = elements(z, i * job.zRow)
      let z1 = elements(z, min(last, i + 1) * job.zRow)
      let z2 = elements(z, min(last, i + 2) * job.zRow)
      let z3 = elements(z, min(last, i + 3) * job.zRow)
      let d0 = elements(dz, i * job.dzRow)
      let d1 = elements(dz, min(last, i + 1) * job.dzRow)
      let d2 = elements(dz, min(last, i + 2) * job.dzRow)
      let d3 = elements(dz, min(last, i + 3) * job.dzRow)
      for (let k = job.valueDim; k > 0; k--) {
        s0 = fma(v128.load32_splat(d0), v128.load32_splat(z0), s0)
        s1 = fma(v128.load32_splat(d1), v128.load32_splat(z1), s1)
        s2 = fma(v128.load32_splat(d2), v128.load32_splat(z2), s2)
        s3 = fma(v128.load32_splat(d3), v128.load32_splat(z3), s3)
        d0 += dzStep
        d1 += dzStep
        d2 += dzStep
        d3 += dzStep
        z0 += zStep
        z1 += zStep
        z2 += zStep
        z3 += zStep
      }
      const at = elements(out, i)
      store<f32>(at, f32x4.extract_lane(s0, 0))
      if (i + 1 <= last) store<f32>(at, f32x4.extract_lane(s1, 0), 4)
      if (i + 2 <= last) store<f32>(at, f32x4.extract_lane(s2, 0), 8)
      if (i + 3 <= last) store<f32>(at, f32x4.extract_lane(s3, 0), 12)
    }
    if (job.dlse || job.dsink)
      for (let i = 0; i <= last; i++) {
        const at = elements(out, i)
        if (job.dlse) store<f32>(at, load<f32>(at) - load<f32>(elements(job.dlse, b * job.dlseBatch + h * job.dlseHead + i * job.dlseRow)))
        if (!job.dsink) continue
        const lse = load<f32>(elements(job.lse, b * job.lseBatch + h * job.lseHead + i * job.lseRow))
        if (lse != -Infinity) dsink -= expOne(load<f32>(elements(job.sink, h * job.sinkHead)) - lse) * load<f32>(at)
      }
  }
  if (job.dsink) store<f32>(elements(job.dsink, h), dsink)
}

/** Copies n rows of `cols` floats out of padded rows. */
function copyRows(n: i32, cols: i32, from: usize, fromRow: i32, to: usize): void {
  for (let i = 0; i < n; i++) memory.copy(elements(to, i * cols), elements(from, i * fromRow), <usize>cols << 2)
}

/** dk, dv and dbias of the items of chunk `chunk` and their share of dq. Grouped heads add into their key-value head. */
export function attentionGradientChunk(address: usize, chunk: i32, scratch: usize): void {
  const job = changetype<AttentionJob>(address)
  const first = chunk * job.chunkItems
  for (let i = first; i < min(first + job.chunkItems, job.items); i++) {
    const at = i / job.parts
    const heads = job.kvHeads / job.itemHeads
    const b0 = (at / heads) * job.itemBatches
    const g0 = (at % heads) * job.itemHeads
    for (let b = b0; b < b0 + job.itemBatches; b++)
      for (let g = g0; g < g0 + job.itemHeads; g++) keyValueHead(job, b, g, i % job.parts, scratch)
  }
}

/** One key-value head: every `parts`-th block of keys from block `part` on. */
function keyValueHead(job: AttentionJob, b: i32, g: i32, part: i32, scratch: usize): void {
  const dim = job.dim
  const valueDim = job.valueDim
  const queries = job.queries
  const wide = pad8(dim)
  const wideV = pad8(valueDim)
  const group = job.heads / job.kvHeads
  const dzs = job.dz ? job.dz : ZERO

  const keyColumns = scratch // kᵀ·scale: panels of 8 keys
  const valueColumns = elements(keyColumns, KEYS * dim) // vᵀ: panels of 8 keys
  const keyPanels = elements(valueColumns, KEYS * valueDim) // k·scale: panels of 8 columns
  const dkSum = elements(keyPanels, KEYS * wide)
  const dvSum = elements(dkSum, KEYS * wide)
  const slope = elements(dvSum, KEYS * wideV)
  const queryPanels = elements(slope, KEYS) // q·scale of a block: panels of 8 columns
  const dzPanels = elements(queryPanels, ROWS * wide)
  const qRows = elements(dzPanels, ROWS * wideV) // q and dz of a block when their columns are not neighbours
  const dzRows = elements(qRows, ROWS * dim)
  const p = elements(dzRows, ROWS * valueDim)
  const ds = elements(p, ROWS * KEYS)
  const pTurned = elements(ds, ROWS * KEYS)
  const dsTurned = elements(pTurned, ROWS * STRIP)
  const ranges = elements(dsTurned, ROWS * STRIP)
  const groups = elements(ranges, (ROWS + 1) * RANGE_WORDS)

  // q's gradient goes into this part, in rows of `wide` floats
  const firstRow = (b * job.heads + g * group) * queries
  const dqs = job.partial
    ? elements(job.partial, (part * job.batch * job.heads * queries + firstRow) * wide)
    : elements(job.dquery, firstRow * dim)
  memory.fill(dqs, 0, <usize>(group * queries * wide) << 2)
  const kv = (b * job.kvHeads + g) * job.keys
  const k = elements(job.key, b * job.keyBatch + g * job.keyHead)
  const v = elements(job.value, b * job.valueBatch + g * job.valueHead)

  for (let k0 = part * KEYS; k0 < job.keys; k0 += job.parts * KEYS) {
    const count = min(KEYS, job.keys - k0)
    const kBlock = elements(k, k0 * job.keyRow)
    const vBlock = elements(v, k0 * job.valueRow)
    packPanels(dim, count, kBlock, job.keyColumn, job.keyRow, keyColumns, job.scale)
    packPanels(valueDim, count, vBlock, job.valueColumn, job.valueRow, valueColumns, 1)
    packPanels(count, dim, kBlock, job.keyRow, job.keyColumn, keyPanels, job.scale)
    memory.fill(dkSum, 0, <usize>(KEYS * (wide + wideV)) << 2)
    for (let h = g * group; h < (g + 1) * group; h++) {
      const mask = job.mask ? job.mask + <usize>(b * job.maskBatch) + <usize>(h * job.maskHead) : 0
      const bias = job.bias ? elements(job.bias, b * job.biasBatch + h * job.biasHead) : 0
      const dbias = elements(job.dbias, b * job.dbiasBatch + h * job.dbiasHead + k0 * job.dbiasKey)
      for (let q0 = 0; q0 < queries; q0 += ROWS) {
        const rows = min(ROWS, queries - q0)
        visible(job, q0, rows, ranges)
        if (!meets(elements(ranges, rows * RANGE_WORDS), k0, k0 + count)) continue
        stretches(ranges, rows, MR, k0, count, groups)
        let q = elements(job.query, b * job.queryBatch + h * job.queryHead + q0 * job.queryRow)
        let dz = elements(dzs, b * job.dzBatch + h * job.dzHead + q0 * job.dzRow)
        let qRow = <usize>job.queryRow << 2
        let dzRow = <usize>job.dzRow << 2
        packPanels(rows, dim, q, job.queryRow, job.queryColumn, queryPanels, job.scale)
        packPanels(rows, valueDim, dz, job.dzRow, job.dzColumn, dzPanels, 1)
        if (job.queryColumn != 1) {
          packRows(rows, dim, q, job.queryRow, job.queryColumn, qRows, dim)
          q = qRows
          qRow = <usize>dim << 2
        }
        if (job.dzColumn != 1) {
          packRows(rows, valueDim, dz, job.dzRow, job.dzColumn, dzRows, valueDim)
          dz = dzRows
          dzRow = <usize>valueDim << 2
        }
        for (let j = 0; j < count; j += 8) {
          let stretch = groups
          for (let i = 0; i < rows; i += MR) {
            const live = min(MR, rows - i)
            if (j >= load<i32>(stretch) && j < load<i32>(stretch, 4)) {
              tile(live, dim, q + <usize>i * qRow, qRow, elements(keyColumns, j * dim), 32, elements(p, i * KEYS + j), KEYS * 4, 0)
              tile(live, valueDim, dz + <usize>i * dzRow, dzRow, elements(valueColumns, j * valueDim), 32, elements(ds, i * KEYS + j), KEYS * 4, 0)
            }
            stretch += 8
          }
        }
        for (let i = 0; i < rows; i++) {
          const stretch = groups + (<usize>(i / MR) << 3)
          const pRow = elements(p, i * KEYS)
          const dsRow = elements(ds, i * KEYS)
          const lse = load<f32>(elements(job.lse, b * job.lseBatch + h * job.lseHead + (q0 + i) * job.lseRow))
          const from = load<i32>(stretch)
          let end = pad8(load<i32>(stretch, 4))
          if (lse == -Infinity) end = from
          else if (end > from) {
            allow(
              job, pRow, from, load<i32>(stretch, 4), k0, elements(ranges, i * RANGE_WORDS),
              bias ? elements(bias, (q0 + i) * job.biasQuery) : 0, mask ? mask + <usize>((q0 + i) * job.maskQuery) : 0, slope,
            )
            differentiate(elements(pRow, from), elements(dsRow, from), end - from, lse, load<f32>(elements(job.delta, (b * job.heads + h) * queries + q0 + i)))
            if (job.dbias)
              addInto(load<i32>(stretch, 4) - from, elements(dbias, (q0 + i) * job.dbiasQuery + from * job.dbiasKey), job.dbiasKey, elements(dsRow, from), 1)
            if (job.softcap > 0)
              for (let j = 0; j < end - from; j += 4) {
                const d = elements(dsRow, from + j)
                v128.store(d, f32x4.mul(v128.load(d), v128.load(elements(slope, j))))
              }
          }
          // the products below run over the stretches of their own groups
          clear(pRow, from, end, count)
          clear(dsRow, from, end, count)
        }
        const dq = elements(dqs, ((h - g * group) * queries + q0) * wide)
        for (let j = 0; j < wide; j += 8) {
          let stretch = groups
          for (let i = 0; i < rows; i += MR) {
            const from = load<i32>(stretch)
            const depth = load<i32>(stretch, 4) - from
            stretch += 8
            if (depth > 0)
              tile(
                min(MR, rows - i), depth, elements(ds, i * KEYS + from), KEYS * 4, elements(keyPanels, j * count + from * 8), 32,
                elements(dq, i * wide + j), <usize>wide << 2, 1,
              )
          }
        }
        for (let j = 0; j < count; j += STRIP) {
          const strip = min(STRIP, count - j)
          // the queries of the block that see a key of the strip, in whole groups
          let first = rows
          let last = 0
          for (let i = 0; i < rows; i += MR) {
            const stretch = groups + (<usize>(i / MR) << 3)
            if (j + strip <= load<i32>(stretch) || j >= load<i32>(stretch, 4)) continue
            first = min(first, i)
            last = min(rows, i + MR)
          }
          const depth = last - first
          if (depth <= 0) continue
          packRows(strip, depth, elements(p, first * KEYS + j), 1, KEYS, pTurned, ROWS)
          packRows(strip, depth, elements(ds, first * KEYS + j), 1, KEYS, dsTurned, ROWS)
          turnedProduct(strip, depth, pTurned, wideV, elements(dzPanels, first * 8), rows, elements(dvSum, j * wideV))
          turnedProduct(strip, depth, dsTurned, wide, elements(queryPanels, first * 8), rows, elements(dkSum, j * wide))
        }
      }
    }
    copyRows(count, dim, dkSum, wide, elements(job.dkey, (kv + k0) * dim))
    copyRows(count, valueDim, dvSum, wideV, elements(job.dvalue, (kv + k0) * valueDim))
  }
}

/** c[strip × width] += a[strip × depth] · panels of 8 columns, which are `panelRows` rows long. */
function turnedProduct(strip: i32, depth: i32, a: usize, width: i32, panels: usize, panelRows: i32, c: usize): void {
  for (let j = 0; j < width; j += 8)
    for (let i = 0; i < strip; i += MR)
      tile(min(MR, strip - i), depth, elements(a, i * ROWS), ROWS * 4, elements(panels, j * panelRows), 32, elements(c, i * width + j), <usize>width << 2, 1)
}

/** p = exp(s − lse) and ds = p·(dp − δ) in place over n scores, a multiple of 4. */
function differentiate(s: usize, dp: usize, n: i32, lse: f32, delta: f32): void {
  expRow(s, n, lse)
  const d = f32x4.splat(delta)
  for (let j = 0; j < n; j += 4) {
    v128.store(dp, f32x4.mul(v128.load(s), f32x4.sub(v128.load(dp), d)))
    s += 16
    dp += 16
  }
}

/** Zeros before `from` and from `end` on, up to n. */
// @ts-ignore: decorator
@inline function clear(row: usize, from: i32, end: i32, n: i32): void {
  if (from > 0) memory.fill(row, 0, <usize>from << 2)
  if (n > end) memory.fill(elements(row, end), 0, <usize>(n - end) << 2)
}

/** Rows `chunk`·itemRows and so on of dq: the parts added in their order. */
export function attentionSumChunk(address: usize, chunk: i32): void {
  const job = changetype<AttentionJob>(address)
  const wide = pad8(job.dim)
  const all = job.batch * job.heads * job.queries
  const first = chunk * job.itemRows
  const rows = min(job.itemRows, all - first)
  const sum = elements(job.partial, first * wide)
  for (let part = 1; part < job.parts; part++) addInto(rows * wide, sum, 1, elements(sum, part * all * wide), 1)
  copyRows(rows, job.dim, sum, wide, elements(job.dquery, first * job.dim))
}
