// The register-tile micro-kernels: C (+)= A·B for 1 to 6 rows and 8 columns, or 1 to 3 rows and 12, one k step per turn of the loop.
// Nothing here blocks, packs or looks at shapes. Every name is a byte address or a byte stride.
//
// Unrolling k by hand, keeping constants as v128 literals or giving load32_splat an offset makes V8 spill registers
// (half the speed): 12 accumulators + 2 columns of B + 1 broadcast of A are exactly the 15 usable x86 registers.
// Multiply-then-add needs one more, so the baseline build stops at 5 rows.

/** Rows of the widest tile of this build. */
// @ts-ignore: decorator
@inline export const MR: i32 = ASC_FEATURE_RELAXED_SIMD ? 6 : 5

/** x·y + z: fused where the build may (the rounding then differs between machines), else two roundings. */
// @ts-ignore: decorator
@inline export function fma(x: v128, y: v128, z: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_madd(x, y, z)
  else return f32x4.add(f32x4.mul(x, y), z)
}

function tile1(depth: i32, a: usize, aRow: usize, b: usize, bRow: usize, c: usize, cRow: usize, acc: i32): void {
  const p0: usize = c
  let c0l = f32x4.splat(0)
  let c0r = f32x4.splat(0)
  if (acc) {
    c0l = v128.load(p0)
    c0r = v128.load(p0, 16)
  }
  let a0: usize = a
  for (let k = depth; k > 0; k--) {
    const bl = v128.load(b)
    const br = v128.load(b, 16)
    let x: v128
    x = v128.load32_splat(a0)
    c0l = fma(x, bl, c0l)
    c0r = fma(x, br, c0r)
    b += bRow
    a0 += 4
  }
  v128.store(p0, c0l)
  v128.store(p0, c0r, 16)
}

function tile2(depth: i32, a: usize, aRow: usize, b: usize, bRow: usize, c: usize, cRow: usize, acc: i32): void {
  const p0: usize = c
  const p1: usize = p0 + cRow
  let c0l = f32x4.splat(0)
  let c0r = f32x4.splat(0)
  let c1l = f32x4.splat(0)
  let c1r = f32x4.splat(0)
  if (acc) {
    c0l = v128.load(p0)
    c0r = v128.load(p0, 16)
    c1l = v128.load(p1)
    c1r = v128.load(p1, 16)
  }
  let a0: usize = a
  let a1: usize = a0 + aRow
  for (let k = depth; k > 0; k--) {
    const bl = v128.load(b)
    const br = v128.load(b, 16)
    let x: v128
    x = v128.load32_splat(a0)
    c0l = fma(x, bl, c0l)
    c0r = fma(x, br, c0r)
    x = v128.load32_splat(a1)
    c1l = fma(x, bl, c1l)
    c1r = fma(x, br, c1r)
    b += bRow
    a0 += 4
    a1 += 4
  }
  v128.store(p0, c0l)
  v128.store(p0, c0r, 16)
  v128.store(p1, c1l)
  v128.store(p1, c1r, 16)
}

function tile3(depth: i32, a: usize, aRow: usize, b: usize, bRow: usize, c: usize, cRow: usize, acc: i32): void {
  const p0: usize = c
  const p1: usize = p0 + cRow
  const p2: usize = p1 + cRow
  let c0l = f32x4.splat(0)
  let c0r = f32x4.splat(0)
  let c1l = f32x4.splat(0)
  let c1r = f32x4.splat(0)
  let c2l = f32x4.splat(0)
  let c2r = f32x4.splat(0)
  if (acc) {
    c0l = v128.load(p0)
    c0r = v128.load(p0, 16)
    c1l = v128.load(p1)
    c1r = v128.load(p1, 16)
    c2l = v128.load(p2)
    c2r = v128.load(p2, 16)
  }
  let a0: usize = a
  let a1: usize = a0 + aRow
  let a2: usize = a1 + aRow
  for (let k = depth; k > 0; k--) {
    const bl = v128.load(b)
    const br = v128.load(b, 16)
    let x: v128
    x = v128.load32_splat(a0)
    c0l = fma(x, bl, c0l)
    c0r = fma(x, br, c0r)
    x = v128.load32_splat(a1)
    c1l = fma(x, bl, c1l)
    c1r = fma(x, br, c1r)
    x = v128.load32_splat(a2)
    c2l = fma(x, bl, c2l)
    c2r = fma(x, br, c2r)
    b += bRow
    a0 += 4
    a1 += 4
    a2 += 4
  }
  v128.store(p0, c0l)
  v128.store(p0, c0r, 16)
  v128.store(p1, c1l)
  v128.store(p1, c1r, 16)
  v128.store(p2, c2l)
  v128.store(p2, c2r, 16)
}

