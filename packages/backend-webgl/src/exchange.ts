/** Tensors of TensorFlow.js and back. Where both sides compute in one context, numbers never leave the GPU. */
import {
  type Backend,
  checkOptions,
  type DType,
  DTypeError,
  getBackend,
  realize,
  type Spec,
  type Tensor,
  type TypedArray,
  tensor,
  tensorOf,
  ValueError,
} from '@heed/tensor'
import { deviceOf, WebglBuffer } from './backend.js'
import type { Device, Texture } from './device.js'
import { webglKernels } from './kernels/index.js'
import { graphOf, Plan } from './plan.js'

/** What a tensor of TensorFlow.js must have. */
export interface TfjsTensor {
  readonly shape: readonly number[]
  readonly dtype: string
  readonly isDisposed?: boolean
  dataToGPU(options: { customTexShape: [number, number] }): {
    texture?: WebGLTexture
    tensorRef: { dispose(): void }
  }
  data(): Promise<ArrayLike<number>>
}
/** What the module of TensorFlow.js must have: pass `tf` itself. */
export interface TfjsModule<T> {
  backend(): object
  tensor(values: never, shape?: never, dtype?: never): T
}
export interface ExchangeOptions {
  /** Default: the backend of `setBackend`. */
  backend?: Backend
}

/** Programs of TensorFlow.js read no array of more axes. */
const MAX_TFJS_RANK = 6
const DTYPES: Readonly<Record<string, DType>> = { float32: 'f32', int32: 'i32', bool: 'bool' }

function runOne(device: Device, op: string, from: Spec, to: Spec, texture: Texture): Texture {
  const plan = new Plan(graphOf(op, {}, [from], to), device, 'f32', webglKernels)
  return device.within(() => plan.run([texture]))[0]
}

/**
 * A tensor with the values of one of TensorFlow.js, which stays its owner's. On the GPU where the default backend is
 * `webgl()` and tfjs computes in the same context; through an array otherwise.
 *
 * @throws DTypeError for complex64 and string, ValueError for a tensor that was disposed, or what is none
 */
export async function fromTfjs(x: TfjsTensor, options: ExchangeOptions = {}): Promise<Tensor> {
  checkOptions('fromTfjs', options, ['backend'])
  if (typeof x?.dataToGPU !== 'function')
    throw new ValueError('fromTfjs: expected a tensor of TensorFlow.js; for arrays there is tensor()')
  if (x.isDisposed) throw new ValueError('fromTfjs: the tensor was disposed; hand it over before')
  const dtype = DTYPES[x.dtype]
  if (!dtype)
    throw new DTypeError(`fromTfjs: the tensor is ${x.dtype}; float32, int32 and bool can be handed over`)
  const backend = options.backend ?? getBackend()
  const device = deviceOf(backend)
  // tfjs waits for ever for what lay in a lost context
  device?.alive()
  const shape = [...x.shape]
  // half floats lie as bits here, which tfjs cannot read
  const here = device && backend.precision === 'f32' ? onThisContext(x, device) : null
  if (device && here) {
    try {
      const from: Spec = { shape, dtype: 'f32' }
      const texture = runOne(device, dtype === 'f32' ? 'copy' : 'cast', from, { shape, dtype }, here.texture)
      return tensorOf(backend, new WebglBuffer(shape, dtype, texture))
    } finally {
      here.dispose()
    }
  }
  const values = await x.data()
  const array: TypedArray =
    dtype === 'f32'
      ? Float32Array.from(values)
      : dtype === 'i32'
        ? Int32Array.from(values)
        : Uint8Array.from(values)
  return tensor(array, { shape, dtype })
}

/** The tensor's values in our layout, if they lie in this context. */
function onThisContext(x: TfjsTensor, device: Device): { texture: Texture; dispose(): void } | null {
  const size = x.shape.reduce((n, d) => n * d, 1)
  if (size === 0) return null
  const layout = device.layoutOf(size)
  const { bits, height, layers } = layout
  // tfjs has no textures of several layers
  if (layers > 1) return null
  let data: ReturnType<TfjsTensor['dataToGPU']>
  try {
    data = x.dataToGPU({ customTexShape: [height, 2 ** bits] })
  } catch {
    // tfjs throws where the values lie on the CPU, or its backend has no textures
    return null
  }
  const { texture, tensorRef } = data
  if (!texture || !device.gl.isTexture(texture)) {
    tensorRef.dispose()
    return null
  }
  // read only: it belongs to tfjs
  const view: Texture = {
    handle: texture,
    framebuffer: texture,
    format: 'f32',
    ...layout,
    bytes: 0,
    users: 1,
  }
  return { texture: view, dispose: () => tensorRef.dispose() }
}

/**
 * A tensor of TensorFlow.js with the values of x, which its caller disposes: `toTfjs(x, tf)`. f32 and i32 stay on the GPU
 * where both compute in one context (tfjs holds whole numbers as float32: exact up to 2²⁴); through an array otherwise.
 *
 * @throws DTypeError for dtypes that tfjs lacks, ValueError where tf is not its module
 */
export async function toTfjs<T>(x: Tensor, tf: TfjsModule<T>, options: ExchangeOptions = {}): Promise<T> {
  checkOptions('toTfjs', options, ['backend'])
  if (typeof tf?.backend !== 'function' || typeof tf.tensor !== 'function')
    throw new ValueError('toTfjs: pass the module of TensorFlow.js: toTfjs(x, tf)')
  const name = Object.keys(DTYPES).find((n) => DTYPES[n] === x.dtype)
  if (!name) throw new DTypeError(`toTfjs: the tensor is ${x.dtype}; cast it to f32, i32 or bool`)
  const make = tf.tensor as unknown as (values: object, shape: number[], dtype: string) => T
  const backend = options.backend ?? getBackend()
  const device = deviceOf(backend)
  device?.alive()
  await realize([x], { backend })
  const held = x.value?.device
  const shared = (tf.backend() as { gpgpu?: { gl: unknown } }).gpgpu?.gl === device?.gl
  // what is small enough to be handed through lies on the host
  const texture = held?.backend === backend ? (held.buffer as WebglBuffer).texture : null
  const fits = x.size > 0 && x.shape.length <= MAX_TFJS_RANK && x.dtype !== 'bool'
  if (device && shared && texture?.layers === 1 && backend.precision === 'f32' && fits) {
    const spec: Spec = { shape: x.shape, dtype: x.dtype }
    const floats = runOne(
      device,
      x.dtype === 'f32' ? 'copy' : 'cast',
      spec,
      { shape: x.shape, dtype: 'f32' },
      texture,
    )
    try {
      // tfjs encodes the texture into one of its own before this returns
      return make(
        { texture: floats.handle, height: floats.height, width: 2 ** floats.bits, channels: 'RGBA' },
        [...x.shape],
        name,
      )
    } finally {
      device.release(floats)
    }
  }
  return make(await x.data(), [...x.shape], name)
}
