// The argument block of the attention kernels: what lies where, and which keys a query may see. The caller fills it as plain
// 32-bit words in this order. Strides of tensors are in elements, strides of the mask in bytes.

import { TANH, activateRow } from './activations'

@unmanaged
export class AttentionJob {
  batch: i32
  heads: i32
  kvHeads: i32
  queries: i32
  keys: i32
  dim: i32
  valueDim: i32
  scale: f32
  /** Query i stands at position i·step + offset. */
  offset: i32
  step: i32
  /** It sees keys ≤ position + ahead (0: causal), */
  ahead: i32
  /** of them those from position − left to position + right, and the first `sinkTokens` whatever left and right say, */
  left: i32
  right: i32
  sinkTokens: i32
  /** of them, with block > 0, those of its own block of this length, of `back` blocks before it and of `forth` after it. */
  block: i32
  back: i32
  forth: i32
  /** Scores become softcap·tanh(score / softcap); 0: they stay. */
  softcap: f32
  /** u8 per (batch, head, query, key), 0 = not allowed; 0 when there is none. */
  mask: usize
  maskBatch: i32
  maskHead: i32
  maskQuery: i32
  maskKey: i32
  /** Added to the scores; 0 when there is none. */
  bias: usize
  biasBatch: i32
  biasHead: i32
  biasQuery: i32
  biasKey: i32
  /** A logit in the denominator; 0 when there is none. */
  sink: usize
  sinkHead: i32
  sinkQuery: i32
  query: usize
  queryBatch: i32
  queryHead: i32
  queryRow: i32
  queryColumn: i32
  key: usize
  keyBatch: i32
  keyHead: i32
  keyRow: i32
  keyColumn: i32
  value: usize
  valueBatch: i32
  valueHead: i32
  valueRow: i32
  valueColumn: i32
  /** Columns of z are neighbours when it is written. */
  z: usize
  zBatch: i32
  zHead: i32
  zRow: i32
  zColumn: i32
  /** [batch, head, query]: written by the forward kernel, read by the backward kernels. */
  lse: usize
  lseBatch: i32
  lseHead: i32
  lseRow: i32
  /** How many items of work there are, how many a chunk takes, and, forward, how many queries of a head an item has. */
  items: i32
  chunkItems: i32
  itemRows: i32
  /** 0 when z has no cotangent. */
  dz: usize
  dzBatch: i32
  dzHead: i32
  dzRow: i32
  dzColumn: i32
  /** [batch, head, query]; 0 when the log-sum-exp has no cotangent. */
  dlse: usize
  dlseBatch: i32
  dlseHead: i32
  dlseRow: i32
  /** Outputs of the backward kernels, contiguous: [batch, head, query, dim], [batch, kv, key, dim], [batch, kv, key, valueDim]. */
  dquery: usize
  dkey: usize
  dvalue: usize
  /** Like the bias, 0 strides where it repeats; zeros at first. 0 when there is no bias. */
  dbias: usize
  dbiasBatch: i32
  dbiasHead: i32
  dbiasQuery: i32
  dbiasKey: i32
  /** [head]; 0 when there are no sink logits. */
  dsink: usize
  /** Working memory of all threads: [batch, head, query] */
  delta: usize
  /** and [parts, batch, head, query, dim rounded up to 8] when dq is summed in parts; 0 when it is not. */
  partial: usize
  /** Backward: an item takes every `parts`-th block of keys, */
  parts: i32
  /** of so many batches and key-value heads: all or 1. */
  itemBatches: i32
  itemHeads: i32
}

export function attentionJobBytes(): usize {
  return offsetof<AttentionJob>()
}

/** What query row sees: keys from..to − 1 and, apart from them and before them, sinkFrom..sinkTo − 1. Empty: from = to. */
@unmanaged
export class Range {
  sinkFrom: i32
  sinkTo: i32
  from: i32
  to: i32
}
// @ts-ignore: decorator
@inline export const RANGE_WORDS: i32 = 4

/** ⌊x / n⌋ (division truncates towards 0). */
// @ts-ignore: decorator
@inline function floorDiv(x: i32, n: i32): i32 {
  return x >= 0 ? x / n : -((n - 1 - x) / n)
}

/** Writes the ranges of `rows` queries from q0 on and, as one more range, what they see together. */
export function visible(job: AttentionJob, q0: i32, rows: i32, at: usize): void {
  const all = changetype<Range>(at + <usize>rows * offsetof<Range>())
  all.sinkFrom = job.keys
  all.sinkTo = 0
  all.from = job.keys
  all.to = 0
  for (let i = 0; i < rows; i++) {
    const position = (q0 + i) * job.step + job.offset
    let low = 0
    let high = min(job.keys, position + job.ahead + 1)
    if (job.block > 0) {
      const block = floorDiv(position, job.block)
      low = max(0, (block - job.back) * job.block)
      high = min(high, (block + job.forth + 1) * job.block)
    }
    let from = max(low, position - job.left)
    let to = min(high, position + job.right + 1)
    let sinkFrom = low
    let sinkTo = min(job.sinkTokens, high)
    if (sinkTo <= sinkFrom) {
      sinkFrom = 0
      sinkTo = 0
    } else if (to <= from || sinkTo >= from) {
      // one range will do
      to = to <= from ? sinkTo : max(to, sinkTo)
      from = sinkFrom
      sinkFrom = 0
      sinkTo = 0
    }
    if (to <= from) {
      from = 0
      to = 0
    } else {
      all.from = min(all.from, from)
      all.to = max(all.to, to)
    }
    if (sinkTo > 0) {
      all.sinkFrom = min(all.sinkFrom, sinkFrom)
      all.sinkTo = max(all.sinkTo, sinkTo)
    }
    const range = changetype<Range>(at)
    range.sinkFrom = sinkFrom
    range.sinkTo = sinkTo
    range.from = from
    range.to = to
    at += offsetof<Range>()
  }
}

