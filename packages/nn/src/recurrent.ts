/**
 * Recurrent layers with PyTorch's gates: each direction of each layer is one scan whose body is a cell. What depends
 * on the inputs alone is one matrix product over all steps, before the loop.
 */
import {
  add,
  broadcastTo,
  checkOptions,
  concat,
  iota,
  less,
  linear,
  mul,
  relu,
  reshape,
  ShapeError,
  scan,
  scope,
  showShape,
  sigmoid,
  sliceAxis,
  sub,
  type Tensor,
  tanh,
  tap,
  transpose,
  ValueError,
  where,
  zeros,
} from '@heed/tensor'
import { type Module, module } from './module.js'
import { checkSizes } from './options.js'
import { type Init, param, uniform } from './param.js'

/** Weights of one cell, [in, out], gates side by side: rnn 1, gru 3 (r, z, n), lstm 4 (i, f, g, o). */
export interface CellWeights {
  /** [input, gates·hidden] */
  w_ih: Tensor
  /** [hidden, gates·hidden] */
  w_hh: Tensor
  b_ih?: Tensor
  b_hh?: Tensor
}

/** Part i of n equal parts of the last axis. */
function gate(x: Tensor, i: number, n: number): Tensor {
  const size = x.shape[x.rank - 1] / n
  return sliceAxis(x, x.rank - 1, i * size, (i + 1) * size)
}

/** (what the input gives [batch, gates·hidden], states [batch, hidden]) → new states. */
type Step = (fromInput: Tensor, state: readonly Tensor[], w: CellWeights) => Tensor[]

const rnnStep =
  (act: (x: Tensor) => Tensor): Step =>
  (fromInput, [h], w) => [act(add(fromInput, linear(h, w.w_hh, w.b_hh)))]

const gruStep: Step = (fromInput, [h], w) => {
  const fromState = linear(h, w.w_hh, w.b_hh)
  const r = sigmoid(add(gate(fromInput, 0, 3), gate(fromState, 0, 3)))
  const z = sigmoid(add(gate(fromInput, 1, 3), gate(fromState, 1, 3)))
  // the reset gate acts after the product, bias inside (cuDNN's form, not the paper's)
  const n = tanh(add(gate(fromInput, 2, 3), mul(r, gate(fromState, 2, 3))))
  return [add(mul(sub(1, z), n), mul(z, h))]
}

const lstmStep: Step = (fromInput, [h, c], w) => {
  const gates = add(fromInput, linear(h, w.w_hh, w.b_hh))
  const i = sigmoid(gate(gates, 0, 4))
  const f = sigmoid(gate(gates, 1, 4))
  const g = tanh(gate(gates, 2, 4))
  const o = sigmoid(gate(gates, 3, 4))
  const next = add(mul(f, c), mul(i, g))
  return [mul(o, tanh(next)), next]
}

/** One GRU step: x [batch, input], h [batch, hidden] → h (Cho et al. 2014, gates as in PyTorch). */
export const gruCell = (x: Tensor, h: Tensor, w: CellWeights): Tensor =>
  gruStep(linear(x, w.w_ih, w.b_ih), [h], w)[0]
/** One LSTM step → h and c (Hochreiter & Schmidhuber 1997, gates as in PyTorch). */
export function lstmCell(x: Tensor, h: Tensor, c: Tensor, w: CellWeights): { h: Tensor; c: Tensor } {
  const [nextH, nextC] = lstmStep(linear(x, w.w_ih, w.b_ih), [h, c], w)
  return { h: nextH, c: nextC }
}
/** One step of the plain network: act(x w_ih + b_ih + h w_hh + b_hh) (Elman 1990). */
export const rnnCell = (
  x: Tensor,
  h: Tensor,
  w: CellWeights,
  nonlinearity: 'tanh' | 'relu' = 'tanh',
): Tensor => rnnStep(nonlinearity === 'relu' ? relu : tanh)(linear(x, w.w_ih, w.b_ih), [h], w)[0]

export interface RecurrentOptions {
  input: number
  hidden: number
  /** Default 1. */
  layers?: number
  bidirectional?: boolean
  /** Default true: two biases per cell, as in PyTorch. */
  bias?: boolean
  /** Of weights and biases. Default uniform in ±1/√hidden. */
  init?: Init
  key?: Tensor
}
export interface RecurrentInputs {
  /** [layers·directions, batch, hidden]; default zeros. */
  h0?: Tensor
  /** i32 [batch]: real steps of each row, padding behind them. */
  lengths?: Tensor
}
export interface RecurrentResult {
  /** [batch, time, directions·hidden], zero past a row's length. */
  y: Tensor
  /** [layers·directions, batch, hidden], each row's state after its last real step. */
  hN: Tensor
}
export interface RecurrentParts {
  layers: readonly { forward: CellWeights; backward?: CellWeights }[]
}
type Recurrent<I, R> = Module<RecurrentParts, [x: Tensor, inputs?: I], R>

const names = ['input', 'hidden', 'layers', 'bidirectional', 'bias', 'init', 'key']

function partsOf(what: string, o: RecurrentOptions, gates: number): RecurrentParts {
  const { input, hidden, layers = 1, bidirectional = false, bias = true, key } = o
  checkSizes(what, { input, hidden, layers })
  const init = o.init ?? uniform(1 / Math.sqrt(hidden))
  const cell = (width: number): CellWeights => ({
    w_ih: param([width, gates * hidden], init, key),
    w_hh: param([hidden, gates * hidden], init, key),
    ...(bias ? { b_ih: param([gates * hidden], init, key), b_hh: param([gates * hidden], init, key) } : {}),
  })
  return {
    layers: Array.from({ length: layers }, (_, l) => {
      const width = l === 0 ? input : hidden * (bidirectional ? 2 : 1)
      return { forward: cell(width), ...(bidirectional ? { backward: cell(width) } : {}) }
    }),
  }
}

