/** The kernels that run in chunks, by the numbers of assembly/tasks.ts. */
export const TASKS = {
  unary: 20,
} as const
export type Task = keyof typeof TASKS
