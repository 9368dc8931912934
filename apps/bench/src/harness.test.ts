// Statistics, table, file and page, and every way of asking for what is not there.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test, vi } from 'vitest'
import { cases } from './cases/index.js'
import { gelu } from './erf.js'
import { gptLogits, gptParameters } from './gpt.js'
import { main } from './main.js'
import type { CaseResult, Measured } from './measure.js'
import { minilmMissing } from './minilm.js'
import { matches, parseOptions } from './options.js'
import { attend, layerNorm, product } from './oracle.js'
import { page } from './page.js'
import { ensurePeers } from './peers/load.js'
import { GraphWriter } from './peers/onnx.js'
import { chooseCases, chooseMakers, groupsOf, threadCounts } from './plan.js'
import { makeProbe } from './probe.js'
import { noise } from './random.js'
import { resultFile } from './result.js'
import { serve } from './serve.js'
import { quantile, summary } from './statistics.js'
import { caseLines, duration, markdown, ofPeak, ratio } from './table.js'
import { batches } from './tokens.js'

describe('statistics', () => {
  test('quantiles lie between order statistics', () => {
    expect(quantile([3, 1, 2], 0.5)).toBe(2)
    expect(quantile([4, 1, 2, 3], 0.5)).toBe(2.5)
    expect(quantile([10, 0], 0.1)).toBe(1)
    expect(quantile([7], 0.9)).toBe(7)
    expect(() => quantile([], 0.5)).toThrow(/no values/)
    expect(summary([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10])).toEqual({ median: 5, p10: 1, p90: 9 })
  })
})

const row = (runner: string, threads: number, median: number, more: Partial<Measured> = {}): Measured => ({
  case: 'gemm/512',
  runner,
  threads,
  time: { median, p10: median * 0.9, p90: median * 1.1 },
  samples: 9,
  maxError: 3e-7,
  flops: 2 * 512 ** 3,
  peak: { median: 50, p10: 49, p90: 51 },
  ofBase: null,
  memoryMb: null,
  note: null,
  ...more,
})
const result: CaseResult = {
  case: 'gemm/512',
  base: null,
  gap: null,
  measured: [
    row('heed/cpu', 1, 6),
    row('heed/cpu', 2, 3),
    row('ort', 1, 9),
    row('ort', 2, 6),
    row('js', 1, 12),
  ],
  missing: [{ case: 'gemm/512', runner: 'gone', threads: 1, reason: 'it left' }],
}

const three = { median: 2, p10: 1, p90: 3 }
const about = {
  ...{ cpu: 'A <CPU>', cores: 2, memory_gb: 24, os: 'linux', engine: 'Node 24', load: 0.1 },
  ...{ probe: 'relaxed_madd', peak_gflops: { median: 50, p10: 49, p90: 51 }, read_gb_per_s: three },
}

const fileOf = (results: readonly CaseResult[]) => resultFile(about, { node: '24.0.0' }, results)

