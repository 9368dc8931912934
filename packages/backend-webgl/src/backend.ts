/** `webgl()`: the Backend value over a WebGL2 context that it shares with TensorFlow.js. */
import {
  type Backend,
  BackendError,
  checkOptions,
  type DeviceBuffer,
  type DType,
  type Executable,
  fromF16,
  type Graph,
  type GraphNode,
  type Precision,
  type Shape,
  showShape,
  sizeOf,
  type TypedArray,
  toF16,
  ValueError,
} from '@heed/tensor'
import { Device, type DeviceCounts, type Format, formatOf, type Texture } from './device.js'
import { webglKernels } from './kernels/index.js'
import { graphOf, isView, Plan } from './plan.js'
import { openContext } from './tfjs.js'

export interface WebglOptions {
  /**
   * `'f32'` (default): float32 textures, or a refusal. `'f16'`: tensors are held as half floats, in half the memory, with 11 bits
   * and up to 65504. Within a run it is all float32, and GPUs need not render floats.
   */
  precision?: 'f32' | 'f16'
  /**
   * Textures no wider or higher than this, for GPUs that promise more than they can do; larger arrays lie in several layers.
   * Default: what the GPU says.
   */
  maxTextureSize?: number
}
export interface WebglBackend extends Backend {
  /** Textures in use and waiting for reuse, and programs compiled so far. */
  readonly counts: DeviceCounts
  /** What renders, as far as the browser tells: a GPU, or software. */
  readonly renderer: string
  /** Until the GPU has done everything that it was told: a run is over for JavaScript before that. For measuring. */
  settled(): Promise<void>
}

/** An array in a texture, or on the host where no texture holds its dtype. */
export class WebglBuffer implements DeviceBuffer {
  readonly bytes: number
  constructor(
    readonly shape: Shape,
    readonly dtype: DType,
    public texture: Texture | null,
    readonly host: TypedArray | null = null,
  ) {
    this.bytes = texture?.bytes ?? host?.byteLength ?? 0
  }
  get gone(): boolean {
    return this.texture === null && this.host === null
  }
}

/** Bytes of one texture in Chromium's software rendering: a GiB ends its GPU process, and WebGL for the page with it. */
const SWIFTSHADER = 2 ** 30 - 1
const devices = new WeakMap<object, Device>()
/** The device behind a backend, also behind one that `pick` wrapped. */
export function deviceOf(backend: object): Device | undefined {
  for (let b: object | null = backend; b; b = Object.getPrototypeOf(b) as object | null) {
    const device = devices.get(b)
    if (device) return device
  }
  return undefined
}

/** Values of a dtype as the array that their texture takes. */
function toBits(data: TypedArray, dtype: DType, format: Format): TypedArray {
  switch (dtype) {
    case 'f32':
      if (format === 'f16') return Uint16Array.from(data as Float32Array, toF16)
      return data instanceof Float32Array ? data : Float32Array.from(data as Float64Array)
    case 'i32':
      return data instanceof Int32Array ? data : Int32Array.from(data as Uint8Array)
    case 'u8':
      return Uint16Array.from(data as Uint8Array)
    default:
      return data
  }
}
function fromBits(values: Float32Array | Int32Array, dtype: DType, format: Format): TypedArray {
  switch (dtype) {
    case 'f32':
      if (format === 'f16') return Float32Array.from(values, (v) => fromF16(v & 0xffff))
      return format === 'bits' ? new Float32Array(values.buffer) : values
    case 'bool':
    case 'u8':
      return Uint8Array.from(values)
    case 'i8':
      return Int8Array.from(values)
    case 'f16':
    case 'bf16':
      return Uint16Array.from(values)
    default:
      return values
  }
}

/** Renders one number that needs 21 bits, since some GPUs promise float32 and keep less. */
async function keepsFloat32(device: Device): Promise<boolean> {
  const want = 1 + 2 ** -20
  const plan = new Plan(graphOf('neg', {}, [NUMBER], NUMBER), device, 'f32', webglKernels)
  const x = device.upload(Float32Array.of(want), 'f32')
  const [y] = device.within(() => plan.run([x]))
  const [got] = await device.read(y, 1)
  device.release(x)
  device.release(y)
  return got === -want
}
const NUMBER = { shape: [], dtype: 'f32' } as const

/**
 * The WebGL backend: every primitive, attention, softmax, the norms and more as programs of its own, over textures that no
 * run reads back. It takes TensorFlow.js's WebGL context, so that tensors pass between the two without leaving the GPU.
 *
 * @throws BackendError without TensorFlow.js, without WebGL2, or without float32 textures; ValueError for an unknown option
 */
