/** Versions of what runs, for provenance and `--version`. */
import { readFileSync } from 'node:fs'

interface Manifest {
  readonly version: string
}
let known: { readonly heed: string; readonly node: string } | null = null

export function versions(): { readonly heed: string; readonly node: string } {
  known ??= {
    // both src/ and dist/ are one level below the package
    heed: (JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as Manifest).version,
    node: process.versions.node,
  }
  return known
}
