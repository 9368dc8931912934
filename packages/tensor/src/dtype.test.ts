import { describe, expect, it } from 'vitest'
import { bf16ToF32, tensor } from './create.js'
import { bytesOf, dtypes, fromBF16, fromF16, isCompute, makeArray, toBF16, toF16 } from './dtype.js'
import { cast } from './ops/elementwise.js'
import { full } from './ops/shape.js'
import { realize } from './realize.js'
import { reference } from './reference/index.js'

describe('half precision', () => {
  it('survives the round trip, every pattern', () => {
    for (let bits = 0; bits < 0x10000; bits++) {
      const v = fromF16(bits)
      if (Number.isNaN(v)) expect(toF16(v) & 0x7c00).toBe(0x7c00)
      else if (toF16(v) !== bits) expect.fail(`${bits} → ${v} → ${toF16(v)}`)
    }
  })
  it('rounds half way to even, and beyond the largest to infinity', () => {
    for (let bits = 0; bits < 0x7bff; bits += 7) {
      const [low, high] = [fromF16(bits), fromF16(bits + 1)]
      const middle = (low + high) / 2
      const even = bits % 2 === 0 ? bits : bits + 1
      if (toF16(middle) !== even) expect.fail(`${middle} → ${toF16(middle)}, expected ${even}`)
      if (toF16(-middle) !== (even | 0x8000)) expect.fail(`−${middle}`)
      const above = Math.fround(middle * (1 + 2 ** -20))
      if (above > middle && toF16(above) !== bits + 1) expect.fail(`${above}`)
    }
    expect([65504, 65519, 65520, Infinity, -1e9].map(toF16)).toEqual([0x7bff, 0x7bff, 0x7c00, 0x7c00, 0xfc00])
    expect([2 ** -25, 2 ** -25 * 1.01, 1e-30, -0].map(toF16)).toEqual([0, 1, 0, 0x8000])
  })
})

describe('bfloat16', () => {
  it('survives the round trip, every pattern', () => {
    for (let bits = 0; bits < 0x10000; bits++) {
      const v = fromBF16(bits)
      if (Number.isNaN(v)) expect(Number.isNaN(fromBF16(toBF16(v)))).toBe(true)
      else if (toBF16(v) !== bits) expect.fail(`${bits} → ${v} → ${toBF16(v)}`)
    }
    expect(Array.from(bf16ToF32(Uint16Array.of(0x3f80, 0xc040)))).toEqual([1, -3])
  })
  it('rounds half way to even', () => {
    // 1 + 2⁻⁸ is half way between 1 and the next; 1 + 3·2⁻⁸ half way to an even one above
    expect([1 + 2 ** -8, 1 + 3 * 2 ** -8, 1 + 2 ** -8 + 2 ** -20].map((v) => fromBF16(toBF16(v)))).toEqual([
      1,
      1 + 2 ** -6,
      1 + 2 ** -7,
    ])
    expect(fromBF16(toBF16(3.4e38))).toBe(Infinity)
  })
})

describe('dtypes', () => {
  it('have a size and an array; three compute', () => {
    expect(dtypes.map((d) => bytesOf(d))).toEqual(dtypes.map((d) => makeArray(d, 1).BYTES_PER_ELEMENT))
    expect(dtypes.filter(isCompute)).toEqual(['f32', 'i32', 'bool'])
    expect(bytesOf('f32', 'f64')).toBe(8)
    expect(makeArray('f32', 2, 'f64')).toBeInstanceOf(Float64Array)
  })
  it('are cast both ways on the backend', async () => {
    const backend = reference()
    const x = tensor([1.5, -2.7, 0, 300, -1e10])
    const to = {
      i32: [1, -2, 0, 300],
      bool: [1, 1, 0, 1],
      i8: [1, -2, 0, 44],
      f16: [0x3e00, 0xc166, 0, 0x5cb0],
      u8: [1, 254, 0, 44],
    } as const
    for (const [dtype, want] of Object.entries(to)) {
      const y = cast(x, dtype as keyof typeof to)
      await realize([y], { backend })
      expect(Array.from((await y.data()) as Int32Array).slice(0, 4), dtype).toEqual(want)
    }
    const wide = tensor(BigInt64Array.of(5n, -(2n ** 40n)), [2])
    const back = cast(wide, 'f32')
    const there = cast(tensor([3, -4]), 'i64')
    await realize([back, there], { backend })
    expect(Array.from((await back.data()) as Float32Array)).toEqual([5, -(2 ** 40)])
    expect(Array.from((await there.data()) as BigInt64Array)).toEqual([3n, -4n])
    expect(cast(x, 'f32')).toBe(x)
  })
})

describe('tensor', () => {
  it('takes numbers, booleans, nested and typed arrays', async () => {
    expect(tensor(3)).toMatchObject({ shape: [], dtype: 'f32' })
    expect(tensor([true])).toMatchObject({ shape: [1], dtype: 'bool' })
    expect(tensor([])).toMatchObject({ shape: [0], dtype: 'f32' })
    expect(tensor([[], []])).toMatchObject({ shape: [2, 0] })
    expect(tensor([1, 2, 3, 4], [2, 2])).toMatchObject({ shape: [2, 2] })
    expect(tensor(Int32Array.of(1, 2))).toMatchObject({ shape: [2], dtype: 'i32' })
    expect(tensor(Uint8Array.of(1, 2), { dtype: 'bool' })).toMatchObject({ dtype: 'bool' })
    expect(tensor(Float32Array.of(7.9), { dtype: 'i32' }).value?.host).toEqual(Int32Array.of(7))
    expect(await tensor([7.9, -1.5], { dtype: 'i32' }).array()).toEqual([7, -1])
  })
  it('keeps doubles for a float64 backend and rounds nothing that float32 holds', () => {
    expect(tensor([0.1]).value?.host).toBeInstanceOf(Float64Array)
    expect(tensor([0.5]).value?.host).toBeInstanceOf(Float32Array)
  })
  it('of one value is made in every dtype', async () => {
    const backend = reference()
    for (const dtype of dtypes) {
      const x = full([2], 1.5, dtype === 'f32' || dtype === 'f16' || dtype === 'bf16' ? dtype : 'f32')
      const n = full([2], 1, dtype)
      const back = [cast(x, 'f32'), cast(n, 'f32')]
      await realize([...back, n], { backend })
      expect(await back[0].array(), dtype).toEqual([1.5, 1.5])
      expect(await back[1].array(), dtype).toEqual([1, 1])
    }
  })
  it('refuses bits given as numbers', () => {
    expect(() => tensor([1], { dtype: 'f16' })).toThrow(
      'tensor: f16 data is given as the bits in a Uint16Array; make an f32 tensor and cast it',
    )
  })
})