function tile4(depth: i32, a: usize, aRow: usize, b: usize, bRow: usize, c: usize, cRow: usize, acc: i32): void {
  const p0: usize = c
  const p1: usize = p0 + cRow
  const p2: usize = p1 + cRow
  const p3: usize = p2 + cRow
  let c0l = f32x4.splat(0)
  let c0r = f32x4.splat(0)
  let c1l = f32x4.splat(0)
  let c1r = f32x4.splat(0)
  let c2l = f32x4.splat(0)
  let c2r = f32x4.splat(0)
  let c3l = f32x4.splat(0)
  let c3r = f32x4.splat(0)
  if (acc) {
    c0l = v128.load(p0)
    c0r = v128.load(p0, 16)
    c1l = v128.load(p1)
    c1r = v128.load(p1, 16)
    c2l = v128.load(p2)
    c2r = v128.load(p2, 16)
    c3l = v128.load(p3)
    c3r = v128.load(p3, 16)
  }
  let a0: usize = a
  let a1: usize = a0 + aRow
  let a2: usize = a1 + aRow
  let a3: usize = a2 + aRow
  for (let k = depth; k > 0; k--) {
    const bl = v128.load(b)
    const br = v128.load(b, 16)
    let x: v128
    x = v128.load32_splat(a0)
    c0l = fma(x, bl, c0l)
    c0r = fma(x, br, c0r)
    x = v128.load32_splat(a1)
    c1l = fma(x, bl, c1l)
    c1r = fma(x, br, c1r)
    x = v128.load32_splat(a2)
    c2l = fma(x, bl, c2l)
    c2r = fma(x, br, c2r)
    x = v128.load32_splat(a3)
    c3l = fma(x, bl, c3l)
    c3r = fma(x, br, c3r)
    b += bRow
    a0 += 4
    a1 += 4
    a2 += 4
    a3 += 4
  }
  v128.store(p0, c0l)
  v128.store(p0, c0r, 16)
  v128.store(p1, c1l)
  v128.store(p1, c1r, 16)
  v128.store(p2, c2l)
  v128.store(p2, c2r, 16)
  v128.store(p3, c3l)
  v128.store(p3, c3r, 16)
}

