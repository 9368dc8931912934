/**
 * Gradient × input on embeddings (Shrikumar et al. 2016; Denil et al. 2014 for text): the first-order share of every
 * token in one number. The input is the word embedding alone; positions and token types stay what they are.
 */
import { abs, grad, max, mul, realize, sqrt, square, sum, type Tensor } from '@heed/tensor'
import { checkOptions, InterpretError, indexOf } from './errors.js'
import { Printed, signed, table } from './print.js'
import type { Traced } from './traced.js'

export interface GradientTimesInputOptions {
  /** What is explained: a scalar built from the run, or a function that builds it: `run.logit(' Mary')`. */
  target: Tensor | ((run: Traced) => Tensor)
  /** The tap whose value counts as input [batch, position, dModel]. Default `embed`, the word embeddings. */
  at?: string
}

/** One number per token, in four readings. All tensors are [batch, position]. */
export class GradientTimesInput extends Printed {
  constructor(
    /** Σ over dModel of gradient·input: towards (+) and against (−) the target. */
    readonly signed: Tensor,
    /** ‖gradient·input‖₂ */
    readonly norm: Tensor,
    /** ‖gradient‖₂: how much the target reacts to the token (saliency; Li et al. 2016). */
    readonly gradientNorm: Tensor,
    /** max |gradient| over dModel (Simonyan et al. 2014). */
    readonly gradientMax: Tensor,
    /** gradient·input before it is summed [batch, position, dModel]. */
    readonly product: Tensor,
    /** The target's value. */
    readonly value: number,
    /** The tap. */
    readonly at: string,
    private readonly tokens: readonly string[] | null,
    private readonly shown: readonly number[],
  ) {
    super()
  }
  /** The signed values of one row of the batch, one per token. */
  async row(row = 0): Promise<number[]> {
    const [batch, length] = this.signed.shape
    const b = indexOf('gradientTimesInput', 'row', row, batch)
    return Array.from((await this.signed.data()) as Float32Array).slice(b * length, (b + 1) * length)
  }
  toString(): string {
    const rows = this.shown.map((v, i) => [this.tokens ? JSON.stringify(this.tokens[i]) : `${i}`, signed(v)])
    return `${table(rows)}\ngradient × ${this.at} of ${this.value.toFixed(4)}`
  }
}

/**
 * Gradient × input of a scalar with respect to the embeddings of a run.
 * @throws InterpretError when the target is no scalar; GradError when it does not depend on the embeddings.
 */
export async function gradientTimesInput(
  run: Traced,
  options: GradientTimesInputOptions,
): Promise<GradientTimesInput> {
  checkOptions('gradientTimesInput', options, ['target', 'at'])
  const { at = 'embed' } = options
  const target = typeof options.target === 'function' ? options.target(run) : options.target
  if (target?.size !== 1)
    throw new InterpretError(
      `gradientTimesInput: the target is ${target?.shape ? `[${target.shape.join(', ')}]` : (target ?? 'missing')}, expected a scalar such as run.logit(' Mary')`,
    )
  const input = run.get(at)
  if (input.rank !== 3)
    throw new InterpretError(
      `gradientTimesInput: '${at}' is [${input.shape.join(', ')}], expected [batch, position, dModel]`,
    )
  const [gradient] = grad(sum(target), [input]) // [batch, position, dModel]
  const product = mul(gradient, input)
  const perToken = sum(product, { axes: -1 }) // [batch, position]
  const length = (x: Tensor): Tensor => sqrt(sum(square(x), { axes: -1 }))
  const [norm, gradientNorm, gradientMax] = [
    length(product),
    length(gradient),
    max(abs(gradient), { axes: -1 }),
  ]
  await realize([perToken, norm, gradientNorm, gradientMax, product, target])
  const shown = Array.from((await perToken.data()) as Float32Array).slice(0, input.shape[1])
  const { tokens } = run as { tokens?: unknown }
  const words = Array.isArray(tokens) && tokens.length === shown.length ? (tokens as string[]) : null
  return new GradientTimesInput(
    perToken,
    norm,
    gradientNorm,
    gradientMax,
    product,
    Number((await target.data())[0]),
    at,
    words,
    shown,
  )
}
