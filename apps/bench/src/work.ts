/**
 * What is measured, as data, and the two contracts around it: a runner (one of ours or a peer) prepares a piece of work,
 * the prepared work runs again and again. Nothing here knows a library.
 */
import type { GptShape } from './gpt.js'

export type Work =
  /** a[m, k] · b[k, n], b known beforehand. */
  | { readonly kind: 'matmul'; readonly m: number; readonly n: number; readonly k: number }
  /** q, k, v [1, heads, length, dim], all of them new. */
  | {
      readonly kind: 'attention'
      readonly heads: number
      readonly length: number
      readonly dim: number
      readonly causal: boolean
    }
  /** Over the last axis of [rows, columns]. */
  | { readonly kind: 'softmax'; readonly rows: number; readonly columns: number }
  /** The same with weight and bias [columns], ε = 1e-5. */
  | { readonly kind: 'layerNorm'; readonly rows: number; readonly columns: number }
  /** x[1, length] + y[1, length]: small, so that what is measured is the way there. */
  | { readonly kind: 'add'; readonly length: number }
  /** `ops` adds one after the other, x + y + y + …, all [1, length]: what it costs to ask for one more op. */
  | { readonly kind: 'chain'; readonly length: number; readonly ops: number }
  /** x[time, batch, hidden] through one LSTM of the same width from a given state, every step's h out. */
  | { readonly kind: 'lstm'; readonly time: number; readonly batch: number; readonly hidden: number }
  /** Logits of every position of a prompt. */
  | { readonly kind: 'prefill'; readonly shape: GptShape; readonly length: number }
  /** Logits of one more token after `length` tokens, from a cache. */
  | {
      readonly kind: 'decode'
      readonly shape: GptShape
      readonly length: number
      readonly weights: 'f32' | 'int8' | 'q4'
    }
  /** Sentence vectors [text, width] of a BERT; the texts come as texts. */
  | { readonly kind: 'embed'; readonly texts: readonly string[]; readonly width: number }
  /** Loss, gradients and one AdamW update. */
  | {
      readonly kind: 'train'
      readonly shape: GptShape
      readonly batch: number
      readonly length: number
      readonly lr: number
    }
  /** A forward whose taps are all kept, read by nobody; `keep: none` is the same model's plain forward. */
  | {
      readonly kind: 'keep'
      readonly shape: GptShape
      readonly length: number
      readonly keep: 'all' | 'none'
    }
  /** Causal attention of 12 heads of 64 in a process of its own, for the memory that it takes. */
  | { readonly kind: 'memory'; readonly length: number }
  /** A new process: from before the import to the first matrix product. */
  | { readonly kind: 'cold' }

export type Kind = Work['kind']
export type WorkOf<K extends Kind> = Extract<Work, { kind: K }>
export type Inputs = Readonly<Record<string, Float32Array>>

/** Some of the true values in float64, each chunk standing at an offset of the output. */
export interface Expected {
  readonly chunks: readonly { readonly at: number; readonly values: ArrayLike<number> }[]
  readonly size: number
  /** Greatest error that is rounding and not a bug, relative to the greatest true value. */
  readonly tolerance: number
}

export interface Case {
  readonly name: string
  readonly work: Work
  /** At most so many rounds: for work that is a process each time. */
  readonly rounds?: number
  /** An earlier case of the same list that it is compared with: both are measured in one go. */
  readonly base?: string
  /** Left out with --quick. */
  readonly slow?: boolean
  /** Why some runner is not asked, by its name without threads: 'ort-web/wasm' or the library alone, 'tfjs'. */
  readonly without?: Readonly<Record<string, string>>
  /** Floating point operations of one run; 0 where they are not what counts. */
  readonly flops: number
  /** One line when files that it needs are not there: what, and how to get them. */
  missing?(): string | null
  inputs(): Inputs
  /** Null when there is nothing to compare (a cold start checks itself). */
  expected(inputs: Inputs): Expected | null | Promise<Expected | null>
}

/** Work that is ready: everything that happens once has happened. */
export interface Prepared {
  /** Once, to the end. */
  run(): unknown
  /** The result of a run, on the host. */
  output(): Promise<ArrayLike<number>>
  /** Milliseconds of one run, for work that times itself (a process of its own). */
  time?(): Promise<number>
  /** MB that the process of `time` took at its peak. */
  memory?(): number
  /** What ran, where a name is not enough: the build, the notice of a fallback. */
  readonly note?: string
  free?(): void
}

export type Prepare<K extends Kind> = (work: WorkOf<K>, inputs: Inputs) => Promise<Prepared> | Prepared
export type Abilities = { readonly [K in Kind]?: Prepare<K> }

/** A library on a number of threads. */
export interface Runner {
  /** `heed/cpu`, `ort-web/wasm`. */
  readonly name: string
  readonly threads: number
  readonly can: Abilities
  /** It is there for this kind of work alone: elsewhere nobody misses it. */
  readonly only?: Kind
  /** What renders, where it computes by rendering: a GPU, or software. */
  readonly renderer?: string
  /** Called before each sample: libraries with one backend in force at a time. */
  enter?(): unknown
}

/** What makes runners: a row of `backends` or `peers`. */
export interface Maker {
  readonly name: string
  /** False: runs only when it is named. */
  readonly byDefault: boolean
  /** False: it has one thread in Node, whatever is asked for. */
  readonly threaded: boolean
  /** For comparison within ours: one thread unless counts are asked for. */
  readonly aside?: boolean
  /** npm packages and their versions, for the record. */
  versions(): Readonly<Record<string, string>>
  make(threads: number): Promise<Runner>
}
