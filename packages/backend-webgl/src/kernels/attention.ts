/**
 * Attention (Vaswani et al. 2017, eq. 1) without reading anything back: scores, what a row needs for its softmax, pattern,
 * values. Scale, softcap, bias, mask and geometry are applied where a score is made, in that order; every size, the window,
 * the sinks and the offset are uniforms or read on the GPU, so that one program serves all lengths.
 */
import { type AttentionAttrs, type GraphNode, sizeOf, stridesOf } from '@heed/tensor'
import type { Kernel, Planner, Value } from '../plan.js'
import { broadcastStrides, walk } from '../walk.js'
import { type Epilogue, product } from './matmul.js'
import { reduce, reducedTo } from './reduce.js'

interface Parts {
  readonly a: AttentionAttrs
  readonly q: Value
  readonly k: Value
  readonly v: Value
  readonly offset: Value
  readonly mask: Value | null
  readonly bias: Value | null
  readonly sink: Value | null
  /** [batch, head, query, key] */
  readonly full: readonly number[]
  /** Query heads that share a key head. */
  readonly share: number
}
function partsOf(inputs: readonly Value[], attrs: Readonly<Record<string, unknown>>): Parts {
  const a = attrs as AttentionAttrs
  const [q, k, v, offset] = inputs
  let at = 4
  const [batch, heads, queries] = q.shape
  return {
    a,
    q,
    k,
    v,
    offset,
    mask: a.hasMask ? inputs[at++] : null,
    bias: a.hasBias ? inputs[at++] : null,
    sink: a.hasSink ? inputs[at++] : null,
    full: [batch, heads, queries, k.shape[2]],
    share: k.shape[1] === 0 ? 1 : heads / k.shape[1],
  }
}

/** [batch, head, …] as [batch, key head, sharing head, …]. */
const byGroup = (x: Value, share: number): Value => ({
  ...x,
  shape: [x.shape[0], x.shape[1] / share, share, ...x.shape.slice(2)],
  strides: [x.strides[0], x.strides[1] * share, x.strides[1], ...x.strides.slice(2)],
})
/** Keys or values of every key head, read again by each query head that shares it. */
const shared = (x: Value, share: number): Value => ({
  ...x,
  shape: [x.shape[0], x.shape[1], share, ...x.shape.slice(2)],
  strides: [x.strides[0], x.strides[1], 0, ...x.strides.slice(2)],
})
const turned = (x: Value): Value => {
  const n = x.shape.length
  const swap = (list: readonly number[]): number[] => [...list.slice(0, n - 2), list[n - 1], list[n - 2]]
  return { ...x, shape: swap(x.shape), strides: swap(x.strides) }
}
const as = (x: Value, shape: readonly number[]): Value => ({ ...x, shape, strides: stridesOf(shape) })

/** Wider than any sequence. */
const OPEN = 2 ** 29

/** What makes a score of a product q·k: scale → softcap → bias → −∞ where a query may not look. */
function scoring(p: Parts): Epilogue {
  const { a, mask, bias, full } = p
  const inputs: Value[] = [p.offset]
  const ints: Record<string, number> = {
    where_: p.offset.offset,
    causal: a.causal ? 1 : 0,
    left: a.window?.[0] ?? OPEN,
    right: a.window?.[1] ?? OPEN,
    sinks: a.window ? a.sinkTokens : 0,
    blocks: a.block,
    back: a.back,
  }
  const read = (v: Value, name: string) => {
    const w = walk(name, full, [{ offset: v.offset, strides: broadcastStrides(v, full) }])
    Object.assign(ints, w.ints)
    return { code: w.code, input: inputs.push(v) - 1 }
  }
  const m = mask && read(mask, 'maskPlace')
  const b = bias && read(bias, 'biasPlace')
  return {
    code: (first) => `${m?.code ?? ''}
${b?.code ?? ''}
int blockOf(int x) { int q = abs(x) / blocks; return x >= 0 ? q : -((blocks - 1 - x) / blocks); }
bool sees(int i, int j) {
  if (causal == 1 && j > i) return false;
  if (!(i - left <= j && j <= i + right) && j >= sinks) return false;
  if (blocks > 0) {
    int bi = blockOf(i);
    int bj = blockOf(j);
    if (bj < bi - back || bj > (causal == 1 ? bi : bi + back)) return false;
  }
  return true;
}
float finish(float acc, int group, int i, int j) {
  int o = (group * M + i) * N + j;
  int at;
  // an offset far outside sees the same as one just outside, and cannot overflow
  if (!sees(i + clamp(at${first}(where_), -M - 1 - ${OPEN}, ${OPEN}), j)) return -INF;
  ${m ? `maskPlace(o, at); if (at${first + m.input}(at) == 0) return -INF;` : ''}
  float s = acc * scale;
  if (softcap > 0.0) s = softcap * tanhOf(s / softcap);
  ${b ? `biasPlace(o, at); s += at${first + b.input}(at);` : ''}
  return s;
}`,
    inputs,
    ints,
    floats: { scale: a.scale, softcap: a.softcap },
  }
}
/** [batch, head, query, key] */
function scoresOf(planner: Planner, p: Parts, epilogue?: Epilogue): Value {
  const q = byGroup(p.q, p.share)
  const k = turned(shared(p.k, p.share))
  return as(product(planner, q, k, q.shape.slice(0, 3), epilogue), p.full)
}

