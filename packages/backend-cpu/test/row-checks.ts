/** Checks of the row kernels, the activations and Adam against plain float64, in one chunk and in many. */
import assert from 'node:assert/strict'
import { f32bits } from '../src/float-bits.js'
import { type Check, close, type Desk } from './checks.js'
import { uniform } from './oracle.js'

type Numbers = ArrayLike<number>

function floats(n: number, seed: number, by = 2): Float32Array {
  const random = uniform(seed)
  return Float32Array.from({ length: n }, () => by * random())
}
const rowsOf = (x: Numbers, n: number): number[][] =>
  Array.from({ length: x.length / n }, (_, r) => Array.from({ length: n }, (_, i) => x[r * n + i]))

/** Adam's step size, root of the second correction and shrink of the checks. */
const [STEP, ROOT, SHRINK] = [0.01, 0.6, 0.99].map(Math.fround)

function softmaxRow(row: number[]): number[] {
  const m = Math.max(...row)
  const e = row.map((v) => (m === Number.NEGATIVE_INFINITY ? 0 : Math.exp(v - m)))
  const total = e.reduce((a, b) => a + b, 0)
  return e.map((v) => (total === 0 ? 0 : v / total))
}

/** Rows in as many chunks as `per` makes. */
function softmaxRun(
  desk: Desk,
  kind: number,
  n: number,
  per: number,
  x: Float32Array,
  rest: number[],
  size: number,
) {
  const y = desk.take(size)
  const rows = x.length / n
  const words = [rows, per, n, kind, desk.put(x), y, ...rest]
  desk.kernels.run('softmax', words, Math.ceil(rows / per), desk.bytes(1024 * desk.kernels.threads), 1024)
  return desk.get(y, size)
}

function softmaxCheck(rows: number, n: number, per: number, spread = 4): Check {
  return {
    name: `softmax family ${rows}×${n}, ${per} rows a chunk, values to ${spread}`,
    run(desk) {
      const x = floats(rows * n, rows * 131 + n, spread)
      // one row of nothing, one with a gap
      if (rows > 2) x.fill(Number.NEGATIVE_INFINITY, 0, n)
      if (rows > 2 && n > 1) x[n + 1] = Number.NEGATIVE_INFINITY
      const dy = floats(rows * n, 7)
      const p = rowsOf(x, n).map(softmaxRow)
      const g = rowsOf(dy, n)
      const none = [0, 0, 0, 0]
      const tolerance = 2e-6 * Math.max(1, spread / 8)
      close('softmax', softmaxRun(desk, 0, n, per, x, none, x.length), p.flat(), tolerance)
      const y = Float32Array.from(p.flat())
      const back = p.flatMap((row, r) => {
        const dot = row.reduce((s, v, i) => s + v * g[r][i], 0)
        return row.map((v, i) => v * (g[r][i] - dot))
      })
      close('softmax backward', softmaxRun(desk, 4, n, per, y, [desk.put(dy), 0, 0, 0], x.length), back, 2e-6)
      // every third entry hidden, and the whole last row
      const keep = Uint8Array.from({ length: rows * n }, (_, i) =>
        i >= (rows - 1) * n || i % 3 === 1 ? 0 : 1,
      )
      const masked = rowsOf(
        x.map((v, i) => (keep[i] ? v : Number.NEGATIVE_INFINITY)),
        n,
      ).flatMap(softmaxRow)
      const at = desk.putBytes(keep)
      close('masked', softmaxRun(desk, 0, n, per, x, [at, 0, 0, 0], x.length), masked, tolerance)

      const full = floats(rows * n, rows + n, spread)
      const lse = rowsOf(full, n).map((row) => {
        const m = Math.max(...row)
        return m + Math.log(row.reduce((s, v) => s + Math.exp(v - m), 0))
      })
      const logs = rowsOf(full, n).flatMap((row, r) => row.map((v) => v - lse[r]))
      close('log', softmaxRun(desk, 1, n, per, full, none, full.length), logs, tolerance)
      const q = rowsOf(full, n).map(softmaxRow)
      const logBack = q.flatMap((row, r) => {
        const sum = g[r].reduce((s, v) => s + v, 0)
        return row.map((v, i) => g[r][i] - v * sum)
      })
      const logY = Float32Array.from(logs)
      const bound = 4e-6 * Math.max(1, Math.sqrt(n) / 4)
      close(
        'log backward',
        softmaxRun(desk, 5, n, per, logY, [desk.put(dy), 0, 0, 0], x.length),
        logBack,
        bound,
      )

      const target = Int32Array.from({ length: rows }, (_, r) => (r % 3 === 1 ? -100 : (r * 5) % n))
      const ids = desk.take(rows)
      desk.kernels.memory.i32().set(target, ids / 4)
      const want = lse.map((v, r) => (target[r] < 0 ? 0 : v - full[r * n + target[r]]))
      close('loss', softmaxRun(desk, 2, n, per, full, [ids, -100, 0, 0], rows), want, tolerance)
      for (const step of [0, 1]) {
        const cotangent = desk.put(step ? dy.subarray(0, rows) : [0.5])
        const d = (r: number) => (target[r] < 0 ? 0 : step ? dy[r] : 0.5)
        const wantBack = q.flatMap((row, r) => row.map((v, i) => d(r) * (v - (i === target[r] ? 1 : 0))))
        const got = softmaxRun(desk, 3, n, per, full, [ids, -100, cotangent, step], full.length)
        close('loss backward', got, wantBack, tolerance)
      }
    },
  }
}

