/**
 * Composites that go row by row, and activations, claimed whole with their backward: softmax and its logarithm, cross-entropy,
 * the norms, and Adam's update. Rows are shared between threads; gradients of a norm's weights by columns, so that no sum
 * crosses a chunk.
 */
import { type GraphNode, type KernelCall, type KernelEntry, ValueError, type View } from '@heed/tensor'
import { activationForm, FROM_INPUT } from './activations.js'
import { f32bits } from './float-bits.js'
import { pointer } from './pointer.js'
import type { Kernels } from './wasm.js'

/** How many chunks, and how many items each: a chunk takes 15 µs or more, and there are six a thread at most. */
export function shares(
  kernels: Pick<Kernels, 'threads'>,
  items: number,
  nanoseconds: number,
  multiple = 1,
): { chunks: number; per: number } {
  const wanted =
    kernels.threads === 1 ? 1 : Math.min(6 * kernels.threads, Math.floor((items * nanoseconds) / 15_000))
  const per = Math.max(1, Math.ceil(items / Math.max(1, wanted) / multiple)) * multiple
  return { chunks: Math.ceil(items / per), per }
}

// kinds of the softmax family, as assembly/rows.ts numbers them
const SOFTMAX = 0
const LOG = 1
const LOSS = 2
const LOSS_BACKWARD = 3
const SOFTMAX_BACKWARD = 4
const LOG_BACKWARD = 5
/** Bytes in which a thread keeps the exponentials that nobody reads. */
const BLOCK_BYTES = 1024

function lastAxis(node: GraphNode): true | string {
  const [x, mask] = node.from
  if (node.attrs.axis !== x.shape.length - 1) return 'the fused kernel takes the last axis alone'
  if (mask?.dtype === 'bool' && `${mask.shape}` !== `${x.shape}`)
    return 'the fused kernel takes a mask of the shape of x'
  return true
}

/** Number of ids in a view, checked: an id that is kept must name a class. */
function checkTargets(target: View, ignored: number, classes: number): void {
  const ids = target.data as Int32Array
  for (let i = target.offset; i < target.offset + target.size; i++)
    if (ids[i] !== ignored && !(ids[i] >= 0 && ids[i] < classes))
      throw new ValueError(`index ${ids[i]} is outside 0..${classes - 1}`)
}

