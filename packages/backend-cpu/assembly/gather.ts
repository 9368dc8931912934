// Reading of arrays that do not lie in a row: copies of views, whole slices by index, and their transpose.

/** n elements of `bytes` (1, 2, 4 or 8) from `from` on, `step` bytes apart, to neighbours at `to`. */
function line(from: usize, step: usize, n: i32, to: usize, bytes: i32): void {
  if (step == <usize>bytes) {
    copyBytes(to, from, <usize>n * bytes)
    return
  }
  if (step == 0 && bytes == 4) {
    const x = v128.load32_splat(from)
    for (; n >= 4; n -= 4) {
      v128.store(to, x)
      to += 16
    }
  }
  for (; n > 0; n--) {
    if (bytes == 4) store<u32>(to, load<u32>(from))
    else if (bytes == 1) store<u8>(to, load<u8>(from))
    else if (bytes == 8) store<u64>(to, load<u64>(from))
    else store<u16>(to, load<u16>(from))
    from += step
    to += bytes
  }
}

/** Like memory.copy, without its call where little is copied. */
export function copyBytes(to: usize, from: usize, n: usize): void {
  if (n > 1024) {
    memory.copy(to, from, n)
    return
  }
  for (; n >= 16; n -= 16) {
    v128.store(to, v128.load(from))
    to += 16
    from += 16
  }
  for (; n >= 4; n -= 4) {
    store<u32>(to, load<u32>(from))
    to += 4
    from += 4
  }
  for (; n > 0; n--) store<u8>(to++, load<u8>(from++))
}

/**
 * Elements from, from + 1 … of a view, in the order of its shape, to neighbours at `to`. The view: address, rank, then size and
 * stride in bytes of every axis, the last one first. `index` is room for one word an axis.
 */
export function gather(view: usize, index: usize, from: i32, count: i32, to: usize, bytes: i32): void {
  let p = load<usize>(view)
  const rank = load<i32>(view, 4)
  const n = load<i32>(view, 8)
  const step = load<usize>(view, 12)
  let rest = from
  for (let d = 0; d < rank; d++) {
    const axis = view + 8 + (<usize>d << 3)
    const size = load<i32>(axis)
    const at = rest % size
    rest /= size
    store<i32>(index + (<usize>d << 2), at)
    p += <usize>at * load<usize>(axis, 4)
  }
  let first = load<i32>(index)
  while (true) {
    const run = min(n - first, count)
    line(p, step, run, to, bytes)
    count -= run
    if (count <= 0) return
    to += <usize>run * bytes
    // to the beginning of the next line
    p -= <usize>first * step
    first = 0
    for (let d = 1; d < rank; d++) {
      const axis = view + 8 + (<usize>d << 3)
      const at = load<i32>(index + (<usize>d << 2)) + 1
      p += load<usize>(axis, 4)
      if (at < load<i32>(axis)) {
        store<i32>(index + (<usize>d << 2), at)
        break
      }
      store<i32>(index + (<usize>d << 2), 0)
      p -= <usize>at * load<usize>(axis, 4)
    }
  }
}

/** Words: elements, elements of a chunk, bytes of one, where to, then the view. Scratch: a word an axis. */
export function copyChunk(job: usize, chunk: i32, scratch: usize): void {
  const per = load<i32>(job, 4)
  const from = chunk * per
  const bytes = load<i32>(job, 8)
  const to = load<usize>(job, 12) + <usize>from * bytes
  const count = min(load<i32>(job) - from, per)
  gather(job + 16, scratch, from, count, to, bytes)
}

/** y[b, i] = x[b, index[i]], slices of so many bytes. Words: slices, slices of a chunk, bytes, ids, x, y, index, slices of x. */
export function takeChunk(job: usize, chunk: i32): void {
  const per = load<i32>(job, 4)
  const from = chunk * per
  const to = min(load<i32>(job), from + per)
  const bytes = load<usize>(job, 8)
  const ids = load<i32>(job, 12)
  const x = load<usize>(job, 16)
  const index = load<usize>(job, 24)
  const slices = load<i32>(job, 28)
  let y = load<usize>(job, 20) + <usize>from * bytes
  for (let i = from; i < to; i++) {
    const id = load<i32>(index + (<usize>(i % ids) << 2)) + (i / ids) * slices
    copyBytes(y, x + <usize>id * bytes, bytes)
    y += bytes
  }
}

/**
 * y[b, index[i]] += src[b, i] in the order of i, float32. Words: columns of a slice, columns of a chunk, batch, ids, src, y, index,
 * slices of y.
 */
export function takeAddChunk(job: usize, chunk: i32): void {
  const columns = load<i32>(job)
  const per = load<i32>(job, 4)
  const from = chunk * per
  const n = min(columns - from, per)
  const whole = n & ~3
  const batch = load<i32>(job, 8)
  const ids = load<i32>(job, 12)
  const index = load<usize>(job, 24)
  const slices = load<i32>(job, 28)
  const bytes = <usize>columns << 2
  let src = load<usize>(job, 16) + (<usize>from << 2)
  let y = load<usize>(job, 20) + (<usize>from << 2)
  for (let b = 0; b < batch; b++) {
    for (let i = 0; i < ids; i++) {
      const to = y + <usize>load<i32>(index + (<usize>i << 2)) * bytes
      for (let j = 0; j < whole; j += 4) {
        const at = <usize>j << 2
        v128.store(to + at, f32x4.add(v128.load(to + at), v128.load(src + at)))
      }
      for (let j = whole; j < n; j++) {
        const at = <usize>j << 2
        store<f32>(to + at, load<f32>(to + at) + load<f32>(src + at))
      }
      src += bytes
    }
    y += <usize>slices * bytes
  }
}
