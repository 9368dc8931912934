/** Checks of products with quantised weights: random codes in the stored layout, read again here, in plain float64. */
import assert from 'node:assert/strict'
import { fromF16, toF16 } from '@heed/tensor'
import { type QuantizedProduct, quantizedScratch, runQuantized } from '../src/quantized.js'
import type { Check, Desk } from './checks.js'
import { uniform } from './oracle.js'

type Format = QuantizedProduct['format']

interface Weight {
  readonly parts: (ArrayBufferView & ArrayLike<number>)[]
  /** Value of output o at input i. */
  at(o: number, i: number): number
}

/** Random codes; what stands in the padding must not matter. */
function weightOf(format: Format, k: number, n: number): Weight {
  const random = uniform(k * 31 + n)
  const up = (x: number, by: number) => Math.ceil(x / by)
  if (format === 'int8') {
    const steps = up(k, 4)
    const codes = Uint8Array.from({ length: up(n, 16) * steps * 64 }, (_, at) => {
      const i = (Math.floor(at / 64) % Math.max(1, steps)) * 4 + (at & 3)
      return i < k ? 128 + Math.round(127 * random()) : 255
    })
    const scales = Float32Array.from({ length: n }, () => 0.01 + Math.abs(random()))
    const at = (o: number, i: number) =>
      (codes[((o >> 4) * steps + (i >> 2)) * 64 + (o & 15) * 4 + (i & 3)] - 128) * scales[o]
    return { parts: [codes, scales], at }
  }
  if (format === 'q4') {
    const blocks = up(k, 32)
    const codes = Uint8Array.from({ length: up(n, 4) * blocks * 64 }, () => 256 * Math.abs(random()))
    const scales = Uint16Array.from({ length: up(n, 4) * blocks * 4 }, () => toF16(random() / 8))
    // a scale of 0 and one below the normal halves
    if (scales.length > 1) scales.set([0, toF16(-3e-6)])
    const at = (o: number, i: number) => {
      const block = (o >> 2) * blocks + (i >> 5)
      const byte = codes[block * 64 + ((i & 31) >> 3) * 16 + (o & 3) * 4 + (i & 3)]
      return ((i & 4 ? byte >> 4 : byte & 15) - 8) * fromF16(scales[block * 4 + (o & 3)])
    }
    return { parts: [codes, scales], at }
  }
  const halves = Uint16Array.from({ length: up(n, 8) * k * 8 }, () => toF16(random()))
  if (halves.length > 9) halves.set([toF16(65504), toF16(6e-8), toF16(-5e-6), 0x8000])
  const at = (o: number, i: number) => fromF16(halves[((o >> 3) * k + i) * 8 + (o & 7)])
  return { parts: [halves], at }
}

/** One row as the format rounds it: to a power of two over 2^12 a row, over 2^6 a block. */
function rounded(row: number[], format: Format): number[] {
  if (format === 'f16') return row
  const [width, bits] = format === 'int8' ? [row.length, 13] : [32, 7]
  const steps = new Map<number, number>()
  return row.map((v, i) => {
    const start = Math.floor(i / width) * width
    let step = steps.get(start)
    if (step === undefined) {
      const most = Math.max(...row.slice(start, start + width).map(Math.abs), 2 ** -100)
      step = 2 ** -150
      while (step * 2 ** bits <= most) step *= 2
      steps.set(start, step)
    }
    const t = v / step
    const low = Math.floor(t)
    const near = t - low < 0.5 || (t - low === 0.5 && low % 2 === 0) ? low : low + 1
    return Math.max(1 - 2 ** bits, Math.min(2 ** bits - 1, near)) * step
  })
}

function put(desk: Desk, x: ArrayBufferView): number {
  return desk.putBytes(new Uint8Array(x.buffer, x.byteOffset, x.byteLength))
}

interface Ends {
  bias?: boolean
  residual?: boolean
  relu?: boolean
  /** Factor of the activations. */
  size?: number
}

