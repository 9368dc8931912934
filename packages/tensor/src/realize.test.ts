import { describe, expect, it } from 'vitest'
import type { Backend } from './backend.js'
import { tensor } from './create.js'
import { BackendError, UnsupportedOpError, ValueError } from './errors.js'
import { grad } from './grad.js'
import { constant, type Tensor } from './graph.js'
import { kernelBackend } from './kernel-backend.js'
import { composite, detach } from './ops/define.js'
import { add, cos, div, exp, less, mul, neg, sin, sub, where } from './ops/elementwise.js'
import { embedding, update } from './ops/indexing.js'
import { matmul } from './ops/matmul.js'
import { softmax } from './ops/normalize.js'
import { sum } from './ops/reduce.js'
import { scan } from './ops/scan.js'
import { broadcastTo, iota, pad, reshape, zeros } from './ops/shape.js'
import { pick, planCount, realize, release, setBackend, tensorOf } from './realize.js'
import { reference, referenceKernels } from './reference/index.js'
import { hostMemory } from './reference/memory.js'

const values = async (t: Tensor): Promise<number[]> => Array.from((await t.data()) as Float32Array)
const small = (): Tensor => tensor([1, 2, 3])

describe('plans', () => {
  it('are reused by the same structure, whatever the values', async () => {
    const backend = reference()
    for (const x of [
      [1, 2],
      [3, 4],
      [-1, 0.5],
    ]) {
      const y = exp(neg(tensor(x)))
      await realize([y], { backend })
      expect(await values(y)).toEqual(x.map((v) => Math.fround(Math.exp(-v))))
    }
    expect(planCount(backend)).toBe(1)
  })
  it('are found again where a loop is part of a composite that is written out', async () => {
    const backend = reference()
    const summed = composite('summed', {
      infer: ([x]) => ({ shape: x.shape, dtype: x.dtype }),
      body: ([x]) =>
        scan(([c], [v]) => ({ carry: [add(c, v)], ys: [add(c, v)] }), { init: [zeros([])], xs: [x] }).ys,
    })
    for (const x of [
      [1, 2, 3],
      [4, 5, 6],
    ]) {
      const [y] = summed([tensor(x)], {})
      await realize([exp(neg(y))], { backend })
      expect(planCount(backend)).toBe(1)
    }
  })
  it('tell a + a from a + b', async () => {
    const backend = reference()
    const a = tensor([1, 2])
    const b = tensor([10, 20])
    const same = add(a, a)
    const other = add(a, b)
    await realize([same], { backend })
    await realize([other], { backend })
    expect(await values(same)).toEqual([2, 4])
    expect(await values(other)).toEqual([11, 22])
    expect(planCount(backend)).toBe(2)
    // the same again where the operands are computed
    const x = sin(tensor([1]))
    const y = sub(mul(x, x), mul(x, sin(tensor([2]))))
    await realize([y], { backend })
    expect((await values(y))[0]).toBeCloseTo(Math.sin(1) * (Math.sin(1) - Math.sin(2)), 6)
  })
  it('tell which operand is which', async () => {
    const backend = reference()
    const a = tensor([1])
    const b = tensor([10])
    const x = sub(a, b)
    const y = sub(b, a)
    await realize([x, y], { backend })
    expect([await x.item(), await y.item()]).toEqual([-9, 9])
  })
  it('tell the ninth result of a node from the first of the next', async () => {
    const backend = reference()
    const start = tensor(1)
    const steps = (): Tensor[] =>
      scan(() => ({ carry: [], ys: Array.from({ length: 10 }, (_, i) => mul(start, i + 1)) }), {
        init: [],
        xs: [],
        length: 1,
      }).ys
    const a = steps()
    const ninth = add(a[8], neg(a[0]))
    const b = steps()
    const next = neg(b[0])
    const twice = add(next, next)
    await realize([ninth], { backend })
    await realize([twice], { backend })
    expect(await values(ninth)).toEqual([8])
    expect(await values(twice)).toEqual([-2])
  })
  it('differ by shape, dtype and attributes', async () => {
    const backend = reference()
    const build = (x: Tensor, axis: number) => sum(neg(x), { axes: axis })
    for (const [x, axis] of [
      [
        tensor([
          [1, 2],
          [3, 4],
        ]),
        0,
      ],
      [
        tensor([
          [1, 2],
          [3, 4],
        ]),
        1,
      ],
      [
        tensor([
          [1, 2, 3],
          [3, 4, 5],
        ]),
        1,
      ],
      [
        tensor(
          [
            [1, 2],
            [3, 4],
          ],
          { dtype: 'i32' },
        ),
        1,
      ],
    ] as [Tensor, number][])
      await realize([build(x, axis)], { backend })
    expect(planCount(backend)).toBe(4)
  })
  it('compare numbers: the first other value makes one general plan, and no more', async () => {
    const backend = reference()
    for (const lr of [0.1, 0.1, 0.2, 0.3, 0.4, 0.1]) {
      const y = sub(small(), mul(small(), lr))
      await realize([y], { backend })
      expect(await values(y)).toEqual([1, 2, 3].map((v) => Math.fround(v - Math.fround(v * Math.fround(lr)))))
    }
    expect(planCount(backend)).toBe(2)
  })
  it('tell 0 from −0, and find NaN again', async () => {
    const backend = reference()
    for (const by of [0, -0]) {
      const y = mul(small(), by)
      await realize([y], { backend })
      expect(await values(y)).toEqual([by, by, by])
    }
    const p = reference()
    for (let i = 0; i < 3; i++) await realize([mul(small(), Number.NaN)], { backend: p })
    expect(planCount(p)).toBe(1)
  })
  it('do not simplify by numbers that may change', async () => {
    const backend = reference()
    for (const by of [1, 2, 1, 0]) {
      const y = mul(small(), by)
      await realize([y], { backend })
      expect(await values(y)).toEqual([by, 2 * by, 3 * by])
    }
    const p = reference()
    for (const by of [0, 1, -1]) {
      const y = sub(small(), by)
      await realize([y], { backend: p })
      expect(await values(y)).toEqual([1 - by, 2 - by, 3 - by])
    }
  })
  it('are bounded: the oldest goes', async () => {
    const backend = reference()
    for (let n = 1; n <= 300; n++) await realize([neg(zeros([n]))], { backend })
    expect(planCount(backend)).toBe(256)
    const y = neg(zeros([1]))
    await realize([y], { backend })
    expect(await values(y)).toEqual([-0])
  })
  it('compute equal nodes once and drop what nobody needs', async () => {
    const backend = reference()
    const x = small()
    const y = mul(add(sin(x), 1), add(sin(x), 1))
    const report = await realize([y], { backend })
    expect(report.ran.find((r) => r.op === 'sin')?.count).toBe(1)
    expect(report.ran.find((r) => r.op === 'add')?.count).toBe(1)
    // of the two gradients only one is asked for
    const a = tensor([[1, 2]])
    const b = tensor([[3], [4]])
    const [ga] = grad(sum(matmul(a, b)), [a, b])
    expect((await realize([ga], { backend })).ran.filter((r) => r.op === 'matmul')).toEqual([
      { op: 'matmul', how: 'reference', count: 1 },
    ])
  })
  it('keep apart what differs by an infinity, a sign of zero, a dtype or a length alone', async () => {
    const backend = reference()
    const x = tensor([7])
    const fills = [Infinity, -Infinity, Number.NaN, 0, -0]
    const padded = fills.map((value) => pad(x, [[1, 0]], value))
    const [steps, start] = [tensor([1, 2, 3]), tensor(0)]
    const loop = (reverse: boolean) =>
      scan(([c], [v]) => ({ carry: [add(mul(c, 2), v)], ys: [] }), {
        init: [start],
        xs: [steps],
        reverse,
      }).carry[0]
    const counted = [2, 3].map((length) =>
      scan(([c]) => ({ carry: [add(c, 1)], ys: [] }), { init: [start], xs: [], length }),
    )
    const one = tensor(1)
    const times = (by: number) =>
      scan(([c]) => ({ carry: [mul(c, by)], ys: [] }), { init: [one], xs: [], length: 1 }).carry[0]
    const loops = [loop(false), loop(true), ...counted.map((r) => r.carry[0]), times(0), times(-0)]
    const whole = [iota(2, { dtype: 'i32' }), iota(2)]
    await realize([...padded, ...loops, ...whole], { backend })
    expect(await Promise.all(padded.map(values))).toEqual(fills.map((value) => [value, 7]))
    expect(await Promise.all(loops.map(values))).toEqual([[11], [17], [2], [3], [0], [-0]])
    expect(await Promise.all(whole.map((t) => t.data()))).toEqual([
      Int32Array.of(0, 1),
      Float32Array.of(0, 1),
    ])
  })
  it('leave out only steps that change no bit', async () => {
    const backend = reference()
    const zero = tensor([-0])
    // −0 − (−0) is +0, −0 − 0 is −0
    const kept = [sub(zero, -0), sub(zero, 0), mul(zero, 1), add(zero, 0)]
    // one number by a vector is a vector
    const wide = [mul(tensor(3), tensor([1, 1])), mul(tensor([2, 5]), 1), div(tensor(3), tensor([1, 1]))]
    await realize([...kept, ...wide], { backend })
    expect(await Promise.all(kept.map(values))).toEqual([[0], [-0], [-0], [0]])
    expect(await Promise.all(wide.map(values))).toEqual([
      [3, 3],
      [2, 5],
      [3, 3],
    ])
    const ones = mul(tensor(3), broadcastTo(1, [2]))
    await realize([ones], { backend })
    expect(await values(ones)).toEqual([3, 3])
  })
  it('stop at what is already computed', async () => {
    const backend = reference()
    const x = exp(small())
    await realize([x], { backend })
    const report = await realize([neg(x)], { backend })
    expect(report.ran.map((r) => r.op)).toEqual(['neg'])
  })
})

