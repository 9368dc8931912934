/** What the Backend contract promises beyond right numbers: round trips, ownership, reuse, memory that comes back. */

import type { Backend, DeviceBuffer, DType, GraphNode, Spec, Tensor, TypedArray } from '@heed/tensor'
import * as t from '@heed/tensor'
import { guise } from './guise.js'

export interface ContractCase {
  readonly name: string
  /** Rejects with one line when the promise is broken. */
  check(backend: Backend): Promise<void>
}

const must = (holds: boolean, message: string): void => {
  if (!holds) throw new Error(message)
}
const list = (data: ArrayLike<number | bigint>): string =>
  Array.from(data as ArrayLike<number>, String).join(', ')
const equal = (got: ArrayLike<number | bigint>, want: ArrayLike<number | bigint>, what: string): void =>
  must(list(got) === list(want), `${what}: got ${list(got)}, expected ${list(want)}`)

const node = (
  op: string,
  inputs: readonly number[],
  to: readonly Spec[],
  from: readonly Spec[] = [],
  attrs: GraphNode['attrs'] = {},
): GraphNode => ({
  op,
  attrs,
  inputs: inputs.map((n) => ({ node: n, index: 0 })),
  from,
  to,
  path: '',
  site: null,
})

const stored = (precision: Backend['precision']): readonly [DType, TypedArray][] => [
  // half precision ends at 65504
  ['f32', Float32Array.of(0.5, -2, precision === 'f16' ? 65504 : 3e7)],
  ['i32', Int32Array.of(7, -8, 2 ** 31 - 1)],
  ['bool', Uint8Array.of(1, 0, 1)],
  ['u8', Uint8Array.of(255, 0, 7)],
  ['i8', Int8Array.of(-128, 0, 127)],
  ['f16', Uint16Array.of(0x3c00, 0xc000, 0x7bff)],
  ['bf16', Uint16Array.of(0x3f80, 0xc000, 0x7f7f)],
  ['i64', BigInt64Array.of(1n, -2n, 2n ** 40n)],
]

