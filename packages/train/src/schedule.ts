/**
 * Learning rates by step: plain functions from a step (0, 1, 2 …) to a rate, in double precision. Warm-ups after
 * Hugging Face begin at 0 in step 0; `cosine` of this package's `warmupCosine` begins above it.
 */
import { ValueError } from '@heed/tensor'

export type Schedule = (step: number) => number

const cosineRamp = (x: number): number => 0.5 * (1 + Math.cos(Math.PI * x))
const need = (value: number | undefined, name: string, kind: string): number => {
  if (value === undefined) throw new ValueError(`${kind}: '${name}' is missing`)
  return value
}

export interface WarmupOptions {
  lr: number
  /** Steps of linear warm-up. */
  warmup?: number
}
export interface TotalOptions extends WarmupOptions {
  /** Length of the whole schedule in steps. */
  total: number
}
const rampUp = (step: number, warmup: number): number => step / Math.max(1, warmup)

export const constant =
  (lr: number): Schedule =>
  () =>
    lr
/** 0 → lr over `warmup` steps, then lr. */
export function constantWarmup({ lr, warmup = 0 }: WarmupOptions): Schedule {
  return (t) => lr * (t < warmup ? rampUp(t, Math.max(1, warmup)) : 1)
}
/** 0 → lr over `warmup` steps, then linearly to 0 at `total`. */
export function linearDecay({ lr, warmup = 0, total }: TotalOptions): Schedule {
  return (t) => lr * (t < warmup ? rampUp(t, warmup) : Math.max(0, (total - t) / Math.max(1, total - warmup)))
}
/** 0 → lr over `warmup` steps, then `cycles` half-waves of a cosine (0.5: down to 0 at `total`). */
export function cosine({
  lr,
  warmup = 0,
  total,
  cycles = 0.5,
}: TotalOptions & { cycles?: number }): Schedule {
  return (t) => {
    if (t < warmup) return lr * rampUp(t, warmup)
    const progress = (t - warmup) / Math.max(1, total - warmup)
    return lr * Math.max(0, cosineRamp(2 * cycles * progress))
  }
}
/** A cosine that falls to 0 and starts anew `cycles` times. */
export function cosineRestarts({
  lr,
  warmup = 0,
  total,
  cycles = 1,
}: TotalOptions & { cycles?: number }): Schedule {
  return (t) => {
    if (t < warmup) return lr * rampUp(t, warmup)
    const progress = (t - warmup) / Math.max(1, total - warmup)
    return progress >= 1 ? 0 : lr * Math.max(0, cosineRamp((cycles * progress) % 1))
  }
}
/** lr → end as a power of what is left. */
export function polynomial({
  lr,
  warmup = 0,
  total,
  end = 1e-7,
  power = 1,
}: TotalOptions & { end?: number; power?: number }): Schedule {
  return (t) => {
    if (t < warmup) return lr * rampUp(t, warmup)
    if (t > total) return end
    const left = 1 - (t - warmup) / (total - warmup)
    return (lr - end) * left ** power + end
  }
}
/** lr·√(timescale / (step + timescale − warmup)) after the warm-up. */
export function inverseSqrt({ lr, warmup = 0, timescale }: WarmupOptions & { timescale?: number }): Schedule {
  const scale = timescale ?? (warmup || 10_000)
  return (t) => lr * (t < warmup ? rampUp(t, warmup) : 1 / Math.sqrt((t + scale - warmup) / scale))
}
/** lr·dModel^−½·min((t + 1)^−½, (t + 1)·warmup^−1.5) (Vaswani et al. 2017, eq. 3). */
export function noam({ lr = 1, dModel, warmup }: { lr?: number; dModel: number; warmup: number }): Schedule {
  return (t) => lr * dModel ** -0.5 * Math.min((t + 1) ** -0.5, (t + 1) * warmup ** -1.5)
}
/** lr/divFactor → lr → lr/divFactor/finalDivFactor (Smith & Topin 2018), as torch.optim's OneCycleLR. */
export function oneCycle(o: {
  lr: number
  total: number
  pctStart?: number
  anneal?: 'cos' | 'linear'
  divFactor?: number
  finalDivFactor?: number
  threePhase?: boolean
}): Schedule {
  const {
    lr,
    total,
    pctStart = 0.3,
    anneal = 'cos',
    divFactor = 25,
    finalDivFactor = 1e4,
    threePhase = false,
  } = o
  const first = lr / divFactor
  const last = first / finalDivFactor
  const phases = threePhase
    ? [
        { end: pctStart * total - 1, from: first, to: lr },
        { end: 2 * pctStart * total - 2, from: lr, to: first },
        { end: total - 1, from: first, to: last },
      ]
    : [
        { end: pctStart * total - 1, from: first, to: lr },
        { end: total - 1, from: lr, to: last },
      ]
  return (t) => {
    let start = 0
    for (const [i, phase] of phases.entries()) {
      if (t <= phase.end || i === phases.length - 1) {
        const x = (t - start) / (phase.end - start)
        return anneal === 'cos'
          ? phase.to + (phase.from - phase.to) * cosineRamp(x)
          : phase.from + (phase.to - phase.from) * x
      }
      start = phase.end
    }
    return last
  }
}
/** lr·gamma every `stepSize` steps. */
export function stepDecay({
  lr,
  stepSize,
  gamma,
}: {
  lr: number
  stepSize: number
  gamma: number
}): Schedule {
  return (t) => lr * gamma ** Math.floor(t / stepSize)
}
/** lr·gammaᵗ */
export function exponential({ lr, gamma }: { lr: number; gamma: number }): Schedule {
  return (t) => lr * gamma ** t
}
/** A cosine from lr to `end` with period 2·total (torch's CosineAnnealingLR). */
export function cosineAnnealing({
  lr,
  total,
  end = 0,
}: {
  lr: number
  total: number
  end?: number
}): Schedule {
  return (t) => end + (lr - end) * cosineRamp(t / total)
}
/** The usual one for transformers: (step + 1)/warmup·lr up, then a cosine from lr to lr·floor at `total`. */
export function warmupCosine({
  lr,
  warmup = 0,
  total,
  floor = 0,
}: TotalOptions & { floor?: number }): Schedule {
  return (t) => {
    if (t < warmup) return (lr * (t + 1)) / warmup
    const progress = Math.min(1, (t - warmup) / Math.max(1, total - warmup))
    return lr * (floor + (1 - floor) * cosineRamp(progress))
  }
}