/** All layers and directions over x [batch, time, input]; `initial` holds one tensor per kind of state. */
function run(
  m: RecurrentParts,
  o: RecurrentOptions,
  x: Tensor,
  step: Step,
  initial: readonly (Tensor | undefined)[],
  lengths: Tensor | undefined,
): { y: Tensor; final: Tensor[] } {
  const { hidden } = o
  if (x.rank !== 3 || x.shape[2] !== o.input)
    throw new ShapeError(`x is ${showShape(x.shape)}, expected [batch, time, ${o.input}]`)
  const [batch, time] = x.shape
  if (lengths && (lengths.dtype !== 'i32' || lengths.rank !== 1 || lengths.shape[0] !== batch))
    throw new ShapeError(`lengths are ${lengths.dtype} ${showShape(lengths.shape)}, expected i32 [${batch}]`)
  const directions = o.bidirectional ? 2 : 1
  const nStates = m.layers.length * directions
  for (const s of initial)
    if (s && showShape(s.shape) !== showShape([nStates, batch, hidden]))
      throw new ShapeError(
        `the initial state is ${showShape(s.shape)}, expected ${showShape([nStates, batch, hidden])}`,
      )
  const real =
    lengths && less(reshape(iota(time, { dtype: 'i32' }), [time, 1, 1]), reshape(lengths, [1, batch, 1]))
  const final: Tensor[][] = initial.map(() => [])
  let y = transpose(x, [1, 0, 2]) // [time, batch, input]

  const direction = (w: CellWeights, at: number, reverse: boolean): Tensor => {
    const init = initial.map((s) =>
      s ? reshape(sliceAxis(s, 0, at, at + 1), [batch, hidden]) : zeros([batch, hidden]),
    )
    const fromInput = linear(y, w.w_ih, w.b_ih) // [time, batch, gates·hidden]
    const loop = scan(
      (state, [input, keep]) => {
        const next = step(input, state, w)
        if (!keep) return { carry: next, ys: [next[0]] }
        // past a row's length its state waits: the reverse direction starts at the last real step
        return { carry: next.map((s, i) => where(keep, s, state[i])), ys: [where(keep, next[0], 0)] }
      },
      { init, xs: real ? [fromInput, broadcastTo(real, [time, batch, 1])] : [fromInput], reverse },
    )
    loop.carry.forEach((s, i) => {
      final[i].push(reshape(s, [1, batch, hidden]))
    })
    return loop.ys[0] // [time, batch, hidden]
  }

  m.layers.forEach((layer, l) => {
    const ys = [direction(layer.forward, l * directions, false)]
    if (layer.backward) ys.push(direction(layer.backward, l * directions + 1, true))
    y = scope(`layers.${l}`, () => tap('h', concat(ys, 2))) // [time, batch, directions·hidden]
  })
  return { y: transpose(y, [1, 0, 2]), final: final.map((list) => concat(list, 0)) }
}

/**
 * h = act(x w_ih + b_ih + h w_hh + b_hh) over time. Parameters `layers.{i}.forward.w_ih` …, `layers.{i}.backward.w_ih` …;
 * taps `layers.{i}.h` [time, batch, directions·hidden].
 */
export function rnn(
  o: RecurrentOptions & { nonlinearity?: 'tanh' | 'relu' },
): Recurrent<RecurrentInputs, RecurrentResult> {
  checkOptions('rnn', o, [...names, 'nonlinearity'])
  const { nonlinearity = 'tanh' } = o
  if (nonlinearity !== 'tanh' && nonlinearity !== 'relu')
    throw new ValueError(`rnn: nonlinearity '${nonlinearity}' is unknown; use 'tanh' or 'relu'`)
  const step = rnnStep(nonlinearity === 'relu' ? relu : tanh)
  return module(
    partsOf('rnn', o, 1),
    (m: RecurrentParts, x: Tensor, i: RecurrentInputs = {}): RecurrentResult => {
      checkOptions('rnn inputs', i, ['h0', 'lengths'])
      const { y, final } = run(m, o, x, step, [i.h0], i.lengths)
      return { y, hN: final[0] }
    },
  )
}

/** Gated recurrent units (Cho et al. 2014), gates r, z, n as in PyTorch. Parameters and taps as `rnn`. */
export function gru(o: RecurrentOptions): Recurrent<RecurrentInputs, RecurrentResult> {
  checkOptions('gru', o, names)
  return module(
    partsOf('gru', o, 3),
    (m: RecurrentParts, x: Tensor, i: RecurrentInputs = {}): RecurrentResult => {
      checkOptions('gru inputs', i, ['h0', 'lengths'])
      const { y, final } = run(m, o, x, gruStep, [i.h0], i.lengths)
      return { y, hN: final[0] }
    },
  )
}

/** Long short-term memory (Hochreiter & Schmidhuber 1997), gates i, f, g, o as in PyTorch; `cN` as `hN`. */
export function lstm(
  o: RecurrentOptions,
): Recurrent<RecurrentInputs & { c0?: Tensor }, RecurrentResult & { cN: Tensor }> {
  checkOptions('lstm', o, names)
  return module(
    partsOf('lstm', o, 4),
    (
      m: RecurrentParts,
      x: Tensor,
      i: RecurrentInputs & { c0?: Tensor } = {},
    ): RecurrentResult & { cN: Tensor } => {
      checkOptions('lstm inputs', i, ['h0', 'c0', 'lengths'])
      const { y, final } = run(m, o, x, lstmStep, [i.h0, i.c0], i.lengths)
      return { y, hN: final[0], cN: final[1] }
    },
  )
}
