/**
 * A WebGL2 context as a machine for arrays: textures from a pool, programs by their text, one triangle per kernel, and
 * reading back. An array of n elements lies in row-major order, four consecutive elements a texel, the width a power of
 * two: what tfjs calls dense GPU data, so that tensors pass between the two without a new layout.
 */
import { BackendError, type DType, type Precision, type TypedArray } from '@heed/tensor'

/** What a component of a texel holds. */
export type Format = 'f32' | 'f16' | 'i32' | 'i16' | 'i8'

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
  // half floats as their bits, turned into numbers and back by programs: what GPUs make of an overflow differs
  f16: shorts,
  i32: { bytes: 4, internal: 'RGBA32I', type: 'INT', sampler: 'isampler2D', array: Int32Array },
  i16: shorts,
  i8: { bytes: 1, internal: 'RGBA8I', type: 'BYTE', sampler: 'isampler2D', array: Int8Array },
}

/** Where a dtype lies; null: nowhere (i64 stays on the host). */
export function formatOf(dtype: DType, precision: Precision): Format | null {
  switch (dtype) {
    case 'f32':
      return precision === 'f16' ? 'f16' : 'f32'
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
export const isFloat = (format: Format): boolean => format === 'f32' || format === 'f16'

/** A texture and who uses it. It is written once, by one draw or upload, and only read afterwards. */
export interface Texture {
  readonly handle: WebGLTexture
  readonly framebuffer: WebGLFramebuffer
  readonly format: Format
  /** log₂ of the width in texels. */
  readonly bits: number
  readonly height: number
  readonly bytes: number
  users: number
}
export interface Program {
  readonly handle: WebGLProgram
  readonly ints: WebGLUniformLocation | null
  readonly floats: WebGLUniformLocation | null
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

/** Texels of an array: width 2^bits and height. */
function layout(size: number, maxTextureSize: number): { bits: number; height: number } {
  const texels = Math.max(1, Math.ceil(size / 4))
  const bits = Math.min(Math.ceil(Math.log2(Math.sqrt(texels))), Math.floor(Math.log2(maxTextureSize)))
  return { bits, height: Math.ceil(texels / 2 ** bits) }
}

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

  constructor(
    readonly gl: WebGL2RenderingContext,
    readonly maxTextureSize: number,
  ) {
    this.vertex = this.shader(gl.VERTEX_SHADER, VERTEX)
    this.vao = gl.createVertexArray()
    gl.canvas.addEventListener('webglcontextlost', this.onLoss)
  }

  get counts(): DeviceCounts {
    return { live: this.live, pooled: this.pooled, programs: this.programs.size }
  }
  /** Elements that one array may have. */
  get maxElements(): number {
    return 4 * 2 ** Math.floor(Math.log2(this.maxTextureSize)) * this.maxTextureSize
  }

  /** log₂ of the width of the texture for so many elements. */
  bitsOf(size: number): number {
    return layout(size, this.maxTextureSize).bits
  }
  bytesOf(size: number, format: Format): number {
    const { bits, height } = layout(size, this.maxTextureSize)
    return 2 ** bits * height * 4 * formats[format].bytes
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
    const { bits, height } = layout(size, this.maxTextureSize)
    if (height > this.maxTextureSize)
      throw new BackendError(
        `webgl: an array of ${size} elements is above the ${this.maxElements} that a texture of this GPU holds; split it`,
      )
    const key = `${format}|${bits}|${height}`
    const free = this.pool.get(key)?.pop()
    if (free) {
      this.pooled--
      this.pooledBytes -= free.bytes
    }
    const texture = free ?? this.create(format, bits, height)
    texture.users = 1
    this.live++
    this.bytesInUse += texture.bytes
    return texture
  }
  private create(format: Format, bits: number, height: number): Texture {
    const { gl } = this
    this.alive()
    const handle = gl.createTexture()
    const framebuffer = gl.createFramebuffer()
    gl.bindTexture(gl.TEXTURE_2D, handle)
    for (const [name, value] of [
      [gl.TEXTURE_MIN_FILTER, gl.NEAREST],
      [gl.TEXTURE_MAG_FILTER, gl.NEAREST],
      [gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE],
      [gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE],
    ])
      gl.texParameteri(gl.TEXTURE_2D, name, value)
    gl.texStorage2D(gl.TEXTURE_2D, 1, gl[formats[format].internal], 2 ** bits, height)
    gl.bindFramebuffer(gl.FRAMEBUFFER, framebuffer)
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, handle, 0)
    gl.bindTexture(gl.TEXTURE_2D, null)
    const bytes = 2 ** bits * height * 4 * formats[format].bytes
    const texture = { handle, framebuffer, format, bits, height, bytes, users: 0 }
    this.all.add(texture)
    return texture
  }
  /** One user less; without users it goes back to the pool. */
  release(texture: Texture): void {
    if (--texture.users > 0) return
    this.live--
    this.bytesInUse -= texture.bytes
    if (this.lost || this.pooledBytes + texture.bytes > MAX_POOLED_BYTES) {
      this.destroy(texture)
      return
    }
    const key = `${texture.format}|${texture.bits}|${texture.height}`
    const list = this.pool.get(key)
    if (list) list.push(texture)
    else this.pool.set(key, [texture])
    this.pooled++
    this.pooledBytes += texture.bytes
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
    if (outs.length === 1) gl.bindFramebuffer(gl.FRAMEBUFFER, out.framebuffer)
    else this.bindMany(outs)
    gl.viewport(0, 0, 2 ** out.bits, out.height)
    gl.useProgram(program.handle)
    for (let i = 0; i < inputs.length; i++) {
      gl.activeTexture(gl.TEXTURE0 + i)
      gl.bindTexture(gl.TEXTURE_2D, inputs[i].handle)
    }
    if (program.ints) gl.uniform1iv(program.ints, ints)
    if (program.floats) gl.uniform1fv(program.floats, floats)
    gl.drawArrays(gl.TRIANGLES, 0, 3)
    if (outs.length > 1) this.bindMany([])
  }
  /** Textures as the targets of one draw; none takes them off again. */
  private bindMany(textures: readonly Texture[]): void {
    const { gl } = this
    this.many ??= gl.createFramebuffer()
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.many)
    const places = Array.from({ length: Math.max(textures.length, this.targets) }, (_, i) => i)
    for (const i of places)
      gl.framebufferTexture2D(
        gl.FRAMEBUFFER,
        gl.COLOR_ATTACHMENT0 + i,
        gl.TEXTURE_2D,
        textures[i]?.handle ?? null,
        0,
      )
    if (textures.length > 0) gl.drawBuffers(places.map((i) => gl.COLOR_ATTACHMENT0 + i))
    this.targets = textures.length
  }

  /** A texture with these values, whose bits are those of the dtype. */
  upload(data: TypedArray, format: Format): Texture {
    const { gl } = this
    const texture = this.alloc(data.length, format)
    const row = formats[format]
    const width = 2 ** texture.bits
    const perRow = 4 * width
    const full = Math.floor(data.length / perRow)
    const kind = row.sampler === 'sampler2D' ? gl.RGBA : gl.RGBA_INTEGER
    const make = row.array as unknown as new (b: ArrayBufferLike, o: number, n: number) => Int8Array
    const bits = new make(data.buffer, data.byteOffset, data.length)
    gl.activeTexture(gl.TEXTURE0)
    gl.bindTexture(gl.TEXTURE_2D, texture.handle)
    if (full > 0)
      gl.texSubImage2D(
        gl.TEXTURE_2D,
        0,
        0,
        0,
        width,
        full,
        kind,
        gl[row.type],
        bits.subarray(0, full * perRow),
      )
    if (full * perRow < data.length) {
      const rest = new row.array(perRow) as Int8Array
      rest.set(bits.subarray(full * perRow))
      gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, full, width, 1, kind, gl[row.type], rest)
    }
    gl.bindTexture(gl.TEXTURE_2D, null)
    return texture
  }

  /** The first `size` elements, once the GPU is done; integers, and half floats as their bits, arrive as i32. */
  async read(texture: Texture, size: number): Promise<Float32Array | Int32Array> {
    const { gl } = this
    this.alive()
    const isFloat = formats[texture.format].sampler === 'sampler2D'
    const width = 2 ** texture.bits
    const rows = Math.max(1, Math.ceil(size / (4 * width)))
    const bytes = rows * width * 16
    const pack = gl.createBuffer()
    gl.bindBuffer(gl.PIXEL_PACK_BUFFER, pack)
    gl.bufferData(gl.PIXEL_PACK_BUFFER, bytes, gl.STREAM_READ)
    gl.bindFramebuffer(gl.FRAMEBUFFER, texture.framebuffer)
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
    const out = isFloat ? new Float32Array(size) : new Int32Array(size)
    gl.bindBuffer(gl.PIXEL_PACK_BUFFER, pack)
    if (size > 0) gl.getBufferSubData(gl.PIXEL_PACK_BUFFER, 0, out)
    gl.bindBuffer(gl.PIXEL_PACK_BUFFER, null)
    gl.deleteBuffer(pack)
    this.alive()
    const error = gl.getError()
    if (error !== gl.NO_ERROR)
      throw new BackendError(
        error === gl.OUT_OF_MEMORY
          ? 'webgl: the GPU is out of memory; release() tensors, or compute in smaller parts'
          : `webgl: the GPU reports error ${error}`,
      )
    return out
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
    for (const texture of [...this.all]) this.destroy(texture)
    this.pool.clear()
    this.pooled = 0
    this.pooledBytes = 0
    this.live = 0
    this.bytesInUse = 0
    for (const p of this.programs.values()) gl.deleteProgram(p.handle)
    this.programs.clear()
    gl.deleteShader(this.vertex)
    gl.deleteFramebuffer(this.many)
    gl.deleteVertexArray(this.vao)
  }
}

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
