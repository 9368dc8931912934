import * as tensorPackage from '@heed/tensor'
import {
  allOps,
  type Backend,
  type DeviceBuffer,
  type Executable,
  hostMemory,
  type KernelCall,
  type KernelTable,
  kernelBackend,
  primitiveNames,
  reference,
  referenceKernels,
  type TypedArray,
} from '@heed/tensor'
import { beforeAll, describe, expect, it } from 'vitest'
import { conformanceCases } from './cases.js'
import { compositeNames } from './composite-cases.js'
import { contractCases } from './contract.js'
import { conformanceProperties } from './properties.js'
import { type ConformanceResult, runConformance } from './run.js'
import { testBackend } from './test-backend.js'

describe('the list of cases', () => {
  const cases = conformanceCases()
  it('has every primitive, each name once', () => {
    expect(new Set(cases.filter((c) => c.kind === 'primitive').map((c) => c.op))).toEqual(
      new Set(primitiveNames),
    )
    expect(new Set(cases.map((c) => c.name)).size).toBe(cases.length)
  })
  it('has every composite of @heed/tensor', () => {
    const defined = allOps().filter((op) => op.body && !op.name.includes('.vjp'))
    expect(defined.map((op) => op.name).sort()).toEqual([...compositeNames].sort())
  })
  it('has every function of @heed/tensor that computes', () => {
    const functions = Object.entries(tensorPackage).filter(
      ([name, f]) => typeof f === 'function' && /^[a-z]/.test(name),
    )
    const ops = new Set(cases.map((c) => c.op))
    // what makes or reads tensors on the host, runs, looks, or makes functions of what has a case
    const others =
      `activation alias allOps bf16ToF32 broadcastShapes broadcastStrides canonicalTap checkOptions compileEdit composite constant countNodes
      currentPath deferred detach fromBF16 fromF16 getBackend globPattern grad hasBackend hasParts hostMemory isContiguous
      isHeedError kernelBackend nearestNames normalizeAxes normalizeAxis packedParts parameters pick planCount printGraph
      quantizeWeight realize recordCreationSites reference release reshapeStrides scope setBackend setParameters showShape sizeOf
      stridesOf tap tapName tensor tensorOf threefry2x32 toBF16 toF16 trace traceLazy valueAndGrad`.split(
        /\s+/,
      )
    expect(
      functions
        .map(([name]) => name)
        .filter((name) => !ops.has(name))
        .sort(),
    ).toEqual(others.sort())
  })
  it('has a gradient wherever there is a float input and no step between', () => {
    const without = new Set(cases.filter((c) => !c.hasGradient).map((c) => c.op))
    for (const op of ['add', 'matmul', 'softmax', 'attention', 'sum', 'take']) {
      const own = cases.filter((c) => c.op === op)
      expect(own.filter((c) => c.hasGradient).length / own.length, op).toBeGreaterThan(0.7)
    }
    expect(without).toContain('less')
  })
  it('builds afresh each time', () => {
    const one = cases.find((c) => c.name === 'softmax/mask (permuted)')
    expect(one?.build().outputs[0]).not.toBe(one?.build().outputs[0])
  })
})

/** The reference backend with one kernel changed. */
function broken(name: string, change: (run: (call: KernelCall) => void, call: KernelCall) => void): Backend {
  const entry = (referenceKernels as KernelTable)[name]
  const kernels = {
    ...referenceKernels,
    [name]: { ...entry, run: (call: KernelCall) => change(entry.run, call) },
  }
  return kernelBackend({ name: `broken ${name}`, kernels, memory: hostMemory('f32') })
}
const failing = async (backend: Backend, start: string): Promise<ConformanceResult[]> =>
  (await runConformance(backend, { only: (n) => n.startsWith(start) })).filter((r) => !r.pass)
/** An operand read as if it lay in row-major order. */
const straight = (call: KernelCall): KernelCall => ({
  ...call,
  inputs: call.inputs.map((v) => {
    let step = 1
    const strides = [...v.shape].reverse().map((d) => {
      const s = step
      step *= d
      return s
    })
    return { ...v, strides: strides.reverse() }
  }),
})

/** The reference backend with a fused kernel that gives zeros. */
const zeros = (name: string): Backend =>
  kernelBackend({
    name: `zeros for ${name}`,
    kernels: {
      ...referenceKernels,
      [name]: {
        run: ({ outputs }) => {
          for (const { data, offset, size } of outputs) (data as Float32Array).fill(0, offset, offset + size)
        },
      },
    },
    memory: hostMemory('f32'),
  })

