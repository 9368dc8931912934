/** Two runs side by side: which predictions an edit moved, and by how much. Both have to speak of the same tokens. */
import { sliceAxis, sub, type Tensor } from '@heed/tensor'
import { checkCount, checkOptions, InterpretError, indexOf } from './errors.js'
import { Printed, percent, table } from './print.js'
import { logitsOf, placeIn, showToken, type Traced, tokenText } from './traced.js'

export interface CompareOptions {
  /** Negative from the end. Default: where the runs themselves predict, else the last. */
  position?: number
  /** Row of the batch; default 0. */
  row?: number
}
/** One token (or class) in both runs. */
export interface Moved {
  readonly id: number
  /** null for models without words. */
  readonly token: string | null
  /** Probabilities. */
  readonly before: number
  readonly after: number
  /** after − before */
  readonly change: number
}

interface Prediction {
  readonly id: number
  readonly token: string
  readonly probability: number
}
interface Predicting {
  top(n: number, position?: number, row?: number): readonly Prediction[]
}
const predicts = (run: Traced): run is Traced & Predicting =>
  typeof (run as Partial<Predicting>).top === 'function'

/** What moved from one run to another. */
export class Comparison extends Printed {
  /** Logits of the second run minus those of the first, as large as they are; lazy. */
  readonly logits: Tensor
  private before: Float64Array | null = null
  private after: Float64Array | null = null

  constructor(
    readonly a: Traced,
    readonly b: Traced,
    private readonly options: CompareOptions,
  ) {
    super()
    const [x, y] = [logitsOf(a), logitsOf(b)]
    const fits = x.rank === y.rank && x.shape.every((d, i) => i === 0 || d === y.shape[i])
    if (!fits)
      throw new InterpretError(
        `compare: the runs have logits [${x.shape.join(', ')}] and [${y.shape.join(', ')}]; compare runs of one text on one model`,
      )
    if (x.rank !== 2 && x.rank !== 3)
      throw new InterpretError(
        `compare: the output [${x.shape.join(', ')}] is no logits [batch, position, vocabulary] or [batch, class]`,
      )
    this.logits = sub(y, x)
  }

  /** Reads the logits; runs of text have theirs at hand and need no call. */
  async fetch(): Promise<this> {
    ;[this.before, this.after] = [await this.read(this.a), await this.read(this.b)]
    return this
  }
  /** The n tokens whose probability moved most, largest movement first. */
  top(n = 5): Moved[] {
    checkCount('compare', 'n', n)
    const [p, q] = this.both()
    // movements that differ by rounding alone are ties, in order of id
    const size = Float64Array.from(p, (v, id) => Math.round(Math.abs(q[id] - v) * 1e9))
    const order = Array.from(p, (_, id) => id).sort((i, j) => size[j] - size[i] || i - j)
    const names = this.a.model
    return order.slice(0, n).map((id) => ({
      id,
      token: this.name(id) ?? tokenText(names, id),
      before: p[id],
      after: q[id],
      change: q[id] - p[id],
    }))
  }
  /** Kullback-Leibler divergence Σ before·ln(before/after), in nats. */
  get kl(): number {
    const [p, q] = this.both()
    let total = 0
    for (let i = 0; i < p.length; i++) if (p[i] > 0) total += p[i] * Math.log(p[i] / q[i])
    return Math.max(0, total)
  }
  toString(): string {
    if (!this.before && !(predicts(this.a) && predicts(this.b)))
      return 'Comparison (not read yet: await comparison.fetch())'
    const rows = this.top(5).map((m) => [showToken(m.token, m.id), percent(m.before), '→', percent(m.after)])
    return `${table(rows)}\nKL ${this.kl.toFixed(4)} nats`
  }

  private names: Map<number, string> | null = null
  private name(id: number): string | null {
    return this.names?.get(id) ?? null
  }
  private both(): [Float64Array, Float64Array] {
    if (!this.before || !this.after) {
      const { a, b } = this
      if (!predicts(a) || !predicts(b))
        throw new InterpretError(
          'compare: the logits have not been read; const c = await compare(a, b).fetch()',
        )
      const width = this.logits.shape[this.logits.rank - 1]
      const { position, row } = this.options
      const spread = (run: Predicting): Float64Array => {
        const p = new Float64Array(width)
        this.names = new Map()
        for (const { id, token, probability } of run.top(width, position, row)) {
          p[id] = probability
          this.names.set(id, token)
        }
        return p
      }
      this.before = spread(a)
      this.after = spread(b)
    }
    return [this.before, this.after]
  }
  private async read(run: Traced): Promise<Float64Array> {
    const logits = logitsOf(run)
    let x = logits
    if (logits.rank === 3) {
      const { row, position } = placeIn('compare', logits, this.options)
      x = sliceAxis(sliceAxis(x, 0, row, row + 1), 1, position, position + 1)
    } else {
      if (this.options.position !== undefined)
        throw new InterpretError(
          'compare: the model gives one answer for the whole text; leave the position out',
        )
      const row = indexOf('compare', 'row', this.options.row ?? 0, logits.shape[0])
      x = sliceAxis(x, 0, row, row + 1)
    }
    return probabilities((await x.data()) as Float32Array)
  }
}

/** softmax of one row, in double. */
export function probabilities(logits: ArrayLike<number>): Float64Array {
  let top = Number.NEGATIVE_INFINITY
  for (let i = 0; i < logits.length; i++) top = Math.max(top, logits[i])
  const p = Float64Array.from(logits, (v) => Math.exp(v - top))
  const total = p.reduce((s, v) => s + v, 0)
  return p.map((v) => v / total)
}

/** Compares two runs of one text: `compare(run, edited).top(5)` are the tokens whose probability moved most. */
export function compare(a: Traced, b: Traced, options: CompareOptions = {}): Comparison {
  checkOptions('compare', options, ['position', 'row'])
  return new Comparison(a, b, options)
}
