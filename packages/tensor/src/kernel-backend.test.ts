import { describe, expect, it } from 'vitest'
import type { Backend, Graph } from './backend.js'
import { tensor } from './create.js'
import { arrayOn, type DType } from './dtype.js'
import { BackendError } from './errors.js'
import type { Tensor } from './graph.js'
import { type Kernel, kernelBackend, type Memory, type Region, reshapeStrides } from './kernel-backend.js'
import { silu } from './ops/activation.js'
import { detach } from './ops/define.js'
import { add, exp, mul, neg, sub } from './ops/elementwise.js'
import { embedding, update } from './ops/indexing.js'
import { matmul } from './ops/matmul.js'
import { sum } from './ops/reduce.js'
import { scan } from './ops/scan.js'
import { concat, full, reshape, slice, transpose } from './ops/shape.js'
import { realize, release } from './realize.js'
import { referenceKernels } from './reference/index.js'
import { hostMemory } from './reference/memory.js'
import { isContiguous, sizeOf, stridesOf } from './shape.js'

interface At extends Region {
  readonly at: number
}
/** One memory that moves at every allocation and leaves the old one detached, as a WASM memory may. */
function movingMemory(): Memory & { moves: number } {
  let buffer = new ArrayBuffer(0)
  let used = 0
  const memory = {
    moves: 0,
    get generation() {
      return memory.moves
    },
    bytesInUse: 0,
    alloc(bytes: number): At {
      const region = { bytes, at: used }
      used += Math.ceil(bytes / 64) * 64
      memory.bytesInUse += bytes
      const grown = new ArrayBuffer(used)
      new Uint8Array(grown).set(new Uint8Array(buffer))
      // transferring detaches: whoever holds an old view reads nothing and writes nowhere
      structuredClone(buffer, { transfer: [buffer] })
      buffer = grown
      memory.moves++
      return region
    },
    free(region: Region) {
      memory.bytesInUse -= region.bytes
    },
    view: (region: Region, byteOffset: number, length: number, dtype: DType) =>
      arrayOn(buffer, (region as At).at + byteOffset, length, dtype),
    dispose() {},
  }
  return memory
}
const values = async (t: Tensor): Promise<number[]> => Array.from((await t.data()) as Float32Array)
const on = (memory: Memory) => kernelBackend({ name: 'test', kernels: referenceKernels, memory })

describe('memory that moves', () => {
  it('does not lose numbers, arenas and outputs', async () => {
    const backend = on(movingMemory())
    for (let i = 1; i <= 4; i++) {
      const x = tensor([1, 2, 3])
      const y = add(mul(exp(x), 0), full([3], i))
      const z = sum(mul(add(x, 0.5), i))
      await realize([y, z], { backend })
      expect(await values(y)).toEqual([i, i, i])
      expect(await z.item()).toBe(7.5 * i)
    }
  })
  it('does not lose the numbers of a loop body', async () => {
    const backend = on(movingMemory())
    const { carry, ys } = scan(([c], [x]) => ({ carry: [add(mul(c, 2), x)], ys: [mul(c, 10)] }), {
      init: [tensor([1])],
      xs: [tensor([[1], [2], [3]])],
    })
    await realize([...carry, ...ys], { backend })
    expect(await values(carry[0])).toEqual([8 + 4 + 4 + 3])
    expect(await values(ys[0])).toEqual([10, 30, 80])
  })
})

describe('the arena', () => {
  it('is reused by values that do not live together', async () => {
    const backend = on(movingMemory())
    let y = tensor(new Float32Array(1024), { shape: [1024] })
    for (let i = 0; i < 20; i++) y = exp(mul(y, 0.5))
    const report = await realize([y], { backend })
    // never more than two of the 39 intermediates at a time
    expect(report.arenaBytes).toBeLessThanOrEqual(2 * 4096)
    expect(report.steps).toBe(40)
  })
  it('keeps what is still needed', async () => {
    const backend = on(movingMemory())
    const x = tensor(
      Float32Array.from({ length: 64 }, (_, i) => i / 64),
      { shape: [64] },
    )
    const early = exp(x)
    let y = early
    for (let i = 0; i < 10; i++) y = neg(mul(y, 1.5))
    const got = add(y, early)
    await realize([got], { backend })
    const want = (await values(x)).map((v) => Math.exp(v) * (1 + 1.5 ** 10))
    const found = await values(got)
    found.forEach((v, i) => expect(Math.abs(Number(v) - want[i])).toBeLessThan(1e-4))
  })
})

