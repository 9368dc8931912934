/** Rotary position embedding (Su et al. 2021): (a, b) → (a·cos − b·sin, b·cos + a·sin) in one program. */
import type { GraphNode } from '@heed/tensor'
import type { Kernel, Planner, Value } from '../plan.js'
import { broadcastStrides, walk } from '../walk.js'
import { reducedTo } from './reduce.js'

interface Rotation {
  readonly shape: readonly number[]
  readonly lead: readonly number[]
  readonly ints: Readonly<Record<string, number>>
  /** Where element e of a row has its partner, its angle i, and whether it comes first. */
  readonly pair: string
  readonly half: number
}
const rotationOf = (node: GraphNode): Rotation => {
  const { layout, rotaryDim } = node.attrs as { layout: 'half' | 'interleaved'; rotaryDim: number }
  const { shape } = node.from[0]
  return {
    shape,
    lead: shape.slice(0, -1),
    half: rotaryDim / 2,
    ints: {
      width: shape[shape.length - 1],
      turnedWidth: rotaryDim,
      interleaved: layout === 'interleaved' ? 1 : 0,
    },
    pair: `int h = turnedWidth / 2;
  bool first = interleaved == 1 ? (e & 1) == 0 : e < h;
  int i = interleaved == 1 ? e >> 1 : first ? e : e - h;
  int other = interleaved == 1 ? e ^ 1 : first ? e + h : e - h;`,
  }
}
const step = (v: Value): number => v.strides[v.strides.length - 1]
/** A view without its last axis, read over `lead`. */
const rowsOf = (v: Value, lead: readonly number[]) => {
  const end = v.shape.length - 1
  return {
    offset: v.offset,
    strides: broadcastStrides({ shape: v.shape.slice(0, end), strides: v.strides.slice(0, end) }, lead),
  }
}

/** Turns x by its angles, or back by them. */
function turn(planner: Planner, r: Rotation, x: Value, cos: Value, sin: Value, back: boolean): Value {
  const w = walk(
    'place',
    r.lead,
    [x, cos, sin].map((v) => rowsOf(v, r.lead)),
  )
  return planner.draw({
    code: `${w.code}
float value(int o) {
  int row = o / width;
  int e = o - row * width;
  int px, pc, ps;
  place(row, px, pc, ps);
  float x = at0(px + e * xStep);
  if (e >= turnedWidth) return x;
  ${r.pair}
  float y = at0(px + other * xStep);
  float c = at1(pc + i * cosStep);
  float s = at2(ps + i * sinStep);
  return first == (back == 0) ? x * c - y * s : x * c + y * s;
}`,
    inputs: [x, cos, sin],
    ints: {
      ...w.ints,
      ...r.ints,
      xStep: step(x),
      cosStep: step(cos),
      sinStep: step(sin),
      back: back ? 1 : 0,
    },
    shape: r.shape,
    dtype: 'f32',
  })
}

const rope: Kernel = {
  plan: (node, [x, cos, sin], planner) => [turn(planner, rotationOf(node), x, cos, sin, false)],
  supports: ({ from: [x, ...turns] }) =>
    turns.every((t) => t.shape.length <= x.shape.length) || 'the angles have more axes than what they turn',
}

/**
 * dx is dy turned back; dcos = Σ (a·da + b·db) and dsin = Σ (a·db − b·da) over everything that an angle turns. What nobody
 * asks for (angles are rarely trained) is never drawn.
 */
const ropeVjp: Kernel = {
  ...rope,
  plan: (node, inputs, planner) => {
    const [x, cos, sin] = inputs
    const dy = inputs[inputs.length - 1]
    const r = rotationOf(node)
    const w = walk(
      'place',
      r.lead,
      [x, dy].map((v) => rowsOf(v, r.lead)),
    )
    const shape = [...r.lead, r.half]
    const angles = (like: Value, isSin: boolean): Value => {
      const each = planner.draw({
        code: `${w.code}
float value(int o) {
  int h = turnedWidth / 2;
  int row = o / h;
  int i = o - row * h;
  int px, pd;
  place(row, px, pd);
  int p = interleaved == 1 ? 2 * i : i;
  int q = interleaved == 1 ? p + 1 : i + h;
  float a = at0(px + p * xStep);
  float b = at0(px + q * xStep);
  float da = at1(pd + p * dyStep);
  float db = at1(pd + q * dyStep);
  return isSin == 1 ? a * db - b * da : a * da + b * db;
}`,
        inputs: [x, dy],
        ints: { ...w.ints, ...r.ints, xStep: step(x), dyStep: step(dy), isSin: isSin ? 1 : 0 },
        shape,
        dtype: 'f32',
      })
      return reducedTo(planner, each, like.shape)
    }
    return [turn(planner, r, dy, cos, sin, true), angles(cos, false), angles(sin, true)]
  },
}

export const ropeKernels = { rope, 'rope.vjp': ropeVjp } satisfies Record<string, Kernel>
