/** Rotary position embedding (Su et al. 2021): (a, b) → (a·cos − b·sin, b·cos + a·sin) in one program. */
import type { Kernel, Value } from '../plan.js'
import { broadcastStrides, walk } from '../walk.js'

const rope: Kernel = {
  plan: (node, [x, cos, sin], planner) => {
    const { layout, rotaryDim } = node.attrs as { layout: 'half' | 'interleaved'; rotaryDim: number }
    const { shape } = node.to[0]
    const lead = shape.slice(0, -1)
    const last = shape.length - 1
    const turns = (v: Value) => {
      const end = v.shape.length - 1
      return {
        offset: v.offset,
        strides: broadcastStrides({ shape: v.shape.slice(0, end), strides: v.strides.slice(0, end) }, lead),
      }
    }
    const w = walk('place', lead, [
      { offset: x.offset, strides: x.strides.slice(0, last) },
      turns(cos),
      turns(sin),
    ])
    const step = (v: Value): number => v.strides[v.strides.length - 1]
    return [
      planner.draw({
        code: `${w.code}
float value(int o) {
  int row = o / width;
  int e = o - row * width;
  int px, pc, ps;
  place(row, px, pc, ps);
  float x = at0(px + e * xStep);
  if (e >= turnedWidth) return x;
  int h = turnedWidth / 2;
  bool first = interleaved == 1 ? (e & 1) == 0 : e < h;
  int i = interleaved == 1 ? e >> 1 : first ? e : e - h;
  int other = interleaved == 1 ? e ^ 1 : first ? e + h : e - h;
  float y = at0(px + other * xStep);
  float c = at1(pc + i * cosStep);
  float s = at2(ps + i * sinStep);
  return first ? x * c - y * s : x * c + y * s;
}`,
        inputs: [x, cos, sin],
        ints: {
          ...w.ints,
          width: shape[last],
          turnedWidth: rotaryDim,
          interleaved: layout === 'interleaved' ? 1 : 0,
          xStep: step(x),
          cosStep: step(cos),
          sinStep: step(sin),
        },
        shape,
        dtype: 'f32',
      }),
    ]
  },
  supports: ({ from: [x, ...turns] }) =>
    turns.every((t) => t.shape.length <= x.shape.length) || 'the angles have more axes than what they turn',
}
export const ropeKernels = { rope } satisfies Record<string, Kernel>
