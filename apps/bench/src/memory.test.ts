// What a process of its own says about its memory, and what becomes of it when it fails.
import { spawnSync } from 'node:child_process'
import { beforeEach, expect, test, vi } from 'vitest'
import { watched } from './memory.js'
import type { Prepared, Runner } from './work.js'

vi.mock('node:child_process', () => ({ spawnSync: vi.fn() }))
const spawn = vi.mocked(spawnSync)
const says = (stdout: string, stderr = ''): void => {
  spawn.mockReturnValueOnce({ stdout, stderr } as unknown as ReturnType<typeof spawnSync>)
}
beforeEach(() => spawn.mockReset())

const plain: Runner = { name: 'lib/wasm', threads: 2, can: {} }
const able: Runner = { ...plain, can: { attention: () => ({ run: () => {}, output: async () => [] }) } }
const work = { kind: 'memory', length: 512 } as const
const prepared = async (): Promise<Prepared> => {
  const { memory } = watched(able).can
  return (await memory?.(work, {})) as Prepared
}

test('only a runner that has attention is watched', () => {
  expect(watched(plain)).toBe(plain)
  expect(Object.keys(watched(able).can)).toEqual(['attention', 'memory'])
})

test('time is that of a process, memory the most of all of them', async () => {
  const p = await prepared()
  says('loading\nRESULT {"extraMb":30,"ms":7}\n')
  says('RESULT {"extraMb":20,"ms":5}\n')
  expect([await p.time?.(), await p.time?.()]).toEqual([7, 5])
  expect(p.memory?.()).toBe(30)
  const [, argv] = spawn.mock.calls[0]
  expect(JSON.parse(argv?.at(-1) as string)).toEqual({ runner: 'lib/wasm', threads: 2, work })
})

test('a process that fails says why: its own error, or the last that it printed', async () => {
  const p = await prepared()
  says('RESULT {"extraMb":0,"ms":0,"error":"no room for 8192² scores"}\n')
  await expect(p.time?.()).rejects.toThrow('no room for 8192² scores')
  says('', 'node:internal\nRangeError: Array buffer allocation failed\n    at …')
  await expect(p.time?.()).rejects.toThrow(/failed: RangeError: Array buffer allocation failed$/)
  says('', 'Killed')
  await expect(p.time?.()).rejects.toThrow('the new process failed: no result')
  expect(p.memory?.()).toBe(0)
})
