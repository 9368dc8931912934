// The harness without any library: what it checks, refuses, calibrates and leaves standing.
import { expect, test, vi } from 'vitest'
import { type CaseResult, measureCases, type Pace } from './measure.js'
import { greatestError } from './oracle.js'
import { makeProbe } from './probe.js'
import type { Case, Runner } from './work.js'

/** The one result of one case. */
async function measureCase(
  c: Case,
  ...rest: Parameters<typeof measureCases> extends [unknown, ...infer R] ? R : never
): Promise<CaseResult> {
  return (await measureCases([c], ...rest))[0]
}

const pace: Pace = { warmUpMs: 1, sampleMs: 0, rounds: 4, leastRounds: 2, budgetMs: 1000 }
const probe = { form: 'none', gflops: () => 50, gigabytes: () => 10 }
const sum: Case = {
  name: 'dispatch/add/2',
  work: { kind: 'add', length: 2 },
  flops: 2,
  inputs: () => ({ x: Float32Array.of(1, 2), y: Float32Array.of(3, 4) }),
  expected: () => ({ chunks: [{ at: 0, values: [4, 6] }], size: 2, tolerance: 1e-6 }),
}
const runner = (name: string, result: readonly number[], run = () => {}): Runner => ({
  name,
  threads: 1,
  can: { add: () => ({ run, output: async () => result }) },
})

test('a right runner has a sample a round and its error', async () => {
  const run = vi.fn()
  const enter = vi.fn()
  const { measured, missing } = await measureCase(
    sum,
    [{ ...runner('a', [4, 6.0000006], run), enter }],
    pace,
    probe,
  )
  expect(missing).toEqual([])
  expect(measured).toHaveLength(1)
  expect(measured[0]).toMatchObject({ case: 'dispatch/add/2', runner: 'a', threads: 1, samples: 4, flops: 2 })
  expect(measured[0].maxError).toBeCloseTo(1e-7, 8)
  expect(measured[0].peak.median).toBe(50)
  expect(run.mock.calls.length).toBeGreaterThanOrEqual(6) // two to warm up, one in each of four rounds
  expect(enter.mock.calls.length).toBeGreaterThanOrEqual(6)
})

test('a wrong result has no time', async () => {
  const { measured, missing } = await measureCase(
    sum,
    [runner('off', [4, 6.1]), runner('nan', [4, Number.NaN]), runner('short', [4]), runner('right', [4, 6])],
    pace,
    probe,
  )
  expect(measured.map((m) => m.runner)).toEqual(['right'])
  expect(missing.map((m) => m.runner)).toEqual(['off', 'nan', 'short'])
  for (const m of missing) expect(m.reason).toMatch(/^wrong result: error/)
})

test('a true value that is no number proves nothing', async () => {
  const expected = () => ({ chunks: [{ at: 0, values: [4, Number.NaN] }], size: 2, tolerance: 1e-6 })
  const { measured, missing } = await measureCase({ ...sum, expected }, [runner('a', [4, 6])], pace, probe)
  expect(measured).toEqual([])
  expect(missing[0].reason).toMatch(/^wrong result/)
})

test('a sample is the time of one run, also where it is cut short', async () => {
  let clock = 0
  const now = vi.spyOn(performance, 'now').mockImplementation(() => clock)
  // as long as it is warmed up both take 1 ms
  const taking = (name: string, ms: number): Runner => {
    let runs = 0
    return runner(name, [4, 6], () => {
      clock += ++runs > 5 ? ms : 1
    })
  }
  const slow = { ...pace, warmUpMs: 5, sampleMs: 10, budgetMs: 1e6 }
  const { measured } = await measureCase(sum, [taking('steady', 1), taking('slows down', 200)], slow, probe)
  now.mockRestore()
  expect(measured.map((m) => [m.runner, m.time.median])).toEqual([
    ['steady', 1],
    ['slows down', 200],
  ])
})

test('what cannot run says why, in every place where it can fail', async () => {
  const fails = (where: 'prepare' | 'output' | 'run'): Runner => {
    const refuse = (): never => {
      throw new Error(`no ${where}\nsecond line`)
    }
    let calls = 0
    return {
      name: where,
      threads: 2,
      can: {
        add: () =>
          where === 'prepare'
            ? refuse()
            : {
                run: () => (where === 'run' && ++calls > 2 ? refuse() : undefined),
                output: async () => (where === 'output' ? refuse() : [4, 6]),
              },
      },
    }
  }
  const none: Runner = { name: 'none', threads: 1, can: {} }
  const without = { lib: 'has no time' }
  const { measured, missing } = await measureCase(
    { ...sum, without },
    [fails('prepare'), fails('output'), fails('run'), none, runner('lib/wasm', [4, 6])],
    pace,
    probe,
  )
  expect(measured).toEqual([])
  expect(Object.fromEntries(missing.map((m) => [m.runner, m.reason]))).toEqual({
    prepare: 'no prepare',
    output: 'no output',
    run: 'no run',
    none: "has no 'add' here",
    'lib/wasm': 'has no time',
  })
})

