// What is allowed of a parameter after AdamW's first step, where the gradient is next to nothing.
import { describe, expect, it } from 'vitest'
import { comparable, noiseOf } from './train.js'

const [lr, eps, decay] = [1e-3, 1e-8, 0.1]
const expected = (norm: number, clip = 1) => ({
  optimizer: {
    name: 'adamw',
    ...{ beta1: 0.9, beta2: 0.999, eps },
    weight_decay: { matrices: decay, vectors: 0 },
    clip_global_norm: clip,
  },
  schedule: { rates: [lr] },
  grad_norm_before_clip: [norm],
})
const gradients = [0, 1e-9, -1e-8, 5e-8, 1e-6, -1e-3, 0.1]
/** The first step of a parameter that is 0, so that float32 keeps it as it is: lr·g / (|g| + eps). */
const allowed = (e: ReturnType<typeof expected>, isMatrix = false): number[] => [
  ...noiseOf(
    new Float32Array(gradients.length),
    Float32Array.from(gradients, (g) => (-lr * g) / (Math.abs(g) + eps)),
    isMatrix,
    e,
  ),
]

describe('the noise of a first step', () => {
  it('is what some 4e-9 of the gradient make of it: lr·noise·eps / (|g| + eps)²', () => {
    for (const [norm, clip, size] of [
      [1, 1, 1],
      [50, 1, 1],
      [0.25, 1, 0.25],
    ])
      for (const [i, got] of allowed(expected(norm, clip)).entries()) {
        const want = (lr * size * 2 ** -28 * eps) / (Math.abs(gradients[i]) + eps) ** 2
        expect(Math.abs(got - want), `${gradients[i]}`).toBeLessThan(1e-5 * lr + 1e-3 * want)
      }
  })
  it('never excuses a step the other way, nor one of a gradient that is large enough', () => {
    const most = allowed(expected(1))
    for (const noise of most) expect(noise).toBeLessThan(lr / 2)
    for (const [i, g] of gradients.entries()) if (Math.abs(g) >= 1e-6) expect(most[i]).toBeLessThan(lr / 1e4)
  })
  it('takes weight decay off before, of matrices alone', () => {
    const start = Float32Array.of(10)
    const decayed = Float32Array.of(10 * (1 - lr * decay))
    // nothing but decay: the gradient was 0, and its noise counts whole
    const whole = (lr * 2 ** -28) / eps
    expect(noiseOf(start, decayed, true, expected(1))[0]).toBeGreaterThan(0.99 * whole)
    // without decay the same is a whole step
    expect(noiseOf(start, decayed, false, expected(1))[0]).toBe(0)
  })
})

it('leaves out the biases of keys, the middle third', () => {
  expect([...(comparable('h.0.attn.c_attn.bias', 6) ?? [])]).toEqual([1, 1, 0, 0, 1, 1])
  expect(comparable('h.0.attn.c_proj.bias', 6)).toBeUndefined()
})
