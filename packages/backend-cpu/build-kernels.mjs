// Compiles assembly/ with AssemblyScript, once with relaxed SIMD and once without, and writes both binaries, deflated, as base64
// into src/generated/kernels.ts, so that no bundler has to find a .wasm file. Does nothing when the sources have not changed;
// `--check` only says whether the generated file is up to date (exit code 1 when it is not), `--force` always compiles.
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { deflateRawSync } from 'node:zlib'

const here = fileURLToPath(new URL('.', import.meta.url))
const target = `${here}src/generated/kernels.ts`
const flags = [
  ...[
    // 's' costs no speed worth measuring and a tenth of the bytes less
    '-O3s',
    '--noAssert',
    '--runtime',
    'stub',
    '--importMemory',
    '--initialMemory',
    '1',
    '--maximumMemory',
    '65536',
    // the locals read most get the short numbers, and functions of both builds the same order: they compress better
    '--runPasses',
    'reorder-locals,reorder-functions-by-name',
  ],
]
const builds = { relaxed: 'simd,relaxed-simd,threads', baseline: 'simd,threads' }

const sources = readdirSync(`${here}assembly`)
  .filter((name) => name.endsWith('.ts'))
  .sort()
const hash = createHash('sha256').update(JSON.stringify([flags, builds]))
for (const name of sources) hash.update(`${name}\n${readFileSync(`${here}assembly/${name}`, 'utf8')}\n`)
const id = hash.digest('hex').slice(0, 16)

const current = existsSync(target) && readFileSync(target, 'utf8').includes(`'${id}'`)
if (process.argv.includes('--check')) {
  console.log(
    current
      ? `kernels are up to date (${id})`
      : 'src/generated/kernels.ts is stale: run node build-kernels.mjs',
  )
  process.exit(current ? 0 : 1)
}
if (current && !process.argv.includes('--force')) process.exit(0)

const { default: asc } = await import('assemblyscript/asc')
const binaries = []
for (const [build, features] of Object.entries(builds)) {
  let binary
  const { error, stderr } = await asc.main(
    ['index.ts', ...flags, '--enable', features, '--outFile', 'kernels.wasm', '--baseDir', `${here}assembly`],
    {
      writeFile: (name, data) => {
        if (name.endsWith('.wasm')) binary = data
      },
    },
  )
  if (error || !binary) throw new Error(`the ${build} kernels do not compile: ${error?.message}\n${stderr}`)
  binaries.push(Buffer.from(binary))
  console.log(
    `${build} kernels: ${binary.length} bytes, ${deflateRawSync(binary, { level: 9 }).length} deflated`,
  )
}
/** A number below 2¹⁴ as WebAssembly writes lengths. */
const leb = (n) => Buffer.from(n < 128 ? [n] : [(n & 127) | 128, n >> 7])
/** What stands before the bodies of functions, what behind them, and every body with its length. */
function parts(binary) {
  let at = 8
  const read = () => {
    let n = 0
    for (let shift = 0; ; shift += 7) {
      const byte = binary[at++]
      n |= (byte & 127) << shift
      if (byte < 128) return n
    }
  }
  const CODE = 10
  while (binary[at++] !== CODE) {
    const length = read()
    at += length
  }
  const end = read() + at
  let left = read()
  const head = binary.subarray(0, at)
  const bodies = []
  for (; left > 0; left--) {
    const from = at
    const length = read()
    at += length
    bodies.push(binary.subarray(from, at))
  }
  return { head, tail: binary.subarray(end), bodies }
}
// most functions are the same in both: in turn, they lie within the window of deflate and close together
const split = binaries.map(parts)
const pieces = ['head', 'tail'].flatMap((part) => split.flatMap((s) => [leb(s[part].length), s[part]]))
for (let i = 0; split.some((s) => i < s.bodies.length); i++)
  for (const { bodies } of split) pieces.push(bodies[i] ?? leb(0))
// a search for the shortest deflate stream: 4 % less than zlib finds
const { default: zopfli } = await import('@gfx/zopfli')
const packed = Buffer.from(await zopfli.deflateAsync(Buffer.concat(pieces), { numiterations: 15 }))
console.log(`together: ${packed.length} bytes deflated`)
mkdirSync(`${here}src/generated`, { recursive: true })
writeFileSync(
  target,
  `// Written by build-kernels.mjs from assembly/*.ts; the identity is a hash of those sources. Do not edit.

export const KERNELS_ID = '${id}'

/**
 * With relaxed SIMD (6×8 tile, fused multiply-add) and without (5×8 tile): head, tail and bodies of functions of the two modules in turn,
 * each behind its length in LEB128; raw deflate, base64.
 */
export const KERNELS =
  '${packed.toString('base64')}'
`,
)
