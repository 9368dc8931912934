import fc from 'fast-check'
import { expect, it } from 'vitest'
import { OutOfMemoryError } from './errors.js'
import { sizeClass, WasmMemory } from './memory.js'

it('hands out aligned pointers that never overlap, and takes them back', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.integer({ min: 0, max: 200_000 }), fc.boolean()), { maxLength: 80 }),
      (steps) => {
        const memory = new WasmMemory()
        memory.reserve(1000)
        const held: [number, number][] = []
        for (const [bytes, drop] of steps) {
          if (drop && held.length) memory.free(held.splice(bytes % held.length, 1)[0][0])
          const at = memory.alloc(bytes)
          expect(at % 64).toBe(0)
          expect(at).toBeGreaterThanOrEqual(1000)
          expect(at + bytes).toBeLessThanOrEqual(memory.memory.buffer.byteLength)
          for (const [other, size] of held) expect(at + bytes <= other || other + size <= at).toBe(true)
          held.push([at, Math.max(1, bytes)])
        }
        for (const [at] of held) memory.free(at)
        expect(memory.stats.used).toBe(0)
      },
    ),
  )
})

it('takes what the engine reserves, unless it was told how much', () => {
  const { Memory } = WebAssembly
  WebAssembly.Memory = class extends Memory {
    constructor(descriptor: WebAssembly.MemoryDescriptor) {
      if ((descriptor.maximum ?? 0) > 16384) throw new RangeError('Out of memory')
      super(descriptor)
    }
  }
  try {
    expect(new WasmMemory(undefined, true).limit).toBe(2 ** 30)
    expect(() => new WasmMemory(2 ** 31, true)).toThrow(/memory of up to 2147483648 bytes; pass a smaller/)
  } finally {
    WebAssembly.Memory = Memory
  }
})

it('reuses freed bytes instead of growing', () => {
  const memory = new WasmMemory()
  for (let i = 0; i < 1000; i++) memory.free(memory.alloc(100_000 + (i % 7) * 9000))
  expect(memory.stats.committed).toBeLessThan(2_000_000)
})

it('merges small neighbours into a large block before it grows', () => {
  const memory = new WasmMemory(4 * 65536)
  const small = Array.from({ length: 15 }, () => memory.alloc(16_000))
  for (const at of small) memory.free(at)
  expect(memory.alloc(200_000)).toBe(small[0])
})

it('makes new views after the memory has grown', () => {
  const memory = new WasmMemory()
  const at = memory.alloc(64)
  const before = memory.f32()
  before[at / 4] = 7
  memory.alloc(10_000_000)
  expect(before.length).toBe(0)
  expect(memory.f32()[at / 4]).toBe(7)
  expect(memory.f32()).toBe(memory.f32())
})

it('says how much was asked for when it runs out, and goes on', () => {
  const memory = new WasmMemory(1 << 20)
  const at = memory.alloc(500_000)
  let error: unknown
  try {
    memory.alloc(700_001)
  } catch (e) {
    error = e
  }
  expect(error).toBeInstanceOf(OutOfMemoryError)
  expect(error).toMatchObject({ requested: 700_001, limit: 1 << 20, name: 'OutOfMemoryError' })
  expect((error as Error).message).toContain('700001 bytes')
  memory.free(at)
  expect(memory.alloc(700_001)).toBeGreaterThan(0)
})

it('refuses what makes no sense', () => {
  const memory = new WasmMemory()
  const at = memory.alloc(1)
  memory.free(at)
  expect(() => memory.free(at)).toThrow(/freed twice/)
  expect(() => memory.alloc(-1)).toThrow(/cannot allocate -1/)
  expect(() => memory.alloc(Number.NaN)).toThrow(/cannot allocate NaN/)
  expect(() => new WasmMemory(2 ** 33)).toThrow(/maxBytes/)
})

it('wastes at most an eighth', () => {
  fc.assert(
    fc.property(fc.integer({ min: 513, max: 2 ** 32 }), (bytes) => {
      expect(sizeClass(bytes)).toBeGreaterThanOrEqual(bytes)
      expect(sizeClass(bytes)).toBeLessThanOrEqual(bytes * 1.126)
      expect(sizeClass(bytes) % 64).toBe(0)
    }),
  )
})
