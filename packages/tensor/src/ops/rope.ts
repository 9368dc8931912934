/** Rotary position embedding (Su et al. 2021) as a composite over precomputed angles. */
import { ShapeError, showShape, ValueError } from '../errors.js'
import type { Tensor } from '../graph.js'
import { composite, like } from './define.js'
import { add, mul, sub } from './elementwise.js'
import { concat, reshape, sliceAxis, stack } from './shape.js'

export type RopeLayout = 'half' | 'interleaved'

const ropeOf = composite('rope', {
  infer: ([x, cos, sin], { rotaryDim }) => {
    const d = rotaryDim as number
    if (d % 2 !== 0 || d > x.shape[x.shape.length - 1] || d < 0)
      throw new ShapeError(
        `rotaryDim ${d} of dHead ${x.shape[x.shape.length - 1]}: it must be even and no larger`,
      )
    for (const t of [cos, sin])
      if (t.shape[t.shape.length - 1] !== d / 2)
        throw new ShapeError(`cos and sin are ${showShape(t.shape)}, expected [.., position, ${d / 2}]`)
    return like(x)
  },
  body: ([x, cos, sin], { layout, rotaryDim }) => {
    const d = rotaryDim as number
    const axis = x.rank - 1
    const turned = sliceAxis(x, axis, 0, d)
    const rest = d < x.shape[axis] ? [sliceAxis(x, axis, d, x.shape[axis])] : []
    if (layout === 'half') {
      const a = sliceAxis(turned, axis, 0, d / 2)
      const b = sliceAxis(turned, axis, d / 2, d)
      return [concat([sub(mul(a, cos), mul(b, sin)), add(mul(b, cos), mul(a, sin)), ...rest], axis)]
    }
    const pairs = reshape(turned, [...turned.shape.slice(0, -1), d / 2, 2])
    const a = reshape(sliceAxis(pairs, axis + 1, 0, 1), [...turned.shape.slice(0, -1), d / 2])
    const b = reshape(sliceAxis(pairs, axis + 1, 1, 2), [...turned.shape.slice(0, -1), d / 2])
    const y = stack([sub(mul(a, cos), mul(b, sin)), add(mul(b, cos), mul(a, sin))], axis + 1)
    return [concat([reshape(y, turned.shape), ...rest], axis)]
  },
})
/**
 * Rotates pairs of the first `rotaryDim` (default all) of the last axis by the angles whose cosines and sines are
 * given ([.., position, rotaryDim/2], broadcast over heads). Layout `half` pairs (i, i + d/2) as Llama, `interleaved`
 * (2i, 2i + 1) as GPT-J.
 */
export function rope(
  x: Tensor,
  cos: Tensor,
  sin: Tensor,
  options: { layout?: RopeLayout; rotaryDim?: number } = {},
): Tensor {
  const layout = options.layout ?? 'half'
  if (layout !== 'half' && layout !== 'interleaved')
    throw new ValueError(`rope: layout '${layout}' is unknown; use 'half' or 'interleaved'`)
  return ropeOf([x, cos, sin], { layout, rotaryDim: options.rotaryDim ?? x.shape[x.rank - 1] })[0]
}