export const contractCases: readonly ContractCase[] = [
  {
    name: 'uploads and downloads every dtype unchanged',
    async check(backend) {
      for (const [dtype, data] of stored(backend.precision)) {
        const buffer = backend.upload(data, [3], dtype)
        must(
          buffer.dtype === dtype && buffer.shape.join() === '3',
          `${dtype}: the buffer is ${buffer.dtype} [${buffer.shape}]`,
        )
        equal(await backend.download(buffer), data, dtype)
        backend.free(buffer)
      }
    },
  },
  {
    name: 'a download is a copy',
    async check(backend) {
      const buffer = backend.upload(Float32Array.of(1, 2), [2], 'f32')
      const first = await backend.download(buffer)
      first[0] = 99
      equal(await backend.download(buffer), [1, 2], 'second download')
      backend.free(buffer)
    },
  },
  {
    name: 'frees what it uploaded',
    async check(backend) {
      const before = backend.bytesInUse
      const buffers = [1, 17, 4096].map((n) => backend.upload(new Float32Array(n), [n], 'f32'))
      must(backend.bytesInUse > before, 'bytesInUse did not grow with an upload')
      for (const b of buffers) backend.free(b)
      must(
        backend.bytesInUse === before,
        `bytesInUse is ${backend.bytesInUse} after freeing everything, was ${before}`,
      )
    },
  },
  {
    name: 'outputs own their memory',
    async check(backend) {
      const x = t.tensor([1, 2, 3, 4])
      const y = t.reshape(x, [2, 2])
      const z = t.mul(x, 2)
      await t.realize([y, z, t.transpose(y)], { backend })
      t.release(x)
      // another run would overwrite anything that still lived in the arena
      await t.realize([t.add(t.full([64, 64], 7), t.iota(64))], { backend })
      equal(await y.data(), [1, 2, 3, 4], 'a reshaped input')
      equal(await z.data(), [2, 4, 6, 8], 'a computed output')
    },
  },
  {
    name: 'one tensor asked for twice, an input and a number as outputs',
    async check(backend) {
      const x = t.tensor([1, 2])
      const y = t.mul(x, x)
      const same = t.reshape(t.reshape(x, [2, 1]), [2])
      await t.realize([y, y, same, t.full([3], 4), x], { backend })
      equal(await y.data(), [1, 4], 'y')
      equal(await same.data(), [1, 2], 'same')
    },
  },
  {
    name: 'the same structure is compiled once, other numbers at most twice',
    async check(original) {
      // plans of its own: the cache of a backend that ran much is full
      const backend = guise(original)
      const before = t.planCount(backend)
      const run = async (by: number, values: number[]): Promise<void> => {
        const y = t.mul(t.add(t.tensor(values), by), t.add(t.tensor(values), by))
        await t.realize([y], { backend })
        equal(
          await y.data(),
          values.map((v) => (v + by) ** 2),
          `by ${by}`,
        )
      }
      await run(1, [1, 2, 3])
      await run(1, [4, 5, 6])
      must(t.planCount(backend) - before === 1, `${t.planCount(backend) - before} plans for one structure`)
      for (const by of [2, 3, 4]) await run(by, [1, 2, 3])
      must(
        t.planCount(backend) - before <= 2,
        `${t.planCount(backend) - before} plans for one structure and four numbers`,
      )
    },
  },
  {
    name: 'a donated state runs in constant memory',
    async check(backend) {
      let state: Tensor = t.tensor(new Float32Array(1024).fill(1), { shape: [1024] })
      const step = async (): Promise<void> => {
        const next = t.mul(t.detach(state), 1.0009765625)
        await t.realize([next], { backend, donate: [state] })
        state = next
      }
      for (let i = 0; i < 3; i++) await step()
      const before = backend.bytesInUse
      for (let i = 0; i < 20; i++) await step()
      must(
        backend.bytesInUse <= before,
        `bytesInUse went from ${before} to ${backend.bytesInUse} in 20 steps`,
      )
      // in half precision every step is rounded: 1 + k/1024 becomes 1 + (k + 1)/1024
      const want = backend.precision === 'f16' ? 1 + 23 / 1024 : 1.0009765625 ** 23
      must(Math.abs(Number((await state.data())[5]) - want) < 1e-5, 'the state is wrong')
    },
  },
  {
    name: 'a donated input may be written over, never another one',
    async check(backend) {
      const cache: Spec = { shape: [2, 4, 3], dtype: 'f32' }
      const patch: Spec = { shape: [2, 1, 3], dtype: 'f32' }
      const offset: Spec = { shape: [], dtype: 'i32' }
      const executable = await backend.compile({
        key: 'conformance: a donated cache',
        nodes: [
          ...[cache, patch, offset].map((spec) => node('input', [], [spec])),
          node('update', [0, 1, 2], [cache], [cache, patch, offset], { axis: 1 }),
          node('mul', [1, 1], [patch], [patch, patch]),
        ],
        inputs: [0, 1, 2],
        outputs: [
          { node: 3, index: 0 },
          { node: 4, index: 0 },
        ],
      })
      const values = Float32Array.from({ length: 24 }, (_, i) => i)
      const written = (from: ArrayLike<number>, at: number): number[] =>
        Array.from(from, (v, i) => (Math.floor(i / 3) % 4 === at ? -1 : v))
      const ones = backend.upload(new Float32Array(6).fill(-1), [2, 1, 3], 'f32')
      const start = backend.upload(values, cache.shape, 'f32')
      const run = async (from: DeviceBuffer, at: number, donated: boolean): Promise<DeviceBuffer> => {
        const where = backend.upload(Int32Array.of(at), [], 'i32')
        const [made, squares] = await executable.run([from, ones, where], [donated, false, false])
        must(made !== from && squares !== ones, 'a result is the very buffer that came in')
        equal(await backend.download(squares), [1, 1, 1, 1, 1, 1], 'squares')
        backend.free(squares)
        backend.free(where)
        return made
      }
      const first = await run(start, 1, false)
      equal(await backend.download(start), values, 'a cache that was not donated')
      equal(await backend.download(first), written(values, 1), 'the result without donation')
      backend.free(start)
      let last = first
      let inUse = 0
      for (let step = 0; step < 4; step++) {
        const made = await run(last, step, true)
        // freeing what was given away is allowed and does nothing
        backend.free(last)
        last = made
        if (step === 0) inUse = backend.bytesInUse
        must(
          backend.bytesInUse <= inUse,
          `bytesInUse went from ${inUse} to ${backend.bytesInUse} in step ${step}`,
        )
        // what others left is collected at any time
        inUse = backend.bytesInUse
      }
      equal(await backend.download(last), new Array(24).fill(-1), 'four donated steps')
      equal(await backend.download(ones), new Array(6).fill(-1), 'an input that was not donated')
      backend.free(last)
      backend.free(ones)
    },
  },
  {
    name: 'donated inputs that others read, in any order and shape, give the right numbers',
    async check(backend) {
      const fresh = async (...shape: number[]): Promise<Tensor> => {
        const x = t.add(t.reshape(t.iota(shape.reduce((a, b) => a * b, 1)), shape), 1)
        await t.realize([x], { backend })
        return x
      }
      const check = async (
        what: string,
        shape: number[],
        build: (x: Tensor) => readonly Tensor[],
      ): Promise<void> => {
        const kept = await fresh(...shape)
        const want = build(kept)
        await t.realize(want, { backend })
        const given = await fresh(...shape)
        const got = build(given)
        await t.realize(got, { backend, donate: [given] })
        for (const [i, y] of got.entries())
          equal(await y.data(), await want[i].data(), `${what}, result ${i}`)
      }
      await check('read turned beside itself', [3, 3], (x) => [t.sub(x, t.transpose(x))])
      await check('read by its own rows', [3, 3], (x) => [t.sub(x, t.slice(x, [[1, 2]]))])
      await check('read twice as it is', [4], (x) => [t.mul(x, x)])
      await check('read again later', [4], (x) => [t.neg(x), t.sum(t.mul(x, 3)), t.mul(x, 2)])
      await check('a view of it is a result', [2, 3], (x) => [t.neg(x), t.transpose(x), t.reshape(x, [6])])
      await check('patched with a part of itself', [4, 2], (x) => [
        t.update(x, t.slice(x, [[1, 4]]), t.constant(0, 'i32'), { axis: 0 }),
      ])
      await check('chosen by its own sign', [5], (x) => [t.where(t.less(x, 3), x, t.neg(x))])
      await check('broadcast against a column of itself', [3, 3], (x) => [
        t.maximum(x, t.slice(x, [null, [2, 3]])),
        t.exp(t.neg(x)),
      ])
    },
  },
  {
    name: 'reports what ran',
    async check(backend) {
      const a = t.tensor(new Float32Array(35).fill(1), { shape: [5, 7] })
      const report = await t.realize([t.matmul(a, t.transpose(a))], { backend })
      must(report.backend === backend.name, `the report names '${report.backend}'`)
      must(report.precision === backend.precision, `the report says ${report.precision}`)
      must(
        report.ran.some((r) => r.op === 'matmul' && r.count === 1),
        'the report does not list the one matmul',
      )
    },
  },
  {
    name: 'runs that start together do not mix',
    async check(backend) {
      const ys = Array.from({ length: 8 }, (_, i) => t.sum(t.mul(t.full([33], i), t.iota(33))))
      await Promise.all(ys.map((y) => t.realize([y], { backend })))
      const got = await Promise.all(ys.map((y) => y.item()))
      equal(
        got,
        got.map((_, i) => i * 528),
        'sums',
      )
    },
  },
]
