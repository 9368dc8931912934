/** Tensors from data. Arrays are held as they are given: do not change them afterwards. */
import { type DType, dtypes, fromBF16, type TypedArray } from './dtype.js'
import { checkOptions, DTypeError, ShapeError, showShape } from './errors.js'
import { leaf, type Tensor } from './graph.js'
import { isShape, type Shape, sizeOf } from './shape.js'

export type NestedArray = number | boolean | readonly NestedArray[]

export interface TensorOptions {
  /** Needed with flat data; nested arrays know theirs. */
  shape?: Shape
  /** Default: by the array's type; numbers are f32, booleans bool. Token ids want 'i32'. */
  dtype?: DType
}

const natural = (data: TypedArray): DType => {
  if (data instanceof Int32Array) return 'i32'
  if (data instanceof Uint8Array) return 'u8'
  if (data instanceof Int8Array) return 'i8'
  if (data instanceof BigInt64Array) return 'i64'
  if (data instanceof Uint16Array) return 'f16'
  return 'f32'
}

/**
 * A tensor of given values: a number, nested arrays, or a typed array with `shape`. A Float64Array keeps its digits
 * on a float64 backend.
 * @throws ShapeError for ragged arrays or a shape of another size.
 */
export function tensor(data: NestedArray | TypedArray, options: TensorOptions | Shape = {}): Tensor {
  const given = Array.isArray(options) ? { shape: options } : options
  checkOptions('tensor', given, ['shape', 'dtype'])
  const { shape, dtype } = given as TensorOptions
  if (ArrayBuffer.isView(data)) {
    const flat = data as TypedArray
    const target = sized(shape ?? [flat.length], flat)
    const as = dtype ?? natural(flat)
    return leaf({ shape: [...target], dtype: as }, converted(flat, as))
  }
  const found: number[] = []
  const nested = data as NestedArray
  for (let level: NestedArray = nested; Array.isArray(level); level = level[0] as NestedArray) {
    found.push(level.length)
    if (level.length === 0) break
  }
  const flat: (number | boolean)[] = []
  flatten(nested, found, 0, flat)
  const target = sized(shape ?? found, flat)
  const as = dtype ?? (typeof flat[0] === 'boolean' ? 'bool' : 'f32')
  // doubles keep their digits until a backend decides its precision
  const values = Float64Array.from(flat as number[], Number)
  return leaf(
    { shape: [...target], dtype: as },
    converted(
      as === 'f32' && values.every((v) => Math.fround(v) === v || v !== v)
        ? Float32Array.from(values)
        : values,
      as,
    ),
  )
}

function sized(shape: Shape, { length }: ArrayLike<unknown>): Shape {
  if (sizeOf(shape) !== length || !isShape(shape))
    throw new ShapeError(`tensor: ${length} values for shape ${showShape(shape)}`)
  return shape
}

function flatten(
  data: NestedArray,
  shape: readonly number[],
  depth: number,
  out: (number | boolean)[],
): void {
  if (!Array.isArray(data)) {
    if (depth !== shape.length)
      throw new ShapeError(
        `tensor: the nested array is ragged: a value stands ${depth} deep, others ${shape.length}`,
      )
    if (typeof data !== 'number' && typeof data !== 'boolean')
      throw new DTypeError(`tensor: a value is ${typeof data}, expected a number or a boolean`)
    out.push(data as number | boolean)
    return
  }
  if (data.length !== shape[depth])
    throw new ShapeError(
      `tensor: the nested array is ragged: ${data.length} entries beside ${shape[depth] ?? 'a value'}`,
    )
  for (const d of data) flatten(d as NestedArray, shape, depth + 1, out)
}

function converted(data: TypedArray, dtype: DType): TypedArray {
  switch (dtype) {
    case 'f32':
      return data instanceof Float32Array || data instanceof Float64Array
        ? data
        : Float32Array.from(data as Int32Array, Number)
    case 'i32':
      return data instanceof Int32Array ? data : Int32Array.from(data as Float32Array, Number)
    case 'bool':
      return Uint8Array.from(data as Float32Array, (v) => (v ? 1 : 0))
    case 'u8':
      return data instanceof Uint8Array ? data : Uint8Array.from(data as Float32Array, Number)
    case 'i8':
      return data instanceof Int8Array ? data : Int8Array.from(data as Float32Array, Number)
    case 'f16':
    case 'bf16':
      if (data instanceof Uint16Array) return data
      throw new DTypeError(
        `tensor: ${dtype} data is given as the bits in a Uint16Array; make an f32 tensor and cast it`,
      )
    case 'i64':
      return data instanceof BigInt64Array
        ? data
        : BigInt64Array.from(data as Int32Array, (v) => BigInt(Math.trunc(Number(v))))
    default:
      throw new DTypeError(`tensor: dtype '${dtype}' is unknown; use one of ${dtypes.join(', ')}`)
  }
}

/** f32 values of bfloat16 bits, for readers of weight files. */
export function bf16ToF32(bits: Uint16Array): Float32Array {
  return Float32Array.from(bits, fromBF16)
}
