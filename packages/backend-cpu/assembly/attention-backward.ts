// Fused attention, backward: gradients of q, k and v from the cotangents of z and of the log-sum-exp. The probabilities are
// computed again from the log-sum-exp, tile by tile (Dao 2023, arXiv:2307.08691, algorithm 2), so the extra memory is linear in
// the number of keys. With p = exp(s − lse) and δ = Σ dz·z − dlse per query: ds = p·(dz·vᵀ − δ), dq = scale·ds·k, dk = scale·dsᵀ·q,
// dv = pᵀ·dz. A query that saw nothing (lse = −∞) gives no gradient.

import { AttentionJob, elements, maskScores, pad8, visibleKeys } from './attention-job'
import { NEVER, expRow } from './exp'
import { packPanels, packRows, panelBytes } from './pack'
import { MR, fma, tile } from './tile'

// @ts-ignore: decorator
@inline const ROWS: i32 = 90
// @ts-ignore: decorator
@inline const KEYS: i32 = 240

/** Bytes of scratch for `attentionBackward`: linear in the number of keys, independent of queries, heads and batches. */
export function attentionBackwardScratch(keys: i32, dim: i32, valueDim: i32): usize {
  const wide = pad8(dim)
  const wideV = pad8(valueDim)
  const packs: usize = <usize>2 * panelBytes(dim, keys) + panelBytes(valueDim, keys) + panelBytes(keys, dim)
  const sums = <usize>keys * <usize>(wide + wideV) * 4
  const tiles = <usize>(ROWS * (3 * wide + 3 * wideV + 2) + 4 * ROWS * KEYS) * 4
  return packs + sums + tiles
}

/** Copies n rows of `cols` floats out of padded rows. */
function copyRows(n: i32, cols: i32, from: usize, fromRow: i32, to: usize, toRow: i32): void {
  for (let i = 0; i < n; i++) memory.copy(elements(to, i * toRow), elements(from, i * fromRow), <usize>cols << 2)
}

/** p = exp(s − lse) and ds = p·(dp − δ) in place over `seen` allowed keys; zeros from there to n. */
// @ts-ignore: decorator
@inline function probabilities(s: usize, dp: usize, seen: i32, n: i32, lse: f32, delta: f32): void {
  for (let j = seen; j < n; j++) {
    store<f32>(elements(s, j), NEVER)
    store<f32>(elements(dp, j), 0)
  }
  expRow(s, n, lse)
  const d = f32x4.splat(delta)
  for (let j = 0; j < n; j += 4) {
    v128.store(dp, f32x4.mul(v128.load(s), f32x4.sub(v128.load(dp), d)))
    s += 16
    dp += 16
  }
}

/**
 * Σ a[k]·b[k] added in the order in which a tile adds, so that δ = dz·z and dz·v round alike: where one key has all the
 * weight, z is its v and their difference is exactly 0, not rounding noise times large keys.
 */
function chained(depth: i32, a: usize, b: usize): f32 {
  let s = f32x4.splat(0)
  for (let k = depth; k > 0; k--) {
    s = fma(v128.load32_splat(a), v128.load32_splat(b), s)
    a += 4
    b += 4
  }
  return f32x4.extract_lane(s, 0)
}

