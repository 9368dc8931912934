/**
 * From heads back to the model: z → attn_out. `result`, what each head writes, stands in the room beside the path: one
 * matrix product computes the sum of all heads, until somebody edits or differentiates a single head's part.
 */
import {
  type Attrs,
  add,
  composite,
  dequantize,
  linear,
  matmul,
  type PackedAttrs,
  packedParts,
  reshape,
  ShapeError,
  showShape,
  sum,
  type Tensor,
  transpose,
} from '@heed/tensor'

/** What a quantised w_o is made of; its parts are inputs of their own, so that the body multiplies by them unopened. */
interface Weight {
  readonly packed: PackedAttrs
  readonly parts: number
}
/** Inputs are z, w_o (or its parts) and the bias, if there is one. */
function open(inputs: readonly Tensor[], { packed, parts }: Attrs & Partial<Weight>) {
  const [z, ...rest] = inputs
  if (!packed || !parts) return { z, w: rest[0], b: rest[1] as Tensor | undefined }
  const w = dequantize({ parts: rest.slice(0, parts), attrs: packed })
  return { z, w, b: rest[parts] as Tensor | undefined }
}

const projectHeadsOf = composite('projectHeads', {
  inner: ['result'],
  infer: ([z, ...rest], attrs) => {
    const { packed, parts = 1 } = attrs as Partial<Weight>
    const w = packed?.shape ?? rest[0].shape
    const b = rest[parts]?.shape
    if (z.shape.length !== 4)
      throw new ShapeError(`z is ${showShape(z.shape)}, expected [batch, head, position, dHead]`)
    const [batch, nHead, positions, dHead] = z.shape
    if (w.length !== 2 || w[0] !== nHead * dHead)
      throw new ShapeError(`w_o is ${showShape(w)}, expected [${nHead * dHead}, dModel]`)
    if (b && (b.length !== 1 || b[0] !== w[1]))
      throw new ShapeError(`b_o is ${showShape(b)}, expected [${w[1]}]`)
    return { shape: [batch, positions, w[1]], dtype: 'f32' }
  },
  body: (inputs, attrs) => {
    const { z, w, b } = open(inputs, attrs)
    const [batch, nHead, positions, dHead] = z.shape
    const merged = reshape(transpose(z, [0, 2, 1, 3]), [batch, positions, nHead * dHead]) // [batch, position, head·dHead]
    return [linear(merged, w, b)] // [batch, position, dModel]
  },
  openBody: (inputs, attrs, tap) => {
    const { z, w, b } = open(inputs, attrs)
    const [, nHead, , dHead] = z.shape
    const perHead = reshape(w, [nHead, dHead, w.shape[1]])
    const result = tap('result', matmul(z, perHead)) // [batch, head, position, dModel]
    const y = sum(result, { axes: 1 }) // [batch, position, dModel]
    return [b ? add(y, b) : y]
  },
})

/** Σ over heads of z_h w_o[h] + b_o: z [batch, head, position, dHead], w_o [head·dHead, dModel]. Taps `result`. */
export function projectHeads(z: Tensor, w: Tensor, b?: Tensor): Tensor {
  const packed = packedParts(w)
  const bias = b ? [b] : []
  if (!packed) return projectHeadsOf([z, w, ...bias])[0]
  const attrs = { packed: packed.attrs, parts: packed.parts.length }
  return projectHeadsOf([z, ...packed.parts, ...bias], attrs)[0]
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
