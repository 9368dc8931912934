/** The kernels that run in chunks, by the numbers of assembly/tasks.ts. */
export const TASKS = {
  matmul: 0,
  pack: 1,
  attention: 10,
  attentionDelta: 11,
  attentionGradient: 12,
  attentionSum: 13,
  unary: 20,
  activation: 21,
  softmax: 22,
  norm: 23,
  normColumns: 24,
  adam: 25,
  copy: 26,
  take: 27,
  takeAdd: 28,
  rope: 29,
  cell: 30,
  cellBack: 31,
  round: 60,
  quantized: 61,
} as const
export type Task = keyof typeof TASKS