describe('a broken backend fails', () => {
  it('for a value that is a little off', async () => {
    const exp = broken('exp', (run, call) => {
      run(call)
      for (let i = 0; i < call.outputs[0].size; i++)
        (call.outputs[0].data as Float32Array)[call.outputs[0].offset + i] *= 1.00003
    })
    const names = (await failing(exp, 'exp/')).map((r) => `${r.name} ${r.direction}`)
    expect(names).toContain('exp/matrix forward')
    expect(names).toContain('exp/matrix gradient')
    expect(names).not.toContain('exp/empty forward')
    expect(await failing(exp, 'softmax/large')).toHaveLength(0)
  })
  it('for ignored strides, in the views alone', async () => {
    const sum = broken('sum', (run, call) => run(straight(call)))
    const names = (await failing(sum, 'sum/first')).map((r) => r.name)
    expect(new Set(names)).toEqual(new Set(['sum/first (permuted)', 'sum/first (strided)']))
  })
  it('for an ignored offset of a cache', async () => {
    const update = broken('update', (run, call) => {
      const [cache, patch, offset] = call.inputs
      run({ ...call, inputs: [cache, patch, { ...offset, data: Int32Array.of(0), offset: 0 }] })
    })
    expect((await failing(update, 'update/a cache')).length).toBeGreaterThan(0)
    expect(await failing(update, 'update/the whole')).toHaveLength(0)
  })
  it('with the message of what it threw', async () => {
    const matmul = broken('matmul', () => {
      throw new Error('no such tile')
    })
    const rows = await failing(matmul, 'linear/rows')
    expect(rows[0]).toMatchObject({
      pass: false,
      direction: 'forward',
      reason: 'no such tile',
      ratio: Infinity,
    })
  })
  it('for numbers between the elements of a view that reach its result', async () => {
    const neg = broken('neg', (run, call) => {
      run(call)
      const [{ data, offset, strides }] = call.inputs
      const out = call.outputs[0]
      // what lies behind the first element, times 0
      if (out.size > 0 && strides.length > 0)
        (out.data as Float32Array)[out.offset] +=
          0 * (data as Float32Array)[offset + Math.sign(strides[strides.length - 1])]
    })
    expect((await failing(neg, 'neg/matrix')).map((r) => r.name)).toContain('neg/matrix (strided)')
    expect((await failing(neg, 'neg/matrix')).map((r) => r.name)).not.toContain('neg/matrix')
  })
  it('also where the oracle has the same mistake about strides', async () => {
    const sum = broken('sum', (run, call) => run(straight(call)))
    const rows = await runConformance(sum, { only: (n) => n.startsWith('sum/first'), oracle: sum })
    expect(new Set(rows.filter((r) => !r.pass).map((r) => r.name))).toEqual(
      new Set(['sum/first (permuted)', 'sum/first (strided)']),
    )
  })
  it('in half precision: for whole numbers that are one off, and for what two steps are off', async () => {
    const asHalf = (backend: Backend): Backend =>
      Object.create(backend, { precision: { value: 'f16' } }) as Backend
    const bits = broken('randomBits', (run, call) => {
      run(call)
      const [{ data, offset }] = call.outputs
      ;(data as Int32Array)[offset] ^= 1
    })
    expect((await failing(asHalf(bits), 'randomBits/')).length).toBeGreaterThan(0)
    const off = (by: number) =>
      asHalf(
        broken('exp', (run, call) => {
          run(call)
          const [{ data, offset, size }] = call.outputs
          for (let i = 0; i < size; i++) (data as Float32Array)[offset + i] *= 1 + by
        }),
      )
    expect(await failing(off(2 ** -14), 'exp/matrix')).toEqual([])
    expect((await failing(off(2 ** -8), 'exp/matrix')).length).toBeGreaterThan(0)
  })
  // of so few inputs as are tried in a browser
  it.each<[string, string, RegExp]>([
    ['softmax rows', 'where', /weight|sums to/],
    ['transposing', 'neg', /there and back|once/],
    ['slices of slices', 'neg', /slice/],
    ['values and gradients of random graphs', 'sum', /value/],
    ['fused attention', 'attention', /z|lse/],
    ['fused attention', 'attention.vjp', /d[qkv]/],
    ['a kept pattern', 'attention', /output|pattern|z/],
  ])('by the property: %s', async (start, name, message) => {
    const wrong: Readonly<Record<string, () => Backend>> = {
      // what is masked stays
      where: () =>
        broken('where', (run, call) => {
          const [c, a, b] = call.inputs
          run(call.outputs[0].dtype === 'f32' && b.size === 1 ? { ...call, inputs: [c, a, a] } : call)
        }),
      neg: () => broken('neg', (run, call) => run(straight(call))),
      sum: () =>
        broken('sum', (run, call) => {
          run(call)
          const [{ data, offset, size }] = call.outputs
          for (let i = 0; i < size; i++) (data as Float32Array)[offset + i] *= 1.001
        }),
      attention: () => zeros('attention'),
      'attention.vjp': () => zeros('attention.vjp'),
    }
    const property = conformanceProperties('f32').find((p) => p.name.startsWith(start))
    const failure: unknown = await property?.check(wrong[name](), { seed: 20260117, runs: 6 }).then(
      () => 'it holds',
      (reason: unknown) => reason,
    )
    expect(failure).toMatchObject({
      message: expect.stringMatching(/seed: 20260117/),
      cause: { message: expect.stringMatching(message) },
    })
  })
  it('draws cotangents that differ from element to element', async () => {
    const neg = conformanceCases().find((c) => c.name === 'neg/matrix')
    const [gradient] = neg?.build().gradients ?? []
    // the gradient of −x is the cotangent with the other sign
    await tensorPackage.realize([gradient], { backend: reference() })
    expect(new Set(Array.from(await gradient.data(), Number)).size).toBe(gradient.size)
  })
})

