// Which number means which kernel: src/tasks.ts has the same list. A task is a function of (job, chunk, scratch): the block of
// words that the host wrote, which part of the work to do, and working memory that belongs to this thread.

import { unaryChunk } from './elementwise'

export function dispatch(task: i32, job: usize, chunk: i32, scratch: usize): void {
  switch (task) {
    case 20: unaryChunk(job, chunk); break
    default: unreachable()
  }
}