describe('equal graphs asked for together', () => {
  it('each own their result', async () => {
    const backend = reference()
    const a = small()
    const [y, z] = [mul(a, 3), mul(a, 3)]
    await realize([y, z], { backend })
    release(y)
    // fills whatever was freed
    await realize([add(tensor([9, 9, 9]), 1)], { backend })
    expect(await values(z)).toEqual([3, 6, 9])
    expect(() => y.toString()).not.toThrow()
    await expect(y.data()).rejects.toThrow('tensor mul was released and has no data any more')
    const before = backend.bytesInUse
    release(z)
    expect(backend.bytesInUse).toBe(before - 64)
  })
})

describe('donation', () => {
  it('gives the memory back and refuses to read it by name', async () => {
    const backend = reference()
    const x = mul(small(), 2)
    x.name = 'state'
    await realize([x], { backend })
    const y = add(detach(x), 1)
    y.name = 'next state'
    await realize([y], { backend, donate: [x] })
    expect(await values(y)).toEqual([3, 5, 7])
    await expect(x.data()).rejects.toThrow(ValueError)
    await expect(x.data()).rejects.toThrow(
      'tensor state was donated to next state and has no data any more; read it before, or do not give it away',
    )
    await expect(realize([add(x, 1)], { backend })).rejects.toThrow('tensor state was donated to next state')
  })
  it('runs a loop at constant memory', async () => {
    const backend = reference()
    let w = tensor(new Float32Array(1000), { shape: [1000] })
    const sizes = new Set<number>()
    for (let step = 0; step < 50; step++) {
      const next = add(mul(detach(w), 0.9), 1)
      await realize([next], { backend, donate: [w] })
      w = next
      if (step > 2) sizes.add(backend.bytesInUse)
    }
    expect([...sizes]).toHaveLength(1)
    expect((await values(w))[999]).toBeCloseTo(10 * (1 - 0.9 ** 50), 4)
  })
  it('leaves nothing of the small arrays that one step reads, and uploads once what many read', async () => {
    const backend = reference()
    const many = small()
    let uploads = 0
    const counted = Object.create(backend, {
      upload: {
        value: (...args: Parameters<Backend['upload']>) => {
          uploads++
          return backend.upload(...args)
        },
      },
    }) as Backend
    const sizes = new Set<number>()
    for (let i = 0; i < 10; i++) {
      const y = add(many, tensor([i, i, i]))
      await realize([y], { backend: counted })
      release(y)
      if (i > 0) sizes.add(backend.bytesInUse)
    }
    expect(sizes.size).toBe(1)
    expect(uploads).toBe(10 + 2)
  })
  it('lets finalizers run when much was uploaded, not only when much was made', async () => {
    const inner = reference()
    const upload: Backend['upload'] = (data, shape, dtype) =>
      Object.assign(inner.upload(data, shape, dtype), { bytes: 2 ** 27 })
    const backend = Object.create(inner, { upload: { value: upload } }) as Backend
    let hasTurned = false
    setTimeout(() => {
      hasTurned = true
    })
    for (let i = 0; i < 4; i++) await realize([sum(tensor(new Float32Array(1000)))], { backend })
    expect(hasTurned).toBe(true)
  })
})