export function rowEntries(kernels: Kernels): Record<string, KernelEntry> {
  const softmaxFamily = (
    x: View,
    kind: number,
    y: View,
    rest: readonly number[],
    scratch: View | null,
  ): void => {
    const n = x.shape[x.shape.length - 1]
    if (x.size === 0) return
    const rows = x.size / n
    const { chunks, per } = shares(kernels, rows, n)
    const words = [rows, per, n, kind, pointer(x), pointer(y), ...rest]
    kernels.run('softmax', words, chunks, scratch ? pointer(scratch) : 0, BLOCK_BYTES)
  }
  const norm = (center: number, call: KernelCall, dy?: View, stats = 0): void => {
    const { eps, nAxes = 1 } = call.attrs as { eps: number; nAxes?: number }
    const hasWeight = (call.attrs.hasWeight as boolean | undefined) ?? call.inputs[1]?.shape.length === 1
    const [x] = call.inputs
    const n = x.shape.slice(x.shape.length - nAxes).reduce((a, b) => a * b, 1)
    if (x.size === 0) return
    const w = hasWeight ? pointer(call.inputs[1]) : 0
    const b = call.attrs.hasBias ? pointer(call.inputs[hasWeight ? 2 : 1]) : 0
    const rows = x.size / n
    const { chunks, per } = shares(kernels, rows, n)
    const words = [rows, per, n, center, f32bits(eps), pointer(x), w]
    words.push(f32bits(call.attrs.unitOffset ? 1 : 0), b, pointer(call.outputs[0]))
    kernels.run('norm', [...words, dy ? pointer(dy) : 0, stats], chunks)
  }
  const normBackward = (center: number): KernelEntry => ({
    how: 'fused',
    scratch: ({ from: [x], attrs }) =>
      256 * kernels.threads + 8 * rowsOf(x.shape, (attrs.nAxes as number | undefined) ?? 1),
    run(call) {
      const [x] = call.inputs
      const { nIn, hasBias = false } = call.attrs as { nIn: number; hasBias?: boolean }
      const dy = call.inputs[nIn + 1]
      const at = pointer(call.scratch as View)
      const stats = at + 256 * kernels.threads
      const rows = rowsOf(x.shape, (call.attrs.nAxes as number | undefined) ?? 1)
      const inputs = call.inputs.slice(0, nIn)
      norm(center, { ...call, inputs }, dy, stats)
      const gradients = call.outputs.slice(1)
      const n = gradients[0]?.size ?? 0
      if (n === 0) return
      const dw = nIn - (hasBias ? 1 : 0) === 2 ? pointer(gradients[0]) : 0
      const db = hasBias ? pointer(gradients[gradients.length - 1]) : 0
      const { chunks, per } = shares(kernels, n, rows, 16)
      const words = [n, per, rows, pointer(x), pointer(dy), stats, dw, db]
      kernels.run('normColumns', words, chunks, at, 256)
    },
  })
  const pointwise = (form: number, x: View, y: View, dy?: View): void => {
    if (x.size === 0) return
    const { chunks, per } = shares(kernels, x.size, 1.5, 4)
    kernels.run('activation', [x.size, per, form, pointer(x), pointer(y), dy ? pointer(dy) : 0], chunks)
  }
  const activation: KernelEntry = {
    how: 'fused',
    inPlace: [[0]],
    run: ({ op, attrs, inputs: [x], outputs: [y] }) => pointwise(activationForm({ op, attrs }), x, y),
  }
  const activationBackward: KernelEntry = {
    how: 'fused',
    inPlace: [[0, 2]],
    run: ({ op, attrs, inputs: [x, , dy], outputs: [dx] }) =>
      pointwise(activationForm({ op: op.slice(0, -4), attrs }), x, dx, dy),
  }
  const table: Record<string, KernelEntry> = {
    softmax: {
      how: 'fused',
      supports: lastAxis,
      run({ inputs: [x, mask], outputs: [y], scratch }) {
        softmaxFamily(x, SOFTMAX, y, [mask ? pointer(mask) : 0, 0, 0, 0], scratch)
      },
    },
    'softmax.vjp': {
      how: 'fused',
      supports: lastAxis,
      run({ inputs, outputs: [dx], attrs, scratch }) {
        const [y, dy] = inputs.slice(attrs.nIn as number)
        softmaxFamily(y, SOFTMAX_BACKWARD, dx, [pointer(dy), 0, 0, 0], scratch)
      },
    },
    logSoftmax: {
      how: 'fused',
      supports: lastAxis,
      run({ inputs: [x], outputs: [y], scratch }) {
        softmaxFamily(x, LOG, y, [0, 0, 0, 0], scratch)
      },
    },
    'logSoftmax.vjp': {
      how: 'fused',
      supports: lastAxis,
      run({ inputs: [, y, dy], outputs: [dx], scratch }) {
        softmaxFamily(y, LOG_BACKWARD, dx, [pointer(dy), 0, 0, 0], scratch)
      },
    },
    crossEntropyPerToken: {
      how: 'fused',
      scratch: () => BLOCK_BYTES * kernels.threads,
      run({ inputs: [x, target], outputs: [loss], attrs, scratch }) {
        const ignored = attrs.ignoreIndex as number
        checkTargets(target, ignored, x.shape[x.shape.length - 1])
        softmaxFamily(x, LOSS, loss, [pointer(target), ignored, 0, 0], scratch)
      },
    },
    'crossEntropyPerToken.vjp': {
      how: 'fused',
      run({ inputs: [x, target, , dy], outputs: [dx], attrs, scratch }) {
        const ignored = attrs.ignoreIndex as number
        checkTargets(target, ignored, x.shape[x.shape.length - 1])
        softmaxFamily(x, LOSS_BACKWARD, dx, [pointer(target), ignored, pointer(dy), 1], scratch)
      },
    },
    layerNorm: { how: 'fused', run: (call) => norm(1, call) },
    'layerNorm.vjp': normBackward(1),
    rmsNorm: { how: 'fused', run: (call) => norm(0, call) },
    'rmsNorm.vjp': normBackward(0),
    adamUpdate: {
      how: 'fused',
      inPlace: [[0], [2], [3], [4]],
      run({ inputs, outputs, attrs }) {
        const { beta1, beta2, eps, amsgrad, weightDecay, decoupled } = attrs as {
          beta1: number
          beta2: number
          eps: number
          amsgrad: boolean
          weightDecay: number
          decoupled: boolean
        }
        const n = outputs[0].size
        if (n === 0) return
        const { chunks, per } = shares(kernels, n, 1, 16)
        const [stepSize, root, shrink] = inputs.slice(-3).map(pointer)
        const largest = (v: View): number => (amsgrad ? pointer(v) : 0)
        const numbers = [beta1, 1 - beta1, beta2, 1 - beta2, eps, decoupled ? 0 : weightDecay].map(f32bits)
        const words = [n, per, ...inputs.slice(0, 4).map(pointer), largest(inputs[4])]
        words.push(...outputs.slice(0, 3).map(pointer), largest(outputs[3]))
        words.push(stepSize, root, decoupled && weightDecay ? shrink : 0, ...numbers)
        kernels.run('adam', words, chunks)
      },
    },
  }
  for (const name of FROM_INPUT) {
    table[name] = activation
    table[`${name}.vjp`] = activationBackward
  }
  return table
}

function rowsOf(shape: readonly number[], nAxes: number): number {
  return shape.slice(0, shape.length - nAxes).reduce((a, b) => a * b, 1)
}
