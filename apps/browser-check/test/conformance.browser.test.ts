// The contract again, in a page: Chromium validates the relaxed-SIMD kernels, which Node 20 does not.
import { cpu } from '@heed/backend-cpu'
import { testBackend } from '@heed/conformance'
import { afterAll, describe, expect, it } from 'vitest'

it('runs the relaxed kernels', async () => {
  expect((await cpu()).build).toBe('relaxed')
})
testBackend(() => cpu(), { describe, it, afterAll })
