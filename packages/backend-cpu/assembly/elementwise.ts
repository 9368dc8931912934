// Sums and maxima of float32 over two axes: `rows` runs of n elements with a row stride and a step of any size, in elements.

/** Adds rows × n elements of x to float64 sums: element (r, i) goes to acc + 8·(r·accRow + i·accStep). */
export function sumInto(rows: i32, n: i32, x: usize, xRow: i32, xStep: i32, acc: usize, accRow: i32, accStep: i32): void {
  const step = <usize>xStep << 2
  for (let r = 0; r < rows; r++) {
    let p = x
    let i = 0
    if (accStep == 0) {
      let s0 = f64x2.splat(0)
      let s1 = s0
      if (xStep == 1)
        for (; i + 4 <= n; i += 4) {
          const v = v128.load(p)
          s0 = f64x2.add(s0, f64x2.promote_low_f32x4(v))
          s1 = f64x2.add(s1, f64x2.promote_low_f32x4(v128.shuffle<i64>(v, v, 1, 1)))
          p += 16
        }
      s0 = f64x2.add(s0, s1)
      let s = f64x2.extract_lane(s0, 0) + f64x2.extract_lane(s0, 1)
      for (; i < n; i++) {
        s += <f64>load<f32>(p)
        p += step
      }
      store<f64>(acc, load<f64>(acc) + s)
    } else {
      let q = acc
      if (accStep == 1 && xStep == 1)
        for (; i + 4 <= n; i += 4) {
          const v = v128.load(p)
          v128.store(q, f64x2.add(v128.load(q), f64x2.promote_low_f32x4(v)))
          v128.store(q, f64x2.add(v128.load(q, 16), f64x2.promote_low_f32x4(v128.shuffle<i64>(v, v, 1, 1))), 16)
          p += 16
          q += 32
        }
      for (; i < n; i++) {
        store<f64>(q, load<f64>(q) + <f64>load<f32>(p))
        p += step
        q += <usize>accStep << 3
      }
    }
    x += <usize>xRow << 2
    acc += <usize>accRow << 3
  }
}

/** float64 sums → float32 results. */
export function roundSums(n: i32, acc: usize, y: usize): void {
  for (let i = 0; i < n; i++) {
    store<f32>(y, <f32>load<f64>(acc))
    acc += 8
    y += 4
  }
}

/** Largest of rows × n elements of x and of what stands at y + 4·(r·yRow + i·yStep); NaN wins. */
export function maxInto(rows: i32, n: i32, x: usize, xRow: i32, xStep: i32, y: usize, yRow: i32, yStep: i32): void {
  const step = <usize>xStep << 2
  for (let r = 0; r < rows; r++) {
    let p = x
    let i = 0
    if (yStep == 0) {
      let m = load<f32>(y)
      if (xStep == 1 && n >= 4) {
        let v = v128.load32_splat(y)
        for (; i + 4 <= n; i += 4) {
          v = f32x4.max(v, v128.load(p))
          p += 16
        }
        m = max(
          max(f32x4.extract_lane(v, 0), f32x4.extract_lane(v, 1)),
          max(f32x4.extract_lane(v, 2), f32x4.extract_lane(v, 3)),
        )
      }
      for (; i < n; i++) {
        m = max(m, load<f32>(p))
        p += step
      }
      store<f32>(y, m)
    } else {
      let q = y
      for (; i < n; i++) {
        store<f32>(q, max(load<f32>(q), load<f32>(p)))
        p += step
        q += <usize>yStep << 2
      }
    }
    x += <usize>xRow << 2
    y += <usize>yRow << 2
  }
}

/**
 * Part of a sum (op 0) or maximum (1) of rows × n elements whose result lies in one piece. Words: op, rows, n, along (0: rows are shared,
 * 1: columns, 2: the one row), numbers of a chunk, x, its row and step, result (float32), its row and step, and float64 sums, laid out as
 * the result. Along 2 every chunk of a sum leaves one float64 for itself.
 */
export function reduceChunk(job: usize, chunk: i32): void {
  const op = load<i32>(job)
  let rows = load<i32>(job, 4)
  let n = load<i32>(job, 8)
  const along = load<i32>(job, 12)
  const per = load<i32>(job, 16)
  let x = load<usize>(job, 20)
  const xRow = load<i32>(job, 24)
  const xStep = load<i32>(job, 28)
  let y = load<usize>(job, 32)
  const yRow = load<i32>(job, 36)
  const yStep = load<i32>(job, 40)
  let acc = load<usize>(job, 44)
  const first = chunk * per
  // how many results this chunk has, all neighbours
  let made = 1
  if (along == 0) {
    rows = made = min(per, rows - first)
    x += <usize>(first * xRow) << 2
  } else {
    n = min(per, n - first)
    x += <usize>(first * xStep) << 2
    if (along == 1) made = n
  }
  const to = along == 2 ? chunk : first
  y += <usize>to << 2
  acc += <usize>to << 3
  if (op) {
    const low = f32.reinterpret_i32(0xff800000)
    for (let i = 0; i < made; i++) store<f32>(y + (<usize>i << 2), low)
    maxInto(rows, n, x, xRow, xStep, y, yRow, yStep)
  } else {
    memory.fill(acc, 0, <usize>made << 3)
    sumInto(rows, n, x, xRow, xStep, acc, yRow, yStep)
    if (along < 2) roundSums(made, acc, y)
  }
}