/** A memory that remembers what was asked for, and refuses what is larger than `limit`. */
function countedMemory() {
  const inner = hostMemory('f32')
  const memory = {
    generation: 0,
    asked: [] as number[],
    limit: Number.POSITIVE_INFINITY,
    get bytesInUse() {
      return inner.bytesInUse
    },
    alloc(bytes: number) {
      if (bytes > memory.limit) throw new BackendError(`no ${bytes} bytes`)
      memory.asked.push(bytes)
      return inner.alloc(bytes)
    },
    free: inner.free,
    view: inner.view,
    dispose: inner.dispose,
  }
  return memory
}

describe('donated inputs', () => {
  const cacheOf = async (backend: Backend): Promise<Tensor> => {
    const cache = full([4, 1000], 0)
    cache.name = 'cache'
    await realize([cache], { backend })
    return cache
  }
  const at = (i: number): Tensor => tensor(i, { dtype: 'i32' })
  const patched = (cache: Tensor, value: number, row: Tensor): Tensor =>
    update(detach(cache), full([1, 1000], value), row, { axis: 0 })

  it('are written over where they are: nothing of their size is asked for', async () => {
    const memory = countedMemory()
    const backend = on(memory)
    let cache = await cacheOf(backend)
    for (let i = 0; i < 4; i++) {
      const next = patched(cache, i + 1, at(i))
      memory.asked.length = 0
      await realize([next], { backend, donate: [cache] })
      expect(Math.max(0, ...memory.asked)).toBeLessThanOrEqual(4096)
      await expect(cache.data()).rejects.toThrow('was donated to update')
      cache = next
    }
    expect((await values(cache)).filter((_, i) => i % 1000 === 7)).toEqual([1, 2, 3, 4])
    // every element of a state too
    const doubled = mul(detach(cache), 2)
    memory.asked.length = 0
    await realize([doubled], { backend, donate: [cache] })
    expect(Math.max(0, ...memory.asked)).toBeLessThanOrEqual(64)
    expect((await values(doubled)).filter((_, i) => i % 1000 === 7)).toEqual([2, 4, 6, 8])
  })
  it('are left alone while another tensor holds them', async () => {
    const backend = on(countedMemory())
    const x = tensor([1, 2, 3])
    // equal graphs are computed once and share what comes out
    const [one, two] = [mul(x, 2), mul(x, 2)]
    await realize([one, two], { backend })
    const y = mul(detach(one), 10)
    await realize([y], { backend, donate: [one] })
    expect(await values(two)).toEqual([2, 4, 6])
    // two leaves of one graph show one array
    const square = mul(
      tensor([
        [1, 2],
        [3, 4],
      ]),
      1,
    )
    await realize([square], { backend })
    const z = sub(detach(square), transpose(detach(square)))
    await realize([z], { backend, donate: [square] })
    expect(await values(z)).toEqual([0, -1, 1, 0])
  })
  it('survive a run that cannot begin', async () => {
    const memory = countedMemory()
    const backend = on(memory)
    const cache = await cacheOf(backend)
    const before = memory.bytesInUse
    memory.limit = 30000
    const big = full([10000], 1)
    const next = patched(cache, 1, at(0))
    await expect(realize([next, big], { backend, donate: [cache] })).rejects.toThrow('no 40000 bytes')
    expect(await values(cache)).toEqual(new Array(4000).fill(0))
    memory.limit = Number.POSITIVE_INFINITY
    await realize([next, big], { backend, donate: [cache] })
    expect((await values(next))[0]).toBe(1)
    // the same plan, after it ran once
    memory.limit = 30000
    const again = [patched(next, 2, at(1)), full([10000], 1)]
    await expect(realize(again, { backend, donate: [next] })).rejects.toThrow('no 40000 bytes')
    expect((await values(next))[1000]).toBe(0)
    release(big)
    // the offset, an arena and the patch's number beside it
    expect(memory.bytesInUse - before).toBeLessThan(8192)
  })
  it('survive a run that fails before it reaches them, and are lost, by name, in one that fails later', async () => {
    const backend = on(countedMemory())
    const cache = await cacheOf(backend)
    const other = mul(tensor([1, 2, 3]), 1)
    other.name = 'other'
    await realize([other], { backend })
    const table = tensor([[1], [2]])
    const beyond = add(at(1), at(1))
    // an index that only the run computes; what reads its result comes after it
    const fails = embedding(table, beyond)
    const early = update(detach(cache), mul(full([1, 1000], 1), reshape(fails, [1, 1])), at(0), { axis: 0 })
    await expect(realize([early], { backend, donate: [cache] })).rejects.toThrow('index 2 is outside 0..1')
    expect(await values(cache)).toEqual(new Array(4000).fill(0))

    const late = [patched(cache, 1, at(0)), embedding(table, beyond), add(detach(other), 1)]
    const inUse = backend.bytesInUse
    await expect(realize(late, { backend, donate: [cache, other] })).rejects.toThrow(
      /index 2 is outside 0\.\.1; the run had already written over donated tensors, which are lost: cache$/,
    )
    // the cache is gone; what was uploaded for the run stays
    expect(backend.bytesInUse).toBeLessThan(inUse - 15000)
    await expect(cache.data()).rejects.toThrow(
      'tensor cache was donated to a run that failed and has no data any more',
    )
    expect(await values(other)).toEqual([1, 2, 3])
  })
})