/** Every schedule by name, for configurations that are data. */
export function scheduleNamed(kind: string, o: Readonly<Record<string, unknown>>): Schedule {
  const n = (name: string): number | undefined =>
    typeof o[name] === 'number' ? (o[name] as number) : undefined
  const lr = need(n('lr'), 'lr', kind)
  const total = (): number => need(n('total'), 'total', kind)
  const warmup = n('warmup')
  switch (kind) {
    case 'constant':
      return constant(lr)
    case 'constantWarmup':
      return constantWarmup({ lr, warmup })
    case 'linear':
      return linearDecay({ lr, warmup, total: total() })
    case 'cosine':
      return cosine({ lr, warmup, total: total(), cycles: n('cycles') })
    case 'cosineRestarts':
      return cosineRestarts({ lr, warmup, total: total(), cycles: n('cycles') })
    case 'polynomial':
      return polynomial({ lr, warmup, total: total(), end: n('end'), power: n('power') })
    case 'inverseSqrt':
      return inverseSqrt({ lr, warmup, timescale: n('timescale') })
    case 'noam':
      return noam({ lr, dModel: need(n('dModel'), 'dModel', kind), warmup: need(warmup, 'warmup', kind) })
    case 'oneCycle':
      return oneCycle({
        lr,
        total: total(),
        pctStart: n('pctStart'),
        anneal: o.anneal as 'cos' | 'linear' | undefined,
        divFactor: n('divFactor'),
        finalDivFactor: n('finalDivFactor'),
        threePhase: o.threePhase as boolean | undefined,
      })
    case 'step':
      return stepDecay({
        lr,
        stepSize: need(n('stepSize'), 'stepSize', kind),
        gamma: need(n('gamma'), 'gamma', kind),
      })
    case 'exponential':
      return exponential({ lr, gamma: need(n('gamma'), 'gamma', kind) })
    case 'cosineAnnealing':
      return cosineAnnealing({ lr, total: total(), end: n('end') })
    case 'warmupCosine':
      return warmupCosine({ lr, warmup, total: total(), floor: n('floor') })
    default:
      throw new ValueError(`schedule '${kind}' is unknown`)
  }
}
