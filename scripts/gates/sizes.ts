// Size budgets in kB (1000 bytes) of gzipped, minified ESM, kept in scripts/sizes.json. A package is measured alone
// (its @heed imports and its few dependencies left out); a program is measured with everything that it pulls in.
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'
import { type Gate, packageTable, publishedName, readJson, root } from './workspace.js'

/** Bytes of `code` bundled, minified and gzipped; names are resolved as from packages/heed, which sees every package. */
export async function bundledBytes(code: string, external: string[] = []): Promise<number> {
  const { outputFiles } = await build({
    stdin: { contents: code, resolveDir: join(root, 'packages/heed'), loader: 'ts' },
    bundle: true,
    minify: true,
    write: false,
    format: 'esm',
    target: 'es2022',
    platform: 'neutral',
    mainFields: ['module', 'main'],
    external: ['node:*', ...external],
    logLevel: 'silent',
    alias: Object.fromEntries(
      Object.keys(packageTable)
        .filter((name) => !external.includes(publishedName(name)))
        .map((name) => [publishedName(name), join(root, 'packages', name, 'dist/index.js')]),
    ),
  })
  return gzipSync(outputFiles[0]?.contents ?? new Uint8Array(), { level: 9 }).length
}

/** One row of the table and, when it is over its limit, the error. */
export function judge(
  what: string,
  bytes: number,
  limit: number | undefined,
): { note: string; error?: string } {
  const size = `${(bytes / 1000).toFixed(1)} kB`
  if (limit === undefined)
    return { note: `${what}: ${size}`, error: `${what}: ${size}, but scripts/sizes.json has no limit` }
  const note = `${what}: ${size} of ${limit} kB`
  return bytes > limit * 1000 ? { note, error: `${note}: over its budget` } : { note }
}

export const sizes: Gate = async (notes) => {
  const budgets = readJson(join(root, 'scripts/sizes.json')) as {
    packages: Record<string, number>
    programs: Record<string, { limit: number; code: string }>
  }
  const errors: string[] = []
  const record = ({ note, error }: { note: string; error?: string }) => {
    notes.push(note)
    if (error) errors.push(error)
  }
  for (const [name, row] of Object.entries(packageTable)) {
    if (row.node) continue
    const others = Object.keys(packageTable).filter((other) => other !== name)
    const external = [
      ...others.flatMap((other) => [publishedName(other), `${publishedName(other)}/*`]),
      ...Object.keys({ ...row.dependencies, ...row.peers }),
    ]
    record(
      judge(
        name,
        await bundledBytes(`export * from '${publishedName(name)}'`, external),
        budgets.packages[name],
      ),
    )
  }
  for (const [what, { code, limit }] of Object.entries(budgets.programs))
    record(judge(what, await bundledBytes(code), limit))
  return errors
}