describe('values known on the host', () => {
  it('are checked before anything runs', async () => {
    const backend = reference()
    const table = tensor([
      [1, 2],
      [3, 4],
      [5, 6],
    ])
    const ids = (...v: number[]): Tensor => tensor(v, { dtype: 'i32' })
    await expect(realize([embedding(table, ids(0, 3))], { backend })).rejects.toThrow(
      'take: id 3 is outside 0..2',
    )
    await expect(realize([embedding(table, reshape(ids(-1, 1), [2, 1]))], { backend })).rejects.toThrow(
      'take: id -1 is outside 0..2',
    )
    await expect(
      realize([update(zeros([1, 4]), zeros([1, 2]), constant(3, 'i32'), { axis: 1 })], { backend }),
    ).rejects.toThrow('the cache is full: offset 3 is beyond 2; make a cache of more positions')
  })
  it('are checked by the reference kernels when they are computed', async () => {
    const backend = reference()
    const computed = add(tensor([2, 2], { dtype: 'i32' }), tensor([0, 1], { dtype: 'i32' }))
    const table = tensor([[1], [2], [3]])
    await expect(realize([embedding(table, computed)], { backend })).rejects.toThrow(
      'take([3, 1], [2]): index 3 is outside 0..2',
    )
  })
})

/** Lacks sine and, as every kernel table without composites, softmax. */
function withoutSine(): Backend {
  const { sin: _, ...kernels } = referenceKernels
  return kernelBackend({ name: 'no sine', kernels, memory: hostMemory('f32') })
}