interface Norm {
  center: boolean
  weight: boolean
  bias: boolean
  unit?: boolean
  offset?: number
}
function normCheck(rows: number, n: number, per: number, o: Norm): Check {
  const parts = [o.weight && 'weight', o.bias && 'bias', o.unit && 'unit offset'].filter(Boolean)
  return {
    name: `${o.center ? 'layer' : 'rms'} norm ${rows}×${n}, ${per} rows a chunk, ${parts.join(' and ') || 'bare'}`,
    run(desk) {
      const x = floats(rows * n, rows * 17 + n).map((v) => v + (o.offset ?? 0))
      const w = floats(n, 3)
      const b = floats(n, 4)
      const dy = floats(rows * n, 5)
      const eps = 1e-5
      const unit = o.unit ? 1 : 0
      const weights = Array.from(w, (v) => (o.weight ? v + unit : 1))
      const y: number[] = []
      const dx: number[] = []
      const dw = new Float64Array(n)
      const db = new Float64Array(n)
      const g = rowsOf(dy, n)
      for (const [r, row] of rowsOf(x, n).entries()) {
        const mean = o.center ? row.reduce((s, v) => s + v, 0) / n : 0
        const scale = 1 / Math.sqrt(row.reduce((s, v) => s + (v - mean) ** 2, 0) / n + Math.fround(eps))
        const hat = row.map((v) => (v - mean) * scale)
        y.push(...hat.map((v, i) => v * weights[i] + (o.bias ? b[i] : 0)))
        const gw = g[r].map((v, i) => v * weights[i])
        const meanG = o.center ? gw.reduce((s, v) => s + v, 0) / n : 0
        const meanGx = gw.reduce((s, v, i) => s + v * hat[i], 0) / n
        dx.push(...hat.map((v, i) => scale * (gw[i] - meanG - v * meanGx)))
        hat.forEach((v, i) => {
          dw[i] += g[r][i] * v
          db[i] += g[r][i]
        })
      }
      const { kernels } = desk
      const out = desk.take(x.length)
      const [px, pw, pb, pdy] = [x, w, b, dy].map((v) => desk.put(v))
      const chunks = Math.ceil(rows / per)
      const words = [rows, per, n, o.center ? 1 : 0, f32bits(eps), px, o.weight ? pw : 0, f32bits(unit)]
      kernels.run('norm', [...words, o.bias ? pb : 0, out, 0, 0], chunks)
      const tolerance = 2e-6 * (1 + Math.abs(o.offset ?? 0))
      close('y', desk.get(out, x.length), y, tolerance)
      const stats = desk.take(2 * rows)
      kernels.run('norm', [...words, o.bias ? pb : 0, out, pdy, stats], chunks)
      close('dx', desk.get(out, x.length), dx, 4 * tolerance)
      const [dwAt, dbAt] = [desk.take(n), desk.take(n)]
      const columns = [n, 16, rows, px, pdy, stats]
      const scratch = desk.bytes(256 * kernels.threads)
      kernels.run('normColumns', [...columns, dwAt, dbAt], Math.ceil(n / 16), scratch, 256)
      close('dw', desk.get(dwAt, n), dw, 4 * tolerance)
      close('db', desk.get(dbAt, n), db, 2e-6)
    },
  }
}

