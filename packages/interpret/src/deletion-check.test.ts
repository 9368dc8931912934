import { attention, embedding, type ModelInput, mul, reference, reshape, setBackend, softmax, sum, type Tensor, tap, tensor, trace } from '@heed/tensor'
import { beforeAll, expect, test } from 'vitest'
import { idsOf, randomPlain } from '../test/plain.js'
import { deletionCheck } from './deletion-check.js'
import { logitOf, probabilityOf } from './metric.js'
import type { Traced } from './traced.js'

beforeAll(() => setBackend(reference({ precision: 'f64' })))

// a score that is the sum of the worths of the tokens whose keys are seen
const worth = [5, 1, 4, 2, 3, 0.5, 0]
const additive = (input: ModelInput): Tensor => {
  const { ids, mask } = input
  const w = reshape(embedding(tensor(worth.map((v) => [v])), ids), [1, -1])
  const seen = mask ? reshape(mask, [mask.shape[0], ids.shape[1]]) : null
  const total = sum(seen ? mul(w, softmax(mul(w, 0), { mask: seen })) : w, { axes: -1 })
  const count = seen ? sum(seen, { axes: -1 }) : null
  // softmax of zeros over the seen keys is 1/count
  return tap('logits', reshape(count ? mul(total, (reshape(count, count.shape) as Tensor) && countAsFloat(count)) : total, [-1, 1]))
}
const countAsFloat = (count: Tensor): Tensor => sum(mul(tensor([1]), reshape(castTo(count), [-1, 1])), { axes: -1 })
const castTo = (x: Tensor): Tensor => x