describe('what a backend refuses', () => {
  it('runs on the reference kernels and is reported', async () => {
    const backend = withoutSine()
    const x = small()
    const y = mul(cos(sin(mul(x, 2))), x)
    const z = sin(add(y, 1))
    const report = await realize([y, neg(x), z], { backend })
    expect(report.segments).toBe(4)
    expect(report.ran.find((r) => r.op === 'sin')).toEqual({ op: 'sin', how: 'reference', count: 2 })
    const want = [1, 2, 3].map((v) => Math.cos(Math.sin(2 * v)) * v)
    ;(await values(y)).forEach((v, i) => expect(v).toBeCloseTo(want[i], 6))
    ;(await values(z)).forEach((v, i) => expect(v).toBeCloseTo(Math.sin(want[i] + 1), 6))
    expect(await values(neg(x))).toEqual([-1, -2, -3])
  })
  it('leaves nothing behind when a later part fails', async () => {
    const backend = withoutSine()
    const x = small()
    const at = tensor([2], { dtype: 'i32' })
    const wrong = embedding(reshape(sin(x), [3, 1]), add(at, 1))
    // what a second run reads stays on the backend
    for (let i = 0; i < 2; i++)
      await expect(realize([exp(x), wrong], { backend })).rejects.toThrow('index 3 is outside 0..2')
    const { bytesInUse } = backend
    await expect(realize([exp(x), wrong], { backend })).rejects.toThrow('index 3 is outside 0..2')
    expect(backend.bytesInUse).toBe(bytesInUse)
  })
  it('throws when strict, with the reason', async () => {
    const backend = withoutSine()
    await expect(realize([sin(small())], { backend, strict: true })).rejects.toThrow(UnsupportedOpError)
    await expect(realize([sin(small())], { backend, strict: true })).rejects.toThrow(
      'sin: no sine has no kernel for sin; without strict it would run on the reference kernels',
    )
  })
  it('is written out when it is a composite, and reported', async () => {
    const report = await realize([softmax(small())], { backend: reference() })
    expect(report.inlined).toEqual([
      { op: 'softmax', reason: 'reference has no kernel for softmax', count: 1 },
    ])
  })
})

describe('realize', () => {
  it('runs nothing that was realized before', async () => {
    const backend = reference()
    const y = neg(small())
    await realize([y], { backend })
    const report = await realize([y], { backend })
    expect(report.steps).toBe(0)
    expect(report.nodes).toBe(0)
  })
  it('gives numbers a value, and results of several dtypes', async () => {
    const backend = reference()
    const x = small()
    const flag = less(x, 2.5)
    await realize([constant(4), flag, where(flag, x, 0)], { backend })
    expect(await flag.array()).toEqual([true, true, false])
    expect(await constant(4, 'i32').item()).toBe(4)
  })
  it('says what is missing', async () => {
    const backend = reference()
    backend.dispose()
    await expect(realize([neg(small())], { backend })).rejects.toThrow(BackendError)
    await expect(realize([neg(small())], { backend })).rejects.toThrow(
      "backend 'reference' was disposed; make a new one",
    )
  })
  it('moves a tensor from one backend to another', async () => {
    const [a, b] = [reference(), reference()]
    const x = exp(small())
    await realize([x], { backend: a })
    const y = neg(x)
    await realize([y], { backend: b })
    expect(await values(y)).toEqual((await values(x)).map((v) => -v))
  })
  it('multiplies whole numbers in 32 bits', async () => {
    const y = mul(tensor([0x12345679], { dtype: 'i32' }), tensor([0x7fffffff], { dtype: 'i32' }))
    await realize([y], { backend: reference() })
    expect(await y.item()).toBe(Math.imul(0x12345679, 0x7fffffff))
  })
  it('holds doubles on a float64 backend', async () => {
    const x = tensor(Float64Array.of(1 / 3))
    const y = mul(x, 3)
    await realize([y], { backend: reference({ precision: 'f64' }) })
    expect(await y.data()).toBeInstanceOf(Float64Array)
    expect(await y.item()).toBe(1)
  })
})

