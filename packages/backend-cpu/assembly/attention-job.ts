// The argument block of the attention kernels: what lies where, and which keys a query may see. The caller fills it as plain
// 32-bit words in this order. Strides of tensors are in elements, strides of the mask in bytes.

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
  /** 0 or 1; then query i sees keys ≤ i + offset, and an offset below 0 leaves the first queries nothing. */
  causal: i32
  offset: i32
  /** u8 per (batch, head, query, key), 0 = not allowed; 0 when there is none. */
  mask: usize
  maskBatch: i32
  maskHead: i32
  maskQuery: i32
  maskKey: i32
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
  /** [batch, head, query]: written by the forward kernel, read by the backward kernel. */
  lse: usize
  lseBatch: i32
  lseHead: i32
  lseRow: i32
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
  /** Outputs of the backward kernel, contiguous: [batch, head, query, dim], [batch, kv, key, dim], [batch, kv, key, valueDim]. */
  dquery: usize
  dkey: usize
  dvalue: usize
}

export function attentionJobBytes(): usize {
  return offsetof<AttentionJob>()
}

/** How many leading keys query row i sees (before the mask). */
// @ts-ignore: decorator
@inline export function visibleKeys(job: AttentionJob, i: i32): i32 {
  return job.causal ? max(0, min(job.keys, i + job.offset + 1)) : job.keys
}

// @ts-ignore: decorator
@inline export function elements(base: usize, n: i32): usize {
  return base + (<usize>n << 2)
}

// @ts-ignore: decorator
@inline export function pad8(n: i32): i32 {
  return (n + 7) & ~7
}

/** Overwrites with `never` the n scores at `row` whose mask byte is 0; says whether any is left. */
export function maskScores(row: usize, n: i32, mask: usize, step: i32, never: f32): bool {
  if (n <= 0) return false
  if (step == 0) {
    if (load<u8>(mask)) return true
    for (let j = 0; j < n; j++) store<f32>(row + (<usize>j << 2), never)
    return false
  }
  let j = 0
  let any = false
  if (step == 1) {
    const low = f32x4.splat(never)
    const zero = i32x4.splat(0)
    let seen = zero
    for (; j + 4 <= n; j += 4) {
      const wide = i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(v128.load32_zero(mask)))
      const allowed = i32x4.ne(wide, zero)
      seen = v128.or(seen, allowed)
      v128.store(row, v128.bitselect(v128.load(row), low, allowed))
      row += 16
      mask += 4
    }
    any = v128.any_true(seen)
  }
  for (; j < n; j++) {
    if (load<u8>(mask)) any = true
    else store<f32>(row, never)
    row += 4
    mask += step
  }
  return any
}
