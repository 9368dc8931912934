// `pnpm goldens --backend webgl`: the collections run in the built page, in Chromium; arguments, rows and exit code are
// the command's.
import { mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { saveSafetensors } from '@heed/weights'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { findChromium } from '../../../scripts/chromium.js'
import { main } from '../src/main.js'
import type { Row } from '../src/run.js'

let root = ''
async function run(...argv: string[]) {
  const said = { stdout: '', stderr: '' }
  const code = await main([...argv, '--backend', 'webgl'], {
    cwd: root,
    out: (text) => {
      said.stdout += text
    },
    err: (text) => {
      said.stderr += text
    },
  })
  return { code, ...said }
}

beforeAll(async () => {
  root = await realpath(await mkdtemp(join(tmpdir(), 'heed-goldens-')))
  await symlink(fileURLToPath(new URL('fixtures/ops', import.meta.url)), join(root, 'copy'))
  const put = async (folder: string, format: string, files: Readonly<Record<string, unknown>> = {}) => {
    await mkdir(join(root, folder))
    for (const [name, value] of Object.entries({ 'golden.json': { format, version: 1 }, ...files }))
      await writeFile(join(root, folder, name), JSON.stringify(value))
  }
  await put('tokens', 'tokenizers')
  // one right and one wrong value; the folder's name has to survive the way through a URL
  const wrong = 'wrong 100%#?'
  const one = { op: 'sum', args: {}, inputs: ['x'], tolHint: { atol: 1e-6, rtol: 1e-6 } }
  await put(wrong, 'ops', {
    'group.json': [
      { ...one, id: 'sum/right', outputs: ['right/y'] },
      { ...one, id: 'sum/wrong', outputs: ['wrong/y'] },
    ],
  })
  const scalar = (value: number) => ({ dtype: 'F64' as const, shape: [], data: Float64Array.of(value) })
  await saveSafetensors(join(root, wrong, 'group.safetensors'), {
    x: { dtype: 'F32', shape: [3], data: Float32Array.of(1, 2, 3) },
    'right/y': scalar(6),
    'wrong/y': scalar(6.5),
  })
})
afterAll(() => rm(root, { recursive: true }))

describe.skipIf(!(await findChromium()))('in Chromium', () => {
  it('passes what is right, fails what is wrong, and says what it left out and what rendered', async () => {
    const { code, stdout, stderr } = await run(
      '.',
      '--only',
      '*/softmax/*',
      '--only',
      '*/special',
      '--only',
      'sum/*',
      '--json',
    )
    expect(code).toBe(1)
    expect(stderr).toMatch(/^backend: webgl, .+, Chromium [\d.]+\n$/)
    const rows = JSON.parse(stdout) as Row[]
    const copied = rows.filter((r) => r.collection === 'copy')
    expect(copied).toHaveLength(19)
    expect(copied.filter((r) => r.status !== 'pass')).toEqual([])
    expect(rows.filter((r) => r.collection !== 'copy')).toEqual([
      {
        collection: 'wrong 100%#?',
        case: 'sum/right',
        status: 'pass',
        error: 0,
        tolerance: 1e-6,
        reason: null,
      },
      {
        collection: 'wrong 100%#?',
        case: 'sum/wrong',
        status: 'fail',
        error: 0.5,
        tolerance: expect.closeTo(7.5e-6, 12),
        reason: 'y: got 6 instead of 6.5 at flat index 0',
      },
    ])
  })

  it('lists what has nothing to do in a page as unsupported, and exits 0', async () => {
    const { code, stdout } = await run('tokens')
    expect(stdout).toMatch(/^unsupported \. {2}\(.*tokenizers use no backend.*leave out --backend webgl\)/)
    expect(stdout).toMatch(/\nbackend: webgl, .+\ntotal: 0 pass, 0 fail, 1 unsupported\n$/)
    expect(code).toBe(0)
  })
})

it('says in one line what to do without a Chromium', async () => {
  vi.stubEnv('CHROMIUM_PATH', 'none')
  try {
    const { code, stdout, stderr } = await run('copy')
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr).toBe(
      'goldens: --backend webgl runs in Chromium, and none was found: apt-get install -y --no-install-recommends chromium, or set CHROMIUM_PATH to one\n',
    )
  } finally {
    vi.unstubAllEnvs()
  }
})
