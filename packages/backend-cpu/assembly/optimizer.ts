// One update of Adam or AdamW over a whole parameter: one read of each array, one write of each.

// @ts-ignore: decorator
@inline function at(job: usize, word: i32, offset: usize): usize {
  return load<usize>(job + (<usize>word << 2)) + offset
}

/**
 * Words: n, numbers of a chunk (a multiple of 4), p, g, m, v, largest v (0: not kept), next p, next m, next v, next largest,
 * addresses of step size, root of the second bias correction and shrink (0: not decoupled), then β₁, 1 − β₁, β₂, 1 − β₂, ε and
 * the decay that is added to the gradient.
 */
export function adamChunk(job: usize, chunk: i32): void {
  const per = load<i32>(job, 4)
  const from = chunk * per
  const n = min(load<i32>(job) - from, per)
  const offset = <usize>from << 2
  const top0 = load<usize>(job, 24)
  const shrink = load<usize>(job, 52)
  const rate = v128.load32_splat(load<usize>(job, 44))
  const root = v128.load32_splat(load<usize>(job, 48))
  const keep = shrink ? v128.load32_splat(shrink) : f32x4.splat(1)
  const decays = load<f32>(job, 76) != 0
  let p = at(job, 2, offset)
  let g = at(job, 3, offset)
  let m = at(job, 4, offset)
  let v = at(job, 5, offset)
  let t = at(job, 6, offset)
  let np = at(job, 7, offset)
  let nm = at(job, 8, offset)
  let nv = at(job, 9, offset)
  let nt = at(job, 10, offset)
  for (let i = 0; i < n; i += 4) {
    const whole = i + 4 <= n
    const lanes = whole ? 1 : n - i
    // the last numbers one by one, through the same formula
    for (let lane = 0; lane < lanes; lane++) {
      const x = whole ? v128.load(p) : v128.load32_zero(p)
      let d = whole ? v128.load(g) : v128.load32_zero(g)
      if (decays) d = f32x4.add(d, f32x4.mul(x, v128.load32_splat(job, 76)))
      const m1 = f32x4.add(
        f32x4.mul(whole ? v128.load(m) : v128.load32_zero(m), v128.load32_splat(job, 56)),
        f32x4.mul(d, v128.load32_splat(job, 60)),
      )
      const v1 = f32x4.add(
        f32x4.mul(whole ? v128.load(v) : v128.load32_zero(v), v128.load32_splat(job, 64)),
        f32x4.mul(f32x4.mul(d, d), v128.load32_splat(job, 68)),
      )
      let top = v1
      if (top0) top = f32x4.max(whole ? v128.load(t) : v128.load32_zero(t), v1)
      const step = f32x4.div(m1, f32x4.add(f32x4.div(f32x4.sqrt(top), root), v128.load32_splat(job, 72)))
      const next = f32x4.sub(f32x4.mul(x, keep), f32x4.mul(step, rate))
      if (whole) {
        v128.store(np, next)
        v128.store(nm, m1)
        v128.store(nv, v1)
        if (top0) v128.store(nt, top)
      } else {
        v128.store_lane<f32>(np, next, 0)
        v128.store_lane<f32>(nm, m1, 0)
        v128.store_lane<f32>(nv, v1, 0)
        if (top0) v128.store_lane<f32>(nt, top, 0)
      }
      const by: usize = whole ? 16 : 4
      p += by
      g += by
      m += by
      v += by
      t += by
      np += by
      nm += by
      nv += by
      nt += by
    }
  }
}
