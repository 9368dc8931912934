// The op adapter on a small copy of the op goldens, and on cases that must not pass.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { saveSafetensors } from '@heed/weights'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { adapters } from './adapters.js'
import { diskFiles } from './disk.js'
import { findCollections } from './find.js'
import { type Row, runCollection } from './run.js'

const fixture = fileURLToPath(new URL('../test/fixtures/ops', import.meta.url))

async function rowsOf(dir: string, backend: string): Promise<Row[]> {
  const [found] = await findCollections(dir)
  const rows: Row[] = []
  const options = { backend, files: diskFiles, weights: '', adapters }
  for await (const row of runCollection(found, options)) rows.push(row)
  return rows
}

describe('the copy of the op goldens', () => {
  it('passes in float64 to 1e-12', async () => {
    const rows = await rowsOf(fixture, 'reference-f64')
    expect(rows.filter((r) => r.status !== 'pass')).toEqual([])
    expect(rows.length).toBe(152)
    // relative, where values are large
    expect(rows.filter((r) => (r.error ?? 0) > 1e-12)).toEqual([])
  })
  it.each(['reference', 'cpu'])('passes on %s within the hints', async (backend) => {
    expect((await rowsOf(fixture, backend)).filter((r) => r.status !== 'pass')).toEqual([])
  })
})

describe('a case', () => {
  let dir = ''
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'heed-ops-'))
  })
  afterEach(() => rm(dir, { recursive: true }))

  type Tensors = Record<string, { dtype: 'F32' | 'F64' | 'I32' | 'U8'; shape: number[]; data: number[] }>
  const arrays = { F32: Float32Array, F64: Float64Array, I32: Int32Array, U8: Uint8Array }
  const run = async (one: Record<string, unknown>, tensors: Tensors): Promise<Row> => {
    await writeFile(join(dir, 'golden.json'), '{"format": "ops", "version": 1}')
    const hint = { atol: 1e-6, rtol: 1e-6 }
    await writeFile(
      join(dir, 'group.json'),
      JSON.stringify([{ id: 'group/case', args: {}, inputs: [], tolHint: hint, ...one }]),
    )
    const files = Object.entries(tensors).map(([name, t]) => [
      name,
      { ...t, data: arrays[t.dtype].from(t.data) },
    ])
    await saveSafetensors(join(dir, 'group.safetensors'), Object.fromEntries(files))
    return (await rowsOf(dir, 'reference'))[0]
  }
  const x = { dtype: 'F32', shape: [3], data: [1, 2, 3] } as const
  const sum = { op: 'sum', inputs: ['s/x'], outputs: ['s/y'] }
  const tensors = (y: Tensors[string], more: Tensors = {}): Tensors => ({
    's/x': { ...x, shape: [3], data: [1, 2, 3] },
    's/y': y,
    ...more,
  })

  it('passes with right values', async () => {
    expect(await run(sum, tensors({ dtype: 'F64', shape: [], data: [6] }))).toMatchObject({
      status: 'pass',
      error: 0,
    })
  })
  it('fails with a wrong value, shape or dtype', async () => {
    expect(await run(sum, tensors({ dtype: 'F64', shape: [], data: [6.1] }))).toMatchObject({
      status: 'fail',
      reason: 'y: got 6 instead of 6.1 at flat index 0',
    })
    expect((await run(sum, tensors({ dtype: 'F64', shape: [1], data: [6] }))).reason).toBe(
      'y: shape [], expected [1]',
    )
    expect((await run(sum, tensors({ dtype: 'I32', shape: [], data: [6] }))).reason).toBe(
      'y: dtype f32, expected one for I32',
    )
  })
  it('fails with a wrong gradient, also of the gradient', async () => {
    const graded = {
      op: 'square',
      inputs: ['s/x'],
      outputs: ['s/y'],
      grads: { 's/x': 's/grad.x' },
      gradOuts: { 's/y': 's/seed' },
      vectors: { 's/x': 's/vector' },
      second: { 's/x': 's/second.x' },
      secondGradOut: { 's/seed': 's/secondSeed' },
    }
    const f64 = (...data: number[]): Tensors[string] => ({ dtype: 'F64', shape: [3], data })
    const one: Tensors[string] = { dtype: 'F32', shape: [3], data: [1, 1, 2] }
    // L = Σ 2·x·seed·vector: by x 2·seed·vector, by seed 2·x·vector
    const right = {
      's/seed': one,
      's/vector': one,
      's/grad.x': f64(2, 4, 12),
      's/second.x': f64(2, 2, 8),
      's/secondSeed': f64(2, 4, 12),
    }
    const values = f64(1, 4, 9)
    expect((await run(graded, tensors(values, right))).status).toBe('pass')
    for (const key of ['s/grad.x', 's/second.x', 's/secondSeed'] as const) {
      const wrong = { ...right, [key]: f64(2, 4, 3) }
      const row = await run(graded, tensors(values, wrong))
      expect(row.status).toBe('fail')
      expect(row.reason).toContain(key.slice(2))
    }
  })
  it('takes null for a missing argument and the defaults of ops.json', async () => {
    await writeFile(
      join(dir, 'ops.json'),
      JSON.stringify({ sum: { args: { axes: { default: null }, keepDims: { default: true } } } }),
    )
    const kept = await run({ ...sum, args: { axes: null } }, tensors({ dtype: 'F64', shape: [1], data: [6] }))
    expect(kept.status).toBe('pass')
  })
  it('is unsupported, never passed, where Heed has no such op', async () => {
    expect(await run({ ...sum, op: 'fft' }, tensors({ dtype: 'F64', shape: [], data: [6] }))).toMatchObject({
      status: 'unsupported',
      reason: "no function of Heed is listed for the op 'fft'",
    })
    const philox = {
      op: 'randomBits',
      args: { generator: 'philox4x32-10', key: ['0', '0'], counter: ['0', '0', '0', '0'], n: 3 },
      outputs: ['s/y'],
    }
    expect((await run(philox, tensors({ dtype: 'I32', shape: [3], data: [0, 0, 0] }))).status).toBe(
      'unsupported',
    )
  })
})