describe('table', () => {
  test('compares with our row of as many threads', () => {
    expect(result.measured.map((m) => ratio(result.measured, m))).toEqual([null, null, 1.5, 2, 2])
    const [ours] = result.measured
    expect(ratio([ours, row('ort', 2, 3)], row('ort', 2, 3))).toBe(0.5)
    expect(ratio([row('ort', 1, 3)], row('ort', 1, 3))).toBeNull()
  })
  test('counts the peak of all cores', () => {
    expect(ofPeak(row('x', 1, 10))).toBeCloseTo(26.8435456 / 51, 9)
    expect(ofPeak(row('x', 2, 10))).toBeCloseTo(26.8435456 / 102, 9)
    expect(ofPeak(row('x', 1, 10, { flops: 0 }))).toBeNull()
  })
  test('prints units, and the reason of every gap', () => {
    expect([1234.5, 123.4, 0.1234, 0.01234].map(duration)).toEqual([
      '1.23 s',
      '123 ms',
      '0.123 ms',
      '12.3 µs',
    ])
    const lines = caseLines(result)
    expect(lines[0]).toBe('gemm/512')
    expect(lines[2]).toMatch(/heed\/cpu +1 +6\.00 ms +5\.40 ms – 6\.60 ms +44\.7 +88 % +3e-7$/)
    expect(lines[4]).toMatch(/ort +1 +9\.00 ms .* 1\.50× /)
    expect(lines[lines.length - 1]).toBe('  gone ×1: not measured: it left')
    const text = markdown([result], fileOf([result]), 'pnpm bench --quick').split('\n')
    expect(text[0]).toMatch(/^A <CPU>, 2 cores, .* node 24\.0\.0\. `pnpm bench --quick`\.$/)
    const small = (a: string, b: string): string => `<br><small>${a}–${b}</small>`
    expect(text.slice(4)).toEqual([
      '1 thread:',
      '',
      '| case | heed/cpu | ort | js |',
      '| --- | ---: | ---: | ---: |',
      `| gemm/512 | 6.00 ms${small('5.40 ms', '6.60 ms')} | 9.00 ms (**1.50×**)${small('8.10 ms', '9.90 ms')} | 12.0 ms (**2.00×**)${small('10.8 ms', '13.2 ms')} |`,
      '',
      '2 threads:',
      '',
      '| case | heed/cpu | ort |',
      '| --- | ---: | ---: |',
      `| gemm/512 | 3.00 ms${small('2.70 ms', '3.30 ms')} | 6.00 ms (**2.00×**)${small('5.40 ms', '6.60 ms')} |`,
      '',
      '- gemm/512: gone ×1: not measured: it left',
    ])
    expect(caseLines({ ...result, measured: [], missing: result.missing, gap: 'no files' })).toEqual([
      'gemm/512',
      '  not measured: no files',
      '  gone ×1: not measured: it left',
    ])
  })
})

test('the file has machine, versions and rows with exactly the promised keys', () => {
  const file = JSON.parse(JSON.stringify(resultFile(about, { node: '24.0.0' }, [result])))
  expect(Object.keys(file)).toEqual(['machine', 'versions', 'rows'])
  expect(file.rows).toHaveLength(5)
  expect(file.rows[2]).toEqual({
    ...{ case: 'gemm/512', runner: 'ort', threads: 1, median_ms: 9, p10_ms: 8.1, p90_ms: 9.9 },
    max_error: 3e-7,
  })
})

describe('the page of results', () => {
  test('shows every row and gap, escaped', () => {
    const html = page(fileOf([result]), [result], 'pnpm bench <x>')
    expect(html.match(/<td class="bar"/g)).toHaveLength(5)
    expect(html).toContain('<td>12.0 ms</td><td>2.00×</td>')
    expect(html).toContain('gone ×1: not measured: it left')
    expect(html).not.toContain('<CPU>')
    expect(html).not.toContain('<x>')
    expect(html).not.toMatch(/NaN|Infinity|undefined/)
  })
  test('draws the roofline of one thread, and time and memory over length', () => {
    const at = (name: string, length: number, more: Partial<Measured> = {}): CaseResult => ({
      ...{ case: `${name}/${length}`, base: null, gap: null, missing: [] },
      measured: [
        row('heed/cpu', 1, length, { case: `${name}/${length}`, ...more }),
        row('heed/cpu', 2, length / 2, { case: `${name}/${length}`, ...more }),
        row('ort-web/wasm', 1, 2 * length, { case: `${name}/${length}`, ...more }),
      ],
    })
    const results = [
      result,
      at('attention/causal', 128),
      at('attention/causal', 512),
      at('attention/full', 512),
      at('memory/attention', 128, { memoryMb: 10 }),
    ]
    const html = page(fileOf(results), results, '')
    expect(html.match(/<svg /g)).toHaveLength(3)
    // one tooltip a point: three of the product, two runners at two lengths, two of memory
    expect(html.match(/<title>(gemm|attention|memory)/g)).toHaveLength(3 + 4 + 2)
    expect(html).toContain('<title>memory/attention/128, ort-web/wasm: 10 MB</title>')
    expect(html).not.toMatch(/NaN|Infinity|undefined/)
  })
})

