// Reads the fixtures: cases of PyTorch in float64, rounded to float32, with a vector-Jacobian product each.
import { readFileSync } from 'node:fs'
import { grad, type HasParts, realize, setParameters, type Tensor, tensor } from '@heed/tensor'
import { expect } from 'vitest'

interface Packed {
  shape: number[]
  dtype: 'f32' | 'i32' | 'bool'
  data: string
}
type Tensors = Record<string, Tensor>
export interface Case {
  id: string
  op: string
  // biome-ignore lint/suspicious/noExplicitAny: arguments differ by op
  args: any
  inputs: Tensors
  outputs: Tensors
  seeds: Tensors
  grads: Tensors
}

function unpack(p: Packed): Tensor {
  const bytes = Uint8Array.from(Buffer.from(p.data, 'base64'))
  if (p.dtype === 'f32') return tensor(new Float32Array(bytes.buffer), { shape: p.shape })
  if (p.dtype === 'i32') return tensor(new Int32Array(bytes.buffer), { shape: p.shape, dtype: 'i32' })
  return tensor(bytes, { shape: p.shape, dtype: 'bool' })
}
const unpackAll = (r: Record<string, Packed>): Tensors =>
  Object.fromEntries(Object.entries(r).map(([k, v]) => [k, unpack(v)]))

export function readCases(url: URL): Case[] {
  const raw = JSON.parse(readFileSync(url, 'utf8')) as (Omit<Case, 'inputs' | 'outputs' | 'seeds' | 'grads'> &
    Record<'inputs' | 'outputs' | 'seeds' | 'grads', Record<string, Packed>>)[]
  return raw.map((c) => ({
    ...c,
    inputs: unpackAll(c.inputs),
    outputs: unpackAll(c.outputs),
    seeds: unpackAll(c.seeds),
    grads: unpackAll(c.grads),
  }))
}

/** Computed in double, so what is left is the rounding of the expectation to float32. */
const RTOL = 1e-6
const ATOL = 1e-6

export async function expectClose(name: string, got: Tensor, want: Tensor): Promise<void> {
  expect(got.shape, name).toEqual(want.shape)
  const [a, b] = [await got.data(), await want.data()]
  for (let i = 0; i < b.length; i++) {
    const [x, y] = [Number(a[i]), Number(b[i])]
    if (Object.is(x, y)) continue
    if (!(Math.abs(x - y) <= ATOL + RTOL * Math.abs(y))) expect.fail(`${name}[${i}]: got ${x}, want ${y}`)
  }
}

/** Compares outputs, and the gradients of Σ⟨output, seed⟩. */
export async function check(c: Case, outputs: Tensors): Promise<void> {
  for (const [role, want] of Object.entries(c.outputs))
    await expectClose(`${c.id} ${role}`, outputs[role], want)
  const roles = Object.keys(c.seeds)
  if (roles.length === 0) return
  const names = Object.keys(c.grads)
  const gs = grad(
    roles.map((r) => outputs[r]),
    names.map((n) => c.inputs[n]),
    { seed: roles.map((r) => c.seeds[r]), unused: 'zero' },
  )
  await realize(gs)
  for (const [i, n] of names.entries()) await expectClose(`${c.id} grad.${n}`, gs[i], c.grads[n])
}

/** Gives a module its parameters; each is a function of the inputs, so that gradients reach them. */
export function withParameters<M extends HasParts>(m: M, values: Tensors): M {
  setParameters(m, values)
  return m
}