const attention: Kernel = {
  largest: (node) => largest(node),
  plan: (node, inputs, planner) => {
    const p = partsOf(inputs, node.attrs)
    const [batch, heads, queries, keys] = p.full
    const scores = scoresOf(planner, p, scoring(p))
    const rows = batch * heads * queries
    // per row: the largest finite score m, Σ e^(s − m) or 1 where nothing is seen, log-sum-exp
    const stats = planner.draw({
      code: `vec4 quad(int row) {
  int base = row * keys;
  float top = -INF;
  for (int k = 0; k < keys; k++) top = max(top, at0(base + k));
  if (top == INF || top == -INF) top = 0.0;
  ${
    p.sink
      ? `float extra = at1(sink + (row / queries) % heads * sinkStep);
  top = max(top, extra == INF || extra == -INF ? 0.0 : extra);`
      : ''
  }
  float total = 0.0;
  for (int k0 = 0; k0 < keys; k0 += 64) {
    float part = 0.0;
    int stop = min(keys, k0 + 64);
    for (int k = k0; k < stop; k++) part += expOf(at0(base + k) - top);
    total += part;
  }
  ${p.sink ? 'total += expOf(extra - top);' : ''}
  bool empty = total == 0.0;
  float divisor = empty ? 1.0 : total;
  return vec4(top, divisor, empty ? -INF : logOf(divisor) + top, 0.0);
}`,
      inputs: p.sink ? [scores, p.sink] : [scores],
      ints: { keys, ...(p.sink ? { queries, heads, sink: p.sink.offset, sinkStep: p.sink.strides[0] } : {}) },
      shape: [rows, 4],
      dtype: 'f32',
    })
    const pattern = planner.draw({
      code: 'float value(int o) { vec4 s = texel1(o / keys); return expOf(at0(o) - s.x) / s.y; }',
      inputs: [scores, stats],
      ints: { keys },
      shape: p.full,
      dtype: 'f32',
    })
    const v = shared(p.v, p.share)
    const z = product(planner, byGroup(pattern, p.share), v, v.shape.slice(0, 3))
    const lse = planner.draw({
      code: 'float value(int o) { return texel0(o).z; }',
      inputs: [stats],
      shape: [batch, heads, queries],
      dtype: 'f32',
    })
    return [as(z, node.to[0].shape), lse]
  },
}

/**
 * With P the pattern, dP = dz·vᵀ and δ = Σ dz·z − dlse of a row: dS = P·(dP − δ), dv = Pᵀ·dz, dq = scale·dS·k and
 * dk = scale·dSᵀ·q, where a softcap c turns dS by 1 − (s/c)². P is made again from the scores and the log-sum-exp.
 */
