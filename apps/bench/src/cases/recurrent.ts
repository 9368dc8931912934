/** LSTMs: one step of a wide one, and a sequence. Gates as in PyTorch. */
import { lstmExpected } from '../oracle.js'
import { noise } from '../random.js'
import type { Case, WorkOf } from '../work.js'

/** Named by time × batch × hidden. */
function lstm(name: string, time: number, batch: number, hidden: number): Case {
  const work: WorkOf<'lstm'> = { kind: 'lstm', time, batch, hidden }
  const std = 1 / Math.sqrt(3 * hidden)
  return {
    name,
    work,
    flops: 2 * time * batch * hidden * 8 * hidden,
    inputs: () => ({
      x: noise(time * batch * hidden, 1),
      h0: noise(batch * hidden, 2, 0.5),
      c0: noise(batch * hidden, 3, 0.5),
      w_ih: noise(hidden * 4 * hidden, 4, std), // [hidden, 4 · hidden], gates i, f, g, o
      w_hh: noise(hidden * 4 * hidden, 5, std),
      b: noise(4 * hidden, 6, std),
    }),
    expected: (inputs) => lstmExpected(work, inputs),
  }
}

export const recurrentCases: readonly Case[] = [
  lstm('lstm/step/1x1x512', 1, 1, 512),
  lstm('lstm/64x8x256', 64, 8, 256),
]