const sigma = (v: number): number => 1 / (1 + Math.exp(-v))
/** erf by its series and, far out, by its continued fraction. */
function erf(v: number): number {
  const x = Math.abs(v)
  if (x > 6) return Math.sign(v)
  let term = x
  let sum = x
  for (let k = 1; k < 200; k++) {
    term *= (-x * x) / k
    sum += term / (2 * k + 1)
  }
  return (Math.sign(v) * 2 * sum) / Math.sqrt(Math.PI)
}
const inner = Math.sqrt(2 / Math.PI)
const forms: [string, (x: number) => number][] = [
  ['gelu', (x) => 0.5 * x * (1 + erf(x / Math.SQRT2))],
  ['gelu tanh', (x) => 0.5 * x * (1 + Math.tanh(inner * (x + 0.044715 * x ** 3)))],
  ['gelu quick', (x) => x * sigma(1.702 * x)],
  ['silu', (x) => x * sigma(x)],
  ['relu', (x) => Math.max(0, x)],
  ['tanh', Math.tanh],
  ['sigmoid', sigma],
]
const activations = forms.map(
  ([name, f], i): Check => ({
    name: `${name} and its derivative`,
    run(desk) {
      const form = i + 1
      for (const [n, per] of [
        [1, 4],
        [3, 4],
        [4, 4],
        [9, 4],
        [1001, 256],
      ]) {
        const x = floats(n, 11 + n, 5)
        const dy = floats(n, 12)
        const out = desk.take(n)
        const [px, pdy] = [desk.put(x), desk.put(dy)]
        desk.kernels.run('activation', [n, per, form, px, out, 0], Math.ceil(n / per))
        close(name, desk.get(out, n), Array.from(x, f), 1e-6)
        // the kernel takes tanh's result
        const at = name === 'tanh' ? desk.put(x.map(Math.tanh)) : px
        desk.kernels.run('activation', [n, per, form, at, out, pdy], Math.ceil(n / per))
        const h = 1e-5
        const slope = (v: number) => (f(v + h) - f(v - h)) / (2 * h)
        close(
          `${name}′`,
          desk.get(out, n),
          Array.from(x, (v, k) => dy[k] * slope(v)),
          3e-6,
        )
      }
    },
  }),
)

function adamCheck(n: number, per: number, amsgrad: boolean, decay: 'none' | 'added' | 'decoupled'): Check {
  return {
    name: `adam ${n}, ${per} a chunk, decay ${decay}${amsgrad ? ', amsgrad' : ''}`,
    run(desk) {
      const [p, g, m] = [1, 2, 3].map((seed) => floats(n, seed + n))
      const [v, top] = [4, 5].map((seed) => floats(n, seed).map(Math.abs))
      const [beta1, beta2, eps, added] = [0.9, 0.99, 1e-8, decay === 'added' ? 0.1 : 0].map(Math.fround)
      const inputs = [p, g, m, v].map((a) => desk.put(a))
      const [np, nm, nv, nt] = [0, 0, 0, 0].map(() => desk.take(n))
      const [step, root, shrink] = [STEP, ROOT, SHRINK].map((a) => desk.put([a]))
      const words = [n, per, ...inputs, amsgrad ? desk.put(top) : 0, np, nm, nv, amsgrad ? nt : 0]
      words.push(step, root, decay === 'decoupled' ? shrink : 0)
      words.push(...[beta1, 1 - beta1, beta2, 1 - beta2, eps, added].map(f32bits))
      desk.kernels.run('adam', words, Math.ceil(n / per))
      const grad = Array.from(g, (x, i) => x + added * p[i])
      const m1 = Array.from(m, (x, i) => beta1 * x + (1 - beta1) * grad[i])
      const v1 = Array.from(v, (x, i) => beta2 * x + (1 - beta2) * grad[i] ** 2)
      const largest = v1.map((x, i) => (amsgrad ? Math.max(x, top[i]) : x))
      const next = largest.map(
        (x, i) => p[i] * (decay === 'decoupled' ? SHRINK : 1) - (m1[i] / (Math.sqrt(x) / ROOT + eps)) * STEP,
      )
      close('m', desk.get(nm, n), m1, 1e-6)
      close('v', desk.get(nv, n), v1, 1e-6)
      close('p', desk.get(np, n), next, 1e-6)
      if (amsgrad) close('largest v', desk.get(nt, n), largest, 1e-6)
    },
  }
}

