/**
 * What a run can prove about itself: the residual stream is the sum of its parts, and a recomputed pattern gives the
 * z that the fused kernel gave. Cheap enough to be shown with every result; a silent fault in either shows here first.
 */
import {
  abs,
  add,
  broadcastTo,
  matmul,
  max,
  realize,
  reshape,
  sliceAxis,
  sub,
  type Tensor,
} from '@heed/tensor'
import { checkOptions, InterpretError, indexOf } from './errors.js'
import { Printed, tiny } from './print.js'
import { blocksOf, isPostNorm, type Traced, tapsOf } from './traced.js'

/** The largest error of a check, and where it is. */
export class SelfCheck extends Printed {
  constructor(
    readonly name: string,
    /** Largest absolute error. */
    readonly error: number,
    /** The tap that has it. */
    readonly worst: string,
    /** Errors by tap. */
    readonly errors: ReadonlyMap<string, number>,
  ) {
    super()
  }
  toString(): string {
    return `${this.name}: ${tiny(this.error)} (worst at ${this.worst})`
  }
}

async function checked(name: string, differences: ReadonlyMap<string, Tensor>): Promise<SelfCheck> {
  const largest = [...differences].map(([tap, d]) => [tap, max(abs(d))] as const)
  await realize(largest.map(([, t]) => t))
  const errors = new Map<string, number>()
  for (const [tap, t] of largest) errors.set(tap, await t.item())
  // NaN is worse than anything
  const rank = (v: number): number => (Number.isNaN(v) ? Number.POSITIVE_INFINITY : v)
  const [worst, error] = [...errors].reduce((a, b) => (rank(b[1]) > rank(a[1]) ? b : a))
  return new SelfCheck(name, error, worst, errors)
}

/**
 * The residual stream is what was added to it: the first `resid_pre` is the sum of the embeddings, every `resid_mid` is
 * `resid_pre + attn_out`, every `resid_post` adds `mlp_out` (in post-norm models to `ln1`), every `resid_pre` is what the
 * block before handed on. Values are compared after edits, so an edit of a residual shows as its size.
 */
export async function residualIdentity(
  run: Traced,
  options: { stack?: '' | 'encoder.' | 'decoder.' } = {},
): Promise<SelfCheck> {
  checkOptions('residualIdentity', options, ['stack'])
  const { stack = '' } = options
  const blocks = blocksOf(run, stack)
  if (blocks.length === 0)
    throw new InterpretError(`residualIdentity: the run has no taps '${stack}blocks.*'`)
  const isPost = isPostNorm(run, stack)
  const differences = new Map<string, Tensor>()
  const sum = (names: readonly string[]): Tensor => names.map((n) => run.get(n)).reduce((a, b) => add(a, b))
  const expect = (name: string, parts: readonly string[]): void => {
    if (run.has(name) && parts.every((p) => run.has(p))) differences.set(name, sub(run.get(name), sum(parts)))
  }
  blocks.forEach((i, k) => {
    const at = (word: string): string => `${stack}blocks.${i}.${word}`
    if (k === 0) {
      const parts = run.has(`${stack}ln_embed`) ? ['ln_embed'] : ['embed', 'pos_embed', 'type_embed']
      const there = parts.map((p) => stack + p).filter((p) => run.has(p))
      if (there.length > 0) expect(at('resid_pre'), there)
    } else {
      const before = `${stack}blocks.${blocks[k - 1]}.${isPost ? 'ln2' : 'resid_post'}`
      expect(at('resid_pre'), [before])
    }
    const hasMlp = run.has(at('mlp_out'))
    if (run.has(at('resid_mid'))) {
      expect(at('resid_mid'), [at('resid_pre'), at('attn_out')])
      expect(at('resid_post'), [at(isPost ? 'ln1' : 'resid_mid'), ...(hasMlp ? [at('mlp_out')] : [])])
    } else expect(at('resid_post'), [at('resid_pre'), at('attn_out'), ...(hasMlp ? [at('mlp_out')] : [])])
  })
  if (differences.size === 0)
    throw new InterpretError('residualIdentity: the run taps no residuals with their parts')
  return checked('residual stream is the sum of its parts', differences)
}

/**
 * One recomputed row of every layer's pattern times v, against z as the kernel gave it.
 * @throws InterpretError for runs with a cache: their v is not all of v.
 */
export async function patternSelfCheck(
  run: Traced,
  options: { query?: number; stack?: '' | 'encoder.' | 'decoder.' } = {},
): Promise<SelfCheck> {
  checkOptions('patternSelfCheck', options, ['query', 'stack'])
  const { query = -1, stack = '' } = options
  const differences = new Map<string, Tensor>()
  for (const name of tapsOf('patternSelfCheck', run, 'attn.pattern', stack)) {
    const attn = name.slice(0, -'pattern'.length)
    const z = run.get(`${attn}z`) // [batch, head, position, dHead]
    const v = run.get(`${attn}v`) // [batch, nKvHead, key, dHead]
    const q = indexOf('patternSelfCheck', 'query', query, z.shape[2])
    const row = run.get(name, { query: q }) // [batch, head, 1, key]
    const [batch, nHead, , keys] = row.shape
    const [, groups, position, width] = v.shape
    if (position !== keys)
      throw new InterpretError(
        `patternSelfCheck: '${name}' has ${keys} keys and v ${position} positions; run the whole text without a cache`,
      )
    const wide = broadcastTo(reshape(v, [v.shape[0], groups, 1, keys, width]), [
      batch,
      groups,
      nHead / groups,
      keys,
      width,
    ])
    const again = matmul(row, reshape(wide, [batch, nHead, keys, width])) // [batch, head, 1, dHead]
    differences.set(name, sub(sliceAxis(z, 2, q, q + 1), again))
  }
  return checked('pattern · v is z', differences)
}
