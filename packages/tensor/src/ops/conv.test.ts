// Convolution and pooling against loops over windows.
import { describe, expect, it } from 'vitest'
import { tensor } from '../create.js'
import type { Tensor } from '../graph.js'
import { realize } from '../realize.js'
import { reference } from '../reference/index.js'
import { avgPool1d, avgPool2d, conv1d, conv2d, maxPool2d } from './conv.js'

const backend = reference({ precision: 'f64' })
const filled = (shape: number[], from: number) => {
  const data = Float64Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) =>
    Math.sin(1.1 * i + from),
  )
  return { data, t: tensor(data, shape) }
}
const read = async (t: Tensor): Promise<number[]> => {
  await realize([t], { backend })
  return Array.from((await t.data()) as Float64Array)
}

interface Windows {
  stride: [number, number]
  padding: [number, number]
  dilation: [number, number]
}
/** Calls `visit` for every output pixel with the input pixels of its window; null is padding. */
function eachWindow(
  size: [number, number],
  kernel: [number, number],
  o: Windows,
  visit: (pixels: (number | null)[]) => void,
): void {
  const out = [0, 1].map(
    (a) => Math.floor((size[a] + 2 * o.padding[a] - o.dilation[a] * (kernel[a] - 1) - 1) / o.stride[a]) + 1,
  )
  for (let y = 0; y < out[0]; y++)
    for (let x = 0; x < out[1]; x++) {
      const pixels: (number | null)[] = []
      for (let ky = 0; ky < kernel[0]; ky++)
        for (let kx = 0; kx < kernel[1]; kx++) {
          const row = y * o.stride[0] + ky * o.dilation[0] - o.padding[0]
          const column = x * o.stride[1] + kx * o.dilation[1] - o.padding[1]
          pixels.push(
            row < 0 || column < 0 || row >= size[0] || column >= size[1] ? null : row * size[1] + column,
          )
        }
      visit(pixels)
    }
}

describe('conv2d', () => {
  it.each([
    { stride: [1, 1], padding: [0, 0], dilation: [1, 1], groups: 1 },
    { stride: [2, 3], padding: [1, 2], dilation: [1, 1], groups: 1 },
    { stride: [1, 2], padding: [2, 0], dilation: [3, 2], groups: 2 },
    { stride: [1, 1], padding: [0, 1], dilation: [1, 4], groups: 4 },
    { stride: [1, 1], padding: [0, 0], dilation: [1, 1], groups: 1, kernel: [1, 1] },
    { stride: [1, 1], padding: [1, 2], dilation: [2, 1], groups: 2, kernel: [1, 1] },
    { stride: [2, 1], padding: [0, 1], dilation: [1, 1], groups: 1, kernel: [1, 1] },
  ] as (Windows & { groups: number; kernel?: [number, number] })[])(
    '%j',
    async ({ kernel = [3, 2], ...o }) => {
      const [batch, channels, height, width, out] = [2, 4, 8, 9, 8]
      const x = filled([batch, channels, height, width], 0)
      const w = filled([out, channels / o.groups, ...kernel], 5)
      const b = filled([out], 9)
      const want: number[] = []
      for (let n = 0; n < batch; n++)
        for (let c = 0; c < out; c++)
          eachWindow([height, width], kernel, o, (pixels) => {
            let sum = b.data[c]
            const inPerGroup = channels / o.groups
            const first = Math.floor(c / (out / o.groups)) * inPerGroup
            for (let i = 0; i < inPerGroup; i++)
              pixels.forEach((p, k) => {
                if (p !== null)
                  sum +=
                    x.data[(n * channels + first + i) * height * width + p] *
                    w.data[(c * inPerGroup + i) * kernel[0] * kernel[1] + k]
              })
            want.push(sum)
          })
      const got = await read(conv2d(x.t, w.t, b.t, o))
      expect(got).toHaveLength(want.length)
      got.forEach((v, i) => expect(v).toBeCloseTo(want[i], 12))
    },
  )
  it('of a line is conv1d', async () => {
    const x = filled([2, 2, 9], 0)
    const w = filled([3, 2, 3], 4)
    const lines = await read(conv1d(x.t, w.t, null, { stride: 2, padding: 1, dilation: 2 }))
    const want: number[] = []
    for (let n = 0; n < 2; n++)
      for (let c = 0; c < 3; c++)
        for (let at = 0; at < 4; at++) {
          let sum = 0
          for (let i = 0; i < 2; i++)
            for (let k = 0; k < 3; k++) {
              const p = at * 2 + k * 2 - 1
              if (p >= 0 && p < 9) sum += x.data[(n * 2 + i) * 9 + p] * w.data[(c * 2 + i) * 3 + k]
            }
          want.push(sum)
        }
    expect(lines).toHaveLength(want.length)
    lines.forEach((v, i) => expect(v).toBeCloseTo(want[i], 12))
  })
})

describe('pooling', () => {
  const x = filled([1, 2, 6, 7], 2)
  const o: Windows = { stride: [2, 1], padding: [1, 0], dilation: [1, 1] }
  const kernel: [number, number] = [3, 2]
  const by = (reduce: (values: number[], padded: number) => number): number[] => {
    const want: number[] = []
    for (let c = 0; c < 2; c++)
      eachWindow([6, 7], kernel, o, (pixels) => {
        const values = pixels.filter((p) => p !== null).map((p) => x.data[c * 42 + p])
        want.push(reduce(values, pixels.length))
      })
    return want
  }
  const mean = (v: number[], n: number): number => v.reduce((a, b) => a + b, 0) / n
  it('takes the largest, or the mean with and without padding', async () => {
    const options = { kernel, stride: o.stride, padding: o.padding }
    expect(await read(maxPool2d(x.t, options))).toEqual(by((v) => Math.max(...v)))
    const near = (got: number[], want: number[]): void =>
      got.forEach((v, i) => expect(v).toBeCloseTo(want[i], 12))
    near(
      await read(avgPool2d(x.t, options)),
      by((v, n) => mean(v, n)),
    )
    near(
      await read(avgPool2d(x.t, { ...options, countPad: false })),
      by((v) => mean(v, v.length)),
    )
  })
  it('steps by its kernel unless told otherwise', () => {
    expect(avgPool1d(tensor(new Float32Array(12), [1, 1, 12]), { kernel: 4 }).shape).toEqual([1, 1, 3])
    expect(maxPool2d(x.t, { kernel: 2 }).shape).toEqual([1, 2, 3, 3])
  })
})
