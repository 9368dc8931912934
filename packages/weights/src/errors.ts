// The one error of this package. Its message is a single line: file, tensor, what is wrong, what to do.

/** What went wrong, for programs; the message is for people. The first seven are the Rust library's. */
export type WeightsProblem =
  | 'header too small'
  | 'header too large'
  | 'invalid header length'
  | 'invalid header'
  | 'invalid offset'
  | 'invalid size'
  | 'file not fully covered'
  | 'not weights'
  | 'missing file'
  | 'missing tensor'
  | 'wrong shard'
  | 'duplicate tensor'
  | 'invalid index'
  | 'wrong dtype'
  | 'invalid tensor'
  | 'invalid text'
  | 'unreadable'
  | 'closed'

const marker = Symbol.for('heed.WeightsError')

const shorten = (text: string) => (text.length > 200 ? `${text.slice(0, 200)}…` : text)

/** Thrown for everything that is wrong with a file, a folder or a tensor in it. */
export class WeightsError extends Error {
  override readonly name = 'WeightsError'
  readonly problem: WeightsProblem
  /** File, folder or URL. */
  readonly file: string
  readonly tensor: string | undefined
  readonly fix: string | undefined
  readonly [marker] = true

  constructor(
    problem: WeightsProblem,
    details: { file: string; tensor?: string; message: string; fix?: string; cause?: unknown },
  ) {
    const { file, tensor, message, fix, cause } = details
    const place = tensor === undefined ? file : `${file}: tensor ${JSON.stringify(shorten(tensor))}`
    // what a file says goes into the message: it must not break the line
    const text = `${place}: ${message}${fix ? `; ${fix}` : ''}`.replace(/[\r\n]+/g, ' ')
    super(text, cause === undefined ? undefined : { cause })
    this.problem = problem
    this.file = file
    this.tensor = tensor
    this.fix = fix
  }

  /** True for errors of another installed copy of this package too. */
  static override [Symbol.hasInstance](value: unknown): boolean {
    return typeof value === 'object' && value !== null && marker in value
  }
}