/** Whether any of the rows may see one of the keys k0..k1 − 1; `all` as `visible` writes it. */
// @ts-ignore: decorator
@inline export function meets(all: usize, k0: i32, k1: i32): bool {
  const r = changetype<Range>(all)
  return (k1 > r.from && k0 < r.to) || (k1 > r.sinkFrom && k0 < r.sinkTo)
}

/**
 * For every group of `tall` rows the smallest stretch [from, to) of the keys k0..k0 + count − 1, counted from k0, that holds all
 * its rows see; `from` is rounded down to a multiple of 8. Two words a group, 0 and 0 when it sees none.
 */
export function stretches(ranges: usize, rows: i32, tall: i32, k0: i32, count: i32, out: usize): void {
  for (let i = 0; i < rows; i += tall) {
    let from = count
    let to = 0
    for (let r = i; r < min(rows, i + tall); r++) {
      const range = changetype<Range>(ranges + <usize>r * offsetof<Range>())
      const a = max(range.from - k0, 0)
      const b = min(range.to - k0, count)
      if (a < b) {
        from = min(from, a)
        to = max(to, b)
      }
      const c = max(range.sinkFrom - k0, 0)
      const d = min(range.sinkTo - k0, count)
      if (c < d) {
        from = min(from, c)
        to = max(to, d)
      }
    }
    store<i32>(out, to > 0 ? from & ~7 : 0)
    store<i32>(out, to, 4)
    out += 8
  }
}

// @ts-ignore: decorator
@inline export function elements(base: usize, n: i32): usize {
  return base + (<usize>n << 2)
}

// @ts-ignore: decorator
@inline export function pad8(n: i32): i32 {
  return (n + 7) & ~7
}

function hide(row: usize, from: i32, to: i32): void {
  for (let j = from; j < to; j++) store<f32>(elements(row, j), -Infinity)
}

/** Puts `never` where the mask byte is 0 into n scores. */
export function maskScores(row: usize, n: i32, mask: usize, step: i32, never: f32): void {
  let j = 0
  if (step == 1) {
    const low = f32x4.splat(never)
    const zero = i32x4.splat(0)
    for (; j + 4 <= n; j += 4) {
      const wide = i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(v128.load32_zero(mask)))
      v128.store(row, v128.bitselect(v128.load(row), low, i32x4.ne(wide, zero)))
      row += 16
      mask += 4
    }
  }
  for (; j < n; j++) {
    if (!load<u8>(mask)) store<f32>(row, never)
    row += 4
    mask += step
  }
}

/** x[j·xStep] += y[j·yStep] for n elements. */
export function addInto(n: i32, x: usize, xStep: i32, y: usize, yStep: i32): void {
  let j = 0
  if (xStep == 1 && yStep == 1)
    for (; j + 4 <= n; j += 4) {
      v128.store(x, f32x4.add(v128.load(x), v128.load(y)))
      x += 16
      y += 16
    }
  for (; j < n; j++) {
    store<f32>(x, load<f32>(x) + load<f32>(y))
    x = elements(x, xStep)
    y = elements(y, yStep)
  }
}

/** row = cap·tanh(row / cap), n a multiple of 4; slope = 1 − tanh², when it is asked for. */
function capRow(row: usize, n: i32, cap: f32, slope: usize): void {
  const wide = f32x4.splat(cap)
  const narrow = f32x4.splat(1 / cap)
  const one = f32x4.splat(1)
  const end = elements(row, n)
  for (let at = row; at < end; at += 16) v128.store(at, f32x4.mul(v128.load(at), narrow))
  activateRow(TANH, n, row, row)
  for (let at = row; at < end; at += 16) {
    const t = v128.load(at)
    v128.store(at, f32x4.mul(t, wide))
    if (slope) {
      v128.store(slope, f32x4.sub(one, f32x4.mul(t, t)))
      slope += 16
    }
  }
}

/**
 * Softcap, bias, ranges and mask over the scores of one query: places from (a multiple of 8) to `to`, counted from key k0, and
 * −∞ up to the next multiple of 8. `bias` and `mask` point at key 0 of this query's row, or are 0.
 */
export function allow(job: AttentionJob, row: usize, from: i32, to: i32, k0: i32, range: usize, bias: usize, mask: usize, slope: usize): void {
  const r = changetype<Range>(range)
  const end = pad8(to)
  const start = elements(row, from)
  if (job.softcap > 0) capRow(start, end - from, job.softcap, slope)
  if (bias) addInto(to - from, start, 1, elements(bias, (k0 + from) * job.biasKey), job.biasKey)
  if (r.sinkTo > r.sinkFrom) {
    hide(row, from, min(end, r.sinkFrom - k0))
    hide(row, max(from, r.sinkTo - k0), min(end, r.from - k0))
  } else hide(row, from, min(end, r.from - k0))
  hide(row, max(from, r.to - k0), end)
  if (mask) maskScores(start, to - from, mask + <usize>((k0 + from) * job.maskKey), job.maskKey, -Infinity)
}