describe('views', () => {
  it('count a copy only where a kernel takes no strides', async () => {
    const contiguousOnly = { ...referenceKernels, neg: { ...referenceKernels.neg, strided: false } }
    const backend = kernelBackend({ name: 'test', kernels: contiguousOnly, memory: movingMemory() })
    const x = tensor([
      [1, 2, 3],
      [4, 5, 6],
    ])
    const turned = neg(transpose(x))
    expect((await realize([turned], { backend })).copies).toBe(1)
    expect(await values(turned)).toEqual([-1, -4, -2, -5, -3, -6])
    expect((await realize([exp(transpose(x))], { backend })).copies).toBe(0)
  })
  it('copy one view of one value once', async () => {
    const contiguousOnly = {
      ...referenceKernels,
      neg: { ...referenceKernels.neg, strided: false },
      exp: { ...referenceKernels.exp, strided: false },
    }
    const backend = kernelBackend({ name: 'test', kernels: contiguousOnly, memory: movingMemory() })
    const x = add(
      tensor([
        [1, 2, 3],
        [4, 5, 6],
      ]),
      0.25,
    )
    const z = add(neg(transpose(x)), exp(transpose(x)))
    expect((await realize([z], { backend })).copies).toBe(1)
    // two values with the same strides are two copies
    const w = add(
      tensor([
        [1, 2, 3],
        [4, 5, 6],
      ]),
      0.5,
    )
    const both = add(neg(transpose(x)), exp(transpose(w)))
    const report = await realize([both], { backend })
    expect(report.copies).toBe(2)
    expect((await values(both))[0]).toBeCloseTo(-1.25 + Math.exp(1.5), 5)
  })
  it('are laid out for who reads them, where a kernel writes any strides', async () => {
    const kernels = {
      ...referenceKernels,
      exp: { ...referenceKernels.exp, anyLayout: [0], inPlace: [] },
      neg: { ...referenceKernels.neg, strided: false },
    }
    const backend = kernelBackend({ name: 'test', kernels, memory: movingMemory() })
    const x = tensor(
      Float32Array.from({ length: 24 }, (_, i) => i / 8),
      [2, 3, 4],
    )
    // heads [head, position, d] → [position, head · d]
    const merged = (y: Tensor): Tensor => reshape(transpose(y, [1, 0, 2]), [3, 8])
    const want = Array.from({ length: 24 }, (_, i) => {
      const [position, head, d] = [Math.floor(i / 8), Math.floor(i / 4) % 2, i % 4]
      return Math.fround(Math.exp((head * 12 + position * 4 + d) / 8))
    })
    const straight = exp(x)
    const cases: [Tensor[], copies: number][] = [
      [[merged(exp(x))], 0],
      // somebody else takes strides, too
      [[merged(straight), add(straight, 0)], 0],
      // one that does not, and a result that is handed over as it is
      [[merged(straight), neg(straight)], 1],
      [[merged(straight), straight], 1],
    ]
    for (const [outputs, copies] of cases) {
      expect((await realize(outputs, { backend })).copies).toBe(copies)
      expect(await values(outputs[0])).toEqual(want)
      if (outputs.length > 1)
        expect((await values(outputs[1])).map(Math.abs)).toEqual(
          Array.from({ length: 24 }, (_, i) => Math.fround(Math.exp(i / 8))),
        )
    }
  })
  it('slice, turn and reshape a slice', async () => {
    const backend = on(movingMemory())
    const x = tensor(
      Float32Array.from({ length: 24 }, (_, i) => i),
      { shape: [2, 3, 4] },
    )
    const y = reshape(transpose(slice(x, [null, [null, null, -2], [1, 3]]), [2, 0, 1]), [4, 2])
    await realize([y], { backend })
    // rows 2 and 0 of each matrix, columns 1 and 2, columns first
    expect(await values(y)).toEqual([9, 1, 21, 13, 10, 2, 22, 14])
  })
})

