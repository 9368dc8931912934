/** What is done row by row, and the smallest op there is: what it costs to ask for anything at all. */
import { type RowsSize, sizes } from '@heed/conformance'
import { layerNorm, softmaxExpected } from '../oracle.js'
import { noise } from '../random.js'
import type { Case, Inputs, WorkOf } from '../work.js'

function softmax({ name, rows, columns }: RowsSize): Case {
  const work: WorkOf<'softmax'> = { kind: 'softmax', rows, columns }
  return {
    name,
    work,
    flops: 0,
    inputs: () => ({ x: noise(rows * columns, 1) }),
    expected: (inputs) => softmaxExpected(work, inputs as { x: Float32Array }),
  }
}

function norm({ name, rows, columns }: RowsSize): Case {
  return {
    name,
    work: { kind: 'layerNorm', rows, columns },
    flops: 0,
    inputs: () => ({ x: noise(rows * columns, 1), w: noise(columns, 2, 0.1, 1), b: noise(columns, 3) }),
    expected: ({ x, w, b }: Inputs) => ({
      chunks: [{ at: 0, values: layerNorm(x, w, b, rows, columns) }],
      size: rows * columns,
      tolerance: 1e-5,
    }),
  }
}

const LENGTH = 768
const dispatch: Case = {
  name: `dispatch/add/${LENGTH}`,
  work: { kind: 'add', length: LENGTH },
  flops: 0,
  inputs: () => ({ x: noise(LENGTH, 1), y: noise(LENGTH, 2) }),
  expected: ({ x, y }: Inputs) => ({
    chunks: [{ at: 0, values: Float64Array.from(x, (a, i) => a + y[i]) }],
    size: LENGTH,
    tolerance: 1e-6,
  }),
}

const OPS = 200
/** A graph of so many small adds, built, hashed, looked up and run each time: the cost of an op is a 200th of it. */
const chain: Case = {
  name: `dispatch/graph/${OPS}x${LENGTH}`,
  work: { kind: 'chain', length: LENGTH, ops: OPS },
  flops: 0,
  inputs: () => ({ x: noise(LENGTH, 1), y: noise(LENGTH, 2, 0.1) }),
  expected: ({ x, y }: Inputs) => ({
    chunks: [{ at: 0, values: Float64Array.from(x, (a, i) => a + OPS * y[i]) }],
    size: LENGTH,
    tolerance: 1e-5,
  }),
}

export const rowCases: readonly Case[] = [
  ...sizes.softmax.map(softmax),
  ...sizes.layerNorm.map(norm),
  dispatch,
  chain,
]