/** A view of `shape` whose axes lie in memory in the order `perm`, every `gap`-th number, copied in pieces of `per`. */
function copyCheck(bytes: 1 | 2 | 4 | 8, shape: number[], perm: number[], per: number, gap = 1): Check {
  return {
    name: `copy of [${shape}] as [${perm}], ${bytes} bytes, ${per} a chunk, gap ${gap}`,
    run(desk) {
      const n = shape.reduce((a, b) => a * b, 1)
      const source = Uint8Array.from({ length: n * gap * bytes }, (_, i) => (i * 7) % 251)
      const strides = shape.map(() => 0)
      let step = gap
      for (const axis of [...perm].reverse()) {
        strides[axis] = step
        step *= shape[axis]
      }
      const to = desk.bytes(n * bytes)
      const axes = shape.flatMap((d, i) => [d, strides[i] * bytes]).reverse()
      const pairs = shape.flatMap((_, i) => [axes[2 * i + 1], axes[2 * i]])
      const words = [n, per, bytes, to, desk.putBytes(source), shape.length, ...pairs]
      desk.kernels.run('copy', words, Math.ceil(n / per), desk.bytes(64 * desk.kernels.threads), 64)
      const got = desk.kernels.memory.u8().slice(to, to + n * bytes)
      const want = new Uint8Array(n * bytes)
      for (let flat = 0; flat < n; flat++) {
        let at = 0
        for (let d = shape.length - 1, rest = flat; d >= 0; d--) {
          at += (rest % shape[d]) * strides[d]
          rest = Math.floor(rest / shape[d])
        }
        for (let b = 0; b < bytes; b++) want[flat * bytes + b] = source[at * bytes + b]
      }
      close('copy', got, want, 0)
    },
  }
}
const copies = ([1, 2, 4, 8] as const).flatMap((bytes) => [
  copyCheck(bytes, [5, 7], [1, 0], 4),
  copyCheck(bytes, [3, 5, 6], [1, 0, 2], 16),
  copyCheck(bytes, [3, 5, 6], [2, 0, 1], 90, 3),
  copyCheck(bytes, [2, 3, 301], [1, 0, 2], 512),
])

function takeCheck(columns: number, batch: number, per: number): Check {
  return {
    name: `take and its transpose, ${batch} × [6, ${columns}], ${per} a chunk`,
    run(desk) {
      const { kernels } = desk
      const ids = [3, 0, 3, 5, 3]
      const slices = 6
      const x = floats(batch * slices * columns, 3)
      const src = floats(batch * ids.length * columns, 4)
      const index = desk.take(ids.length)
      kernels.memory.i32().set(ids, index / 4)
      const n = batch * ids.length
      const y = desk.take(n * columns)
      const words = [n, per, 4 * columns, ids.length, desk.put(x), y, index, slices]
      kernels.run('take', words, Math.ceil(n / per))
      const sums = Float64Array.from(x)
      const taken: number[] = []
      for (let b = 0; b < batch; b++)
        for (const [i, id] of ids.entries())
          for (let c = 0; c < columns; c++) {
            const at = (b * slices + id) * columns + c
            taken.push(x[at])
            sums[at] += src[(b * ids.length + i) * columns + c]
          }
      close('take', desk.get(y, n * columns), taken, 0)
      const to = desk.put(x)
      const wide = 16 * per
      const addWords = [columns, wide, batch, ids.length, desk.put(src), to, index, slices]
      kernels.run('takeAdd', addWords, Math.ceil(columns / wide))
      close('takeAdd', desk.get(to, x.length), sums, 1e-6)
    },
  }
}

/** Words of a job of five rows in chunks of `per`, and the arrays that it writes, with their sizes. */
type Job = (desk: Desk, per: number) => { words: number[]; made: [at: number, n: number][] }

