/**
 * Optimisers as rules on one parameter: (parameter, gradient, slots, scalars of the step) → new parameter and slots,
 * all graph. What depends on the step (rate, bias corrections) is computed in double on the host and enters as
 * scalars, so that a run keeps one plan and no power of β is rounded to float32.
 */
import {
  add,
  composite,
  div,
  maximum,
  mul,
  ShapeError,
  showShape,
  sqrt,
  sub,
  type Tensor,
  ValueError,
  zeros,
} from '@heed/tensor'
import { constant, type Schedule } from './schedule.js'

export type Slots = Readonly<Record<string, Tensor>>

export interface Optimizer {
  readonly name: string
  /** Rate at a step (0, 1, …). */
  readonly rate: Schedule
  /** Names of the slots that a parameter of this optimiser carries. */
  readonly slots: readonly string[]
  /** Numbers of a step, t = 0, 1 … */
  scalars(step: number): Readonly<Record<string, number>>
  /** `decays`: whether weight decay acts on this parameter. */
  update(
    param: Tensor,
    grad: Tensor,
    slots: Slots,
    scalars: Readonly<Record<string, Tensor>>,
    decays: boolean,
  ): { param: Tensor; slots: Slots }
  /** Whether weight decay acts on a parameter. */
  decays(path: string, param: Tensor): boolean
}

export interface OptimizerOptions {
  /** Rate, or rate by step. */
  lr: number | Schedule
  weightDecay?: number
  /** Which parameters decay. Default: matrices (rank ≥ 2), as is usual for transformers; PyTorch decays everything. */
  decay?: (path: string, param: Tensor) => boolean
}

const matrices = (_: string, p: Tensor): boolean => p.rank >= 2
function common(
  o: OptimizerOptions,
  known: readonly string[],
  name: string,
): { rate: Schedule; decay: (path: string, p: Tensor) => boolean } {
  for (const key of Object.keys(o))
    if (!known.includes(key))
      throw new ValueError(`${name}: option '${key}' is unknown; use ${known.join(', ')}`)
  if (typeof o.lr !== 'number' && typeof o.lr !== 'function')
    throw new ValueError(`${name}: lr is missing; give a number or a schedule`)
  return { rate: typeof o.lr === 'number' ? constant(o.lr) : o.lr, decay: o.decay ?? matrices }
}

/** Slots of a fresh parameter: zeros. */
export function initialSlots(optimizer: Optimizer, param: Tensor): Slots {
  return Object.fromEntries(optimizer.slots.map((s) => [s, zeros(param.shape)]))
}

/** Gradient descent, with momentum b = momentum·b + (1 − dampening)·g (first step b = g), optionally Nesterov's. */
export function sgd(
  o: OptimizerOptions & { momentum?: number; dampening?: number; nesterov?: boolean },
): Optimizer {
  const { rate, decay } = common(
    o,
    ['lr', 'weightDecay', 'decay', 'momentum', 'dampening', 'nesterov'],
    'sgd',
  )
  const { momentum = 0, dampening = 0, nesterov = false, weightDecay = 0 } = o
  if (nesterov && (momentum <= 0 || dampening !== 0))
    throw new ValueError('sgd: nesterov needs momentum > 0 and dampening 0')
  return {
    name: 'sgd',
    rate,
    decays: (path, p) => weightDecay !== 0 && decay(path, p),
    slots: momentum ? ['momentum'] : [],
    scalars: (t) => ({ lr: rate(t), keep: t === 0 ? 1 : 1 - dampening }),
    update: (p, grad, slots, { lr, keep }, decaying) => {
      const g = decaying ? add(grad, mul(p, weightDecay)) : grad
      if (!momentum) return { param: sub(p, mul(g, lr)), slots: {} as Slots }
      const b = add(mul(slots.momentum, momentum), mul(g, keep))
      const step = nesterov ? add(g, mul(b, momentum)) : b
      return { param: sub(p, mul(step, lr)), slots: { momentum: b } as Slots }
    },
  }
}

