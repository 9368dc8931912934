// Files and exports of the workspace that nothing reaches, as knip sees them (knip.json says where reaching starts).
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { type Gate, root } from './workspace.js'

interface Report {
  issues: { file: string; files?: unknown[]; exports?: { name: string; line: number }[] }[]
}

/** knip's JSON report as one line per finding. */
export const unusedErrors = (report: Report): string[] =>
  report.issues.flatMap(({ file, files = [], exports = [] }) => [
    ...(files.length ? [`${file} is imported by nothing`] : []),
    ...exports.map(
      ({ name, line }) =>
        `${file}:${line} exports ${name}, which nothing imports: drop the export or the code`,
    ),
  ])

export const unused: Gate = () => {
  const knip = join(root, 'node_modules/knip/bin/knip.js')
  const { stdout, stderr, status } = spawnSync(
    process.execPath,
    [knip, '--include', 'files,exports', '--reporter', 'json', '--no-progress', '--no-config-hints'],
    { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] },
  )
  // 0: nothing found, 1: findings; anything else is knip itself failing
  if (status !== 0 && status !== 1) return [`knip failed (exit code ${status}): ${stderr.trim().slice(-500)}`]
  return unusedErrors(JSON.parse(stdout.slice(stdout.indexOf('{'))))
}
