// `pnpm heed …`: the command line from the built packages; builds them first where nothing was built yet. A build that is
// older than the source is not noticed here: `pnpm build` renews it.
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const bin = new URL('../packages/heed/dist/bin.js', import.meta.url)
if (!existsSync(bin)) {
  const build = fileURLToPath(new URL('./build.mjs', import.meta.url))
  const { status } = spawnSync(process.execPath, [build, '--filter=heed...'], { stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? 1)
}
await import(bin.href)
