import { reference } from '@heed/tensor'
import { afterAll, describe, expect, it } from 'vitest'
import { contractCases } from './contract.js'
import { conformanceProperties } from './properties.js'
import { testBackend } from './test-backend.js'

describe('reference, float32', () => {
  testBackend(() => reference(), { describe, it, afterAll })
})

// float64 is the oracle of every case: here only what needs no oracle
describe('reference, float64', () => {
  const backend = reference({ precision: 'f64' })
  for (const property of conformanceProperties('f64'))
    it(`${property.name} (seed 7)`, () => property.check(backend, { seed: 7, runs: 60 }))
  for (const one of contractCases) it(one.name, () => one.check(backend))
  it('tries finite differences', () => {
    expect(conformanceProperties('f64').map((p) => p.name)).toContain(
      'gradients of random graphs equal finite differences',
    )
  })
})
