// What every backend must satisfy, and that our one kernel is what ran.
import { testBackend } from '@heed/conformance'
import { add, realize, tensor, UnsupportedOpError } from '@heed/tensor'
import { afterAll, describe, expect, it } from 'vitest'
import { template } from '../src/index.js'

testBackend(
  template,
  { describe, it, afterAll },
  // drop a line when the kernel that it waits for is there
  { runs: 3, skip: { 'a donated input may be written over': 'there is no kernel for update yet' } },
)

it('runs its own kernel, and says what it lacks', async () => {
  const backend = template()
  const y = add(tensor([1, 2, 3]), tensor([10, 20, 30]))
  const report = await realize([y], { backend })
  expect(report.ran).toEqual([{ op: 'add', how: 'native', count: 1 }])
  expect(await y.array()).toEqual([11, 22, 33])
  const wide = add(tensor([1, 2, 3]), 1)
  await expect(realize([wide], { backend, strict: true })).rejects.toThrow(UnsupportedOpError)
  await expect(realize([wide], { backend, strict: true })).rejects.toThrow(/tensors of one shape/)
})