/** What other tests compare with float64 in one chunk: in chunks that do not come out even it has the same bits. */
function unevenCheck(task: 'rope' | 'cell' | 'cellBack' | 'reduce', note: string, job: Job): Check {
  return {
    name: `${task} ${note}, uneven chunks`,
    run(desk) {
      const [whole, cut] = [5, 2].map((per) => {
        const { words, made } = job(desk, per)
        desk.kernels.run(task, words, Math.ceil(5 / per))
        return made.map(([at, n]) => desk.get(at, n))
      })
      assert.ok(whole.every((x) => x.some((v) => v !== 0)))
      assert.deepEqual(cut, whole)
    },
  }
}
const uneven: Check[] = [0, 1].map((interleaved) =>
  unevenCheck('rope', interleaved ? 'interleaved' : 'half', (desk, per) => {
    const [x, cos, sin] = [35, 10, 10].map((n, seed) => desk.put(floats(n, seed)))
    const y = desk.take(35)
    const words = [5, per, 5, 1, 7, 4, interleaved, f32bits(1), ...[x, 0, 0, 7, 1]]
    return { words: [...words, ...[cos, 0, 0, 2, 1], ...[sin, 0, 0, 2, 1], y], made: [[y, 35]] }
  }),
)
for (const [op, note] of ['sum', 'maximum'].entries())
  for (const along of [0, 1])
    uneven.push(
      unevenCheck('reduce', `${note} along ${along}`, (desk, per) => {
        const [x, y, sums] = [desk.put(floats(15, 4)), desk.take(5), desk.bytes(40)]
        const [rows, n] = along === 0 ? [5, 3] : [3, 5]
        return { words: [op, rows, n, along, per, x, n, 1, y, 1 - along, along, sums], made: [[y, 5]] }
      }),
    )
for (const [kind, note] of ['lstm', 'gru'].entries()) {
  const gates = 5 * (kind === 0 ? 4 : 3) * 3
  uneven.push(
    unevenCheck('cell', note, (desk, per) => {
      const [g, x, h, c] = [gates, gates, 15, 15].map((n, seed) => desk.put(floats(n, seed)))
      const [y, h0, c0] = [0, 0, kind].map((missing) => (missing ? 0 : desk.take(15)))
      const made = [h, y, h0, ...(kind === 0 ? [c, c0] : [])].map((at): [number, number] => [at, 15])
      return { words: [5, per, 3, kind, g, x, h, c, y, h0, c0, 0], made }
    }),
    unevenCheck('cellBack', note, (desk, per) => {
      const [g, x, h, c, dh, dc] = [gates, gates, 15, 15, 15, 15].map((n, seed) => desk.put(floats(n, seed)))
      const [dx, dy] = [desk.take(gates), desk.put(floats(15, 9))]
      const words = [5, per, 3, kind, g, x, h, c, dh, dc, dx, 0, ...[dy, 3, 1], 0, 0, 0, 0, 0, 0]
      return {
        words,
        made: [[g, gates], [dx, gates], ...(kind === 0 ? [[dc, 15]] : [[dh, 15]])] as [number, number][],
      }
    }),
  )
}

const plain = { center: true, weight: true, bias: true }
export const rowChecks: Check[] = [
  ...[1, 2, 3, 4, 5, 6, 7, 8, 9].map((n) => softmaxCheck(5, n, 2)),
  softmaxCheck(1, 1, 1),
  softmaxCheck(3, 33, 1),
  softmaxCheck(7, 259, 3, 90),
  softmaxCheck(2, 5003, 2),
  ...[1, 2, 3, 4, 5, 7, 8, 9].map((n) => normCheck(5, n, 2, plain)),
  normCheck(130, 37, 50, plain),
  normCheck(65, 16, 65, { ...plain, weight: false }),
  normCheck(3, 600, 1, { ...plain, bias: false }),
  normCheck(4, 20, 4, { center: true, weight: false, bias: false }),
  normCheck(6, 300, 6, { ...plain, offset: 30 }),
  normCheck(0, 5, 1, plain),
  normCheck(9, 33, 2, { center: false, weight: true, bias: false }),
  normCheck(9, 33, 9, { center: false, weight: true, bias: false, unit: true }),
  normCheck(9, 18, 9, { center: false, weight: false, bias: false }),
  ...activations,
  ...copies,
  ...uneven,
  takeCheck(1, 1, 2),
  takeCheck(37, 2, 1),
  takeCheck(300, 1, 9),
  ...[false, true].flatMap((amsgrad) =>
    (['none', 'added', 'decoupled'] as const).flatMap((decay) =>
      [1, 3, 4, 37].map((n) => adamCheck(n, 16, amsgrad, decay)),
    ),
  ),
]