function quantizedCheck(format: Format, [m, k, n]: [number, number, number], ends: Ends = {}): Check {
  const { size = 1 } = ends
  return {
    name: `${format} ${m}×${k}×${n}${Object.keys(ends).join(', ') && ` ${JSON.stringify(ends)}`}`,
    run(desk) {
      const { kernels } = desk
      const random = uniform(m + 3 * k + 7 * n)
      const w = weightOf(format, k, n)
      const x = Float32Array.from({ length: m * k }, () => size * random())
      // ties, and the largest activation on a power of two
      if (x.length > 4) x.set([size, size * 2 ** -13 * 3, size * 2 ** -8 * 3, -size])
      const bias = Float32Array.from({ length: n }, random)
      const residual = Float32Array.from({ length: m * n }, random)
      const y = desk.take(m * n)
      const product = { format, m, k, n, x: desk.put(x), y, parts: w.parts.map((p) => put(desk, p)) }
      runQuantized(
        kernels,
        {
          ...product,
          bias: ends.bias ? desk.put(bias) : 0,
          residual: ends.residual ? desk.put(residual) : 0,
          form: ends.relu ? 5 : 0,
        },
        desk.bytes(quantizedScratch(kernels, product)),
      )
      const got = desk.get(y, m * n)
      for (let r = 0; r < m; r++) {
        const row = rounded(Array.from(x.subarray(r * k, (r + 1) * k)), format)
        for (let o = 0; o < n; o++) {
          let want = 0
          let weight = 0
          for (let i = 0; i < k; i++) {
            const term = row[i] * w.at(o, i)
            want += term
            weight += Math.abs(term)
          }
          if (ends.bias) want += bias[o]
          if (ends.relu) want = Math.max(0, want)
          if (ends.residual) want += residual[r * n + o]
          // sums of int8 are exact: one conversion and one product are rounded, and one sum per 2048 inputs; q4 rounds
          // once per 32 inputs, f16 at every one
          const allowed =
            format === 'int8'
              ? 4e-7 * Math.abs(want) + 1e-7 * (weight + 2)
              : 6e-8 * (Math.sqrt(k) + 4) * (weight + (ends.bias || ends.residual ? 2 : 0))
          const error = Math.abs(got[r * n + o] - want)
          assert.ok(
            got[r * n + o] === want || error <= allowed,
            `row ${r}, output ${o}: got ${got[r * n + o]}, want ${want}, off by ${error} of ${allowed}`,
          )
        }
      }
    },
  }
}

const FORMATS: Format[] = ['int8', 'q4', 'f16']
const shapes: [number, number, number][] = []
for (const m of [0, 1, 2, 5, 7])
  for (const n of [0, 1, 3, 8, 16, 17, 29]) shapes.push([m, [1, 4, 31, 33, 70][(m + n) % 5], n])
for (const k of [0, 1, 2, 3, 4, 5, 8, 31, 32, 33, 64, 95]) shapes.push([1, k, 19], [6, k, 21])

export const quantizedChecks: Check[] = FORMATS.flatMap((format) => [
  { ...quantizedCheck(format, [4, 1000, 100]), isShared: true },
  { ...quantizedCheck(format, [67, 1000, 20]), isShared: true },
  ...shapes.map((shape) => quantizedCheck(format, shape)),
  // beyond the block of inputs whose products fit 32 bits, and enough work to be shared
  quantizedCheck(format, [1, 2049, 20]),
  quantizedCheck(format, [2, 5000, 37]),
  quantizedCheck(format, [3, 520, 515]),
  quantizedCheck(format, [23, 140, 131]),
  ...[1e-34, 1e-20, 3e20, 1e32].map((size) => quantizedCheck(format, [1, 40, 6], { size })),
  quantizedCheck(format, [1, 33, 21], { bias: true }),
  quantizedCheck(format, [6, 33, 21], { bias: true, relu: true, residual: true }),
  quantizedCheck(format, [3, 0, 9], { bias: true, residual: true }),
  quantizedCheck(format, [3, 640, 515], { bias: true, relu: true, residual: true }),
  {
    name: `${format}: rows that are not finite become NaN, their neighbours do not`,
    run(desk) {
      for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])
        for (const at of [0, 39]) {
          const [m, k, n] = [3, 40, 18]
          const w = weightOf(format, k, n)
          const x = Float32Array.from({ length: m * k }, uniform(4))
          x[k + at] = bad
          const y = desk.take(m * n)
          const product = { format, m, k, n, x: desk.put(x), y, parts: w.parts.map((p) => put(desk, p)) }
          runQuantized(desk.kernels, product, desk.bytes(quantizedScratch(desk.kernels, product)))
          const got = desk.get(y, m * n)
          got.forEach((v, i) => {
            const isBad = i >= n && i < 2 * n
            // halves are not rounded: an infinity stays one
            assert.equal(Number.isFinite(v), !isBad)
            if (isBad && format !== 'f16') assert.ok(Number.isNaN(v))
          })
        }
    },
  },
  {
    name: `${format}: the largest codes and activations do not overflow`,
    run(desk) {
      const [m, k, n] = [1, 4096, 4]
      const codes = {
        int8: new Uint8Array(16 * k).fill(255),
        q4: new Uint8Array(k * 2).fill(0xff),
        f16: new Uint16Array(8 * k).fill(0x7bff),
      }
      const scales = {
        int8: new Float32Array(n).fill(1),
        q4: new Uint16Array(k / 8).fill(0x3c00),
        f16: new Uint16Array(0),
      }
      const each = { int8: 127, q4: 7, f16: 65504 }[format]
      const y = desk.take(n)
      const x = desk.put(new Float32Array(k).fill(1.9999))
      const product = { format, m, k, n, x, y, parts: [put(desk, codes[format]), put(desk, scales[format])] }
      runQuantized(desk.kernels, product, desk.bytes(quantizedScratch(desk.kernels, product)))
      const [a] = rounded([Math.fround(1.9999)], format)
      for (const v of desk.get(y, n))
        assert.ok(Math.abs(v / (k * each * a) - 1) < (format === 'f16' ? 1e-4 : 1e-5), `${v}`)
    },
  },
])
