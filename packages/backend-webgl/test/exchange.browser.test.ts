// Tensors of TensorFlow.js and back, on one GPU context; and both computing in turns without disturbing each other.
import * as t from '@heed/tensor'
import { DTypeError, realize, ValueError } from '@heed/tensor'
import { GPGPUContext, MathBackendWebGL } from '@tensorflow/tfjs-backend-webgl'
import * as tf from '@tensorflow/tfjs-core'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { fromTfjs, toTfjs, type WebglBackend, webgl } from '../src/index.js'

let backend: WebglBackend
beforeAll(async () => {
  await tf.setBackend('webgl')
  tf.env().set('WEBGL_CPU_FORWARD', false)
  backend = await webgl()
  t.setBackend(backend)
})
afterAll(() => {
  t.setBackend(null)
  backend.dispose()
})
/** Calls that bring numbers from the GPU or to it. */
const transfers = () => {
  const names = ['readPixels', 'getBufferSubData', 'texSubImage2D', 'bufferData', 'bufferSubData'] as const
  const spies = names.map((name) => vi.spyOn(WebGL2RenderingContext.prototype, name))
  // without pixels it only takes memory
  const image = vi.spyOn(WebGL2RenderingContext.prototype, 'texImage2D')
  return () => {
    const counts = [
      ...spies.map((spy, i): [string, number] => [names[i], spy.mock.calls.length]),
      ['texImage2D', image.mock.calls.filter((args) => args.at(-1) !== null).length] as const,
    ]
    for (const spy of [...spies, image]) spy.mockRestore()
    return counts.filter(([, n]) => n > 0)
  }
}
const list = async (x: { data(): Promise<ArrayLike<number>> }): Promise<number[]> =>
  Array.from(await x.data())