describe('options', () => {
  test('reads what the help says', () => {
    const o = parseOptions([
      '--quick',
      '--case',
      'gemm',
      '--backend=heed/cpu',
      '--peer',
      'none',
      '--threads',
      '1,4',
    ])
    expect(o).toMatchObject({
      quick: true,
      pattern: 'gemm',
      backends: ['heed/cpu'],
      peers: [],
      threads: [1, 4],
    })
    expect(parseOptions(['--', '--json', 'a.json']).json).toBe('a.json')
    expect(parseOptions([])).toMatchObject({
      backends: null,
      peers: null,
      threads: null,
      json: null,
      quick: false,
    })
  })
  test('a pattern is a part, or with stars the whole', () => {
    expect(matches('gemm/512', 'mm/5')).toBe(true)
    expect(matches('gemm/512', 'gemm/*')).toBe(true)
    expect(matches('x/gemm/512', 'gemm/*')).toBe(false)
    expect(matches('a.b', 'a*b')).toBe(true)
    expect(matches('acb/', 'a.b*')).toBe(false)
  })
  test('cases, makers and threads follow from them', () => {
    expect(chooseCases(cases, null, true).some((c) => c.slow)).toBe(false)
    expect(chooseCases(cases, null, false)).toHaveLength(cases.length)
    expect(chooseCases(cases, 'attention/causal/8192', true)).toHaveLength(1)
    const makers = [
      { name: 'a', byDefault: true },
      { name: 'b', byDefault: false },
    ]
    expect(chooseMakers('peer', makers, null).map((m) => m.name)).toEqual(['a'])
    expect(chooseMakers('peer', makers, ['b']).map((m) => m.name)).toEqual(['b'])
    expect(threadCounts({ threaded: true }, [1, 2, 2], 8)).toEqual([1, 2])
    expect(threadCounts({ threaded: true }, null, 8)).toEqual([1, 8])
    expect(threadCounts({ threaded: true, aside: true }, null, 8)).toEqual([1])
    expect(threadCounts({ threaded: true, aside: true }, [4], 8)).toEqual([4])
    expect(threadCounts({ threaded: false }, [1, 2], 8)).toEqual([1])
  })
  test('a case follows its base, which must be an earlier one', () => {
    const groups = groupsOf(cases)
    expect(groups.flat()).toHaveLength(cases.length)
    for (const c of cases)
      if (c.base) expect(groups.find((g) => g.includes(c))?.[0].name, c.name).toBe(c.base)
    const keep = groups.find(([first]) => first.name.startsWith('keep/none'))
    expect(keep?.map((c) => c.name)).toEqual(['keep/none/gpt-medium', 'keep/all/gpt-medium'])
    // without its base it is measured alone
    expect(groupsOf(cases.filter((c) => c.base))[0]).toHaveLength(1)
  })
  test('names of cases are unique', () => {
    expect(new Set(cases.map((c) => c.name)).size).toBe(cases.length)
  })
})

