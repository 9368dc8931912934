/**
 * Parameters and their initial values. Values are made when they are first needed, from the layer's key folded with
 * the parameter's path: the same model has the same weights everywhere, and a loaded one never makes any.
 */
import {
  deferred,
  foldIn,
  randomKey,
  type Shape,
  ShapeError,
  showShape,
  sizeOf,
  type Tensor,
  threefry2x32,
  ValueError,
} from '@heed/tensor'
import { placeOf } from './place.js'

/** Uniform numbers in [0, 1), in the order of `randomUniform`. */
export type Uniforms = (n: number) => Float64Array
/** Fills a shape with initial values. */
export type Init = (shape: Shape, uniforms: Uniforms) => Float32Array

const defaultKey = randomKey(0)

/**
 * A parameter: a tensor of `shape` whose values `init` makes on first use, seeded by `key` (default `randomKey(0)`)
 * folded with the parameter's path from the root of its model.
 */
export function param(shape: Shape, init: Init, key: Tensor = defaultKey): Tensor {
  const words = key.value?.host
  if (!(words instanceof Int32Array) || words.length !== 2)
    throw new ValueError(
      'param: the key has no values yet; make it with randomKey, foldIn or splitKey of such a key',
    )
  const t: Tensor = deferred(shape, () => init(shape, uniformsOf(foldIn(key, placeOf(t)))))
  return t
}

function uniformsOf(key: Tensor): Uniforms {
  const [a, b] = (key.value as { host: Int32Array }).host
  return (n) => {
    const out = new Float64Array(n)
    for (let i = 0; i < n; i += 2) {
      const [x, y] = threefry2x32(a, b, i / 2, 0)
      out[i] = (x >>> 8) * 2 ** -24
      if (i + 1 < n) out[i + 1] = (y >>> 8) * 2 ** -24
    }
    return out
  }
}

/** Inputs and outputs of a weight [.., in, out]; leading axes count as a receptive field. */
function fans(shape: Shape): { fanIn: number; fanOut: number } {
  if (shape.length < 2)
    throw new ShapeError(`init: ${showShape(shape)} has no fan-in; use normal, zeros or ones`)
  const field = sizeOf(shape.slice(0, -2))
  return { fanIn: shape[shape.length - 2] * field, fanOut: shape[shape.length - 1] * field }
}

export const zerosInit: Init = (shape) => new Float32Array(sizeOf(shape))
export const onesInit: Init = (shape) => new Float32Array(sizeOf(shape)).fill(1)
export const constantInit =
  (value: number): Init =>
  (shape) =>
    new Float32Array(sizeOf(shape)).fill(value)

/** Normal with mean 0 by Box–Muller, the numbers of `randomNormal` with the same key. */
export const normal =
  (std = 0.02): Init =>
  (shape, uniforms) => {
    const out = new Float32Array(sizeOf(shape))
    fillNormal(out, uniforms, (z) => z * std)
    return out
  }
function fillNormal(out: Float32Array, uniforms: Uniforms, map: (z: number) => number): void {
  const n = out.length
  const u = uniforms(2 * Math.ceil(n / 2))
  for (let i = 0; i < n; i += 2) {
    const r = Math.sqrt(-2 * Math.log(u[i] + 2 ** -24))
    const angle = 2 * Math.PI * u[i + 1]
    out[i] = map(r * Math.cos(angle))
    if (i + 1 < n) out[i + 1] = map(r * Math.sin(angle))
  }
}

/** Normal cut at ±`cut` standard deviations: what falls outside is drawn again. */
export const truncatedNormal =
  (std = 0.02, cut = 2): Init =>
  (shape, uniforms) => {
    const n = sizeOf(shape)
    const out = new Float32Array(n)
    let have = 0
    // each round draws a longer prefix of one stream; with cut = 2 about 5 % is thrown away
    for (let want = Math.ceil(n * 1.1) + 16; have < n; want *= 2) {
      const z = new Float32Array(want)
      fillNormal(z, uniforms, (v) => v)
      have = 0
      for (let i = 0; i < want && have < n; i++) if (Math.abs(z[i]) <= cut) out[have++] = z[i] * std
    }
    return out
  }

/** Uniform in [−bound, bound). */
export const uniform =
  (bound: number): Init =>
  (shape, uniforms) =>
    Float32Array.from(uniforms(sizeOf(shape)), (u) => (2 * u - 1) * bound)

/** Uniform in ±√(6/(fanIn + fanOut)) (Glorot & Bengio 2010). */
export const xavierUniform =
  (gain = 1): Init =>
  (shape, uniforms) => {
    const { fanIn, fanOut } = fans(shape)
    return uniform(gain * Math.sqrt(6 / (fanIn + fanOut)))(shape, uniforms)
  }
/** Normal with variance 2/(fanIn + fanOut) (Glorot & Bengio 2010). */
export const xavierNormal =
  (gain = 1): Init =>
  (shape, uniforms) => {
    const { fanIn, fanOut } = fans(shape)
    return normal(gain * Math.sqrt(2 / (fanIn + fanOut)))(shape, uniforms)
  }
/** Uniform in ±√(3/fanIn)·gain; the default gain √2 is for relu (He et al. 2015). */
export const kaimingUniform =
  (gain = Math.SQRT2): Init =>
  (shape, uniforms) =>
    uniform(gain * Math.sqrt(3 / fans(shape).fanIn))(shape, uniforms)
/** Normal with standard deviation gain/√fanIn (He et al. 2015). */
export const kaimingNormal =
  (gain = Math.SQRT2): Init =>
  (shape, uniforms) =>
    normal(gain / Math.sqrt(fans(shape).fanIn))(shape, uniforms)
