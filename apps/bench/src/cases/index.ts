/** Every case, in the order of the table. A case is a line in one of these files. */
import type { Case } from '../work.js'
import { memoryCases } from './attention.js'
import { everywhereCases } from './everywhere.js'
import { sentenceCases } from './sentences.js'

const coldStart: Case = {
  name: 'cold-start/matmul-64',
  work: { kind: 'cold' },
  flops: 0,
  rounds: 9,
  inputs: () => ({}),
  expected: () => null,
}

// these need files or processes of their own, which a page has not
export const cases: readonly Case[] = [...everywhereCases, ...sentenceCases, ...memoryCases, coldStart]
