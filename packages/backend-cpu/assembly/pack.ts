// Packing: copies a matrix with any strides into the layouts that the micro-kernels stream through.
// No arithmetic but one optional factor, no knowledge of what the matrix means.

/** Bytes that `packPanels` writes: ⌈cols / 8⌉ panels of rows × 8 floats. */
// @ts-ignore: decorator
@inline export function panelBytes(rows: i32, cols: i32): usize {
  return <usize>((cols + 7) >> 3) * <usize>rows * 32
}

// @ts-ignore: decorator
@inline function at(base: usize, i: i32, stride: i32): usize {
  return base + (<usize>(i * stride) << 2)
}

/** Writes the 4×4 block of four source rows s0..s3 transposed: element r of row c goes to out + c·step. */
// @ts-ignore: decorator
@inline function transpose4(s0: usize, s1: usize, s2: usize, s3: usize, out: usize, step: usize, f: v128): void {
  const x0 = v128.load(s0)
  const x1 = v128.load(s1)
  const x2 = v128.load(s2)
  const x3 = v128.load(s3)
  const t0 = v128.shuffle<i32>(x0, x1, 0, 4, 1, 5)
  const t1 = v128.shuffle<i32>(x0, x1, 2, 6, 3, 7)
  const t2 = v128.shuffle<i32>(x2, x3, 0, 4, 1, 5)
  const t3 = v128.shuffle<i32>(x2, x3, 2, 6, 3, 7)
  v128.store(out, f32x4.mul(f, v128.shuffle<i64>(t0, t2, 0, 2)))
  v128.store(out + step, f32x4.mul(f, v128.shuffle<i64>(t0, t2, 1, 3)))
  v128.store(out + 2 * step, f32x4.mul(f, v128.shuffle<i64>(t1, t3, 0, 2)))
  v128.store(out + 3 * step, f32x4.mul(f, v128.shuffle<i64>(t1, t3, 1, 3)))
}

/**
 * src[rows × cols] (strides in elements) · factor → panels of 8 columns: panel p at dst + p·rows·32 bytes, 8 floats per row,
 * missing columns 0. `panelRows` is how many rows lie in a panel (≥ rows when the panel is filled in pieces).
 */
export function packPanels(rows: i32, cols: i32, src: usize, rowStride: i32, colStride: i32, dst: usize, factor: f32): void {
  const f = f32x4.splat(factor)
  for (let j = 0; j < cols; j += 8) {
    let out = dst + (<usize>(j * rows) << 2)
    let from = at(src, j, colStride)
    const live = min(cols - j, 8)
    if (live == 8 && colStride == 1) {
      const step = <usize>rowStride << 2
      for (let k = 0; k < rows; k++) {
        v128.store(out, f32x4.mul(f, v128.load(from)))
        v128.store(out, f32x4.mul(f, v128.load(from, 16)), 16)
        out += 32
        from += step
      }
    } else if (live == 8 && rowStride == 1) {
      const cs = <usize>colStride << 2
      const blocks = rows & ~3
      for (let k = 0; k < blocks; k += 4) {
        transpose4(from, from + cs, from + 2 * cs, from + 3 * cs, out, 32, f)
        const low = from + 4 * cs
        transpose4(low, low + cs, low + 2 * cs, low + 3 * cs, out + 16, 32, f)
        from += 16
        out += 128
      }
      for (let k = blocks; k < rows; k++) {
        for (let r = 0; r < 8; r++) store<f32>(out + (<usize>r << 2), factor * load<f32>(from + <usize>r * cs))
        from += 4
        out += 32
      }
    } else {
      for (let k = 0; k < rows; k++) {
        const row = at(from, k, rowStride)
        for (let r = 0; r < 8; r++) {
          store<f32>(out, r < live ? factor * load<f32>(at(row, r, colStride)) : 0)
          out += 4
        }
      }
    }
  }
}

/** src[rows × cols] with any strides (elements) → row-major dst with `dstStride` elements per row. */
export function packRows(rows: i32, cols: i32, src: usize, rowStride: i32, colStride: i32, dst: usize, dstStride: i32): void {
  const one = f32x4.splat(1)
  const ds = <usize>dstStride << 2
  let i = 0
  if (rowStride == 1) {
    const cs = <usize>colStride << 2
    for (; i + 4 <= rows; i += 4) {
      let from = at(src, i, 1)
      let out = at(dst, i, dstStride)
      let k = 0
      for (; k + 4 <= cols; k += 4) {
        transpose4(from, from + cs, from + 2 * cs, from + 3 * cs, out, ds, one)
        from += 4 * cs
        out += 16
      }
      for (; k < cols; k++) {
        for (let r = 0; r < 4; r++) store<f32>(out + <usize>r * ds, load<f32>(from + (<usize>r << 2)))
        from += cs
        out += 4
      }
    }
  }
  for (; i < rows; i++) {
    let from = at(src, i, rowStride)
    let out = at(dst, i, dstStride)
    const step = <usize>colStride << 2
    for (let k = 0; k < cols; k++) {
      store<f32>(out, load<f32>(from))
      from += step
      out += 4
    }
  }
}
