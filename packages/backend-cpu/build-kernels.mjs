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
// most functions are the same in both: slices in turn keep them within the window of deflate
const SLICE = 4096
const slices = []
for (let at = 0; binaries.some((b) => at < b.length); at += SLICE)
  for (const b of binaries) slices.push(b.subarray(at, at + SLICE))
const packed = deflateRawSync(Buffer.concat(slices), { level: 9 })
console.log(`together: ${packed.length} bytes deflated`)
mkdirSync(`${here}src/generated`, { recursive: true })
writeFileSync(
  target,
  `// Written by build-kernels.mjs from assembly/*.ts; the identity is a hash of those sources. Do not edit.

export const KERNELS_ID = '${id}'

/** Bytes of the two binaries: with relaxed SIMD (6×8 tile, fused multiply-add) and without (5×8 tile). */
export const SIZES = { relaxed: ${binaries[0].length}, baseline: ${binaries[1].length} }
/** Both in turn, so many bytes of each, raw deflate, base64. */
export const SLICE = ${SLICE}
export const KERNELS =
  '${packed.toString('base64')}'
`,
)