/** dq, dk and dv of the job; `scratch`: attentionBackwardScratch(…) bytes. Grouped heads add into their key-value head. */
export function attentionBackward(address: usize, scratch: usize): void {
  const job = changetype<AttentionJob>(address)
  const dim = job.dim
  const valueDim = job.valueDim
  const keys = job.keys
  const queries = job.queries
  const wide = pad8(dim)
  const wideV = pad8(valueDim)
  const group = job.heads / job.kvHeads
  const last = queries > 0 ? visibleKeys(job, queries - 1) : 0
  const sRow: usize = KEYS * 4
  const tRow: usize = ROWS * 4

  const keyColumns = scratch // kᵀ·scale: panels of 8 keys
  const valueColumns = keyColumns + panelBytes(dim, last) // vᵀ: panels of 8 keys
  const keyPanels = valueColumns + panelBytes(valueDim, last) // k·scale: panels of 8 columns
  const dkSum = keyPanels + panelBytes(last, dim)
  const dvSum = elements(dkSum, last * wide)
  const dqTile = elements(dvSum, last * wideV)
  const queryPanels = elements(dqTile, ROWS * wide) // q·scale of this block: panels of 8 columns
  const dzPanels = elements(queryPanels, ROWS * wide)
  const delta = elements(dzPanels, ROWS * wideV)
  const qRows = elements(delta, 2 * ROWS) // q, dz and z of this block when their columns are not neighbours
  const dzRows = elements(qRows, ROWS * wide)
  const zRows = elements(dzRows, ROWS * wideV)
  const p = elements(zRows, ROWS * wideV)
  const ds = elements(p, ROWS * KEYS)
  const pTurned = elements(ds, ROWS * KEYS)
  const dsTurned = elements(pTurned, ROWS * KEYS)

  for (let b = 0; b < job.batch; b++)
    for (let g = 0; g < job.kvHeads; g++) {
      const k = elements(job.key, b * job.keyBatch + g * job.keyHead)
      const v = elements(job.value, b * job.valueBatch + g * job.valueHead)
      packPanels(dim, last, k, job.keyColumn, job.keyRow, keyColumns, job.scale)
      packPanels(valueDim, last, v, job.valueColumn, job.valueRow, valueColumns, 1)
      packPanels(last, dim, k, job.keyRow, job.keyColumn, keyPanels, job.scale)
      memory.fill(dkSum, 0, <usize>(last * (wide + wideV)) << 2)
      for (let h = g * group; h < (g + 1) * group; h++) {
        const q = elements(job.query, b * job.queryBatch + h * job.queryHead)
        const z = elements(job.z, b * job.zBatch + h * job.zHead)
        const dz = elements(job.dz, b * job.dzBatch + h * job.dzHead)
        const lse = elements(job.lse, b * job.lseBatch + h * job.lseHead)
        const dlse = job.dlse ? elements(job.dlse, b * job.dlseBatch + h * job.dlseHead) : 0
        const dq = elements(job.dquery, (b * job.heads + h) * queries * dim)
        const mask = job.mask + <usize>(b * job.maskBatch) + <usize>(h * job.maskHead)
        for (let q0 = 0; q0 < queries; q0 += ROWS) {
          const rows = min(ROWS, queries - q0)
          let qBlock = elements(q, q0 * job.queryRow)
          let dzBlock = elements(dz, q0 * job.dzRow)
          let zBlock = elements(z, q0 * job.zRow)
          let qBytes = <usize>job.queryRow << 2
          let dzBytes = <usize>job.dzRow << 2
          let zBytes = <usize>job.zRow << 2
          packPanels(rows, dim, qBlock, job.queryRow, job.queryColumn, queryPanels, job.scale)
          packPanels(rows, valueDim, dzBlock, job.dzRow, job.dzColumn, dzPanels, 1)
          if (job.queryColumn != 1) {
            packRows(rows, dim, qBlock, job.queryRow, job.queryColumn, qRows, dim)
            qBlock = qRows
            qBytes = <usize>dim << 2
          }
          if (job.dzColumn != 1) {
            packRows(rows, valueDim, dzBlock, job.dzRow, job.dzColumn, dzRows, valueDim)
            dzBlock = dzRows
            dzBytes = <usize>valueDim << 2
          }
          if (job.zColumn != 1) {
            packRows(rows, valueDim, zBlock, job.zRow, job.zColumn, zRows, valueDim)
            zBlock = zRows
            zBytes = <usize>valueDim << 2
          }
          for (let i = 0; i < rows; i++) {
            const sum = chained(valueDim, dzBlock + <usize>i * dzBytes, zBlock + <usize>i * zBytes)
            store<f32>(elements(delta, i), dlse ? sum - load<f32>(elements(dlse, (q0 + i) * job.dlseRow)) : sum)
          }
          memory.fill(dqTile, 0, <usize>(rows * wide) << 2)
          const end = visibleKeys(job, q0 + rows - 1)
          for (let k0 = 0; k0 < end; k0 += KEYS) {
            const count = min(KEYS, end - k0)
            const padded = pad8(count)
            const diagonal = visibleKeys(job, q0) < k0 + count
            for (let j = 0; j < count; j += 8) {
              const first = diagonal ? (max(0, k0 + j - q0 - job.offset) / MR) * MR : 0
              const kPanel = elements(keyColumns, (k0 + j) * dim)
              const vPanel = elements(valueColumns, (k0 + j) * valueDim)
              for (let i = first; i < rows; i += MR) {
                const live = min(MR, rows - i)
                tile(live, dim, qBlock + <usize>i * qBytes, qBytes, kPanel, 32, elements(p, i * KEYS + j), sRow, 0)
                tile(live, valueDim, dzBlock + <usize>i * dzBytes, dzBytes, vPanel, 32, elements(ds, i * KEYS + j), sRow, 0)
              }
            }
            for (let i = 0; i < rows; i++) {
              const s = elements(p, i * KEYS)
              const d = elements(ds, i * KEYS)
              const rowLse = load<f32>(elements(lse, (q0 + i) * job.lseRow))
              let seen = diagonal ? max(0, min(count, visibleKeys(job, q0 + i) - k0)) : count
              if (rowLse == -Infinity) seen = 0
              else if (job.mask)
                maskScores(s, seen, mask + <usize>((q0 + i) * job.maskQuery) + <usize>(k0 * job.maskKey), job.maskKey, NEVER)
              if (seen > 0) probabilities(s, d, seen, padded, rowLse, load<f32>(elements(delta, i)))
              else {
                memory.fill(s, 0, <usize>padded << 2)
                memory.fill(d, 0, <usize>padded << 2)
              }
            }
            for (let j = 0; j < wide; j += 8) {
              const panel = elements(keyPanels, j * last + k0 * 8)
              for (let i = 0; i < rows; i += MR) {
                const live = min(MR, rows - i)
                const depth = diagonal ? min(count, visibleKeys(job, q0 + i + live - 1) - k0) : count
                if (depth > 0) tile(live, depth, elements(ds, i * KEYS), sRow, panel, 32, elements(dqTile, i * wide + j), <usize>wide << 2, 1)
              }
            }
            packRows(count, rows, p, 1, KEYS, pTurned, ROWS)
            packRows(count, rows, ds, 1, KEYS, dsTurned, ROWS)
            for (let j = 0; j < count; j += MR) {
              const live = min(MR, count - j)
              // the first query of the block that sees key k0 + j
              const first = diagonal ? max(0, k0 + j - q0 - job.offset) : 0
              const depth = rows - first
              if (depth <= 0) continue
              for (let c = 0; c < wideV; c += 8)
                tile(
                  live, depth, elements(pTurned, j * ROWS + first), tRow,
                  elements(dzPanels, c * rows + first * 8), 32, elements(dvSum, (k0 + j) * wideV + c), <usize>wideV << 2, 1,
                )
              for (let c = 0; c < wide; c += 8)
                tile(
                  live, depth, elements(dsTurned, j * ROWS + first), tRow,
                  elements(queryPanels, c * rows + first * 8), 32, elements(dkSum, (k0 + j) * wide + c), <usize>wide << 2, 1,
                )
            }
          }
          copyRows(rows, dim, dqTile, wide, elements(dq, q0 * dim), dim)
        }
      }
      const kv = (b * job.kvHeads + g) * keys
      const dk = elements(job.dkey, kv * dim)
      const dv = elements(job.dvalue, kv * valueDim)
      copyRows(last, dim, dkSum, wide, dk, dim)
      copyRows(last, valueDim, dvSum, wideV, dv, valueDim)
      memory.fill(elements(dk, last * dim), 0, <usize>((keys - last) * dim) << 2)
      memory.fill(elements(dv, last * valueDim), 0, <usize>((keys - last) * valueDim) << 2)
    }
}
