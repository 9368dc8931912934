/** Every case, in the order of the table. A case is a line in one of these files. */
import type { Case } from '../work.js'
import { attentionCases, memoryCases } from './attention.js'
import { gemmCases } from './gemm.js'
import { gptCases } from './gpt.js'
import { recurrentCases } from './recurrent.js'
import { rowCases } from './rows.js'
import { sentenceCases } from './sentences.js'

const coldStart: Case = {
  name: 'cold-start/matmul-64',
  work: { kind: 'cold' },
  flops: 0,
  inputs: () => ({}),
  expected: () => null,
}

export const cases: readonly Case[] = [
  ...gemmCases,
  ...attentionCases,
  ...rowCases,
  ...recurrentCases,
  ...gptCases,
  ...sentenceCases,
  ...memoryCases,
  coldStart,
]
