// What docs/architecture.md lists is what the code has.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { packageTable, root } from './gates/workspace.js'

const page = readFileSync(join(root, 'docs/architecture.md'), 'utf8')

test('the table of packages has the arrows of scripts/packages.mjs', () => {
  const rows = [...page.matchAll(/^\| `([\w-]+)` \| [^|]+ \| ([^|]+) \|$/gm)].map(([, name, imports]) => [
    name,
    imports,
  ])
  const listed = Object.fromEntries(rows) as Record<string, string>
  expect(Object.keys(listed)).toEqual(Object.keys(packageTable))
  for (const [name, { imports, optionalPeers = [] }] of Object.entries(packageTable)) {
    if (name === 'heed') continue
    const words = (listed[name] ?? '').split(';')
    expect(words[0]?.replace('nothing', '').split(/, */).filter(Boolean).sort(), name).toEqual(
      [...imports].sort(),
    )
    for (const peer of optionalPeers) expect(words[1], name).toContain(peer)
  }
})

test('the list of primitives is the one of the tensor package', () => {
  const list = /```primitives\n([\s\S]*?)\n```/.exec(page)?.[1] ?? ''
  const listed = list.split('\n').flatMap((line) =>
    line
      .slice(line.indexOf(':') + 1)
      .trim()
      .split(/\s+/),
  )
  const source = readFileSync(join(root, 'packages/tensor/src/ops/primitives.ts'), 'utf8')
  const names = /primitiveNames = \[([\s\S]*?)\] as const/.exec(source)?.[1] ?? ''
  expect(listed).toEqual([...names.matchAll(/^\s*'(\w+)'/gm)].map(([, name]) => name))
})