const attentionVjp: Kernel = {
  largest: (node) => largest(node),
  plan: (node, inputs, planner) => {
    const { nIn, nOut, given } = node.attrs as { nIn: number; nOut: number; given: readonly boolean[] }
    const p = partsOf(inputs, node.attrs)
    const { a, share, full } = p
    const [batch, heads, queries, keys] = full
    const [z, lse] = inputs.slice(nIn, nIn + nOut).map((x) => planner.whole(x))
    const cotangents = inputs.slice(nIn + nOut).map((x) => planner.whole(x))
    const dz = given[0] ? (cotangents.shift() as Value) : null
    const dlse = given[1] ? (cotangents.shift() as Value) : null
    const scores = scoresOf(planner, p, scoring(p))
    const groups = p.k.shape[1]

    const pattern = planner.draw({
      code: 'float value(int o) { float l = at1(o / keys); return l == -INF ? 0.0 : expOf(at0(o) - l); }',
      inputs: [scores, lse],
      ints: { keys },
      shape: full,
      dtype: 'f32',
    })
    const rowShape = [batch, heads, queries]
    const deltaInputs: Value[] = []
    const use = (v: Value): number => deltaInputs.push(v) - 1
    const along = dz
      ? `for (int d = 0; d < width; d++) y += at${use(z)}(o * width + d) * at${use(dz)}(o * width + d);`
      : ''
    const minus = dlse ? `y -= at${use(dlse)}(o);` : ''
    const delta = planner.draw({
      code: `float value(int o) { float y = 0.0; ${along} ${minus} return y; }`,
      inputs: deltaInputs,
      ints: dz ? { width: z.shape[3] } : {},
      shape: rowShape,
      dtype: 'f32',
    })
    const dPattern = dz
      ? as(product(planner, byGroup(dz, share), turned(shared(p.v, share)), [batch, groups, share]), full)
      : null
    const dScores = planner.draw({
      code: `float value(int o) { return at0(o) * (${dPattern ? 'at2(o)' : '0.0'} - at1(o / keys)); }`,
      inputs: dPattern ? [pattern, delta, dPattern] : [pattern, delta],
      ints: { keys },
      shape: full,
      dtype: 'f32',
    })
    // what reaches q·k: through the softcap, times the scale
    const capped = a.softcap > 0 ? scoresOf(planner, p) : null
    const dProducts = planner.draw({
      code: `float value(int o) {
  float y = at0(o) * scale;
  ${capped ? 'float c = tanhOf(at1(o) * scale / softcap); y *= 1.0 - c * c;' : ''}
  return y;
}`,
      inputs: capped ? [dScores, capped] : [dScores],
      floats: { scale: a.scale, ...(capped ? { softcap: a.softcap } : {}) },
      shape: full,
      dtype: 'f32',
    })
    // heads that share a key head are rows of one product, so that their sum needs no step of its own
    const rowsOf = (x: Value): Value =>
      as(planner.whole(x), [batch, groups, share * queries, x.shape[x.shape.length - 1]])
    const lead = [batch, groups]
    const keyK = shared(p.k, share)
    const dq = product(planner, byGroup(dProducts, share), keyK, [batch, groups, share])
    const dk = product(planner, turned(rowsOf(dProducts)), rowsOf(p.q), lead)
    const dv = dz
      ? product(planner, turned(rowsOf(pattern)), rowsOf(dz), lead)
      : planner.constant(new Float32Array(sizeOf(p.v.shape)), p.v.shape, 'f32')
    const results = [as(dq, p.q.shape), as(dk, p.k.shape), as(dv, p.v.shape)]
    if (p.bias) results.push(reducedTo(planner, dScores, p.bias.shape))
    if (p.sink) {
      const each = planner.draw({
        code: `float value(int o) {
  float l = at1(o);
  return l == -INF ? 0.0 : -at2(o) * expOf(at0(sink + (o / queries) % heads * sinkStep) - l);
}`,
        inputs: [p.sink, lse, delta],
        ints: { queries, heads, sink: p.sink.offset, sinkStep: p.sink.strides[0] },
        shape: rowShape,
        dtype: 'f32',
      })
      results.push(as(planner.contiguous(reduce(planner, 'sum', each, [0, 2])), p.sink.shape))
    }
    return results
  },
}

/** The scores are held at once. */
const largest = ({ from: [q, k] }: GraphNode): number => q.shape[0] * q.shape[1] * q.shape[2] * k.shape[2]

export const attentionKernels = { attention, 'attention.vjp': attentionVjp } satisfies Record<string, Kernel>
