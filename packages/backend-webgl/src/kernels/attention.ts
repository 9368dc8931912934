/**
 * Attention (Vaswani et al. 2017, eq. 1) without reading anything back: scores, what a row needs for its softmax, e^(score −
 * top), values. Scale, softcap, bias, mask and geometry are applied where a score is made, in that order; every size, the
 * window, the sinks and the offset are uniforms or read on the GPU, so that one program serves all lengths. What the geometry
 * hides is not computed, and of many queries some rows at a time are, so that memory has a bound.
 */
import { type AttentionAttrs, type GraphNode, sizeOf } from '@heed/tensor'
import type { Kernel, Planner, Value } from '../plan.js'
import { broadcastStrides, walk } from '../walk.js'
import { map } from './elementwise.js'
import { as, type Epilogue, lanesOf, product, turned, type Within } from './matmul.js'
import { join } from './movement.js'
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
  readonly full: readonly [number, number, number, number]
  /** Query heads that share a key head. */
  readonly share: number
  /** The first of these queries among all of the node. */
  readonly start: number
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
    start: 0,
  }
}

/** Whether an input that broadcasts to [batch, head, query, key] differs from query to query. */
const byQuery = (x: Value): boolean => x.shape.length > 1 && x.shape[x.shape.length - 2] > 1
/** Some rows of the last axis but one. */
function rowsFrom(x: Value, start: number, count: number): Value {
  const axis = x.shape.length - 2
  return {
    ...x,
    offset: x.offset + start * x.strides[axis],
    shape: x.shape.map((d, i) => (i === axis ? count : d)),
  }
}
/**
 * Elements of scores that are held at once. 2²⁴ are 64 MB, with which programs are long enough to keep any GPU busy; no
 * more than one texture.
 */
