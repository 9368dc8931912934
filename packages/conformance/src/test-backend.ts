/** `testBackend`: everything a backend must satisfy, registered with the caller's own test runner. */
import { type Backend, reference } from '@heed/tensor'
import { conformanceCases } from './cases.js'
import { contractCases } from './contract.js'
import { conformanceProperties } from './properties.js'
import { runCase } from './run.js'

/** The part of vitest, Jest or Mocha that is needed. */
export interface TestRunner {
  describe(name: string, body: () => void): void
  it(name: string, body: () => Promise<void>): void
  afterAll?(body: () => void | Promise<void>): void
}

export interface TestBackendOptions {
  /** Precision of the backend that `make` gives; decides which properties are tried. Default f32. */
  readonly precision?: Backend['precision']
  /** Only cases, properties and promises whose name passes. */
  readonly only?: (name: string) => boolean
  /** Cases that are left out, by a start of their name, each with the reason; a start that fits no case fails. */
  readonly skip?: Readonly<Record<string, string>>
  /** Seed of the property tests; it is part of their names. Default 20260117. */
  readonly seed?: number
  /** Inputs tried for each property. Default 25. */
  readonly runs?: number
}

const KNOWN: readonly string[] = ['precision', 'only', 'skip', 'seed', 'runs']

/**
 * Registers every conformance case, property and promise of the contract for the backend that `make` gives.
 * One backend is made for all of them, and disposed at the end where the runner has `afterAll`.
 */
export function testBackend(
  make: () => Promise<Backend> | Backend,
  runner: TestRunner,
  options: TestBackendOptions = {},
): void {
  for (const name of Object.keys(options))
    if (!KNOWN.includes(name))
      throw new Error(`testBackend: unknown option '${name}'; known: ${KNOWN.join(', ')}`)
  const { precision = 'f32', only = () => true, skip = {}, seed = 20260117, runs = 25 } = options
  const { describe, it } = runner
  let made: Promise<Backend> | undefined
  let oracle: Backend | undefined
  const backend = async (): Promise<Backend> => {
    made ??= Promise.resolve(make())
    const b = await made
    if (b.precision !== precision)
      throw new Error(
        `testBackend: '${b.name}' computes in ${b.precision}; pass { precision: '${b.precision}' }`,
      )
    return b
  }
  runner.afterAll?.(async () => {
    oracle?.dispose()
    if (made) (await made).dispose()
  })
  const skipped = (name: string): boolean =>
    !only(name) || Object.keys(skip).some((start) => name.startsWith(start))

  const cases = conformanceCases()
  const byOp = new Map<string, typeof cases>()
  for (const one of cases) byOp.set(one.op, [...(byOp.get(one.op) ?? []), one])
  for (const [op, own] of byOp) {
    const left = own.filter((c) => !skipped(c.name))
    if (left.length === 0) continue
    describe(op, () => {
      for (const one of left)
        it(one.name.slice(op.length + 1), async () => {
          const b = await backend()
          oracle ??= reference({ precision: 'f64' })
          const bad = (await runCase(one, b, oracle)).filter((r) => !r.pass)
          if (bad.length > 0)
            throw new Error(bad.map((r) => `${r.name}, ${r.direction} (${r.how}): ${r.reason}`).join('\n'))
        })
    })
  }
  // runners refuse a group without tests
  const properties = conformanceProperties(precision).filter((p) => !skipped(p.name))
  if (properties.length > 0)
    describe('properties', () => {
      for (const property of properties)
        it(`${property.name} (seed ${seed})`, async () => property.check(await backend(), { seed, runs }))
    })
  const promises = contractCases.filter((c) => !skipped(c.name))
  if (promises.length > 0)
    describe('contract', () => {
      for (const one of promises) it(one.name, async () => one.check(await backend()))
    })
  const names = [
    ...cases.map((c) => c.name),
    ...conformanceProperties(precision).map((p) => p.name),
    ...contractCases.map((c) => c.name),
  ]
  if (!names.some(only)) throw new Error('testBackend: only lets no case through')
  for (const start of Object.keys(skip))
    if (!names.some((name) => name.startsWith(start)))
      throw new Error(`testBackend: skip '${start}' fits no case; remove it`)
}