function tile5(depth: i32, a: usize, aRow: usize, b: usize, bRow: usize, c: usize, cRow: usize, acc: i32): void {
  const p0: usize = c
  const p1: usize = p0 + cRow
  const p2: usize = p1 + cRow
  const p3: usize = p2 + cRow
  const p4: usize = p3 + cRow
  let c0l = f32x4.splat(0)
  let c0r = f32x4.splat(0)
  let c1l = f32x4.splat(0)
  let c1r = f32x4.splat(0)
  let c2l = f32x4.splat(0)
  let c2r = f32x4.splat(0)
  let c3l = f32x4.splat(0)
  let c3r = f32x4.splat(0)
  let c4l = f32x4.splat(0)
  let c4r = f32x4.splat(0)
  if (acc) {
    c0l = v128.load(p0)
    c0r = v128.load(p0, 16)
    c1l = v128.load(p1)
    c1r = v128.load(p1, 16)
    c2l = v128.load(p2)
    c2r = v128.load(p2, 16)
    c3l = v128.load(p3)
    c3r = v128.load(p3, 16)
    c4l = v128.load(p4)
    c4r = v128.load(p4, 16)
  }
  let a0: usize = a
  let a1: usize = a0 + aRow
  let a2: usize = a1 + aRow
  let a3: usize = a2 + aRow
  let a4: usize = a3 + aRow
  for (let k = depth; k > 0; k--) {
    const bl = v128.load(b)
    const br = v128.load(b, 16)
    let x: v128
    x = v128.load32_splat(a0)
    c0l = fma(x, bl, c0l)
    c0r = fma(x, br, c0r)
    x = v128.load32_splat(a1)
    c1l = fma(x, bl, c1l)
    c1r = fma(x, br, c1r)
    x = v128.load32_splat(a2)
    c2l = fma(x, bl, c2l)
    c2r = fma(x, br, c2r)
    x = v128.load32_splat(a3)
    c3l = fma(x, bl, c3l)
    c3r = fma(x, br, c3r)
    x = v128.load32_splat(a4)
    c4l = fma(x, bl, c4l)
    c4r = fma(x, br, c4r)
    b += bRow
    a0 += 4
    a1 += 4
    a2 += 4
    a3 += 4
    a4 += 4
  }
  v128.store(p0, c0l)
  v128.store(p0, c0r, 16)
  v128.store(p1, c1l)
  v128.store(p1, c1r, 16)
  v128.store(p2, c2l)
  v128.store(p2, c2r, 16)
  v128.store(p3, c3l)
  v128.store(p3, c3r, 16)
  v128.store(p4, c4l)
  v128.store(p4, c4r, 16)
}

function tile6(depth: i32, a: usize, aRow: usize, b: usize, bRow: usize, c: usize, cRow: usize, acc: i32): void {
  const p0: usize = c
  const p1: usize = p0 + cRow
  const p2: usize = p1 + cRow
  const p3: usize = p2 + cRow
  const p4: usize = p3 + cRow
  const p5: usize = p4 + cRow
  let c0l = f32x4.splat(0)
  let c0r = f32x4.splat(0)
  let c1l = f32x4.splat(0)
  let c1r = f32x4.splat(0)
  let c2l = f32x4.splat(0)
  let c2r = f32x4.splat(0)
  let c3l = f32x4.splat(0)
  let c3r = f32x4.splat(0)
  let c4l = f32x4.splat(0)
  let c4r = f32x4.splat(0)
  let c5l = f32x4.splat(0)
  let c5r = f32x4.splat(0)
  if (acc) {
    c0l = v128.load(p0)
    c0r = v128.load(p0, 16)
    c1l = v128.load(p1)
    c1r = v128.load(p1, 16)
    c2l = v128.load(p2)
    c2r = v128.load(p2, 16)
    c3l = v128.load(p3)
    c3r = v128.load(p3, 16)
    c4l = v128.load(p4)
    c4r = v128.load(p4, 16)
    c5l = v128.load(p5)
    c5r = v128.load(p5, 16)
  }
  let a0: usize = a
  let a1: usize = a0 + aRow
  let a2: usize = a1 + aRow
  let a3: usize = a2 + aRow
  let a4: usize = a3 + aRow
  let a5: usize = a4 + aRow
  for (let k = depth; k > 0; k--) {
    const bl = v128.load(b)
    const br = v128.load(b, 16)
    let x: v128
    x = v128.load32_splat(a0)
    c0l = fma(x, bl, c0l)
    c0r = fma(x, br, c0r)
    x = v128.load32_splat(a1)
    c1l = fma(x, bl, c1l)
    c1r = fma(x, br, c1r)
    x = v128.load32_splat(a2)
    c2l = fma(x, bl, c2l)
    c2r = fma(x, br, c2r)
    x = v128.load32_splat(a3)
    c3l = fma(x, bl, c3l)
    c3r = fma(x, br, c3r)
    x = v128.load32_splat(a4)
    c4l = fma(x, bl, c4l)
    c4r = fma(x, br, c4r)
    x = v128.load32_splat(a5)
    c5l = fma(x, bl, c5l)
    c5r = fma(x, br, c5r)
    b += bRow
    a0 += 4
    a1 += 4
    a2 += 4
    a3 += 4
    a4 += 4
    a5 += 4
  }
  v128.store(p0, c0l)
  v128.store(p0, c0r, 16)
  v128.store(p1, c1l)
  v128.store(p1, c1r, 16)
  v128.store(p2, c2l)
  v128.store(p2, c2r, 16)
  v128.store(p3, c3l)
  v128.store(p3, c3r, 16)
  v128.store(p4, c4l)
  v128.store(p4, c4r, 16)
  v128.store(p5, c5l)
  v128.store(p5, c5r, 16)
}

