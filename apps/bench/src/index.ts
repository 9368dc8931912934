// `pnpm bench`: connects the command to the process. Node 20 has relaxed SIMD behind a flag: the benchmark starts itself again
// with it (the first line of the results says so); `--backend heed/cpu-baseline` shows what runs without.
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { main } from './main.js'

const FLAG = '--experimental-wasm-relaxed-simd'
const old = Number(process.versions.node.split('.')[0]) < 22

if (old && !process.execArgv.includes(FLAG)) {
  const { status } = spawnSync(
    process.execPath,
    [FLAG, ...process.execArgv, fileURLToPath(import.meta.url), ...process.argv.slice(2)],
    { stdio: 'inherit' },
  )
  process.exit(status ?? 1)
}

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(1)
  throw error
})

// pnpm runs scripts in the root of the workspace; files are meant from where the user stands
const { npm_lifecycle_event: script, INIT_CWD: userFolder } = process.env
const code = await main(process.argv.slice(2), {
  cwd: script === 'bench' && userFolder ? userFolder : process.cwd(),
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
})
// thread pools of peers would keep the process alive: flush, then end
process.stdout.write('', () => process.exit(code))
