// Builds the workspace with turbo, quietly and offline: no telemetry, no daemon, the cache inside the repository.
// Everything turbo says goes to standard error, so that a command built on top owns its standard output. Arguments are turbo's:
// `node scripts/build.mjs --filter=heed...` builds heed and what it needs, and then turbo is only heard when the build fails.
import { spawn } from 'node:child_process'
import { createRequire } from 'node:module'
import { dirname, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const require = createRequire(import.meta.url)
const manifest = require.resolve('turbo/package.json')
const turbo = resolve(dirname(manifest), require(manifest).bin.turbo)

const args = process.argv.slice(2)
const isForAnother = args.length > 0
const child = spawn(
  process.execPath,
  [turbo, 'run', 'build', '--output-logs=errors-only', '--log-order=grouped', ...args],
  {
    cwd: root,
    stdio: isForAnother ? ['ignore', 'pipe', 'pipe'] : ['ignore', 2, 2],
    env: {
      ...process.env,
      TURBO_TELEMETRY_DISABLED: '1',
      DO_NOT_TRACK: '1',
      TURBO_NO_UPDATE_NOTIFIER: '1',
      TURBO_CONFIG_DIR_PATH: resolve(root, '.turbo/config'),
    },
  },
)
const said = []
child.stdout?.on('data', (chunk) => said.push(chunk))
child.stderr?.on('data', (chunk) => said.push(chunk))
const slow = isForAnother ? setTimeout(() => process.stderr.write('building …\n'), 1000) : undefined
child.on('close', (code) => {
  clearTimeout(slow)
  if (code !== 0) process.stderr.write(Buffer.concat(said))
  // a signal leaves no code
  process.exitCode = code ?? 1
})
