/** Convolution and pooling: windows are gathered by index, then multiplied or reduced. Cross-correlation, as PyTorch. */
import { ShapeError, showShape } from '../errors.js'
import type { Tensor } from '../graph.js'
import { composite } from './define.js'
import { add, div, mul } from './elementwise.js'
import { take } from './indexing.js'
import { matmul } from './matmul.js'
import { max, sum } from './reduce.js'
import { iota, ones, pad, reshape } from './shape.js'

type Pair = number | readonly [number, number]
const pair = (v: Pair): [number, number] => (typeof v === 'number' ? [v, v] : [v[0], v[1]])

export interface ConvOptions {
  stride?: Pair
  padding?: Pair
  dilation?: Pair
  groups?: number
}

const outSize = (size: number, kernel: number, stride: number, dilation: number): number => {
  const n = Math.floor((size - dilation * (kernel - 1) - 1) / stride) + 1
  if (n < 1)
    throw new ShapeError(
      `a window of ${dilation * (kernel - 1) + 1} does not fit an axis of ${size} (padding included)`,
    )
  return n
}

/** x [batch, channels, height, width] → windows [batch, channels, kernelH·kernelW, outH, outW]. */
function windows(
  x: Tensor,
  kernel: [number, number],
  stride: [number, number],
  dilation: [number, number],
): Tensor {
  const [batch, channels, height, width] = x.shape
  const outH = outSize(height, kernel[0], stride[0], dilation[0])
  const outW = outSize(width, kernel[1], stride[1], dilation[1])
  const along = (n: number, step: number, shape: number[]) =>
    reshape(mul(iota(n, { dtype: 'i32' }), step), shape)
  const row = add(
    along(kernel[0], dilation[0], [kernel[0], 1, 1, 1]),
    along(outH, stride[0], [1, 1, outH, 1]),
  )
  const column = add(
    along(kernel[1], dilation[1], [1, kernel[1], 1, 1]),
    along(outW, stride[1], [1, 1, 1, outW]),
  )
  const index = reshape(add(mul(row, width), column), [kernel[0] * kernel[1], outH, outW])
  return take(reshape(x, [batch, channels, height * width]), index, { axis: 2 }) // [batch, channel, tap, outH, outW]
}

const convOf = composite('conv2d', {
  infer: ([x, w, b], attrs) => {
    const { stride, padding, dilation, groups } = attrs as {
      stride: number[]
      padding: number[]
      dilation: number[]
      groups: number
    }
    if (x.shape.length !== 4 || w.shape.length !== 4)
      throw new ShapeError(
        'x is [batch, channels, height, width], weight [channelsOut, channelsIn/groups, kernelH, kernelW]',
      )
    if (x.shape[1] !== w.shape[1] * groups || w.shape[0] % groups !== 0)
      throw new ShapeError(
        `${x.shape[1]} channels in ${groups} groups do not fit the weight ${showShape(w.shape)}`,
      )
    if (b && (b.shape.length !== 1 || b.shape[0] !== w.shape[0]))
      throw new ShapeError(`the bias is ${showShape(b.shape)}, expected [${w.shape[0]}]`)
    return {
      shape: [
        x.shape[0],
        w.shape[0],
        outSize(x.shape[2] + 2 * padding[0], w.shape[2], stride[0], dilation[0]),
        outSize(x.shape[3] + 2 * padding[1], w.shape[3], stride[1], dilation[1]),
      ],
      dtype: 'f32',
    }
  },
  body: ([x, w, b], attrs) => {
    const { stride, padding, dilation, groups } = attrs as {
      stride: [number, number]
      padding: [number, number]
      dilation: [number, number]
      groups: number
    }
    const [out, inPerGroup, kernelH, kernelW] = w.shape
    const padded = pad(x, [
      [0, 0],
      [0, 0],
      [padding[0], padding[0]],
      [padding[1], padding[1]],
    ])
    // windows of one element at every position are the image as it lies
    const isPointwise = [kernelH, kernelW, ...stride].every((n) => n === 1)
    const taps = isPointwise
      ? reshape(padded, [...padded.shape.slice(0, 2), 1, ...padded.shape.slice(2)])
      : windows(padded, [kernelH, kernelW], stride, dilation)
    const [batch, , , outH, outW] = taps.shape
    const columns = reshape(taps, [batch, groups, inPerGroup * kernelH * kernelW, outH * outW])
    const rows = reshape(w, [1, groups, out / groups, inPerGroup * kernelH * kernelW])
    const y = reshape(matmul(rows, columns), [batch, out, outH, outW])
    return [b ? add(y, reshape(b, [1, out, 1, 1])) : y]
  },
})
/** x [batch, channelsIn, height, width], weight [channelsOut, channelsIn/groups, kernelH, kernelW]. */
export function conv2d(x: Tensor, weight: Tensor, bias?: Tensor | null, options: ConvOptions = {}): Tensor {
  const attrs = {
    stride: pair(options.stride ?? 1),
    padding: pair(options.padding ?? 0),
    dilation: pair(options.dilation ?? 1),
    groups: options.groups ?? 1,
  }
  return convOf(bias ? [x, weight, bias] : [x, weight], attrs)[0]
}
/** x [batch, channelsIn, length], weight [channelsOut, channelsIn/groups, kernel]. */
export function conv1d(
  x: Tensor,
  weight: Tensor,
  bias?: Tensor | null,
  options: { stride?: number; padding?: number; dilation?: number; groups?: number } = {},
): Tensor {
  if (x.rank !== 3 || weight.rank !== 3)
    throw new ShapeError(
      `conv1d(${showShape(x.shape)}, ${showShape(weight.shape)}): x is [batch, channels, length], weight [channelsOut, channelsIn/groups, kernel]`,
    )
  const lift2 = (t: Tensor) => reshape(t, [t.shape[0], t.shape[1], 1, t.shape[2]])
  const y = conv2d(lift2(x), lift2(weight), bias, {
    stride: [1, options.stride ?? 1],
    padding: [0, options.padding ?? 0],
    dilation: [1, options.dilation ?? 1],
    groups: options.groups,
  })
  return reshape(y, [y.shape[0], y.shape[1], y.shape[3]])
}

