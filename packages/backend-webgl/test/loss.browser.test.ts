// The browser takes the context away: before a run, between two draws, while a read waits; and gives it back, empty.
import * as t from '@heed/tensor'
import { type Backend, BackendError, realize, type Tensor } from '@heed/tensor'
import * as tf from '@tensorflow/tfjs-core'
import '@tensorflow/tfjs-backend-webgl'
import { describe, expect, it, vi } from 'vitest'
import { fromTfjs, toTfjs } from '../src/index.js'
import { make } from './support.js'

const LOST = /^webgl: the WebGL context is lost .*make a new backend with webgl\(\) and load again$/
const numbers = (n: number): Float32Array => Float32Array.from({ length: n }, (_, i) => Math.sin(i))
const square = (): Tensor => t.tensor(numbers(400), { shape: [20, 20] })

/** The context behind a backend. */
async function contextOf(backend: Backend): Promise<WebGL2RenderingContext> {
  const draw = vi.spyOn(WebGL2RenderingContext.prototype, 'drawArrays')
  await realize([t.neg(t.tensor([1]))], { backend })
  const gl = draw.mock.contexts[0] as WebGL2RenderingContext
  draw.mockRestore()
  return gl
}
/** Takes the context away; the page hears of it in a later turn. */
function lose(gl: WebGL2RenderingContext): { heard: Promise<unknown>; restore(): Promise<unknown> } {
  const once = (name: string): Promise<unknown> =>
    new Promise((ready) => {
      gl.canvas.addEventListener(name, ready, { once: true })
    })
  const heard = once('webglcontextlost')
  const extension = gl.getExtension('WEBGL_lose_context')
  extension?.loseContext()
  return {
    heard,
    async restore() {
      await heard
      const back = once('webglcontextrestored')
      extension?.restoreContext()
      return back
    },
  }
}
async function refused(run: () => Promise<unknown>): Promise<void> {
  const error = await run().then(
    () => null,
    (reason: unknown) => reason,
  )
  expect(error).toBeInstanceOf(BackendError)
  expect((error as Error).message).toMatch(LOST)
}
/** Everything that can be asked of a backend and of a tensor that lay there. */
async function refusesAll(backend: Backend, held: Tensor): Promise<void> {
  await refused(() => held.data())
  await refused(() => realize([t.exp(held)], { backend }))
  await refused(() => realize([t.add(square(), 3)], { backend }))
}
/** A new backend computes, and says of old tensors what became of them. */
async function startsAnew(held: Tensor): Promise<void> {
  const fresh = await make()
  const y = t.matmul(square(), square())
  await realize([y], { backend: fresh, strict: true })
  const want = t.matmul(square(), square())
  await realize([want], { backend: t.reference({ precision: 'f64' }) })
  const exact = await want.data()
  const got = await y.data()
  for (let i = 0; i < got.length; i++) expect(Math.abs(Number(got[i]) - Number(exact[i]))).toBeLessThan(1e-5)
  await refused(() => realize([t.neg(held)], { backend: fresh }))
  // what came from an array is still there
  const source = square()
  await realize([t.neg(source)], { backend: fresh })
  expect(await source.data()).toHaveLength(400)
}

describe('a lost context is a typed error, and a fresh backend works', () => {
  it('when it is lost before a run, and when the browser gives it back', async () => {
    const backend = await make()
    const held = t.mul(square(), 3)
    await realize([held], { backend })
    const { heard, restore } = lose(await contextOf(backend))
    await refusesAll(backend, held)
    await heard
    await startsAnew(held)
    await restore()
    await refusesAll(backend, held)
    await startsAnew(held)
    expect(() => backend.dispose()).not.toThrow()
  })
  it.each(['second', 'last'])(
    'before the %s draw, also when every texture is there already and inputs were given away',
    async (which) => {
      const backend = await make()
      const gl = await contextOf(backend)
      const source = square()
      const held = t.mul(source, 3)
      await realize([held], { backend })
      const run = async (): Promise<[Tensor, Tensor]> => {
        const given = t.add(source, 1)
        await realize([given], { backend })
        const y = t.exp(t.softmax(t.matmul(given, given)))
        const drawn = vi.spyOn(WebGL2RenderingContext.prototype, 'drawArrays')
        await realize([y], { backend, donate: [given] })
        draws = drawn.mock.calls.length
        drawn.mockRestore()
        return [given, y]
      }
      let draws = 0
      // the second time takes textures of the pool and makes none
      for (const x of await run()) t.release(x)
      const at = which === 'last' ? draws : 2
      expect(draws).toBeGreaterThan(2)
      const { live } = backend.counts
      const given = t.add(source, 1)
      await realize([given], { backend })
      const original = WebGL2RenderingContext.prototype.drawArrays
      const create = vi.spyOn(WebGL2RenderingContext.prototype, 'createTexture')
      const draw = vi.spyOn(WebGL2RenderingContext.prototype, 'drawArrays')
      let heard: Promise<unknown> | undefined
      draw.mockImplementation(function (this: WebGL2RenderingContext, ...args) {
        if (draw.mock.calls.length === at) heard = lose(gl).heard
        original.apply(this, args)
      })
      const y = t.exp(t.softmax(t.matmul(given, given)))
      await refused(() => realize([y], { backend, donate: [given] }))
      expect(create).not.toHaveBeenCalled()
      draw.mockRestore()
      t.release(given)
      expect(backend.counts.live).toBe(live)
      await refusesAll(backend, held)
      await startsAnew(held)
      await heard
      // what lay in the lost context is not kept for reuse
      const { pooled } = backend.counts
      t.release(held)
      expect(backend.counts.live).toBeLessThan(live)
      expect(backend.counts.pooled).toBe(pooled)
    },
  )
  it('while a read waits', async () => {
    const backend = await make()
    const gl = await contextOf(backend)
    const held = t.mul(square(), 3)
    await realize([held], { backend })
    const pending = held.data()
    const { heard } = lose(gl)
    await refused(() => pending)
    await refusesAll(backend, held)
    await startsAnew(held)
    await heard
  })
  it('while the GPU is waited for', async () => {
    const backend = await make()
    const gl = await contextOf(backend)
    await realize([t.matmul(square(), square())], { backend })
    const pending = backend.settled()
    const { heard } = lose(gl)
    await refused(() => pending)
    await heard
  })
  it('in the context of TensorFlow.js', async () => {
    await tf.setBackend('webgl')
    tf.env().set('WEBGL_CPU_FORWARD', false)
    const backend = await make()
    const gl = (tf.backend() as unknown as { gpgpu: { gl: WebGL2RenderingContext } }).gpgpu.gl
    expect(await contextOf(backend)).toBe(gl)
    const theirs = tf.mul(tf.ones([20, 20]), 2)
    const held = await fromTfjs(theirs, { backend })
    const { heard } = lose(gl)
    await refusesAll(backend, held)
    await refused(() => fromTfjs(theirs, { backend }))
    await refused(() => toTfjs(held, tf, { backend }))
    await heard
    await startsAnew(held)
  })
})
