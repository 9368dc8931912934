// Packs every published package as a release would and asks publint (strict) and Are The Types Wrong (ESM only)
// whether others can use it; also looks at what lies in the archive.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core'
import { publint } from 'publint'
import { formatMessage } from 'publint/utils'
import { type Gate, packageTable, readJson, root } from './workspace.js'

const esmOnlyIgnores = ['node10', 'node16-cjs']

/** Names of the files in a .tgz, without the leading package/. */
export function archiveFiles(tarball: Uint8Array): string[] {
  const tar = gunzipSync(tarball)
  const text = (from: number, length: number) =>
    tar.toString('utf8', from, from + length).replace(/\0.*$/s, '')
  const names: string[] = []
  for (let at = 0; at + 512 <= tar.length && tar[at] !== 0; ) {
    const size = Number.parseInt(text(at + 124, 12), 8)
    names.push(text(at, 100).replace(/^package\//, ''))
    at += 512 + Math.ceil(size / 512) * 512
  }
  return names
}

/** What publint, Are The Types Wrong and a look at the archive have against one packed package. */
export async function tarballErrors(home: string, tarball: Uint8Array): Promise<string[]> {
  const errors: string[] = []
  const files = archiveFiles(tarball)
  if (!files.includes('README.md')) errors.push(`${home}: the archive has no README.md`)
  for (const file of files)
    if (/\.test\.|(^|\/)(test|src|assembly)\//.test(file)) errors.push(`${home}: the archive has ${file}`)
  const bytes = tarball.buffer.slice(
    tarball.byteOffset,
    tarball.byteOffset + tarball.byteLength,
  ) as ArrayBuffer
  const { messages, pkg } = await publint({ pack: { tarball: bytes }, strict: true, level: 'suggestion' })
  for (const message of messages)
    errors.push(`${home}: publint: ${formatMessage(message, pkg, { color: false })}`)
  if (/"workspace:/.test(JSON.stringify(pkg)))
    errors.push(`${home}: the packed package.json still has a workspace: range`)
  const analysis = await checkPackage(createPackageFromTarballData(tarball))
  if (!analysis.types) errors.push(`${home}: has no types`)
  else
    for (const problem of analysis.problems)
      if (!('resolutionKind' in problem && esmOnlyIgnores.includes(problem.resolutionKind)))
        errors.push(`${home}: Are The Types Wrong: ${JSON.stringify(problem)}`)
  return errors
}

/** The error, if any, of an archive that has a limit (in kB of 1000 bytes). */
export function archiveBudget(name: string, bytes: number, limits: Record<string, number>): string[] {
  const limit = limits[name]
  return limit !== undefined && bytes > limit * 1000
    ? [`packages/${name}: the archive has ${(bytes / 1000).toFixed(1)} kB of ${limit} kB`]
    : []
}

export const published: Gate = async (notes) => {
  const folder = mkdtempSync(join(tmpdir(), 'heed-packed-'))
  try {
    const errors: string[] = []
    const limits = readJson(join(root, 'scripts/sizes.json')).archives as Record<string, number>
    let total = 0
    for (const name of Object.keys(packageTable)) {
      const file = join(folder, `${name}.tgz`)
      execFileSync('pnpm', ['pack', '--out', file], {
        cwd: join(root, 'packages', name),
        stdio: ['ignore', 'ignore', 2],
      })
      const tarball = readFileSync(file)
      total += tarball.length
      errors.push(...archiveBudget(name, tarball.length, limits))
      errors.push(...(await tarballErrors(`packages/${name}`, new Uint8Array(tarball))))
    }
    notes.push(`${Object.keys(packageTable).length} archives, ${(total / 1e6).toFixed(2)} MB together`)
    return errors
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