describe('pick', () => {
  it('takes the first that can be made and says why others cannot', async () => {
    const winner = reference()
    const late = reference()
    const picked = await pick([Promise.reject(new BackendError('no adapter')), Promise.resolve(winner), late])
    expect(picked.name).toBe('reference')
    expect(picked.refused).toEqual([{ index: 0, reason: 'no adapter' }])
    await realize([neg(small())], { backend: picked })
    await expect(realize([neg(small())], { backend: late })).rejects.toThrow('was disposed')
    await expect(pick([Promise.reject(new Error('one')), Promise.reject(new Error('two'))])).rejects.toThrow(
      'pick: every backend refused: one; two',
    )
  })
  it('makes a candidate that is a function only where all before it refused', async () => {
    const made: string[] = []
    const maker =
      (name: string, fails = false) =>
      (): Promise<Backend> => {
        made.push(name)
        return fails ? Promise.reject(new BackendError(`no ${name}`)) : Promise.resolve(reference())
      }
    const picked = await pick([maker('a', true), maker('b'), maker('c')])
    expect(made).toEqual(['a', 'b'])
    expect(picked.refused).toEqual([{ index: 0, reason: 'no a' }])
    await realize([neg(small())], { backend: picked })
  })
  it('refuses what is no backend, and takes the next', async () => {
    const picked = await pick(['webgl' as never, undefined as never, () => reference()])
    expect(picked.name).toBe('reference')
    expect(picked.refused.map((r) => r.reason)).toEqual([
      'pick: expected a backend of spec 1 (await cpu(), in matching versions), got string',
      'pick: expected a backend of spec 1 (await cpu(), in matching versions), got undefined',
    ])
  })
  it('keeps reasons that are no errors of ours, also where every backend refuses', async () => {
    const odd = () => [Promise.reject(new TypeError('x is not a function')), Promise.reject('asleep')]
    const picked = await pick([...odd(), reference()])
    expect(picked.refused).toEqual([
      { index: 0, reason: 'x is not a function' },
      { index: 1, reason: 'asleep' },
    ])
    const failure = await pick(odd()).catch((error: unknown) => error)
    expect(failure).toBeInstanceOf(BackendError)
    expect((failure as Error).message).toBe('pick: every backend refused: x is not a function; asleep')
    await expect(pick([])).rejects.toThrow('pick: every backend refused: none was given')
  })
})

describe('what is no backend', () => {
  const cpu = async () => reference()
  it.each([
    ['a promise', cpu(), 'a promise; await it'],
    ['the function that makes one', cpu, 'function'],
    ['a name', 'cpu', 'string'],
    ['nothing', undefined, 'undefined'],
    ['one of another version', { ...reference(), spec: 2 }, 'reference'],
  ])('is refused with what it is: %s', async (_, given, got) => {
    const message = `expected a backend of spec 1 (await cpu(), in matching versions), got ${got}`
    expect(() => setBackend(given as never)).toThrow(new BackendError(`setBackend: ${message}`))
    if (given !== undefined)
      await expect(realize([neg(small())], { backend: given as never })).rejects.toThrow(
        new BackendError(`realize: ${message}`),
      )
  })
  it('and an option of realize that nobody knows', async () => {
    await expect(realize([neg(small())], { strikt: true } as never)).rejects.toThrow(
      "realize: option 'strikt' is unknown; use one of backend, strict, donate",
    )
  })
  it('and one tensor where a list is expected', async () => {
    await expect(realize(neg(small()) as never)).rejects.toThrow(
      new ValueError('realize: expected an array of tensors, got object'),
    )
  })
})

it('tensorOf owns the buffer that it is given', async () => {
  const backend = reference()
  const before = backend.bytesInUse
  const x = tensorOf(backend, backend.upload(Float32Array.of(1, 2, 3, 4), [2, 2], 'f32'))
  expect(x.shape).toEqual([2, 2])
  const y = mul(x, 2)
  await realize([y], { backend })
  expect(await values(y)).toEqual([2, 4, 6, 8])
  release(x)
  release(y)
  expect(backend.bytesInUse).toBeLessThanOrEqual(before + 256)
})
