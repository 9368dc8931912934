// The pages that the matrix is written into: docs/matrix.md and the READMEs of the backends.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { conformanceCases } from '@heed/conformance'
import { root } from '../gates/workspace.js'
import { between, type Cell, caseLine, summary, supportTable, table } from './cells.js'

/** Path from the root → what the page is to say, given what is written there. */
export function pagesOf(
  cells: readonly Cell[],
  read = (path: string): string => readFileSync(join(root, path), 'utf8'),
): Map<string, string> {
  const pages = new Map<string, string>()
  const write = (path: string, lines: readonly string[]): void => {
    pages.set(path, between(read(path), ['', ...lines, ''], path))
  }
  const lines = [...summary(cells), caseLine(conformanceCases())]
  write('docs/matrix.md', [...table(cells), '', ...lines.map((line) => `- ${line}`)])
  for (const backend of new Set(cells.map((c) => c.backend)))
    write(`packages/backend-${backend}/README.md`, supportTable(backend, cells))
  return pages
}
/** Pages that do not say what these cells do. */
export const outdated = (
  cells: readonly Cell[],
  read = (path: string): string => readFileSync(join(root, path), 'utf8'),
): string[] => [...pagesOf(cells, read)].filter(([path, text]) => read(path) !== text).map(([path]) => path)
