/** Losses. Reductions are PyTorch's: 'mean' is over elements unless a docstring says otherwise. */
import { checkOptions, DTypeError, ShapeError, showShape, ValueError } from '../errors.js'
import type { Tensor } from '../graph.js'
import { sizeOf } from '../shape.js'
import { logSigmoid } from './activation.js'
import { composite } from './define.js'
import { abs, add, div, equal, less, lessEqual, log, mul, neg, notEqual, sub, where } from './elementwise.js'
import { gather, take } from './indexing.js'
import { logSoftmax } from './normalize.js'
import { sum } from './reduce.js'
import { reshape } from './shape.js'

export type Reduction = 'mean' | 'sum' | 'none'

function reduce(x: Tensor, reduction: Reduction): Tensor {
  if (reduction === 'none') return x
  if (reduction === 'sum') return sum(x)
  if (reduction === 'mean') return div(sum(x), x.size)
  throw new ValueError(`reduction '${reduction}' is unknown; use 'mean', 'sum' or 'none'`)
}

const tokenLoss = composite('crossEntropyPerToken', {
  infer: ([, target]) => {
    if (target.dtype !== 'i32') throw new DTypeError(`the target is ${target.dtype}, expected i32 ids`)
    return { shape: target.shape, dtype: 'f32' }
  },
  body: ([logits, target], { ignoreIndex }) => {
    const kept = notIgnored(target, ignoreIndex as number)
    const safe = where(kept, target, 0)
    const picked = gather(logSoftmax(logits), reshape(safe, [...safe.shape, 1]), { axis: -1 })
    return [where(kept, neg(reshape(picked, target.shape)), 0)]
  },
})
const notIgnored = (target: Tensor, ignoreIndex: number): Tensor => notEqual(target, ignoreIndex)

export interface CrossEntropyOptions {
  reduction?: Reduction
  /** Targets of this id count nothing. Default −100. */
  ignoreIndex?: number
  /** Mass spread evenly over all classes (Szegedy et al. 2016). */
  labelSmoothing?: number
  /** Weight per class [classes]. */
  weight?: Tensor
}
/**
 * −log softmax(logits)[target], classes on the last axis; target i32 ids [...] or f32 probabilities [..., classes].
 * 'mean' divides by the sum of weight[target] over kept positions (their number without weights). All targets
 * ignored: 0 (PyTorch: NaN).
 */
export function crossEntropy(logits: Tensor, target: Tensor, options: CrossEntropyOptions = {}): Tensor {
  checkOptions('crossEntropy', options, ['reduction', 'ignoreIndex', 'labelSmoothing', 'weight'])
  const { reduction = 'mean', ignoreIndex = -100, labelSmoothing = 0, weight } = options
  const classes = logits.shape[logits.rank - 1]
  const rows = logits.shape.slice(0, -1)
  if (weight && (weight.rank !== 1 || weight.shape[0] !== classes))
    throw new ShapeError(`crossEntropy: weight is ${showShape(weight.shape)}, expected [${classes}]`)
  if (target.dtype === 'f32') {
    if (showShape(target.shape) !== showShape(logits.shape))
      throw new ShapeError(
        `crossEntropy: probabilities ${showShape(target.shape)} against logits ${showShape(logits.shape)}`,
      )
    const p = labelSmoothing ? add(mul(target, 1 - labelSmoothing), labelSmoothing / classes) : target
    const weighted = weight ? mul(p, weight) : p
    const each = neg(sum(mul(weighted, logSoftmax(logits)), { axes: -1 }))
    return reduction === 'mean' ? div(sum(each), sizeOf(rows)) : reduce(each, reduction)
  }
  if (showShape(target.shape) !== showShape(rows))
    throw new ShapeError(
      `crossEntropy: targets ${showShape(target.shape)} against logits ${showShape(logits.shape)}; expected ${showShape(rows)}`,
    )
  const kept = notIgnored(target, ignoreIndex)
  if (!weight && !labelSmoothing) {
    const each = tokenLoss([logits, target], { ignoreIndex })[0]
    if (reduction !== 'mean') return reduce(each, reduction)
    return div(sum(each), atLeastOne(sum(where(kept, 1, 0))))
  }
  const logP = logSoftmax(logits)
  const safe = where(kept, target, 0)
  const w = weight ? take(weight, safe) : null
  let each = neg(reshape(gather(logP, reshape(safe, [...safe.shape, 1]), { axis: -1 }), target.shape))
  if (w) each = mul(each, w)
  if (labelSmoothing) {
    const spread = neg(sum(weight ? mul(logP, weight) : logP, { axes: -1 }))
    each = add(mul(each, 1 - labelSmoothing), mul(spread, labelSmoothing / classes))
  }
  each = where(kept, each, 0)
  if (reduction !== 'mean') return reduce(each, reduction)
  return div(sum(each), atLeastOne(sum(where(kept, w ?? 1, 0))))
}
const atLeastOne = (n: Tensor): Tensor => where(equal(n, 0), 1, n)

/** −(posWeight·t·log σ(x) + (1 − t)·log(1 − σ(x)))·weight. */
export function bceWithLogits(
  logits: Tensor,
  target: Tensor,
  options: { reduction?: Reduction; weight?: Tensor; posWeight?: Tensor } = {},
): Tensor {
  const positive = mul(target, logSigmoid(logits))
  const negative = mul(sub(1, target), logSigmoid(neg(logits)))
  let each = neg(add(options.posWeight ? mul(positive, options.posWeight) : positive, negative))
  if (options.weight) each = mul(each, options.weight)
  return reduce(each, options.reduction ?? 'mean')
}
/** (x − target)² */
export function mse(x: Tensor, target: Tensor, options: { reduction?: Reduction } = {}): Tensor {
  const d = sub(x, target)
  return reduce(mul(d, d), options.reduction ?? 'mean')
}
/** |x − target| */
export function l1(x: Tensor, target: Tensor, options: { reduction?: Reduction } = {}): Tensor {
  return reduce(abs(sub(x, target)), options.reduction ?? 'mean')
}
/** |d| ≤ delta ? d²/2 : delta(|d| − delta/2); smoothL1 = huber/delta. */
export function huber(
  x: Tensor,
  target: Tensor,
  options: { delta?: number; reduction?: Reduction } = {},
): Tensor {
  const delta = options.delta ?? 1
  const d = sub(x, target)
  const size = abs(d)
  const each = where(lessEqual(size, delta), mul(0.5, mul(d, d)), mul(delta, sub(size, delta / 2)))
  return reduce(each, options.reduction ?? 'mean')
}
/** Σ p (log p − logQ), 0·log 0 = 0: KL(p ‖ q). 'mean' divides by every element, 'batchmean' by the first axis. */
export function klDiv(
  logQ: Tensor,
  p: Tensor,
  options: { reduction?: Reduction | 'batchmean' } = {},
): Tensor {
  const positive = less(0, p)
  const entropy = where(positive, mul(p, log(where(positive, p, 1))), 0)
  const each = sub(entropy, mul(p, logQ))
  if (options.reduction === 'batchmean') return div(sum(each), p.shape[0])
  return reduce(each, options.reduction ?? 'mean')
}
