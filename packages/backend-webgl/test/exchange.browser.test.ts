// Tensors of TensorFlow.js and back, on one GPU context; and both computing in turns without disturbing each other.
import * as t from '@heed/tensor'
import { DTypeError, realize } from '@heed/tensor'
import * as tf from '@tensorflow/tfjs-core'
import '@tensorflow/tfjs-backend-webgl'
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
/** Calls that bring numbers from the GPU. */
const reads = () => {
  const one = vi.spyOn(WebGL2RenderingContext.prototype, 'readPixels')
  const two = vi.spyOn(WebGL2RenderingContext.prototype, 'getBufferSubData')
  return () => {
    const n = one.mock.calls.length + two.mock.calls.length
    one.mockRestore()
    two.mockRestore()
    return n
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
      const stop = reads()
      const x = await fromTfjs(onGpu)
      const back = await toTfjs(x, tf)
      expect(stop()).toBe(0)
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
    await expect(toTfjs(t.cast(t.tensor([1]), 'f16'), tf)).rejects.toThrow(/cast it to f32/)
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