describe('bad input is one line and exit code 1', () => {
  const run = async (...argv: string[]): Promise<string> => {
    let said = ''
    const code = await main(argv, { cwd: tmpdir(), out: () => {}, err: (text) => (said += text) })
    expect(code).toBe(1)
    expect(said.trimEnd()).not.toContain('\n')
    return said
  }
  test.each([
    [['--case', 'nothing-like-it'], /--case nothing-like-it matches nothing/],
    [['--quick', '--case', 'prefill/*/512'], /only cases that --quick leaves out/],
    [['--backend', 'heed/gpu'], /unknown backend 'heed\/gpu'; backends are heed\/cpu/],
    [['--backend', 'heed/webgl'], /unknown backend 'heed\/webgl'.*measured with --page/],
    [['--peer', 'numpy'], /unknown peer 'numpy'; peers are ort-web\/wasm/],
    [['--threads', 'many'], /--threads many/],
    [['--threads', '0'], /--threads 0/],
    [['--page', '--port', 'x'], /--port x: expected a number/],
    [['--fast'], /unknown option '--fast'/],
    [['--json'], /--json needs a value/],
    [['--quick=1'], /--quick takes no value/],
    [['--peer', 'none', '--backend', 'none'], /no backend and no peer/],
  ])('%j', async (argv, message) => {
    expect(await run(...argv)).toMatch(message)
  })
  test('a peer that is not installed', () => {
    const folder = mkdtempSync(join(tmpdir(), 'peers-'))
    try {
      mkdirSync(join(folder, 'node_modules')) // something was installed, but not this
      const wanted = [{ name: 'ort-web/wasm', packages: ['onnxruntime-web'] }]
      expect(() => ensurePeers(wanted, () => {}, folder)).toThrow(
        /^peer ort-web\/wasm is not installed \(onnxruntime-web is missing\): run npm ci [^\n]*$/,
      )
      expect(() => ensurePeers([], () => {}, folder)).not.toThrow()
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})

describe('the server of the page', () => {
  test('gives shared memory, the page, what is installed, and nothing outside', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'heed-serve-'))
    const pageFolder = join(folder, 'page')
    mkdirSync(join(folder, 'node_modules/onnxruntime-web'), { recursive: true })
    mkdirSync(pageFolder)
    writeFileSync(join(folder, 'node_modules/onnxruntime-web/package.json'), '{"version":"9.9.9"}')
    writeFileSync(join(folder, 'secret.txt'), 'secret')
    writeFileSync(join(pageFolder, 'index.html'), 'the page')
    const { url, close } = await serve({ port: 0, pageFolder, peersFolder: folder })
    try {
      const at = (path: string) => fetch(new URL(path, url))
      const index = await at('/')
      expect(await index.text()).toBe('the page')
      expect(index.headers.get('cross-origin-opener-policy')).toBe('same-origin')
      expect(index.headers.get('cross-origin-embedder-policy')).toBe('require-corp')
      expect(await (await at('/peers.json')).json()).toEqual({ 'onnxruntime-web': '9.9.9' })
      expect((await at('/peers/onnxruntime-web/package.json')).status).toBe(200)
      expect((await at('/peers/%2e%2e%2fsecret.txt')).status).toBe(403)
      expect((await at('/nothing')).status).toBe(404)
      const { port } = new URL(url)
      await expect(serve({ port: Number(port), pageFolder })).rejects.toThrow(/^port \d+ is taken/)
      await expect(serve({ port: 0, pageFolder: folder })).rejects.toThrow(/not built: run pnpm build/)
    } finally {
      close()
      rmSync(folder, { recursive: true })
    }
  })
})

describe('oracle', () => {
  test('products of every remainder of rows and columns', () => {
    for (const [m, k, n] of [
      [1, 1, 1],
      [4, 3, 2],
      [5, 7, 3],
      [6, 2, 5],
      [7, 5, 4],
    ]) {
      const x = noise(m * k, 1)
      const w = noise(k * n, 2)
      const turned = Float32Array.from({ length: k * n }, (_, i) => w[(i % k) * n + Math.floor(i / k)])
      const want = Array.from({ length: m * n }, (_, i) => {
        let s = 0
        for (let c = 0; c < k; c++) s += x[Math.floor(i / n) * k + c] * w[c * n + (i % n)]
        return s
      })
      expect([...product(x, w, m, k, n)], `${m}×${k}×${n}`).toEqual(want)
      expect([...product(x, turned, m, k, n, true)]).toEqual(want)
    }
  })
  test('attention of equal keys is the mean of the values; a norm has mean b and spread w', () => {
    const z = attend([1, 2], [1, 1, 1, 1], [1, 2, 3, 6], { q: 0, kv: 0, keys: 2, dim: 2, row: 2 })
    expect([...z]).toEqual([2, 4])
    const [a, b] = layerNorm([1, 3], [2, 2], [10, 10], 1, 2)
    expect(a).toBeCloseTo(8, 4)
    expect(b).toBeCloseTo(12, 4)
  })
  test('the model is causal and reads its positions', () => {
    const shape = { nLayer: 2, nHead: 2, dModel: 8, nCtx: 4, nVocab: 5 }
    const weights = Object.fromEntries(
      Object.entries(gptParameters(shape)).map(([name, dims], i) => [
        name,
        noise(
          dims.reduce((a, b) => a * b),
          i + 1,
        ),
      ]),
    )
    const first = gptLogits(shape, weights, [1, 2, 3], [0, 1])
    expect([...gptLogits(shape, weights, [1, 2, 4], [0, 1])]).toEqual([...first])
    expect([...gptLogits(shape, weights, [1, 3, 3], [1])]).not.toEqual([...first.slice(5)])
    expect([...gptLogits(shape, weights, [1, 1], [0])]).not.toEqual([
      ...gptLogits(shape, weights, [1, 1], [1]),
    ])
  })
})