export interface PoolOptions {
  kernel: Pair
  /** Default: the kernel. */
  stride?: Pair
  padding?: Pair
}
/** Largest of each window; padding counts as −∞. x [batch, channels, height, width]. */
export function maxPool2d(x: Tensor, options: PoolOptions): Tensor {
  const p = pair(options.padding ?? 0)
  const padded = pad(
    x,
    [
      [0, 0],
      [0, 0],
      [p[0], p[0]],
      [p[1], p[1]],
    ],
    Number.NEGATIVE_INFINITY,
  )
  return max(windows(padded, pair(options.kernel), pair(options.stride ?? options.kernel), [1, 1]), {
    axes: 2,
  })
}
/** Mean of each window; `countPad`: the divisor counts padding (as PyTorch's default). */
export function avgPool2d(x: Tensor, options: PoolOptions & { countPad?: boolean }): Tensor {
  const p = pair(options.padding ?? 0)
  const kernel = pair(options.kernel)
  const stride = pair(options.stride ?? options.kernel)
  const pads = [
    [0, 0],
    [0, 0],
    [p[0], p[0]],
    [p[1], p[1]],
  ] as const
  const total = sum(windows(pad(x, pads), kernel, stride, [1, 1]), { axes: 2 })
  if (options.countPad ?? true) return div(total, kernel[0] * kernel[1])
  const real = ones([1, 1, x.shape[2], x.shape[3]])
  return div(total, sum(windows(pad(real, pads), kernel, stride, [1, 1]), { axes: 2 }))
}
const line = (t: Tensor): Tensor => {
  if (t.rank !== 3)
    throw new ShapeError(
      `pooling along a line: x is ${showShape(t.shape)}, expected [batch, channels, length]`,
    )
  return reshape(t, [t.shape[0], t.shape[1], 1, t.shape[2]])
}
const flat = (t: Tensor): Tensor => reshape(t, [t.shape[0], t.shape[1], t.shape[3]])
export interface Pool1dOptions {
  kernel: number
  stride?: number
  padding?: number
}
const along = (o: Pool1dOptions): PoolOptions => ({
  kernel: [1, o.kernel],
  stride: [1, o.stride ?? o.kernel],
  padding: [0, o.padding ?? 0],
})
/** Largest of each window along the last axis of x [batch, channels, length]. */
export const maxPool1d = (x: Tensor, options: Pool1dOptions): Tensor =>
  flat(maxPool2d(line(x), along(options)))
/** Mean of each window along the last axis of x [batch, channels, length]. */
export const avgPool1d = (x: Tensor, options: Pool1dOptions & { countPad?: boolean }): Tensor =>
  flat(avgPool2d(line(x), { ...along(options), countPad: options.countPad }))