const BUDGET = 2 ** 24
/** The same attention for some queries after others. */
function* chunksOf(p: Parts, planner: Planner): Generator<Parts> {
  const [batch, heads, queries, keys] = p.full
  const room = Math.floor(Math.min(BUDGET, 4 * planner.device.maxTextureSize ** 2) / (batch * heads * keys))
  // products take four rows at once
  const step = room >= queries ? queries : Math.max(1, room < 4 ? room : room - (room % 4))
  if (step >= queries) {
    yield p
    return
  }
  for (let start = 0; start < queries; start += step) {
    const count = Math.min(step, queries - start)
    const some = (x: Value | null): Value | null => (x && byQuery(x) ? rowsFrom(x, start, count) : x)
    yield {
      ...p,
      q: rowsFrom(p.q, start, count),
      mask: some(p.mask),
      bias: some(p.bias),
      full: [batch, heads, count, keys],
      start,
    }
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
const groupsOf = (p: Parts): number[] => [p.full[0], p.k.shape[1], p.share]

/** Wider than any sequence; twice as much still is no overflow. */
const OPEN = 2 ** 29

interface Geometry {
  /** GLSL that defines `keysSeen`, `queriesSeeing` and, with sinks, `between`; `offset` is the number of the offset's input. */
  readonly code: (offset: number) => string
  readonly ints: Readonly<Record<string, number>>
  /** What a query sees is not one range: `between(i, j)` says what of it is hidden. */
  readonly hasSinks: boolean
}
/** Who may see whom, by place alone; null where everybody sees everything. Its text has what the node asks for. */
function geometryOf({ a, offset, full, start }: Parts): Geometry | null {
  if (!a.causal && !a.window && a.block === 0) return null
  const blocks = Math.min(a.block, OPEN)
  const hasSinks = a.window !== null && a.sinkTokens > 0
  const only = (condition: unknown, text: string): string => (condition ? text : '')
  const ahead = a.causal ? '0' : 'back'
  return {
    hasSinks,
    ints: {
      ...{ where_: offset.offset, start, queries: full[2], keys: full[3] },
      ...(a.window ? { left: a.window[0] ?? OPEN, right: a.window[1] ?? OPEN, sinks: a.sinkTokens } : {}),
      ...(blocks > 0 ? { blocks, back: Math.min(a.back, Math.floor((2 * OPEN) / blocks)) } : {}),
    },
    // an offset far outside sees the same as one just outside, and cannot overflow
    code: (input) => `int moved() { return start + clamp(at${input}(where_), ${-OPEN / 2}, ${OPEN / 2}); }
${only(blocks > 0, 'int blockOf(int x) { int q = abs(x) / blocks; return x >= 0 ? q : -((blocks - 1 - x) / blocks); }')}
${only(hasSinks, 'bool between(int i, int j) { i += moved(); return j >= sinks && (j < i - left || j > i + right); }')}
// no key outside of [x, y) is seen by queries first to last
ivec2 keysSeen(int first, int last) {
  int by = moved();
  first += by;
  last += by;
  int from = ${a.window && !hasSinks ? 'max(first - left, 0)' : '0'};
  int to = keys;
  ${only(a.window, `to = min(to, max(last + right + 1, ${hasSinks ? 'sinks' : '0'}));`)}
  ${only(a.causal, 'to = min(to, last + 1);')}
  ${only(
    blocks > 0,
    `from = max(from, max(blockOf(first) - back, 0) * blocks);
  to = min(to, (min(blockOf(last) + ${ahead}, keys / blocks) + 1) * blocks);`,
  )}
  return ivec2(from, to);
}
// no query outside of [x, y) sees any of the keys first to last
ivec2 queriesSeeing(int first, int last) {
  int from = ${-2 * OPEN};
  int to = ${2 * OPEN - 1};
  ${only(a.window, `${only(hasSinks, 'if (first >= sinks)')} { from = first - right; to = last + left + 1; }`)}
  ${only(a.causal, 'from = max(from, first);')}
  ${only(
    blocks > 0,
    `from = max(from, (blockOf(first) - ${ahead}) * blocks);
  to = min(to, (min(blockOf(last) + back, ${OPEN} / blocks) + 1) * blocks);`,
  )}
  int by = moved();
  return ivec2(max(from - by, 0), min(min(to, ${2 * OPEN - 1}) - by, queries));
}`,
  }
}
/** What of a product is hidden: columns that are keys, terms that are keys, or terms that are queries (of every sharing head). */
function hidden(p: Parts, of: 'columns' | 'terms', by: 'keys' | 'queries' = 'keys'): Within | undefined {
  const geometry = geometryOf(p)
  if (!geometry) return undefined
  return {
    code: (first) => `${geometry.code(first)}
ivec2 within(int first, int last) { return ${by === 'keys' ? 'keysSeen' : 'queriesSeeing'}(first, last); }`,
    inputs: [p.offset],
    ints: geometry.ints,
    of,
    ...(by === 'queries' ? { runs: p.share } : {}),
  }
}

/**
 * What makes a score of a product q·k: scale → softcap → bias → −∞ where a query may not look. The text of `hidden` stands
 * before. With `lse` the result is the pattern.
 */
function scoring(p: Parts, lse?: Value, queries = 0): Epilogue {
  const { a, mask, bias, full } = p
  const inputs: Value[] = []
  const ints: Record<string, number> = {}
  const input = (v: Value): number => inputs.push(v) - 1
  const read = (v: Value, name: string) => {
    const w = walk(name, full, [{ offset: v.offset, strides: broadcastStrides(v, full) }])
    Object.assign(ints, w.ints)
    return { code: w.code, input: input(v) }
  }
  const m = mask && read(mask, 'maskPlace')
  const b = bias && read(bias, 'biasPlace')
  const l = lse && { input: input(lse) }
  if (lse) Object.assign(ints, { allQueries: queries, fromQuery: p.start })
  const geometry = geometryOf(p)
  return {
    code: (first, four) => {
      const { type, lanes } = lanesOf(four)
      const each = (line: (lane: string, n: number) => string): string => lanes.map(line).join(' ')
      // without sinks what a query sees is one range
      const hide = four
        ? `ivec4 js = j + ivec4(0, 1, 2, 3);
  s = mix(s, vec4(-INF), lessThan(js, ivec4(seen.x)));
  s = mix(s, vec4(-INF), greaterThanEqual(js, ivec4(seen.y)));`
        : 'if (j < seen.x || j >= seen.y) s = -INF;'
      const maskAt = (lane: string, n: number): string =>
        `maskPlace(o + ${n}, at); if (at${first + (m?.input ?? 0)}(at) == 0) s${lane} = -INF;`
      return `${m?.code ?? ''}
${b?.code ?? ''}
${type} finish(${type} acc, int group, int i, int j) {
  ${type} s = acc * scale;
  ${a.softcap > 0 ? each((lane) => `s${lane} = softcap * tanhOf(s${lane} / softcap);`) : ''}
  ${m || b ? 'int o = (group * M + i) * N + j; int at;' : ''}
  ${b ? each((lane, n) => `biasPlace(o + ${n}, at); s${lane} += at${first + b.input}(at);`) : ''}
  ${geometry ? hide : ''}
  ${geometry?.hasSinks ? each((lane, n) => `if (between(i, j + ${n})) s${lane} = -INF;`) : ''}
  ${m ? each(maskAt) : ''}
  ${
    l
      ? `float l = at${first + l.input}(group * allQueries + fromQuery + i);
  ${each((lane) => `s${lane} = l == -INF ? 0.0 : expOf(s${lane} - l);`)}`
      : ''
  }
  return s;
}`
    },
    inputs,
    ints,
    floats: { scale: a.scale, ...(a.softcap > 0 ? { softcap: a.softcap } : {}) },
    blank: lse ? '0.0' : '-INF',
  }
}
/** [batch, head, query, key] */
function scoresOf(planner: Planner, p: Parts, epilogue?: Epilogue): Value {
  const q = byGroup(p.q, p.share)
  const k = turned(shared(p.k, p.share))
  return as(product(planner, q, k, groupsOf(p), { epilogue, within: hidden(p, 'columns') }), p.full)
}

/** Few rows of many keys are gone through in parts, since a row each would leave a GPU idle. */
const FEW_ROWS = 4096
const MANY_KEYS = 512
/** Fours of keys (or keys, where four do not divide them) after which a sum begins anew, so that errors do not add up. */
const BLOCK = 64
interface OverKeys {
  readonly start: string
  /** GLSL over two numbers, or two vectors. */
  readonly step: (x: string, y: string) => string
  /** GLSL that makes the result of `acc` for `row`; `first` is the number of the first of its own inputs. */
  readonly end: (first: number) => string
  readonly inputs?: readonly Value[]
  readonly ints?: Readonly<Record<string, number>>
}
/** Goes through every row of x [batch, head, query, key], as far as its query sees: [rows]. */
function overKeys(planner: Planner, p: Parts, x: Value, o: OverKeys): Value {
  const [batch, heads, queries, keys] = p.full
  const rows = batch * heads * queries
  const isLong = keys >= MANY_KEYS && rows < FEW_ROWS
  const parts = isLong ? Math.ceil(Math.sqrt(keys) / 2) : 1
  const fours = keys % 4 === 0
  const geometry = geometryOf(p)
  const type = fours ? 'vec4' : 'float'
  const end = (of: string, first: number): string => `float acc = ${of}; ${o.end(first)}`
  const folded = fours ? o.step(o.step('y.x', 'y.y'), o.step('y.z', 'y.w')) : 'y'
  const more = isLong ? [] : (o.inputs ?? [])
  const first = planner.draw({
    code: `${geometry?.code(1) ?? ''}
float value(int o) {
  int row = o / parts;
  int part = o - row * parts;
  ${geometry ? 'int i = row % queries; ivec2 w = keysSeen(i, i);' : 'ivec2 w = ivec2(0, keys);'}
  w = ivec2(max(w.x, part * chunk), min(w.y, (part + 1) * chunk));
  int base = row * keys${fours ? ' >> 2' : ''};
  ${fours ? 'w = ivec2(w.x >> 2, (w.y + 3) >> 2);' : ''}
  ${type} y = ${type}(${o.start});
  for (int k0 = w.x; k0 < w.y; k0 += ${BLOCK}) {
    ${type} some = ${type}(${o.start});
    int stop = min(w.y, k0 + ${BLOCK});
    for (int k = k0; k < stop; k++) some = ${o.step('some', fours ? 'texel0(base + k)' : 'at0(base + k)')};
    y = ${o.step('y', 'some')};
  }
  ${isLong ? `return ${folded};` : end(folded, geometry ? 2 : 1)}
}`,
    inputs: [x, ...(geometry ? [p.offset] : []), ...more],
    ints: {
      ...geometry?.ints,
      queries,
      keys,
      parts,
      chunk: 4 * Math.ceil(keys / parts / 4),
      ...(isLong ? {} : o.ints),
    },
    shape: [rows, parts],
    dtype: 'f32',
  })
  if (!isLong) return first
  return planner.draw({
    code: `float value(int row) {
  float y = ${o.start};
  for (int part = 0; part < parts; part++) y = ${o.step('y', 'at0(row * parts + part)')};
  ${end('y', 1)}
}`,
    inputs: [first, ...(o.inputs ?? [])],
    ints: { parts, queries, ...o.ints },
    shape: [rows],
    dtype: 'f32',
  })
}
const larger = (x: string, y: string): string => `max(${x}, ${y})`
const added = (x: string, y: string): string => `(${x} + ${y})`

function forward(planner: Planner, p: Parts): { z: Value; lse: Value } {
  const { sink, full } = p
  const [batch, heads, queries, keys] = full
  const scores = scoresOf(planner, p, scoring(p))
  const sinkInts: Record<string, number> = sink
    ? { heads, sinkAt: sink.offset, sinkStep: sink.strides[0] }
    : {}
  const sinkLogit = (input: number): string => `at${input}(sinkAt + (row / queries) % heads * sinkStep)`
  // the largest finite score of a row, or 0
  const top = overKeys(planner, p, scores, {
    start: '-INF',
    step: larger,
    end: (first) => `if (acc == INF || acc == -INF) acc = 0.0;
  ${sink ? `float extra = ${sinkLogit(first)}; acc = max(acc, extra == INF || extra == -INF ? 0.0 : extra);` : ''}
  return acc;`,
    ...(sink ? { inputs: [sink], ints: sinkInts } : {}),
  })
  const fours = keys % 4 === 0
  const geometry = geometryOf(p)
  const e = (x: string): string => `expOf(${x} - m)`
  // e^(score − top), 0 where nothing is seen
  const weights = planner.draw({
    code: `${geometry?.code(2) ?? ''}
${fours ? 'vec4 quad(int t) { int o = t << 2;' : 'float value(int o) {'}
  int row = o / keys;
  ${geometry ? `int i = row % queries; int j = o - row * keys; ivec2 w = keysSeen(i, i); if (j${fours ? ' + 3' : ''} < w.x || j >= w.y) return ${fours ? 'vec4' : 'float'}(0.0);` : ''}
  float m = at1(row);
  ${fours ? `vec4 s = texel0(t); return vec4(${['s.x', 's.y', 's.z', 's.w'].map(e).join(', ')});` : `return ${e('at0(o)')};`}
}`,
    inputs: [scores, top, ...(geometry ? [p.offset] : [])],
    ints: { ...geometry?.ints, queries, keys },
    shape: full,
    dtype: 'f32',
  })
  const total = overKeys(planner, p, weights, {
    start: '0.0',
    step: added,
    end: (first) => (sink ? `return acc + expOf(${sinkLogit(first)} - at${first + 1}(row));` : 'return acc;'),
    ...(sink ? { inputs: [sink, top], ints: sinkInts } : {}),
  })
  const z = product(planner, byGroup(weights, p.share), shared(p.v, p.share), groupsOf(p), {
    within: hidden(p, 'terms'),
    epilogue: {
      code: (first, four) => {
        const { type } = lanesOf(four)
        return `${type} finish(${type} acc, int group, int i, int j) {
  float total = at${first}(group * M + i);
  return total == 0.0 ? acc : acc / total;
}`
      },
      inputs: [total],
    },
  })
  const lse = planner.draw({
    code: 'float value(int row) { float total = at1(row); return total == 0.0 ? -INF : logOf(total) + at0(row); }',
    inputs: [top, total],
    shape: [batch, heads, queries],
    dtype: 'f32',
  })
  return { z: as(z, [batch, heads, queries, p.v.shape[3]]), lse }
}
const attention: Kernel = {
  largest: (node) => largest(node),
  plan: (node, inputs, planner) => {
    const all = [...chunksOf(partsOf(inputs, node.attrs), planner)].map((p) => forward(planner, p))
    const z = join(
      planner,
      all.map((c) => c.z),
      2,
      'f32',
    )
    const lse = join(
      planner,
      all.map((c) => c.lse),
      2,
      'f32',
    )
    return [z, lse]
  },
}

/**
 * With P the pattern, dP = dz·vᵀ and δ = Σ P·dP − dlse of a row: dS = P·(dP − δ), dv = Pᵀ·dz, dq = scale·dS·k and
 * dk = scale·dSᵀ·q, where a softcap c turns dS by 1 − (s/c)². P is made again from the scores and the log-sum-exp.
 *
 * In exact arithmetic Σ P·dP is Σ dz·z, which is at hand. But only so is dP − δ exactly 0 where one key has all of P, and what
 * rounding of the log-sum-exp does to all of P falls out of Σ P·dP / Σ P.
 */
const attentionVjp: Kernel = {
  largest: (node) => largest(node),
  plan: (node, inputs, planner) => {
    const { nIn, nOut, given } = node.attrs as { nIn: number; nOut: number; given: readonly boolean[] }
    const all = partsOf(inputs, node.attrs)
    const { a, share } = all
    const [batch, heads, queries, keys] = all.full
    const lse = planner.whole(inputs[nIn + nOut - 1])
    const cotangents = inputs.slice(nIn + nOut)
    const dz = given[0] ? planner.whole(cotangents.shift() as Value) : null
    const dlse = given[1] ? planner.whole(cotangents.shift() as Value) : null

    // a row of a chunk among all rows
    const rowOf =
      'int group = row / queries; int place = group * allQueries + fromQuery + row - group * queries;'
    const sinkPattern = all.sink
      ? planner.draw({
          code: `float value(int o) {
  float l = at1(o);
  return l == -INF ? 0.0 : expOf(at0(sinkAt + (o / queries) % heads * sinkStep) - l);
}`,
          inputs: [all.sink, lse],
          ints: { queries, heads, sinkAt: all.sink.offset, sinkStep: all.sink.strides[0] },
          shape: [batch, heads, queries],
          dtype: 'f32',
        })
      : null
    const dqs: Value[] = []
    const dBiases: Value[] = []
    const deltas: Value[] = []
    let dk: Value | null = null
    let dv: Value | null = null
    for (const p of chunksOf(all, planner)) {
      const lead = groupsOf(p)
      const pattern = scoresOf(planner, p, scoring(p, lse, queries))
      const some = dz && rowsFrom(dz, p.start, p.full[2])
      // what reaches q·k of what reaches a score: through the softcap, times the scale
      const capped = a.softcap > 0 ? scoresOf(planner, p) : null
      const through = (input: number): string =>
        `y *= scale; ${capped ? `float c = tanhOf(at${input}(o) * scale / softcap); y *= 1.0 - c * c;` : ''}`
      const throughFloats = { scale: a.scale, ...(capped ? { softcap: a.softcap } : {}) }
      const dPattern =
        some &&
        as(
          product(planner, byGroup(some, share), turned(shared(p.v, share)), lead, {
            within: hidden(p, 'columns'),
          }),
          p.full,
        )
      const rowInts = { queries: p.full[2], keys, allQueries: queries, fromQuery: p.start }
      const deltaInputs: Value[] = []
      const use = (v: Value): number => deltaInputs.push(v) - 1
      const along = dPattern
        ? `float total = ${sinkPattern ? `at${use(sinkPattern)}(place)` : '0.0'};
  for (int k0 = 0; k0 < keys; k0 += 64) {
    vec2 part = vec2(0.0);
    int stop = row * keys + min(keys, k0 + 64);
    for (int k = row * keys + k0; k < stop; k++) {
      float share = at${use(pattern)}(k);
      part += vec2(share * at${use(dPattern)}(k), share);
    }
    y += part.x;
    total += part.y;
  }
  if (total > 0.0) y /= total;`
        : ''
      const minus = dlse ? `y -= at${use(dlse)}(place);` : ''
      const delta = planner.draw({
        code: `float value(int row) { ${rowOf} float y = 0.0; ${along} ${minus} return y; }`,
        inputs: deltaInputs,
        ints: rowInts,
        shape: p.full.slice(0, 3),
        dtype: 'f32',
      })
      deltas.push(delta)
      // a bias asks for what reaches a score
      const isOneStep = !p.bias
      const capped_ = isOneStep && capped ? [capped] : []
      const dScores = planner.draw({
        code: `float value(int o) {
  float y = at0(o) * (${dPattern ? 'at2(o)' : '0.0'} - at1(o / keys));
  ${isOneStep ? through(dPattern ? 3 : 2) : ''}
  return y;
}`,
        inputs: [pattern, delta, ...(dPattern ? [dPattern] : []), ...capped_],
        ints: { keys },
        floats: isOneStep ? throughFloats : {},
        shape: p.full,
        dtype: 'f32',
      })
      const dProducts = isOneStep
        ? dScores
        : planner.draw({
            code: `float value(int o) { float y = at0(o); ${through(1)} return y; }`,
            inputs: capped ? [dScores, capped] : [dScores],
            floats: throughFloats,
            shape: p.full,
            dtype: 'f32',
          })
      const dq = product(planner, byGroup(dProducts, share), shared(p.k, share), lead, {
        within: hidden(p, 'terms'),
      })
      dqs.push(as(dq, p.q.shape))
      // heads that share a key head are rows of one product, so that their sum needs no step of its own
      const rowsOf = (x: Value): Value =>
        planner.reshape(x, [lead[0], lead[1], share * p.full[2], x.shape[3]])
      const queriesOf = hidden(p, 'terms', 'queries')
      const sumWith = (known: Value | null, x: Value, y: Value): Value => {
        const part = product(planner, turned(rowsOf(x)), rowsOf(y), lead.slice(0, 2), { within: queriesOf })
        return known ? plus(planner, known, part) : part
      }
      dk = sumWith(dk, dProducts, p.q)
      if (some) dv = sumWith(dv, pattern, some)
      if (p.bias && all.bias) {
        const part = reducedTo(planner, dScores, p.bias.shape)
        // a part of one query looks like a bias of all
        if (byQuery(all.bias) || dBiases.length === 0) dBiases.push(part)
        else dBiases[0] = plus(planner, dBiases[0], part)
      }
    }
    const results = [
      join(planner, dqs, 2, 'f32'),
      as(dk as Value, all.k.shape),
      dv ? as(dv, all.v.shape) : planner.constant(new Float32Array(sizeOf(all.v.shape)), all.v.shape, 'f32'),
    ]
    if (all.bias) results.push(as(join(planner, dBiases, all.bias.shape.length - 2, 'f32'), all.bias.shape))
    if (all.sink && sinkPattern) {
      const each = planner.draw({
        code: 'float value(int o) { return -at0(o) * at1(o); }',
        inputs: [sinkPattern, join(planner, deltas, 2, 'f32')],
        shape: [batch, heads, queries],
        dtype: 'f32',
      })
      results.push(as(planner.contiguous(reduce(planner, 'sum', each, [0, 2])), all.sink.shape))
    }
    return results
  },
}
const plus = (planner: Planner, x: Value, y: Value): Value =>
  map(planner, 'a + b', [x, y], { shape: x.shape, dtype: 'f32' })

/** The scores of one query are held at once. */
const largest = ({ from: [q, k] }: GraphNode): number => q.shape[0] * q.shape[1] * k.shape[2]

export const attentionKernels = { attention, 'attention.vjp': attentionVjp } satisfies Record<string, Kernel>
