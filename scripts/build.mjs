// Builds the workspace with turbo, quietly and offline: no telemetry, no daemon, the cache inside the repository.
// Everything turbo says goes to standard error, so that a command built on top owns its standard output.
// Arguments are turbo's: `node scripts/build.mjs --filter=heed...` builds heed and what it needs.
import { spawnSync } from 'node:child_process'
import { createRequire } from 'node:module'
import { dirname, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const require = createRequire(import.meta.url)
const manifest = require.resolve('turbo/package.json')
const turbo = resolve(dirname(manifest), require(manifest).bin.turbo)

const { status, error } = spawnSync(
  process.execPath,
  [turbo, 'run', 'build', '--output-logs=errors-only', '--log-order=grouped', ...process.argv.slice(2)],
  {
    cwd: root,
    stdio: ['ignore', 2, 2],
    env: {
      ...process.env,
      TURBO_TELEMETRY_DISABLED: '1',
      DO_NOT_TRACK: '1',
      TURBO_NO_UPDATE_NOTIFIER: '1',
      TURBO_CONFIG_DIR_PATH: resolve(root, '.turbo/config'),
    },
  },
)
if (error) throw error
process.exit(status ?? 1)
