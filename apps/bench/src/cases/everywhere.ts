/** The cases that a page can measure as well as Node. */
import type { Case } from '../work.js'
import { attentionCases } from './attention.js'
import { gemmCases } from './gemm.js'
import { gptCases } from './gpt.js'
import { recurrentCases } from './recurrent.js'
import { rowCases } from './rows.js'

export const everywhereCases: readonly Case[] = [
  ...gemmCases,
  ...attentionCases,
  ...rowCases,
  ...recurrentCases,
  ...gptCases,
]
