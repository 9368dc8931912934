/** All cases in one list: data for whoever wants to run them elsewhere. */
import { type PrimitiveName, primitiveNames } from '@heed/tensor'
import { type Case, casesOf } from './case.js'
import { compositeCases, compositeNames } from './composite-cases.js'
import { functionCases } from './function-cases.js'
import { primitiveCases } from './primitive-cases.js'

/** Every primitive, composite and function, forward and gradient, in every memory layout. */
export function conformanceCases(): Case[] {
  return [
    ...primitiveNames.flatMap((op: PrimitiveName) =>
      casesOf(op, 'primitive', primitiveCases[op].family, primitiveCases[op].cases),
    ),
    ...compositeNames.flatMap((op) =>
      casesOf(op, 'composite', compositeCases[op].family, compositeCases[op].cases),
    ),
    ...Object.entries(functionCases).flatMap(([op, { family, cases }]) =>
      casesOf(op, 'function', family, cases),
    ),
  ]
}