/**
 * C[rows × 8] = A[rows × depth] · B[depth × 8], added to C when `acc` is not 0; rows is 1 to MR. A is read in place with any row
 * stride and 4-byte columns, B has 8 neighbouring columns per row. depth = 0 writes zeros (or leaves C with acc).
 */
export function tile(rows: i32, depth: i32, a: usize, aRow: usize, b: usize, bRow: usize, c: usize, cRow: usize, acc: i32): void {
  switch (rows) {
    case 1: tile1(depth, a, aRow, b, bRow, c, cRow, acc); break
    case 2: tile2(depth, a, aRow, b, bRow, c, cRow, acc); break
    case 3: tile3(depth, a, aRow, b, bRow, c, cRow, acc); break
    case 4: tile4(depth, a, aRow, b, bRow, c, cRow, acc); break
    case 5: tile5(depth, a, aRow, b, bRow, c, cRow, acc); break
    default: if (MR == 6) tile6(depth, a, aRow, b, bRow, c, cRow, acc)
  }
}

function wide1(depth: i32, a: usize, aRow: usize, b: usize, bRow: usize, c: usize, cRow: usize, acc: i32): void {
  let c0l = f32x4.splat(0)
  let c0m = f32x4.splat(0)
  let c0r = f32x4.splat(0)
  if (acc) {
    c0l = v128.load(c)
    c0m = v128.load(c, 16)
    c0r = v128.load(c, 32)
  }
  let a0: usize = a
  for (let k = depth; k > 0; k--) {
    const bl = v128.load(b)
    const bm = v128.load(b, 16)
    const br = v128.load(b, 32)
    let x: v128
    x = v128.load32_splat(a0)
    c0l = fma(x, bl, c0l)
    c0m = fma(x, bm, c0m)
    c0r = fma(x, br, c0r)
    b += bRow
    a0 += 4
  }
  v128.store(c, c0l)
  v128.store(c, c0m, 16)
  v128.store(c, c0r, 32)
}

function wide2(depth: i32, a: usize, aRow: usize, b: usize, bRow: usize, c: usize, cRow: usize, acc: i32): void {
  const p1: usize = c + cRow
  let c0l = f32x4.splat(0)
  let c0m = f32x4.splat(0)
  let c0r = f32x4.splat(0)
  let c1l = f32x4.splat(0)
  let c1m = f32x4.splat(0)
  let c1r = f32x4.splat(0)
  if (acc) {
    c0l = v128.load(c)
    c0m = v128.load(c, 16)
    c0r = v128.load(c, 32)
    c1l = v128.load(p1)
    c1m = v128.load(p1, 16)
    c1r = v128.load(p1, 32)
  }
  let a0: usize = a
  let a1: usize = a0 + aRow
  for (let k = depth; k > 0; k--) {
    const bl = v128.load(b)
    const bm = v128.load(b, 16)
    const br = v128.load(b, 32)
    let x: v128
    x = v128.load32_splat(a0)
    c0l = fma(x, bl, c0l)
    c0m = fma(x, bm, c0m)
    c0r = fma(x, br, c0r)
    x = v128.load32_splat(a1)
    c1l = fma(x, bl, c1l)
    c1m = fma(x, bm, c1m)
    c1r = fma(x, br, c1r)
    b += bRow
    a0 += 4
    a1 += 4
  }
  v128.store(c, c0l)
  v128.store(c, c0m, 16)
  v128.store(c, c0r, 32)
  v128.store(p1, c1l)
  v128.store(p1, c1m, 16)
  v128.store(p1, c1r, 32)
}