describe('sentence vectors', () => {
  test('the exact GELU, against mpmath at 40 digits', () => {
    for (const [x, y] of [
      [0, 0],
      [1e-8, 5.000000039894228e-9],
      [0.5, 0.3457312306370065],
      [-1, -0.158655253931457],
      [3.4, 3.398854440496698],
      [3.6, 3.599427209075433],
      [-6, -5.919525870226189e-9],
      [9, 9],
    ])
      expect(Math.abs(gelu(x) - y)).toBeLessThanOrEqual(2e-15 * Math.max(1, Math.abs(x)))
  })
  test('batches are of similar length, padded, and know their places', () => {
    const [short, long] = batches([[5, 6, 7], [1], [8, 9, 10, 11], [2, 3]], 2)
    expect(short).toEqual({
      ...{ at: [1, 3], rows: 2, width: 2 },
      ...{ ids: BigInt64Array.of(1n, 0n, 2n, 3n), mask: BigInt64Array.of(1n, 0n, 1n, 1n) },
    })
    expect(long.at).toEqual([0, 2])
  })
  test('weights that are not there are one line that says what to do', async () => {
    const said = minilmMissing('/nowhere/minilm')
    expect(said).toMatch(/^\/nowhere\/minilm has no config\.json: put .* --weights FOLDER$/)
    let out = ''
    vi.stubEnv('HEED_WEIGHTS', '')
    try {
      const io = { cwd: tmpdir(), out: (text: string) => (out += text), err: (text: string) => (out += text) }
      const argv = ['--case', 'embed/*', '--weights', 'no-such-folder', '--peer', 'none']
      expect(await main(argv, io)).toBe(1)
    } finally {
      vi.unstubAllEnvs()
    }
    expect(out).toMatch(/embed\/minilm\/32\n {2}not measured: .*no-such-folder\/minilm has no config\.json/)
  })
})

test('the first loss of the training case is what the reference kernels computed', async () => {
  const c = cases.find(({ name }) => name === 'train/gpt-tiny')
  const expected = await c?.expected(c.inputs())
  expect(expected?.chunks[0].values[0]).toBeCloseTo(5.729188546506014, 10)
})

test('the probe measures something', () => {
  const probe = makeProbe()
  expect(probe.gflops()).toBeGreaterThan(0.1)
  expect(probe.gigabytes()).toBeGreaterThan(0.01)
})

test('an ONNX file begins with its version and holds its names', () => {
  const g = new GraphWriter()
  g.node('MatMul', ['a', g.constant(Float32Array.of(1, 2), [2, 1])], {}, 'y')
  const bytes = g.write([{ name: 'a', dims: [1, 2] }], [{ name: 'y', dims: [1, 1] }])
  expect([...bytes.slice(0, 2)]).toEqual([8, 10])
  const text = Buffer.from(bytes).toString('latin1')
  for (const name of ['MatMul_y', 'c0', 'heed-bench']) expect(text).toContain(name)
})