describe('handing over', () => {
  it('from tfjs and back without leaving the GPU, in every packing', async () => {
    const a = tf.tensor2d(
      Float32Array.from({ length: 35 }, (_, i) => i / 7 - 2),
      [5, 7],
    )
    const made = [a, tf.matMul(a, a, false, true), tf.relu(tf.transpose(a)), tf.slice(a, [1, 2], [3, 4])]
    for (const y of made) {
      tf.add(y, 0).dispose()
      const onGpu = tf.mul(y, 1)
      const stop = transfers()
      const x = await fromTfjs(onGpu)
      const back = await toTfjs(x, tf)
      expect(stop()).toEqual([])
      expect(x.shape).toEqual(y.shape)
      expect(back.shape).toEqual(y.shape)
      const want = await list(y)
      expect(await list(x as unknown as tf.Tensor)).toEqual(want)
      expect(await list(back)).toEqual(want)
    }
  })
  it('whole numbers and booleans', async () => {
    const i = await fromTfjs(tf.tensor1d([1, -5, 16777216], 'int32'))
    expect(i.dtype).toBe('i32')
    expect(await list(i as unknown as tf.Tensor)).toEqual([1, -5, 16777216])
    const b = await fromTfjs(tf.tensor1d([true, false], 'bool'))
    expect(b.dtype).toBe('bool')
    const doubled = t.mul(i, 2)
    const back = await toTfjs(doubled, tf)
    expect(back.dtype).toBe('int32')
    expect(await list(back)).toEqual([2, -10, 33554432])
    expect(await list(await toTfjs(b, tf))).toEqual([1, 0])
  })
  it('what tfjs has on the CPU, and a backend without textures', async () => {
    const small = tf.tensor1d([1, 2, 3])
    expect(await list((await fromTfjs(small)) as unknown as tf.Tensor)).toEqual([1, 2, 3])
    const host = t.reference()
    const x = await fromTfjs(tf.mul(small, 2), { backend: host })
    expect(await list(x as unknown as tf.Tensor)).toEqual([2, 4, 6])
    expect(await list(await toTfjs(t.add(x, 1), tf, { backend: host }))).toEqual([3, 5, 7])
  })
  it.each([
    ['a scalar', [], 'float32'],
    ['a length that four does not divide', [5], 'float32'],
    ['whole numbers', [3, 3], 'int32'],
    ['six axes', [2, 1, 3, 1, 2, 3], 'float32'],
    ['many rows', [1031, 3], 'float32'],
  ] as const)('%s, without leaving the GPU', async (_, shape, dtype) => {
    const size = shape.reduce<number>((n, d) => n * d, 1)
    const values = Float32Array.from({ length: size }, (_, i) => (i % 1000) + 1)
    const theirs = tf.reshape(tf.neg(tf.tensor1d(values, dtype)), shape as unknown as number[])
    const ours = t.neg(t.reshape(t.tensor(values), shape))
    const whole = dtype === 'int32' ? t.cast(ours, 'i32') : ours
    await realize([whole])
    const stop = transfers()
    const x = await fromTfjs(theirs)
    const y = await toTfjs(whole, tf)
    expect(stop()).toEqual([])
    expect([x.shape, x.dtype]).toEqual([[...shape], dtype === 'int32' ? 'i32' : 'f32'])
    expect([y.shape, y.dtype]).toEqual([[...shape], dtype])
    const want = [...values].map((v) => -v)
    expect(await list(x as unknown as tf.Tensor)).toEqual(want)
    expect(await list(y)).toEqual(want)
    // both go on computing with it
    expect(await list(t.add(x, x) as unknown as tf.Tensor)).toEqual(want.map((v) => 2 * v))
    expect(await list(tf.add(y, y))).toEqual(want.map((v) => 2 * v))
  })
  it('nothing, and more axes than tfjs has operations for', async () => {
    const x = await fromTfjs(tf.zeros([0, 3]))
    expect([x.shape, (await x.data()).length]).toEqual([[0, 3], 0])
    const y = await toTfjs(t.neg(t.zeros([2, 0])), tf)
    expect([y.shape, (await y.data()).length]).toEqual([[2, 0], 0])
    const deep = await toTfjs(t.add(t.ones([1, 2, 1, 1, 1, 1, 1, 2]), 1), tf)
    expect(deep.shape).toEqual([1, 2, 1, 1, 1, 1, 1, 2])
    expect(await list(deep)).toEqual([2, 2, 2, 2])
    const back = await fromTfjs(deep)
    expect(back.shape).toEqual(deep.shape)
    expect(await list(back as unknown as tf.Tensor)).toEqual([2, 2, 2, 2])
  })
  it('through an array where tfjs computes in another context', async () => {
    const gl = new OffscreenCanvas(1, 1).getContext('webgl2') as unknown as WebGLRenderingContext
    tf.copyRegisteredKernels('webgl', 'elsewhere')
    tf.registerBackend('elsewhere', () => new MathBackendWebGL(new GPGPUContext(gl)))
    await tf.setBackend('elsewhere')
    try {
      const x = await fromTfjs(tf.mul(tf.tensor1d([1, 2, 3]), 2))
      expect(await list(t.add(x, 1) as unknown as tf.Tensor)).toEqual([3, 5, 7])
      expect(await list(tf.add(await toTfjs(t.add(x, 2), tf), 1))).toEqual([5, 7, 9])
    } finally {
      await tf.setBackend('webgl')
      tf.removeBackend('elsewhere')
    }
  })
  it('what lies in several layers here goes through an array, both ways', async () => {
    const layered = await webgl({ maxTextureSize: 4 })
    const values = Float32Array.from({ length: 300 }, (_, i) => i / 7 - 2)
    const theirs = tf.mul(tf.tensor1d(values), 1)
    const x = await fromTfjs(theirs, { backend: layered })
    const y = t.mul(x, 2)
    const stop = transfers()
    const back = await toTfjs(y, tf, { backend: layered })
    expect(stop().length).toBeGreaterThan(0)
    expect(back.shape).toEqual([300])
    expect(await list(back)).toEqual(Array.from(values, (v) => Math.fround(2 * v)))
    layered.dispose()
  })
  it('leaves each side its own memory', async () => {
    const y = tf.tidy(() => tf.mul(tf.ones([64, 64]), 3))
    const x = await fromTfjs(y)
    const tensors = tf.memory().numTensors
    const { live } = backend.counts
    for (let i = 0; i < 50; i++) {
      const again = await fromTfjs(y)
      t.release(again)
      const back = await toTfjs(x, tf)
      back.dispose()
    }
    expect(tf.memory().numTensors).toBe(tensors)
    expect(backend.counts.live).toBe(live)
    y.dispose()
    // the values are ours
    expect(Math.max(...(await list(x as unknown as tf.Tensor)))).toBe(3)
  })
  it('refuses what has no place on the other side', async () => {
    await expect(fromTfjs(tf.complex([1], [2]))).rejects.toThrow(DTypeError)
    await expect(fromTfjs(tf.tensor1d(['a']))).rejects.toThrow(
      /the tensor is string; float32, int32 and bool/,
    )
    for (const dtype of ['f16', 'bf16', 'i8', 'u8', 'i64'] as const)
      await expect(toTfjs(t.cast(t.tensor([1, 2]), dtype), tf)).rejects.toThrow(
        new DTypeError(`toTfjs: the tensor is ${dtype}; cast it to f32, i32 or bool`),
      )
  })
  it('refuses what is not there any more, or is no tensor', async () => {
    const theirs = tf.mul(tf.ones([5]), 2)
    theirs.dispose()
    await expect(fromTfjs(theirs)).rejects.toThrow(
      new ValueError('fromTfjs: the tensor was disposed; hand it over before'),
    )
    const ours = t.neg(t.ones([5]))
    await realize([ours])
    t.release(ours)
    await expect(toTfjs(ours, tf)).rejects.toThrow(/was released/)
    await expect(fromTfjs([1, 2] as unknown as tf.Tensor)).rejects.toThrow(/for arrays there is tensor\(\)/)
    await expect(fromTfjs(undefined as unknown as tf.Tensor)).rejects.toThrow(ValueError)
    await expect(toTfjs(t.ones([2]), tf, { backnd: backend } as never)).rejects.toThrow(
      /option 'backnd' is unknown/,
    )
    await expect(fromTfjs(tf.scalar(1), { backnd: backend } as never)).rejects.toThrow(
      /option 'backnd' is unknown/,
    )
    await expect(toTfjs(t.ones([2]), {} as typeof tf)).rejects.toThrow(/pass the module of TensorFlow.js/)
    const gone = await webgl()
    gone.dispose()
    await expect(fromTfjs(tf.ones([2]), { backend: gone })).rejects.toThrow(/was disposed/)
    await expect(toTfjs(t.ones([2]), tf, { backend: gone })).rejects.toThrow(/was disposed/)
  })
})

it('both compute in turns on the one context', async () => {
  const values = Float32Array.from({ length: 64 }, (_, i) => Math.sin(i))
  const theirs = tf.tensor2d(values, [8, 8])
  const ours = t.tensor(values, { shape: [8, 8] })
  for (let i = 0; i < 5; i++) {
    const a = tf.matMul(theirs, tf.softmax(theirs))
    const b = t.matmul(ours, t.softmax(ours))
    await realize([b], { strict: true })
    const c = tf.add(a, 1)
    const want = await list(a)
    const got = await list(b as unknown as tf.Tensor)
    expect(Math.max(...got.map((v, k) => Math.abs(v - want[k])))).toBeLessThan(1e-6)
    expect((await list(c))[3]).toBeCloseTo(want[3] + 1, 5)
  }
})
