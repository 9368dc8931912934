/**
 * Elementwise primitives as programs of assembly/chain.ts: one op, or a chain of them, over blocks that stay in the cache. Operands
 * may lie anyhow and are repeated along axes of one element; what the programs lack takes the plain loops.
 */
import { type DType, type KernelCall, type KernelEntry, referenceKernels, type View } from '@heed/tensor'
import { axesOf } from './indexing.js'
import { pointer } from './pointer.js'
import { shares } from './rows.js'
import type { Kernels } from './wasm.js'

/** An op of a program: its number and what it reads; values are operands, then results of the instructions before. */
export interface Instruction {
  readonly code: number
  readonly reads: readonly number[]
}

const UNARY: Readonly<Record<string, number>> = {
  neg: 0,
  sqrt: 1,
  exp: 2,
  log: 3,
  erf: 4,
  floor: 5,
  tanh: 38,
}
const BINARY: Readonly<Record<string, number>> = { add: 16, sub: 17, mul: 18, div: 19, maximum: 20 }
const COMPARE: Readonly<Record<string, number>> = { less: 21, lessEqual: 22, equal: 23 }
const I32_COMPARE = 3
const WHERE = 31
/** What `cast` is, by its dtypes. */
const CAST: Readonly<Record<string, number>> = { 'bool f32': 6, 'i32 f32': 7, 'f32 bool': 8 }

/** The number of an op on these dtypes, or null where the programs lack it. */
export function codeOf(op: string, from: readonly DType[], to: DType): number | null {
  const all = (dtype: DType, types: readonly DType[] = from): boolean => types.every((t) => t === dtype)
  if (op in UNARY) return all('f32') ? UNARY[op] : null
  if (op in BINARY) return all('f32') ? BINARY[op] : null
  if (op in COMPARE) return all('f32') ? COMPARE[op] : all('i32') ? COMPARE[op] + I32_COMPARE : null
  if (op === 'where')
    return from[0] === 'bool' && (all('f32', from.slice(1)) || all('i32', from.slice(1))) ? WHERE : null
  return op === 'cast' ? (CAST[`${from[0]} ${to}`] ?? null) : null
}
/** The primitives that a program may hold. */
const CHAINED: readonly string[] = [
  ...Object.keys(UNARY),
  ...Object.keys(BINARY),
  ...Object.keys(COMPARE),
  'where',
  'cast',
]

/** Values of a program, operands and instructions together, and words of its job. */
export const MOST_VALUES = 24
export const MOST_WORDS = 256
const BLOCK = 512
const FLAT = 0
const GATHERED = 1
const BYTES = 2
const REPEATED = 4
const SCRATCH = Math.ceil((128 + MOST_VALUES * 2052) / 64) * 64

interface Job {
  /** Complete but for the addresses. */
  readonly words: number[]
  /** Where the addresses of the operands stand. */
  readonly addresses: readonly number[]
  readonly chunks: number
}

/** The view as it is read in the shape of a result. */
function spread(v: View, shape: readonly number[]): View {
  const lead = shape.length - v.shape.length
  const strides = shape.map((d, i) =>
    i < lead || (v.shape[i - lead] === 1 && d !== 1) ? 0 : v.strides[i - lead],
  )
  return { ...v, shape, strides }
}

export class Chains {
  private readonly scratch: number

  constructor(private readonly kernels: Kernels) {
    this.scratch = kernels.memory.alloc(SCRATCH * kernels.threads)
  }

  /** Runs a program whose last instruction makes the result; what it is, is worked out in the first run of the step. */
  run(call: KernelCall, program: () => readonly Instruction[]): void {
    const { inputs } = call
    const y = call.outputs[0]
    if (y.size === 0) return
    call.memo ??= this.jobOf(inputs, y, program())
    const { words, addresses, chunks } = call.memo as Job
    words[5] = pointer(y)
    for (let k = 0; k < inputs.length; k++) words[addresses[k]] = pointer(inputs[k])
    this.kernels.run('chain', words, chunks, this.scratch, SCRATCH)
  }

  private jobOf(inputs: readonly View[], y: View, program: readonly Instruction[]): Job {
    const { chunks, per } = shares(this.kernels, y.size, 0.4 * program.length, BLOCK)
    const words = [y.size, per, inputs.length, program.length, 0, 0, y.dtype === 'bool' ? 1 : 0]
    const addresses: number[] = []
    for (const v of inputs) {
      const axes = axesOf(spread(v, y.shape))
      const size = v.data.BYTES_PER_ELEMENT
      const isOne = axes.length === 2
      const kind =
        isOne && axes[1] === size && size === 4
          ? FLAT
          : GATHERED + (size === 1 ? BYTES : 0) + (isOne && axes[1] === 0 ? REPEATED : 0)
      addresses.push(words.length + 2)
      words.push(4 + axes.length, kind, 0, axes.length / 2, ...axes)
    }
    words[4] = words.length
    program.forEach(({ code, reads: [x, y = 0, z = 0] }, k) => words.push(code, x, y, z, inputs.length + k))
    return { words, addresses, chunks }
  }

  /** The primitives that are programs of one instruction, and `chain`, whose attributes hold a program. */
  entries(): Record<string, KernelEntry> {
    const entry = (op: string): KernelEntry => {
      const plain = (referenceKernels as Record<string, KernelEntry>)[op]
      const program = ({ inputs, outputs: [y] }: KernelCall): Instruction | null => {
        const code = codeOf(
          op,
          inputs.map((v) => v.dtype),
          y.dtype,
        )
        return code === null ? null : { code, reads: inputs.map((_, k) => k) }
      }
      return {
        ...plain,
        how: ({ from, to: [y] }) => {
          const dtypes = from.map((s) => s.dtype)
          return codeOf(op, dtypes, y.dtype) === null ? 'reference' : 'native'
        },
        run: (call: KernelCall) => {
          if (call.memo === undefined && program(call) === null) call.memo = null
          if (call.memo === null) plain.run(call)
          else this.run(call, () => [program(call) as Instruction])
        },
      }
    }
    const chain: KernelEntry = {
      strided: true,
      how: 'fused',
      inPlace: [Array.from({ length: MOST_VALUES }, (_, k) => k)],
      run: (call) => this.run(call, () => call.attrs.program as readonly Instruction[]),
    }
    return { ...Object.fromEntries(CHAINED.map((op) => [op, entry(op)])), chain }
  }
}
