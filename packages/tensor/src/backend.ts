/**
 * The contract of a backend. It receives a whole graph of primitives and of the composites that it said it supports,
 * plans and runs it. Backends are values: `setBackend(await cpu())`.
 */
import type { DType, Precision, TypedArray } from './dtype.js'
import type { Spec } from './graph.js'
import type { Shape } from './shape.js'

/** A value inside a graph: result `index` of node `node`. */
export interface Ref {
  readonly node: number
  readonly index: number
}
/** A node of a lowered graph, in execution order: plain data. */
export interface GraphNode {
  /** Name of a primitive, a supported composite, `input` or `constant`. */
  readonly op: string
  readonly attrs: Readonly<Record<string, unknown>>
  readonly inputs: readonly Ref[]
  /** Shapes and dtypes of the inputs. */
  readonly from: readonly Spec[]
  /** Shapes and dtypes of the results. */
  readonly to: readonly Spec[]
  /** Scope path where it was built. */
  readonly path: string
  readonly site: string | null
}
export interface Graph {
  readonly key: string
  readonly nodes: readonly GraphNode[]
  /** Indices of the `input` nodes, in the order of `Executable.run`'s inputs. */
  readonly inputs: readonly number[]
  readonly outputs: readonly Ref[]
}

/** Memory that belongs to a backend. */
export interface DeviceBuffer {
  readonly shape: Shape
  readonly dtype: DType
  readonly bytes: number
  /** Its memory was freed, or is another buffer's now; there is nothing to read any more. */
  readonly gone?: boolean
}

/** What ran where. */
export interface Report {
  readonly backend: string
  readonly precision: Precision
  /** Nodes of the lowered graph (constants, inputs and views included), and kernels that ran. */
  readonly nodes: number
  readonly steps: number
  readonly ran: readonly {
    readonly op: string
    readonly how: 'native' | 'fused' | 'reference'
    readonly count: number
  }[]
  /** Composites that were written out, with the backend's reason. */
  readonly inlined: readonly { readonly op: string; readonly reason: string; readonly count: number }[]
  /** Copies inserted because a kernel takes no strides. */
  readonly copies: number
  readonly arenaBytes: number
  readonly outputBytes: number
  /** Changes between the backend and the reference kernels. */
  readonly segments: number
}

export interface Executable {
  /**
   * `donated[i]`: nobody needs input i afterwards, so a result may lie in its memory. It is then a new buffer, and the
   * input is `gone`, also when the run fails after it was written over; a failing run leaves every other input whole.
   * A backend may ignore this: donated buffers are freed after the run.
   */
  run(inputs: readonly DeviceBuffer[], donated: readonly boolean[]): DeviceBuffer[] | Promise<DeviceBuffer[]>
  readonly report: Report
  dispose?(): void
}

export interface Backend {
  readonly spec: 1
  readonly name: string
  /** f64 is a mode of the reference backend: every f32 tensor is held and computed in double. */
  readonly precision: Precision
  readonly limits: { readonly maxRank: number; readonly maxBytes: number }
  /** True, or the reason why not, shown to the user. */
  supports(node: GraphNode): true | string
  compile(graph: Graph): Executable | Promise<Executable>
  upload(data: TypedArray, shape: Shape, dtype: DType): DeviceBuffer
  download(buffer: DeviceBuffer): Promise<TypedArray>
  /** The first values at once, where memory can be read without waiting: for printing. */
  peek?(buffer: DeviceBuffer, count: number): TypedArray
  free(buffer: DeviceBuffer): void
  /** Bytes held by live buffers and arenas. */
  readonly bytesInUse: number
  dispose(): void
}