describe('reshapeStrides', () => {
  it('reads the same elements wherever it answers', () => {
    const shapes = [[2, 3, 4], [6, 4], [2, 12], [24], [1, 2, 3, 1, 4], [4, 3, 2], [2, 2, 2, 3]]
    const perms = [
      [0, 1, 2],
      [2, 1, 0],
      [1, 0, 2],
      [0, 2, 1],
    ]
    const order = (shape: readonly number[], strides: readonly number[]): number[] => {
      const own = stridesOf(shape)
      return Array.from({ length: sizeOf(shape) }, (_, flat) =>
        shape.reduce((at, d, i) => at + (Math.floor(flat / own[i]) % d) * strides[i], 0),
      )
    }
    let answered = 0
    for (const perm of perms) {
      const base = [2, 3, 4]
      const strides = stridesOf(base)
      const shape = perm.map((p) => base[p])
      const turned = perm.map((p) => strides[p])
      for (const to of shapes) {
        const s = reshapeStrides(shape, turned, to)
        if (!s) continue
        answered++
        expect(order(to, s), `${shape} by ${turned} as ${to}`).toEqual(order(shape, turned))
      }
    }
    expect(answered).toBe(9)
  })
  it('splits an axis of a transposed matrix, and refuses to merge across', () => {
    expect(reshapeStrides([3, 4], [1, 3], [3, 2, 2])).toEqual([1, 6, 3])
    expect(reshapeStrides([3, 4], [1, 3], [12])).toBeNull()
    expect(isContiguous([3, 1, 4], [4, 99, 1])).toBe(true)
  })
})

describe('reports', () => {
  it('names what ran and counts it', async () => {
    const backend = on(movingMemory())
    const a = tensor(new Float32Array(6).fill(1), { shape: [2, 3] })
    const report = await realize([matmul(a, transpose(a)), concat([a, a])], { backend })
    expect(report.ran).toEqual([
      { op: 'matmul', how: 'reference', count: 1 },
      { op: 'concat', how: 'reference', count: 1 },
    ])
    expect(report.segments).toBe(1)
    expect(report.outputBytes).toBe(4 * 4 + 12 * 4)
  })
  it('call a primitive native and a composite fused where the table does not say', async () => {
    const kernels = {
      ...referenceKernels,
      exp: { run: referenceKernels.exp.run },
      // the numbers do not matter here
      silu: { run: referenceKernels.exp.run },
    }
    const backend = kernelBackend({ name: 'test', kernels, memory: movingMemory() })
    expect((await realize([silu(exp(tensor([1, 2])))], { backend })).ran).toEqual([
      { op: 'exp', how: 'native', count: 1 },
      { op: 'silu', how: 'fused', count: 1 },
    ])
  })
})

describe('limits', () => {
  it('send what is beyond them elsewhere, with the reason', async () => {
    const limits = { maxRank: 3, maxBytes: 64 }
    const backend = kernelBackend({
      name: 'small',
      kernels: referenceKernels,
      memory: movingMemory(),
      limits,
    })
    const deep = exp(reshape(tensor([0, 0]), [1, 1, 1, 2]))
    expect((await realize([deep], { backend })).ran).toContainEqual({ op: 'exp', how: 'reference', count: 1 })
    expect(await values(deep)).toEqual([1, 1])
    const strict = { backend, strict: true }
    await expect(realize([reshape(tensor([1]), [1, 1, 1, 1])], strict)).rejects.toThrow(
      'small takes at most 3 axes',
    )
    await expect(realize([exp(full([17], 0))], strict)).rejects.toThrow(
      'small holds at most 64 bytes in one array',
    )
    expect((await realize([exp(full([16], 0))], strict)).segments).toBe(1)
  })
})

describe('rewriting', () => {
  /** exp of a value that only a neg reads: one node of this backend's own in place of both. */
  const fuse = (graph: Graph): Graph => ({
    ...graph,
    nodes: graph.nodes.map((n) => {
      const from = n.op === 'neg' ? graph.nodes[n.inputs[0].node] : null
      return from?.op === 'exp' ? { ...n, op: 'negExp', inputs: from.inputs, from: from.from } : n
    }),
  })
  const negExp: Kernel = ({ inputs: [x], outputs: [y] }) => {
    for (let i = 0; i < y.size; i++) y.data[y.offset + i] = -Math.exp(x.data[x.offset + i] as number)
  }
  it('lets a backend put nodes of its own into graphs and bodies of loops', async () => {
    const kernels = { ...referenceKernels, negExp: { run: negExp } }
    const backend = kernelBackend({ name: 'test', kernels, memory: movingMemory(), rewrite: fuse })
    const x = tensor([0, 1])
    const y = neg(exp(x))
    const { ys } = scan(
      ([c], [t]) => {
        const next = neg(exp(add(c, t)))
        return { carry: [next], ys: [next] }
      },
      { init: [tensor([0])], xs: [tensor([[1], [2]])] },
    )
    const report = await realize([y, ys[0]], { backend })
    expect(report.ran).toContainEqual({ op: 'negExp', how: 'fused', count: 1 })
    const close = (got: number[], want: number[]): void =>
      got.forEach((g, i) => expect(g).toBeCloseTo(want[i], 5))
    close(await values(y), [-1, -Math.E])
    close(await values(ys[0]), [-Math.E, -Math.exp(2 - Math.E)])
  })
})
