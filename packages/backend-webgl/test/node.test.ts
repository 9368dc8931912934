// Node has no WebGL: the refusal says so, and `pick` goes on to the next backend with the reason at hand.
import { BackendError, pick, reference } from '@heed/tensor'
import { expect, it } from 'vitest'
import { webgl } from '../src/index.js'

it('is refused in Node with the way out', async () => {
  await expect(webgl()).rejects.toThrow(BackendError)
  await expect(webgl()).rejects.toThrow(/no WebGL2 here .*use cpu\(\)/)
})
it('leaves its reason with the backend that is picked instead', async () => {
  const backend = await pick([webgl(), reference()])
  expect(backend.name).toBe('reference')
  expect(backend.refused).toEqual([{ index: 0, reason: expect.stringMatching(/no WebGL2/) }])
})