export interface AdamOptions extends OptimizerOptions {
  betas?: readonly [number, number]
  /** Added outside the root. */
  eps?: number
  /** Keep the maximum of the second moment, before bias correction (Reddi et al. 2018). */
  amsgrad?: boolean
}

/** One node for a whole update, so that a backend may run it as one kernel. */
const adamUpdate = composite('adamUpdate', {
  infer: (inputs) => {
    const [p, g] = inputs
    if (showShape(p.shape) !== showShape(g.shape))
      throw new ShapeError(`the gradient is ${showShape(g.shape)}, the parameter ${showShape(p.shape)}`)
    return inputs
      .slice(0, inputs.length - 3)
      .filter((_, i) => i !== 1)
      .map((s) => ({ shape: s.shape, dtype: s.dtype }))
  },
  body: (inputs, attrs) => {
    const { beta1, beta2, eps, amsgrad, weightDecay, decoupled } = attrs as {
      beta1: number
      beta2: number
      eps: number
      amsgrad: boolean
      weightDecay: number
      decoupled: boolean
    }
    const [p, grad, m, v] = inputs
    const largest = amsgrad ? inputs[4] : null
    const [stepSize, rootCorrection, shrink] = inputs.slice(inputs.length - 3)
    const g = !decoupled && weightDecay ? add(grad, mul(p, weightDecay)) : grad
    const m1 = add(mul(m, beta1), mul(g, 1 - beta1))
    const v1 = add(mul(v, beta2), mul(mul(g, g), 1 - beta2))
    const top = largest ? maximum(largest, v1) : v1
    const start = decoupled && weightDecay ? mul(p, shrink) : p
    const next = sub(start, mul(div(m1, add(div(sqrt(top), rootCorrection), eps)), stepSize))
    return largest ? [next, m1, v1, top] : [next, m1, v1]
  },
})

function adamFamily(name: 'adam' | 'adamW', o: AdamOptions): Optimizer {
  const { rate, decay } = common(o, ['lr', 'weightDecay', 'decay', 'betas', 'eps', 'amsgrad'], name)
  const [beta1, beta2] = o.betas ?? [0.9, 0.999]
  const { eps = 1e-8, amsgrad = false, weightDecay = name === 'adamW' ? 0.01 : 0 } = o
  const decoupled = name === 'adamW'
  return {
    name,
    rate,
    decays: (path, p) => weightDecay !== 0 && decay(path, p),
    slots: amsgrad ? ['m', 'v', 'vMax'] : ['m', 'v'],
    scalars: (t) => {
      const lr = rate(t)
      return {
        stepSize: lr / (1 - beta1 ** (t + 1)),
        rootCorrection: Math.sqrt(1 - beta2 ** (t + 1)),
        shrink: 1 - lr * weightDecay,
      }
    },
    update: (p, g, slots, s, decaying) => {
      const attrs = { beta1, beta2, eps, amsgrad, weightDecay: decaying ? weightDecay : 0, decoupled }
      const inputs = [
        p,
        g,
        slots.m,
        slots.v,
        ...(amsgrad ? [slots.vMax] : []),
        s.stepSize,
        s.rootCorrection,
        s.shrink,
      ]
      const [param, m, v, vMax] = adamUpdate(inputs, attrs)
      return { param, slots: (amsgrad ? { m, v, vMax } : { m, v }) as Slots }
    },
  }
}

/** Adam (Kingma & Ba 2015), bias-corrected; weight decay is added to the gradient. */
export const adam = (o: AdamOptions): Optimizer => adamFamily('adam', o)
/** Adam with decoupled weight decay (Loshchilov & Hutter 2019): p·(1 − lr·decay) before the step. Default decay 0.01. */
export const adamW = (o: AdamOptions): Optimizer => adamFamily('adamW', o)
