// Which number means which kernel: src/tasks.ts has the same list. A task is a function of (job, chunk, scratch): the block of
// words that the host wrote, which part of the work to do, and working memory that belongs to this thread.

import { matmulChunk, packChunk } from './matmul'
import { activationChunk } from './activations'
import { chainChunk } from './chain'
import { attentionChunk } from './attention'
import { attentionDeltaChunk, attentionGradientChunk, attentionSumChunk } from './attention-backward'
import { reduceChunk } from './elementwise'
import { copyChunk, takeAddChunk, takeChunk } from './gather'
import { adamChunk } from './optimizer'
import { cellBackChunk, cellChunk } from './recurrent'
import { ropeChunk } from './rope'
import { quantizedChunk, roundChunk } from './quantized'
import { normChunk, normColumnsChunk, softmaxChunk } from './rows'

export function dispatch(task: i32, job: usize, chunk: i32, scratch: usize): void {
  switch (task) {
    case 0: matmulChunk(job, chunk, scratch); break
    case 1: packChunk(job, chunk); break
    case 10: attentionChunk(job, chunk, scratch); break
    case 11: attentionDeltaChunk(job, chunk); break
    case 12: attentionGradientChunk(job, chunk, scratch); break
    case 13: attentionSumChunk(job, chunk); break
    case 20: chainChunk(job, chunk, scratch); break
    case 21: activationChunk(job, chunk); break
    case 22: softmaxChunk(job, chunk, scratch); break
    case 23: normChunk(job, chunk); break
    case 24: normColumnsChunk(job, chunk, scratch); break
    case 25: adamChunk(job, chunk); break
    case 26: copyChunk(job, chunk, scratch); break
    case 27: takeChunk(job, chunk); break
    case 28: takeAddChunk(job, chunk); break
    case 29: ropeChunk(job, chunk); break
    case 30: cellChunk(job, chunk); break
    case 31: cellBackChunk(job, chunk); break
    case 32: reduceChunk(job, chunk); break
    case 60: roundChunk(job, chunk); break
    case 61: quantizedChunk(job, chunk, scratch); break
    default: unreachable()
  }
}
