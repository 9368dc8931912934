/**
 * A WebGL2 context as a machine for arrays: textures from a pool, programs by their text, one triangle per kernel, and
 * reading back. An array of n elements lies in row-major order, four consecutive elements a texel, the width a power of
 * two: what tfjs calls dense GPU data, so that tensors pass between the two without a new layout. What one texture cannot
 * hold goes on in further layers of the same width, of heights that are powers of two.
 */
import { BackendError, type DType, type Precision, type TypedArray } from '@heed/tensor'

/** What a component of a texel holds. */
export type Format = 'f32' | 'bits' | 'f16' | 'i32' | 'i16' | 'i8'

interface FormatRow {
  readonly bytes: number
  readonly internal: 'RGBA32F' | 'RGBA32I' | 'RGBA16I' | 'RGBA8I'
  readonly type: 'FLOAT' | 'INT' | 'SHORT' | 'BYTE'
  readonly sampler: 'sampler2D' | 'isampler2D'
  readonly array: new (length: number) => Float32Array | Int32Array | Int16Array | Int8Array
}
const shorts = {
  bytes: 2,
  internal: 'RGBA16I',
  type: 'SHORT',
  sampler: 'isampler2D',
  array: Int16Array,
} as const
const formats: Readonly<Record<Format, FormatRow>> = {
  f32: { bytes: 4, internal: 'RGBA32F', type: 'FLOAT', sampler: 'sampler2D', array: Float32Array },
  // float32 as its bits, which every WebGL2 renders
  bits: { bytes: 4, internal: 'RGBA32I', type: 'INT', sampler: 'isampler2D', array: Int32Array },
  // half floats as their bits, turned into numbers and back by programs: what GPUs make of an overflow differs
  f16: shorts,
  i32: { bytes: 4, internal: 'RGBA32I', type: 'INT', sampler: 'isampler2D', array: Int32Array },
  i16: shorts,
  i8: { bytes: 1, internal: 'RGBA8I', type: 'BYTE', sampler: 'isampler2D', array: Int8Array },
}

/**
 * Where a dtype lies; null: nowhere (i64 stays on the host). With half precision a single number, such as a learning rate, an
 * ε or a loss, is kept whole.
 */
export function formatOf(dtype: DType, precision: Precision, size: number): Format | null {
  switch (dtype) {
    case 'f32':
      return precision !== 'f16' ? 'f32' : size === 1 ? 'bits' : 'f16'
    case 'i32':
      return 'i32'
    case 'bool':
    case 'i8':
      return 'i8'
    case 'f16':
    case 'bf16':
    case 'u8':
      return 'i16'
    case 'i64':
      return null
  }
}
export const samplerOf = (format: Format): 'sampler2D' | 'isampler2D' => formats[format].sampler
/** Whether programs see floats in it. */
export const isFloat = (format: Format): boolean => format === 'f32' || format === 'bits' || format === 'f16'

/** How an array lies in a texture: texel t is t mod 2^bits, (t ≫ bits) mod height in layer t ≫ layerBits. */
export interface Layout {
  /** log₂ of the width in texels. */
  readonly bits: number
  /** Of each layer. */
  readonly height: number
  /** 1: a plain 2D texture; more: a TEXTURE_2D_ARRAY. */
  readonly layers: number
  /** log₂ of the texels of a layer, where there are several. */
  readonly layerBits: number
}
/** A texture and who uses it. It is written once, by one draw or upload, and only read afterwards. */
export interface Texture extends Layout {
  readonly handle: WebGLTexture
  readonly framebuffer: WebGLFramebuffer
  readonly format: Format
  readonly bytes: number
  users: number
}
export interface Program {
  readonly handle: WebGLProgram
  readonly ints: WebGLUniformLocation | null
  readonly floats: WebGLUniformLocation | null
  /** The first texel of a layer, where results have several. */
  readonly base: WebGLUniformLocation | null
}
/** Textures in use and waiting in the pool, and programs compiled so far. */
export interface DeviceCounts {
  readonly live: number
  readonly pooled: number
  readonly programs: number
}

