/**
 * From heads back to the model: z → attn_out. `result`, what each head writes, stands in the room beside the path: one
 * matrix product computes the sum of all heads, until somebody edits or differentiates a single head's part.
 */
import {
  add,
  composite,
  linear,
  matmul,
  reshape,
  ShapeError,
  showShape,
  sum,
  type Tensor,
  transpose,
} from '@heed/tensor'

const projectHeadsOf = composite('projectHeads', {
  inner: ['result'],
  infer: ([z, w, b]) => {
    if (z.shape.length !== 4)
      throw new ShapeError(`z is ${showShape(z.shape)}, expected [batch, head, position, dHead]`)
    const [batch, nHead, positions, dHead] = z.shape
    if (w.shape.length !== 2 || w.shape[0] !== nHead * dHead)
      throw new ShapeError(`w_o is ${showShape(w.shape)}, expected [${nHead * dHead}, dModel]`)
    if (b && (b.shape.length !== 1 || b.shape[0] !== w.shape[1]))
      throw new ShapeError(`b_o is ${showShape(b.shape)}, expected [${w.shape[1]}]`)
    return { shape: [batch, positions, w.shape[1]], dtype: 'f32' }
  },
  body: ([z, w, b]) => {
    const [batch, nHead, positions, dHead] = z.shape
    const merged = reshape(transpose(z, [0, 2, 1, 3]), [batch, positions, nHead * dHead]) // [batch, position, head·dHead]
    return [linear(merged, w, b)] // [batch, position, dModel]
  },
  openBody: ([z, w, b], _, tap) => {
    const [, nHead, , dHead] = z.shape
    const perHead = reshape(w, [nHead, dHead, w.shape[1]])
    const result = tap('result', matmul(z, perHead)) // [batch, head, position, dModel]
    const y = sum(result, { axes: 1 }) // [batch, position, dModel]
    return [b ? add(y, b) : y]
  },
})

/** Σ over heads of z_h w_o[h] + b_o: z [batch, head, position, dHead], w_o [head·dHead, dModel]. Taps `result`. */
export function projectHeads(z: Tensor, w: Tensor, b?: Tensor): Tensor {
  return projectHeadsOf(b ? [z, w, b] : [z, w])[0]
}

/** [batch, position, head·dHead] → [batch, head, position, dHead]. */
export function splitHeads(x: Tensor, nHead: number): Tensor {
  const [batch, positions, d] = x.shape
  if (x.rank !== 3 || d % nHead !== 0)
    throw new ShapeError(
      `splitHeads: ${showShape(x.shape)} does not divide into ${nHead} heads; expected [batch, position, head·dHead]`,
    )
  return transpose(reshape(x, [batch, positions, nHead, d / nHead]), [0, 2, 1, 3])
}