describe('the contract', () => {
  const like = (change: Partial<Backend>, backend = reference()): Backend =>
    Object.create(
      backend,
      Object.fromEntries(Object.entries(change).map(([name, value]) => [name, { value }])),
    ) as Backend
  const compiled = (change: (run: Executable) => Partial<Executable>): Backend => {
    const backend = reference()
    return like(
      {
        compile: async (graph) => {
          const run = await backend.compile(graph)
          return { run: (inputs, donated) => run.run(inputs, donated), report: run.report, ...change(run) }
        },
      },
      backend,
    )
  }
  /** Keeps what it is given. */
  const keeping = (): Backend =>
    compiled((run) => ({
      run: (inputs) =>
        run.run(
          inputs,
          inputs.map(() => false),
        ),
    }))
  const host = reference()
  const kept = new Map<DeviceBuffer, TypedArray>()
  let last: KernelCall['outputs'][number] | undefined
  it.each<[string, () => Backend, RegExp]>([
    ['frees what it uploaded', () => like({ free: () => {} }), /after freeing everything/],
    ['a donated state runs in constant memory', () => like({ free: () => {} }, keeping()), /in 20 steps/],
    [
      'uploads and downloads every dtype unchanged',
      () =>
        like(
          {
            download: async (buffer) =>
              buffer.dtype === 'i8'
                ? Uint8Array.from((await host.download(buffer)) as Int8Array)
                : host.download(buffer),
          },
          host,
        ),
      /i8: got 128/,
    ],
    [
      'a download is a copy',
      () =>
        like(
          {
            download: async (buffer) => {
              const data = kept.get(buffer) ?? (await host.download(buffer))
              kept.set(buffer, data)
              return data
            },
          },
          host,
        ),
      /second download: got 99/,
    ],
    [
      'outputs own their memory',
      () => {
        const mul = broken('mul', (run, call) => {
          run(call)
          last = call.outputs[0]
        })
        const compile = mul.compile.bind(mul)
        // the next run writes where the last one left its result
        return like(
          {
            compile: (graph) => {
              if (last) (last.data as Float32Array).fill(7, last.offset, last.offset + last.size)
              return compile(graph)
            },
          },
          mul,
        )
      },
      /a computed output: got 7/,
    ],
    [
      'a donated input may be written over, never another one',
      () =>
        compiled((run) => ({
          run: (inputs) =>
            run.run(
              inputs,
              inputs.map(() => true),
            ),
        })),
      /./,
    ],
    [
      'a donated input may be written over, never another one',
      () =>
        broken('update', (run, call) => {
          run(call)
          const [cache] = call.inputs
          const [{ data, offset, size }] = call.outputs
          ;(cache.data as Float32Array).set(
            (data as Float32Array).subarray(offset, offset + size),
            cache.offset,
          )
        }),
      /a cache that was not donated: got/,
    ],
    [
      'a donated input may be written over, never another one',
      () => like({ free: () => {} }, keeping()),
      /bytesInUse went from .* in step 1/,
    ],
    [
      'donated inputs that others read, in any order and shape, give the right numbers',
      () =>
        broken('mul', (run, call) => {
          // writes before it has read
          const [{ data, offset, size }] = call.outputs
          ;(data as Float32Array).fill(0, offset, offset + size)
          run(call)
        }),
      /result 0: got 0/,
    ],
    [
      'reports what ran',
      () => compiled(({ report }) => ({ report: { ...report, ran: [] } })),
      /the one matmul/,
    ],
  ])('is broken by a backend that does not keep it: %s', async (name, make, message) => {
    const promise = contractCases.find((c) => c.name === name)
    await expect(promise?.check(reference())).resolves.toBeUndefined()
    await expect(promise?.check(make())).rejects.toThrow(message)
  })
})