const VERTEX = `#version 300 es
void main() {
  gl_Position = vec4(vec2((gl_VertexID << 2) & 4, (gl_VertexID << 1) & 4) - 1.0, 0.0, 1.0);
}`
/** Free textures beyond this are deleted. */
const MAX_POOLED_BYTES = 2 ** 28

/** A texture of more bytes than this is asked for at once whether it was given. */
const LARGE_BYTES = 2 ** 24
/** So many layers, where that is enough: few draws, and less than a ninth of the memory unused. */
const LAYERS = 16
/** Numbers of elements, and what loops add to them, are int32 in programs. */
const MAX_ELEMENTS = 2 ** 31 - 2 ** 17

const OUT_OF_MEMORY = 'webgl: the GPU is out of memory; release() tensors, or compute in smaller parts'

export class Device {
  private readonly programs = new Map<string, Program>()
  private readonly all = new Set<Texture>()
  private readonly pool = new Map<string, Texture[]>()
  private pooledBytes = 0
  private pooled = 0
  private live = 0
  private readonly vertex: WebGLShader
  private readonly vao: WebGLVertexArrayObject
  private many: WebGLFramebuffer | null = null
  private targets = 0
  private wasLost = false
  private isDisposed = false
  private readonly onLoss = (): void => {
    this.wasLost = true
  }
  /** Bytes of textures in use. */
  bytesInUse = 0

  /** Whether a large texture was made since the GPU was last asked for errors. */
  private grew = false
  private readonly maxBits: number
  private readonly maxLayers: number

  constructor(
    readonly gl: WebGL2RenderingContext,
    readonly maxTextureSize: number,
    /** Of one texture. */
    readonly maxBytes: number,
  ) {
    this.maxBits = Math.floor(Math.log2(maxTextureSize))
    this.maxLayers = gl.getParameter(gl.MAX_ARRAY_TEXTURE_LAYERS) as number
    this.vertex = this.shader(gl.VERTEX_SHADER, VERTEX)
    this.vao = gl.createVertexArray()
    gl.canvas.addEventListener('webglcontextlost', this.onLoss)
  }

  get counts(): DeviceCounts {
    return { live: this.live, pooled: this.pooled, programs: this.programs.size }
  }
  /** Elements that one array may have. */
  get maxElements(): number {
    return Math.min(MAX_ELEMENTS, 4 * 2 ** (2 * this.maxBits) * this.maxLayers)
  }

  /** Why no texture holds so many elements; null: one does. */
  refusal(size: number, format: Format): string | null {
    if (size > this.maxElements)
      return `an array of ${size} elements is above the ${this.maxElements} that the layers of a texture hold here; split it`
    const bytes = this.bytesOf(size, format)
    if (bytes > this.maxBytes)
      return `an array of ${size} elements takes a texture of ${bytes} bytes, above the ${this.maxBytes} that this renderer gives at once; split it`
    return null
  }
  layoutOf(size: number): Layout {
    const { maxBits, maxLayers } = this
    const texels = Math.max(1, Math.ceil(size / 4))
    const bits = Math.min(Math.ceil(Math.log2(Math.sqrt(texels))), maxBits)
    const height = Math.ceil(texels / 2 ** bits)
    if (height <= this.maxTextureSize) return { bits, height, layers: 1, layerBits: 0 }
    const wanted = Math.ceil(Math.log2(texels / Math.min(LAYERS, maxLayers)))
    const layerBits = Math.min(Math.max(wanted, bits), 2 * bits)
    return { bits, height: 2 ** (layerBits - bits), layers: Math.ceil(texels / 2 ** layerBits), layerBits }
  }
  bytesOf(size: number, format: Format): number {
    const { bits, height, layers } = this.layoutOf(size)
    return 2 ** bits * height * layers * 4 * formats[format].bytes
  }

