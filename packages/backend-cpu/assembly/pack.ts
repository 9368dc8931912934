// Packing: copies a matrix with any strides into the layouts that the micro-kernels stream through.
// No arithmetic but one optional factor, no knowledge of what the matrix means.

/** Bytes that `packPanels` writes: ⌈cols / width⌉ panels of rows × width floats. */
// @ts-ignore: decorator
@inline export function panelBytes(rows: i32, cols: i32, width: i32 = 8): usize {
  return <usize>((cols + width - 1) / width * width) * <usize>rows * 4
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
 * src[rows × cols] (strides in elements) · factor → panels of `width` columns (a multiple of 4): panel p at dst + p·rows·width·4
 * bytes, `width` floats per row, missing columns 0.
 */
export function packPanels(rows: i32, cols: i32, src: usize, rowStride: i32, colStride: i32, dst: usize, factor: f32, width: i32 = 8): void {
  const f = f32x4.splat(factor)
  const step = <usize>width << 2
  const rs = <usize>rowStride << 2
  const cs = <usize>colStride << 2
  for (let j = 0; j < cols; j += width) {
    const panel = at(dst, j, rows)
    const first = at(src, j, colStride)
    if (cols - j >= width && colStride == 1) {
      let out = panel
      let from = first
      for (let k = 0; k < rows; k++) {
        for (let q: usize = 0; q < step; q += 16) v128.store(out + q, f32x4.mul(f, v128.load(from + q)))
        out += step
        from += rs
      }
    } else
      for (let q = 0; q < width; q += 4) {
        const live = min(cols - j - q, 4)
        let out = at(panel, q, 1)
        let from = at(first, q, colStride)
        let k = 0
        if (live == 4 && rowStride == 1)
          for (; k + 4 <= rows; k += 4) {
            transpose4(from, from + cs, from + 2 * cs, from + 3 * cs, out, step, f)
            from += 16
            out += 4 * step
          }
        for (; k < rows; k++) {
          for (let r = 0; r < 4; r++) store<f32>(at(out, r, 1), r < live ? factor * load<f32>(from + <usize>r * cs) : 0)
          out += step
          from += rs
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