function wide3(depth: i32, a: usize, aRow: usize, b: usize, bRow: usize, c: usize, cRow: usize, acc: i32): void {
  const p1: usize = c + cRow
  const p2: usize = p1 + cRow
  let c0l = f32x4.splat(0)
  let c0m = f32x4.splat(0)
  let c0r = f32x4.splat(0)
  let c1l = f32x4.splat(0)
  let c1m = f32x4.splat(0)
  let c1r = f32x4.splat(0)
  let c2l = f32x4.splat(0)
  let c2m = f32x4.splat(0)
  let c2r = f32x4.splat(0)
  if (acc) {
    c0l = v128.load(c)
    c0m = v128.load(c, 16)
    c0r = v128.load(c, 32)
    c1l = v128.load(p1)
    c1m = v128.load(p1, 16)
    c1r = v128.load(p1, 32)
    c2l = v128.load(p2)
    c2m = v128.load(p2, 16)
    c2r = v128.load(p2, 32)
  }
  let a0: usize = a
  let a1: usize = a0 + aRow
  let a2: usize = a1 + aRow
  for (let k = depth; k > 0; k--) {
    const bl = v128.load(b)
    const bm = v128.load(b, 16)
    const br = v128.load(b, 32)
    let x: v128
    x = v128.load32_splat(a0)
    c0l = fma(x, bl, c0l)
    c0m = fma(x, bm, c0m)
    c0r = fma(x, br, c0r)
    x = v128.load32_splat(a1)
    c1l = fma(x, bl, c1l)
    c1m = fma(x, bm, c1m)
    c1r = fma(x, br, c1r)
    x = v128.load32_splat(a2)
    c2l = fma(x, bl, c2l)
    c2m = fma(x, bm, c2m)
    c2r = fma(x, br, c2r)
    b += bRow
    a0 += 4
    a1 += 4
    a2 += 4
  }
  v128.store(c, c0l)
  v128.store(c, c0m, 16)
  v128.store(c, c0r, 32)
  v128.store(p1, c1l)
  v128.store(p1, c1m, 16)
  v128.store(p1, c1r, 32)
  v128.store(p2, c2l)
  v128.store(p2, c2m, 16)
  v128.store(p2, c2r, 32)
}

/** Rows and columns of the tile that large products use. */
// @ts-ignore: decorator
@inline export const TILE_ROWS: i32 = ASC_FEATURE_RELAXED_SIMD ? 6 : 3
// @ts-ignore: decorator
@inline export const TILE_COLS: i32 = ASC_FEATURE_RELAXED_SIMD ? 8 : 12

/**
 * `tile` for 1 to TILE_ROWS rows and TILE_COLS columns: without fused multiply-add the processor is bound by how many operations it
 * starts, and 3×12 loads least for each (5×8 runs at 85 to 95 % of it).
 */
// @ts-ignore: decorator
@inline export function largeTile(rows: i32, depth: i32, a: usize, aRow: usize, b: usize, bRow: usize, c: usize, cRow: usize, acc: i32): void {
  if (ASC_FEATURE_RELAXED_SIMD) tile(rows, depth, a, aRow, b, bRow, c, cRow, acc)
  else wideTile(rows, depth, a, aRow, b, bRow, c, cRow, acc)
}

function wideTile(rows: i32, depth: i32, a: usize, aRow: usize, b: usize, bRow: usize, c: usize, cRow: usize, acc: i32): void {
  switch (rows) {
    case 1: wide1(depth, a, aRow, b, bRow, c, cRow, acc); break
    case 2: wide2(depth, a, aRow, b, bRow, c, cRow, acc); break
    default: wide3(depth, a, aRow, b, bRow, c, cRow, acc)
  }
}
