/** The activations that the WASM kernels know, by the numbers of assembly/activations.ts. */
import type { GraphNode } from '@heed/tensor'

/** Activations whose gradient is worked out from the input; that of tanh reads its result. */
export const FROM_INPUT: readonly string[] = ['gelu', 'silu', 'relu', 'sigmoid']
export const ACTIVATIONS: readonly string[] = [...FROM_INPUT, 'tanh']

/** Number of the activation that a node of one input is, or 0. */
export function activationForm(node: Pick<GraphNode, 'op' | 'attrs'>): number {
  switch (node.op) {
    case 'gelu':
      return { none: 1, tanh: 2, quick: 3 }[node.attrs.approximate as string] ?? 0
    case 'silu':
      return 4
    case 'relu':
      return 5
    case 'tanh':
      return 6
    case 'sigmoid':
      return 7
    default:
      return 0
  }
}
