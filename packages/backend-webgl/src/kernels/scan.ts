/**
 * A loop: the body is a plan of its own, run once a step on slices of the outer arrays. What a loop writes step by step is
 * kept as one texture a step and joined at the end, since a texture is never written twice.
 */
import { type Graph, type Spec, sizeOf } from '@heed/tensor'
import type { Device, Format, Texture } from '../device.js'
import { type Boundary, graphOf, type Kernel, Plan, type Planner, type Value } from '../plan.js'

/** A small plan of one kind of step, by sizes; textures in, one texture out. */
class Tool {
  private readonly plans = new Map<string, Plan>()
  constructor(
    private readonly planner: Planner,
    private readonly graphOf: (key: string) => readonly [Graph, Boundary],
  ) {}
  run(key: string, inputs: readonly Texture[]): Texture {
    let plan = this.plans.get(key)
    if (!plan) {
      const { device, precision, table } = this.planner
      const [graph, boundary] = this.graphOf(key)
      plan = new Plan(graph, device, precision, table, boundary)
      this.plans.set(key, plan)
    }
    return plan.run(inputs)[0]
  }
  dispose(): void {
    for (const p of this.plans.values()) p.dispose()
  }
}

/** Arrays of one size behind each other, at most eight at a time. */
function join(tool: Tool, device: Device, spec: Spec, parts: readonly Texture[]): Texture {
  let level = parts.map((texture) => ({ texture, n: 1, ours: false }))
  let next: typeof level = []
  try {
    while (level.length > 1) {
      while (level.length > 0) {
        const group = level.slice(0, 8)
        if (group.length === 1) {
          next.push(...level.splice(0))
          continue
        }
        const texture = tool.run(
          [spec.dtype, spec.shape, group.map((g) => g.n)].join('|'),
          group.map((g) => g.texture),
        )
        level.splice(0, 8)
        for (const g of group) if (g.ours) device.release(g.texture)
        next.push({ texture, n: group.reduce((s, g) => s + g.n, 0), ours: true })
      }
      level = next
      next = []
    }
  } catch (error) {
    for (const g of [...level, ...next]) if (g.ours) device.release(g.texture)
    throw error
  }
  const [{ texture, ours }] = level
  if (!ours) texture.users++
  return texture
}

export const scan: Kernel = {
  plan: (node, given, planner) => {
    const { nCarry, nX, nY, length, reverse, body } = node.attrs as {
      nCarry: number
      nX: number
      nY: number
      length: number
      reverse: boolean
      body: Graph
    }
    const { device, precision, table } = planner
    // carries go from step to step as draws hand each other numbers, the rest is read as it lies
    const inputs = given.map((v, i) =>
      i < nCarry ? planner.stored(v, planner.formatOf(v.dtype)) : planner.whole(v),
    )
    const stored = (i: number): Format => planner.slots[inputs[i].slot].format
    const output = planner.formatOf('f32')
    const outs: Value[] = node.to.map((s) => planner.fresh(s.shape, s.dtype))
    const inner = new Plan(body, device, precision, table, {
      inputs: inputs.map((v, i) => (i < nCarry + nX ? planner.formatOf(v.dtype) : stored(i))),
      output,
    })
    const specOf = (r: Graph['outputs'][number]): Spec => body.nodes[r.node].to[r.index]
    const specs = body.outputs.map(specOf)
    const steps = new Tool(planner, (key) => {
      const i = Number(key)
      const { shape, dtype } = inputs[nCarry + i]
      const whole: Spec = { shape, dtype }
      const one: Spec = { shape: [1, ...shape.slice(1)], dtype }
      const at: Spec = { shape: [], dtype: 'i32' }
      const graph = graphOf('dynamicSlice', { axis: 0, size: 1 }, [whole, at], one)
      return [graph, { inputs: [stored(nCarry + i), 'i32'], output }]
    })
    const joints = new Tool(planner, (key) => {
      const [dtype, shape, counts] = key.split('|')
      const size = sizeOf(shape === '' ? [] : shape.split(',').map(Number))
      const parts = counts
        .split(',')
        .map((n): Spec => ({ shape: [Number(n), size], dtype: dtype as Spec['dtype'] }))
      const rows = parts.reduce((s, p) => s + p.shape[0], 0)
      const to = { shape: [rows, size], dtype: dtype as Spec['dtype'] }
      const format = planner.formatOf(to.dtype)
      return [graphOf('concat', { axis: 0 }, parts, to), { inputs: parts.map(() => format), output }]
    })

    const run = (textures: readonly Texture[]): Texture[] => {
      const xs = textures.slice(nCarry, nCarry + nX)
      const captured = textures.slice(nCarry + nX)
      const ys: Texture[][] = Array.from({ length: nY }, () => [])
      const saved: Texture[][] = Array.from({ length: nCarry }, () => [])
      let carries = textures.slice(0, nCarry)
      const joined: Texture[] = []
      for (const c of carries) c.users++
      const place = (list: Texture[], k: number, texture: Texture): void => {
        list[reverse ? length - 1 - k : k] = texture
      }
      try {
        for (let k = 0; k < length; k++) {
          const t = reverse ? length - 1 - k : k
          carries.forEach((c, i) => {
            c.users++
            place(saved[i], k, c)
          })
          const at = device.upload(Int32Array.of(t), 'i32')
          const slices: Texture[] = []
          let made: Texture[]
          try {
            xs.forEach((x, i) => slices.push(steps.run(String(i), [x, at])))
            made = inner.run([...carries, ...slices, ...captured])
          } finally {
            for (const s of [at, ...slices]) device.release(s)
          }
          for (const c of carries) device.release(c)
          carries = made.slice(0, nCarry)
          made.slice(nCarry, nCarry + nY).forEach((y, i) => place(ys[i], k, y))
        }
        ;[...ys, ...saved].forEach((parts, i) => {
          const spec = i < nY ? specs[nCarry + i] : specs[i - nY]
          joined.push(
            length === 0
              ? device.alloc(0, planner.slots[outs[nCarry + i].slot].format)
              : join(joints, device, spec, parts),
          )
        })
        for (const c of carries) c.users++
        return [...carries, ...joined]
      } catch (error) {
        for (const texture of joined) device.release(texture)
        throw error
      } finally {
        for (const c of carries) device.release(c)
        for (const list of [...ys, ...saved]) for (const texture of list) if (texture) device.release(texture)
      }
    }
    planner.special(inputs, outs, {
      run,
      dispose() {
        inner.dispose()
        steps.dispose()
        joints.dispose()
      },
    })
    return outs
  },
}