  /** A browser may give a lost context back later: empty, without anything of ours. */
  private get lost(): boolean {
    return this.wasLost || this.gl.isContextLost()
  }
  /** @throws BackendError when the context is lost, or nothing of ours is there any more */
  alive(): void {
    if (this.isDisposed) throw new BackendError('webgl: the backend was disposed; make a new one')
    if (this.lost)
      throw new BackendError(
        'webgl: the WebGL context is lost (the GPU was reset, or the page took too much of it) and with it every tensor that lay there; make a new backend with webgl() and load again',
      )
  }

  /** A texture for `size` elements; what it holds is undefined. */
  alloc(size: number, format: Format): Texture {
    const refused = this.refusal(size, format)
    if (refused) throw new BackendError(`webgl: ${refused}`)
    const layout = this.layoutOf(size)
    const key = keyOf(format, layout)
    const texture = this.unpool(key) ?? this.create(format, layout, this.bytesOf(size, format))
    texture.users = 1
    this.live++
    this.bytesInUse += texture.bytes
    return texture
  }
  private create(format: Format, layout: Layout, bytes: number): Texture {
    this.alive()
    let texture = this.make(format, layout, bytes)
    if (bytes < LARGE_BYTES) return texture
    if (!this.isGiven(texture)) {
      // what only waits for reuse gives way
      this.destroy(texture)
      this.emptyPool()
      texture = this.make(format, layout, bytes)
      if (!this.isGiven(texture)) {
        this.destroy(texture)
        throw new BackendError(OUT_OF_MEMORY)
      }
    }
    this.grew = true
    return texture
  }
  private make(format: Format, layout: Layout, bytes: number): Texture {
    const { gl } = this
    const { bits, height, layers } = layout
    const handle = gl.createTexture()
    const framebuffer = gl.createFramebuffer()
    const kind = layers === 1 ? gl.TEXTURE_2D : gl.TEXTURE_2D_ARRAY
    gl.bindTexture(kind, handle)
    for (const [name, value] of [
      [gl.TEXTURE_MIN_FILTER, gl.NEAREST],
      [gl.TEXTURE_MAG_FILTER, gl.NEAREST],
      [gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE],
      [gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE],
    ])
      gl.texParameteri(kind, name, value)
    const internal = gl[formats[format].internal]
    if (layers === 1) {
      gl.texStorage2D(kind, 1, internal, 2 ** bits, height)
      gl.bindFramebuffer(gl.FRAMEBUFFER, framebuffer)
      gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, kind, handle, 0)
    } else gl.texStorage3D(kind, 1, internal, 2 ** bits, height, layers)
    gl.bindTexture(kind, null)
    const texture = { ...layout, handle, framebuffer, format, bytes, users: 0 }
    this.all.add(texture)
    return texture
  }
  /** Whether there was room for it. Chromium's way to say no may be to take the context away, which it reports late. */
  private isGiven(texture: Texture): boolean {
    const { gl } = this
    this.target(texture, 0)
    const isComplete = gl.checkFramebufferStatus(gl.FRAMEBUFFER) === gl.FRAMEBUFFER_COMPLETE
    return !this.isOutOfMemory() && isComplete
  }
  /** Whether memory ended since this was last asked; what else the context has to report is left behind. */
  private isOutOfMemory(): boolean {
    const { gl } = this
    // a lost context reports so for ever
    for (let error = gl.getError(); error !== gl.NO_ERROR && !this.lost; error = gl.getError())
      if (error === gl.OUT_OF_MEMORY) return true
    return false
  }
  /**
   * Some GPUs find room for a texture only when it is first written: after the draws of a plan that made a large one.
   *
   * @throws BackendError when memory ended
   */
  check(): void {
    if (!this.grew) return
    this.grew = false
    if (this.isOutOfMemory()) throw new BackendError(OUT_OF_MEMORY)
  }
  /** One user less; without users it goes back to the pool. */
  release(texture: Texture): void {
    if (--texture.users > 0) return
    this.live--
    this.bytesInUse -= texture.bytes
    if (this.lost || texture.bytes > MAX_POOLED_BYTES) {
      this.destroy(texture)
      return
    }
    // sizes that nobody has given back for longest give way: a program goes on to other lengths
    while (this.pooledBytes + texture.bytes > MAX_POOLED_BYTES) {
      const [oldest] = this.pool.keys()
      this.destroy(this.unpool(oldest) as Texture)
    }
    const key = keyOf(texture.format, texture)
    const list = this.pool.get(key) ?? []
    this.pool.delete(key)
    this.pool.set(key, list)
    list.push(texture)
    this.pooled++
    this.pooledBytes += texture.bytes
  }
  /** Takes a texture out of the pool, if there is one of that kind. */
  private unpool(key: string): Texture | undefined {
    const list = this.pool.get(key)
    const texture = list?.pop()
    if (!texture) return undefined
    if (list?.length === 0) this.pool.delete(key)
    this.pooled--
    this.pooledBytes -= texture.bytes
    return texture
  }
  private emptyPool(): void {
    for (const list of this.pool.values()) for (const texture of list) this.destroy(texture)
    this.pool.clear()
    this.pooled = 0
    this.pooledBytes = 0
  }
  private destroy(texture: Texture): void {
    this.all.delete(texture)
    this.gl.deleteFramebuffer(texture.framebuffer)
    this.gl.deleteTexture(texture.handle)
  }

  private shader(kind: number, source: string): WebGLShader {
    const { gl } = this
    const shader = gl.createShader(kind)
    if (!shader) {
      this.alive()
      throw new BackendError('webgl: the context makes no shader')
    }
    gl.shaderSource(shader, source)
    gl.compileShader(shader)
    return shader
  }
  /** The program of a fragment shader, compiled once. */
  program(source: string, samplers: number): Program {
    const known = this.programs.get(source)
    if (known) return known
    const { gl } = this
    this.alive()
    const fragment = this.shader(gl.FRAGMENT_SHADER, source)
    const handle = gl.createProgram()
    gl.attachShader(handle, this.vertex)
    gl.attachShader(handle, fragment)
    gl.linkProgram(handle)
    if (!gl.getProgramParameter(handle, gl.LINK_STATUS)) {
      this.alive()
      throw new BackendError(
        `webgl: a program was refused by this GPU: ${gl.getShaderInfoLog(fragment) ?? ''} ${gl.getProgramInfoLog(handle) ?? ''}\n${source}`,
      )
    }
    gl.deleteShader(fragment)
    const program = {
      handle,
      ints: gl.getUniformLocation(handle, 'ints_'),
      floats: gl.getUniformLocation(handle, 'floats_'),
      base: gl.getUniformLocation(handle, 'base_'),
    }
    gl.useProgram(handle)
    for (let i = 0; i < samplers; i++) gl.uniform1i(gl.getUniformLocation(handle, `x${i}`), i)
    this.programs.set(source, program)
    return program
  }

  /** Runs `draws` with the state that they need, and leaves the context as tfjs expects it. */
  within<T>(draws: () => T): T {
    const { gl } = this
    this.alive()
    gl.bindVertexArray(this.vao)
    gl.disable(gl.SCISSOR_TEST)
    gl.disable(gl.CULL_FACE)
    try {
      return draws()
    } finally {
      gl.enable(gl.SCISSOR_TEST)
      gl.enable(gl.CULL_FACE)
      gl.bindVertexArray(null)
      gl.bindFramebuffer(gl.FRAMEBUFFER, null)
    }
  }
  /** Every texel of `outs`, which are of one size, by a program. */
  draw(
    program: Program,
    outs: readonly Texture[],
    inputs: readonly Texture[],
    ints: Int32Array,
    floats: Float32Array,
  ): void {
    const { gl } = this
    const [out] = outs
    const { bits, height, layers, layerBits } = out
    gl.useProgram(program.handle)
    for (let i = 0; i < inputs.length; i++) {
      gl.activeTexture(gl.TEXTURE0 + i)
      gl.bindTexture(inputs[i].layers === 1 ? gl.TEXTURE_2D : gl.TEXTURE_2D_ARRAY, inputs[i].handle)
    }
    if (program.ints) gl.uniform1iv(program.ints, ints)
    if (program.floats) gl.uniform1fv(program.floats, floats)
    for (let layer = 0; layer < layers; layer++) {
      if (outs.length === 1) this.target(out, layer)
      else this.bindMany(outs, layer)
      gl.viewport(0, 0, 2 ** bits, height)
      if (program.base) gl.uniform1i(program.base, layer << layerBits)
      gl.drawArrays(gl.TRIANGLES, 0, 3)
    }
    if (outs.length > 1) this.bindMany([], 0)
  }
  /** Draws and reads go to a layer of the texture. */
  private target({ framebuffer, handle, layers }: Texture, layer: number): void {
    const { gl } = this
    gl.bindFramebuffer(gl.FRAMEBUFFER, framebuffer)
    if (layers > 1) gl.framebufferTextureLayer(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, handle, 0, layer)
  }
  /** A layer of each texture as the targets of one draw; none takes them off again. */
  private bindMany(textures: readonly Texture[], layer: number): void {
    const { gl } = this
    this.many ??= gl.createFramebuffer()
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.many)
    const places = Array.from({ length: Math.max(textures.length, this.targets) }, (_, i) => i)
    for (const i of places) {
      const handle = textures[i]?.handle ?? null
      const at = gl.COLOR_ATTACHMENT0 + i
      if (textures[i]?.layers > 1) gl.framebufferTextureLayer(gl.FRAMEBUFFER, at, handle, 0, layer)
      else gl.framebufferTexture2D(gl.FRAMEBUFFER, at, gl.TEXTURE_2D, handle, 0)
    }
    if (textures.length > 0) gl.drawBuffers(places.map((i) => gl.COLOR_ATTACHMENT0 + i))
    this.targets = textures.length
  }

  /** A texture with these values, whose bits are those of the dtype. */
  upload(data: TypedArray, format: Format): Texture {
    const { gl } = this
    const texture = this.alloc(data.length, format)
    const { bits, height, layers } = texture
    const row = formats[format]
    const width = 2 ** bits
    const perRow = 4 * width
    const kind = row.sampler === 'sampler2D' ? gl.RGBA : gl.RGBA_INTEGER
    const make = row.array as unknown as new (b: ArrayBufferLike, o: number, n: number) => Int8Array
    const values = new make(data.buffer, data.byteOffset, data.length)
    const target = layers === 1 ? gl.TEXTURE_2D : gl.TEXTURE_2D_ARRAY
    gl.activeTexture(gl.TEXTURE0)
    gl.bindTexture(target, texture.handle)
    const put = (layer: number, y: number, rows: number, from: Int8Array): void => {
      if (layers === 1) gl.texSubImage2D(target, 0, 0, y, width, rows, kind, gl[row.type], from)
      else gl.texSubImage3D(target, 0, 0, y, layer, width, rows, 1, kind, gl[row.type], from)
    }
    for (let layer = 0; layer < layers; layer++) {
      const part = values.subarray(layer * height * perRow, (layer + 1) * height * perRow)
      const full = Math.floor(part.length / perRow)
      if (full > 0) put(layer, 0, full, part.subarray(0, full * perRow))
      if (full * perRow < part.length) {
        const rest = new row.array(perRow) as Int8Array
        rest.set(part.subarray(full * perRow))
        put(layer, full, 1, rest)
      }
    }
    gl.bindTexture(target, null)
    try {
      this.check()
    } catch (error) {
      this.release(texture)
      throw error
    }
    return texture
  }

  /** The first `size` elements, once the GPU is done; integers, and half floats as their bits, arrive as i32. */
  async read(texture: Texture, size: number): Promise<Float32Array | Int32Array> {
    const isFloat = formats[texture.format].sampler === 'sampler2D'
    const out = isFloat ? new Float32Array(size) : new Int32Array(size)
    const perLayer = 4 * 2 ** texture.bits * texture.height
    // whoever frees it meanwhile leaves it to this reader
    texture.users++
    try {
      // a layer at a time, so that what waits to be read is never the whole of a large array
      for (let layer = 0; layer === 0 || layer * perLayer < size; layer++)
        await this.readLayer(texture, layer, out.subarray(layer * perLayer, (layer + 1) * perLayer))
    } finally {
      if (this.all.has(texture)) this.release(texture)
    }
    return out
  }
  private async readLayer(texture: Texture, layer: number, out: Float32Array | Int32Array): Promise<void> {
    const { gl } = this
    this.alive()
    const isFloat = out instanceof Float32Array
    const width = 2 ** texture.bits
    const rows = Math.max(1, Math.ceil(out.length / (4 * width)))
    const pack = gl.createBuffer()
    gl.bindBuffer(gl.PIXEL_PACK_BUFFER, pack)
    gl.bufferData(gl.PIXEL_PACK_BUFFER, rows * width * 16, gl.STREAM_READ)
    this.target(texture, layer)
    gl.readPixels(
      0,
      0,
      width,
      rows,
      isFloat ? gl.RGBA : gl.RGBA_INTEGER,
      isFloat ? gl.FLOAT : gl.INT,
      0 as unknown as ArrayBufferView,
    )
    gl.bindBuffer(gl.PIXEL_PACK_BUFFER, null)
    gl.bindFramebuffer(gl.FRAMEBUFFER, null)
    await this.fence()
    gl.bindBuffer(gl.PIXEL_PACK_BUFFER, pack)
    if (out.length > 0) gl.getBufferSubData(gl.PIXEL_PACK_BUFFER, 0, out)
    gl.bindBuffer(gl.PIXEL_PACK_BUFFER, null)
    gl.deleteBuffer(pack)
    this.alive()
    const error = gl.getError()
    if (error !== gl.NO_ERROR)
      throw new BackendError(
        error === gl.OUT_OF_MEMORY ? OUT_OF_MEMORY : `webgl: the GPU reports error ${error}`,
      )
  }
  /** Until everything that was asked for is done. */
  async fence(): Promise<void> {
    const { gl } = this
    const sync = gl.fenceSync(gl.SYNC_GPU_COMMANDS_COMPLETE, 0)
    if (!sync) {
      this.alive()
      return
    }
    gl.flush()
    for (let turn = 0; ; turn++) {
      const status = gl.clientWaitSync(sync, 0, 0)
      if (status === gl.ALREADY_SIGNALED || status === gl.CONDITION_SATISFIED || status === gl.WAIT_FAILED)
        break
      this.alive()
      await (turn < 8 ? nextTask() : new Promise((resolve) => setTimeout(resolve, 1)))
    }
    gl.deleteSync(sync)
    this.alive()
  }

  /** Deletes everything, textures in use too. */
  dispose(): void {
    const { gl } = this
    this.isDisposed = true
    gl.canvas.removeEventListener('webglcontextlost', this.onLoss)
    this.emptyPool()
    for (const texture of [...this.all]) this.destroy(texture)
    this.live = 0
    this.bytesInUse = 0
    for (const p of this.programs.values()) gl.deleteProgram(p.handle)
    this.programs.clear()
    gl.deleteShader(this.vertex)
    gl.deleteFramebuffer(this.many)
    gl.deleteVertexArray(this.vao)
  }
}

const keyOf = (format: Format, { bits, height, layers }: Layout): string =>
  `${format}|${bits}|${height}|${layers}`

/** A turn of the event loop, without the milliseconds that a timer rounds up to. */
function nextTask(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel()
    port1.onmessage = () => {
      port1.close()
      resolve()
    }
    port2.postMessage(null)
  })
}
