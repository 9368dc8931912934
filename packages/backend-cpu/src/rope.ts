/** The composite `rope` and its backward, which turns by the opposite angles. */
import type { GraphNode, KernelCall, KernelEntry, View } from '@heed/tensor'
import { f32bits } from './float-bits.js'
import { pointer } from './pointer.js'
import { shares } from './rows.js'
import type { Kernels } from './wasm.js'

/** Sizes of [batch, heads, positions, width]; missing axes are 1. */
const four = (shape: readonly number[]): number[] => [1, 1, 1, 1, ...shape].slice(-4)

/** Strides of an operand along those axes of `shape`, 0 where it repeats. */
function stepsOf(v: View, shape: readonly number[]): number[] {
  const lead = 4 - v.shape.length
  return shape.map((d, i) => {
    const own = i - lead
    return own < 0 || (v.shape[own] === 1 && d !== 1) ? 0 : v.strides[own]
  })
}

function supports({ from: [x] }: GraphNode): true | string {
  return x.shape.length <= 4 || `the fused kernel takes at most 4 axes, not ${x.shape.length}`
}

export function ropeEntries(kernels: Kernels): Record<string, KernelEntry> {
  const turn = (x: View, cos: View, sin: View, y: View, attrs: KernelCall['attrs'], sign: number): void => {
    if (y.size === 0) return
    const [batch, heads, positions, width] = four(x.shape)
    const angles = [batch, heads, positions, (attrs.rotaryDim as number) / 2]
    const rows = batch * heads * positions
    const { chunks, per } = shares(kernels, rows, width)
    const words = [rows, per, positions, heads, width, attrs.rotaryDim as number]
    words.push(attrs.layout === 'interleaved' ? 1 : 0, f32bits(sign))
    words.push(pointer(x), ...stepsOf(x, four(x.shape)))
    for (const v of [cos, sin]) words.push(pointer(v), ...stepsOf(v, angles))
    kernels.run('rope', [...words, pointer(y)], chunks)
  }
  return {
    rope: {
      strided: true,
      how: 'fused',
      supports,
      run: ({ inputs: [x, cos, sin], outputs: [y], attrs }) => turn(x, cos, sin, y, attrs, 1),
    },
    'rope.vjp': {
      strided: true,
      how: 'fused',
      supports,
      run({ inputs: [x, cos, sin, , dy], outputs: [dx, dcos, dsin], attrs }) {
        const needed = attrs.needed as readonly boolean[] | undefined
        if (needed?.[0] !== false) turn(dy, cos, sin, dx, attrs, -1)
        if (needed?.[1] !== false || needed[2] !== false) angleGradients(x, dy, dcos, dsin, attrs)
      },
    },
  }
}

/** Gradients of the cosines and sines, summed in double over what shares them: nobody trains angles, so plain loops do. */
function angleGradients(x: View, dy: View, dcos: View, dsin: View, attrs: KernelCall['attrs']): void {
  const half = (attrs.rotaryDim as number) / 2
  const [pair, next] = attrs.layout === 'interleaved' ? [1, 2] : [half, 1]
  const [batch, heads, positions, width] = four(x.shape)
  const [xs, ds] = [x, dy].map((v) => stepsOf(v, [batch, heads, positions, width]))
  const to = [dcos, dsin].map((v) => ({
    steps: stepsOf(v, [batch, heads, positions, half]),
    sums: new Float64Array(v.size),
  }))
  for (let b = 0; b < batch; b++)
    for (let h = 0; h < heads; h++)
      for (let t = 0; t < positions; t++)
        for (let j = 0; j < half; j++) {
          const read = (v: View, s: readonly number[], i: number): number =>
            v.data[v.offset + b * s[0] + h * s[1] + t * s[2] + i * s[3]] as number
          const [a1, a2] = [read(x, xs, j * next), read(x, xs, j * next + pair)]
          const [d1, d2] = [read(dy, ds, j * next), read(dy, ds, j * next + pair)]
          to.forEach(({ steps, sums }, k) => {
            const at = b * steps[0] + h * steps[1] + t * steps[2] + j * steps[3]
            sums[at] += k === 0 ? d1 * a1 + d2 * a2 : d2 * a1 - d1 * a2
          })
        }
  ;(dcos.data as Float32Array).set(to[0].sums, dcos.offset)
  ;(dsin.data as Float32Array).set(to[1].sums, dsin.offset)
}
