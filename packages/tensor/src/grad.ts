/**
 * Gradients: one reverse walk that adds more graph. They run wherever the graph runs and can be differentiated again.
 * A composite is passed as a whole through its `name.vjp`, unless a tensor inside its room is asked for: then the walk
 * orders by the composite's body and hands the body the cotangent.
 */
import { GradError, requireList, ShapeError, showShape } from './errors.js'
import { type Node, type Op, postorder, type Tensor } from './graph.js'
import { bodyOf, detachedOp, installReverse } from './ops/define.js'
import { add } from './ops/elementwise.js'
import { packedParts } from './ops/quantized.js'
import { ones, zeros } from './ops/shape.js'
import { sameShape } from './shape.js'

export interface GradOptions {
  /** Cotangent(s) of the loss(es); needed when a loss is not a scalar. */
  seed?: Tensor | readonly Tensor[]
  /** `'zero'`: a tensor that does not reach the loss gets zeros. The default throws. */
  unused?: 'error' | 'zero'
  /** With `'zero'`: told the index of each tensor that does not reach the loss. */
  onUnused?: (index: number) => void
  /** Do not walk behind the wanted tensors. */
  stop?: boolean
}

/**
 * ∂loss/∂x for every x of `wrt`, as lazy tensors of the same shapes (sums over several losses).
 * @throws GradError when a loss is no scalar and has no seed, or a tensor does not reach the loss.
 */
export function grad(
  loss: Tensor | readonly Tensor[],
  wrt: readonly Tensor[],
  options: GradOptions = {},
): Tensor[] {
  requireList('grad', wrt)
  const losses = Array.isArray(loss) ? (loss as readonly Tensor[]) : [loss as Tensor]
  const seeds = seedsFor(losses, options.seed)
  for (const w of wrt) {
    if (!w?.node) throw new GradError(`grad: '${w}' is no tensor; pass values, such as run.get('${w}')`)
    if (w.lookOnly)
      throw new GradError(
        `grad: ${w.lookOnly} is a slice for looking; differentiate the whole: run.get('${w.name ?? ''}')`,
      )
    if (w.dtype !== 'f32')
      throw new GradError(`grad: ${describe(w)} is ${w.dtype}; only f32 tensors have gradients`)
    const packed = packedParts(w)
    if (packed)
      throw new GradError(
        `grad: ${describe(w)} is quantised (${packed.attrs.format}) and stays as it is; train the model before it is quantised`,
      )
  }
  const open = new Set<Node>()
  const wanted = new Set<Node>()
  let oldest = Number.POSITIVE_INFINITY
  for (const w of wrt) {
    wanted.add(w.node)
    oldest = Math.min(oldest, w.node.id)
    // a wanted tap stands in this room, and is as old as the outermost room's composite
    for (let room = w.node.room; room; room = room.room) {
      open.add(room)
      oldest = Math.min(oldest, room.id)
    }
  }
  const isOpen = (n: Node): boolean => open.has(n)
  const stops = (n: Node): boolean => n.op === detachedOp || (options.stop === true && wanted.has(n))
  const deps = (n: Node): readonly Tensor[] =>
    stops(n) || n.id < oldest ? [] : isOpen(n) ? bodyOf(n).outputs : n.inputs

  const order = postorder(losses, deps)
  const needs = new Set<Node>()
  for (const n of order) if (wanted.has(n) || deps(n).some((d) => needs.has(d.node))) needs.add(n)

  const cotangents = new Map<Node, (Tensor | null)[]>()
  const accumulate = (t: Tensor, g: Tensor | null | undefined): void => {
    if (!g || !needs.has(t.node)) return
    let list = cotangents.get(t.node)
    if (!list) {
      list = t.node.outputs.map(() => null)
      cotangents.set(t.node, list)
    }
    const before = list[t.index]
    list[t.index] = before ? add(before, g) : g
  }
  losses.forEach((y, i) => accumulate(y, seeds[i]))
  for (let i = order.length - 1; i >= 0; i--) {
    const n = order[i]
    const dys = cotangents.get(n)
    if (!dys || stops(n)) continue
    if (n.id < oldest) continue
    if (isOpen(n)) bodyOf(n).outputs.forEach((t, k) => accumulate(t, dys[k]))
    else backward(n.op, dys, n).forEach((g, k) => accumulate(n.inputs[k], g))
  }
  return wrt.map((w, i) => {
    const g = cotangents.get(w.node)?.[w.index]
    if (g) return g
    // reached, but only through steps (comparisons, floor): the gradient exists and is zero
    if (losses.some((y) => needs.has(y.node)) && reaches(order, deps, losses, w.node)) return zeros(w.shape)
    if (options.unused === 'zero') {
      options.onUnused?.(i)
      return zeros(w.shape)
    }
    throw new GradError(
      `grad: tensor ${i} (${describe(w)}) does not reach the loss; drop it from wrt, or pass { unused: 'zero' }`,
    )
  })
}

installReverse(grad)

/** The loss and its gradients together: one forward pass when both are realized in one call. */
export function valueAndGrad(
  loss: Tensor,
  wrt: readonly Tensor[],
  options?: GradOptions,
): { value: Tensor; grads: Tensor[] } {
  return { value: loss, grads: grad(loss, wrt, options) }
}

function backward(op: Op, dys: readonly (Tensor | null)[], n: Node): readonly (Tensor | null)[] {
  if (dys.every((d) => d === null)) return []
  if (op.vjpMany) return op.vjpMany(dys, n.inputs, n)
  if (op.vjp && dys[0]) return op.vjp(dys[0], n.inputs, n.outputs[0], n.attrs)
  return []
}

function reaches(
  order: readonly Node[],
  deps: (n: Node) => readonly Tensor[],
  losses: readonly Tensor[],
  target: Node,
): boolean {
  const behind = new Set<Node>(losses.map((t) => t.node))
  for (let i = order.length - 1; i >= 0; i--)
    if (behind.has(order[i])) for (const d of deps(order[i])) behind.add(d.node)
  return behind.has(target)
}

function seedsFor(losses: readonly Tensor[], seed: GradOptions['seed']): Tensor[] {
  const given = seed === undefined ? [] : Array.isArray(seed) ? (seed as readonly Tensor[]) : [seed as Tensor]
  if (given.length > losses.length)
    throw new GradError(`grad: ${given.length} seeds for ${losses.length} losses`)
  return losses.map((y, i) => {
    const s = given[i]
    if (s) {
      if (!sameShape(s.shape, y.shape))
        throw new ShapeError(`grad: the seed is ${showShape(s.shape)}, the loss ${showShape(y.shape)}`)
      return s
    }
    if (y.dtype !== 'f32') throw new GradError(`grad: the loss is ${y.dtype}, expected f32`)
    if (y.rank !== 0)
      throw new GradError(
        `grad: the loss is ${showShape(y.shape)}, expected a scalar; reduce it (sum, mean) or pass { seed }`,
      )
    return ones([])
  })
}

function describe(t: Tensor): string {
  const name = t.name ?? (t.node.path ? `${t.node.path} ${t.node.op.name}` : t.node.op.name)
  return `${name} ${showShape(t.shape)}`
}