export async function webgl(options: WebglOptions = {}): Promise<WebglBackend> {
  checkOptions('webgl', options, ['precision', 'maxTextureSize'])
  const precision: Precision = options.precision ?? 'f32'
  if (precision !== 'f32' && precision !== 'f16')
    throw new ValueError(`webgl: precision '${precision as string}' is unknown; use 'f32' or 'f16'`)
  const { maxTextureSize: asked = Infinity } = options
  if (!(asked >= 4)) throw new ValueError(`webgl: maxTextureSize is ${asked}, expected at least 4`)
  const { gl, release } = await openContext(precision)
  const max = gl.getParameter(gl.MAX_TEXTURE_SIZE) as number
  const info = gl.getExtension('WEBGL_debug_renderer_info')
  const renderer = String(gl.getParameter(info ? info.UNMASKED_RENDERER_WEBGL : gl.RENDERER))
  const device = new Device(gl, Math.min(max, asked), /SwiftShader/.test(renderer) ? SWIFTSHADER : Infinity)
  try {
    if (precision === 'f32' && !(await keepsFloat32(device)))
      throw new BackendError(
        "webgl: this GPU says that it renders float32 but keeps fewer bits; ask for webgl({ precision: 'f16' }), or use cpu()",
      )
  } catch (error) {
    device.dispose()
    release()
    throw error
  }
  const name = precision === 'f16' ? 'webgl (f16)' : 'webgl'
  let disposed = false
  const alive = (): void => {
    if (disposed) throw new BackendError(`backend '${name}' was disposed; make a new one`)
    device.alive()
  }
  const textureOf = (buffer: DeviceBuffer): Texture => {
    const { texture } = buffer as WebglBuffer
    if (!texture)
      throw new BackendError(`backend '${name}': the buffer was freed, or ${buffer.dtype} lies on the host`)
    return texture
  }
  const backend: WebglBackend = {
    spec: 1,
    name,
    precision,
    limits: { maxRank: 16, maxBytes: Math.min(4 * device.maxElements, device.maxBytes) },
    renderer,
    get counts() {
      return device.counts
    },
    get bytesInUse() {
      return device.bytesInUse
    },
    supports: (node) => supports(node, device),
    compile(graph): Executable {
      alive()
      const plan = new Plan(graph, device, precision, webglKernels)
      const specs = graph.outputs.map((r) => graph.nodes[r.node].to[r.index])
      return {
        report: {
          backend: name,
          precision,
          nodes: graph.nodes.length,
          steps: plan.steps,
          ran: [...plan.counts.values()],
          inlined: [],
          copies: plan.copies,
          arenaBytes: plan.peakBytes,
          outputBytes: specs.reduce((sum, s) => {
            const size = sizeOf(s.shape)
            const format = formatOf(s.dtype, precision, size)
            return sum + (format ? device.bytesOf(size, format) : 0)
          }, 0),
          segments: 1,
        },
        run(inputs) {
          alive()
          const textures = inputs.map(textureOf)
          const made = device.within(() => plan.run(textures))
          return made.map((texture, i) => new WebglBuffer(specs[i].shape, specs[i].dtype, texture))
        },
        dispose: () => {
          if (!disposed) plan.dispose()
        },
      }
    },
    upload(data, shape, dtype) {
      alive()
      if (data.length !== sizeOf(shape))
        throw new BackendError(`${data.length} values for a tensor ${showShape(shape)}`)
      const format = formatOf(dtype, precision, data.length)
      // what no texture holds stays here; nodes that read it are refused, and run on the reference kernels
      if (!format || device.refusal(data.length, format))
        return new WebglBuffer(shape, dtype, null, data.slice())
      return new WebglBuffer(shape, dtype, device.upload(toBits(data, dtype, format), format))
    },
    async settled() {
      alive()
      await device.fence()
    },
    async download(buffer) {
      alive()
      const { host } = buffer as WebglBuffer
      if (host) return host.slice()
      const texture = textureOf(buffer)
      return fromBits(await device.read(texture, sizeOf(buffer.shape)), buffer.dtype, texture.format)
    },
    free(buffer) {
      const b = buffer as WebglBuffer
      if (b.texture && !disposed) device.release(b.texture)
      b.texture = null
    },
    dispose() {
      if (disposed) return
      disposed = true
      device.dispose()
      release()
    },
  }
  devices.set(backend, device)
  return backend
}

function supports(node: GraphNode, device: Device): true | string {
  for (const { shape, dtype } of [...node.from, ...node.to]) {
    // between draws f32 takes four bytes at any precision
    const format = formatOf(dtype, 'f32', 1)
    if (!format) return `WebGL has no ${dtype}; it stays on the host until it is cast`
    // views too: they read what then lies on the host, or are to be written out
    const refused = device.refusal(sizeOf(shape), format)
    if (refused) return refused
  }
  if (isView(node.op)) return true
  const kernel = webglKernels[node.op]
  if (!kernel) return `webgl has no kernel for ${node.op}`
  const refused = device.refusal(kernel.largest?.(node) ?? 0, 'f32')
  if (refused) return `it needs an array that is too large: ${refused}`
  if (node.op === 'scan')
    // a loop runs whole, here or on the reference kernels
    for (const inner of (node.attrs.body as Graph).nodes) {
      if (inner.op === 'input' || inner.op === 'constant') continue
      const verdict = supports(inner, device)
      if (verdict !== true) return `its body has ${inner.op}: ${verdict}`
    }
  return kernel.supports?.(node) ?? true
}
