/** What the Backend contract promises beyond right numbers: round trips, ownership, reuse, memory that comes back. */

import type { Backend, DType, Tensor, TypedArray } from '@heed/tensor'
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

const stored: readonly [DType, TypedArray][] = [
  ['f32', Float32Array.of(0.5, -2, 3e7)],
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
      for (const [dtype, data] of stored) {
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
        backend.bytesInUse === before,
        `bytesInUse went from ${before} to ${backend.bytesInUse} in 20 steps`,
      )
      must(Math.abs(Number((await state.data())[5]) - 1.0009765625 ** 23) < 1e-5, 'the state is wrong')
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