describe('runConformance', () => {
  let rows: ConformanceResult[] = []
  beforeAll(async () => {
    rows = await runConformance(reference(), {
      only: (n) => /^(softmax|matmul|reshape|attention)\/(last|no tile|flatten|causal)$/.test(n),
    })
  })
  it('says how each ran', () => {
    expect(rows.map((r) => `${r.name} ${r.direction}: ${r.how}`)).toEqual([
      'matmul/no tile forward: reference',
      'matmul/no tile gradient: reference',
      'reshape/flatten forward: native',
      'reshape/flatten gradient: native',
      'softmax/last forward: inlined',
      'softmax/last gradient: inlined',
      'attention/causal forward: inlined',
      'attention/causal gradient: inlined',
    ])
  })
  it('gives the error against float64', () => {
    const softmax = rows.find((r) => r.name === 'softmax/last' && r.direction === 'forward')
    expect(softmax?.maxError).toBeGreaterThan(0)
    expect(softmax?.maxError).toBeLessThan(1e-6)
    expect(softmax?.ratio).toBeLessThan(1)
  })
})

describe('testBackend', () => {
  const names: string[] = []
  const tests: (() => Promise<void>)[] = []
  const runner = {
    describe: (_: string, body: () => void) => body(),
    it: (name: string, body: () => Promise<void>) => {
      names.push(name)
      tests.push(body)
    },
  }
  it('registers everything with the runner of the caller, seeds in the names', () => {
    names.length = 0
    testBackend(() => reference(), runner, { seed: 99 })
    expect(names.length).toBe(
      conformanceCases().length + conformanceProperties('f32').length + contractCases.length,
    )
    expect(names.filter((n) => n.endsWith('(seed 99)'))).toHaveLength(conformanceProperties('f32').length)
  })
  it('leaves out what is named, and refuses a name that fits nothing', () => {
    names.length = 0
    testBackend(() => reference(), runner, { skip: { 'softmax/': 'not yet' } })
    expect(names).not.toContain('fully masked row')
    expect(() => testBackend(() => reference(), runner, { skip: { 'sofmax/': 'typo' } })).toThrow(
      "skip 'sofmax/' fits no case",
    )
    names.length = 0
    testBackend(() => reference(), runner, { only: (name) => name.startsWith('softmax/') })
    const softmax = conformanceCases().filter((c) => c.op === 'softmax')
    expect(softmax.length).toBeGreaterThan(3)
    expect(names).toEqual(softmax.map((c) => c.name.slice('softmax/'.length)))
    expect(() => testBackend(() => reference(), runner, { only: () => false })).toThrow('no case')
    expect(() => testBackend(() => reference(), runner, { percision: 'f32' } as never)).toThrow(
      "unknown option 'percision'",
    )
  })
  it('fails where a gradient alone is wrong', async () => {
    tests.length = 0
    const mul = broken('mul', (run, call) => {
      run(call)
      ;(call.outputs[0].data as Float32Array)[call.outputs[0].offset] += 1
    })
    testBackend(() => mul, runner, { only: (name) => name === 'exp/matrix' })
    expect(tests).toHaveLength(1)
    await expect(tests[0]()).rejects.toThrow(/^exp\/matrix, gradient .*: gradient 0: got/)
  })
  it('refuses a backend of another precision', async () => {
    tests.length = 0
    testBackend(() => reference({ precision: 'f64' }), runner)
    await expect(tests[0]()).rejects.toThrow("'reference-f64' computes in f64; pass { precision: 'f64' }")
  })
})
