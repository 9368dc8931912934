/**
 * Sizes that work has in real models, a line each. The benchmark measures all of them; conformance checks those that plain loops in double
 * precision can follow, forward and gradient, so that what is timed and what is checked have one source.
 */
import * as t from '@heed/tensor'
import { type CaseSpec, normals } from './case.js'

interface Size {
  readonly name: string
  /** Left out by those in a hurry. */
  readonly slow?: boolean
}
/** a[m, k] · b[k, n]. */
export interface ProductSize extends Size {
  readonly m: number
  readonly k: number
  readonly n: number
}
/** q, k and v [1, heads, length, dim]. */
export interface AttentionSize extends Size {
  readonly heads: number
  readonly length: number
  readonly dim: number
  readonly causal: boolean
}
/** Over the last axis of [rows, columns]. */
export interface RowsSize extends Size {
  readonly rows: number
  readonly columns: number
}

const product = (name: string, m: number, k: number, n: number, slow = false): ProductSize => ({
  ...{ name, m, k, n, slow },
})
/** GPT-2 small's: 12 heads of 64. */
const attention = (causal: boolean, length: number, slow = false): AttentionSize => ({
  name: `attention/${causal ? 'causal' : 'full'}/${length}`,
  ...{ heads: 12, length, dim: 64, causal, slow },
})
const rows = (op: string, count: number, columns: number): RowsSize => ({
  name: `${op}/${count}x${columns}`,
  rows: count,
  columns,
})

export const sizes = {
  linear: [
    product('gemm/128', 128, 128, 128),
    product('gemm/256', 256, 256, 256),
    product('gemm/512', 512, 512, 512),
    product('gemm/1024', 1024, 1024, 1024),
    // m×k×n of the products of GPT-2 small and MiniLM at 128 and 512 tokens
    product('gemm/gpt2/128x768x768', 128, 768, 768),
    product('gemm/gpt2/128x768x3072', 128, 768, 3072),
    product('gemm/gpt2/128x3072x768', 128, 3072, 768, true),
    product('gemm/gpt2/512x768x2304', 512, 768, 2304),
    product('gemm/minilm/128x384x384', 128, 384, 384),
    product('gemm/minilm/128x384x1536', 128, 384, 1536, true),
    // one row: bound by the memory that the weights stream from
    product('gemv/768x3072', 1, 768, 3072),
    product('gemv/768x50257', 1, 768, 50257),
  ],
  attention: [true, false].flatMap((causal) => [
    attention(causal, 128),
    attention(causal, 512),
    attention(causal, 1024, true),
    attention(causal, 2048, !causal),
    attention(causal, 8192, true),
  ]),
  softmax: [rows('softmax', 1536, 128), rows('softmax', 512, 2048)],
  layerNorm: [rows('layerNorm', 128, 768), rows('layerNorm', 512, 768)],
} as const satisfies Record<string, readonly Size[]>

const named = ({ name }: Size) => ({ name: `the size of ${name}`, layouts: false })

/** Cases of the products that plain loops can follow. */
export const productSizes: readonly CaseSpec[] = sizes.linear
  .filter(({ m, k, n }) => m * k * n <= 2.5e6)
  .map((s) => ({
    ...named(s),
    inputs: [normals(s.m, s.k), normals(s.k, s.n)],
    run: (a, b) => t.linear(a, b),
  }))
const few = ({ rows: r, columns }: RowsSize): boolean => r * columns <= 2e5
export const softmaxSizes: readonly CaseSpec[] = sizes.softmax.filter(few).map((s) => ({
  ...named(s),
  inputs: [normals(s.rows, s.columns)],
  run: (x) => t.softmax(x),
}))
export const layerNormSizes: readonly CaseSpec[] = sizes.layerNorm.filter(few).map((s) => ({
  ...named(s),
  inputs: [normals(s.rows, s.columns), normals(s.columns), normals(s.columns)],
  run: (x, w, b) => t.layerNorm(x, w, b),
}))
