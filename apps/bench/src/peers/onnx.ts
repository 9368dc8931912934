/** Just enough of ONNX's protobuf to write the graphs that ONNX Runtime is measured on. It reads nothing and checks nothing. */

const encoder = new TextEncoder()
type Bytes = Uint8Array

function varint(value: number): number[] {
  const out: number[] = []
  let v = BigInt.asUintN(64, BigInt(value))
  do {
    const low = Number(v & 127n)
    v >>= 7n
    out.push(v ? low | 128 : low)
  } while (v)
  return out
}
function join(parts: readonly ArrayLike<number>[]): Bytes {
  const all = new Uint8Array(parts.reduce((n, p) => n + p.length, 0))
  let at = 0
  for (const p of parts) {
    all.set(p, at)
    at += p.length
  }
  return all
}
const integer = (field: number, value: number): Bytes =>
  Uint8Array.from([...varint(field << 3), ...varint(value)])
const block = (field: number, body: ArrayLike<number>): Bytes =>
  join([varint((field << 3) | 2), varint(body.length), body])
const string = (field: number, s: string): Bytes => block(field, encoder.encode(s))
function float(field: number, value: number): Bytes {
  const four = new Uint8Array(4)
  new DataView(four.buffer).setFloat32(0, value, true)
  return join([varint((field << 3) | 5), four])
}

const FLOAT = 1
const INT64 = 7

export interface Value {
  readonly name: string
  /** A name stands for a size that is known later. */
  readonly dims: readonly (number | string)[]
  readonly type?: 'float' | 'int64'
}
const typeOf = (v: Value): number => (v.type === 'int64' ? INT64 : FLOAT)
function valueInfo(v: Value): Bytes {
  const dims = block(
    2,
    join(v.dims.map((d) => block(1, typeof d === 'string' ? string(2, d) : integer(1, d)))),
  )
  return join([string(1, v.name), block(2, block(1, join([integer(1, typeOf(v)), dims])))])
}

/** A graph under construction: constants, nodes, inputs, outputs. */
export class GraphWriter {
  private readonly nodes: Bytes[] = []
  private readonly constants: Bytes[] = []
  private made = 0

  /** A known tensor; f32 or (integers) int64. */
  constant(data: Float32Array | BigInt64Array, dims: readonly number[]): string {
    const name = `c${this.made++}`
    const type = data instanceof Float32Array ? FLOAT : INT64
    const raw = new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
    this.constants.push(
      block(5, join([...dims.map((d) => integer(1, d)), integer(2, type), string(8, name), block(9, raw)])),
    )
    return name
  }

  /** A node of one result; a fraction or `{ float }` is a float attribute, an array a list of integers. */
  node(
    op: string,
    inputs: readonly string[],
    attributes: Readonly<Record<string, number | string | readonly number[] | { float: number }>> = {},
    output = `t${this.made++}`,
  ): string {
    const attribute = (name: string, v: (typeof attributes)[string]): Bytes => {
      if (typeof v === 'string') return join([string(1, name), string(4, v), integer(20, 3)])
      if (typeof v === 'number') return join([string(1, name), integer(3, v), integer(20, 2)])
      if ('float' in v) return join([string(1, name), float(2, v.float), integer(20, 1)])
      return join([string(1, name), ...v.map((x) => integer(8, x)), integer(20, 7)])
    }
    this.nodes.push(
      block(
        1,
        join([
          ...inputs.map((x) => string(1, x)),
          string(2, output),
          string(3, `${op}_${output}`),
          string(4, op),
          ...Object.entries(attributes).map(([name, v]) => block(5, attribute(name, v))),
        ]),
      ),
    )
    return output
  }

  /** The file, in opset 23. */
  write(inputs: readonly Value[], outputs: readonly Value[]): Bytes {
    const graph = join([
      ...this.nodes,
      string(2, 'bench'),
      ...this.constants,
      ...inputs.map((v) => block(11, valueInfo(v))),
      ...outputs.map((v) => block(12, valueInfo(v))),
    ])
    const opset = join([string(1, ''), integer(2, 23)])
    return join([integer(1, 10), string(2, 'heed-bench'), block(7, graph), block(8, opset)])
  }
}
