// Fork and join over one shared memory. A kernel's work is cut into chunks; every thread takes the next one until none is left.
// A chunk writes what no other chunk writes and no sum crosses chunks, so the results do not depend on who took what.
//
// The host lays out the control block; each word that threads write has a cache line of its own.

import { dispatch } from './tasks'

/** Grows by one with every job: what workers wait for. */
// @ts-ignore: decorator
@inline const GENERATION: usize = 0
/** Chunks not taken yet; whoever lowers it from v > 0 owns chunk (chunks − v). */
// @ts-ignore: decorator
@inline const LEFT: usize = 64
// @ts-ignore: decorator
@inline const DONE: usize = 128
// @ts-ignore: decorator
@inline const PARKED: usize = 192
// @ts-ignore: decorator
@inline const STOP: usize = 256
/** 1 while the caller sleeps until DONE changes. */
// @ts-ignore: decorator
@inline const ASLEEP: usize = 384
// what the job is: written before LEFT opens it
// @ts-ignore: decorator
@inline const TASK: usize = 320
// @ts-ignore: decorator
@inline const JOB: usize = 324
// @ts-ignore: decorator
@inline const CHUNKS: usize = 328
// @ts-ignore: decorator
@inline const SCRATCH: usize = 332
// @ts-ignore: decorator
@inline const STRIDE: usize = 336

/** Bytes of the control block, zeros at first. src/threads.ts knows the words GENERATION, LEFT, DONE, STOP and FAILED (192 + 4). */
export function controlBytes(): usize {
  return 448
}

/** All chunks in order, on this thread. */
export function runAlone(task: i32, job: usize, chunks: i32, scratch: usize): void {
  for (let i = 0; i < chunks; i++) dispatch(task, job, i, scratch)
}

// A claim above 0 keeps the job open until it is counted as done, so the words read after it belong to it; a late thread that
// claims after the job was closed, or before the next one opens, gets 0 or less.
function take(control: usize, thread: i32): void {
  for (;;) {
    const left = atomic.sub<i32>(control + LEFT, 1)
    if (left <= 0) return
    const scratch = load<usize>(control + SCRATCH) + <usize>thread * load<usize>(control + STRIDE)
    dispatch(load<i32>(control + TASK), load<usize>(control + JOB), load<i32>(control + CHUNKS) - left, scratch)
    atomic.add<i32>(control + DONE, 1)
    if (atomic.load<i32>(control + ASLEEP)) atomic.notify(control + DONE, 1)
  }
}

/**
 * Shares the chunks with the workers and returns when all are done. Thread t has `stride` bytes at scratch + t·stride. After
 * `spins` looks the caller sleeps until the last chunk is done, so that a busy machine can run the thread that has it; a page's
 * main thread may not sleep and passes 0, which means that it looks for ever.
 */
export function runShared(control: usize, task: i32, job: usize, chunks: i32, scratch: usize, stride: usize, spins: i32): void {
  store<i32>(control + TASK, task)
  store<usize>(control + JOB, job)
  store<i32>(control + CHUNKS, chunks)
  store<usize>(control + SCRATCH, scratch)
  store<usize>(control + STRIDE, stride)
  atomic.store<i32>(control + DONE, 0)
  atomic.store<i32>(control + LEFT, chunks)
  atomic.add<i32>(control + GENERATION, 1)
  if (atomic.load<i32>(control + PARKED) > 0) atomic.notify(control + GENERATION, -1)
  take(control, 0)
  // every turn of these loops stores or sleeps between two looks: the optimiser moves an atomic load out of a loop that does neither
  let left = spins
  for (;;) {
    const done = atomic.load<i32>(control + DONE)
    if (done >= chunks) return
    if (spins > 0 && --left <= 0) {
      atomic.store<i32>(control + ASLEEP, 1)
      atomic.wait<i32>(control + DONE, done, -1)
      atomic.store<i32>(control + ASLEEP, 0)
    }
  }
}

/** A worker's life: looks `spins` times for a new job, then sleeps until there is one; returns when told to stop. */
export function work(control: usize, thread: i32, spins: i32): void {
  let seen = 0
  for (;;) {
    let left = spins
    let now = atomic.load<i32>(control + GENERATION)
    while (now == seen) {
      if (--left < 0) {
        atomic.add<i32>(control + PARKED, 1)
        atomic.wait<i32>(control + GENERATION, seen, -1)
        atomic.sub<i32>(control + PARKED, 1)
        left = spins
      }
      now = atomic.load<i32>(control + GENERATION)
    }
    seen = now
    if (atomic.load<i32>(control + STOP)) return
    take(control, thread)
  }
}