test('work that times itself is believed', async () => {
  const own: Runner = {
    name: 'own',
    threads: 1,
    can: { cold: () => ({ run: () => 0, time: async () => 12, output: async () => [] }) },
  }
  const cold: Case = { ...sum, name: 'cold', work: { kind: 'cold' }, expected: () => null }
  const { measured } = await measureCase(cold, [own], pace, probe)
  expect(measured[0].time).toEqual({ median: 12, p10: 12, p90: 12 })
})

test('a watcher hears of every step, and ends the measurement by throwing', async () => {
  const steps: string[] = []
  const free = vi.fn()
  const one: Runner = {
    name: 'a',
    threads: 1,
    can: { add: () => ({ run: () => {}, output: async () => [4, 6], free }) },
  }
  const watcher = {
    async step(what: string): Promise<void> {
      steps.push(what)
      if (what.endsWith('round 2')) throw new Error('stopped')
    },
  }
  await expect(measureCase(sum, [one], pace, probe, watcher)).rejects.toThrow('stopped')
  expect(steps).toEqual([
    'true values in float64',
    'a ×1: checked',
    'a ×1: warmed up',
    'a ×1: round 1',
    'a ×1: round 2',
  ])
  expect(free).toHaveBeenCalledOnce()
})

test('the machine settles before every sample of several threads, and is not waited for by one', async () => {
  const order: string[] = []
  const told = (name: string, threads: number): Runner => ({
    ...runner(name, [4, 6], () => void order.push(name)),
    threads,
  })
  await measureCase(sum, [told('one', 1), told('two', 2)], pace, probe, {
    step: async () => {},
    settle: async () => void order.push('settle'),
  })
  const sampled = order.slice(order.indexOf('settle') - 1)
  expect(sampled.filter((what) => what === 'settle')).toHaveLength(pace.rounds)
  sampled.forEach((what, i) => {
    if (what === 'settle') expect(sampled[i + 1]).toBe('two')
  })
})

test('what is much slower has one sample once the time is used up, the others three', async () => {
  const timed = (name: string, ms: number): Runner => ({
    name,
    threads: 1,
    can: { add: () => ({ run: () => {}, time: async () => ms, output: async () => [4, 6] }) },
  })
  const { measured } = await measureCase(
    sum,
    [timed('fast', 1), timed('slow', 11)],
    { ...pace, rounds: 9, leastRounds: 5, budgetMs: -1 },
    probe,
  )
  expect(measured.map((m) => [m.runner, m.samples])).toEqual([
    ['fast', 3],
    ['slow', 1],
  ])
})

test('a case and its base are measured in the same rounds, runner by runner', async () => {
  const order: string[] = []
  const timed = (name: string, ms: number): Runner => ({
    name,
    threads: 1,
    can: {
      add: ({ length }) => ({
        run: () => {},
        time: async () => {
          order.push(`${name} ${length}`)
          return ms * length
        },
        output: async () => [4, 6],
      }),
    },
  })
  const wide: Case = { ...sum, name: 'wide', base: sum.name, work: { kind: 'add', length: 3 } }
  const [first, second] = await measureCases([sum, wide], [timed('a', 1), timed('b', 2)], pace, probe)
  expect(first.measured.map((m) => [m.case, m.runner, m.ofBase])).toEqual([
    [sum.name, 'a', null],
    [sum.name, 'b', null],
  ])
  expect(second).toMatchObject({ case: 'wide', base: sum.name, gap: null, missing: [] })
  expect(second.measured.map((m) => [m.runner, m.time.median, m.ofBase])).toEqual([
    ['a', 3, 1.5],
    ['b', 6, 1.5],
  ])
  expect(order.slice(0, 4)).toEqual(['a 2', 'b 2', 'a 3', 'b 3'])
})

test('the error is relative to the greatest true value, wherever the chunks stand', () => {
  const expected = { chunks: [{ at: 2, values: [10, -20] }], size: 4, tolerance: 1 }
  expect(greatestError([9, 9, 10, -20], expected)).toBe(0)
  expect(greatestError([9, 9, 12, -20], expected)).toBeCloseTo(0.1, 12)
  expect(greatestError([9, Number.NaN, 10, -20], expected)).toBe(Number.POSITIVE_INFINITY)
  expect(greatestError([9, 9, 10], expected)).toBe(Number.POSITIVE_INFINITY)
})

test('the probe counts both operations of every lane, and every byte, in the time that passes', () => {
  const { gflops, gigabytes } = makeProbe()
  let clock = 0
  const now = vi.spyOn(performance, 'now').mockImplementation(() => ++clock)
  // 100,000 turns of 12 multiply-adds of 4 lanes, and 96 MiB, each in one millisecond
  expect(gflops()).toBeCloseTo(9.6, 12)
  expect(gigabytes()).toBeCloseTo(100.663296, 12)
  now.mockRestore()
})
